//! Reading a whole archive and holding everything in it against its checksums.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::archive::chunk::Chunks;
use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::end::Tail;
use crate::archive::open::Reader;
use crate::archive::walk::{CHUNK, Member, Step, Walk};
use crate::error::Result;
use crate::name::Shown;
use crate::observer::{Phase, Run};
use crate::snapshot::catalog::{self, Catalog, Problem, problem_of};
use crate::snapshot::{Snapshot, VOLUMES_DATA, select, under, volumes_data};

/// Which archive, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// The archive.
    pub archive: PathBuf,
    /// How long to wait for an append that is under way.
    pub lock_timeout: Duration,
}

impl Default for ListOptions {
    fn default() -> Self {
        ListOptions {
            archive: PathBuf::from(crate::DEFAULT_ARCHIVE),
            lock_timeout: crate::DEFAULT_LOCK_TIMEOUT,
        }
    }
}

/// What an archive holds.
#[derive(Debug)]
pub struct Listing {
    /// The archive.
    pub archive: Shown,
    /// Its contents.
    pub catalog: Catalog,
}

/// The snapshots in an archive. One that is damaged is listed as far as it can be read, with its problems.
///
/// # Errors
/// When it is no archive, or cannot be read.
pub fn list(options: &ListOptions, run: &Run) -> Result<Listing> {
    let (reader, catalog) = catalog::open(&options.archive, options.lock_timeout, run)?;
    Ok(Listing { archive: reader.name().clone(), catalog })
}

/// Tells `each` of the members of the snapshot whose ID begins with `id`, in their order.
///
/// # Errors
/// When there is no such snapshot, when the archive cannot be read, and those of `each`.
pub fn members(
    options: &ListOptions,
    id: &str,
    run: &Run,
    each: &mut dyn FnMut(&Member) -> Result<()>,
) -> Result<Snapshot> {
    let (reader, mut catalog) = catalog::open(&options.archive, options.lock_timeout, run)?;
    let wanted = select::by_id(&catalog, reader.name(), id)?.start;
    let at = catalog.snapshots.iter().position(|snapshot| snapshot.start == wanted).unwrap_or_default();
    let snapshot = catalog.snapshots.swap_remove(at);
    let mut walk = Walk::new(Arc::clone(&reader), snapshot.start);
    while walk.position() < snapshot.end {
        let Step::Member(member) = walk.step()? else { break };
        run.cancel.check("nothing was changed")?;
        let is_close = member.start == snapshot.close;
        if !snapshot.is_go() || is_close || snapshot.layout.locate(member.name).is_some() {
            each(&member.to_member())?;
        }
    }
    Ok(snapshot)
}

/// What was found in an archive.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The archive.
    pub archive: Shown,
    /// Its snapshots, oldest first.
    pub snapshots: Vec<Verified>,
    /// How many members belong to no snapshot; nothing is known about them.
    pub foreign: u64,
    /// What lies behind the end.
    pub tail: Tail,
    /// What is wrong, in the order of offsets.
    pub problems: Vec<Problem>,
    /// How many bytes were read and held against checksums.
    pub bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// What was found of one snapshot.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Its ID.
    pub id: String,
    /// Where in the archive it is.
    pub prefix: String,
    /// Whether nothing is wrong with it, as far as it could be checked.
    pub ok: bool,
    /// How many members its volumes have.
    pub entries: u64,
    /// How many bytes of stored data were held against a checksum.
    pub checked: u64,
    /// How many have none that covers them.
    pub unhashed: u64,
}

/// Reads the whole archive and checks what can be checked: the structure, that each snapshot is complete, each
/// member's checksum, and that padding is zeros.
///
/// # Errors
/// When it is no archive, or cannot be read. What is wrong in an archive is a [`Problem`].
pub fn verify(options: &ListOptions, run: &Run) -> Result<Verification> {
    let started = Instant::now();
    let (reader, catalog) = catalog::open(&options.archive, options.lock_timeout, run)?;
    run.observer.begin(Phase::Verifying, Some(reader.len()));
    let mut problems = catalog.problems;
    let mut snapshots = Vec::new();
    let mut bytes = 0;
    for snapshot in &catalog.snapshots {
        let before = problems.len();
        let (checked, unhashed) = snapshot_members(&reader, snapshot, run, &mut problems)?;
        bytes += checked;
        snapshots.push(Verified {
            id: snapshot.id.clone(),
            prefix: snapshot.prefix.clone(),
            ok: problems.len() == before,
            entries: snapshot.entries,
            checked,
            unhashed,
        });
    }
    problems.sort_by_key(|problem| problem.offset);
    Ok(Verification {
        archive: reader.name().clone(),
        snapshots,
        foreign: catalog.foreign,
        tail: catalog.tail,
        problems,
        bytes,
        elapsed: started.elapsed(),
    })
}

/// Checks each member; returns how many bytes of data were checked and how many cannot be.
fn snapshot_members(
    reader: &Arc<Reader>,
    snapshot: &Snapshot,
    run: &Run,
    problems: &mut Vec<Problem>,
) -> Result<(u64, u64)> {
    let (mut checked, mut unhashed) = (0, 0);
    let mut buffer = vec![0; 1 << 20];
    let mut walk = Walk::with_data(Arc::clone(reader), snapshot.start, Chunks::new(2, CHUNK));
    while walk.position() < snapshot.end {
        let Step::Member(member) = walk.step()? else { break };
        let place = snapshot.layout.locate(member.name);
        if snapshot.is_go() {
            unhashed += place.map_or(0, |_| member.stored);
            continue;
        }
        if member.start == snapshot.start {
            continue;
        }
        match member.checksum.filter(super::archive::checksum::Checksum::covers_data) {
            Some(_) => checked += member.stored,
            None => unhashed += member.stored,
        }
        if let Err(error) = check(reader, snapshot, &member, &mut buffer, run) {
            problems.push(problem_of(error)?);
        }
        run.observer.member(member.name);
    }
    Ok((checked, unhashed))
}

fn check(reader: &Reader, snapshot: &Snapshot, member: &Head, buffer: &mut [u8], run: &Run) -> Result<()> {
    let content = Content::new(reader, member, member.header);
    let is_list = member.name == under(&snapshot.prefix, VOLUMES_DATA) && member.end() == snapshot.close;
    if is_list {
        check_list(reader, snapshot, member).map_err(|reason| content.damaged(&reason))?;
    } else if member.start != snapshot.close && snapshot.layout.locate(member.name).is_none() {
        return Err(content.damaged("it belongs to no volume"));
    }
    content.check(buffer, |count| {
        run.observer.bytes(count);
        run.cancel.check("nothing was changed")
    })
}

/// The list that the Go program reads must say what `snapshot.json` says.
fn check_list(reader: &Reader, snapshot: &Snapshot, member: &Head) -> Result<(), String> {
    let mut text =
        vec![0; usize::try_from(member.stored.min(crate::snapshot::MAX_CLOSING_FILE)).unwrap_or(0)];
    reader.read_exact(&mut text, member.data()).map_err(|error| error.to_string())?;
    let expected =
        volumes_data::encode(snapshot.volumes.iter().map(|volume| (volume.path.as_str(), volume.kind)));
    if text == expected { Ok(()) } else { Err("it does not list the snapshot's volumes".to_owned()) }
}
