//! Files are written by several workers side by side. The thread that walks the archive makes directories and
//! links itself, and hands files over in batches, together with what it has read of them. What comes of a
//! batch is looked at in the order of the archive: so warnings have an order, the first error is the one that
//! is reported, and a directory is given its time when all in it was made.
//!
//! However many files there are, the number of batches under way is limited, and so is that of directories
//! that wait.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use crate::archive::chunk::Chunks;
use crate::archive::open::Reader;
use crate::archive::walk::CHUNK;
use crate::error::{Context, Result};
use crate::fs::Handle;
use crate::restore::batch::{Batch, NewFile, Outcome, PerVolume};
use crate::restore::job::Job;
use crate::restore::metadata::Metadata;
use crate::restore::owners::Remark;
use crate::restore::parts::Idle;
use crate::restore::worker::Worker;

/// The most workers: more of them only wait for each other.
const MAX_WORKERS: usize = 4;
/// How many batches may be under way for each worker.
const AHEAD: usize = 4;
/// How many batches may wait for an earlier one, so that a worker with a large file does not hold up the
/// others.
const UNSETTLED: u64 = if cfg!(test) { 12 } else { 256 };
/// How many directories may wait for what is in them, with an open handle each.
const WAITING: usize = if cfg!(test) { 8 } else { 128 };

/// A directory that was left, and waits for what is in it.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) handle: Arc<Handle>,
    pub(super) metadata: Metadata,
    pub(super) fresh: bool,
    /// The full path, for messages.
    pub(super) path: Vec<u8>,
}

#[derive(Debug)]
struct Waiting {
    left: Left,
    /// How many batches must have been settled before.
    settled: u64,
}

/// All that the threads share.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to do, or nothing will be any more.
    work: Condvar,
    /// A batch is done.
    done: Condvar,
    idle: Arc<Idle>,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Batch>,
    /// What came of the batches from number `next` on, as far as they are done.
    outcomes: VecDeque<Option<Outcome>>,
    next: u64,
    /// How many batches were handed over and are not done.
    under_way: usize,
    /// The first batch that failed: those after it need not be begun.
    failed: Option<u64>,
    closed: bool,
}

/// Hands out work, and looks at what came of it. After the first error there is nothing left to look at.
pub(super) struct Crew<'r> {
    shared: Arc<Shared>,
    job: &'r Job<'r>,
    /// What works when there are no other threads.
    alone: Option<Worker<'r>>,
    workers: usize,
    current: Batch,
    spare: Vec<Batch>,
    /// How many batches were handed over, and how many of their outcomes were looked at.
    handed: u64,
    settled: u64,
    waiting: VecDeque<Waiting>,
}

/// How many workers this machine has use for.
pub(super) fn workers() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let processors = if cfg!(test) { MAX_WORKERS } else { processors };
    if processors == 1 { 0 } else { processors.min(MAX_WORKERS) }
}

impl<'r> Crew<'r> {
    /// Starts at most `workers` threads in `scope`; without any, the caller's does all the work.
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, workers: usize, job: &'r Job<'r>) -> Self
    where
        'r: 'scope,
    {
        let shared = Arc::new(Shared::default());
        let (reader, run) = (job.reader, job.run);
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
            job,
            alone: (workers == 0).then(|| Worker::new(Arc::clone(reader), run, Arc::default())),
            workers,
            current: Batch::default(),
            spare: Vec::new(),
            handed: 0,
            settled: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The buffers for the walk: one for each worker, as many for batches that wait, one for the walk itself and
    /// one for each snapshot that it needs, and one for the batch that is being filled.
    pub(super) fn chunks(&self) -> Arc<Chunks> {
        let bases = self.job.snapshot.bases.len().max(usize::from(self.job.snapshot.has_references));
        Chunks::new(2 * self.workers + 2 + bases, 2 * CHUNK)
    }

    /// Hands over a file.
    pub(super) fn file(&mut self, file: NewFile) -> Result<()> {
        if !self.current.takes(file.head) {
            self.hand_over()?;
        }
        self.current.add(file);
        self.hand_over_if_full()
    }

    /// Something was made without a worker: the observer hears of it in its turn.
    pub(super) fn made(&mut self, volume: &Arc<PerVolume>, path: &[u8]) -> Result<()> {
        self.current.add_made(volume, path);
        self.hand_over_if_full()
    }

    /// A directory was left. It is complete once all that was handed over before is done.
    pub(super) fn leave(&mut self, left: Left) -> Result<()> {
        let settled = self.handed + u64::from(!self.current.is_empty());
        self.waiting.push_back(Waiting { left, settled });
        if self.waiting.len() > WAITING {
            self.hand_over()?;
            while self.waiting.len() > WAITING / 2 {
                self.settle_next()?;
            }
        }
        Ok(())
    }

    /// Says in its turn what a file did not get.
    pub(super) fn remark(&mut self, path: &[u8], remark: Remark) -> Result<()> {
        self.settle()?;
        self.job.remark(path, remark)
    }

    /// Waits until all that was handed over is done.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.hand_over()?;
        while self.settled < self.handed || !self.waiting.is_empty() {
            self.settle_next()?;
        }
        Ok(())
    }

    /// Ends the work. `walked` is how the walk ended: an error of what it handed over came before its own.
    pub(super) fn finish(mut self, walked: Result<()>) -> Result<()> {
        self.settle().and(walked)
    }

    fn hand_over_if_full(&mut self) -> Result<()> {
        if self.current.is_full() { self.hand_over() } else { Ok(()) }
    }

    /// Hands over the batch that is being filled, and looks at those that are done.
    fn hand_over(&mut self) -> Result<()> {
        if !self.current.is_empty() {
            let mut batch = std::mem::replace(&mut self.current, self.spare.pop().unwrap_or_default());
            batch.number = self.handed;
            self.handed += 1;
            if let Some(worker) = &mut self.alone {
                let (number, outcome) = (batch.number, worker.run(batch));
                self.shared.lock().put(number, outcome);
            } else {
                let mut queue = self.shared.lock();
                queue.batches.push_back(batch);
                queue.under_way += 1;
                self.shared.work.notify_one();
                while queue.under_way > AHEAD * self.workers {
                    queue = self.shared.wait_done(queue);
                }
            }
        }
        while let Some(outcome) = self.next_outcome(false) {
            self.look_at(outcome)?;
        }
        while self.handed - self.settled > UNSETTLED {
            self.settle_next()?;
        }
        self.complete_directories()
    }

    /// Waits for one more batch.
    fn settle_next(&mut self) -> Result<()> {
        match self.next_outcome(true) {
            Some(outcome) => self.look_at(outcome),
            None => self.complete_directories(),
        }
    }

    /// What came of the next batch, if there is one that was handed over; with `wait`, once it is done.
    fn next_outcome(&mut self, wait: bool) -> Option<Outcome> {
        let mut queue = self.shared.lock();
        while self.settled < self.handed {
            if let Some(Some(_)) = queue.outcomes.front() {
                queue.next += 1;
                self.settled += 1;
                return queue.outcomes.pop_front().flatten();
            }
            if !wait {
                return None;
            }
            queue = self.shared.wait_done(queue);
        }
        None
    }

    fn look_at(&mut self, outcome: Outcome) -> Result<()> {
        let Outcome { mut batch, remarks, error } = outcome;
        let remarked = remarks.into_iter().try_for_each(|(path, remark)| self.job.remark(&path, remark));
        remarked.and(error.map_or(Ok(()), Err)).inspect_err(|_| self.stop())?;
        batch.report(self.job.run.observer);
        batch.clear();
        self.spare.push(batch);
        self.complete_directories()
    }

    fn complete_directories(&mut self) -> Result<()> {
        while self.waiting.front().is_some_and(|next| next.settled <= self.settled)
            && let Some(Waiting { left, .. }) = self.waiting.pop_front()
        {
            let Left { handle, metadata, fresh, path } = left;
            let applied = metadata.apply(&handle, fresh, &path, &mut |remark| self.job.remark(&path, remark));
            applied.inspect_err(|_| self.stop())?;
        }
        Ok(())
    }

    /// Leaves nothing to look at: what follows the first error does not matter.
    fn stop(&mut self) {
        self.shared.close();
        self.current.clear();
        self.waiting.clear();
        self.settled = self.handed;
    }

    pub(super) fn reader(&self) -> &Arc<Reader> {
        self.job.reader
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_done<'s>(&self, queue: MutexGuard<'s, Queue>) -> MutexGuard<'s, Queue> {
        self.done.wait(queue).unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.batches.clear();
        self.work.notify_all();
    }
}

impl Queue {
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
    let mut queue = shared.lock();
    loop {
        let Some(batch) = queue.batches.pop_front() else {
            if queue.closed {
                return;
            }
            shared.idle.fetch_add(1, Ordering::Relaxed);
            queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            shared.idle.fetch_sub(1, Ordering::Relaxed);
            continue;
        };
        let number = batch.number;
        let needed = queue.failed.is_none_or(|failed| number < failed);
        drop(queue);
        #[cfg(test)]
        tests::delay(number);
        let mut promise = Promise { shared, number, outcome: None };
        promise.outcome = Some(if needed { worker.run(batch) } else { Outcome::default() });
        drop(promise);
        queue = shared.lock();
    }
}

/// Makes sure that there is an outcome even when a worker panics: else it would be waited for without end.
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
        let mut queue = self.shared.lock();
        queue.under_way -= 1;
        queue.put(self.number, outcome);
        drop(queue);
        self.shared.done.notify_one();
    }
}

#[cfg(test)]
mod tests;
