//! The threads of one backup. One walks the volumes and gives every member its place in the archive; all of them,
//! that one too when nothing can be added, read what was placed and write it there.
//!
//! Writes to one file exclude each other in the kernel, so at any time one thread writes while the others read. The
//! order is whatever comes: every piece knows its offset, and until the commit nobody looks.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::archive::append::Append;
use crate::backup::batch::Batch;
use crate::backup::large::Large;
use crate::error::{Error, Result};
use crate::fs::clone::DevicePair;
use crate::observer::Run;
use crate::snapshot::digest::Digest;
use crate::snapshot::manifest::Warnings;

/// The most threads that are of use: one of them writes.
const MAX_THREADS: usize = 8;
/// How many jobs wait at most, before the walking thread takes part in doing them.
const MAX_JOBS: usize = 4;
/// How many filled buffers wait at most, before nothing more is read.
const MAX_WRITES: usize = 8;

/// Something whose place in the archive is fixed, and that is still to be read.
#[derive(Debug)]
pub(super) enum Job {
    /// Members that are small.
    Batch(Batch),
    /// One that is not.
    Large(Box<Large>),
}

/// Bytes that go to an offset of the archive.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
}

/// Numbers of members whose checksums are known.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) digest: Digest,
    pub(super) unhashed: u64,
}

impl Tally {
    /// Counts a member, `offset` bytes from the snapshot's start.
    pub(super) fn add_member(&mut self, offset: u64, checksum: &blake3::Hash) {
        self.digest.add(offset, checksum.as_bytes());
    }

    fn add(&mut self, other: &Tally) {
        self.digest.merge(&other.digest);
        self.unhashed += other.unhashed;
    }
}

pub(super) struct Crew<'a> {
    pub(super) append: &'a Append,
    pub(super) run: &'a Run<'a>,
    pub(super) clones: DevicePair,
    warnings: Mutex<Warnings>,
    state: Mutex<State>,
    /// There is something to do, or room for more.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    pieces: VecDeque<Piece>,
    /// One thread is writing.
    writing: bool,
    /// How many jobs are being done.
    busy: usize,
    /// No more will come.
    closed: bool,
    tally: Tally,
    /// What failed, and at which offset: of several, what comes first in the archive.
    failed: Option<(u64, Error)>,
    stopped: bool,
    /// To be used again.
    buffers: Vec<Vec<u8>>,
    batches: Vec<Batch>,
}

enum Task {
    Job(Job),
    Write(Piece),
}

impl<'a> Crew<'a> {
    pub(super) fn new(append: &'a Append, run: &'a Run<'a>) -> Self {
        Crew {
            append,
            run,
            clones: DevicePair::default(),
            warnings: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Runs `walk` in this thread, with as many others at its side as the machine has processors.
    pub(super) fn with_helpers<T>(&self, walk: impl FnOnce() -> Result<T>) -> Result<T> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        thread::scope(|scope| {
            let closing = Closing(self);
            for _ in 1..threads {
                let helper = thread::Builder::new().name("reader".to_owned());
                if helper.spawn_scoped(scope, || self.help()).is_err() {
                    // Fewer will do.
                    break;
                }
            }
            let walked = walk();
            drop(closing);
            walked
        })
    }

    pub(super) fn warn(&self, path: &[u8], reason: impl Into<String>) -> Result<()> {
        lock(&self.warnings).warn(self.run, path, reason)
    }

    /// The warnings until now.
    pub(super) fn take_warnings(&self) -> Warnings {
        std::mem::take(&mut lock(&self.warnings))
    }

    /// A buffer with whatever is in it: one that was used before, if there is one.
    pub(super) fn buffer(&self) -> Vec<u8> {
        lock(&self.state).buffers.pop().unwrap_or_default()
    }

    /// A batch that was read, or a new one, with such a buffer.
    pub(super) fn batch(&self) -> Batch {
        let mut state = lock(&self.state);
        let buffer = state.buffers.pop().unwrap_or_default();
        state.batches.pop().unwrap_or_default().with_buffer(buffer)
    }

    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        lock(&self.state).buffers.push(buffer);
    }

    /// Hands over a job; does others while too many are waiting.
    pub(super) fn push(&self, job: Job) -> Result<()> {
        let mut state = lock(&self.state);
        loop {
            if state.stopped {
                return Err(state.error());
            }
            if state.jobs.len() < MAX_JOBS {
                state.jobs.push_back(job);
                self.changed.notify_one();
                return Ok(());
            }
            state = self.step(state);
        }
    }

    /// Does what there is until all is written, and returns the numbers of all members.
    pub(super) fn finish(&self) -> Result<Tally> {
        let mut state = lock(&self.state);
        while !state.is_idle() {
            state = self.step(state);
        }
        if state.stopped { Err(state.error()) } else { Ok(state.tally) }
    }

    fn help(&self) {
        let mut state = lock(&self.state);
        while !(state.closed && state.is_idle()) {
            state = self.step(state);
        }
        // The others may wait for just that.
        self.changed.notify_all();
    }

    /// Does one task, or waits for one.
    fn step<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let Some(task) = state.take() else {
            return self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let more = state.has_task();
        drop(state);
        if more {
            self.changed.notify_one();
        }
        let state = match task {
            Task::Write(piece) => self.write(piece),
            Task::Job(job) => self.work(job),
        };
        self.changed.notify_one();
        if state.is_idle() {
            self.changed.notify_all();
        }
        state
    }

    fn write(&self, piece: Piece) -> MutexGuard<'_, State> {
        let stopping = Stopping(self);
        jitter();
        let written = self.append.write(&piece.bytes, piece.at);
        stopping.defuse();
        let mut state = lock(&self.state);
        state.writing = false;
        state.buffers.push(piece.bytes);
        if let Err(error) = written {
            state.fail(piece.at, error);
        }
        state
    }

    fn work(&self, job: Job) -> MutexGuard<'_, State> {
        let stopping = Stopping(self);
        jitter();
        let mut tally = Tally::default();
        let (mut more, mut former) = (None, None);
        let (at, done) = match job {
            Job::Batch(mut batch) => {
                let piece = batch.read(self, &mut tally);
                let at = batch.at();
                former = Some(batch);
                (at, piece.map(|piece| [Some(piece), None]))
            }
            Job::Large(mut large) => {
                let done = large.step(self, &mut tally);
                let at = large.at();
                more = (!large.is_done()).then_some(Job::Large(large));
                (at, done)
            }
        };
        stopping.defuse();
        let mut state = lock(&self.state);
        state.busy = state.busy.saturating_sub(1);
        state.batches.extend(former);
        match done {
            Ok(_) if state.stopped => {}
            Ok(pieces) => {
                state.tally.add(&tally);
                state.pieces.extend(pieces.into_iter().flatten());
                // In front: files are finished, and closed, in their order.
                if let Some(more) = more {
                    state.jobs.push_front(more);
                }
            }
            Err(error) => state.fail(at, error),
        }
        state
    }
}

impl State {
    /// What is to be done next, if there is anything that can be done now.
    fn take(&mut self) -> Option<Task> {
        if !self.writing
            && let Some(piece) = self.pieces.pop_front()
        {
            self.writing = true;
            return Some(Task::Write(piece));
        }
        if self.pieces.len() < MAX_WRITES
            && let Some(job) = self.jobs.pop_front()
        {
            self.busy += 1;
            return Some(Task::Job(job));
        }
        None
    }

    fn has_task(&self) -> bool {
        (!self.writing && !self.pieces.is_empty())
            || (self.pieces.len() < MAX_WRITES && !self.jobs.is_empty())
    }

    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.pieces.is_empty() && !self.writing && self.busy == 0
    }

    fn fail(&mut self, at: u64, error: Error) {
        if self.failed.as_ref().is_none_or(|(first, _)| at < *first) {
            self.failed = Some((at, error));
        }
        self.stop();
    }

    /// Nothing that was not begun is done any more.
    fn stop(&mut self) {
        self.stopped = true;
        self.jobs.clear();
        self.pieces.clear();
    }

    fn error(&mut self) -> Error {
        let stopped = Error::Stopped { signal: "a failure", state: "the archive is as it was" };
        self.failed.take().map_or(stopped, |(_, error)| error)
    }
}

/// Where tests delay and reorder what the threads do.
#[cfg(not(test))]
fn jitter() {}

#[cfg(test)]
fn jitter() {
    tests::jitter();
}

/// Ends the helpers, whichever way the walk ends.
struct Closing<'c, 'a>(&'c Crew<'a>);

impl Drop for Closing<'_, '_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.closed = true;
        // After `finish` there is nothing left, so this ends only what failed.
        state.stop();
        drop(state);
        self.0.changed.notify_all();
    }
}

/// A panic in one thread must not leave the others waiting for it.
struct Stopping<'c, 'a>(&'c Crew<'a>);

impl Stopping<'_, '_> {
    fn defuse(self) {
        std::mem::forget(self);
    }
}

impl Drop for Stopping<'_, '_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.stop();
        (state.busy, state.writing, state.closed) = (0, false, true);
        drop(state);
        self.0.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use crate::backup::{BackupOptions, backup};
    use crate::config::{Config, Exclude, Need};
    use crate::observer::{Cancel, Observer, Run};

    /// Whether threads are delayed; tests that run beside this one only get slower.
    static DELAYED: AtomicBool = AtomicBool::new(false);

    pub(super) fn jitter() {
        if DELAYED.load(Ordering::Relaxed) {
            // A hasher of random keys is as good as a die.
            let die = RandomState::new().hash_one(0);
            std::thread::sleep(Duration::from_micros(if die.is_multiple_of(3) { die % 3000 } else { 0 }));
        }
    }

    fn volume(folder: &Path) -> Config {
        let volume = folder.join("v");
        for directory in 0..20 {
            let directory = volume.join(format!("d{directory}"));
            std::fs::create_dir_all(&directory).unwrap();
            for file in 0..40u8 {
                let content = [file; 100].repeat(usize::from(file) * usize::from(file));
                std::fs::write(directory.join(format!("f{file}")), content).unwrap();
            }
        }
        for file in 0..4u8 {
            std::fs::write(volume.join(format!("large{file}")), [file; 1000].repeat(2000)).unwrap();
        }
        Config::from_parts("p", [volume.to_str().unwrap()], Exclude::default(), Need::Volumes).unwrap()
    }

    fn archive(folder: &Path) -> BackupOptions {
        let archive = folder.join("a.tar");
        let _ = std::fs::remove_file(&archive);
        crate::init_archive(&archive).unwrap();
        BackupOptions { archive, ..BackupOptions::default() }
    }

    #[test]
    fn the_archive_is_the_same_however_its_readers_are_delayed() {
        let folder = tempfile::tempdir().unwrap();
        let config = volume(folder.path());
        let mut first: Option<Vec<u8>> = None;
        for round in 0..12 {
            DELAYED.store(round > 0, Ordering::Relaxed);
            let options = archive(folder.path());
            backup(&config, &options, &Run::default()).unwrap();
            let mut bytes = std::fs::read(&options.archive).unwrap();
            // What follows holds the time.
            let name = b"p/volumes-data.yml";
            let end = bytes.windows(name.len()).position(|window| window == name).unwrap() - 1024;
            bytes.truncate(end);
            assert!(bytes.len() > 8_000_000);
            assert!(first.get_or_insert_with(|| bytes.clone()) == &bytes, "round {round}");
            let verify = crate::ListOptions { archive: options.archive, ..crate::ListOptions::default() };
            assert!(crate::verify(&verify, &Run::default()).unwrap().problems.is_empty());
        }
        DELAYED.store(false, Ordering::Relaxed);
    }

    /// Stops the run when so many bytes have been read.
    struct StopAt(Cancel, std::sync::atomic::AtomicU64);

    impl Observer for StopAt {
        fn bytes(&self, count: u64) {
            let left = self.1.load(Ordering::Relaxed).saturating_sub(count);
            self.1.store(left, Ordering::Relaxed);
            if left == 0 {
                self.0.stop();
            }
        }
    }

    #[test]
    fn a_run_that_is_stopped_anywhere_leaves_the_archive_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let config = volume(folder.path());
        let options = archive(folder.path());
        for after in [1, 100_000, 1_000_000, 5_000_000, 20_000_000] {
            let cancel = Cancel::default();
            let observer = StopAt(cancel.clone(), after.into());
            let run = Run { cancel, ..Run::new(&observer) };
            let error = backup(&config, &options, &run).unwrap_err().to_string();
            assert!(error.contains("the archive is as it was"), "{error}");
            assert_eq!(std::fs::read(&options.archive).unwrap(), [0; 1024], "after {after}");
        }
    }
}
