//! Files are written by several workers side by side. The thread that walks the archive makes directories and links
//! itself, and hands files over in batches, together with what it has read of them. What comes of a batch is looked at
//! in the order of the archive: so warnings have an order, the first error is the one that is told, and a directory
//! is given its time when all in it was made.
//!
//! However many files there are, only so many batches are under way, and only so many directories wait.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use crate::archive::chunk::{Chunk, Chunks};
use crate::archive::decode::Head;
use crate::archive::open::Reader;
use crate::archive::walk::CHUNK;
use crate::error::{Context, Error, Result};
use crate::fs::Handle;
use crate::fs::handle::join;
use crate::observer::Run;
use crate::restore::metadata::Metadata;
use crate::restore::parts::Idle;
use crate::restore::worker::{Place, Task, Worker};
use crate::snapshot::manifest::Warnings;

/// The most workers: more of them only wait for each other.
const MAX_WORKERS: usize = 4;
/// A batch is full with so many files, or so many bytes of them or of their names.
const BATCH_FILES: usize = if cfg!(test) { 3 } else { 64 };
const BATCH_BYTES: u64 = 128 << 10;
const BATCH_NAMES: usize = 16 << 10;
/// How many batches may be under way for each worker.
const AHEAD: usize = 4;
/// How many batches may wait for an earlier one: a worker with a large file holds up nobody else until then.
const UNSETTLED: u64 = if cfg!(test) { 12 } else { 256 };
/// How many directories may wait for what is in them, with an open handle each.
const WAITING: usize = if cfg!(test) { 8 } else { 128 };

/// Files that one worker makes one after the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What was read of the archive, with the header blocks of all of them.
    pub(super) chunk: Arc<Chunk>,
    pub(super) tasks: Vec<Task>,
    /// Their names in the archive, one behind the other, and those of what was made without a worker.
    pub(super) names: Vec<u8>,
    /// What to tell the observer of: a volume, and where in `names` a path in it lies.
    told: Vec<(Arc<Place>, Range<usize>)>,
    bytes: u64,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.told.is_empty() && self.tasks.is_empty()
    }

    fn is_full(&self) -> bool {
        self.tasks.len() >= BATCH_FILES
            || self.told.len() >= 2 * BATCH_FILES
            || self.bytes >= BATCH_BYTES
            || self.names.len() >= BATCH_NAMES
    }

    fn clear(&mut self) {
        self.chunk = Arc::default();
        self.tasks.clear();
        self.names.clear();
        self.told.clear();
        self.bytes = 0;
    }
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Paths and reasons, in the order of the archive.
    pub(super) warnings: Vec<(Vec<u8>, String)>,
    pub(super) error: Option<Error>,
    batch: Batch,
}

/// A directory that was left, and waits for what is in it.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) handle: Arc<Handle>,
    pub(super) metadata: Metadata,
    pub(super) fresh: bool,
    /// The full path, for messages.
    pub(super) path: Vec<u8>,
}

/// All that the threads share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do, or nothing will be any more.
    work: Condvar,
    /// A batch is done.
    done: Condvar,
    idle: Arc<Idle>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(u64, Batch)>,
    /// What came of the batches from number `next` on, as far as they are done.
    outcomes: VecDeque<Option<Outcome>>,
    next: u64,
    /// How many batches were handed over and are not done.
    under_way: usize,
    /// The first batch that failed: those behind it need not be begun.
    failed: Option<u64>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_done<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.done.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.queue.clear();
        self.work.notify_all();
    }
}

/// The one who hands out work, and looks at what came of it.
pub(super) struct Crew<'r> {
    shared: Arc<Shared>,
    reader: Arc<Reader>,
    run: &'r Run<'r>,
    /// What works when there are no other threads.
    alone: Option<Worker<'r>>,
    workers: usize,
    current: Batch,
    spare: Vec<Batch>,
    /// How many batches were handed out, and for how many of them it was looked at what came of them.
    handed: u64,
    settled: u64,
    /// Directories, each with how many batches must have been settled before.
    left: VecDeque<(u64, Left)>,
    /// What came of a batch, or of completing a directory, was an error: what follows does not matter.
    failed: bool,
}

/// How many workers this machine has use for.
pub(super) fn workers() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let processors = if cfg!(test) { MAX_WORKERS } else { processors };
    if processors == 1 { 0 } else { processors.min(MAX_WORKERS) }
}

impl<'r> Crew<'r> {
    /// Starts up to so many threads in `scope`; without any, the caller's does all the work.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        workers: usize,
        reader: &Arc<Reader>,
        run: &'r Run<'r>,
    ) -> Self
    where
        'r: 'scope,
    {
        let shared = Arc::new(Shared::default());
        let start = |_: &usize| {
            let mut worker = Worker::new(Arc::clone(reader), run, Arc::clone(&shared.idle));
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name("restorer".to_owned());
            thread.spawn_scoped(scope, move || work(&shared, &mut worker)).is_ok()
        };
        // Where the system gives no more threads, fewer will do.
        let workers = (0..workers).take_while(start).count();
        Crew {
            shared,
            reader: Arc::clone(reader),
            run,
            alone: (workers == 0).then(|| Worker::new(Arc::clone(reader), run, Arc::default())),
            workers,
            current: Batch::default(),
            spare: Vec::new(),
            handed: 0,
            settled: 0,
            left: VecDeque::new(),
            failed: false,
        }
    }

    /// The buffers for the walk that hands out work here: one for each worker and as many that wait, and two that the
    /// walk and the batch that is being filled have.
    pub(super) fn chunks(&self) -> Arc<Chunks> {
        Chunks::new(2 * self.workers + 2, 2 * CHUNK)
    }

    /// Hands over a file, which is to be made in `directory`, or only to be checked.
    pub(super) fn file(
        &mut self,
        place: &Arc<Place>,
        directory: Option<&Arc<Handle>>,
        path: &[u8],
        head: &Head,
        metadata: Metadata,
        warnings: &mut Warnings,
    ) -> Result<()> {
        let (chunk, at) = head.place();
        if !self.current.tasks.is_empty() && !Arc::ptr_eq(&self.current.chunk, chunk) {
            self.hand_over(warnings)?;
        }
        if self.current.tasks.is_empty() {
            self.current.chunk = Arc::clone(chunk);
        }
        let name = self.keep(head.name);
        // A further name of a file may be restored as the file itself.
        let is_its = head.name.ends_with(path);
        let path = if is_its { name.end - path.len()..name.end } else { self.keep(path) };
        if directory.is_some() {
            self.tell(place, path.clone());
        }
        let directory = directory.map(Arc::clone);
        self.current.tasks.push(Task::new(Arc::clone(place), directory, head, at, name, path, metadata));
        self.current.bytes += head.stored.length;
        if self.current.is_full() { self.hand_over(warnings) } else { Ok(()) }
    }

    /// Something was made without a worker: the observer hears of it in its turn.
    pub(super) fn made(&mut self, place: &Arc<Place>, path: &[u8], warnings: &mut Warnings) -> Result<()> {
        let name = self.keep(path);
        self.tell(place, name);
        if self.current.is_full() { self.hand_over(warnings) } else { Ok(()) }
    }

    fn keep(&mut self, name: &[u8]) -> Range<usize> {
        let from = self.current.names.len();
        self.current.names.extend_from_slice(name);
        from..self.current.names.len()
    }

    /// Makes that the observer hears of a path.
    fn tell(&mut self, place: &Arc<Place>, path: Range<usize>) {
        self.current.told.push((Arc::clone(place), path));
    }

    /// A directory is complete once what was handed over so far is done.
    pub(super) fn leave(&mut self, left: Left, warnings: &mut Warnings) -> Result<()> {
        self.left.push_back((self.handed + u64::from(!self.current.is_empty()), left));
        if self.left.len() > WAITING {
            self.hand_over(warnings)?;
            while self.left.len() > WAITING / 2 {
                self.settle_next(warnings)?;
            }
        }
        Ok(())
    }

    /// Gives a warning in its turn.
    pub(super) fn warn(&mut self, path: &[u8], reason: &str, warnings: &mut Warnings) -> Result<()> {
        self.settle(warnings)?;
        warnings.warn(self.run, path, reason)
    }

    /// Waits until all that was handed over is done.
    pub(super) fn settle(&mut self, warnings: &mut Warnings) -> Result<()> {
        self.hand_over(warnings)?;
        while self.settled < self.handed || !self.left.is_empty() {
            self.settle_next(warnings)?;
        }
        Ok(())
    }

    /// Ends the work: the first error in the order of the archive is the one that counts, and `result` came last.
    pub(super) fn finish(mut self, result: Result<()>, warnings: &mut Warnings) -> Result<()> {
        if self.failed { result } else { self.settle(warnings).and(result) }
    }

    fn hand_over(&mut self, warnings: &mut Warnings) -> Result<()> {
        if !self.current.is_empty() {
            let batch = std::mem::replace(&mut self.current, self.spare.pop().unwrap_or_default());
            let number = self.handed;
            self.handed += 1;
            if let Some(worker) = &mut self.alone {
                let outcome = do_batch(worker, batch);
                self.shared.lock().put(number, outcome);
            } else {
                let mut state = self.shared.lock();
                state.queue.push_back((number, batch));
                state.under_way += 1;
                self.shared.work.notify_one();
                while state.under_way > AHEAD * self.workers {
                    state = self.shared.wait_done(state);
                }
            }
        }
        while let Some(outcome) = self.next_outcome(false) {
            self.look_at(outcome, warnings)?;
        }
        while self.handed - self.settled > UNSETTLED {
            self.settle_next(warnings)?;
        }
        self.complete_directories(warnings)
    }

    /// Waits for one more batch.
    fn settle_next(&mut self, warnings: &mut Warnings) -> Result<()> {
        if self.settled < self.handed
            && let Some(outcome) = self.next_outcome(true)
        {
            self.look_at(outcome, warnings)?;
        }
        self.complete_directories(warnings)
    }

    fn next_outcome(&mut self, wait: bool) -> Option<Outcome> {
        let mut state = self.shared.lock();
        loop {
            if let Some(Some(_)) = state.outcomes.front() {
                state.next += 1;
                self.settled += 1;
                return state.outcomes.pop_front().flatten();
            }
            if !wait {
                return None;
            }
            state = self.shared.wait_done(state);
        }
    }

    fn look_at(&mut self, mut outcome: Outcome, warnings: &mut Warnings) -> Result<()> {
        self.failed = true;
        for (path, reason) in outcome.warnings.drain(..) {
            warnings.warn(self.run, &path, reason)?;
        }
        if let Some(error) = outcome.error {
            return Err(error);
        }
        let mut batch = outcome.batch;
        for (place, path) in &batch.told {
            self.run.observer.member(&join(&place.volume, &batch.names[path.clone()]));
        }
        batch.clear();
        self.spare.push(batch);
        self.failed = false;
        self.complete_directories(warnings)
    }

    fn complete_directories(&mut self, warnings: &mut Warnings) -> Result<()> {
        self.failed = true;
        while self.left.front().is_some_and(|(after, _)| *after <= self.settled)
            && let Some((_, Left { handle, metadata, fresh, path })) = self.left.pop_front()
        {
            metadata.apply(&handle, fresh, &path, &mut |reason| warnings.warn(self.run, &path, reason))?;
        }
        self.failed = false;
        Ok(())
    }

    pub(super) fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl State {
    fn put(&mut self, number: u64, outcome: Outcome) {
        let at = usize::try_from(number - self.next).unwrap_or(0);
        if self.outcomes.len() <= at {
            self.outcomes.resize_with(at + 1, || None);
        }
        if outcome.error.is_some() {
            self.failed = Some(self.failed.map_or(number, |failed| failed.min(number)));
        }
        self.outcomes[at] = Some(outcome);
    }
}

/// What a worker's thread does.
fn work(shared: &Shared, worker: &mut Worker) {
    let mut state = shared.lock();
    loop {
        let Some((number, batch)) = state.queue.pop_front() else {
            if state.closed {
                return;
            }
            shared.idle.fetch_add(1, Ordering::Relaxed);
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            shared.idle.fetch_sub(1, Ordering::Relaxed);
            continue;
        };
        let needed = state.failed.is_none_or(|failed| number < failed);
        drop(state);
        #[cfg(test)]
        tests::delay(number);
        let mut promise = Promise { shared, number, outcome: None };
        promise.outcome = Some(if needed { do_batch(worker, batch) } else { Outcome::default() });
        drop(promise);
        state = shared.lock();
    }
}

fn do_batch(worker: &mut Worker, batch: Batch) -> Outcome {
    let mut outcome = Outcome::default();
    worker.run(&batch, &mut outcome);
    outcome.batch = batch;
    // Whoever walks may be waiting for its buffer.
    outcome.batch.chunk = Arc::default();
    outcome.batch.tasks.clear();
    outcome
}

/// That there will be an outcome, also should the worker panic: else it would be waited for without end.
struct Promise<'a> {
    shared: &'a Shared,
    number: u64,
    outcome: Option<Outcome>,
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| {
            let lost = std::io::Error::other("a thread of this program panicked");
            let error = Err::<(), _>(lost).context("write", "the volumes").err();
            Outcome { error, ..Outcome::default() }
        });
        let mut state = self.shared.lock();
        state.under_way -= 1;
        state.put(self.number, outcome);
        drop(state);
        self.shared.done.notify_one();
    }
}

#[cfg(test)]
mod tests;
