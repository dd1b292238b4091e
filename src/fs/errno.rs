//! What an error of the system is, by its number.

use std::io;

use nix::errno::Errno;

/// Whether the system's reason was one of these.
pub(crate) fn has_errno(error: &io::Error, any_of: &[Errno]) -> bool {
    error.raw_os_error().is_some_and(|number| any_of.iter().any(|&errno| errno as i32 == number))
}

/// Makes a call again as long as a signal interrupts it, which a file server may let happen to any that opens
/// or asks.
pub(crate) fn uninterrupted<T, E: Into<io::Error>>(mut call: impl FnMut() -> Result<T, E>) -> io::Result<T> {
    loop {
        match call().map_err(E::into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
