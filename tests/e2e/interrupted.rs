//! Stopped, killed, out of room, and two at once: the archive is whole, and so is the volume.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::engine::{HARDENED, mount, reaches};
use crate::support::torture::pattern;
use crate::support::{Engine, Picture, Run, Tree, with_engine};

/// So little of a processor that a run takes seconds, and can be met midway. Where the machine itself is so slow that a run
/// is over before it is met, less of it is tried.
const PROCESSORS: [&str; 5] = ["0.1", "0.05", "0.02", "0.01", "0.01"];
const SLOW: [&str; 2] = ["--cpus", PROCESSORS[0]];

/// A container with a volume that takes a while, and where its files are.
fn large(e: &Engine) -> (String, PathBuf) {
    let (volume, path) = e.volume("large", &[]);
    let data = pattern(4 << 20);
    let mut tree = Tree::at(&path);
    for n in 0..40 {
        tree = tree.file(format!("large/{n:02}"), &data);
    }
    for n in 0..2000 {
        tree = tree.file(format!("small {n:04}"), &data[n..2 * n]);
    }
    tree.mtime(5, 6).done();
    (e.application("large", &["-v", &format!("{volume}:/data")]), path)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Whether a backup has appended some of its data to an archive of `old` bytes, and not yet made it part of the archive.
fn appends_midway(archive: &Path, old: usize) -> bool {
    let mut begin = [0; 512];
    let file = fs::File::open(archive).unwrap();
    file.metadata().unwrap().len() > old as u64 + (8 << 20)
        && file.read_exact_at(&mut begin, old as u64 - 1024).is_ok()
        && begin == [0; 512]
}

/// `snapshotter`, paused midway: what `midway` says holds still. `prepare` is run before each try.
#[track_caller]
fn paused(
    e: &Engine,
    name: &str,
    container: &str,
    command: &str,
    mut prepare: impl FnMut(),
    midway: impl Fn() -> bool,
) -> (String, Child) {
    for (n, processors) in PROCESSORS.into_iter().enumerate() {
        prepare();
        let slowly = ["--cpus", processors];
        let (name, mut child) = e.start_slowly(&format!("{name}-{n}"), container, &[command], &slowly);
        if reaches(&mut child, &midway) && e.docker(["pause", &name]).code() == Some(0) {
            if midway() {
                return (name, child);
            }
            e.told(["unpause", &name]);
        }
        Run::ended(command, child.wait_with_output().unwrap()).ok();
    }
    panic!("no {command} was met midway");
}

/// Stops or kills what is paused, and gives what it said. Docker lets it go on to receive the signal.
#[track_caller]
fn interrupt(e: &Engine, how: &str, (name, child): (String, Child)) -> Run {
    // With so little of a processor ten seconds may not be enough to end in order.
    let args: &[&str] = if how == "stop" { &["stop", "--time", "300"] } else { &["kill"] };
    e.told([args, &[&name]].concat());
    let ended = Run::ended(how, child.wait_with_output().unwrap());
    let code = if how == "stop" { "1" } else { "137" };
    assert_eq!(e.exit_code(&name), code, "{ended}");
    ended
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_backup_that_is_stopped_or_killed_leaves_the_old_archive() {
    with_engine(|e| {
        let (container, _) = large(e);
        e.configure("large", &["/data"]);
        e.backup(&container);
        let old = fs::read(e.archive()).unwrap();
        for how in ["stop", "kill"] {
            let put_back = || fs::write(e.archive(), &old).unwrap();
            let midway = || appends_midway(&e.archive(), old.len());
            let ended = interrupt(e, how, paused(e, how, &container, "backup", put_back, midway));
            let bytes = fs::read(e.archive()).unwrap();
            assert!(bytes[..old.len()] == old[..], "{how} changed what was there");
            if how == "stop" {
                assert_eq!(bytes.len(), old.len(), "it was cut back");
                ended.says(&["SIGTERM"]);
            }
            assert_eq!(e.verified(), 1);
        }
        e.snapshotter(&container, &["backup"]).ok().says(&["cut"]);
        assert_eq!(e.verified(), 2);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_restore_that_is_stopped_or_killed_leaves_the_old_volume_or_the_new_one() {
    with_engine(|e| {
        let (container, path) = large(e);
        e.configure("large", &["/data"]);
        e.backup(&container);
        let snapshot = Picture::of(&path);
        let mut changed = Picture::of(&path);
        let staging = path.join(".snapshotter-staging");
        for how in ["stop", "kill"] {
            let change = || {
                e.shell(
                    &container,
                    "rm -rf /data/large; echo changed > '/data/small 0001'; echo new > /data/new",
                );
                changed = Picture::of(&path);
            };
            let midway = || {
                let staged = walkdir::WalkDir::new(staging.join("new")).into_iter().count();
                staged > 10 && !staging.join("swapping").exists()
            };
            interrupt(e, how, paused(e, how, &container, "restore", change, midway));
            let mut found = Picture::of(&path);
            if how == "kill" {
                assert!(found.has(".snapshotter-staging"), "what a kill leaves is seen");
                found.entries.retain(|name, _| !name.starts_with(b".snapshotter-staging"));
                found.entries.insert(Vec::new(), changed.entry("").clone());
            }
            changed.assert_same_picture(&found);
        }
        // What is stray is not backed up, and the next restore removes it.
        e.restore(&container);
        snapshot.assert_same(&path);
    });
}

/// How often a backup and how often a restore is killed at a random time.
fn kills() -> u32 {
    std::env::var("SNAPSHOTTER_KILLS").map_or(5, |count| count.parse().unwrap())
}

/// Runs a container and kills it after one of many times between nothing and `longest`. Says whether it had ended by
/// itself.
fn kill_at_random(e: &Engine, container: &str, command: &str, longest: Duration, number: u32) -> bool {
    // The golden ratio spreads them evenly, whatever their number.
    let part = f64::from(number) * 0.618_033_988_75 % 1.0;
    let (name, mut child) = e.start_slowly(&format!("{command}{number}"), container, &[command], &SLOW);
    let running = || e.docker(["inspect", "--format", "{{.State.StartedAt}}", &name]).stdout();
    reaches(&mut child, || running().starts_with("20"));
    sleep(longest.mul_f64(part));
    e.docker(["kill", &name]);
    child.wait().unwrap();
    let ended = e.exit_code(&name) == "0";
    e.told(["rm", &name]);
    ended
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn containers_killed_at_random_times_leave_the_old_or_the_new() {
    with_engine(|e| {
        let (container, path) = large(e);
        e.configure("large", &["/data"]);
        e.backup(&container);
        let one = fs::read(e.archive()).unwrap();
        let mut met = BTreeMap::<&str, u32>::new();
        let start = Instant::now();
        let (name, mut child) = e.start_slowly("whole", &container, &["backup"], &SLOW);
        assert!(child.wait().unwrap().success());
        e.told(["rm", &name]);
        let longest = start.elapsed();
        for number in 1..=kills() {
            fs::write(e.archive(), &one).unwrap();
            let ended = kill_at_random(e, &container, "backup", longest, number);
            let snapshots = e.verified();
            let longer = size(&e.archive()) > one.len() as u64;
            *met.entry(match (ended, snapshots, longer) {
                (true, 2, _) => "backup: ended by itself",
                (false, 1, false) => "backup: before anything was written",
                (false, 1, true) => "backup: while it wrote",
                (false, 2, true) => "backup: after the commit",
                other => panic!("{other:?}"),
            })
            .or_default() += 1;
            e.snapshotter(&container, &["backup"]).ok();
            assert_eq!(e.verified(), snapshots + 1);
        }
        fs::write(e.archive(), &one).unwrap();
        let snapshot = Picture::of(&path);
        for number in 1..=kills() {
            e.shell(&container, "rm -r /data/large; echo changed > '/data/small 0001'; echo new > /data/new");
            let ended = kill_at_random(e, &container, "restore", longest, number);
            let staging = path.join(".snapshotter-staging");
            let phase = match () {
                () if ended => "restore: ended by itself",
                () if !staging.exists() => "restore: before it staged, or after all",
                () if staging.join("swapping").exists() => "restore: while it swapped",
                () if staging.join("old").exists() => "restore: while it removed the old content",
                () => "restore: while it staged",
            };
            *met.entry(phase).or_default() += 1;
            let backup = e.snapshotter(&container, &["backup"]);
            if backup.code() != Some(0) {
                backup.exits(1).says(&["/data", "restore"]);
            }
            fs::write(e.archive(), &one).unwrap();
            e.restore(&container);
            snapshot.assert_same(&path);
        }
        let _ = writeln!(std::io::stdout(), "containers killed: {met:?}");
        assert!(met.keys().any(|phase| !phase.ends_with("by itself")), "{met:?}");
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn two_backups_at_once_wait_for_each_other() {
    with_engine(|e| {
        let (container, _) = large(e);
        e.configure("large", &["/data"]);
        let empty = || fs::write(e.archive(), [0; 1024]).unwrap();
        let midway = || appends_midway(&e.archive(), 1024);
        let (first, mut child) = paused(e, "first", &container, "backup", empty, midway);
        let refused = e.snapshotter(&container, &["backup", "--lock-timeout", "0"]);
        refused.exits(1).says(&["/backup.tar", "lock"]);
        let (second, mut waiting) = e.start_slowly("second", &container, &["backup"], &[]);
        let told = || e.docker(["logs", &second]).stderr();
        assert!(reaches(&mut waiting, || told().contains("wait")), "it does not wait: {}", told());
        e.told(["unpause", &first]);
        assert!(child.wait().unwrap().success());
        assert!(waiting.wait().unwrap().success());
        assert_eq!(e.verified(), 2);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_backup_onto_a_full_disk_leaves_the_archive_and_gives_the_room_back() {
    with_engine(|e| {
        let (small, small_path) =
            e.volume("small", &["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=8m"]);
        let container = e.application("app", &["-v", "/data", "-v", &format!("{small}:/small")]);
        let data = e.source(&container, "/data");
        fs::write(small_path.join("backup.tar"), [0; 1024]).unwrap();
        let to_small =
            |args: &[&str]| e.snapshotter(&container, &[args, &["--archive", "/small/backup.tar"]].concat());
        e.configure("full", &["/data"]);
        Tree::at(&data).file("a", pattern(1 << 20)).done();
        to_small(&["backup"]).ok();
        let old = fs::read(small_path.join("backup.tar")).unwrap();
        Tree::at(&data).file("b", pattern(10 << 20)).done();
        to_small(&["backup"]).exits(1).says(&["/small/backup.tar", "No space left"]);
        assert_eq!(fs::read(small_path.join("backup.tar")).unwrap(), old);
        fs::remove_file(data.join("b")).unwrap();
        to_small(&["backup"]).ok();
        to_small(&["verify"]).ok();
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_restore_without_room_for_two_copies_says_so_and_works_in_place() {
    with_engine(|e| {
        let (small, path) =
            e.volume("small", &["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=8m"]);
        let container = e.application("app", &["-v", &format!("{small}:/data")]);
        Tree::at(&path).file("a", pattern(5 << 20)).done();
        e.configure("full", &["/data"]);
        e.backup(&container);
        let picture = Picture::of(&path);
        fs::write(path.join("a"), pattern(4 << 20)).unwrap();
        let changed = Picture::of(&path);
        e.snapshotter(&container, &["restore"]).exits(1).says(&["/data", "--in-place"]);
        changed.assert_same(&path);
        e.snapshotter(&container, &["restore", "--in-place"]).ok();
        picture.assert_same(&path);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn an_archive_that_was_missing_on_the_host_is_a_directory_and_that_is_said() {
    with_engine(|e| {
        let container = e.application("app", &["-v", "/data"]);
        e.configure("missing", &["/data"]);
        let missing = mount(&e.path("missing.tar"), "/missing.tar");
        let options = [&HARDENED[..], &["--rm", "--volumes-from", &container, "-v", &missing]].concat();
        for command in ["backup", "restore", "list", "verify"] {
            let run = e.snapshotter_with(&options, &[command, "--archive", "/missing.tar"]);
            run.exits(1).says(&["/missing.tar", "directory", "docker"]);
        }
        assert!(e.path("missing.tar").is_dir());
    });
}
