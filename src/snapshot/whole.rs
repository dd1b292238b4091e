//! All members of a snapshot in its order: those that it has itself, and between them those that it refers to,
//! which lie in earlier snapshots. A snapshot that refers to none is walked over as it is.
//!
//! What a reference leads to is never relied on. It must begin where one of the snapshots that are said to be
//! needed has a member, of the very name and volume, and its header must say the same as the index in all.

use std::sync::Arc;

use crate::archive::chunk::Chunks;
use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::archive::walk::{CHUNK, Step, Walk};
use crate::error::{Error, Result};
use crate::name::Shown;
use crate::snapshot::base::Base;
use crate::snapshot::close::Census;
use crate::snapshot::index::IndexEntry;
use crate::snapshot::index::cursor::IndexCursor;
use crate::snapshot::index::place::IndexPlace;
use crate::snapshot::layout::Place;
use crate::snapshot::{SNAPSHOT_INDEX, Snapshot, under};

/// What is wrong with a member that is referred to.
const NOT_THERE: &str = "no member begins there";
const OTHERWISE: &str = "another one is there";
const NOT_THE_SAME: &str = "the snapshot's index does not say the same of it as its header";
const NO_MEMBER: &str = "the snapshot's index has a member where none begins";
const NO_SUCH_BASE: &str = "that is in no snapshot that it says it needs";

/// Whether what a reference leads to is come upon by the headers before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The needed snapshots are walked over, and held against their closes: no reference leads into content.
    Walked,
    /// It is looked at where it is.
    Jumped,
}

/// What the walk meets.
pub(crate) enum WholeStep<'w> {
    /// A member of the snapshot itself.
    Own(Head<'w>),
    /// One of an earlier snapshot, which is referred to.
    Base(Head<'w>),
    /// What cannot be used of a reference, or of the index that has them. The next step goes on behind it.
    Lost(LostReference),
    End,
}

/// A reference that leads to nothing that could be used.
#[derive(Debug)]
pub(crate) struct LostReference {
    /// Of the member; of the index, where a part of that cannot be read.
    pub(crate) name: Vec<u8>,
    /// Where the member should begin.
    pub(crate) target: u64,
    pub(crate) error: Error,
}

impl LostReference {
    /// Something is wrong with the index as a whole.
    fn of_index(snapshot: &Snapshot, error: Error) -> Self {
        LostReference { name: under(&snapshot.prefix, SNAPSHOT_INDEX), target: snapshot.start, error }
    }
}

/// A walk over all members of a snapshot.
#[derive(Debug)]
pub(crate) struct WholeWalk<'s> {
    snapshot: &'s Snapshot,
    own: Walk,
    references: Option<Box<References>>,
}

#[derive(Debug)]
struct References {
    reader: Arc<Reader>,
    cursor: IndexCursor,
    /// Whether the cursor stands at an entry that is still to come.
    pending: bool,
    bases: Vec<OpenBase>,
    /// What is there counts, and what is missing is not missed: of a damaged snapshot, or one whose bases are.
    is_lenient: bool,
    /// The snapshot's own members are held against the index, too.
    checks_own: bool,
}

/// A needed snapshot that is open for reading.
#[derive(Debug)]
struct OpenBase {
    base: Base,
    walk: Walk,
    /// Where it is walked over: what was met of it.
    census: Option<Census>,
}

/// Which walk has the next member.
enum Turn {
    /// Where `true`, it is the one of the cursor's entry.
    Own(bool),
    Base(usize),
    Lost(LostReference),
}

impl<'s> WholeWalk<'s> {
    /// From the beginning of `snapshot`, for headers alone.
    pub(crate) fn new(reader: &Arc<Reader>, snapshot: &'s Snapshot, trust: Trust) -> Result<Self> {
        let walk = |start| Walk::new(Arc::clone(reader), start);
        Self::through(reader, snapshot, trust, walk(snapshot.start), walk)
    }

    /// The same, where data is wanted too, in buffers of `chunks`. What references lead to is looked at where it is.
    pub(crate) fn with_data(
        reader: &Arc<Reader>,
        snapshot: &'s Snapshot,
        chunks: &Arc<Chunks>,
    ) -> Result<Self> {
        let walk = |start| Walk::with_data(Arc::clone(reader), start, Arc::clone(chunks));
        Self::through(reader, snapshot, Trust::Jumped, walk(snapshot.start), walk)
    }

    /// The same, where the data of the snapshot's own members is wanted, and these are held against the index by the
    /// caller.
    pub(crate) fn with_own_data(reader: &Arc<Reader>, snapshot: &'s Snapshot) -> Result<Self> {
        let own = Walk::with_data(Arc::clone(reader), snapshot.start, Chunks::new(2, CHUNK));
        let walk = |start| Walk::new(Arc::clone(reader), start);
        let mut whole = Self::through(reader, snapshot, Trust::Walked, own, walk)?;
        if let Some(references) = &mut whole.references {
            references.checks_own = false;
        }
        Ok(whole)
    }

    /// The same, without what it refers to.
    pub(crate) fn own_with_data(reader: &Arc<Reader>, snapshot: &'s Snapshot) -> Self {
        Self::of_own(snapshot, Walk::with_data(Arc::clone(reader), snapshot.start, Chunks::new(2, CHUNK)))
    }

    fn of_own(snapshot: &'s Snapshot, own: Walk) -> Self {
        WholeWalk { snapshot, own, references: None }
    }

    fn through(
        reader: &Arc<Reader>,
        snapshot: &'s Snapshot,
        trust: Trust,
        own: Walk,
        walk: impl Fn(u64) -> Walk,
    ) -> Result<Self> {
        let opened = if snapshot.has_references { IndexCursor::open(reader, snapshot)? } else { None };
        let Some(cursor) = opened else { return Ok(Self::of_own(snapshot, own)) };
        let is_remnant = matches!(snapshot.index, IndexPlace::Chunks(..)) || !snapshot.gaps.is_empty();
        let is_lenient = is_remnant || snapshot.bases.iter().any(|base| !base.is_there());
        let mut bases = snapshot.bases.clone();
        if is_lenient {
            bases = vec![Base { id: String::new(), start: 0, close: cursor.begin(), closed_with: None }];
        }
        let open = |base: Base| {
            let census = (trust == Trust::Walked && !is_lenient).then(|| Census::begun(base.start));
            OpenBase { walk: walk(base.start), census, base }
        };
        let bases = bases.into_iter().map(open).collect();
        let checks_own = !is_lenient && snapshot.asked.is_none();
        let reader = Arc::clone(reader);
        let references = References { reader, cursor, pending: false, bases, is_lenient, checks_own };
        Ok(WholeWalk { snapshot, own, references: Some(Box::new(references)) })
    }

    /// Where the walk over the snapshot's own members stands.
    pub(crate) fn position(&mut self) -> u64 {
        self.snapshot.step_over(&mut self.own);
        self.own.position()
    }

    /// The next member before the offset `end`, and the end too where the archive ends before.
    ///
    /// # Errors
    /// [`Error::Damaged`] of what is no member.
    pub(crate) fn step(&mut self, end: u64) -> Result<WholeStep<'_>> {
        let at = self.position();
        let turn = match &mut self.references {
            None => Turn::Own(false),
            Some(references) => references.turn(self.snapshot, at)?,
        };
        match turn {
            Turn::Lost(lost) => Ok(WholeStep::Lost(lost)),
            Turn::Base(base) => match &mut self.references {
                Some(references) => references.member(self.snapshot, base),
                None => Ok(WholeStep::End),
            },
            Turn::Own(_) if at >= end => {
                let finished = self.references.as_mut().map(|references| references.finish(self.snapshot));
                match finished {
                    Some(Err(error @ Error::Damaged { .. })) => {
                        Ok(WholeStep::Lost(LostReference::of_index(self.snapshot, error)))
                    }
                    finished => finished.unwrap_or(Ok(())).map(|()| WholeStep::End),
                }
            }
            Turn::Own(is_listed) => match self.own.step()? {
                Step::Member(head) => {
                    let checked =
                        self.references.as_ref().map(|all| all.check(self.snapshot, &head, is_listed));
                    match checked {
                        Some(Err(error)) => {
                            Ok(WholeStep::Lost(LostReference::of_index(self.snapshot, error)))
                        }
                        _ => Ok(WholeStep::Own(head)),
                    }
                }
                Step::End(_) => Ok(WholeStep::End),
            },
        }
    }
}

impl References {
    /// Where the next member is: of the snapshot's own ones, the next is at `at`.
    fn turn(&mut self, snapshot: &Snapshot, at: u64) -> Result<Turn> {
        loop {
            if !self.pending {
                self.pending = match self.cursor.step() {
                    Ok(is_there) => is_there,
                    Err(error @ Error::Damaged { .. }) => {
                        return Ok(Turn::Lost(LostReference::of_index(snapshot, error)));
                    }
                    Err(other) => return Err(other),
                };
            }
            let begin = self.cursor.begin();
            let Some(entry) = self.cursor.entry().filter(|_| self.pending) else {
                return Ok(Turn::Own(false));
            };
            if !entry.is_reference() {
                let place = begin + entry.offset;
                if at < place {
                    return Ok(Turn::Own(false));
                }
                self.pending = false;
                if at == place {
                    return Ok(Turn::Own(true));
                }
                if self.is_lenient {
                    continue;
                }
                let error = self.damaged(&snapshot_name(snapshot, &entry), NO_MEMBER);
                return Ok(Turn::Lost(LostReference::of_index(snapshot, error)));
            }
            self.pending = false;
            if snapshot.asked.as_ref().is_some_and(|asked| !asked.has(entry.volume, entry.path)) {
                continue;
            }
            let target = begin.checked_sub(entry.back);
            if target.is_some_and(|target| snapshot.lost.contains(&target)) {
                continue;
            }
            let base = target.and_then(|target| self.bases.iter().position(|open| open.base.has(target)));
            if let Some(base) = base {
                return Ok(Turn::Base(base));
            }
            let name = snapshot_name(snapshot, &entry);
            let error = self.damaged(&name, &refers(snapshot, target, NO_SUCH_BASE));
            return Ok(Turn::Lost(LostReference { name, target: target.unwrap_or_default(), error }));
        }
    }

    /// The member that the cursor's entry refers to, in one of the bases.
    fn member(&mut self, snapshot: &Snapshot, base: usize) -> Result<WholeStep<'_>> {
        let References { reader, cursor, bases, .. } = self;
        let (at, open) = (cursor.at(), &mut bases[base]);
        let Some(entry) = cursor.entry() else { return Err(reader.damaged(at, NOT_THERE)) };
        let target = cursor.begin().saturating_sub(entry.back);
        let lost = |reason: &str| {
            let name = snapshot_name(snapshot, &entry);
            let reason = format!("{}: {}", Shown::from(&name), refers(snapshot, Some(target), reason));
            let error = reader.damaged(at, reason);
            Ok(WholeStep::Lost(LostReference { name, target, error }))
        };
        match open.go_to(target) {
            Ok(true) => {}
            Ok(false) => return lost(NOT_THERE),
            Err(Error::Damaged { reason, offset, .. }) => {
                return lost(&format!("at offset {offset} there is damage: {reason}"));
            }
            Err(other) => return Err(other),
        }
        let mut head = match open.walk.step() {
            Ok(Step::Member(head)) if head.stored.start == target => head,
            Ok(_) => return lost(NOT_THERE),
            Err(Error::Damaged { reason, .. }) => return lost(&reason),
            Err(other) => return Err(other),
        };
        if let Some(census) = &mut open.census {
            census.member(&head.stored);
        }
        let place = snapshot.layout.locate(head.name);
        let is_its = place.is_some_and(|Place { volume, path }| entry.is_of(&head, volume, path));
        let is_ours = head.stored.checksum.is_some() && !head.stored.is_close();
        let has_two = entry.late.is_some() && head.stored.is_hashed();
        if !is_its || !is_ours || has_two {
            return lost(OTHERWISE);
        }
        if head.kind == Kind::File {
            head.stored.late = entry.late;
        }
        Ok(WholeStep::Base(head))
    }

    /// Holds a member of the snapshot itself against the index: the order of all depends on that.
    fn check(&self, snapshot: &Snapshot, head: &Head, is_listed: bool) -> Result<()> {
        let place = snapshot.layout.locate(head.name);
        let entry = self.cursor.entry().filter(|_| is_listed);
        let agrees = match (&place, &entry) {
            _ if !self.checks_own => true,
            (None, None) => true,
            (Some(Place { volume, path }), Some(entry)) => entry.is_of(head, *volume, path),
            _ => false,
        };
        if agrees { Ok(()) } else { Err(self.damaged(head.name, NOT_THE_SAME)) }
    }

    /// At the end: nothing that the index lists is missing, and the bases are what they were closed with.
    fn finish(&mut self, snapshot: &Snapshot) -> Result<()> {
        let is_left = std::mem::take(&mut self.pending) || self.cursor.step()?;
        let left = self.cursor.entry().filter(|_| is_left).map(|entry| snapshot_name(snapshot, &entry));
        if let Some(name) = left.filter(|_| !self.is_lenient) {
            return Err(self.damaged(&name, NO_MEMBER));
        }
        self.bases.iter_mut().try_for_each(OpenBase::finish)
    }

    fn damaged(&self, name: &[u8], reason: &str) -> Error {
        self.reader.damaged(self.cursor.at(), format!("{}: {reason}", Shown::from(name)))
    }
}

impl OpenBase {
    /// Goes to where a member begins; false where none does.
    fn go_to(&mut self, target: u64) -> Result<bool> {
        let Some(census) = &mut self.census else {
            self.walk.jump(target);
            return Ok(true);
        };
        while self.walk.position() < target {
            let Step::Member(head) = self.walk.step()? else { return Ok(false) };
            census.member(&head.stored);
        }
        Ok(self.walk.position() == target)
    }

    /// Walks over the rest, where what was met is to be held against the close.
    fn finish(&mut self) -> Result<()> {
        let (close, Some(closed_with)) = (self.base.close, &self.base.closed_with) else { return Ok(()) };
        let Some(mut census) = self.census.take() else { return Ok(()) };
        while self.walk.position() < close {
            let Step::Member(head) = self.walk.step()? else { break };
            census.member(&head.stored);
        }
        let (members, digest) = closed_with;
        census.check(self.walk.reader(), close, (*members, close - self.base.start, digest))
    }
}

/// Why a reference to `target` cannot be used.
fn refers(snapshot: &Snapshot, target: Option<u64>, reason: &str) -> String {
    let base = target.and_then(|target| snapshot.bases.iter().rfind(|base| base.start <= target));
    let of = base.map(|base| format!(" in snapshot {}", Shown::from(base.id.as_str()))).unwrap_or_default();
    match target {
        Some(target) => format!("it is stored at offset {target}{of}, and {reason}"),
        None => format!("it is stored before the archive's beginning, and {reason}"),
    }
}

/// What the member of an entry is called in the archive.
fn snapshot_name(snapshot: &Snapshot, entry: &IndexEntry) -> Vec<u8> {
    let volume = usize::try_from(entry.volume).ok();
    let volume = volume.and_then(|volume| snapshot.layout.name(volume)).unwrap_or_default();
    let slash: &[u8] = if entry.path.is_empty() { b"" } else { b"/" };
    [volume, slash, entry.path].concat()
}
