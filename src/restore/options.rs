//! How a restore is done, and what cannot be asked for at once.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::source::Archive;
use crate::error::{Error, Result};
use crate::name::Shown;
use crate::restore::owners::{OwnerMapping, OwnerRules};
use crate::snapshot::strip::Strip;

/// How a restore is done.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Restore a tar of another program instead, as it is, to the one configured volume or to what `into`
    /// names itself, where there must be nothing yet.
    pub from_tar: Option<TarSource>,
    /// The archive.
    pub archive: Archive,
    /// The ID of the snapshot, or its first digits; else the newest under the prefix.
    pub snapshot: Option<String>,
    /// Restore below this directory: volume `/a/b` goes to `DIR/a/b`.
    pub into: Option<PathBuf>,
    /// With `into`: only these files and directories, given by their absolute paths in the container; empty for
    /// all.
    pub paths: Vec<OsString>,
    /// Change nothing, and report what would change.
    pub dry_run: bool,
    /// Check the whole snapshot, then clear each volume and extract into it: for want of room for two copies.
    pub in_place: bool,
    /// Empty a volume that holds something, where the snapshot has nothing in it.
    pub allow_empty: bool,
    /// Leave alone what the snapshot's excludes match, and what it therefore does not have.
    pub keep_excluded: bool,
    /// Leave volumes alone that are mounted read-only. Not with `into`.
    pub skip_read_only: bool,
    /// Count owners that may not be set, where they would be an error.
    pub no_owner: bool,
    /// What becomes of the snapshot's owners, for a move between hosts.
    pub map_owner: Vec<OwnerMapping>,
    /// With `into`, where there must be nothing yet: restore what is sound of a damaged snapshot, and list
    /// the rest.
    pub skip_damaged: bool,
    /// How long to wait for other runs on the archive or a volume.
    pub lock_timeout: Duration,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        RestoreOptions {
            from_tar: None,
            archive: Archive::default(),
            snapshot: None,
            into: None,
            paths: Vec::new(),
            dry_run: false,
            in_place: false,
            allow_empty: false,
            keep_excluded: false,
            skip_read_only: false,
            no_owner: false,
            map_owner: Vec::new(),
            skip_damaged: false,
            lock_timeout: crate::defaults::DEFAULT_LOCK_TIMEOUT,
        }
    }
}

/// A tar of another program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TarSource {
    /// The file; `None` for standard input, which is read to its end first.
    pub file: Option<PathBuf>,
    /// What is cut off the names in it.
    pub strip: Strip,
}

impl RestoreOptions {
    /// What becomes of the snapshot's owners.
    pub(super) fn owners(&self) -> Result<Arc<OwnerRules>> {
        OwnerRules::new(self.no_owner, &self.map_owner).map(Arc::new)
    }

    /// Single paths are restored beside what is in a volume, never in place of all of it.
    pub(super) fn check(&self) -> Result<()> {
        if self.from_tar.is_some()
            && (!self.paths.is_empty() || self.keep_excluded || self.skip_damaged || self.snapshot.is_some())
        {
            let reason = "it is restored whole, and has no snapshots".to_owned();
            return Err(Error::Config { origin: Shown::from("from_tar"), line: None, reason });
        }
        if self.skip_damaged && (self.into.is_none() || self.in_place) {
            let reason = "it needs `into`, a new directory, as it may bring less than all".to_owned();
            return Err(Error::Config { origin: Shown::from("skip_damaged"), line: None, reason });
        }
        if self.skip_read_only && self.into.is_some() {
            let reason = "it is for the volumes themselves, and not with `into`".to_owned();
            return Err(Error::Config { origin: Shown::from("skip_read_only"), line: None, reason });
        }
        let reason = match (self.paths.is_empty(), &self.into) {
            (false, None) => "it needs `into`, the directory to restore below",
            (false, Some(_)) if self.in_place => {
                "it cannot be combined with `in_place`, which clears the volume"
            }
            _ => return Ok(()),
        };
        Err(Error::Config { origin: Shown::from("paths"), line: None, reason: reason.to_owned() })
    }
}
