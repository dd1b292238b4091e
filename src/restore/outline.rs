//! Whether the members of one volume can be restored at all, found out before anything is cleared for them,
//! or before those of a damaged snapshot are chosen: the rules that the extractor has too, for members that
//! nothing is made of.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::error::{Error, Hint, Result};
use crate::fs::handle::{join, parent_and_name};
use crate::name::Shown;
use crate::restore::metadata::Metadata;
use crate::restore::only::{Only, is_asked_for};
use crate::restore::owners::OwnerRules;
use crate::restore::path_hash::{PathHash, path_hash};
use crate::restore::pins::Pins;
use crate::restore::rules::{BAD_LINK, IN_NO_DIRECTORY, Order, Way, check_lengths, check_member};
use crate::volume::VolumeType;

/// What was seen of a volume.
pub(super) struct Outline {
    volume: Vec<u8>,
    kind: VolumeType,
    pins: Pins,
    owners: Arc<OwnerRules>,
    seen: HashMap<PathHash, Seen>,
    /// With the paths of directories that have no member, and are made.
    order: Order<(), BTreeSet<Vec<u8>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Directory,
    /// Made for what is in it.
    Made,
    Other,
}

impl Outline {
    pub(super) fn new(volume: &[u8], owners: Arc<OwnerRules>, pins: Pins) -> Self {
        Outline {
            volume: volume.to_vec(),
            kind: VolumeType::Dir,
            pins,
            owners,
            seen: HashMap::new(),
            order: Order::Tree(Way::default()),
        }
    }

    /// For members that come in any order, as when some are missing.
    pub(super) fn in_any_order(self) -> Self {
        Outline { order: Order::Any(BTreeSet::new()), ..self }
    }

    /// For a volume of this type.
    pub(super) fn of(kind: VolumeType, volume: &[u8], owners: Arc<OwnerRules>) -> Self {
        Outline { kind, ..Outline::new(volume, owners, Pins::default()) }
    }

    /// The full paths of directories that are made for what is in them, or for what of that is asked for.
    pub(super) fn made(&self, only: Option<&Only>) -> impl Iterator<Item = Vec<u8>> {
        let made = if let Order::Any(made) = &self.order { Some(made) } else { None };
        let asked_for = made.into_iter().flatten().filter(move |path| is_asked_for(path, only));
        asked_for.map(|path| join(&self.volume, path))
    }

    /// Checks the next member, but not its data.
    pub(super) fn member(
        &mut self,
        path: &[u8],
        member: &Head,
        source: Option<&[u8]>,
        content: &mut Content,
    ) -> Result<()> {
        check_member(self.kind, path, member, source).map_err(|reason| content.damaged(&reason))?;
        check_lengths(path, member).map_err(|reason| content.damaged(reason))?;
        self.enter_parent(path, content)?;
        let is_made = self.seen.get(&path_hash(path)) == Some(&Seen::Made) && member.kind == Kind::Directory;
        if self.seen.contains_key(&path_hash(path)) && !is_made {
            return Err(content.damaged("a second member of the same name"));
        }
        Metadata::of_head(member, &self.owners, || join(&self.volume, path))?;
        match (member.kind, source) {
            (Kind::File, _) if member.stored.sparse.is_some() => drop(content.map()?),
            (Kind::HardLink, Some(source)) => self.link(path, source, content)?,
            _ => {}
        }
        if let (Kind::Directory, Order::Tree(way)) = (member.kind, &mut self.order) {
            way.enter(path, ());
        }
        let seen = if member.kind == Kind::Directory { Seen::Directory } else { Seen::Other };
        self.seen.insert(path_hash(path), seen);
        if let Order::Any(made) = &mut self.order {
            made.remove(path);
            for parent in parents(path) {
                self.seen.entry(path_hash(parent)).or_insert_with(|| {
                    made.insert(parent.to_vec());
                    Seen::Made
                });
            }
        }
        Ok(())
    }

    /// Checks that another name of `source` can be made at `path`.
    fn link(&self, path: &[u8], source: &[u8], content: &Content) -> Result<()> {
        if self.seen.get(&path_hash(source)) != Some(&Seen::Other) {
            return Err(content.damaged(BAD_LINK));
        }
        if self.pins.holds(source) && !self.pins.holds(path) {
            let volume = Shown::from(&join(&self.volume, path));
            let reason = "it is a further name of a file that is a mount or in use now".to_owned();
            let error = Error::Volume { action: "restore", volume, reason };
            return Err(error.with_hint(Hint::NotInPlace));
        }
        Ok(())
    }

    fn enter_parent(&mut self, path: &[u8], content: &Content) -> Result<()> {
        let is_free = |parent| self.seen.get(&path_hash(parent)) != Some(&Seen::Other);
        match &mut self.order {
            Order::Any(_) if parents(path).all(is_free) => {}
            Order::Any(_) => return Err(content.damaged(IN_NO_DIRECTORY)),
            Order::Tree(way) => {
                while !way.leads_to(path).map_err(|reason| content.damaged(reason))? {
                    way.leave();
                }
            }
        }
        Ok(())
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
