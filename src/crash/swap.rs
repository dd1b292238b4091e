//! A power cut at every point of a restore: each volume is the old one or the new one once the next command
//! has run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::append::{in_memory, is_clone, told, where_clones_are};
use super::archives::backup_to;
use super::disk::Disk;
use super::state::{Cut, Data, Journal};
use super::support::tree::pattern;
use super::support::{Picture, Tree};
use super::volumes::{Checker, Restore, picture};
use super::{Random, states};
use crate::config::{Config, Need, Overrides};
use crate::fs::FileId;
use crate::fs::record::{Call, Recorded, record};
use crate::observer::Run;
use crate::{RestoreOptions, backup, init_archive, restore};

/// A restore that was recorded.
pub(super) struct Recording {
    pub(super) restore: Restore,
    pub(super) before: Disk,
    pub(super) events: Vec<Recorded>,
}

/// How a restore is done, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Swap,
    /// With a file that is cloned.
    Cloned,
    /// A directory on the way to the configuration, which is in use, stays.
    Pinned,
    TwoVolumes,
    InPlace,
    ClonedInPlace,
    /// Below another directory: a directory and a file that are there.
    Into,
    /// Below another directory, where nothing is.
    IntoNothing,
    /// One path of the volume below another directory: what is there is something else now, and goes.
    Path,
    /// One in a directory, which stays.
    PathInside,
    /// One where nothing is.
    PathIntoNothing,
}

/// Volumes as the snapshot has them.
fn first(root: &Path) {
    let v = Tree::at(root.join("v")).file("a", [b'a'; 700]).mtime(7, 8).hard_link("b", "a").symlink("l", "a");
    let v = v.dir("d").mode(0o750).mtime(5, 6).file("d/x", [b'x'; 1500]).file("gone", b"in the new one");
    let v = v.dir("p").file("p/y", b"new").xattr("trusted.of", b"y").fifo("fifo");
    v.at_entry("d").mtime(5, 6).at_entry("").mode(0o711).mtime(3, 4).done();
    Tree::at(root.join("w")).file("one", b"one").mtime(1, 1).dir("two").done();
    fs::write(root.join("f"), [b'f'; 900]).unwrap();
}

/// What they became.
fn then(root: &Path) {
    let v = root.join("v");
    for name in ["gone", "b", "fifo"] {
        fs::remove_file(v.join(name)).unwrap();
    }
    fs::remove_dir_all(v.join("d")).unwrap();
    let v =
        Tree::at(v).file("a", [b'A'; 800]).file("d", b"a file now").dir("more").file("more/z", [b'z'; 600]);
    let v =
        v.mode(0o600).file("p/y", b"old").file("p/only old", b"old").at_entry("p").mode(0o770).mtime(8, 8);
    v.at_entry("").mode(0o755).xattr("trusted.root", b"old").mtime(9, 9).done();
    Tree::at(root.join("w")).file("one", b"ONE").file("three", b"3").mtime(2, 2).done();
    fs::write(root.join("f"), [b'F'; 1900]).unwrap();
}

impl Recording {
    pub(super) fn of(place: &Path, case: Case) -> Recording {
        let place = place.join(format!("{case:?}"));
        let root = place.join("root");
        fs::create_dir_all(&root).unwrap();
        first(&root);
        if matches!(case, Case::Cloned | Case::ClonedInPlace) {
            Tree::at(root.join("v")).file("large", pattern((1 << 20) + 700)).done();
        }
        let archive = place.join("archive.tar");
        init_archive(&archive).unwrap();
        let all = ["v", "w", "f"].map(|name| root.join(name));
        let volumes = match case {
            Case::TwoVolumes => &all[..2],
            Case::Into | Case::IntoNothing => &all[..],
            _ => &all[..1],
        };
        let config_file =
            if case == Case::Pinned { root.join("v/p/config.yml") } else { place.join("config.yml") };
        let list: Vec<_> = volumes.iter().map(|path| format!("  - {}\n", path.display())).collect();
        fs::write(&config_file, format!("prefix: p\nvolumes:\n{}", list.concat())).unwrap();
        let config = Config::load(&config_file, true, &Overrides::default(), Need::Volumes).unwrap();
        backup(&config, &backup_to(&archive), &Run::default()).unwrap();

        let below = |path: &Path| root.join("into").join(path.strip_prefix("/").unwrap());
        let (into, only) = match case {
            Case::Into | Case::IntoNothing => (Some(root.join("into")), None),
            Case::Path | Case::PathIntoNothing => (Some(root.join("into")), Some(root.join("v/d"))),
            Case::PathInside => (Some(root.join("into")), Some(root.join("v/p/y"))),
            _ => (None, None),
        };
        if matches!(case, Case::Into | Case::Path | Case::PathInside) {
            fs::create_dir_all(below(&root)).unwrap();
            first(&below(&root));
            then(&below(&root));
        } else if !matches!(case, Case::IntoNothing | Case::PathIntoNothing) {
            then(&root);
        }
        let targets: Vec<_> =
            volumes.iter().map(|path| if into.is_some() { below(path) } else { path.clone() }).collect();
        let options = RestoreOptions {
            archive: archive.into(),
            in_place: matches!(case, Case::InPlace | Case::ClonedInPlace),
            into,
            paths: only.into_iter().map(Into::into).collect(),
            ..RestoreOptions::default()
        };
        let old: Vec<Picture> = targets.iter().map(|path| picture(path)).collect();
        let pinned = (case == Case::Pinned).then_some("p/config.yml");
        let of = Restore { place, root, config, pinned, options, targets, old, new: Vec::new() };
        Recording::again(of, false)
    }

    /// Records a restore of what is there now. `known` says that the pictures of it are those that it has.
    pub(super) fn again(of: Restore, known: bool) -> Recording {
        let before = Disk::of(&of.root);
        let dev = FileId::of_path(&of.root).unwrap().dev;
        let (done, mut events) = record(dev, || restore(&of.config, &of.options, &Run::default()));
        done.unwrap();
        renumber(&mut events, &before);
        let new: Vec<Picture> = of.targets.iter().map(|path| picture(path)).collect();
        if known {
            assert!(new.iter().zip(&of.new).all(|(one, other)| one.differences(other).is_empty()));
        }
        let recording = Recording { restore: Restore { new, ..of }, before, events };
        recording.assert_complete();
        recording
    }

    /// All that the program did must be in the recording.
    fn assert_complete(&self) {
        let found = Picture::of(&self.restore.root);
        let cut = Cut { before: &self.before, events: &self.events, journal: Journal::Ordered };
        cut.all().make(&self.restore.root);
        let mut differences = found.differences(&Picture::of(&self.restore.root));
        // What changes a time by the way has the time of the model, and not that of the clock.
        differences.retain(|difference| !difference.contains("mtime"));
        assert!(differences.is_empty(), "the recording is not complete: {differences:?}");
    }

    /// Plays a power cut at every point.
    pub(super) fn play(
        &self,
        events: &[Recorded],
        journal: Journal,
        random: usize,
    ) -> Result<String, String> {
        let mut checker = Checker::new(&self.restore);
        let mut seed = Random(1);
        let count = events.len();
        for done in 0..=count {
            let cut = Cut { before: &self.before, events: &events[..done], journal };
            let least = cut.least();
            let mut check = |journaled: usize, data: Data| {
                let disk = cut.disk(journaled, data, &mut seed);
                checker.check(&disk, done == count).map_err(|why| {
                    format!("after {done} of {count} calls, {journaled} journaled, data {data:?}: {why}")
                })
            };
            check(done, Data::All)?;
            check(done, Data::None)?;
            check(least, Data::All)?;
            check(least, Data::None)?;
            // What may be after one call may be after the next one too, unless that is a sync.
            if done < count && !events[done].is_sync() {
                continue;
            }
            for journaled in least..=done {
                check(journaled, Data::All)?;
                check(journaled, Data::None)?;
            }
            for _ in 0..random.min(4 * (done - least + 1)) {
                check(least, Data::Random)?;
                check(done, Data::Random)?;
            }
        }
        let Checker { checked, refused, old, new, .. } = checker;
        Ok(format!("{count} calls, {checked} trees, {refused} refused by backup, {old} old, {new} new"))
    }
}

/// Of the numbers that XFS gives again, once what had one is removed, makes others.
fn renumber(events: &mut [Recorded], before: &Disk) {
    let mut taken: BTreeSet<u64> = before.nodes.keys().copied().collect();
    let mut now = BTreeMap::new();
    for (index, event) in events.iter_mut().enumerate() {
        if let Call::Create { made, .. } = &mut event.call {
            let other = if taken.insert(made.id.ino) { made.id.ino } else { u64::MAX - index as u64 };
            now.insert(made.id.ino, other);
            made.id.ino = other;
        }
        let renumber = |id: &mut FileId| id.ino = now.get(&id.ino).copied().unwrap_or(id.ino);
        renumber(&mut event.on);
        match &mut event.call {
            Call::Link { from: id, .. } | Call::Rename { to: id, .. } => renumber(id),
            _ => {}
        }
    }
}

/// The calls of a recording, a line each.
pub(super) fn shown(events: &[Recorded]) -> String {
    let line = |(index, event): (usize, &Recorded)| {
        let call: String = format!("{:?}", event.call).chars().take(150).collect();
        format!("{index} on {}: {call}\n", event.on.ino)
    };
    events.iter().enumerate().map(line).collect()
}

/// Plays one kind of restore, on both kinds of filesystems.
fn play(case: Case) {
    in_memory(|place| drop(play_in(place, case)));
}

fn play_in(place: &Path, case: Case) -> Recording {
    let recording = Recording::of(place, case);
    for journal in [Journal::Ordered, Journal::Logged] {
        let all = recording.play(&recording.events, journal, states(10));
        let all =
            all.unwrap_or_else(|why| panic!("{case:?}, {journal:?}: {why}\n{}", shown(&recording.events)));
        told(&format!("{case:?}, {journal:?}: {all}"));
    }
    recording
}

#[test]
fn a_power_cut_in_a_restore_leaves_the_old_volume_or_the_new_one() {
    play(Case::Swap);
}

#[test]
fn so_it_does_where_content_is_cloned() {
    where_clones_are(|place| {
        for case in [Case::Cloned, Case::ClonedInPlace] {
            let recording = play_in(place, case);
            assert!(recording.events.iter().any(is_clone));
        }
    });
}

#[test]
fn so_it_does_where_a_file_is_in_use() {
    play(Case::Pinned);
}

#[test]
fn so_it_does_with_two_volumes() {
    play(Case::TwoVolumes);
}

#[test]
fn so_it_does_below_another_directory() {
    play(Case::Into);
    play(Case::IntoNothing);
}

#[test]
fn so_it_does_where_one_path_is_restored() {
    for case in [Case::Path, Case::PathInside, Case::PathIntoNothing] {
        play(case);
    }
}

#[test]
fn after_a_power_cut_in_a_restore_in_place_backup_refuses_what_is_incomplete() {
    play(Case::InPlace);
}

#[test]
fn a_power_cut_while_the_next_restore_puts_the_former_content_back_is_no_worse() {
    in_memory(|place| {
        let Recording { restore, before, events } = Recording::of(place, Case::Swap);
        let renames = (0..events.len()).filter(|&index| matches!(events[index].call, Call::Rename { .. }));
        let renames: Vec<_> = renames.collect();
        let events = &events[..=renames[renames.len() / 2]];
        Cut { before: &before, events, journal: Journal::Ordered }.all().make(&restore.root);
        let second = Recording::again(restore, true);
        for journal in [Journal::Ordered, Journal::Logged] {
            let all = second.play(&second.events, journal, states(10));
            let all = all.unwrap_or_else(|why| panic!("{journal:?}: {why}\n{}", shown(&second.events)));
            told(&format!("once more, {journal:?}: {all}"));
        }
    });
}
