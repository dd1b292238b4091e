//! What a run does to files and directories, call by call, so that tests can replay any part of it (see
//! `crate::crash`). Every call in `fs` that changes something on disk is made inside of `recorded!`. Outside
//! of tests that is the call and nothing else: this module is not compiled then.

use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::readlinkat;

use crate::fs::stat::{FileId, FileKind, Stat, stat_at, stat_handle};
use crate::time::Time;

/// One call that succeeded, in the order in which they did.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// How many events were complete when this call began: a sync covers these and no others.
    pub(crate) began: usize,
    /// The file or directory that it was called with.
    pub(crate) on: FileId,
    pub(crate) call: Call,
}

#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// A clone is one too: the bytes that it makes readable.
    Write {
        offset: u64,
        data: Vec<u8>,
    },
    Truncate(u64),
    Punch {
        offset: u64,
        length: u64,
    },
    /// `fsync` and `fdatasync`.
    Sync,
    /// `syncfs`.
    SyncAll,
    /// Anything that has a new number; for a symbolic link with its target.
    Create {
        name: Vec<u8>,
        made: Box<Stat>,
        target: Vec<u8>,
    },
    Link {
        name: Vec<u8>,
        from: FileId,
        original: Vec<u8>,
    },
    Rename {
        name: Vec<u8>,
        to: FileId,
        new_name: Vec<u8>,
    },
    Exchange {
        name: Vec<u8>,
        other: Vec<u8>,
    },
    /// Of a file or of an empty directory.
    Remove(Vec<u8>),
    Owner(u32, u32),
    Mode(u32),
    Mtime(Time),
    /// An extended attribute, removed when it has no value.
    Xattr(Vec<u8>, Option<Vec<u8>>),
}

static ACTIVE: AtomicBool = AtomicBool::new(false);
static EVENTS: Mutex<Vec<Recorded>> = Mutex::new(Vec::new());
/// Held by the one recording that there is.
static RECORDING: Mutex<()> = Mutex::new(());

/// Does `run`, and gives what it did to the filesystem with the number `dev`. All threads are recorded.
pub(crate) fn record<T>(dev: (u32, u32), run: impl FnOnce() -> T) -> (T, Vec<Recorded>) {
    let _one = RECORDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    EVENTS.lock().unwrap().clear();
    ACTIVE.store(true, Ordering::SeqCst);
    let done = run();
    ACTIVE.store(false, Ordering::SeqCst);
    let all = std::mem::take(&mut *EVENTS.lock().unwrap());
    // Other tests run beside this one: their events go, and are not counted.
    let kept = |event: &&Recorded| event.on.dev == dev;
    let events = all.iter().filter(kept).map(|event| {
        let began = all[..event.began].iter().filter(kept).count();
        Recorded { began, ..event.clone() }
    });
    (done, events.collect())
}

/// A call that has begun. `None` when nothing is recorded.
pub(crate) struct Begun(Option<usize>);

pub(crate) fn begin() -> Begun {
    Begun(ACTIVE.load(Ordering::SeqCst).then(|| EVENTS.lock().unwrap().len()))
}

impl Begun {
    /// The call succeeded.
    pub(crate) fn end(self, on: impl AsFd, call: impl FnOnce() -> io::Result<Call>) {
        let Some(began) = self.0 else { return };
        let event = Recorded { began, on: stat_handle(on).unwrap().id, call: call().unwrap() };
        EVENTS.lock().unwrap().push(event);
    }
}

impl Call {
    /// What was made as `name`.
    pub(crate) fn create(parent: impl AsFd, name: &[u8]) -> io::Result<Call> {
        let made = Box::new(stat_at(&parent, name)?);
        let target = if made.kind == FileKind::Symlink {
            readlinkat(parent, name, Vec::new())?.into_bytes()
        } else {
            Vec::new()
        };
        Ok(Call::Create { name: name.to_vec(), made, target })
    }

    /// What was cloned or written there, read back.
    pub(crate) fn write(to: impl AsFd, offset: u64, length: u64) -> io::Result<Call> {
        let mut data = vec![0; usize::try_from(length).unwrap()];
        let mut read = 0;
        while read < data.len() {
            let count = rustix::io::pread(&to, &mut data[read..], offset + read as u64)?;
            assert!(count > 0, "what was written is there");
            read += count;
        }
        Ok(Call::Write { offset, data })
    }
}

impl Recorded {
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self.call, Call::Sync | Call::SyncAll)
    }
}
