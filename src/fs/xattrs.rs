//! Extended attributes and ACLs of what a handle has open (xattr(7)).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use xattr::FileExt;

use crate::fs::{Handle, has_errno};

/// The two attributes that hold ACLs.
pub(crate) const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// See [`ACL_ACCESS`].
/// What a file may do that is run.
pub(crate) const CAPABILITIES: &[u8] = b"security.capability";
pub(crate) const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// An attribute's name and value.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// Whether an attribute is neither stored nor touched: labels belong to the host, and XFS shows ACLs twice.
pub(crate) fn is_ignored(name: &[u8]) -> bool {
    name == b"security.selinux" || name.starts_with(b"trusted.SGI_ACL_")
}

impl Handle {
    /// The names of all attributes that are kept, sorted by their bytes. A filesystem without attributes has
    /// none.
    pub(crate) fn xattr_names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names: Vec<Vec<u8>> = if let Some(names) = self.short_list()? {
            names
        } else {
            let path_only = self.path_only();
            let listed =
                if path_only { xattr::list_deref(self.proc_path())? } else { self.as_file().list_xattr()? };
            listed.map(OsString::into_vec).filter(|name| !is_ignored(name)).collect()
        };
        names.sort_unstable();
        Ok(names)
    }

    /// What nearly every file has: few names or none, in one call and, for none, without an allocation.
    /// `None` when there are more.
    fn short_list(&self) -> io::Result<Option<Vec<Vec<u8>>>> {
        let mut buffer = [0; 512];
        let listed = if self.path_only() {
            rustix::fs::listxattr(self.proc_path(), &mut buffer)
        } else {
            rustix::fs::flistxattr(self, &mut buffer)
        };
        let length = match listed {
            Ok(length) => length,
            Err(rustix::io::Errno::OPNOTSUPP) => 0,
            Err(rustix::io::Errno::RANGE) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let names = buffer[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
        Ok(Some(names.filter(|name| !is_ignored(name)).map(<[u8]>::to_vec).collect()))
    }

    /// The value of an attribute, `None` when it is not there.
    pub(crate) fn xattr(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let name = OsStr::from_bytes(name);
        let value = if self.path_only() {
            xattr::get_deref(self.proc_path(), name)
        } else {
            self.as_file().get_xattr(name)
        };
        match value {
            Err(error) if has_errno(&error, &[Errno::EOPNOTSUPP]) => Ok(None),
            other => other,
        }
    }

    pub(crate) fn set_xattr(&self, name: &[u8], value: &[u8]) -> io::Result<()> {
        let os_name = OsStr::from_bytes(name);
        recorded!(
            self,
            Call::Xattr(name.to_vec(), Some(value.to_vec())),
            if self.path_only() {
                xattr::set_deref(self.proc_path(), os_name, value)
            } else {
                self.as_file().set_xattr(os_name, value)
            }
        )
    }

    /// Removes an attribute; one that is not there is no error.
    pub(crate) fn remove_xattr(&self, name: &[u8]) -> io::Result<()> {
        let os_name = OsStr::from_bytes(name);
        let removed = recorded!(
            self,
            Call::Xattr(name.to_vec(), None),
            if self.path_only() {
                xattr::remove_deref(self.proc_path(), os_name)
            } else {
                self.as_file().remove_xattr(os_name)
            }
        );
        match removed {
            Err(error) if has_errno(&error, &[Errno::EOPNOTSUPP, Errno::ENODATA]) => Ok(()),
            other => other,
        }
    }

    /// Removes the ACLs that a new directory may have inherited.
    pub(crate) fn remove_acls(&self) -> io::Result<()> {
        self.remove_xattr(ACL_ACCESS)?;
        self.remove_xattr(ACL_DEFAULT)
    }
}
