//! What one file may hold after a power cut.

use std::collections::BTreeSet;

use super::Random;
use crate::fs::record::{Call, Recorded};

const BLOCK: usize = 512;

/// A file as it is certainly on disk, and what was done to it since.
#[derive(Debug, Clone)]
pub(super) struct Unsynced {
    durable: Vec<u8>,
    calls: Vec<Call>,
}

/// What each block and the length may be.
#[derive(Debug)]
pub(super) struct Choices {
    blocks: Vec<Vec<Vec<u8>>>,
    /// Those that the file had, then those between.
    lengths: Vec<usize>,
}

/// How many of the first `events` the file with the number `ino` is safe from.
pub(super) fn covered(events: &[Recorded], ino: u64) -> usize {
    let syncs = events.iter().filter(|event| match event.call {
        Call::SyncAll => true,
        Call::Sync => event.on.ino == ino,
        _ => false,
    });
    syncs.map(|event| event.began).max().unwrap_or(0)
}

impl Unsynced {
    /// The file with the number `ino`, which held `before`, after `events`.
    pub(super) fn after(events: &[Recorded], ino: u64, before: &[u8]) -> Unsynced {
        let covered = covered(events, ino);
        let mut durable = before.to_vec();
        let mut calls = Vec::new();
        for (index, event) in events.iter().enumerate().filter(|(_, event)| event.on.ino == ino) {
            if index < covered {
                apply(&mut durable, &event.call);
            } else if matches!(event.call, Call::Write { .. } | Call::Truncate(_) | Call::Punch { .. }) {
                calls.push(event.call.clone());
            }
        }
        Unsynced { durable, calls }
    }

    /// With nothing but what was synced.
    pub(super) fn none(&self) -> Vec<u8> {
        self.durable.clone()
    }

    /// As the program left it.
    pub(super) fn all(&self) -> Vec<u8> {
        self.some(|_| true)
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// With those of the unsynced calls that `kept` says.
    pub(super) fn some(&self, kept: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut content = self.durable.clone();
        for (_, call) in self.calls.iter().enumerate().filter(|(index, _)| kept(*index)) {
            apply(&mut content, call);
        }
        content
    }

    /// Of each block and of the length, all that they may be. Where there was no block, there is one of
    /// `stale` bytes.
    pub(super) fn choices(&self, stale: u8) -> Choices {
        let mut now = self.durable.clone();
        let mut blocks = Vec::new();
        let mut lengths = vec![now.len()];
        let mut keep = |now: &[u8]| {
            for at in 0..now.len().div_ceil(BLOCK).max(blocks.len()) {
                let (start, end) = (now.len().min(at * BLOCK), now.len().min((at + 1) * BLOCK));
                let mut block = vec![0; BLOCK];
                block[..end - start].copy_from_slice(&now[start..end]);
                if at == blocks.len() {
                    let first = at * BLOCK < self.durable.len();
                    blocks.push(if first { vec![block] } else { vec![vec![stale; BLOCK], block] });
                } else if !blocks[at].contains(&block) {
                    blocks[at].push(block);
                }
            }
        };
        keep(&now);
        for call in &self.calls {
            apply(&mut now, call);
            keep(&now);
            lengths.push(now.len());
        }
        for versions in &mut blocks {
            versions.dedup();
        }
        let (shortest, longest) = (*lengths.iter().min().unwrap(), *lengths.iter().max().unwrap());
        let had: BTreeSet<_> = lengths.iter().copied().collect();
        let between = (shortest.next_multiple_of(BLOCK)..longest).step_by(BLOCK);
        let between: Vec<_> = between.filter(|length| !had.contains(length)).collect();
        Choices { blocks, lengths: had.into_iter().chain(between).collect() }
    }
}

impl Choices {
    /// How many there are, up to a large number.
    pub(super) fn count(&self) -> usize {
        let mut of_length = vec![1_usize];
        for versions in &self.blocks {
            of_length.push(of_length[of_length.len() - 1].saturating_mul(versions.len()));
        }
        let counts = self.lengths.iter().map(|length| of_length[length.div_ceil(BLOCK)]);
        counts.fold(0, usize::saturating_add)
    }

    /// Tells `each` of all of them.
    pub(super) fn each(&self, each: &mut dyn FnMut(Vec<u8>)) {
        for &length in &self.lengths {
            let blocks = &self.blocks[..length.div_ceil(BLOCK)];
            let mut chosen = vec![0; blocks.len()];
            loop {
                each(self.content(length, |at| chosen[at]));
                let Some(at) = (0..blocks.len()).find(|&at| chosen[at] + 1 < blocks[at].len()) else { break };
                chosen[..at].fill(0);
                chosen[at] += 1;
            }
        }
    }

    /// One of them.
    pub(super) fn random(&self, random: &mut Random) -> Vec<u8> {
        let length = self.lengths[random.below(self.lengths.len())];
        // Nearly all survives, or nearly nothing, or about half.
        let (of, newest) = [(16, 1), (16, 15), (2, 1), (64, 63)][random.below(4)];
        let mut chosen = Vec::new();
        for versions in &self.blocks[..length.div_ceil(BLOCK)] {
            let any = random.below(versions.len());
            let newest = random.below(of) < newest && versions.len() > 1;
            let older = any * usize::from(random.below(2) == 0);
            chosen.push(if newest { versions.len() - 1 } else { older });
        }
        self.content(length, |at| chosen[at])
    }

    fn content(&self, length: usize, chosen: impl Fn(usize) -> usize) -> Vec<u8> {
        let mut content = Vec::with_capacity(length + BLOCK);
        for at in 0..length.div_ceil(BLOCK) {
            content.extend_from_slice(&self.blocks[at][chosen(at)]);
        }
        content.truncate(length);
        content
    }
}

/// Does one call to a file's content.
pub(super) fn apply(content: &mut Vec<u8>, call: &Call) {
    let number = |offset: u64| usize::try_from(offset).unwrap();
    match call {
        Call::Write { offset, data } => {
            let end = number(*offset) + data.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[number(*offset)..end].copy_from_slice(data);
        }
        Call::Truncate(length) => content.resize(number(*length), 0),
        Call::Punch { offset, length } => {
            let end = number(offset + length).min(content.len());
            let start = number(*offset).min(end);
            content[start..end].fill(0);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::FileId;

    fn event(began: usize, call: Call) -> Recorded {
        Recorded { began, on: FileId { dev: (0, 0), ino: 1 }, call }
    }

    fn write(began: usize, offset: u64, byte: u8) -> Recorded {
        event(began, Call::Write { offset, data: vec![byte; BLOCK] })
    }

    /// The first byte of each block.
    fn shown(content: &[u8]) -> Vec<u8> {
        content.chunks(BLOCK).map(|block| block[0]).collect()
    }

    #[test]
    fn of_unsynced_blocks_any_version_survives_and_of_synced_ones_the_last() {
        let events = [write(0, 0, 1), event(1, Call::Sync), write(2, 0, 2), write(3, 512, 3)];
        let file = Unsynced::after(&events, 1, b"");
        assert_eq!((shown(&file.none()), shown(&file.all())), (vec![1], vec![2, 3]));
        assert_eq!(shown(&file.some(|index| index == 1)), [1, 3]);
        let mut found = BTreeSet::new();
        let choices = file.choices(0);
        choices.each(&mut |content| {
            found.insert(shown(&content));
        });
        let all = [vec![1], vec![1, 0], vec![1, 3], vec![2], vec![2, 0], vec![2, 3]];
        assert_eq!(found, BTreeSet::from(all.clone()));
        assert_eq!(choices.count(), 6);
        let mut random = Random(1);
        let random: BTreeSet<_> = (0..200).map(|_| shown(&choices.random(&mut random))).collect();
        assert_eq!(random, BTreeSet::from(all));
    }

    #[test]
    fn a_write_that_ends_after_a_sync_began_is_not_covered_by_it() {
        // The sync began when no event was complete, and ended behind the write.
        let events = [write(0, 0, 1), event(0, Call::Sync)];
        assert_eq!(Unsynced::after(&events, 1, b"").none(), b"");
    }

    #[test]
    fn what_was_cut_off_may_be_there_again_or_be_zeros() {
        let before = [vec![1; BLOCK], vec![2; BLOCK], vec![3; BLOCK]].concat();
        let events = [event(0, Call::Truncate(512)), write(1, 512, 4)];
        let mut found = BTreeSet::new();
        Unsynced::after(&events, 1, &before).choices(0).each(&mut |content| {
            found.insert(shown(&content));
        });
        let second = [2, 0, 4];
        let mut all = BTreeSet::from([vec![1]]);
        for block in second {
            all.extend([vec![1, block], vec![1, block, 3], vec![1, block, 0]]);
        }
        assert_eq!(found, all);
    }
}
