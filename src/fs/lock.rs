//! Locks between programs: `flock`, which is let go when the holder dies.

use std::fs::TryLockError;
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Context, Error, Hint, Result};
use crate::fs::{FileKind, Handle, has_errno};
use crate::name::Shown;
use crate::observer::Run;

const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

/// Locks what `handle` has open, and waits up to `timeout`, saying so once. On a filesystem without locks it
/// warns and goes on.
pub(crate) fn lock(handle: &Handle, mode: Mode, what: &Shown, timeout: Duration, run: &Run) -> Result<()> {
    if try_lock(handle, mode, what, timeout, run)? {
        return Ok(());
    }
    let reason = format!("another run still uses it after {} s", timeout.as_secs());
    Err(Error::Volume { action: "lock", volume: what.clone(), reason }.with_hint(Hint::WaitLonger))
}

/// Whether the lock could be had.
fn try_lock(handle: &Handle, mode: Mode, what: &Shown, timeout: Duration, run: &Run) -> Result<bool> {
    let start = Instant::now();
    let mut said = false;
    loop {
        match lock_now(handle, mode) {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(TryLockError::Error(error)) if lacks_locks(&error) => {
                let reason = "this filesystem has no locks: nothing else may use it until this run is done";
                run.warn(what.to_string().as_bytes(), reason)?;
                return Ok(true);
            }
            Err(TryLockError::Error(source)) => {
                return Err(Error::Io { action: "lock", path: what.clone(), source });
            }
            Err(TryLockError::WouldBlock) => {}
        }
        if start.elapsed() >= timeout {
            return Ok(false);
        }
        if !said {
            said = true;
            run.observer.note(&format!("waiting for another run that uses {what}"));
        }
        run.cancel.check("nothing was changed")?;
        std::thread::sleep(POLL.min(timeout.saturating_sub(start.elapsed())));
    }
}

/// Locks without waiting; whether nobody else has it. An error also says that the filesystem has no locks.
pub(crate) fn take(handle: &Handle, mode: Mode) -> io::Result<bool> {
    match lock_now(handle, mode) {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn lock_now(handle: &Handle, mode: Mode) -> Result<(), TryLockError> {
    match mode {
        Mode::Shared => handle.as_file().try_lock_shared(),
        Mode::Exclusive => handle.as_file().try_lock(),
    }
}

/// Locks several like [`lock`], in an order that depends on nothing but what they are: of two runs that need
/// the same ones neither waits for one that the other has while that waits for it.
///
/// A file is only read with a warning where it stays locked: it may be that the program whose file it is
/// keeps it so.
pub(crate) fn lock_all<'a>(
    handles: impl IntoIterator<Item = (&'a Handle, Shown)>,
    mode: Mode,
    timeout: Duration,
    run: &Run,
) -> Result<()> {
    let mut order = Vec::new();
    for (handle, what) in handles {
        let stat = handle.stat().context("look at", what.clone())?;
        order.push((stat, handle, what));
    }
    order.sort_by_key(|(stat, ..)| stat.id);
    order.iter().try_for_each(|(stat, handle, what)| {
        if (mode, stat.kind) != (Mode::Shared, FileKind::File) {
            return lock(handle, mode, what, timeout, run);
        }
        if !try_lock(handle, mode, what, timeout, run)? {
            let reason = "another program keeps it locked: what was stored may be a mixture";
            run.warn(what.to_string().as_bytes(), reason)?;
        }
        Ok(())
    })
}

fn lacks_locks(error: &io::Error) -> bool {
    has_errno(error, &[Errno::ENOLCK, Errno::EOPNOTSUPP, Errno::ENOSYS])
}
