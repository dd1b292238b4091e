//! Puts the volumes of containers into one plain, appendable tar archive, and puts them back.
//!
//! An archive is a POSIX pax tar that any tar program reads. [`backup`] appends the configured volumes to it
//! as one snapshot, completely or not at all; [`restore`] replaces each volume by what a snapshot has of it,
//! completely or not at all; [`list()`] and [`verify`] report what is in an archive and whether it is sound.
//! The format is described in `docs/format.md`, the layers of this crate in `docs/design.md`.
//!
//! ```
//! use snapshotter::config::{Config, Exclude, Need};
//! use snapshotter::observer::Run;
//! use snapshotter::{BackupOptions, RestoreOptions, backup, init_archive, restore};
//!
//! # let folder = tempfile::tempdir()?;
//! # let volume = folder.path().join("volume");
//! # std::fs::create_dir(&volume)?;
//! # std::fs::write(volume.join("file.txt"), "kept")?;
//! let archive = folder.path().join("backup.tar");
//! init_archive(&archive)?;
//!
//! // `volume` is the absolute path of a directory or a file.
//! let config = Config::from_parts("volumes/web", [volume.to_str().unwrap()], Exclude::default(), Need::Volumes)?;
//! let options = BackupOptions { archive: archive.clone(), ..BackupOptions::default() };
//! let report = backup(&config, &options, &Run::default())?;
//! println!("snapshot {} has {} entries", report.id, report.entries);
//!
//! let elsewhere = folder.path().join("restored");
//! let options = RestoreOptions { archive: archive.into(), into: Some(elsewhere.clone()), ..RestoreOptions::default() };
//! restore(&config, &options, &Run::default())?;
//! # let file = elsewhere.join(volume.strip_prefix("/")?).join("file.txt");
//! # assert_eq!(std::fs::read_to_string(file)?, "kept");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "tests"
    )
)]

mod archive;
mod backup;
pub mod config;
#[cfg(test)]
mod crash;
mod defaults;
pub mod error;
mod fs;
pub mod name;
pub mod observer;
pub mod report;
mod restore;
mod snapshot;
mod staging;
pub mod time;
mod verify;
mod volume;
mod warning;
mod yaml;

pub use archive::checksum::{Checksum, Cover};
pub use archive::end::Tail;
pub use archive::entry::{Entry, Kind, Sparse};
pub use archive::init::{init_archive, init_archive_over};
pub use archive::member::{Member, Stored};
pub use archive::source::{Archive, Source};
pub use backup::{BackupOptions, ChecksumPolicy, backup, backup_to, backup_to_stdout};
pub use defaults::{
    DEFAULT_ARCHIVE, DEFAULT_CLOCK_MARGIN, DEFAULT_CONFIG, DEFAULT_FULL_EVERY, DEFAULT_LOCK_TIMEOUT, PROGRAM,
};
pub use error::{Error, Hint, Result};
pub use report::{BackupReport, Listing, RestoreReport, Verification};
pub use restore::{OwnerMapping, RestoreOptions, TarSource, restore};
pub use snapshot::select::SnapshotFilter;
pub use snapshot::strip::Strip;
pub use verify::{ListOptions, list, members, verify};
pub use volume::VolumeType;
