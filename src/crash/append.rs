//! A power cut at every point of a backup: the archive is the old one or the new one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::archives::{Checker, backup_to, config, incremental_to};
use super::file::Unsynced;
use super::support::Tree;
use super::support::confine::{confine, confined};
use super::support::tools::{need, tool};
use super::support::tree::pattern;
use super::{Random, readers, states};
use crate::BackupOptions;
use crate::fs::FileId;
use crate::fs::record::{Call, Recorded, record};
use crate::observer::{Cancel, Observer, Run};

/// A backup that was recorded.
pub(super) struct Recording {
    pub(super) events: Vec<Recorded>,
    pub(super) before: Vec<u8>,
    pub(super) after: Vec<u8>,
    /// The archive's number.
    pub(super) ino: u64,
    volume: PathBuf,
    place: PathBuf,
}

/// Runs a test in a filesystem in memory, with all else read-only; or says that it cannot.
pub(super) fn in_memory(test: impl FnOnce(&Path) + Send) {
    if !need("root") || !readers::there_are() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    confined(|| {
        confine(&root);
        let none = None::<&str>;
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(none, &root, Some("tmpfs"), flags, Some("size=600m")).unwrap();
        test(&root);
    });
}

/// The same in an XFS, where what is large enough is cloned and not written.
pub(super) fn where_clones_are(test: impl FnOnce(&Path) + Send) {
    if !need("mkfs.xfs") {
        return;
    }
    in_memory(|memory| {
        let (image, place) = (memory.join("image"), memory.join("xfs"));
        fs::File::create_new(&image).unwrap().set_len(512 << 20).unwrap();
        fs::create_dir(&place).unwrap();
        tool("mkfs.xfs", ["-q".as_ref(), image.as_os_str()]).ok();
        tool("mount", ["-n".as_ref(), "-o".as_ref(), "loop".as_ref(), image.as_os_str(), place.as_os_str()])
            .ok();
        test(&place);
    });
}

/// Whether something was cloned: no write has as many bytes.
pub(super) fn is_clone(event: &Recorded) -> bool {
    matches!(&event.call, Call::Write { data, .. } if data.len() >= 1 << 20)
}

pub(super) fn small_volume(place: &Path) -> PathBuf {
    let tree = Tree::at(place.join("v")).file("a", [b'a'; 700]).mtime(7, 8).symlink("l", "a").dir("d");
    tree.mtime(5, 6).at_entry("").mtime(3, 4).done()
}

impl Recording {
    /// Of a backup of `volume` to an archive that holds `before`.
    pub(super) fn of(place: &Path, volume: &Path, before: &[u8], run: &Run) -> Recording {
        Self::with_options(place, volume, before, backup_to, run)
    }

    fn with_options(
        place: &Path,
        volume: &Path,
        before: &[u8],
        options: fn(&Path) -> BackupOptions,
        run: &Run,
    ) -> Recording {
        let archive = place.join("recorded.tar");
        fs::write(&archive, before).unwrap();
        let id = FileId::of_path(&archive).unwrap();
        let (_, events) = record(id.dev, || crate::backup(&config(volume), &options(&archive), run));
        assert!(events.iter().all(|event| event.on == id), "a backup writes to the archive and nothing else");
        let after = fs::read(&archive).unwrap();
        let replayed = Unsynced::after(&events, id.ino, before).all();
        assert!(replayed == after, "the recording is not complete");
        let (volume, place) = (volume.to_owned(), place.to_owned());
        Recording { events, before: before.to_vec(), after, ino: id.ino, volume, place }
    }

    /// The same with other events.
    pub(super) fn with(&self, events: Vec<Recorded>) -> Recording {
        let (volume, place) = (self.volume.clone(), self.place.clone());
        Recording { events, before: self.before.clone(), after: self.after.clone(), volume, place, ..*self }
    }

    /// Plays a power cut at every point. `old` is what the archive was, but for what lies behind its end.
    pub(super) fn play(&self, old: &[u8], committed: bool, random: usize) -> Result<usize, String> {
        self.play_with(old, committed, random, |_| {})
    }

    pub(super) fn play_with(
        &self,
        old: &[u8],
        committed: bool,
        random: usize,
        set: impl FnOnce(&mut Checker),
    ) -> Result<usize, String> {
        let known = [old, &self.after];
        let known = &known[..if committed { 2 } else { 1 }];
        let mut checker = Checker::new(&self.place.join("images"), &self.volume, known);
        set(&mut checker);
        let stale = if checker.may_refuse { b'?' } else { 0 };
        let mut seed = Random(1);
        let count = self.events.len();
        for done in 0..=count {
            let at = |what: &str, reason: String| format!("after {done} of {count} calls, {what}: {reason}");
            // Once the backup has said that it is done, it is.
            let new = committed && done == count;
            let file = Unsynced::after(&self.events[..done], self.ino, &self.before);
            checker.check(&file.all(), new).map_err(|reason| at("all kept", reason))?;
            checker.check(&file.none(), new).map_err(|reason| at("synced kept", reason))?;
            // What may be after one call may be after the next one too, unless that is a sync.
            if done < count && !self.events[done].is_sync() {
                continue;
            }
            if file.calls() <= 8 {
                for mask in 0..1 << file.calls() {
                    let some = file.some(|index| mask >> index & 1 == 1);
                    checker.check(&some, new).map_err(|reason| at(&format!("calls {mask:b}"), reason))?;
                }
            }
            let choices = file.choices(stale);
            if choices.count() <= random.max(100) {
                let mut result = Ok(());
                choices.each(&mut |image| {
                    if result.is_ok() {
                        result = checker.check(&image, new);
                    }
                });
                result.map_err(|reason| at("one of all choices", reason))?;
                continue;
            }
            for number in 0..random {
                let image = choices.random(&mut seed);
                checker.check(&image, new).map_err(|reason| at(&format!("choice {number}"), reason))?;
            }
        }
        checker.finish().map_err(|reason| format!("of the last ones: {reason}"))?;
        Ok(checker.checked)
    }
}

/// An archive with one snapshot.
pub(super) fn with_one(place: &Path, volume: &Path) -> Vec<u8> {
    Recording::of(place, volume, &[0; 1024], &Run::default()).after
}

/// What a backup that is killed just before its commit leaves.
fn with_remains(place: &Path, volume: &Path, old: &[u8]) -> Vec<u8> {
    let recording = Recording::of(place, volume, old, &Run::default());
    let commit = recording.events.len() - 2;
    Unsynced::after(&recording.events[..commit], recording.ino, old).all()
}

#[test]
fn a_power_cut_in_a_backup_leaves_the_old_archive_or_the_new_one() {
    in_memory(|place| {
        let volume = small_volume(place);
        let empty = vec![0; 1024];
        let one = with_one(place, &volume);
        let cut = |remains: &[u8], length: usize| remains[..remains.len() - length].to_vec();
        let complete = with_remains(place, &volume, &one);
        let foreign = place.join("foreign.tar");
        let args = ["-b", "1", "-cf", foreign.to_str().unwrap(), "-C", volume.to_str().unwrap(), "a", "l"];
        tool("tar", args).silent();
        let foreign = fs::read(foreign).unwrap();
        let padded = |old: &[u8]| [old, &vec![0; old.len().next_multiple_of(10240) - old.len()]].concat();
        for (name, old, before) in [
            ("an empty archive", &empty, empty.clone()),
            ("an archive with a snapshot", &one, one.clone()),
            ("an archive with padding", &one, padded(&one)),
            ("an archive with remains", &one, cut(&complete, 2560)),
            ("an archive with remains that are complete", &one, complete.clone()),
            ("an archive of another program", &foreign, padded(&foreign)),
        ] {
            let recording = Recording::of(place, &volume, &before, &Run::default());
            let checked = recording.play(old, true, states(30)).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(checked > 25, "{name}: {checked}");
            told(&format!("{name}: {checked} archives"));
        }
    });
}

#[test]
fn a_power_cut_in_an_incremental_backup_leaves_the_old_archive_or_the_new_one() {
    in_memory(|place| {
        let volume = small_volume(place);
        let incremental = |before: &[u8]| {
            // What changed is older than a tick of the clock.
            std::thread::sleep(std::time::Duration::from_millis(40));
            Recording::with_options(place, &volume, before, incremental_to, &Run::default())
        };
        let one = incremental(&[0; 1024]).after;
        fs::write(volume.join("a"), "changed").unwrap();
        let two = incremental(&one);
        let has = |text: &[u8]| two.after[one.len()..].windows(text.len()).any(|window| window == text);
        assert!(has(b"\"references\"") && has(b"changed") && !has(b"/v/l\0"));
        let checked = two.play_with(&one, true, states(30), |checker| checker.options = incremental_to);
        let checked = checked.unwrap_or_else(|why| panic!("{why}"));
        assert!(checked > 25, "{checked}");
        told(&format!("an incremental backup: {checked} archives"));
    });
}

#[test]
fn a_power_cut_in_a_large_backup_leaves_the_old_archive_or_the_new_one() {
    in_memory(|place| {
        let data: Vec<u8> =
            (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let mut tree = Tree::at(place.join("v")).file("large", &data[..5 << 20]);
        for n in 0..40 {
            tree = tree.file(format!("f{n}"), &data[n * 1000..n * 2017]);
        }
        let volume = tree.done();
        let one = vec![0; 1024];
        let recording = Recording::of(place, &volume, &one, &Run::default());
        let checked = recording.play(&one, true, states(8)).unwrap();
        assert!(checked > 20, "{checked}");
        told(&format!("a large archive: {checked} archives"));
    });
}

/// A volume with files that are cloned: one of whole blocks, one with an odd end, one with holes.
pub(super) fn cloned_volume(place: &Path) -> PathBuf {
    let data = pattern(3 << 20);
    let extents: [(u64, &[u8]); 2] = [(0, &data[..1 << 20]), (3 << 20, &data[..(1 << 20) + 5])];
    let tree = Tree::at(place.join("v")).file("a", b"a").file("even", &data[..1 << 20]).mtime(5, 6);
    tree.file("odd", &data[..(1 << 20) + 700]).sparse("holes", 5 << 20, &extents).file("z", b"z").done()
}

#[test]
fn a_power_cut_in_a_backup_that_clones_leaves_the_old_archive_or_the_new_one() {
    where_clones_are(|place| {
        let volume = cloned_volume(place);
        let one = with_one(place, &small_volume(&place.join("first")));
        let remains = with_remains(place, &volume, &one);
        for (name, before) in [("an archive with a snapshot", &one), ("an archive with remains", &remains)] {
            let recording = Recording::of(place, &volume, before, &Run::default());
            assert_eq!(recording.events.iter().filter(|event| is_clone(event)).count(), 4, "{name}");
            let checked = recording.play(&one, true, states(4)).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(checked > 10, "{name}: {checked}");
            told(&format!("cloned to {name}: {checked} archives"));
        }
    });
}

#[test]
fn a_power_cut_while_a_backup_gives_up_leaves_the_old_archive() {
    /// Stops the run when so many bytes were read.
    struct Stops(Cancel, AtomicU64);
    impl Observer for Stops {
        fn bytes(&self, count: u64) {
            if self.1.fetch_add(count, Ordering::Relaxed) > 7 << 20 {
                self.0.stop();
            }
        }
    }
    in_memory(|place| {
        let volume = small_volume(place);
        // More than is gathered at once, so that something is written before it gives up.
        for name in ["b", "c", "d1", "e"] {
            Tree::at(&volume).file(name, vec![b'b'; 3 << 20]).done();
        }
        let one = with_one(place, &small_volume(&place.join("first")));
        let cancel = Cancel::default();
        let stops = Stops(cancel.clone(), AtomicU64::new(0));
        let run = Run { cancel, ..Run::new(&stops) };
        let recording = Recording::of(place, &volume, &one, &run);
        assert!(recording.after == one && recording.events.len() > 4, "{}", recording.events.len());
        let checked = recording.play(&one, false, states(8)).unwrap();
        assert!(checked > 10, "{checked}");
        told(&format!("a backup that gives up: {checked} archives"));
    });
}

#[test]
fn where_stale_blocks_may_show_readers_do_not_notice() {
    in_memory(|place| {
        let volume = small_volume(place);
        let one = with_one(place, &volume);
        let recording = Recording::of(place, &volume, &one, &Run::default());
        recording.play_with(&one, true, states(30), |checker| checker.may_refuse = true).unwrap();
    });
}

/// A line for whoever reads the output with `--nocapture`.
pub(super) fn told(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
