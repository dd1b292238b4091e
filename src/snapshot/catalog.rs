//! What an archive holds, from one walk over its headers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::archive::beginning::describe;
use crate::archive::checksum::{Checksum, Cover};
use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::end::{Tail, tail};
use crate::archive::open::Reader;
use crate::archive::source::Archive;
use crate::archive::ustar::{Block, is_header};
use crate::archive::walk::{Step, Walk};
use crate::archive::{BLOCK_LEN, END_LEN};
use crate::error::{Error, Result, chain};
use crate::observer::Run;
use crate::snapshot::digest::Digest;
use crate::snapshot::manifest::Manifest;
use crate::snapshot::{BEGIN, MAX_CLOSING_FILE, SNAPSHOT_JSON, Snapshot, begin_block, go, under};

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
    let (reader, catalog) = Reader::open_settled(archive, spool, lock_timeout, run, read)?;
    Ok((reader, catalog?))
}

/// Walks `reader`, which nobody may be appending to.
///
/// # Errors
/// When it is no archive at all, or cannot be read; damage behind its start is a [`Problem`].
pub(crate) fn read(reader: &Arc<Reader>, run: &Run) -> Result<Catalog> {
    check_is_archive(reader)?;
    let mut scan = Scan::new(reader);
    let mut walk = Walk::new(Arc::clone(reader), 0);
    loop {
        run.cancel.check("nothing was changed")?;
        match walk.step() {
            Ok(Step::Member(member)) => scan.member(&member)?,
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
    members: u64,
    digest: Digest,
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
            self.open = Some(Begun { start: member.stored.start, members: 1, digest: Digest::default() });
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
                let read = open.map(|open| close(self.reader, &open, member, &checksum));
                match read {
                    Some(Ok(snapshot)) => self.catalog.snapshots.push(snapshot),
                    Some(Err(Error::Damaged { reason, offset, .. })) => self.problem(offset, reason),
                    Some(Err(other)) => return Err(other),
                    None => {}
                }
            }
            (None, Some(checksum)) => {
                open.members += 1;
                open.digest.add(member.stored.start - open.start, &checksum.digest);
            }
            (None, None) => {
                self.problem(member.stored.start, "a member without a checksum inside a snapshot");
                self.open = None;
                return self.foreign(member);
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Catalog {
        self.give_up_open();
        self.catalog.problems.sort_by_key(|problem| problem.offset);
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

/// Reads the close of a snapshot.
///
/// # Errors
/// [`Error::Damaged`] when it is not sound.
pub(crate) fn read_manifest(reader: &Reader, member: &Head) -> Result<Manifest> {
    let damaged = |reason| reader.damaged(member.stored.start, reason);
    if member.stored.length > MAX_CLOSING_FILE {
        return Err(damaged("snapshot.json is too long".to_owned()));
    }
    let text = Content::new(reader, member.data()).read_all()?;
    let manifest = Manifest::decode(&text).map_err(damaged)?;
    if !manifest.is_later() && member.name != under(&manifest.prefix, SNAPSHOT_JSON) {
        return Err(damaged("snapshot.json has another prefix than it says".to_owned()));
    }
    Ok(manifest)
}

/// Reads the close of a snapshot and holds what it says against what was met.
fn close(reader: &Reader, open: &Begun, member: &Head, checksum: &Checksum) -> Result<Snapshot> {
    let manifest = read_manifest(reader, member)?;
    let bytes = member.stored.start - open.start;
    let digest = open.digest.to_hex();
    let written = (manifest.members, manifest.bytes, manifest.digest.as_str());
    if !manifest.is_later() && written != (open.members, bytes, digest.as_str()) {
        let reason = format!(
            "the snapshot's members are not those that it was closed with ({} members in {bytes} bytes, and {} in {} \
             were written)",
            open.members, manifest.members, manifest.bytes
        );
        return Err(reader.damaged(member.stored.start, reason));
    }
    Ok(Snapshot::of_manifest(
        manifest,
        &checksum.digest,
        open.start,
        member.stored.start..member.stored.end(),
    ))
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
