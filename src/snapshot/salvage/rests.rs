//! From marks to the snapshots that they tell of, by how they lie.

use std::ops::Range;

use crate::snapshot::gaps::Gaps;
use crate::snapshot::salvage::marks::{Close, List, Mark, Sign};

/// Where a snapshot lies, and what is left to tell it by.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) range: Range<u64>,
    pub(super) close: Option<Close>,
    /// The close lies as far from the beginning as it says.
    pub(super) in_place: bool,
    pub(super) list: Option<List>,
    pub(super) names: Vec<Vec<u8>>,
}

impl Rest {
    fn begun(start: u64) -> Self {
        Rest { range: start..start, close: None, in_place: false, list: None, names: Vec::new() }
    }
}

/// The snapshots that `marks` tell of, in an archive that ends at `end`. First those that are in place, the
/// last one first, then the others.
pub(super) fn rests(gaps: &Gaps, marks: Vec<Mark>, end: u64) -> Vec<Rest> {
    let (mut rests, others) = in_place(gaps, marks);
    // Both their beginnings and their ends go up.
    let spans: Vec<Range<u64>> = rests.iter().rev().map(|rest| rest.range.clone()).collect();
    let mut open: Option<Rest> = None;
    let mut finish = |open: &mut Option<Rest>, end: u64| {
        let rest = open.take().filter(|rest| rest.close.is_some() || !rest.names.is_empty());
        rests.extend(rest.map(|rest| Rest { range: rest.range.start..end, ..rest }));
    };
    for Mark { at, sign } in others {
        let next = spans.get(spans.partition_point(|span| span.end <= at));
        if let Some(span) = next.filter(|span| span.contains(&at)) {
            finish(&mut open, span.start);
            continue;
        }
        if let Sign::Begin = sign {
            finish(&mut open, at);
        }
        let rest = open.get_or_insert_with(|| {
            // What is lost in the gap may have been its beginning.
            Rest::begun(gaps.ending_at(at).map_or(at, |gap| gap.range.start))
        });
        match sign {
            Sign::Begin => {}
            Sign::Name(name) => rest.names.push(name),
            Sign::List(list) => rest.list = Some(list),
            Sign::Close(close) => {
                let end = close.range.end;
                rest.close = Some(*close);
                finish(&mut open, end);
            }
        }
    }
    finish(&mut open, end);
    rests
}

/// Those whose beginning, or a gap, lies where their close says, the last one first; and the marks that are
/// not their closes. One that lies inside another is not among them: of several closes the last one is no
/// file's content.
fn in_place(gaps: &Gaps, marks: Vec<Mark>) -> (Vec<Rest>, Vec<Mark>) {
    let begins: Vec<u64> = marks.iter().filter(|mark| mark.is_begin()).map(|mark| mark.at).collect();
    let is_known = |at: &u64| begins.binary_search(at).is_ok() || gaps.hold(*at);
    let (mut rests, mut others) = (Vec::new(), Vec::new());
    // The beginning of the one that was found last, before which the next must begin.
    let mut first = u64::MAX;
    for mark in marks.into_iter().rev() {
        let begin = match &mark.sign {
            Sign::Close(close) => close.begin().filter(|begin| *begin < first && is_known(begin)),
            _ => None,
        };
        match (mark.sign, begin) {
            (Sign::Close(close), Some(begin)) => {
                first = begin;
                let range = begin..close.range.end;
                rests.push(Rest { range, close: Some(*close), in_place: true, ..Rest::begun(begin) });
            }
            (sign, _) => others.push(Mark { at: mark.at, sign }),
        }
    }
    others.reverse();
    (rests, others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::gaps::Gap;
    use crate::snapshot::manifest::{FORMAT, Manifest};
    use crate::time::Time;

    /// An archive as a picture, a character a block: `B`egin, `n`ame, `L`ist, `C`lose, `~` a gap, `.` what is
    /// not marked. The closes say that their snapshots began at `begins`.
    fn marks(picture: &str, begins: &[u64]) -> (Gaps, Vec<Mark>) {
        let (mut gaps, mut marks, mut begins) = (Gaps::default(), Vec::new(), begins.iter());
        for (at, sign) in (0..).zip(picture.chars()) {
            let sign = match sign {
                'B' => Sign::Begin,
                'n' => Sign::Name(format!("p/{at}").into_bytes()),
                'L' => Sign::List(List { name: Vec::new(), items: Vec::new(), mtime: Time::default() }),
                'C' => {
                    let bytes = at - begins.next().unwrap();
                    let manifest = Manifest { format: FORMAT, bytes, ..Manifest::default() };
                    Sign::Close(Box::new(Close { range: at..at + 1, digest: [0; 32], manifest }))
                }
                '~' => {
                    gaps.push(Gap::silent(at..at + 1));
                    continue;
                }
                _ => continue,
            };
            marks.push(Mark { at, sign });
        }
        (gaps, marks)
    }

    /// The snapshots as a picture: `I` and `=` where one is in place, `O` and `-` where one is not, with `l`
    /// and `c` where that has a list and a close. Of two that overlap, the one that is found first is on top.
    fn draw(rests: &[Rest], length: usize) -> String {
        let mut picture = vec![' '; length];
        for rest in rests.iter().rev() {
            let range = usize::try_from(rest.range.start).unwrap()..usize::try_from(rest.range.end).unwrap();
            picture[range.clone()].fill(if rest.in_place { '=' } else { '-' });
            picture[range.start] = if rest.in_place { 'I' } else { 'O' };
            if !rest.in_place {
                if rest.list.is_some() {
                    picture[range.end - 2] = 'l';
                }
                if rest.close.is_some() {
                    picture[range.end - 1] = 'c';
                }
            }
        }
        String::from_iter(picture).trim_end().to_owned()
    }

    /// What it is; the archive; where its closes say that their snapshots began; what is found.
    type Case = (&'static str, &'static str, &'static [u64], &'static str);

    const CASES: [Case; 16] = [
        ("two whole ones", "Bn.LCBnLC", &[0, 5], "I====I==="),
        ("damage inside", "Bn~~n.LC", &[0], "I======="),
        ("a beginning that is lost in a gap", "BnLC~~n.LC", &[0, 5], "I=== I===="),
        ("a close that is lost", "Bn.~~", &[], "O----"),
        ("a close that is lost, after the list", "Bn.L~", &[], "O--l-"),
        ("the close of one and the beginning of the next, lost in one gap", "Bn.~~~n.LC", &[4], "O---I====="),
        ("something was put in", "Bn..LC", &[2], "O---lc"),
        ("a close that says that it began where something else is", "n.LC", &[0], "O-lc"),
        ("the same after a gap", "~n.LC", &[3], "O--lc"),
        ("one in a file of another", "Bn.Bn.LC.LC", &[3, 0], "I=========="),
        ("one in a file of another, whose close is lost", "Bn.Bn.LCn~~", &[3], "O--I====O--"),
        ("two closes for one beginning", "Bn.LC.LC", &[0, 0], "I======="),
        ("one that begins inside the one before", "Bn.Bn.LCLC", &[0, 3], "I==I======"),
        ("nothing but a list after a gap", "~~n.L.", &[], "O---l-"),
        ("a beginning and nothing more", "Bn.LCB~~", &[0], "I===="),
        ("a beginning after one without a close", "Bn.~Bn.LC", &[4], "O---I===="),
    ];

    #[test]
    fn snapshots_are_told_by_how_their_marks_lie() {
        for (what, archive, begins, expected) in CASES {
            let (gaps, marks) = marks(archive, begins);
            let found = draw(&rests(&gaps, marks, archive.len() as u64), archive.len());
            assert_eq!(found, expected, "{what}:\n{archive}\n{found}\n{expected}");
        }
    }
}
