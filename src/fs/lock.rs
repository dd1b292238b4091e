//! Locks between programs: `flock`, which is let go when the holder dies.

use std::fs::TryLockError;
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Context, Error, Result};
use crate::fs::Handle;
use crate::fs::xattrs::is;
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
    let start = Instant::now();
    let mut said = false;
    loop {
        let tried = match mode {
            Mode::Shared => handle.as_file().try_lock_shared(),
            Mode::Exclusive => handle.as_file().try_lock(),
        };
        match tried {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) if lacks_locks(&error) => {
                let reason = "this filesystem has no locks: nothing else may use it until this run is done";
                run.warn(what.to_string().as_bytes(), reason)?;
                return Ok(());
            }
            Err(TryLockError::Error(source)) => {
                return Err(Error::Io { action: "lock", path: what.clone(), source });
            }
            Err(TryLockError::WouldBlock) => {}
        }
        if start.elapsed() >= timeout {
            return Err(Error::Volume {
                action: "lock",
                volume: what.clone(),
                reason: format!(
                    "another run still uses it after {} s: wait for that one, or give it longer with --lock-timeout",
                    timeout.as_secs()
                ),
            });
        }
        if !said {
            said = true;
            run.observer.note(&format!("waiting for another run that uses {what}"));
        }
        run.cancel.check("nothing was changed")?;
        std::thread::sleep(POLL.min(timeout.saturating_sub(start.elapsed())));
    }
}

/// Locks several like [`lock`], in an order that depends on nothing but what they are: of two runs that need the same ones
/// neither waits for one that the other has while that waits for it.
pub(crate) fn lock_all<'a>(
    handles: impl IntoIterator<Item = (&'a Handle, Shown)>,
    mode: Mode,
    timeout: Duration,
    run: &Run,
) -> Result<()> {
    let mut order = Vec::new();
    for (handle, what) in handles {
        let id = handle.stat().context("look at", what.clone())?.id;
        order.push(((id.dev, id.ino), handle, what));
    }
    order.sort_by_key(|(id, ..)| *id);
    order.iter().try_for_each(|(_, handle, what)| lock(handle, mode, what, timeout, run))
}

fn lacks_locks(error: &io::Error) -> bool {
    is(error, Errno::ENOLCK) || is(error, Errno::EOPNOTSUPP) || is(error, Errno::ENOSYS)
}
