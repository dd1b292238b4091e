//! Killed at random times, again and again: `SNAPSHOTTER_KILLS` is how often a backup and how often a restore is, a few
//! dozen times unless it is set.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::bad_input::assert_refused;
use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Sandbox, Tree, sandboxed, tool};

const FILES: usize = 300;

fn kills() -> u32 {
    std::env::var("SNAPSHOTTER_KILLS").map_or(15, |count| count.parse().unwrap())
}

/// How often which phase was met.
#[derive(Default)]
struct Met(BTreeMap<&'static str, u32>);

impl Met {
    fn count(&mut self, phase: &'static str) {
        *self.0.entry(phase).or_default() += 1;
    }

    /// Says it, and that it was not always the same.
    fn tell(&self, what: &str) {
        let _ = writeln!(std::io::stdout(), "{what}: {:?}", self.0);
        let all: u32 = self.0.values().sum();
        assert_eq!(all, kills());
        assert!(self.0.keys().any(|phase| !phase.starts_with("ended")), "{:?}", self.0);
    }
}

fn volume(s: &Sandbox) -> PathBuf {
    let root = s.tmpfs("vol", "size=200m");
    let data = pattern(4 << 20);
    let mut tree = Tree::at(&root).file("large", &data).dir("dir").file("dir/large", &data[..3 << 20]);
    for n in 0..FILES {
        tree = tree.file(format!("small {n:03}"), &data[n..3 * n]);
    }
    tree.mtime(5, 6).done()
}

/// Starts the program and kills it after one of many times between nothing and a little more than `longest`. Says
/// whether it had ended by itself.
fn kill_at_random(s: &Sandbox, args: &[&str], longest: Duration, number: u32) -> bool {
    // The golden ratio spreads them evenly, whatever their number.
    let part = f64::from(number) * 0.618_033_988_75 % 1.0;
    let mut child = s.start(args);
    sleep(longest.mul_f64(part * 1.1));
    child.kill().unwrap();
    child.wait().unwrap().code().is_some()
}

/// How long it takes when nothing kills it, the longest of a few times.
fn longest(mut run: impl FnMut()) -> Duration {
    let times = (0..3).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.max().unwrap()
}

fn snapshots(found: &serde_json::Value) -> usize {
    found["snapshots"].as_array().unwrap().len()
}

#[test]
fn a_backup_killed_at_any_time_is_in_the_archive_or_is_not() {
    sandboxed(|s| {
        s.init();
        let volume = volume(s);
        s.configure("web", &[&volume]);
        s.backup();
        let old = fs::read(s.archive()).unwrap();
        let listed = tool("tar", ["-tf", "backup.tar"]).silent().stdout();
        let longest = longest(|| {
            fs::write(s.archive(), &old).unwrap();
            s.backup();
        });
        let mut met = Met::default();
        for number in 1..=kills() {
            fs::write(s.archive(), &old).unwrap();
            let ended = kill_at_random(s, &["backup"], longest, number);
            let bytes = fs::read(s.archive()).unwrap();
            let found = s.verify();
            assert_eq!(found["ok"], true, "{found}");
            let there = snapshots(&found);
            if there == 1 {
                assert!(!ended && bytes[..old.len()] == old[..]);
                assert_eq!(tool("tar", ["-tf", "backup.tar"]).silent().stdout(), listed);
            } else {
                assert_eq!(there, 2);
                let now = tool("tar", ["-tf", "backup.tar"]).silent().stdout();
                assert_eq!(now, listed.repeat(2));
            }
            met.count(match (ended, there, bytes.len() > old.len()) {
                (true, _, _) => "ended by itself",
                (false, 1, false) => "before anything was written",
                (false, 1, true) => "while it wrote",
                _ => "after the commit",
            });
            s.backup();
            assert_eq!(snapshots(&s.verify()), there + 1);
        }
        met.tell("backups killed");
    });
}

/// What a killed restore has left in a volume.
fn phase(volume: &Path) -> &'static str {
    let staging = volume.join(".snapshotter-staging");
    let there = |name: &str| staging.join(name).exists();
    match () {
        () if !staging.exists() => "before it staged, or after all",
        () if there("swapping") => "while it swapped",
        () if there("cleared") => "after it cleared",
        () if there("old") => "while it removed the old content",
        () => "while it staged",
    }
}

/// Changes every tenth file, takes others away, adds some.
fn change(volume: &Path) {
    for n in (0..FILES).step_by(10) {
        fs::write(volume.join(format!("small {n:03}")), b"changed").unwrap();
        let _ = fs::remove_file(volume.join(format!("small {:03}", n + 1)));
    }
    Tree::at(volume).file("dir/new", b"new").file("newer", b"x").mtime(9, 9).done();
}

fn without_time(mut picture: Picture) -> Picture {
    picture.entries.get_mut(b"".as_slice()).unwrap().mtime = (0, 0);
    picture
}

/// A backup stores the one volume or the other, or refuses. Says whether it refused.
fn backup_of(s: &Sandbox, volume: &Path, pictures: &[&Picture], archive: &[u8]) -> bool {
    let backup = s.run(["backup", "--strict"]);
    if backup.code() != Some(0) {
        assert_refused(&backup, &[text(volume), "restore"]);
        assert!(fs::read(s.archive()).unwrap() == archive);
        return true;
    }
    s.run(["restore", "--into", "into"]).ok();
    let stored = without_time(Picture::of(s.path("into").join(volume.strip_prefix("/").unwrap())));
    fs::remove_dir_all(s.path("into")).unwrap();
    fs::write(s.archive(), archive).unwrap();
    let same = |picture: &&&Picture| without_time((**picture).clone()).differences(&stored).is_empty();
    assert!(pictures.iter().any(|picture| same(&picture)), "{:?}", pictures[0].differences(&stored));
    false
}

fn kill_restores(s: &Sandbox, args: &[&str], what: &str) {
    s.init();
    let volume = volume(s);
    s.configure("web", &[&volume]);
    s.backup();
    let archive = fs::read(s.archive()).unwrap();
    let new = Picture::of(&volume);
    let longest = longest(|| {
        change(&volume);
        s.run(args).ok();
    });
    let mut met = Met::default();
    for number in 1..=kills() {
        change(&volume);
        let old = Picture::of(&volume);
        let ended = kill_at_random(s, args, longest, number);
        met.count(if ended { "ended by itself" } else { phase(&volume) });
        if ended {
            new.assert_same(&volume);
        }
        backup_of(s, &volume, &[&old, &new], &archive);
        s.restore();
        new.assert_same(&volume);
    }
    met.tell(what);
}

#[test]
fn a_restore_killed_at_any_time_leaves_the_old_volume_or_the_new_one() {
    sandboxed(|s| kill_restores(s, &["restore"], "restores killed"));
}

#[test]
fn after_a_restore_in_place_that_was_killed_at_any_time_backup_refuses_what_is_incomplete() {
    sandboxed(|s| kill_restores(s, &["restore", "--in-place"], "restores in place killed"));
}
