//! A member as it is understood: what a header says, in one form, whichever way it was written.

use crate::time::Time;

/// What kind of thing a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A further name of an earlier member.
    HardLink,
    /// A FIFO.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A member of another program that this one does not know, with its type flag.
    Other(u8),
}

/// One member, decoded. Names and values are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name in the archive, without the `/` that closes a directory's.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions, setuid, setgid and sticky: the lower twelve bits.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// The modification time.
    pub mtime: Time,
    /// The size of a file's content in bytes, holes included; 0 for all else.
    pub size: u64,
    /// Where a link leads: text for a symbolic link, an archive name for a hard link.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes, sorted by name, ACLs left out.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The access ACL as text.
    pub acl_access: Option<Vec<u8>>,
    /// The default ACL as text, of directories.
    pub acl_default: Option<Vec<u8>>,
    /// Set when the member's data is stored with its holes left out.
    pub sparse: Option<Sparse>,
}

/// How a sparse member is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sparse {
    /// GNU format 1.0: a map of the file opens the stored data.
    Map,
    /// An older format of other programs: the map stands in the header blocks.
    InHeader,
    /// One that this program does not know, and does not extract.
    Foreign,
}

impl Entry {
    /// An entry without any attributes.
    pub(crate) fn new(name: Vec<u8>, kind: Kind) -> Self {
        Entry {
            name,
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            size: 0,
            link: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
            acl_access: None,
            acl_default: None,
            sparse: None,
        }
    }
}
