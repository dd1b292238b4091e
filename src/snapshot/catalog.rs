//! What an archive holds, from one walk over its headers, or over those of them that lead to its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::archive::beginning::describe;
use crate::archive::checksum::{Checksum, Cover};
use crate::archive::decode::Head;
use crate::archive::end::{Tail, tail};
use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::archive::source::Archive;
use crate::archive::ustar::{Block, is_header};
use crate::archive::walk::{Step, Walk};
use crate::archive::{BLOCK_LEN, END_LEN};
use crate::error::{Error, Result, chain};
use crate::observer::Run;
use crate::snapshot::close::{Census, NO_CHECKSUM, read_manifest};
use crate::snapshot::resolve::resolve;
use crate::snapshot::{BEGIN, Snapshot, begin_block, go, leap};

/// Something in an archive that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where, in bytes from the archive's start.
    pub offset: u64,
    /// What.
    pub reason: String,
}

/// The contents of an archive.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// Its snapshots, oldest first.
    pub(crate) snapshots: Vec<Snapshot>,
    /// How many members belong to no snapshot.
    pub(crate) foreign: u64,
    /// The offset of the end; `None` when the walk could not get there.
    pub(crate) end: Option<u64>,
    /// What lies behind the end.
    pub(crate) tail: Tail,
    /// What is wrong, in the order of offsets.
    pub(crate) problems: Vec<Problem>,
    /// A global header sets more than a comment.
    pub(crate) globals: bool,
}

/// Opens `archive` for reading, and waits for an append that is under way. For `spool` see
/// [`Reader::open_settled`].
pub(crate) fn open(
    archive: &Archive,
    spool: &[PathBuf],
    lock_timeout: Duration,
    run: &Run,
) -> Result<(Arc<Reader>, Catalog)> {
    let look = |reader: &Arc<Reader>, run: &Run| read(reader, Depth::Snapshots, run);
    let (reader, catalog) = Reader::open_settled(archive, spool, lock_timeout, run, look)?;
    Ok((reader, catalog?))
}

/// How much of an archive is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The header of each member.
    Members,
    /// Of each snapshot that says where it closes its close, and nothing of what lies between: whoever uses its
    /// members holds them against `closed_with`.
    Snapshots,
}

/// Walks `reader`, which nobody may be appending to.
///
/// # Errors
/// When it is no archive at all, or cannot be read; damage behind its start is a [`Problem`].
pub(crate) fn read(reader: &Arc<Reader>, depth: Depth, run: &Run) -> Result<Catalog> {
    check_is_archive(reader)?;
    let mut scan = Scan::new(reader);
    let mut walk = Walk::new(Arc::clone(reader), 0);
    loop {
        run.cancel.check("nothing was changed")?;
        match walk.step() {
            Ok(Step::Member(member)) => {
                scan.member(&member)?;
                if depth == Depth::Snapshots
                    && let Some(end) = scan.leap(&member)?
                {
                    walk.jump(end);
                }
            }
            Ok(Step::End(end)) => {
                scan.catalog.end = Some(end);
                break;
            }
            Err(Error::Damaged { offset, reason, .. }) => {
                scan.problem(offset, reason);
                // What began is not complete because of this.
                scan.open = None;
                break;
            }
            Err(other) => return Err(other),
        }
    }
    let mut catalog = scan.finish();
    catalog.globals = walk.saw_globals();
    if let Some(end) = catalog.end {
        catalog.tail = tail(reader, end, run)?;
    }
    if let Tail::Foreign(offset) = catalog.tail {
        let reason = "something follows behind the archive's end, maybe another archive: `tar -itf` shows it"
            .to_owned();
        catalog.problems.push(Problem { offset, reason });
    }
    Ok(catalog)
}

fn check_is_archive(reader: &Reader) -> Result<()> {
    let mut first = [0; BLOCK_LEN];
    reader.read(&mut first, 0)?;
    let is_like_tar = first[257..262] == *b"ustar" || first.starts_with(BEGIN);
    let reason = match reader.len() {
        length if length < END_LEN && reader.is_stream() => format!(
            "it ends after {length} bytes, and an archive has at least 1024: the program that should write it has \
             failed, or writes it elsewhere"
        ),
        0 => "it is empty, and an archive ends in 1024 zero bytes: make it one with `snapshotter init`"
            .to_owned(),
        _ if first != [0; BLOCK_LEN] && !is_header(&first) && !is_like_tar => describe(0, &first),
        length if length < END_LEN => {
            format!(
                "it has {length} bytes, and the smallest archive 1024: make a new one with `snapshotter init`"
            )
        }
        _ => return Ok(()),
    };
    Err(Error::Archive { action: "read", archive: reader.name().clone(), reason })
}

/// The state between members.
pub(crate) struct Scan<'a> {
    reader: &'a Arc<Reader>,
    begin: Block,
    catalog: Catalog,
    open: Option<Begun>,
    /// Where members that belong to no snapshot yet begin.
    loose: u64,
}

/// A snapshot that has begun.
#[derive(Debug)]
struct Begun {
    start: u64,
    census: Census,
    /// The offset of its first directory, and how far behind the start that says the close is.
    directory: Option<(u64, Option<u64>)>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(reader: &'a Arc<Reader>) -> Self {
        let catalog = Catalog::default();
        Scan { reader, begin: begin_block(), catalog, open: None, loose: 0 }
    }

    pub(crate) fn problem(&mut self, offset: u64, reason: impl Into<String>) {
        self.catalog.problems.push(Problem { offset, reason: reason.into() });
    }

    /// Takes the next member.
    pub(crate) fn member(&mut self, member: &Head) -> Result<()> {
        if self.is_begin(member)? {
            self.give_up_open();
            let start = member.stored.start;
            self.open = Some(Begun { start, census: Census::begun(start), directory: None });
            return Ok(());
        }
        let closes = member.stored.checksum.filter(|checksum| checksum.cover == Cover::Close);
        let Some(open) = &mut self.open else {
            if closes.is_some() {
                self.problem(member.stored.start, "the close of a snapshot whose beginning is missing");
            }
            return self.foreign(member);
        };
        match (closes, member.stored.checksum) {
            (Some(checksum), _) => {
                let open = self.open.take();
                self.loose = member.stored.end();
                let read = open.map(|open| closed(self.reader, &open, member, &checksum));
                match read {
                    Some(Ok(snapshot)) => self.catalog.snapshots.push(snapshot),
                    Some(Err(Error::Damaged { reason, offset, .. })) => self.problem(offset, reason),
                    Some(Err(other)) => return Err(other),
                    None => {}
                }
            }
            (None, Some(checksum)) => {
                open.census.add(member.stored.start, &checksum.digest);
                if member.kind == Kind::Directory {
                    open.directory.get_or_insert_with(|| (member.stored.start, leap::said_by(member)));
                }
            }
            (None, None) => {
                self.problem(member.stored.start, NO_CHECKSUM);
                self.open = None;
                return self.foreign(member);
            }
        }
        Ok(())
    }

    /// Takes all of the snapshot that `member`, which was just taken, is the first directory of, if that says
    /// soundly where it closes. Returns where it ends.
    fn leap(&mut self, member: &Head) -> Result<Option<u64>> {
        let is_first = |open: &&Begun| open.directory.is_some_and(|(at, _)| at == member.stored.start);
        let Some(start) = self.open.as_ref().filter(is_first).map(|open| open.start) else { return Ok(None) };
        let Some(snapshot) = leap::from(self.reader, start, member)? else { return Ok(None) };
        let end = snapshot.end;
        (self.open, self.loose) = (None, end);
        self.catalog.snapshots.push(snapshot);
        Ok(Some(end))
    }

    pub(crate) fn finish(mut self) -> Catalog {
        self.give_up_open();
        self.catalog.problems.sort_by_key(|problem| problem.offset);
        resolve(&mut self.catalog.snapshots);
        self.catalog
    }

    /// A snapshot that began and was never closed.
    fn give_up_open(&mut self) {
        if let Some(open) = self.open.take() {
            self.problem(open.start, "a snapshot that begins here is not complete");
        }
    }

    fn is_begin(&self, member: &Head) -> Result<bool> {
        if member.header != self.begin {
            return Ok(false);
        }
        let mut data = [1; BLOCK_LEN];
        self.reader.read_exact(&mut data, member.stored.data())?;
        Ok(data.iter().all(|&byte| byte == 0))
    }

    fn foreign(&mut self, member: &Head) -> Result<()> {
        self.catalog.foreign += 1;
        if let Some((snapshot, members)) = go::snapshot(self.reader, self.loose, member)? {
            self.catalog.foreign -= members;
            self.loose = member.stored.end();
            self.catalog.snapshots.push(snapshot);
        }
        Ok(())
    }
}

/// Reads the close of a snapshot and holds what it says against what was met.
fn closed(reader: &Reader, open: &Begun, member: &Head, checksum: &Checksum) -> Result<Snapshot> {
    let (start, close) = (open.start, member.stored.start..member.stored.end());
    let manifest = read_manifest(reader, member)?;
    if !manifest.is_later() {
        open.census.check(reader, close.start, (manifest.members, manifest.bytes, &manifest.digest))?;
        if open.directory.and_then(|(_, said)| said).is_some_and(|said| said != manifest.bytes) {
            let reason = "its first directory says that the snapshot closes elsewhere".to_owned();
            return Err(reader.damaged(close.start, reason));
        }
    }
    Ok(Snapshot::of_manifest(manifest, &checksum.digest, start, close))
}

impl Catalog {
    /// Fails when the walk could not reach the end, or met what should not be there: what was appended last
    /// may be what is missing.
    pub(crate) fn require_sound(&self, reader: &Reader) -> Result<()> {
        match self.problems.first() {
            None => Ok(()),
            Some(problem) => Err(Error::Damaged {
                archive: reader.name().clone(),
                offset: problem.offset,
                reason: problem.reason.clone(),
            }),
        }
    }
}

/// A problem from an error about damage; any other error stays one.
pub(crate) fn problem_of(error: Error) -> Result<Problem> {
    match error {
        Error::Damaged { offset, reason, .. } => Ok(Problem { offset, reason }),
        Error::Archive { .. } => Ok(Problem { offset: 0, reason: chain(&error) }),
        other => Err(other),
    }
}
