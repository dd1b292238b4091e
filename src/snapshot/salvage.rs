//! What is left of the snapshots in a damaged archive.
//!
//! Up to the first place where the walk cannot go on, all is as certain as in a sound archive. What is found behind
//! such a gap may lie in the content of a file, which may be an archive of ours itself. Nothing in a member says which
//! archive it was written for, so this is told from how the members lie:
//!
//! - A close belongs to the beginning that lies as many bytes before it as it says.
//! - What leads to another close and the end of an archive, behind which there is more, is content.
//! - Of two members with one name that differ, found behind the same gap, the first is content, and so is all between
//!   the gap and it: once the walk stands on a member of the archive itself, it stays on such.
//! - No more is taken than the snapshot was closed with; what is too much is taken from the front, for the same reason.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::checksum::Cover;
use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::archive::search::{Hit, Search};
use crate::archive::ustar::Block;
use crate::archive::walk::{ENDS_INSIDE, Step, Walk};
use crate::archive::{BLOCK, BLOCK_LEN};
use crate::error::{Error, Result};
use crate::observer::Run;
use crate::snapshot::catalog::{self, Catalog, problem_of, read_manifest};
use crate::snapshot::digest::Digest;
use crate::snapshot::go;
use crate::snapshot::manifest::{Manifest, SnapshotVolume};
use crate::snapshot::volumes_data::{self, VolumeItem};
use crate::snapshot::{MAX_CLOSING_FILE, Snapshot, VOLUMES_DATA, begin_block, under};
use crate::time::Time;
use crate::volume::{VolumeType, id};

/// What a stretch says that is left out because it may be a file's content.
const CONTENT: &str = "what is found here may be the content of a file that is an archive itself";

/// A stretch of the archive that cannot be walked through.
#[derive(Debug, Clone)]
pub(crate) struct Gap {
    pub(crate) range: Range<u64>,
    /// Where the walk failed, and why.
    pub(crate) offset: u64,
    pub(crate) reason: String,
    /// Names that members had which lay here, as far as that can be told, and where their own headers lie.
    pub(crate) names: Vec<(u64, Vec<u8>)>,
}

impl Gap {
    /// What is wrong, for messages.
    pub(crate) fn describe(&self) -> String {
        if self.range.is_empty() {
            return self.reason.clone();
        }
        format!("{}; nothing is sound up to offset {}", self.reason, self.range.end)
    }
}

/// What is left of one snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Remnant {
    pub(crate) snapshot: Snapshot,
    /// Its `snapshot.json` is sound, and tells how much there was.
    pub(crate) counted: bool,
    /// All members are there, where they were, with the checksums that they had.
    pub(crate) sure: bool,
    /// All of it may be the content of a file of another snapshot.
    pub(crate) doubtful: bool,
    pub(crate) gaps: Vec<Gap>,
    /// Members without a volume's list, by which their prefix is told.
    names: Vec<Vec<u8>>,
}

/// All that is left of an archive.
#[derive(Debug)]
pub(crate) struct Salvage {
    /// In the order of their offsets.
    pub(crate) remnants: Vec<Remnant>,
    pub(crate) gaps: Vec<Gap>,
}

/// Opens the archive at `path` as [`catalog::open`] does, and where that meets damage, looks for what is left.
pub(crate) fn open(
    path: &Path,
    lock_timeout: Duration,
    run: &Run,
) -> Result<(Arc<Reader>, Catalog, Salvage)> {
    let (reader, catalog) = Reader::open_settled(path, lock_timeout, run, catalog::read)?;
    let catalog = match catalog {
        Ok(catalog) if catalog.problems.is_empty() => {
            let remnants = catalog.snapshots.iter().map(Remnant::of_whole).collect();
            return Ok((reader, catalog, Salvage { remnants, gaps: Vec::new() }));
        }
        Ok(catalog) => catalog,
        // It may have been one, whose very first block is damaged.
        Err(error @ Error::Archive { .. }) => {
            let salvage = read(&reader, &Catalog::default(), run)?;
            if salvage.remnants.is_empty() {
                return Err(error);
            }
            return Ok((
                reader,
                Catalog { problems: vec![problem_of(error)?], ..Catalog::default() },
                salvage,
            ));
        }
        Err(error) => return Err(error),
    };
    let salvage = read(&reader, &catalog, run)?;
    Ok((reader, catalog, salvage))
}

/// Looks through the archive for all that `catalog` could not get at.
fn read(reader: &Arc<Reader>, catalog: &Catalog, run: &Run) -> Result<Salvage> {
    let Map { gaps, marks, end, loose, .. } = Map::draw(reader, run)?;
    let mut remnants: Vec<Remnant> = catalog.snapshots.iter().map(Remnant::of_whole).collect();
    let range = |known: &Remnant| (known.snapshot.start, known.snapshot.end);
    let mut known: BTreeMap<u64, u64> = remnants.iter().map(range).collect();
    for rest in rests(&gaps, marks, end) {
        let before = known.range(..rest.range.end).next_back();
        if before.is_none_or(|(_, &end)| end <= rest.range.start) {
            known.insert(rest.range.start, rest.range.end);
            let mut remnant = Remnant::new(reader, rest, &gaps, run)?;
            if loose.iter().any(|loose| loose.contains(&remnant.snapshot.start)) {
                (remnant.doubtful, remnant.sure) = (true, false);
            }
            remnants.push(remnant);
        }
    }
    if let Some(found) = cut_off(reader, &remnants, &gaps)? {
        remnants.push(found);
    }
    remnants.sort_by_key(|remnant| remnant.snapshot.start);
    Ok(Salvage { remnants, gaps })
}

/// What is left of a snapshot of the Go program in front of the first gap. Behind it there is nothing to tell its members by.
fn cut_off(reader: &Arc<Reader>, remnants: &[Remnant], gaps: &[Gap]) -> Result<Option<Remnant>> {
    let Some(gap) = gaps.first() else { return Ok(None) };
    let before = remnants.iter().filter(|known| known.snapshot.start < gap.range.start);
    let from = before.map(|known| known.snapshot.end).max().unwrap_or(0);
    let found = go::cut_off(reader, from..gap.range.start)?;
    Ok(found.map(|snapshot| {
        let gaps = vec![gap.clone()];
        Remnant { snapshot, counted: false, sure: false, doubtful: false, gaps, names: Vec::new() }
    }))
}

impl Salvage {
    /// The first gap behind `end` where there may have been another snapshot: none that is known takes all of it up.
    pub(crate) fn lost_behind(&self, end: u64) -> Option<&Gap> {
        let takes_up = |known: &Remnant, gap: &Range<u64>| {
            let snapshot = &known.snapshot;
            known.counted && !known.doubtful && snapshot.start < gap.start && gap.end < snapshot.end
        };
        self.gaps.iter().find(|gap| {
            let range = &gap.range;
            (range.start >= end || range.end > end)
                && !self.remnants.iter().any(|known| takes_up(known, range))
        })
    }
}

/// A sound `snapshot.json`.
struct Close {
    range: Range<u64>,
    digest: [u8; 32],
    manifest: Manifest,
}

impl Close {
    /// Where its snapshot began, if nothing was put in or cut out since.
    fn begin(&self) -> Option<u64> {
        self.range.start.checked_sub(self.manifest.bytes).filter(|_| !self.manifest.is_later())
    }
}

/// A sound `volumes-data.yml`.
struct List {
    name: Vec<u8>,
    items: Vec<VolumeItem>,
    mtime: Time,
}

/// Something by which a snapshot can be told.
enum Mark {
    Begin,
    Close(Box<Close>),
    List(List),
    /// The first member behind a beginning or a gap.
    Name(Vec<u8>),
}

/// The whole archive, walked as far as that goes, from gap to gap.
struct Map<'a> {
    reader: &'a Arc<Reader>,
    begin: Block,
    gaps: Vec<Gap>,
    marks: Vec<(u64, Mark)>,
    end: u64,
    /// Where the members that are walked now were found, behind a gap.
    found: Option<u64>,
    /// Where the walk stood before the last member: global headers may lie between that and it.
    last: Option<u64>,
    /// It is the close of a snapshot that lies behind the gap as a whole, as all there were since the gap: an archive in
    /// a file would end so.
    closed: bool,
    /// There was a close that lies where it did from a beginning in `certain`, so the walk stands on the archive itself.
    anchored: bool,
    /// What lies before this, and is no gap, is the archive itself: all before the first gap, or up to one where the
    /// walk was anchored.
    certain: u64,
    /// The next member's name is to be marked.
    nameless: bool,
    /// From where on members are only found in what may be the last member's content.
    cut: Option<u64>,
    /// Stretches between two gaps in which nothing closes a snapshot that began before: all of it may be content.
    loose: Vec<Range<u64>>,
}

impl<'a> Map<'a> {
    fn draw(reader: &'a Arc<Reader>, run: &Run) -> Result<Self> {
        let mut map = Map {
            reader,
            begin: begin_block(),
            gaps: Vec::new(),
            marks: Vec::new(),
            end: reader.len(),
            found: None,
            last: None,
            closed: false,
            anchored: false,
            certain: 0,
            nameless: true,
            cut: None,
            loose: Vec::new(),
        };
        let mut search = Search::new(reader, run);
        let mut walk = Walk::new(Arc::clone(reader), 0);
        loop {
            run.cancel.check("nothing was changed")?;
            let at = walk.position();
            let next = match walk.step() {
                Ok(Step::Member(head)) if head.header == map.begin && !map.begin(&head)? => {
                    let reason = "the data of .snapshot-begin is not zeros".to_owned();
                    map.gap(at, at, reason, &mut search)?
                }
                Ok(Step::Member(head)) if head.is_run_together() => {
                    let reason = "an extended header that is followed by no member".to_owned();
                    map.gap(at, at, reason, &mut search)?
                }
                Ok(Step::Member(head)) => {
                    map.member(at, &head)?;
                    continue;
                }
                Ok(Step::End(end)) => map.end(end, &mut search)?,
                Err(Error::Damaged { offset, reason, .. }) => map.gap(at, offset, reason, &mut search)?,
                Err(other) => return Err(other),
            };
            let Some(next) = next else { return Ok(map) };
            (map.found, map.last, map.nameless) = (Some(next), None, true);
            (map.closed, map.anchored) = (false, false);
            walk.jump(next);
        }
    }

    /// Takes a member, before which the walk stood at `at`.
    fn member(&mut self, at: u64, head: &Head) -> Result<()> {
        let start = head.stored.start;
        (self.last, self.closed) = (head.stored.checksum.map(|_| at), false);
        if head.header == self.begin {
            return Ok(());
        }
        if head.stored.checksum.is_some() && std::mem::take(&mut self.nameless) {
            self.marks.push((start, Mark::Name(head.name.to_vec())));
        }
        let closes = head.stored.checksum.filter(|checksum| checksum.cover == Cover::Close);
        let mark = match closes {
            Some(checksum) => sound(read_manifest(self.reader, head))?.map(|manifest| {
                let close = Close { range: start..head.stored.end(), digest: checksum.digest, manifest };
                self.closed =
                    close.begin().is_none_or(|begin| self.found.is_some_and(|found| found <= begin));
                self.nameless = true;
                self.anchored |= close.begin().is_some_and(|begin| self.is_certain(begin));
                if self.anchored {
                    self.cut = None;
                }
                Mark::Close(Box::new(close))
            }),
            None => sound(read_list(self.reader, head))?.flatten().map(Mark::List),
        };
        if let Some(mark) = mark {
            if let (Mark::List(_), Some((_, Mark::List(_)))) = (&mark, self.marks.last()) {
                self.marks.pop();
            }
            self.marks.push((start, mark));
        }
        Ok(())
    }

    /// Whether a snapshot of the archive itself is known to begin at `offset`.
    fn is_certain(&self, offset: u64) -> bool {
        let at = self.marks.binary_search_by_key(&offset, |&(at, _)| at);
        offset < self.certain && at.is_ok_and(|at| matches!(self.marks[at].1, Mark::Begin))
    }

    /// Takes a `.snapshot-begin`; whether its data is as it should be.
    fn begin(&mut self, head: &Head) -> Result<bool> {
        self.marks.push((head.stored.start, Mark::Begin));
        (self.last, self.nameless) = (None, true);
        let mut data: Block = [1; BLOCK_LEN];
        self.reader.read_exact(&mut data, head.stored.data())?;
        Ok(data == [0; BLOCK_LEN])
    }

    /// The walk met two zero blocks; where it goes on if these are not the end.
    fn end(&mut self, end: u64, search: &mut Search) -> Result<Option<u64>> {
        let hit = search.behind(end + BLOCK, &self.begin)?;
        let Some(next) = hit.at else {
            self.end = end;
            if let Some(cut) = self.cut {
                self.cut_off(cut);
            }
            return Ok(None);
        };
        let found = self.found.filter(|_| self.closed && !self.anchored);
        let reason = match found {
            Some(found) => {
                self.marks.retain(|&(at, _)| at < found);
                CONTENT
            }
            None => "zeros where a header should be",
        };
        self.push(Gap {
            range: found.unwrap_or(end)..next,
            offset: end,
            reason: reason.to_owned(),
            names: hit.names,
        });
        Ok(Some(next))
    }

    /// The walk stood at `at` and could not go on because of what is at `offset`.
    fn gap(&mut self, at: u64, offset: u64, reason: String, search: &mut Search) -> Result<Option<u64>> {
        // If the member before is damaged, its size may have led astray.
        let from = match self.last {
            Some(last) if !search.holds(last)? => last,
            _ => at,
        };
        let Hit { at: next, names } = search.behind(from, &self.begin)?;
        if reason == ENDS_INSIDE && next.is_some() && self.cut.is_none() {
            self.cut = Some(from);
        }
        if let Some(found) = self.found.filter(|_| !self.anchored) {
            self.loose.push(found..from);
        }
        self.push(Gap { range: from..next.unwrap_or(self.reader.len()), offset, reason, names });
        if let (None, Some(cut)) = (next, self.cut) {
            self.cut_off(cut);
        }
        Ok(next)
    }

    /// Takes back all that was found from `cut` on.
    fn cut_off(&mut self, cut: u64) {
        self.marks.retain(|&(at, _)| at < cut);
        if let Some(at) = self.gaps.iter().position(|gap| gap.range.end > cut) {
            self.gaps.truncate(at + 1);
            let gap = &mut self.gaps[at];
            gap.range.end = self.reader.len();
            gap.names.truncate(1);
        }
        self.end = self.reader.len();
    }

    /// Gaps that touch become one, with what is said of the first.
    fn push(&mut self, gap: Gap) {
        if self.found.is_none() || self.anchored {
            self.certain = gap.range.start;
        }
        match self.gaps.last_mut() {
            Some(last) if last.range.end >= gap.range.start => {
                last.range = last.range.start.min(gap.range.start)..gap.range.end;
                last.names.extend(gap.names);
            }
            _ => self.gaps.push(gap),
        }
    }
}

/// `None` for what is damaged.
fn sound<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Damaged { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// A list of volumes of ours, if the member is one.
fn read_list(reader: &Reader, head: &Head) -> Result<Option<List>> {
    let is_named_so = head
        .name
        .strip_suffix(VOLUMES_DATA.as_bytes())
        .is_some_and(|prefix| matches!(prefix, [] | [.., b'/']));
    let is_full = head.stored.checksum.is_some_and(|checksum| checksum.cover == Cover::Full);
    if !is_named_so
        || !is_full
        || head.kind != Kind::File
        || head.stored.sparse.is_some()
        || head.stored.length > MAX_CLOSING_FILE
    {
        return Ok(None);
    }
    let mut text = vec![0; usize::try_from(head.stored.length).unwrap_or(0)];
    let mut content = Content::new(reader, head.data());
    content.read(&mut text, usize::MAX)?;
    content.finish()?;
    let items = volumes_data::decode(&text).unwrap_or_default();
    let is_ours = !items.is_empty()
        && items.iter().all(|item| item.target.starts_with('/') && item.id == id(&item.target));
    Ok(is_ours.then(|| List { name: head.name.to_vec(), items, mtime: head.mtime }))
}

/// Where a snapshot lies, and what is left to tell it by.
struct Rest {
    range: Range<u64>,
    close: Option<Close>,
    /// The close lies as far from the beginning as it says.
    in_place: bool,
    list: Option<List>,
    names: Vec<Vec<u8>>,
}

impl Rest {
    fn begun(start: u64) -> Self {
        Rest { range: start..start, close: None, in_place: false, list: None, names: Vec::new() }
    }
}

/// The snapshots that `marks` tell of.
fn rests(gaps: &[Gap], mut marks: Vec<(u64, Mark)>, end: u64) -> Vec<Rest> {
    let mut rests = in_place(gaps, &mut marks);
    // Both their beginnings and their ends go up.
    let spans: Vec<Range<u64>> = rests.iter().rev().map(|rest| rest.range.clone()).collect();
    let mut open: Option<Rest> = None;
    let mut finish = |open: &mut Option<Rest>, end: u64| {
        let rest = open.take().filter(|rest| rest.close.is_some() || !rest.names.is_empty());
        rests.extend(rest.map(|rest| Rest { range: rest.range.start..end, ..rest }));
    };
    for (at, mark) in marks {
        let next = spans.get(spans.partition_point(|span| span.end <= at));
        if let Some(span) = next.filter(|span| span.contains(&at)) {
            finish(&mut open, span.start);
            continue;
        }
        if let Mark::Begin = mark {
            finish(&mut open, at);
        }
        let rest = open.get_or_insert_with(|| {
            let gap = gaps.binary_search_by_key(&at, |gap| gap.range.end);
            Rest::begun(gap.map_or(at, |gap| gaps[gap].range.start))
        });
        match mark {
            Mark::Begin => {}
            Mark::Name(name) => rest.names.push(name),
            Mark::List(list) => rest.list = Some(list),
            Mark::Close(close) => {
                let end = close.range.end;
                rest.close = Some(*close);
                finish(&mut open, end);
            }
        }
    }
    finish(&mut open, end);
    rests
}

/// Those whose close lies where it says, which is taken from `marks`. Of several the last is no file's content.
fn in_place(gaps: &[Gap], marks: &mut Vec<(u64, Mark)>) -> Vec<Rest> {
    let begins: Vec<u64> =
        marks.iter().filter(|(_, mark)| matches!(mark, Mark::Begin)).map(|&(at, _)| at).collect();
    let is_in_gap = |at| {
        let behind = gaps.partition_point(|gap| gap.range.end <= at);
        gaps.get(behind).is_some_and(|gap| gap.range.contains(&at))
    };
    let is_known = |at: &u64| begins.binary_search(at).is_ok() || is_in_gap(*at);
    let (mut rests, mut others) = (Vec::new(), Vec::new());
    // What begins behind this lies in one that closes later.
    let mut first = u64::MAX;
    for (at, mark) in marks.drain(..).rev() {
        let begin = match &mark {
            Mark::Close(close) => close.begin().filter(|begin| *begin < first && is_known(begin)),
            _ => None,
        };
        match (mark, begin) {
            (Mark::Close(close), Some(begin)) => {
                first = begin;
                let range = begin..close.range.end;
                rests.push(Rest { range, close: Some(*close), in_place: true, ..Rest::begun(begin) });
            }
            (mark, _) => others.push((at, mark)),
        }
    }
    others.reverse();
    *marks = others;
    rests
}

impl Remnant {
    pub(crate) fn of_whole(snapshot: &Snapshot) -> Self {
        Remnant {
            snapshot: snapshot.clone(),
            counted: !snapshot.is_later,
            sure: true,
            doubtful: false,
            gaps: Vec::new(),
            names: Vec::new(),
        }
    }

    fn new(reader: &Arc<Reader>, rest: Rest, gaps: &[Gap], run: &Run) -> Result<Self> {
        let Rest { range, close, in_place, list, names } = rest;
        let members = close.as_ref().map(|close| (close.manifest.members, close.manifest.digest.clone()));
        let counted = close.as_ref().is_some_and(|close| !close.manifest.is_later());
        let snapshot = match close {
            Some(Close { range: close, digest, manifest }) => {
                Snapshot::of_manifest(manifest, &digest, range.start, close)
            }
            None => without_close(range, list),
        };
        let from = gaps.partition_point(|gap| gap.range.end <= snapshot.start);
        let inside = gaps[from..].iter().take_while(|gap| gap.range.start < snapshot.close);
        let gaps = inside.cloned().collect();
        let mut remnant = Remnant { snapshot, counted, sure: false, doubtful: false, gaps, names };
        remnant.look_through(reader, members.filter(|_| in_place), run)?;
        remnant.snapshot.gaps = remnant.gaps.iter().map(|gap| gap.range.clone()).collect();
        Ok(remnant)
    }

    /// Takes what cannot be the snapshot's into its gaps. `closed` is how many members there were, and their digest.
    fn look_through(&mut self, reader: &Arc<Reader>, closed: Option<(u64, String)>, run: &Run) -> Result<()> {
        let ranges: Vec<Range<u64>> = self.gaps.iter().map(|gap| gap.range.clone()).collect();
        let (start, close) = (self.snapshot.start, self.snapshot.close);
        let (mut certain, mut digest) = (0, Digest::default());
        // Behind a gap: by name, the end and the checksum of a member, and which gap; and the ends of all.
        let mut found: HashMap<[u8; 16], (u64, [u8; 32], usize)> = HashMap::new();
        let mut ends = Vec::new();
        let mut walk = Walk::new(Arc::clone(reader), start);
        loop {
            run.cancel.check("nothing was changed")?;
            step_over(&ranges, &mut walk);
            if walk.position() >= close {
                break;
            }
            let Step::Member(head) = walk.step()? else { break };
            let behind = ranges.partition_point(|gap| gap.end <= head.stored.start);
            if let Some(checksum) = head.stored.checksum {
                digest.add(head.stored.start - start, &checksum.digest);
            }
            if behind == 0 {
                certain += 1;
                continue;
            }
            let Some(checksum) = head.stored.checksum else {
                ends.push(head.stored.end());
                continue;
            };
            let this = (head.stored.end(), checksum.digest, behind);
            match found.insert(short_hash(head.name), this) {
                Some((end, digest, gap)) if gap == behind && digest != this.1 => {
                    self.gaps[gap - 1].range.end = self.gaps[gap - 1].range.end.max(end);
                }
                Some((_, digest, _)) if digest == this.1 => continue,
                _ => {}
            }
            ends.push(head.stored.end());
        }
        let Some((members, expected)) = closed else { return Ok(()) };
        // Whether `.snapshot-begin` is there makes no difference.
        let count = certain + ends.len() as u64;
        self.sure = (count == members || count + 1 == members) && digest.to_hex() == expected;
        if self.sure {
            return Ok(());
        }
        self.merge_gaps();
        ends.retain(|end| {
            let behind = self.gaps.partition_point(|gap| gap.range.end < *end);
            self.gaps.get(behind).is_none_or(|gap| *end <= gap.range.start)
        });
        // Whatever the gaps are of, one member at least is lost in them.
        let too_many = (certain + ends.len() as u64).saturating_sub(members.saturating_sub(1));
        let last = usize::try_from(too_many).ok().and_then(|count| ends.get(count.checked_sub(1)?));
        if let (Some(&last), Some(first)) = (last, self.gaps.first_mut()) {
            first.range.end = first.range.end.max(last);
        }
        self.merge_gaps();
        Ok(())
    }

    fn merge_gaps(&mut self) {
        self.gaps.dedup_by(|later, first| {
            let touch = later.range.start <= first.range.end;
            if touch {
                first.range.end = first.range.end.max(later.range.end);
            }
            touch
        });
    }

    /// Whether nothing of it is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.sure && self.gaps.is_empty()
    }

    /// Whether it can be said to lie under `prefix`.
    pub(crate) fn is_under(&self, prefix: &str) -> bool {
        if !self.snapshot.volumes.is_empty() {
            return self.snapshot.prefix == prefix;
        }
        let inside = under(prefix, "");
        self.names.iter().any(|name| name.starts_with(&inside))
    }

    /// The name of the first member that is left, where no list of volumes is.
    pub(crate) fn first_name(&self) -> Option<&[u8]> {
        self.names.first().map(Vec::as_slice)
    }

    /// Gives it volumes that the archive no longer lists.
    pub(crate) fn set_volumes(&mut self, reader: &Arc<Reader>, prefix: &str, paths: &[&str]) -> Result<()> {
        let volume = |path: &&str| SnapshotVolume {
            path: (*path).to_owned(),
            kind: VolumeType::Dir,
            entries: 0,
            size: 0,
        };
        self.snapshot.set_volumes(prefix.to_owned(), paths.iter().map(volume).collect());
        let mut walk = Walk::new(Arc::clone(reader), self.snapshot.start);
        loop {
            step_over(&self.snapshot.gaps, &mut walk);
            if walk.position() >= self.snapshot.close {
                return Ok(());
            }
            let Step::Member(head) = walk.step()? else { return Ok(()) };
            if let Some(place) = self.snapshot.layout.locate(head.name).filter(|place| place.path.is_empty())
                && head.kind == Kind::File
            {
                self.snapshot.volumes[place.volume].kind = VolumeType::File;
            }
        }
    }
}

/// A snapshot whose `snapshot.json` is lost.
fn without_close(range: Range<u64>, list: Option<List>) -> Snapshot {
    let mut snapshot = Snapshot::lost(range);
    let Some(List { name, items, mtime }) = list else { return snapshot };
    let prefix =
        name.strip_suffix(VOLUMES_DATA.as_bytes()).map(|prefix| prefix.strip_suffix(b"/").unwrap_or(prefix));
    if let Some(Ok(prefix)) = prefix.map(std::str::from_utf8) {
        let volume =
            |item: VolumeItem| SnapshotVolume { path: item.target, kind: item.kind, entries: 0, size: 0 };
        snapshot.set_volumes(prefix.to_owned(), items.into_iter().map(volume).collect());
        snapshot.created = mtime;
    }
    snapshot
}

/// Has `walk` go on behind what of `gaps`, in order, it stands at.
pub(crate) fn step_over(gaps: &[Range<u64>], walk: &mut Walk) {
    let behind = gaps.partition_point(|gap| gap.end <= walk.position());
    for gap in &gaps[behind..] {
        if !gap.contains(&walk.position()) {
            return;
        }
        walk.jump(gap.end);
    }
}

fn short_hash(name: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(name).as_bytes()[..16]);
    short
}
