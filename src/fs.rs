//! The only place with system calls. Everything inside a volume is reached relative to an open directory,
//! one name at a time and never through a symbolic link, so that no path string is ever resolved twice.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "clippy.toml bans std::fs everywhere, so that system calls are made here and nowhere else"
)]

/// `$call`, which changes something on disk by the handle `$on`. Tests can have it recorded, as `$what`, when
/// it succeeded.
macro_rules! recorded {
    ($on:expr, $what:expr, $call:expr) => {{
        #[cfg(test)]
        let begun = crate::fs::record::begin();
        let done = $call;
        #[cfg(test)]
        if done.is_ok() {
            use crate::fs::record::Call;
            begun.end($on, || Ok($what));
        }
        done
    }};
}

pub(crate) mod acl;
mod ajar;
pub(crate) mod by_path;
pub(crate) mod clone;
pub(crate) mod descent;
mod errno;
pub(crate) mod file;
pub(crate) mod handle;
pub(crate) mod ids;
pub(crate) mod listing;
pub(crate) mod lock;
pub(crate) mod mounts;
#[cfg(test)]
pub(crate) mod record;
pub(crate) mod remove;
pub(crate) mod search;
pub(crate) mod space;
pub(crate) mod stat;
pub(crate) mod stdout;
pub(crate) mod stream;
pub(crate) mod xattrs;

pub(crate) use ajar::{Ajar, OpenedWay};
pub(crate) use descent::Descent;
pub(crate) use errno::{has_errno, uninterrupted};
pub(crate) use file::StoreFile;
pub(crate) use handle::Handle;
pub(crate) use listing::{DirBuffer, DirNames};
pub(crate) use stat::{FileId, FileKind, Stat};
