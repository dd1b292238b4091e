//! That the checks can fail: single calls are taken out of a recording, or done in another order.

use super::append::{
    Recording, cloned_volume, in_memory, is_clone, small_volume, told, where_clones_are, with_one,
};
use super::state::{Cut, Journal};
use super::swap::{self, Case};
use crate::fs::record::{Call, Recorded};
use crate::observer::Run;

/// The events in another order, or fewer of them: those that were at `order`.
pub(super) fn reordered(events: &[Recorded], order: &[usize]) -> Vec<Recorded> {
    let new = |(at, &index): (usize, &usize)| {
        let event = &events[index];
        // What was complete when it began, of what is now before it.
        let began = order[..at].iter().take_while(|&&earlier| event.began == index || earlier < event.began);
        Recorded { began: began.count(), ..event.clone() }
    };
    order.iter().enumerate().map(new).collect()
}

/// All events but one.
pub(super) fn without(events: &[Recorded], left_out: usize) -> Vec<Recorded> {
    let order: Vec<_> = (0..events.len()).filter(|&index| index != left_out).collect();
    reordered(events, &order)
}

fn syncs(events: &[Recorded]) -> impl Iterator<Item = usize> {
    (0..events.len()).filter(|&index| events[index].is_sync())
}

/// Whether a power cut leaves something wrong, and what.
fn caught(recording: &Recording, events: Vec<Recorded>, old: &[u8]) -> Option<String> {
    let played = recording.with(events).play_with(old, true, 50, |checker| checker.ask_others = false);
    played.err()
}

#[test]
fn a_backup_that_writes_its_first_block_too_early_is_caught() {
    in_memory(|place| {
        let volume = small_volume(place);
        let old = with_one(place, &volume);
        let recording = Recording::of(place, &volume, &old, &Run::default());
        let events = &recording.events;
        assert_eq!(caught(&recording, events.clone(), &old), None);

        let at_end = |event: &Recorded| matches!(event.call, Call::Write { offset, .. } if offset + 1024 == old.len() as u64);
        let commit = events.iter().position(at_end).unwrap();
        assert!(!events[..commit].iter().any(at_end) && commit == events.len() - 2);
        let all: Vec<usize> = (0..events.len()).filter(|&index| index != commit).collect();
        for place in 0..commit {
            let order = [&all[..place], &[commit], &all[place..]].concat();
            let why = caught(&recording, reordered(events, &order), &old);
            // Only the sync that is just before it may be behind it.
            let needless = place == commit;
            assert!(why.is_some() || needless, "the first block as call {place} of {}", events.len());
            told(&format!("the first block as call {place}: {}", why.unwrap_or_default()));
        }
    });
}

#[test]
fn a_backup_without_one_of_its_syncs_is_caught() {
    in_memory(|place| {
        let volume = small_volume(place);
        let old = with_one(place, &volume);
        let recording = Recording::of(place, &volume, &old, &Run::default());
        let mut found = Vec::new();
        for (number, sync) in syncs(&recording.events).enumerate() {
            let why = caught(&recording, without(&recording.events, sync), &old);
            told(&format!("without sync {number}: {why:?}"));
            found.push(why.is_some());
        }
        // Of the first block; of the rest; of the closing blocks; of the commit. The second is not needed:
        // what it is for is not read before the commit, and the third covers it.
        assert_eq!(found, [true, false, true, true]);
    });
}

#[test]
fn what_is_cloned_and_not_synced_is_caught() {
    where_clones_are(|place| {
        let volume = cloned_volume(place);
        let old = with_one(place, &small_volume(&place.join("first")));
        let recording = Recording::of(place, &volume, &old, &Run::default());
        // Between the last sync and the commit. No checksum covers it, so that other programs must tell.
        let (clones, mut order): (Vec<_>, Vec<_>) =
            (0..recording.events.len()).partition(|&index| is_clone(&recording.events[index]));
        let commit = order.len() - 2;
        order.splice(commit..commit, clones);
        let why = recording.with(reordered(&recording.events, &order)).play(&old, true, 4).unwrap_err();
        assert!(why.contains("gnu: "), "{why}");

        for case in [Case::Cloned, Case::ClonedInPlace] {
            let recording = swap::Recording::of(place, case);
            let events = &recording.events;
            let order: Vec<_> =
                (0..events.len()).filter(|&index| !matches!(events[index].call, Call::SyncAll)).collect();
            let why = recording.play(&reordered(events, &order), Journal::Ordered, 4).unwrap_err();
            assert!(why.contains("large: content"), "{why}");
        }
    });
}

/// What a sync is of, in words.
fn shown(recording: &swap::Recording, sync: usize) -> String {
    let events = &recording.events;
    let event = &events[sync];
    if matches!(event.call, Call::SyncAll) {
        let calls = events[..sync].iter().filter(|event| matches!(event.call, Call::Rename { .. })).count();
        return format!("all, after {calls} renames");
    }
    let cut = Cut { before: &recording.before, events: &events[..sync], journal: Journal::Ordered };
    let names = cut.all().names();
    let name = names.get(&event.on.ino).map_or("", |names| names[0].as_str());
    name.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn a_swap_without_its_mark_is_caught() {
    in_memory(|place| {
        let recording = swap::Recording::of(place, Case::Swap);
        let events = &recording.events;
        let mark = events.iter().find_map(|event| match &event.call {
            Call::Create { name, made, .. } if name == b"swapping.part" => Some(made.id.ino),
            _ => None,
        });
        let of_mark = |event: &Recorded| {
            Some(event.on.ino) == mark
                || match &event.call {
                    Call::Create { name, .. } | Call::Rename { name, .. } => name == b"swapping.part",
                    Call::Remove(name) => name == b"swapping",
                    _ => false,
                }
        };
        let order: Vec<usize> = (0..events.len()).filter(|&index| !of_mark(&events[index])).collect();
        assert!(order.len() + 4 <= events.len());
        for journal in [Journal::Ordered, Journal::Logged] {
            let why = recording.play(&reordered(events, &order), journal, 10).unwrap_err();
            told(&format!("{journal:?}: {why}"));
        }
    });
}

/// Each sync of a restore, and whether it is missed when it is not made: where the order of changes is kept,
/// and where it may not be (`Journal`).
///
/// Those that nobody misses are covered by others. The marker's own sync keeps the names that lead to it
/// (POSIX does not promise that, these filesystems do). The directory of a mark and what follows it are
/// synced twice, and either is enough. What a mark of a cleared volume is for cannot be on disk before it,
/// since both are changes of names. For the same reason two syncs of everything are needed only where such
/// changes may overtake each other.
const SYNCS: [(Case, &[&str]); 3] = [
    (
        Case::Swap,
        &[
            "marker: missed, missed",
            ".snapshotter-staging: not missed, not missed",
            "all, after 0 renames: not missed, missed",
            "swapping.part: missed, missed",
            ".snapshotter-staging: not missed, not missed",
            "all, after 1 renames: not missed, not missed",
            "all, after 13 renames: not missed, missed",
            ".snapshotter-staging: missed, missed",
        ],
    ),
    (
        Case::PathInside,
        &[
            "marker: missed, missed",
            ".snapshotter-staging: not missed, not missed",
            "all, after 0 renames: not missed, missed",
            "swapping.part: missed, missed",
            ".snapshotter-staging: not missed, not missed",
            "all, after 1 renames: not missed, not missed",
            "all, after 3 renames: not missed, missed",
            ".snapshotter-staging: missed, missed",
        ],
    ),
    (
        Case::InPlace,
        &[
            "marker: missed, missed",
            ".snapshotter-staging: not missed, not missed",
            "cleared: not missed, not missed",
            ".snapshotter-staging: not missed, not missed",
            "v: not missed, not missed",
            "all, after 0 renames: missed, missed",
            "v: missed, missed",
        ],
    ),
];

#[test]
fn a_restore_without_one_of_its_syncs_is_caught() {
    in_memory(|place| {
        for (case, expected) in SYNCS {
            let recording = swap::Recording::of(place, case);
            let found = syncs(&recording.events).map(|sync| {
                let [ordered, logged] = [Journal::Ordered, Journal::Logged].map(|journal| {
                    let played = recording.play(&without(&recording.events, sync), journal, 5);
                    if played.is_err() { "missed" } else { "not missed" }
                });
                format!("{}: {ordered}, {logged}", shown(&recording, sync))
            });
            assert_eq!(found.collect::<Vec<_>>(), expected, "{case:?}");
            let order: Vec<_> =
                (0..recording.events.len()).filter(|&index| !recording.events[index].is_sync()).collect();
            recording.play(&reordered(&recording.events, &order), Journal::Ordered, 5).unwrap_err();
        }
    });
}
