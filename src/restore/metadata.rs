//! Giving a restored file what it is besides its content. The order matters: changing the owner drops setuid
//! and file capabilities, writing `user.*` attributes needs permission to write, ACLs change the mode, and
//! everything changes times.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use crate::archive::decode::Head;
use crate::archive::entry::Entry;
use crate::error::{Context, Error, Hint, Result, reason};
use crate::fs::ids::Namespace;
use crate::fs::xattrs::{ACL_ACCESS, ACL_DEFAULT, Xattr};
use crate::fs::{FileKind, Handle, Stat, acl, has_errno};
use crate::name::Shown;
use crate::time::Time;

/// The longest list of a file's attributes that Linux gives out, in bytes (`XATTR_LIST_MAX`).
const MAX_NAMES: usize = 65536;

/// At most this many attributes of a file are named that could not be set; the rest is counted. Its path may
/// be long.
const MAX_WARNINGS: usize = 16;

/// Everything that is restored of a file besides content and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) mode: u32,
    /// `None` leaves the owner as it is.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mtime: Time,
    /// All of them, ACLs in the kernel's form, sorted by name.
    pub(super) xattrs: Vec<Xattr>,
}

/// What of a file is not as its [`Metadata`] says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Misfit {
    mode: bool,
    owner: bool,
    mtime: bool,
}

impl Metadata {
    /// What `entry` says. `path` is for messages.
    pub(super) fn of_entry(entry: &Entry, no_owner: bool, path: &[u8]) -> Result<Self> {
        if entry.xattrs.iter().map(|(name, _)| name.len() + 1).sum::<usize>() > MAX_NAMES {
            return Err(malformed(path, "more extended attributes than a file can have"));
        }
        let owner = owner(entry.uid, entry.gid, no_owner).ok_or_else(|| malformed(path, BAD_OWNER))?;
        let mut xattrs = entry.xattrs.clone();
        for (name, text) in [(ACL_ACCESS, &entry.acl_access), (ACL_DEFAULT, &entry.acl_default)] {
            if let Some(text) = text {
                let raw = acl::from_text(text).ok_or_else(|| malformed(path, "a malformed ACL"))?;
                xattrs.push((name.to_vec(), raw));
            }
        }
        xattrs.sort_unstable();
        Ok(Metadata { mode: entry.mode, owner, mtime: entry.mtime, xattrs })
    }

    /// What a member says, whose full path `path` gives for messages.
    pub(super) fn of_head(head: &Head, no_owner: bool, path: impl FnOnce() -> Vec<u8>) -> Result<Self> {
        if head.has_attributes {
            return Self::of_entry(&head.to_member().entry, no_owner, &path());
        }
        let Some(owner) = owner(head.uid, head.gid, no_owner) else {
            return Err(malformed(&path(), BAD_OWNER));
        };
        Ok(Metadata { mode: head.mode, owner, mtime: head.mtime, xattrs: Vec::new() })
    }

    /// What `handle` has now.
    pub(super) fn of_handle(handle: &Handle) -> io::Result<Self> {
        let stat = handle.stat()?;
        let mut xattrs = Vec::new();
        for name in handle.xattr_names()? {
            if let Some(value) = handle.xattr(&name)? {
                xattrs.push((name, value));
            }
        }
        Ok(Metadata { mode: stat.mode, owner: Some((stat.uid, stat.gid)), mtime: stat.mtime, xattrs })
    }

    /// Gives all this to what `handle` has open, and reports to `warn` what could not be set for want of
    /// privilege. `fresh` says that it was just made and has no attributes of its own.
    pub(super) fn apply(
        &self,
        handle: &Handle,
        fresh: bool,
        path: &[u8],
        warn: &mut dyn FnMut(String) -> Result<()>,
    ) -> Result<()> {
        let before = handle.stat().context("look at", path)?;
        if let Some((uid, gid)) = self.owner.filter(|&owner| owner != (before.uid, before.gid)) {
            handle.set_owner(uid, gid).map_err(|source| owner_refused(path, (uid, gid), source))?;
        }
        if !fresh {
            self.remove_others(handle, path, warn)?;
        }
        let (user, other): (Vec<&Xattr>, Vec<&Xattr>) =
            self.xattrs.iter().partition(|(name, _)| name.starts_with(b"user."));
        set_xattrs(handle, &user, path, warn)?;
        if before.kind != FileKind::Symlink {
            handle.set_mode(self.mode).context("set the mode of", path)?;
        }
        set_xattrs(handle, &other, path, warn)?;
        handle.set_mtime(self.mtime).context("set the time of", path)?;
        self.compare(handle, path, warn)
    }

    /// The permissions to make a file with, so that it need not be given its mode afterwards. Nobody may read
    /// it meanwhile who may not in the end: it is its maker's first.
    pub(super) fn first_mode(&self, creator: &Creator) -> u32 {
        let (user, group, other) = (self.mode >> 6 & 7, self.mode >> 3 & 7, self.mode & 7);
        let same_for_all = group == other && user & other == other;
        let is_owner = self.owner.is_none_or(|owner| owner == creator.owner);
        // A file that may not be written takes no `user.*` attributes.
        if self.xattrs.is_empty() && (is_owner || same_for_all) { self.mode & 0o777 } else { 0o600 }
    }

    /// [`Metadata::apply`] for a file that `creator` has just made with these permissions. `path` is its full
    /// path.
    pub(super) fn apply_to_new(
        &self,
        handle: &Handle,
        creator: &Creator,
        permissions: u32,
        path: &dyn Fn() -> Vec<u8>,
        warn: &mut dyn FnMut(String) -> Result<()>,
    ) -> Result<()> {
        let lacking = permissions & creator.umask.load(Ordering::Relaxed);
        if !self.xattrs.is_empty() {
            return self.apply(handle, true, &path(), warn);
        }
        if let Some((uid, gid)) = self.owner.filter(|&owner| owner != creator.owner) {
            handle.set_owner(uid, gid).map_err(|source| owner_refused(&path(), (uid, gid), source))?;
        }
        if self.mode != permissions || lacking != 0 {
            handle.set_mode(self.mode).map_err(|error| failed("set the mode of", path, error))?;
        }
        handle.set_mtime(self.mtime).map_err(|error| failed("set the time of", path, error))?;
        let stat = handle.stat().map_err(|error| failed("look at", path, error))?;
        if self.misfit(&stat) == Misfit::default() {
            return Ok(());
        }
        // The umask, a directory that gives its group, or a filesystem that cannot.
        creator.umask.fetch_or(permissions & !stat.mode, Ordering::Relaxed);
        self.apply(handle, true, &path(), warn)
    }

    /// Whether `handle` has all this, and with `attributes` these and no others.
    pub(super) fn is_of(&self, handle: &Handle, attributes: bool) -> io::Result<bool> {
        if self.misfit(&handle.stat()?) != Misfit::default() {
            return Ok(false);
        }
        match attributes.then(|| Metadata::of_handle(handle)).transpose() {
            Ok(now) => Ok(now.is_none_or(|now| now.xattrs == self.xattrs)),
            // What may not be read counts as different.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What of all this a file does not have, attributes aside.
    fn misfit(&self, stat: &Stat) -> Misfit {
        Misfit {
            mode: stat.kind != FileKind::Symlink && stat.mode != self.mode,
            owner: self.owner.is_some_and(|owner| owner != (stat.uid, stat.gid)),
            mtime: stat.mtime != self.mtime,
        }
    }

    fn remove_others(
        &self,
        handle: &Handle,
        path: &[u8],
        warn: &mut dyn FnMut(String) -> Result<()>,
    ) -> Result<()> {
        for name in handle.xattr_names().context("read the extended attributes of", path)? {
            if !self.xattrs.iter().any(|(kept, _)| *kept == name)
                && let Err(error) = handle.remove_xattr(&name)
            {
                cannot_set("remove", &name, path, error, warn)?;
            }
        }
        Ok(())
    }

    /// The system drops some bits in silence: what is not as it should be is reported.
    fn compare(
        &self,
        handle: &Handle,
        path: &[u8],
        warn: &mut dyn FnMut(String) -> Result<()>,
    ) -> Result<()> {
        let stat = handle.stat().context("look at", path)?;
        let Misfit { mode, owner, mtime } = self.misfit(&stat);
        if mode {
            warn(format!("its mode became {:04o} instead of {:04o}", stat.mode, self.mode))?;
        }
        if owner {
            warn(format!("its owner became {}:{}", stat.uid, stat.gid))?;
        }
        if mtime {
            warn(format!(
                "this filesystem keeps its time as {} instead of {}",
                stat.mtime.to_pax(),
                self.mtime.to_pax()
            ))?;
        }
        Ok(())
    }
}

/// Who makes files.
#[derive(Debug)]
pub(super) struct Creator {
    /// The owner that a new file has.
    owner: (u32, u32),
    /// Permissions that new files were seen to lack.
    umask: AtomicU32,
}

impl Creator {
    pub(super) fn this_process() -> Self {
        Creator { owner: crate::fs::handle::process_owner(), umask: AtomicU32::new(0) }
    }
}

const BAD_OWNER: &str = "an impossible owner";

/// The owner to set, if any; `None` for one that cannot be.
#[expect(clippy::option_option, reason = "whether it is possible, and whether it is to be set")]
fn owner(uid: u64, gid: u64, no_owner: bool) -> Option<Option<(u32, u32)>> {
    if no_owner {
        return Some(None);
    }
    // The system takes the highest number for "leave it".
    let id = |id: u64| u32::try_from(id).ok().filter(|&id| id != u32::MAX);
    Some(Some((id(uid)?, id(gid)?)))
}

fn malformed(path: &[u8], what: &str) -> Error {
    Error::Volume {
        action: "restore",
        volume: Shown::from(path),
        reason: format!("the archive has {what} for it"),
    }
}

fn failed(action: &'static str, path: &dyn Fn() -> Vec<u8>, source: io::Error) -> Error {
    Error::Io { action, path: Shown::from(&path()), source }
}

fn owner_refused(path: &[u8], (uid, gid): (u32, u32), source: io::Error) -> Error {
    let hint = if has_errno(&source, &[Errno::EPERM]) {
        Some(Hint::LeaveOwners)
    } else if has_errno(&source, &[Errno::EINVAL])
        && Namespace::of_this_process().is_ok_and(|here| !here.maps(uid, gid))
    {
        Some(Hint::LeaveUnmappedOwners { uid, gid })
    } else {
        None
    };
    let error = Error::Io { action: "set the owner of", path: Shown::from(path), source };
    error.with_hint(hint)
}

fn set_xattrs(
    handle: &Handle,
    xattrs: &[&Xattr],
    path: &[u8],
    warn: &mut dyn FnMut(String) -> Result<()>,
) -> Result<()> {
    let mut failed = 0;
    for (name, value) in xattrs {
        if let Err(error) = handle.set_xattr(name, value) {
            failed += 1;
            let mut named = |reason| if failed <= MAX_WARNINGS { warn(reason) } else { Ok(()) };
            cannot_set("set", name, path, error, &mut named)?;
        }
    }
    match failed.saturating_sub(MAX_WARNINGS) {
        0 => Ok(()),
        more => warn(format!("cannot set {more} more of its extended attributes")),
    }
}

/// A filesystem or user that cannot have an attribute is a warning; any other reason is an error.
fn cannot_set(
    what: &str,
    name: &[u8],
    path: &[u8],
    source: io::Error,
    warn: &mut dyn FnMut(String) -> Result<()>,
) -> Result<()> {
    const CANNOT: [Errno; 7] = [
        Errno::EPERM,
        Errno::EACCES,
        Errno::EOPNOTSUPP,
        Errno::ENOSPC,
        Errno::E2BIG,
        Errno::ERANGE,
        Errno::EINVAL,
    ];
    if has_errno(&source, &CANNOT) {
        return warn(format!(
            "cannot {what} its extended attribute {}: {}",
            Shown::from(name),
            reason(&source)
        ));
    }
    Err(Error::Io { action: "set an extended attribute of", path: Shown::from(path), source })
}
