//! What a file is besides its content: from the system's answers to an [`Entry`].

use std::io;

use nix::errno::Errno;

use crate::archive::entry::{Entry, Kind};
use crate::fs::xattrs::{ACL_ACCESS, ACL_DEFAULT};
use crate::fs::{Handle, Stat, acl, has_errno};

/// Makes `entry`, of which only the name is kept, that of a file with these answers, without size, link and
/// extended attributes. An entry is used again for the next file, since there may be millions.
pub(super) fn describe(entry: &mut Entry, kind: Kind, stat: &Stat) {
    entry.kind = kind;
    entry.mode = stat.mode;
    entry.uid = u64::from(stat.uid);
    entry.gid = u64::from(stat.gid);
    entry.mtime = stat.mtime;
    entry.size = 0;
    entry.link.clear();
    entry.device = if matches!(kind, Kind::CharDevice | Kind::BlockDevice) { stat.device } else { (0, 0) };
    entry.xattrs.clear();
    (entry.acl_access, entry.acl_default, entry.sparse) = (None, None, None);
}

/// Reads the extended attributes of what `handle` has open into `entry`. `unreadable` is called with each
/// that is there and cannot be read.
pub(super) fn read_xattrs(
    entry: &mut Entry,
    handle: &Handle,
    mut unreadable: impl FnMut(&[u8], io::Error),
) -> io::Result<()> {
    for name in handle.xattr_names()? {
        let value = match handle.xattr(&name) {
            // It was removed in the meantime.
            Ok(None) => continue,
            Ok(Some(value)) => value,
            Err(error) if has_errno(&error, &[Errno::EPERM, Errno::EACCES]) => {
                unreadable(&name, error);
                continue;
            }
            Err(error) => return Err(error),
        };
        match (name.as_slice(), acl::to_text(&value)) {
            (ACL_ACCESS, Some(text)) => entry.acl_access = Some(text.into_bytes()),
            (ACL_DEFAULT, Some(text)) => entry.acl_default = Some(text.into_bytes()),
            (ACL_ACCESS | ACL_DEFAULT, None) => {
                unreadable(&name, io::Error::other("an ACL of a form that is not known"));
            }
            _ => entry.xattrs.push((name, value)),
        }
    }
    Ok(())
}
