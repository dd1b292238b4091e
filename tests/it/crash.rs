//! Killed at any moment: the archive holds a snapshot or does not, a volume is the old or the new one, and the
//! next command knows what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bad_input::assert_refused;
use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Run, Sandbox, Tree, sandboxed, tool};

const LARGE: usize = 4 << 20;
const SMALL: usize = 1500;

/// A volume in memory that takes a while: many files at its root, so that a swap does, too.
fn large_volume(s: &Sandbox) -> PathBuf {
    let root = s.tmpfs("vol", "size=400m");
    let data = pattern(LARGE);
    let mut tree = Tree::at(&root);
    for n in 0..15 {
        tree = tree.file(format!("large/{n:02}"), &data);
    }
    for n in 0..SMALL {
        tree = tree.file(format!("small {n:04}"), &data[n..2 * n]);
    }
    tree.mtime(5, 6).done()
}

/// A large volume with one snapshot of it in the archive.
fn backed_up(s: &Sandbox) -> PathBuf {
    s.init();
    let volume = large_volume(s);
    s.configure("web", &[&volume]);
    s.backup();
    volume
}

/// Waits until `reached`, or until the child has ended; says whether it still ran then.
fn reaches(child: &mut Child, reached: impl Fn() -> bool) -> bool {
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if reached() {
            return true;
        }
        sleep(Duration::from_micros(100));
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, signal).unwrap();
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn a_killed_backup_leaves_the_old_archive_and_the_next_one_cuts_its_remains() {
    sandboxed(|s| {
        backed_up(s);
        let archive = s.archive();
        let old = fs::read(&archive).unwrap();
        let full = old.len() as u64;
        let listed = tool("tar", ["-tf", "backup.tar"]).silent().stdout();
        let mut killed = 0;
        for percent in [0, 10, 50, 90, 99] {
            let mut child = s.start(["backup"]);
            let midway = reaches(&mut child, || size(&archive) > full + full * percent / 100);
            child.kill().unwrap();
            child.wait().unwrap();
            let bytes = fs::read(&archive).unwrap();
            if !midway || bytes[..old.len()] != old[..] {
                // It was quicker than the signal.
                assert_eq!(s.list()["snapshots"].as_array().unwrap().len(), 2);
                assert_eq!(s.verify()["ok"], true);
                fs::write(&archive, &old).unwrap();
                continue;
            }
            killed += 1;
            let remains = bytes.len() - old.len();
            assert!(remains > 0);
            let found = s.list();
            assert_eq!(found["snapshots"].as_array().unwrap().len(), 1);
            assert_eq!(found["remains"], remains, "{percent} %: {found}");
            assert_eq!(s.verify()["ok"], true);
            assert_eq!(tool("tar", ["-tf", "backup.tar"]).silent().stdout(), listed);

            s.run(["backup"]).ok().says(&["cut"]);
            let found = s.verify();
            assert_eq!((&found["ok"], &found["remains"]), (&true.into(), &0.into()), "{found}");
            assert_eq!(found["snapshots"].as_array().unwrap().len(), 2);
            fs::write(&archive, &old).unwrap();
        }
        assert!(killed >= 2, "only {killed} backups were killed midway");
    });
}

#[test]
fn a_backup_told_to_stop_cuts_the_archive_back() {
    sandboxed(|s| {
        backed_up(s);
        let archive = s.archive();
        let old = fs::read(&archive).unwrap();
        let mut stopped = 0;
        for (told, percent) in [(Signal::SIGTERM, 0), (Signal::SIGTERM, 50), (Signal::SIGINT, 30)] {
            let mut child = s.start(["backup"]);
            let reached = || size(&archive) > (old.len() + old.len() * percent / 100) as u64;
            if reaches(&mut child, reached) {
                signal(&child, told);
            }
            let run = Run::ended("backup", child.wait_with_output().unwrap());
            if run.code() == Some(0) {
                fs::write(&archive, &old).unwrap();
                continue;
            }
            stopped += 1;
            assert_refused(&run, &[told.as_str()]);
            assert!(fs::read(&archive).unwrap() == old, "the archive is not as it was");
        }
        assert!(stopped >= 1);
    });
}

/// How a restore is interrupted: when this many of the entries of the volume's root are in its staging
/// directory (or have been moved out of the volume).
#[derive(Debug, Clone, Copy)]
enum Moment {
    Staged(usize),
    MovedOut(usize),
}

/// How many entries a directory has; none if it is not there.
fn count(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

/// Entries in the deepest that a staging directory holds of the volume, whatever the names in it.
fn staged(volume: &Path) -> usize {
    let staging = volume.join(".snapshotter-staging");
    let inner = fs::read_dir(&staging).into_iter().flatten().flatten();
    let below = inner.map(|entry| count(&entry.path())).max().unwrap_or(0);
    below.max(count(&staging))
}

fn reached(volume: &Path, moment: Moment) -> bool {
    match moment {
        Moment::Staged(n) => staged(volume) >= n,
        Moment::MovedOut(n) => count(&volume.join(".snapshotter-staging/old")) >= n,
    }
}

const MOMENTS: [Moment; 7] = [
    Moment::Staged(1),
    Moment::Staged(SMALL / 2),
    Moment::Staged(SMALL),
    Moment::MovedOut(1),
    Moment::MovedOut(SMALL / 3),
    Moment::MovedOut(SMALL),
    Moment::Staged(2),
];

/// Changes every tenth file, takes others away, adds some.
fn change(volume: &Path) {
    for n in (0..SMALL).step_by(10) {
        fs::write(volume.join(format!("small {n:04}")), b"changed").unwrap();
        let _ = fs::remove_file(volume.join(format!("small {:04}", n + 1)));
    }
    Tree::at(volume).file("large/new", b"new").file("newer", b"x").mtime(9, 9).done();
}

#[test]
fn after_a_killed_restore_the_next_one_completes_and_backup_stores_nothing_half_done() {
    sandboxed(|s| {
        let volume = backed_up(s);
        let archive = fs::read(s.archive()).unwrap();
        let new = Picture::of(&volume);
        let mut killed = 0;
        for moment in MOMENTS {
            change(&volume);
            let old = Picture::of(&volume);
            let mut child = s.start(["restore"]);
            let midway = reaches(&mut child, || reached(&volume, moment));
            child.kill().unwrap();
            child.wait().unwrap();
            killed += usize::from(midway);

            let backup = s.run(["backup", "--strict"]);
            if backup.code() == Some(0) {
                // Then the volume is the one or the other, but for what is stray.
                s.run(["restore", "--into", "into"]).ok();
                let stored = Picture::of(s.path("into").join(volume.strip_prefix("/").unwrap()));
                fs::remove_dir_all(s.path("into")).unwrap();
                let without_time = |mut picture: Picture| {
                    picture.entries.get_mut(b"".as_slice()).unwrap().mtime = (0, 0);
                    picture
                };
                let stored = without_time(stored);
                let [old, new] = [&old, &new].map(|one| without_time(one.clone()).differences(&stored));
                assert!(old.is_empty() || new.is_empty(), "{moment:?}: {old:?}\n{new:?}");
                fs::write(s.archive(), &archive).unwrap();
            } else {
                assert_refused(&backup, &[text(&volume), "restore"]);
                assert!(fs::read(s.archive()).unwrap() == archive);
            }
            s.restore();
            new.assert_same(&volume);
        }
        assert!(killed >= 3, "only {killed} restores were killed midway");
    });
}

#[test]
fn a_restore_told_to_stop_leaves_the_volume_as_it_was_or_new() {
    sandboxed(|s| {
        let volume = backed_up(s);
        let new = Picture::of(&volume);
        let mut stopped = 0;
        for moment in MOMENTS {
            change(&volume);
            let old = Picture::of(&volume);
            let mut child = s.start(["restore"]);
            if reaches(&mut child, || reached(&volume, moment)) {
                signal(&child, Signal::SIGTERM);
            }
            let run = Run::ended("restore", child.wait_with_output().unwrap());
            if run.code() == Some(0) {
                // Signals wait while volumes are swapped.
                new.assert_same(&volume);
            } else {
                stopped += 1;
                assert_refused(&run, &["SIGTERM"]);
                old.assert_same(&volume);
                s.restore();
                new.assert_same(&volume);
            }
        }
        assert!(stopped >= 1);
    });
}

#[test]
fn after_a_killed_restore_in_place_backup_refuses_until_one_completes() {
    sandboxed(|s| {
        let volume = backed_up(s);
        let archive = fs::read(s.archive()).unwrap();
        let new = Picture::of(&volume);
        let mut killed = 0;
        for missing in [SMALL / 2, SMALL - 2] {
            fs::write(volume.join("of the old"), b"x").unwrap();
            let mut child = s.start(["restore", "--in-place"]);
            // It clears the volume first, and then fills it.
            let entries = || count(&volume);
            let midway = reaches(&mut child, || {
                !volume.join("of the old").exists() && entries() < SMALL - missing + 2
            });
            child.kill().unwrap();
            child.wait().unwrap();
            if midway && !new.differences(&Picture::of(&volume)).is_empty() {
                killed += 1;
                assert_refused(&s.run(["backup"]), &[text(&volume), "restore"]);
                assert!(fs::read(s.archive()).unwrap() == archive);
            }
            s.run(["restore"]).ok();
            new.assert_same(&volume);
            s.backup();
            fs::write(s.archive(), &archive).unwrap();
        }
        assert!(killed >= 1, "no restore was killed midway");
    });
}

#[test]
fn a_directory_named_as_ours_but_without_our_mark_is_the_users() {
    sandboxed(|s| {
        s.init();
        let volume =
            Tree::at(s.path("vol")).file(".snapshotter-staging/mine", b"mine").file("file", b"x").done();
        s.configure("web", &[&volume]);
        let before = Picture::of(&volume);
        if s.run(["backup"]).code() == Some(0) {
            fs::remove_file(volume.join("file")).unwrap();
            s.restore();
        }
        before.assert_same(&volume);
    });
}

#[test]
fn a_restore_leaves_no_trace_of_itself() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("file", b"x").mtime(5, 6).done();
        s.configure("web", &[&volume]);
        s.backup();
        let before = Picture::of(s.root());
        s.restore();
        s.run(["restore", "--in-place"]).ok();
        before.assert_same(s.root());
    });
}
