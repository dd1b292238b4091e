//! The threads of one backup. One walks the volumes and gives every member its place in the archive; all of
//! them, that one too when nothing can be added, read what was placed and write it there.
//!
//! Writes to one file exclude each other in the kernel, so at any time one thread writes while the others
//! read. The order does not matter: every piece knows its offset, and until the commit nobody looks. (To a
//! stream they are written in the order of these offsets.) Who does
//! what next, and who is woken when, is decided in [`queue`](crate::backup::queue).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::backup::bundle::Bundle;
use crate::backup::large::Large;
use crate::backup::piece::{Piece, Totals};
use crate::backup::queue::{Located, Next, Until, Wake, Work, WorkQueue};
use crate::backup::shared::{BackupRun, lock};
use crate::error::{Error, Result};

/// The most threads that are of use: one of them writes.
const MAX_THREADS: usize = 8;
/// How many jobs wait at most, before the walking thread takes part in doing them.
const MAX_JOBS: usize = 4;
/// How many filled buffers wait when nothing more is read.
const MAX_PIECES: usize = 8;

/// Something whose place in the archive is fixed, and that is still to be read.
#[derive(Debug)]
pub(super) enum ReadJob {
    /// Members that are small.
    Bundle(Bundle),
    /// One that is not.
    Large(Box<Large>),
    /// Nothing is to be read for it: it has its turn.
    Ready(Piece),
}

impl Located for ReadJob {
    fn at(&self) -> u64 {
        match self {
            ReadJob::Bundle(bundle) => bundle.at(),
            ReadJob::Large(large) => large.at(),
            ReadJob::Ready(piece) => piece.at,
        }
    }

    fn len(&self) -> u64 {
        0
    }
}

impl Located for Piece {
    fn at(&self) -> u64 {
        self.at
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

pub(super) struct Scheduler<'a> {
    pub(super) shared: &'a BackupRun<'a>,
    schedule: Mutex<Schedule>,
    /// Waited for by all threads that find nothing to do.
    changed: Condvar,
}

struct Schedule {
    queue: WorkQueue<ReadJob, Piece>,
    totals: Totals,
    failed: Option<FirstFailure>,
    /// To be used again.
    bundles: Vec<Bundle>,
}

/// What failed: of several failures, the one that comes first in the archive.
struct FirstFailure {
    at: u64,
    error: Error,
}

impl<'a> Scheduler<'a> {
    pub(super) fn new(shared: &'a BackupRun<'a>) -> Self {
        let in_order = shared.outlet.is_stream().then(|| shared.outlet.first());
        let schedule = Schedule {
            queue: WorkQueue::new(MAX_JOBS, MAX_PIECES, in_order),
            totals: Totals::default(),
            failed: None,
            bundles: Vec::new(),
        };
        Scheduler { shared, schedule: Mutex::new(schedule), changed: Condvar::new() }
    }

    /// Runs `walk` in this thread, with as many others at its side as the machine has processors.
    pub(super) fn with_helpers<T>(&self, walk: impl FnOnce() -> Result<T>) -> Result<T> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        thread::scope(|scope| {
            let end_helpers = EndHelpers(self);
            for _ in 1..threads {
                let helper = thread::Builder::new().name("reader".to_owned());
                if helper.spawn_scoped(scope, || drop(self.work(Until::Ended))).is_err() {
                    // Fewer will do.
                    break;
                }
            }
            let walked = walk();
            drop(end_helpers);
            walked
        })
    }

    /// A bundle that was read, or a new one, with a buffer that has anything in it.
    pub(super) fn bundle(&self) -> Bundle {
        let bundle = lock(&self.schedule).bundles.pop().unwrap_or_default();
        bundle.with_buffer(self.shared.buffer())
    }

    /// Hands over a job; does others while too many are waiting.
    pub(super) fn push(&self, job: ReadJob) -> Result<()> {
        let mut schedule = self.work(Until::Room);
        if schedule.queue.is_stopped() {
            return Err(schedule.error());
        }
        self.wake(schedule.queue.push(job));
        Ok(())
    }

    /// Does what there is until all is written, and returns the numbers of all members.
    pub(super) fn finish(&self) -> Result<Totals> {
        let mut schedule = self.work(Until::Written);
        if schedule.queue.is_stopped() { Err(schedule.error()) } else { Ok(schedule.totals) }
    }

    /// Does what there is, and waits where there is nothing, until that has come.
    fn work(&self, until: Until) -> MutexGuard<'_, Schedule> {
        let mut schedule = lock(&self.schedule);
        loop {
            match schedule.queue.next(until) {
                Next::Over => return schedule,
                Next::Wait => {
                    schedule = self.changed.wait(schedule).unwrap_or_else(PoisonError::into_inner);
                }
                Next::Do(step, wake) => {
                    drop(schedule);
                    self.wake(wake);
                    schedule = match step {
                        Work::Write(piece) => self.write(piece),
                        Work::Read(ReadJob::Bundle(bundle)) => self.read_bundle(bundle),
                        Work::Read(ReadJob::Large(large)) => self.read_large(large),
                        Work::Read(ReadJob::Ready(piece)) => {
                            let mut schedule = lock(&self.schedule);
                            self.wake(schedule.queue.read([piece], None));
                            schedule
                        }
                    };
                }
            }
        }
    }

    fn wake(&self, wake: Wake) {
        match wake {
            Wake::Nobody => {}
            Wake::One => self.changed.notify_one(),
            Wake::All => self.changed.notify_all(),
        }
    }

    fn write(&self, mut piece: Piece) -> MutexGuard<'_, Schedule> {
        let (at, mut totals) = (piece.at, Totals::default());
        let written = self.guarded(|| {
            piece.seal(&mut totals)?;
            self.shared.outlet.write(piece.bytes, at).map(|buffer| self.shared.give_back(buffer))
        });
        let mut schedule = lock(&self.schedule);
        schedule.count(at, &totals, written);
        self.wake(schedule.queue.wrote());
        schedule
    }

    fn read_bundle(&self, mut bundle: Bundle) -> MutexGuard<'_, Schedule> {
        let mut totals = Totals::default();
        let read = self.guarded(|| bundle.read(self.shared, &mut totals));
        let at = bundle.at();
        let mut schedule = lock(&self.schedule);
        schedule.bundles.push(bundle);
        let piece = schedule.count(at, &totals, read);
        self.wake(schedule.queue.read(piece, None));
        schedule
    }

    fn read_large(&self, mut large: Box<Large>) -> MutexGuard<'_, Schedule> {
        let mut totals = Totals::default();
        let read = self.guarded(|| large.step(self.shared, &mut totals));
        let at = large.at();
        let rest = (!large.is_done()).then_some(ReadJob::Large(large));
        let mut schedule = lock(&self.schedule);
        let pieces = schedule.count(at, &totals, read);
        self.wake(schedule.queue.read(pieces.into_iter().flatten().flatten(), rest));
        schedule
    }

    /// Does what may panic, so that no other thread then waits for this one.
    fn guarded<T>(&self, step: impl FnOnce() -> T) -> T {
        let abort = AbortOnPanic(self);
        jitter();
        let done = step();
        std::mem::forget(abort);
        done
    }
}

impl Schedule {
    /// Takes what came of a step of the job at `at`, unless it failed.
    fn count<T>(&mut self, at: u64, totals: &Totals, read: Result<T>) -> Option<T> {
        match read {
            Ok(read) => {
                self.totals.add(totals);
                Some(read)
            }
            Err(error) => {
                self.fail(at, error);
                None
            }
        }
    }

    fn fail(&mut self, at: u64, error: Error) {
        if self.failed.as_ref().is_none_or(|first| at < first.at) {
            self.failed = Some(FirstFailure { at, error });
        }
        self.queue.stop();
    }

    fn error(&mut self) -> Error {
        let stopped = Error::Stopped { signal: "a failure", state: "the archive is as it was" };
        self.failed.take().map_or(stopped, |failure| failure.error)
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
struct EndHelpers<'s, 'a>(&'s Scheduler<'a>);

impl Drop for EndHelpers<'_, '_> {
    fn drop(&mut self) {
        let wake = lock(&self.0.schedule).queue.close();
        self.0.wake(wake);
    }
}

/// A panic in one thread must not leave the others waiting for it.
struct AbortOnPanic<'s, 'a>(&'s Scheduler<'a>);

impl Drop for AbortOnPanic<'_, '_> {
    fn drop(&mut self) {
        let wake = lock(&self.0.schedule).queue.abort();
        self.0.wake(wake);
    }
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
            let verify =
                crate::ListOptions { archive: options.archive.into(), ..crate::ListOptions::default() };
            assert!(crate::verify(&verify, &Run::default()).unwrap().problems.is_empty());
        }
        DELAYED.store(false, Ordering::Relaxed);
    }

    /// Stops the run when this many bytes have been read.
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
