//! A whole tar of another program, taken as one volume: which of its members are restored. Any order of members
//! is taken; of several with one name the last holds; a hard link may lead to a later member. All of that is
//! found out from the headers before anything is made, so that every later walk meets each path once: what is
//! left out becomes a gap, which they step over.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::archive::beginning::{packed_as, unpacker};
use crate::archive::decode::Head;
use crate::archive::end::{Tail, tail};
use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::archive::ustar::flag;
use crate::archive::walk::{Step, Walk};
use crate::archive::{BLOCK_LEN, END_LEN};
use crate::error::{Error, Hint, Result};
use crate::name::Shown;
use crate::observer::Run;
use crate::restore::path_hash::{PathHash, path_hash};
use crate::restore::rules::{BAD_LINK, check_kind, check_path};
use crate::snapshot::gaps::{Gap, Gaps};
use crate::snapshot::strip::Strip;
use crate::snapshot::{Snapshot, SnapshotVolume, begin_block};
use crate::volume::VolumeType;

/// A member of a part of a file that another archive begins (GNU tar manual, "Basic Tar Format").
const CONTINUED: u8 = b'M';
const GLOBAL: &str =
    "a global header that sets more than a comment, which this program does not apply to members";
const REPLACED: &str = "a hard link to a file that a later member of the same name replaces";
const LATER_LINK: &str = "a hard link to a later hard link";

/// What was found in a tar.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) snapshot: Snapshot,
    /// Files whose further names come before them: the offsets of their members, by their paths.
    pub(super) later: HashMap<Vec<u8>, u64>,
    pub(super) has_root: bool,
    /// What is left out, or follows the end.
    pub(super) remarks: Vec<String>,
}

/// The last member of a path.
#[derive(Debug, Clone, Copy)]
struct Last {
    /// Where it begins, with what precedes it and belongs to none.
    from: u64,
    start: u64,
    end: u64,
    kind: Sort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Directory,
    HardLink,
    Other,
}

/// A hard link, and what its original was when the walk came by.
#[derive(Debug)]
struct Link {
    key: PathHash,
    start: u64,
    original: PathHash,
    seen: Option<u64>,
    /// The original's path, where it was not seen yet.
    path: Vec<u8>,
}

struct TarScan<'a> {
    reader: &'a Arc<Reader>,
    strip: &'a Strip,
    last: HashMap<PathHash, Last>,
    links: Vec<Link>,
    left_out: Vec<Range<u64>>,
    /// What is cut off the names, once that is known.
    head: Option<Vec<u8>>,
    /// How many members that are no directories lie above what is cut off, and the first of them.
    above: u64,
    first_above: Option<Shown>,
    size: u64,
}

/// Walks all headers of a tar that is to be restored to `volume`.
pub(super) fn scan(reader: &Arc<Reader>, strip: &Strip, volume: &str, run: &Run) -> Result<Scanned> {
    let mut beginning = [0; BLOCK_LEN];
    let length = reader.read(&mut beginning, 0)?;
    check_beginning(&beginning[..length], reader.name())?;
    let mut scan = TarScan {
        reader,
        strip,
        last: HashMap::new(),
        links: Vec::new(),
        left_out: Vec::new(),
        head: None,
        above: 0,
        first_above: None,
        size: 0,
    };
    let mut walk = Walk::new(Arc::clone(reader), 0);
    let end = loop {
        run.cancel.check("nothing was changed")?;
        let from = walk.position();
        match walk.step()? {
            Step::Member(head) => scan.member(from, &head)?,
            Step::End(end) => break end,
        }
        if walk.saw_globals() {
            return Err(reader.damaged(from, GLOBAL));
        }
    };
    if scan.last.is_empty() {
        let (archive, reason) = (reader.name().clone(), "it holds nothing that is to be restored".to_owned());
        return Err(Error::Archive { action: "restore", archive, reason }.with_hint(Hint::StripOther));
    }
    scan.finish(end, volume, run)
}

/// Says what a file is that is no tar.
pub(super) fn check_beginning(beginning: &[u8], name: &Shown) -> Result<()> {
    let Some(format) = packed_as(beginning) else { return Ok(()) };
    let reason = format!("it is a {format} file, which this program does not unpack");
    let error = Error::Archive { action: "restore", archive: name.clone(), reason };
    Err(error.with_hint(Hint::PipeTar { unpack: unpacker(format).map(str::to_owned) }))
}

impl TarScan<'_> {
    fn member(&mut self, from: u64, head: &Head) -> Result<()> {
        let (start, end) = (head.stored.start, head.stored.end());
        let damaged = |reason: &str| head.data().damaged(self.reader, reason);
        if head.header == begin_block() {
            let reason = "it is an archive of this program, or one that it appended to".to_owned();
            let error = Error::Archive { action: "restore", archive: self.reader.name().clone(), reason };
            return Err(error.with_hint(Hint::NameAsArchive));
        }
        match head.kind {
            Kind::Other(flag::GNU_LABEL) => {
                self.left_out.push(from..end);
                return Ok(());
            }
            Kind::Other(CONTINUED) => {
                return Err(damaged(
                    "it goes on from another file: join the parts of a multi-volume tar first",
                ));
            }
            _ => {}
        }
        let is_directory = head.kind == Kind::Directory;
        let path = self.strip.path(head.name).filter(|path| is_directory || !self.cuts_all_of(path));
        let Some(path) = path else {
            self.left_out.push(from..end);
            if !is_directory && matches!(self.strip, Strip::Leading(_)) {
                self.above += 1;
                self.first_above.get_or_insert_with(|| Shown::from(head.name));
            }
            return Ok(());
        };
        check_path(&path).map_err(damaged)?;
        check_kind(VolumeType::Dir, &path, head.kind).map_err(|reason| damaged(&reason))?;
        self.check_head(head)?;
        let (key, kind) = (path_hash(&path), sort(head.kind));
        if kind == Sort::HardLink {
            self.link(key, &path, head)?;
        }
        self.size = self.size.saturating_add(head.stored.size);
        if let Some(earlier) = self.last.insert(key, Last { from, start, end, kind }) {
            self.left_out.push(earlier.from..earlier.end);
        }
        Ok(())
    }

    /// A file whose whole name is cut off has no place.
    fn cuts_all_of(&self, path: &[u8]) -> bool {
        path.is_empty() && *self.strip != Strip::default()
    }

    /// Two directories whose names are cut off would become one, and one file take another's place.
    fn check_head(&mut self, head: &Head) -> Result<()> {
        let cut = self.strip.head(head.name);
        let Some(known) = &self.head else {
            self.head = Some(cut.into_owned());
            return Ok(());
        };
        if *known == *cut {
            return Ok(());
        }
        let (one, other) = (Shown::from(known), Shown::from(&*cut));
        let reason = format!("both {one} and {other} would be cut off the names in it");
        let error = Error::Archive { action: "restore", archive: self.reader.name().clone(), reason };
        Err(error.with_hint(Hint::StripOther))
    }

    fn link(&mut self, key: PathHash, path: &[u8], head: &Head) -> Result<()> {
        let bad = || head.data().damaged(self.reader, BAD_LINK);
        let original =
            self.strip.path(head.link).filter(|original| !original.is_empty() && **original != *path);
        let original = original.ok_or_else(bad)?;
        check_path(&original).map_err(|_| bad())?;
        let hash = path_hash(&original);
        let seen = self.last.get(&hash).map(|last| last.start);
        let path = if seen.is_none() { original.into_owned() } else { Vec::new() };
        self.links.push(Link { key, start: head.stored.start, original: hash, seen, path });
        Ok(())
    }

    /// The originals that come after their further names; fails where a link does not lead to what it did.
    fn later(&mut self) -> Result<HashMap<Vec<u8>, u64>> {
        let mut later = HashMap::new();
        for link in std::mem::take(&mut self.links) {
            let damaged = |reason| Err(self.reader.damaged(link.start, reason));
            if self.last.get(&link.key).is_none_or(|last| last.start != link.start) {
                // It was replaced itself.
                continue;
            }
            match (self.last.get(&link.original), link.seen) {
                (None | Some(Last { kind: Sort::Directory, .. }), _) => return damaged(BAD_LINK),
                (Some(last), Some(seen)) if last.start != seen => return damaged(REPLACED),
                (Some(_), Some(_)) => {}
                (Some(Last { kind: Sort::HardLink, .. }), None) => return damaged(LATER_LINK),
                (Some(last), None) => drop(later.insert(link.path, last.start)),
            }
        }
        Ok(later)
    }

    fn finish(mut self, end: u64, volume: &str, run: &Run) -> Result<Scanned> {
        let later = self.later()?;
        let has_root = self.last.contains_key(&path_hash(b""));
        let mut remarks = Vec::new();
        if let Some(first) = &self.first_above {
            let count = self.above;
            remarks.push(format!("left out, as all of the name is cut off: {count}, the first is {first}"));
        }
        let follows = match tail(self.reader, end, run)? {
            Tail::Foreign(at) => Some(at),
            Tail::Remains(_) => Some(end + END_LEN),
            Tail::Nothing | Tail::Zeros(_) => None,
        };
        remarks.extend(
            follows.map(|at| format!("something follows its end, at offset {at}, and is not restored")),
        );
        self.left_out.sort_unstable_by_key(|range| range.start);
        let gaps: Gaps = self.left_out.into_iter().map(Gap::silent).collect();
        let (entries, size) = (self.last.len() as u64, self.size);
        let volume = SnapshotVolume { path: volume.to_owned(), kind: VolumeType::Dir, entries, size };
        let mut snapshot = Snapshot::lost(0..end);
        snapshot.set_volumes(String::new(), vec![volume]);
        (snapshot.strip, snapshot.gaps) = (Some(self.strip.clone()), gaps);
        (snapshot.id, snapshot.entries, snapshot.size) = (String::new(), entries, size);
        Ok(Scanned { snapshot, later, has_root, remarks })
    }
}

fn sort(kind: Kind) -> Sort {
    match kind {
        Kind::Directory => Sort::Directory,
        Kind::HardLink => Sort::HardLink,
        _ => Sort::Other,
    }
}
