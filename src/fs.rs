//! The only place with system calls. Everything inside a volume is reached relative to an open directory,
//! one name at a time and never through a symbolic link, so that no path string is ever resolved twice.

pub(crate) mod acl;
pub(crate) mod clone;
pub(crate) mod descent;
pub(crate) mod file;
pub(crate) mod handle;
pub(crate) mod ids;
pub(crate) mod listing;
pub(crate) mod lock;
pub(crate) mod mounts;
pub(crate) mod remove;
pub(crate) mod space;
pub(crate) mod stat;
pub(crate) mod xattrs;

pub(crate) use descent::Descent;
pub(crate) use file::StoreFile;
pub(crate) use handle::Handle;
pub(crate) use listing::{Listing, ListingBuffer};
pub(crate) use stat::{FileId, Kind, Stat};
