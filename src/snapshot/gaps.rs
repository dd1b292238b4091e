//! Stretches of an archive that a walk steps over, with what is said of each.

use std::ops::Range;

use crate::archive::search::LostName;
use crate::archive::walk::Walk;

/// A stretch of the archive that cannot be walked through, or is left out.
#[derive(Debug, Clone)]
pub(crate) struct Gap {
    pub(crate) range: Range<u64>,
    /// Where the walk failed, and why.
    pub(crate) offset: u64,
    pub(crate) reason: String,
    /// Names that members had which lay here, as far as that can be told.
    pub(crate) names: Vec<LostName>,
}

impl Gap {
    /// A stretch of which nothing is to be said.
    pub(crate) fn silent(range: Range<u64>) -> Self {
        Gap { offset: range.start, range, reason: String::new(), names: Vec::new() }
    }

    /// What is wrong, for messages.
    pub(crate) fn describe(&self) -> String {
        if self.range.is_empty() {
            return self.reason.clone();
        }
        format!("{}; nothing is sound up to offset {}", self.reason, self.range.end)
    }
}

/// Gaps in the order of their offsets. Those that touch are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gaps(Vec<Gap>);

impl Gaps {
    /// Adds a gap that does not begin before the last one. Of gaps that touch, what is said of the first
    /// holds.
    pub(crate) fn push(&mut self, gap: Gap) {
        match self.0.last_mut() {
            Some(last) if last.range.end >= gap.range.start => {
                last.range.end = last.range.end.max(gap.range.end);
                last.names.extend(gap.names);
            }
            _ => self.0.push(gap),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Gap> {
        self.0.iter()
    }

    /// How many of them end at `offset` or before.
    pub(crate) fn before(&self, offset: u64) -> usize {
        self.0.partition_point(|gap| gap.range.end <= offset)
    }

    /// Whether `offset` lies in one of them.
    pub(crate) fn hold(&self, offset: u64) -> bool {
        self.0.get(self.before(offset)).is_some_and(|gap| gap.range.contains(&offset))
    }

    /// The gap that ends at `offset`.
    pub(crate) fn ending_at(&self, offset: u64) -> Option<&Gap> {
        self.0.binary_search_by_key(&offset, |gap| gap.range.end).ok().map(|at| &self.0[at])
    }

    /// Those that are not before `range`, and begin in it or before it.
    pub(crate) fn within(&self, range: Range<u64>) -> Self {
        let from = self.before(range.start);
        self.0[from..].iter().take_while(|gap| gap.range.start < range.end).cloned().collect()
    }

    /// The same gaps, each up to where `ends` says.
    pub(crate) fn up_to(self, ends: &[u64]) -> Self {
        let longer = |(gap, end): (Gap, &u64)| Gap { range: gap.range.start..*end, ..gap };
        self.0.into_iter().zip(ends).map(longer).collect()
    }

    /// Makes all from the first gap that goes on behind `offset`, up to `end`, one gap.
    pub(crate) fn cut_off(&mut self, offset: u64, end: u64) {
        if let Some(at) = self.0.iter().position(|gap| gap.range.end > offset) {
            self.0.truncate(at + 1);
            let gap = &mut self.0[at];
            gap.range.end = end;
            gap.names.truncate(1);
        }
    }

    /// Has `walk` go on behind the gap that it stands in.
    pub(crate) fn step_over(&self, walk: &mut Walk) {
        if let Some(gap) = self.0.get(self.before(walk.position()))
            && gap.range.contains(&walk.position())
        {
            walk.jump(gap.range.end);
        }
    }
}

impl FromIterator<Gap> for Gaps {
    fn from_iter<T: IntoIterator<Item = Gap>>(gaps: T) -> Self {
        let mut all = Gaps::default();
        gaps.into_iter().for_each(|gap| all.push(gap));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(ranges: &[(u64, u64)]) -> Gaps {
        ranges.iter().map(|&(start, end)| Gap::silent(start..end)).collect()
    }

    fn ranges(gaps: &Gaps) -> Vec<(u64, u64)> {
        gaps.iter().map(|gap| (gap.range.start, gap.range.end)).collect()
    }

    #[test]
    fn gaps_that_touch_are_one() {
        for (given, expected) in [
            (&[][..], &[][..]),
            (&[(0, 5), (7, 9)], &[(0, 5), (7, 9)]),
            (&[(0, 5), (5, 9)], &[(0, 9)]),
            (&[(0, 5), (3, 4), (5, 9), (12, 12)], &[(0, 9), (12, 12)]),
            (&[(0, 9), (3, 4), (8, 12), (12, 13)], &[(0, 13)]),
        ] {
            assert_eq!(ranges(&gaps(given)), expected, "{given:?}");
        }
    }

    #[test]
    fn an_offset_is_in_a_gap_before_it_or_after_it() {
        let gaps = gaps(&[(2, 4), (6, 8)]);
        assert_eq!([1, 2, 3, 4, 6, 8, 9].map(|at| gaps.before(at)), [0, 0, 0, 1, 1, 2, 2]);
        assert_eq!([1, 2, 3, 4, 6, 8].map(|at| gaps.hold(at)), [false, true, true, false, true, false]);
        assert_eq!(gaps.ending_at(8).map(|gap| gap.range.start), Some(6));
        assert!(gaps.ending_at(7).is_none());
        assert_eq!([ranges(&gaps.within(3..6)), ranges(&gaps.within(4..7))], [[(2, 4)], [(6, 8)]]);
        assert_eq!(ranges(&gaps.clone().up_to(&[6, 8])), [(2, 8)]);
        let mut cut = gaps.clone();
        cut.cut_off(4, 20);
        assert_eq!(ranges(&cut), [(2, 4), (6, 20)]);
    }
}
