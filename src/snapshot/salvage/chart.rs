//! The whole archive, walked as far as that goes, from gap to gap.

use std::ops::Range;
use std::sync::Arc;

use crate::archive::decode::Head;
use crate::archive::open::Reader;
use crate::archive::search::{Hit, Search};
use crate::archive::ustar::Block;
use crate::archive::walk::{ENDS_INSIDE, Step, Walk};
use crate::archive::{BLOCK, BLOCK_LEN};
use crate::error::{Error, Result};
use crate::observer::Run;
use crate::snapshot::begin_block;
use crate::snapshot::gaps::{Gap, Gaps};
use crate::snapshot::salvage::marks::{Mark, Sign};

/// What a stretch says that is left out because it may be a file's content.
const CONTENT: &str = "what is found here may be the content of a file that is an archive itself";

/// What a walk through the whole archive has met.
pub(super) struct Chart<'a> {
    reader: &'a Arc<Reader>,
    begin: Block,
    pub(super) gaps: Gaps,
    pub(super) marks: Vec<Mark>,
    pub(super) end: u64,
    /// Stretches between two gaps in which nothing closes a snapshot that began before: all of it may be
    /// content.
    pub(super) loose: Vec<Range<u64>>,
    /// From here on members were only found in what may be the content of one that the archive ends in.
    cut: Option<u64>,
    footing: Footing,
}

/// What is known of the members that the walk is among.
#[derive(Default)]
struct Footing {
    /// Where they begin, after a gap.
    found: Option<u64>,
    /// A close lies as far as it says from a beginning before `certain`, so these members are the archive's
    /// own.
    anchored: bool,
    /// All before this offset, but for gaps, is the archive's own: it goes up to the first gap, or to the
    /// first after the last anchored members.
    certain: u64,
    /// Where the walk stood before the last member, if that has a checksum. Between this and the member's own
    /// offset there may be global headers.
    last: Option<u64>,
    /// The last member closes a snapshot, all of which was found after the gap. An archive in a file ends so.
    closed: bool,
    /// The next member's name is to be marked.
    nameless: bool,
}

impl Footing {
    /// Where the members begin, if they may be a file's content.
    fn loose(&self) -> Option<u64> {
        self.found.filter(|_| !self.anchored)
    }

    /// The walk goes on at `found`, after a gap that begins at `gap`.
    fn cross(&mut self, gap: u64, found: u64) {
        let certain = if self.loose().is_none() { gap } else { self.certain };
        *self = Footing { found: Some(found), certain, nameless: true, ..Footing::default() };
    }
}

impl<'a> Chart<'a> {
    pub(super) fn draw(reader: &'a Arc<Reader>, run: &Run) -> Result<Self> {
        let mut chart = Chart {
            reader,
            begin: begin_block(),
            gaps: Gaps::default(),
            marks: Vec::new(),
            end: reader.len(),
            loose: Vec::new(),
            cut: None,
            footing: Footing { nameless: true, ..Footing::default() },
        };
        let mut search = Search::new(reader, run);
        let mut walk = Walk::new(Arc::clone(reader), 0);
        loop {
            run.cancel.check("nothing was changed")?;
            let at = walk.position();
            let next = match walk.step() {
                Ok(Step::Member(head)) => match chart.member(at, &head)? {
                    None => continue,
                    Some(reason) => chart.gap(at, at, reason.to_owned(), &mut search)?,
                },
                Ok(Step::End(end)) => chart.end(end, &mut search)?,
                Err(Error::Damaged { offset, reason, .. }) => chart.gap(at, offset, reason, &mut search)?,
                Err(other) => return Err(other),
            };
            match next {
                Some(next) => walk.jump(next),
                None => return Ok(chart),
            }
        }
    }

    /// Takes a member, before which the walk stood at `at`. Returns why it is none after all.
    fn member(&mut self, at: u64, head: &Head) -> Result<Option<&'static str>> {
        if head.header == self.begin {
            return self.begin(head);
        }
        if head.is_run_together() {
            return Ok(Some("an extended header that is followed by no member"));
        }
        let stored = &head.stored;
        (self.footing.last, self.footing.closed) = (stored.checksum.map(|_| at), false);
        if stored.checksum.is_some() && std::mem::take(&mut self.footing.nameless) {
            self.marks.push(Mark { at: stored.start, sign: Sign::Name(head.name.to_vec()) });
        }
        let Some(mark) = Mark::of_closing_file(self.reader, head)? else { return Ok(None) };
        match (&mark.sign, self.marks.last()) {
            (Sign::Close(close), _) => self.close(close.begin()),
            // Only the last list can be the snapshot's.
            (Sign::List(_), Some(Mark { sign: Sign::List(_), .. })) => drop(self.marks.pop()),
            _ => {}
        }
        self.marks.push(mark);
        Ok(None)
    }

    /// Takes a `.snapshot-begin`. Returns what is wrong with its data.
    fn begin(&mut self, head: &Head) -> Result<Option<&'static str>> {
        self.marks.push(Mark { at: head.stored.start, sign: Sign::Begin });
        (self.footing.last, self.footing.closed, self.footing.nameless) = (None, false, true);
        let mut data: Block = [1; BLOCK_LEN];
        self.reader.read_exact(&mut data, head.stored.data())?;
        Ok((data != [0; BLOCK_LEN]).then_some("the data of .snapshot-begin is not zeros"))
    }

    /// Takes the close of a snapshot that began at `begin`, if it says so.
    fn close(&mut self, begin: Option<u64>) {
        let is_anchor = begin.is_some_and(|begin| self.is_certain(begin));
        let footing = &mut self.footing;
        footing.closed = begin.is_none_or(|begin| footing.found.is_some_and(|found| found <= begin));
        footing.nameless = true;
        footing.anchored |= is_anchor;
        if footing.anchored {
            self.cut = None;
        }
    }

    /// Whether a snapshot of the archive itself is known to begin at `offset`.
    fn is_certain(&self, offset: u64) -> bool {
        let at = self.marks.binary_search_by_key(&offset, |mark| mark.at);
        offset < self.footing.certain && at.is_ok_and(|at| self.marks[at].is_begin())
    }

    /// The walk met two zero blocks; where it goes on if these are not the end.
    fn end(&mut self, end: u64, search: &mut Search) -> Result<Option<u64>> {
        let hit = search.after(end + BLOCK, &self.begin)?;
        let Some(next) = hit.at else {
            self.end = end;
            if let Some(cut) = self.cut {
                self.cut_off(cut);
            }
            return Ok(None);
        };
        let content = self.footing.loose().filter(|_| self.footing.closed);
        let reason = if content.is_some() { CONTENT } else { "zeros where a header should be" };
        if let Some(found) = content {
            self.marks.retain(|mark| mark.at < found);
        }
        let range = content.unwrap_or(end)..next;
        self.cross(Gap { range, offset: end, reason: reason.to_owned(), names: hit.names });
        Ok(Some(next))
    }

    /// The walk stood at `at` and could not go on because of what is at `offset`. Returns where it goes on.
    fn gap(&mut self, at: u64, offset: u64, reason: String, search: &mut Search) -> Result<Option<u64>> {
        // If the member before is damaged, its size may have led astray.
        let from = match self.footing.last {
            Some(last) if !search.holds(last)? => last,
            _ => at,
        };
        let Hit { at: next, names } = search.after(from, &self.begin)?;
        if reason.starts_with(ENDS_INSIDE) && next.is_some() && self.cut.is_none() {
            self.cut = Some(from);
        }
        self.loose.extend(self.footing.loose().map(|found| found..from));
        self.cross(Gap { range: from..next.unwrap_or(self.reader.len()), offset, reason, names });
        if let (None, Some(cut)) = (next, self.cut) {
            self.cut_off(cut);
        }
        Ok(next)
    }

    /// The walk goes on after this gap.
    fn cross(&mut self, gap: Gap) {
        self.footing.cross(gap.range.start, gap.range.end);
        self.gaps.push(gap);
    }

    /// Takes back all that was found from `cut` on.
    fn cut_off(&mut self, cut: u64) {
        self.marks.retain(|mark| mark.at < cut);
        self.end = self.reader.len();
        self.gaps.cut_off(cut, self.end);
    }
}
