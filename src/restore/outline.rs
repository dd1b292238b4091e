//! Whether the members of one volume can be restored at all, told before anything is cleared for them, or before those
//! of a damaged snapshot are chosen: the same rules that the extractor has, for members that nothing is made of.

use std::collections::{BTreeSet, HashMap};

use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::entry::{Kind, Sparse};
use crate::error::{Error, Hint, Result};
use crate::fs::handle::{join, parent_and_name};
use crate::name::Shown;
use crate::restore::extract::{BAD_LINK, LinkSource, check_device, check_path};
use crate::restore::metadata::Metadata;
use crate::restore::pins::Pins;
use crate::restore::survey::is_asked_for;

/// The longest name and the longest target of a symbolic link that Linux has, in bytes.
const NAME_MAX: usize = 255;
const TARGET_MAX: usize = 4095;

/// What was seen of a volume. A path is kept as 16 bytes of its hash, as there may be many.
pub(super) struct Outline {
    volume: Vec<u8>,
    pins: Pins,
    no_owner: bool,
    /// The directories from the root down to the last member's.
    open: Vec<usize>,
    /// The path of the last of them; those of the others are so much of it.
    path: Vec<u8>,
    seen: HashMap<[u8; 16], Seen>,
    /// Of a damaged snapshot: directories without a member are made, and these are their paths.
    made: Option<BTreeSet<Vec<u8>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Directory,
    /// Made for what is in it.
    Made,
    Other,
}

impl Outline {
    pub(super) fn new(volume: &[u8], no_owner: bool, pins: Pins) -> Self {
        Outline {
            volume: volume.to_vec(),
            pins,
            no_owner,
            open: Vec::new(),
            path: Vec::new(),
            seen: HashMap::new(),
            made: None,
        }
    }

    /// For members some of which are missing.
    pub(super) fn with_gaps(volume: &[u8], no_owner: bool) -> Self {
        Outline { made: Some(BTreeSet::new()), ..Outline::new(volume, no_owner, Pins::default()) }
    }

    /// The full paths of directories that are made for what is in them, or for what of that is asked for.
    pub(super) fn made(&self, only: Option<&[u8]>) -> impl Iterator<Item = Vec<u8>> {
        let made = self.made.iter().flatten().filter(move |path| is_asked_for(path, only));
        made.map(|path| join(&self.volume, path))
    }

    /// Checks the next member, but not its data.
    pub(super) fn member(
        &mut self,
        path: &[u8],
        member: &Head,
        source: LinkSource,
        content: &mut Content,
    ) -> Result<()> {
        check_path(path).map_err(|reason| content.damaged(reason))?;
        if path.split(|&byte| byte == b'/').any(|name| name.len() > NAME_MAX) {
            return Err(content.damaged("a name that is too long"));
        }
        self.enter_parent(path, content)?;
        let is_made = self.seen.get(&key(path)) == Some(&Seen::Made) && member.kind == Kind::Directory;
        if self.seen.contains_key(&key(path)) && !is_made {
            return Err(content.damaged("a second member of the same name"));
        }
        Metadata::of_head(member, self.no_owner, || join(&self.volume, path))?;
        match member.kind {
            Kind::Directory => {
                self.open.push(path.len());
                self.path.clear();
                self.path.extend_from_slice(path);
            }
            Kind::File => match member.stored.sparse {
                None => {}
                Some(Sparse::Map) => drop(content.map()?),
                Some(Sparse::Foreign) => {
                    return Err(content.damaged("a sparse format that this program does not extract"));
                }
            },
            Kind::HardLink => {
                let source = source.filter(|source| self.seen.get(&key(source)) == Some(&Seen::Other));
                let source = source.ok_or_else(|| content.damaged(BAD_LINK))?;
                if self.pins.holds(source) && !self.pins.holds(path) {
                    let volume = Shown::from(&join(&self.volume, path));
                    let reason = "it is a further name of a file that is a mount or in use now".to_owned();
                    let error = Error::Volume { action: "restore", volume, reason };
                    return Err(error.with_hint(Hint::NotInPlace));
                }
            }
            Kind::Symlink if member.link.is_empty() || member.link.len() > TARGET_MAX => {
                return Err(content.damaged("a symbolic link whose target no system has"));
            }
            Kind::CharDevice | Kind::BlockDevice => {
                check_device(member).map_err(|reason| content.damaged(reason))?;
            }
            Kind::Symlink | Kind::Fifo => {}
            Kind::Other(flag) => {
                return Err(content.damaged(&format!("a member of type {flag:#04x}, which no volume has")));
            }
        }
        let seen = if member.kind == Kind::Directory { Seen::Directory } else { Seen::Other };
        self.seen.insert(key(path), seen);
        if let Some(made) = &mut self.made {
            made.remove(path);
            for parent in parents(path) {
                self.seen.entry(key(parent)).or_insert_with(|| {
                    made.insert(parent.to_vec());
                    Seen::Made
                });
            }
        }
        Ok(())
    }

    fn enter_parent(&mut self, path: &[u8], content: &Content) -> Result<()> {
        if path.is_empty() {
            return Ok(());
        }
        if self.made.is_some() {
            let is_free = |parent| self.seen.get(&key(parent)) != Some(&Seen::Other);
            return if parents(path).all(is_free) {
                Ok(())
            } else {
                Err(content.damaged("a member in what is no directory"))
            };
        }
        let (parent, _) = parent_and_name(path);
        while self.open.last().is_some_and(|&here| self.path[..here] != *parent) {
            self.open.pop();
        }
        match self.open.last() {
            Some(_) => Ok(()),
            None => Err(content.damaged("a member that does not follow the directory that it lies in")),
        }
    }
}

/// The directories that `path` lies in, the root last.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(path).filter(|path| !path.is_empty());
    std::iter::from_fn(move || {
        let (parent, _) = parent_and_name(rest?);
        rest = Some(parent).filter(|parent| !parent.is_empty());
        Some(parent)
    })
}

fn key(path: &[u8]) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(path).as_bytes()[..16]);
    key
}
