//! Giving a restored file what it is besides its content. The order matters: changing the owner drops setuid
//! and file capabilities, writing `user.*` attributes needs permission to write, ACLs change the mode, and
//! everything changes times.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use crate::archive::decode::Head;
use crate::archive::entry::Entry;
use crate::error::{Context, Error, Hint, Result, reason};
use crate::fs::handle::LEAVE;
use crate::fs::ids::Namespace;
use crate::fs::xattrs::{ACL_ACCESS, ACL_DEFAULT, CAPABILITIES, Xattr};
use crate::fs::{FileKind, Handle, Stat, has_errno};
use crate::name::Shown;
use crate::restore::owners::{OwnerRules, Remark};
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
    /// It is no error when the owner may not be set.
    pub(super) may_lack_owner: bool,
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

/// Which user a name stands for is only known on the system that it is of.
const BAD_ACL: &str = "a malformed ACL, or one with names and no numbers (`tar --acls --xattrs` stores both)";

impl Metadata {
    /// What `entry` says. `path` is for messages.
    pub(super) fn of_entry(entry: &Entry, owners: &OwnerRules, path: &[u8]) -> Result<Self> {
        if entry.xattrs.iter().map(|(name, _)| name.len() + 1).sum::<usize>() > MAX_NAMES {
            return Err(malformed(path, "more extended attributes than a file can have"));
        }
        let owner = owners.owner(entry.uid, entry.gid).ok_or_else(|| malformed(path, BAD_OWNER))?;
        let mut xattrs = entry.xattrs.clone();
        for (name, text) in [(ACL_ACCESS, &entry.acl_access), (ACL_DEFAULT, &entry.acl_default)] {
            if let Some((_, raw)) = xattrs.iter_mut().find(|(other, _)| other == name) {
                // GNU tar stores both forms, and in this one users have numbers.
                owners.map_acl(raw);
            } else if let Some(text) = text {
                let raw = owners.acl(text).ok_or_else(|| malformed(path, BAD_ACL))?;
                xattrs.push((name.to_vec(), raw));
            }
        }
        for (_, raw) in xattrs.iter_mut().filter(|(name, _)| name == CAPABILITIES) {
            owners.map_capabilities(raw);
        }
        xattrs.sort_unstable();
        let (mode, mtime, may_lack_owner) = (entry.mode, entry.mtime, owners.may_lack);
        Ok(Metadata { mode, owner: Some(owner), may_lack_owner, mtime, xattrs })
    }

    /// What a member says, whose full path `path` gives for messages.
    pub(super) fn of_head(head: &Head, owners: &OwnerRules, path: impl FnOnce() -> Vec<u8>) -> Result<Self> {
        if head.has_attributes {
            return Self::of_entry(&head.to_member().entry, owners, &path());
        }
        let Some(owner) = owners.owner(head.uid, head.gid) else {
            return Err(malformed(&path(), BAD_OWNER));
        };
        let (mode, mtime, may_lack_owner) = (head.mode, head.mtime, owners.may_lack);
        Ok(Metadata { mode, owner: Some(owner), may_lack_owner, mtime, xattrs: Vec::new() })
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
        let owner = Some((stat.uid, stat.gid));
        Ok(Metadata { mode: stat.mode, owner, mtime: stat.mtime, xattrs, ..Metadata::default() })
    }

    /// [`Metadata::of_handle`] of what may be closed to its owner, who may read no attributes then.
    pub(super) fn of_closed(handle: &Handle) -> io::Result<Self> {
        let ajar = handle.ajar()?;
        Ok(Metadata { mode: ajar.mode(), ..Metadata::of_handle(handle)? })
    }

    /// Gives all this to what `handle` has open, and reports to `warn` what could not be set for want of
    /// privilege. `fresh` says that it was just made and has no attributes of its own.
    pub(super) fn apply(
        &self,
        handle: &Handle,
        fresh: bool,
        path: &[u8],
        warn: &mut dyn FnMut(Remark) -> Result<()>,
    ) -> Result<()> {
        let before = handle.stat().context("look at", path)?;
        let mode = match self.owner.filter(|&owner| owner != (before.uid, before.gid)) {
            Some(owner) => self.set_owner(handle, owner, path)?,
            None => self.mode,
        };
        if before.mode & 0o600 != 0o600 && (!fresh || !self.xattrs.is_empty()) {
            // Attributes are only set on what may be written. It gets its mode in a moment.
            handle.ajar().context("open", path)?.stay();
        }
        if !fresh {
            self.remove_others(handle, path, warn)?;
        }
        let (user, other): (Vec<&Xattr>, Vec<&Xattr>) =
            self.xattrs.iter().partition(|(name, _)| name.starts_with(b"user."));
        set_xattrs(handle, &user, path, warn)?;
        if before.kind != FileKind::Symlink {
            handle.set_mode(mode).context("set the mode of", path)?;
        }
        set_xattrs(handle, &other, path, warn)?;
        handle.set_mtime(self.mtime).context("set the time of", path)?;
        self.compare(handle, mode, path, warn)
    }

    /// Sets the owner, or what of it may be set; returns the mode that the file may have then. A setuid or
    /// setgid bit is never given to one whose owner or group is another than the snapshot's.
    fn set_owner(&self, handle: &Handle, (uid, gid): (u32, u32), path: &[u8]) -> Result<u32> {
        if let Err(source) = handle.set_owner(uid, gid) {
            if !self.may_lack_owner || !has_errno(&source, &REFUSED) {
                return Err(owner_refused(path, (uid, gid), source));
            }
            // One of the two may be permitted: of one's own files, the group.
            let _ = handle.set_owner(LEAVE, gid);
            let _ = handle.set_owner(uid, LEAVE);
        }
        // Some filesystems do nothing, and say that they did.
        let now = handle.stat().context("look at", path)?;
        Ok(self.mode_under((now.uid, now.gid)))
    }

    /// The mode without the bits that lend the rights of an owner or group whose the file is not.
    fn mode_under(&self, now: (u32, u32)) -> u32 {
        let wanted = self.owner.unwrap_or(now);
        let setuid = if now.0 == wanted.0 { 0 } else { SETUID };
        let setgid = if now.1 == wanted.1 { 0 } else { SETGID };
        self.mode & !setuid & !setgid
    }

    /// What becomes of it where `owner` is all that can be set.
    pub(super) fn under(self, owner: (u32, u32)) -> Self {
        Metadata { mode: self.mode_under(owner), owner: Some(owner), ..self }
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
        warn: &mut dyn FnMut(Remark) -> Result<()>,
    ) -> Result<()> {
        let lacking = permissions & creator.umask.load(Ordering::Relaxed);
        if !self.xattrs.is_empty() {
            return self.apply(handle, true, &path(), warn);
        }
        if let Some((uid, gid)) = self.owner.filter(|&owner| owner != creator.owner) {
            match handle.set_owner(uid, gid) {
                Err(_) if self.may_lack_owner => return self.apply(handle, true, &path(), warn),
                set => set.map_err(|source| owner_refused(&path(), (uid, gid), source))?,
            }
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
        warn: &mut dyn FnMut(Remark) -> Result<()>,
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
        mode: u32,
        path: &[u8],
        warn: &mut dyn FnMut(Remark) -> Result<()>,
    ) -> Result<()> {
        let stat = handle.stat().context("look at", path)?;
        let Misfit { owner, mtime, .. } = self.misfit(&stat);
        if stat.kind != FileKind::Symlink && stat.mode != mode {
            warn(format!("its mode became {:04o} instead of {mode:04o}", stat.mode).into())?;
        }
        if owner && self.may_lack_owner {
            warn(Remark::Unowned)?;
        } else if owner {
            let lost = if mode == self.mode { "" } else { ", without the setuid or setgid bit" };
            warn(format!("its owner became {}:{}{lost}", stat.uid, stat.gid).into())?;
        }
        if mtime {
            let (now, wanted) = (stat.mtime.to_pax(), self.mtime.to_pax());
            warn(format!("this filesystem keeps its time as {now} instead of {wanted}").into())?;
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

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// What the system answers about an owner that it does not let this process set, or does not know.
const REFUSED: [Errno; 3] = [Errno::EPERM, Errno::EINVAL, Errno::EOPNOTSUPP];

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
    warn: &mut dyn FnMut(Remark) -> Result<()>,
) -> Result<()> {
    let mut failed = 0;
    for (name, value) in xattrs {
        if let Err(error) = handle.set_xattr(name, value) {
            failed += 1;
            let mut named = |remark| if failed <= MAX_WARNINGS { warn(remark) } else { Ok(()) };
            cannot_set("set", name, path, error, &mut named)?;
        }
    }
    match failed.saturating_sub(MAX_WARNINGS) {
        0 => Ok(()),
        more => warn(format!("cannot set {more} more of its extended attributes").into()),
    }
}

/// A filesystem or user that cannot have an attribute is a warning; any other reason is an error.
fn cannot_set(
    what: &str,
    name: &[u8],
    path: &[u8],
    source: io::Error,
    warn: &mut dyn FnMut(Remark) -> Result<()>,
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
        let (name, reason) = (Shown::from(name), reason(&source));
        return warn(format!("cannot {what} its extended attribute {name}: {reason}").into());
    }
    Err(Error::Io { action: "set an extended attribute of", path: Shown::from(path), source })
}
