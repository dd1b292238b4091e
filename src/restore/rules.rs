//! The one book of rules for members: what may be restored at all. It is where safety lives: who makes
//! something of a member, and who only finds out whether that can be done, ask here.

use crate::archive::decode::Head;
use crate::archive::entry::{Kind, Sparse};
use crate::fs::handle::parent_and_name;
use crate::volume::VolumeType;

pub(super) const BAD_LINK: &str = "a link to anything but an earlier file of the same volume";
pub(super) const IN_NO_DIRECTORY: &str = "a member in what is no directory";
pub(super) const FOREIGN_SPARSE: &str = "a sparse format that this program does not extract";

/// The longest name and the longest target of a symbolic link that Linux has, in bytes.
const NAME_MAX: usize = 255;
const TARGET_MAX: usize = 4095;

/// What is wrong with a member.
pub(super) type Reason = std::borrow::Cow<'static, str>;

/// A path inside a volume may not lead anywhere else.
pub(super) fn check_path(path: &[u8]) -> Result<(), &'static str> {
    if path.is_empty() {
        return Ok(());
    }
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" => return Err("a name with an empty part"),
            b"." | b".." => return Err("a name that leads out of its directory"),
            name if name.contains(&0) => return Err("a name with a zero byte"),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a member at `path` is of a kind that a volume has there.
pub(super) fn check_kind(volume: VolumeType, path: &[u8], kind: Kind) -> Result<(), Reason> {
    let fits = match volume {
        VolumeType::Dir => !path.is_empty() || kind == Kind::Directory,
        VolumeType::File => path.is_empty() && kind == Kind::File,
    };
    match kind {
        Kind::Other(flag) => Err(format!("a member of type {flag:#04x}, which no volume has").into()),
        _ if !fits => Err("it does not fit its volume".into()),
        _ => Ok(()),
    }
}

/// Whether a member may be restored at `path` in its volume, as far as it alone can tell. `source` is the
/// path of what a hard link is another name of, where that is in the same volume.
pub(super) fn check_member(
    volume: VolumeType,
    path: &[u8],
    member: &Head,
    source: Option<&[u8]>,
) -> Result<(), Reason> {
    check_path(path)?;
    check_kind(volume, path, member.kind)?;
    match member.kind {
        Kind::File if member.stored.sparse == Some(Sparse::Foreign) => Err(FOREIGN_SPARSE.into()),
        Kind::HardLink => {
            check_path(source.filter(|source| !source.is_empty()).ok_or(BAD_LINK)?).map_err(Reason::from)
        }
        Kind::CharDevice | Kind::BlockDevice => check_device(member.device).map_err(Reason::from),
        _ => Ok(()),
    }
}

/// Linux has 12 bits for a device's major number, and 20 for its minor.
fn check_device((major, minor): (u32, u32)) -> Result<(), &'static str> {
    if major < 1 << 12 && minor < 1 << 20 { Ok(()) } else { Err("a device number that no system has") }
}

/// What the system would refuse, for where nothing is made that it could refuse.
pub(super) fn check_lengths(path: &[u8], member: &Head) -> Result<(), &'static str> {
    if path.split(|&byte| byte == b'/').any(|name| name.len() > NAME_MAX) {
        return Err("a name that is too long");
    }
    if member.kind == Kind::Symlink && !(1..=TARGET_MAX).contains(&member.link.len()) {
        return Err("a symbolic link whose target no system has");
    }
    Ok(())
}

/// In which order members come.
#[derive(Debug)]
pub(super) enum Order<T, L> {
    /// That of a walk down a tree.
    Tree(Way<T>),
    /// Any, as when some are missing, and their directories with them; with what the caller keeps meanwhile.
    Any(L),
}

/// The rule for the order of a tree: each follows the directory that it lies in, which was not left before.
/// These are the directories from the root down to the last one, each with what the caller keeps of it.
#[derive(Debug)]
pub(super) struct Way<T> {
    open: Vec<OpenDirectory<T>>,
    /// The path of the last of them; each of the others has a part of it.
    path: Vec<u8>,
}

#[derive(Debug)]
struct OpenDirectory<T> {
    /// How much of the last one's path is its path.
    length: usize,
    kept: T,
}

impl<T> Default for Way<T> {
    fn default() -> Self {
        Way { open: Vec::new(), path: Vec::new() }
    }
}

impl<T> Way<T> {
    /// Whether a member at `path` lies in the last directory. If not, that is to be left, and this asked
    /// again: the order is wrong when none is left.
    pub(super) fn leads_to(&self, path: &[u8]) -> Result<bool, &'static str> {
        match self.open.last() {
            None if path.is_empty() => Ok(true),
            Some(_) if path.is_empty() => Err("the volume's root a second time"),
            None => Err("a member that does not follow the directory that it lies in"),
            Some(_) => Ok(self.path == parent_and_name(path).0),
        }
    }

    /// Goes into the directory at `path`, to which this leads.
    pub(super) fn enter(&mut self, path: &[u8], kept: T) {
        self.open.push(OpenDirectory { length: path.len(), kept });
        self.path.clear();
        self.path.extend_from_slice(path);
    }

    /// The path of the last directory.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Leaves the last directory: what was kept of it.
    pub(super) fn leave(&mut self) -> Option<T> {
        let left = self.open.pop()?;
        self.path.truncate(self.open.last().map_or(0, |outer| outer.length));
        Some(left.kept)
    }
}

#[cfg(test)]
mod tests;
