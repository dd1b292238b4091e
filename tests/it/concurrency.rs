//! Two at once, and more: who shares an archive or a volume waits, and nobody ever sees a part of what another does.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Run, Sandbox, Tree, need, sandboxed, tool};

const APPENDERS: usize = 8;
const ROUNDS: usize = 3;

/// Runs the program with each of these arguments, all at once.
fn at_once(s: &Sandbox, all: &[&[&str]]) -> Vec<Run> {
    thread::scope(|scope| {
        let started: Vec<_> = all.iter().map(|args| scope.spawn(move || s.run(*args))).collect();
        started.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

fn ids(found: &serde_json::Value) -> Vec<String> {
    let snapshots = found["snapshots"].as_array().unwrap();
    snapshots.iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

/// Grows in each round.
fn volume_of(s: &Sandbox, number: usize, round: usize) -> PathBuf {
    let root = s.path(format!("vol/of-{number}"));
    let tree = Tree::at(root).file(format!("{round}"), pattern(20_000 * (number + 1)));
    tree.file(format!("dir/{round} too"), format!("{number}")).mtime(5, 6).done()
}

/// As many backups at once as there are volumes; their IDs, and what they stored.
fn append_at_once(s: &Sandbox, round: usize) -> Vec<(String, [String; 4], Picture)> {
    let volumes: Vec<_> = (0..APPENDERS).map(|number| volume_of(s, number, round)).collect();
    let which = |(number, volume): (usize, &PathBuf)| {
        ["--prefix", &format!("web/{number}"), "--volume", text(volume)].map(str::to_owned)
    };
    let which: Vec<[String; 4]> = volumes.iter().enumerate().map(which).collect();
    let args = which.iter().map(|which| {
        ["backup", "--json", "--strict"].into_iter().chain(which.iter().map(String::as_str)).collect()
    });
    let args: Vec<Vec<&str>> = args.collect();
    let runs = at_once(s, &args.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let ids = runs.into_iter().map(|run| run.ok().json()["id"].as_str().unwrap().to_owned());
    let ids: Vec<String> = ids.collect();
    ids.into_iter()
        .zip(which)
        .zip(&volumes)
        .map(|((id, which), volume)| (id, which, Picture::of(volume)))
        .collect()
}

/// Looks at the archive as long as `more`, and says how often. What is there is sound, and stays.
fn read_on(more: &AtomicBool, names: impl Fn() -> Vec<String>) -> usize {
    let (mut seen, mut looks) = (Vec::new(), 0);
    while more.load(Ordering::Relaxed) {
        let now = names();
        assert!(now.starts_with(&seen), "{seen:?}, and then {now:?}");
        seen = now;
        looks += 1;
    }
    looks
}

/// What another program lists, which ends with a whole snapshot.
fn listed_by(run: Run) -> Vec<String> {
    let listed = run.silent().stdout();
    let names: Vec<String> = listed.lines().filter(|name| !name.is_empty()).map(str::to_owned).collect();
    assert!(names.last().is_none_or(|last| last.ends_with("/snapshot.json")), "{names:?}");
    names
}

#[test]
fn eight_append_at_once_and_readers_see_whole_snapshots_only() {
    if !need("tar") || !need("python3") {
        return;
    }
    let python = "import tarfile\nprint('\\n'.join(tarfile.open('backup.tar').getnames()))";
    sandboxed(|s| {
        s.init();
        fs::write(s.config(), "prefix: web\n").unwrap();
        let more = AtomicBool::new(true);
        let mut pictures = Vec::new();
        thread::scope(|scope| {
            let readers = [
                scope.spawn(|| read_on(&more, || ids(&s.list()))),
                scope.spawn(|| {
                    read_on(&more, || {
                        let found = s.verify();
                        assert_eq!(found["ok"], true, "{found}");
                        ids(&found)
                    })
                }),
                scope.spawn(|| read_on(&more, || listed_by(tool("tar", ["-tf", "backup.tar"])))),
                scope.spawn(|| read_on(&more, || listed_by(tool("python3", ["-c", python])))),
            ];
            let stop = Stop(&more);
            for round in 0..ROUNDS {
                pictures.extend(append_at_once(s, round));
            }
            drop(stop);
            assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 1));
        });
        let all: HashSet<String> = ids(&s.verify()).into_iter().collect();
        assert_eq!(all.len(), APPENDERS * ROUNDS);
        for (id, which, picture) in pictures {
            assert!(all.contains(&id));
            let restore = ["restore", "--snapshot", &id].map(str::to_owned);
            s.run([&restore[..], &which].concat()).ok();
            picture.assert_same(&which[3]);
        }
    });
}

/// Lets readers end, after a panic as well.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn an_archive_is_one_by_whichever_path_it_is_reached() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("large", pattern(3 << 20)).done();
        s.configure("web", &[&volume]);
        let [hard, soft, bound] = ["hard.tar", "soft.tar", "bound.tar"].map(|name| s.path(name));
        fs::hard_link(s.archive(), &hard).unwrap();
        std::os::unix::fs::symlink("backup.tar", &soft).unwrap();
        fs::write(&bound, b"").unwrap();
        s.bind(&s.archive(), &bound);
        let archive = s.archive();
        let paths = [&archive, &hard, &soft, &bound].map(|path| text(path));
        let args = paths.map(|path| ["backup", "--strict", "--archive", path]);
        for round in 1..=3 {
            for run in at_once(s, &args.each_ref().map(<[_; 4]>::as_slice)) {
                run.ok();
            }
            let verified = s.verify();
            assert_eq!((ids(&verified).len(), &verified["ok"]), (4 * round, &true.into()), "{verified}");
        }
    });
}

/// Two snapshots of two volumes, of which one is what is there.
struct Two {
    volumes: [PathBuf; 2],
    ids: [String; 2],
    pictures: [[Picture; 2]; 2],
    archive: Vec<u8>,
}

fn make(volume: &Path, version: usize) {
    let data = pattern(700_000);
    let mut tree = Tree::at(volume).file("same name", &data[version..600_000]).file("dir/large", &data);
    for n in 0..60 {
        tree = tree.file(format!("{n}, of {version}"), &data[n..200 * n]);
        tree = tree.file(format!("dir/{n}"), format!("{version}"));
    }
    tree.at_entry("").mtime(5, 6 + u32::try_from(version).unwrap()).done();
}

impl Two {
    fn new(s: &Sandbox) -> Two {
        s.tmpfs("", "size=200m"); // A sync of a disk may take a while.
        s.init();
        let volumes = ["vol/a", "vol/b"].map(|name| s.path(name));
        s.configure("web", &volumes.each_ref().map(PathBuf::as_path));
        let taken = [0, 1].map(|version| {
            for volume in &volumes {
                let _ = fs::remove_dir_all(volume);
                make(volume, version);
            }
            (s.backup()["id"].as_str().unwrap().to_owned(), volumes.each_ref().map(Picture::of))
        });
        let [(one, old), (two, new)] = taken;
        let archive = fs::read(s.archive()).unwrap();
        Two { volumes, ids: [one, two], pictures: [old, new], archive }
    }

    /// Which of the snapshots is there, whole, with nothing of a restore's left.
    fn version_below(&self, root: &Path) -> usize {
        self.version_of(&self.found_below(root))
    }

    fn found_below(&self, root: &Path) -> [Picture; 2] {
        self.volumes.each_ref().map(|volume| Picture::of(root.join(volume.strip_prefix("/").unwrap())))
    }

    fn version_of(&self, found: &[Picture; 2]) -> usize {
        let differences = |version: usize| -> Vec<String> {
            let pairs = self.pictures[version].iter().zip(found);
            pairs.flat_map(|(picture, found)| picture.differences(found)).collect()
        };
        let all = [0, 1].map(differences);
        let version = all.iter().position(Vec::is_empty);
        version.unwrap_or_else(|| panic!("a mixture: {all:?}"))
    }

    fn version(&self) -> usize {
        self.version_below(Path::new("/"))
    }

    fn put_back(&self, s: &Sandbox, version: usize) {
        fs::write(s.archive(), &self.archive).unwrap();
        s.run(["restore", "--snapshot", &self.ids[version]]).ok();
        assert_eq!(self.version(), version);
    }
}

const WAYS: [&[&str]; 2] = [&[], &["--in-place"]];

#[test]
fn of_two_restores_at_once_each_waits_for_the_other() {
    sandboxed(|s| {
        let two = Two::new(s);
        for (first, second) in [(0, 0), (0, 1), (1, 1)] {
            for timeout in ["600", "0"] {
                let args = |version: usize, way: usize| {
                    let id = two.ids[version].as_str();
                    [&["restore", "--strict", "--lock-timeout", timeout, "--snapshot", id], WAYS[way]]
                        .concat()
                };
                two.put_back(s, 0);
                let runs = at_once(s, &[&args(0, first), &args(1, second)]);
                let done: Vec<_> = runs.iter().map(|run| run.code() == Some(0)).collect();
                let version = two.version();
                assert!(done[version] || done == [false, false] && version == 0, "{}\n{}", runs[0], runs[1]);
                for run in runs.into_iter().filter(|run| run.code() != Some(0)) {
                    assert_eq!(timeout, "0", "{run}");
                    run.exits(1).says(&["another run still uses it", "--lock-timeout"]);
                }
            }
        }
    });
}

#[test]
fn two_restores_into_one_directory_wait_for_each_other() {
    sandboxed(|s| {
        let two = Two::new(s);
        for _ in 0..3 {
            let args = [0, 1].map(|version| ["restore", "--into", "into", "--snapshot", &two.ids[version]]);
            let runs = at_once(s, &[&args[0], &args[1]]);
            for run in runs {
                run.ok();
            }
            two.version_below(&s.path("into"));
        }
    });
}

#[test]
fn restores_of_the_same_volumes_in_another_order_do_not_wait_for_ever() {
    sandboxed(|s| {
        let two = Two::new(s);
        let [a, b] = two.volumes.each_ref().map(|volume| text(volume));
        let orders = [[a, b], [b, a]];
        let args = [0, 1].map(|n| {
            let [first, second] = orders[n];
            [
                "restore",
                "--lock-timeout",
                "60",
                "--snapshot",
                &two.ids[n],
                "--volume",
                first,
                "--volume",
                second,
            ]
        });
        for _ in 0..6 {
            let runs = at_once(s, &[&args[0], &args[1]]);
            for run in runs {
                run.ok();
            }
            two.version();
        }
    });
}

#[test]
fn a_backup_and_a_restore_at_once_store_and_leave_a_whole_volume() {
    sandboxed(|s| {
        let two = Two::new(s);
        for (round, way) in WAYS.into_iter().cycle().take(10).enumerate() {
            two.put_back(s, 0);
            let restore = [&["restore", "--strict", "--snapshot", &two.ids[1]], way].concat();
            let delay = Duration::from_millis(2 * round as u64);
            thread::scope(|scope| {
                let (first, second): (&[&str], &[&str]) = if round % 4 < 2 {
                    (&["backup", "--strict"], &restore)
                } else {
                    (&restore, &["backup", "--strict"])
                };
                let first = scope.spawn(move || s.run(first));
                thread::sleep(delay);
                s.run(second).ok();
                first.join().unwrap().ok();
            });
            assert_eq!(two.version(), 1);
            s.run(["restore", "--into", "into"]).ok();
            two.version_below(&s.path("into"));
        }
    });
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// Starts the program, and stops it as soon as `reached`; again, where it has ended before.
fn stopped_midway(s: &Sandbox, args: &[&str], prepare: impl Fn(), reached: impl Fn() -> bool) -> Child {
    for _ in 0..100 {
        prepare();
        let mut child = s.start(args);
        while child.try_wait().unwrap().is_none() {
            if reached() {
                signal(&child, Signal::SIGSTOP);
                return child;
            }
        }
    }
    panic!("it is never seen midway");
}

/// Kills `holder` while three others wait for it, and gives what became of them.
fn killed_while_others_wait(s: &Sandbox, mut holder: Child, others: [&[&str]; 3]) -> Vec<Run> {
    thread::scope(|scope| {
        let waiting = scope.spawn(|| at_once(s, &others));
        thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished());
        holder.kill().unwrap();
        assert_eq!(holder.wait().unwrap().code(), None);
        waiting.join().unwrap()
    })
}

#[test]
fn when_the_holder_of_a_lock_is_killed_those_who_wait_go_on() {
    sandboxed(|s| {
        let two = Two::new(s);
        let length = || fs::metadata(s.archive()).unwrap().len();
        let before = length();
        let put_back = || fs::write(s.archive(), &two.archive).unwrap();
        let holder = stopped_midway(s, &["backup"], put_back, || length() > before);
        let runs = killed_while_others_wait(s, holder, [&["backup"], &["backup"], &["verify"]]);
        for run in runs {
            run.ok().says(&["waiting for another run", text(&s.archive())]);
        }
        assert_eq!(ids(&s.verify()).len(), 4);

        let restore = ["restore", "--snapshot", two.ids[1].as_str()];
        let staged = || two.volumes[1].join(".snapshotter-staging/new").exists();
        let holder = stopped_midway(s, &restore, || two.put_back(s, 0), staged);
        let runs = killed_while_others_wait(s, holder, [&restore, &["backup"], &restore]);
        for run in runs {
            run.ok().says(&["waiting for another run"]);
        }
        assert_eq!(two.version(), 1);
        s.run(["restore", "--into", "into"]).ok();
        // The root's time is that of the staging directory that was left, until the next restore.
        let mut stored = two.found_below(&s.path("into"));
        for (stored, picture) in stored.iter_mut().zip(&two.pictures[0]) {
            let (old, new) = (picture.entry("").mtime, stored.entry("").mtime);
            stored.entries.get_mut(b"".as_slice()).unwrap().mtime = if new.0 > 100 { old } else { new };
        }
        two.version_of(&stored);
    });
}

/// The first and the last byte of a file.
fn ends(file: &Path) -> [u8; 2] {
    let file = File::open(file).unwrap();
    let last = file.metadata().unwrap().len() - 1;
    [0, last].map(|at| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        byte[0]
    })
}

#[test]
fn a_file_that_is_a_volume_is_not_stored_while_it_is_overwritten_nor_the_other_way_round() {
    sandboxed(|s| {
        s.tmpfs("", "size=400m"); // A sync of a disk may take a while.
        s.init();
        let file = s.path("file");
        s.configure("web", &[&file]);
        let overwrite = |byte: u8| fs::write(&file, vec![byte; 24 << 20]).unwrap();
        overwrite(b'1');
        s.backup();
        let good = fs::read(s.archive()).unwrap();
        let refused = |run: Run| run.exits(1).says(&[text(&file), "another run still uses it"]);

        let restore = stopped_midway(s, &["restore"], || overwrite(b'0'), || ends(&file) == *b"10");
        let locked = "another program keeps it locked";
        s.run(["backup", "--lock-timeout", "0", "--strict"]).exits(1).says(&[text(&file), locked]);
        s.run(["backup", "--lock-timeout", "0", "--prefix", "mixture"]).ok().says(&[text(&file), locked]);
        refused(s.run(["restore", "--lock-timeout", "0"]));
        signal(&restore, Signal::SIGCONT);
        assert!(restore.wait_with_output().unwrap().status.success());
        assert!(fs::read(&file).unwrap().iter().all(|byte| *byte == b'1'));

        // A backup keeps its archive for itself, so the restore is from another one.
        fs::write(s.path("copy.tar"), &good).unwrap();
        let put_back = || fs::write(s.archive(), &good).unwrap();
        let grown = || fs::metadata(s.archive()).unwrap().len() > good.len() as u64 + (1 << 20);
        overwrite(b'2');
        let backup = stopped_midway(s, &["backup"], put_back, grown);
        refused(s.run(["restore", "--lock-timeout", "0", "--archive", "copy.tar"]));
        signal(&backup, Signal::SIGCONT);
        assert!(backup.wait_with_output().unwrap().status.success());
        assert!(fs::read(&file).unwrap().iter().all(|byte| *byte == b'2'));
        assert_eq!(s.verify()["ok"], true);
    });
}

#[test]
fn what_a_killed_restore_has_left_beside_a_file_is_removed_and_what_a_running_one_has_is_not() {
    sandboxed(|s| {
        s.tmpfs("", "size=400m");
        s.init();
        let (file, volume) = (s.path("file"), Tree::at(s.path("vol")).done());
        s.configure("web", &[&file, &volume]);
        fs::write(&file, vec![b'1'; 24 << 20]).unwrap();
        s.backup();
        let below = |path: &Path| s.path("into").join(path.strip_prefix("/").unwrap());
        let place = below(&file);
        let folder = place.parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        let users = folder.join(".snapshotter-staging.file.0");
        fs::write(&users, "the user's").unwrap();
        let length = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
        let beside = || {
            let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            names.filter(|path| text(path).contains(".file.") && *path != users).collect::<Vec<_>>()
        };
        let put_back = || {
            for path in beside() {
                fs::remove_file(path).unwrap();
            }
            fs::write(&place, "former").unwrap();
            // So that it takes a while until the file's former content is removed.
            (0..3000).fold(Tree::at(below(&volume)), |tree, n| tree.file(format!("{n}"), "")).done();
        };
        let written = || beside().iter().any(|path| length(path) > 1 << 20);
        let exchanged = || beside().iter().any(|path| length(path) == 6);
        let restore = ["restore", "--into", "into"];
        let said = "an interrupted restore has left beside";
        for reached in [&written as &dyn Fn() -> bool, &exchanged] {
            let midway = || loop {
                let mut child = stopped_midway(s, &restore, put_back, reached);
                thread::sleep(Duration::from_millis(20));
                if reached() {
                    return child;
                }
                child.kill().unwrap();
                child.wait().unwrap();
            };
            let holder = midway();
            let its = beside();
            // Which of the two is the last to put its file there is as it comes.
            let other = s.run(["restore", "--into", "into", "--path", text(&file)]).ok();
            assert!(!other.stderr().contains(said) && beside() == its, "{other}");
            signal(&holder, Signal::SIGCONT);
            assert!(holder.wait_with_output().unwrap().status.success());
            assert!(beside().is_empty() && length(&place) == 24 << 20);

            let mut holder = midway();
            holder.kill().unwrap();
            holder.wait().unwrap();
            assert_eq!(beside().len(), 1);
            s.run(restore).ok().says(&[said]);
            assert!(beside().is_empty() && length(&place) == 24 << 20);
        }
        assert!(users.exists());
    });
}
