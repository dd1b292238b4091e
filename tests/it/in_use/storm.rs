//! Everything changes all the time while backups run, for some seconds: `SNAPSHOTTER_STORM` says for how many.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Run, Sandbox, Tree, need, sandboxed, tool};

const SECRET: &[u8] = b"nobody may read this";
/// No backup of so little takes so long, unless it waits for something.
const LONG: Duration = Duration::from_mins(3);

/// Between two changes.
const PAUSE: Duration = Duration::from_micros(500);

/// Sizes below and above what is read at once, and what is read in one part.
const SIZES: [usize; 3] = [3_000, 200_000, 1_500_000];

type Turn = fn(&Path, usize);

/// Each is called again and again, with another number, by a thread of its own.
const TURNS: [Turn; 7] =
    [replace, write_over, grow_and_shrink, change_kind, change_directories, change_attributes, link];

/// A new file is renamed over each: its bytes and its size are the number's.
fn replace(volume: &Path, turn: usize) {
    for (number, size) in SIZES.into_iter().enumerate() {
        let byte = u8::try_from(turn % 100).unwrap();
        let new = volume.with_file_name("new");
        fs::write(&new, vec![byte; size + usize::from(byte)]).unwrap();
        fs::rename(new, volume.join(format!("replaced/{number}"))).unwrap();
    }
}

/// Each is overwritten as a whole.
fn write_over(volume: &Path, turn: usize) {
    for (number, size) in SIZES.into_iter().enumerate() {
        let file = File::options().write(true).open(volume.join(format!("over/{number}"))).unwrap();
        file.write_all_at(&vec![u8::try_from(turn % 100).unwrap(); size], 0).unwrap();
    }
}

fn grow_and_shrink(volume: &Path, turn: usize) {
    for (number, size) in SIZES.into_iter().enumerate() {
        let file = File::options().append(true).open(volume.join(format!("grows/{number}"))).unwrap();
        match turn % 4 {
            0 => file.set_len(0).unwrap(),
            3 => file.set_len(size as u64 / 5).unwrap(),
            _ => (&file).write_all(&vec![b'g'; size / 3]).unwrap(),
        }
    }
}

/// Bytes that repeat nowhere, made once.
fn content_of_size(number: usize) -> &'static [u8] {
    static LONGEST: OnceLock<Vec<u8>> = OnceLock::new();
    &LONGEST.get_or_init(|| pattern(SIZES[SIZES.len() - 1]))[..SIZES[number]]
}

fn change_kind(volume: &Path, turn: usize) {
    for number in 0..3 {
        let name = format!("kind/{number}");
        let path = volume.join(&name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path).unwrap(),
            Ok(_) => fs::remove_file(&path).unwrap(),
            Err(_) => {}
        }
        let tree = Tree::at(volume);
        match (turn + number) % 8 {
            0 | 4 => drop(tree.file(&name, content_of_size(number)).done()),
            1 => symlink("../../outside/secret", path).unwrap(),
            2 => drop(tree.fifo(&name).done()),
            3 => drop(tree.socket(&name).done()),
            5 => drop(tree.file(format!("{name}/in"), b"in").done()),
            6 => drop(tree.char_device(&name, 1, 3).done()),
            _ => {}
        }
    }
}

/// A directory is exchanged for a link that leads out, and one moves with a file that moves too.
fn change_directories(volume: &Path, turn: usize) {
    let (name, aside) = (volume.join("directory"), volume.join("aside"));
    let (here, there) = (volume.join("one/moves"), volume.join("other/moves"));
    if turn.is_multiple_of(2) {
        fs::rename(&name, &aside).unwrap();
        symlink("../outside", &name).unwrap();
        fs::rename(here, there).unwrap();
    } else {
        fs::remove_file(&name).unwrap();
        fs::rename(&aside, &name).unwrap();
        fs::rename(there, here).unwrap();
    }
}

fn change_attributes(volume: &Path, turn: usize) {
    let file = volume.join("attributes");
    match turn % 3 {
        0 => xattr::set(&file, "user.x", b"short").unwrap(),
        1 => xattr::set(&file, "user.x", &[b'l'; 3000]).unwrap(),
        _ => xattr::remove(&file, "user.x").unwrap(),
    }
    Tree::at(volume).at_entry("attributes").owner(5, u32::try_from(turn % 2).unwrap()).done();
}

/// Files with two names come and go; each holds its number.
fn link(volume: &Path, turn: usize) {
    let name = |turn: usize, which: &str| volume.join(format!("links/{} {which}", turn % 50));
    for which in ["a", "z"] {
        let _ = fs::remove_file(name(turn, which));
    }
    fs::write(name(turn, "a"), format!("{}", turn % 50)).unwrap();
    fs::hard_link(name(turn, "a"), name(turn, "z")).unwrap();
}

fn make(s: &Sandbox) -> PathBuf {
    Tree::at(s.path("outside")).file("secret", SECRET).done();
    let mut tree = Tree::at(s.path("vol")).dir("kind").dir("links").dir("other").dir("replaced");
    tree = tree.file("directory/in", b"in").file("one/moves", b"moves").file("attributes", b"a");
    for (number, size) in SIZES.into_iter().enumerate() {
        tree = tree.file(format!("over/{number}"), vec![0; size]).file(format!("grows/{number}"), b"");
        tree = tree
            .file(format!("still/{number}"), pattern(size))
            .hard_link(format!("still/{number}, too"), format!("still/{number}"));
    }
    let volume = tree.xattr("user.x", b"x").sparse("still/sparse", 1 << 20, &[(1 << 19, b"x")]).done();
    replace(&volume, 0);
    xattr::set(volume.join("attributes"), "user.x", b"short").unwrap();
    volume
}

/// Lets the others end, after a panic as well.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn whatever_happens_in_a_volume_what_is_stored_was_there_or_is_warned_of() {
    if !["tar", "bsdtar", "python3"].into_iter().all(need) {
        return;
    }
    let seconds = std::env::var("SNAPSHOTTER_STORM").map_or(5, |seconds| seconds.parse().unwrap());
    sandboxed(|s| {
        std::env::set_current_dir(s.tmpfs("", "size=400m")).unwrap();
        let volume = make(s);
        s.configure("web", &[&volume]);
        let still = Picture::of(volume.join("still"));
        let (more, start) = (AtomicBool::new(true), Instant::now());
        let (mut backups, mut said) = (0, BTreeMap::<String, usize>::new());
        thread::scope(|scope| {
            let stop = Stop(&more);
            let threads = TURNS.map(|turn| {
                let (more, volume) = (&more, &volume);
                scope.spawn(move || {
                    let turns = (0..).take_while(|_| more.load(Ordering::Relaxed));
                    let turn = |number| {
                        turn(volume, number);
                        // The backup is to get on, too.
                        thread::sleep(PAUSE);
                    };
                    turns.map(turn).count()
                })
            });
            while start.elapsed() < Duration::from_secs(seconds) || backups < 3 {
                assert!(threads.iter().all(|thread| !thread.is_finished()), "nothing changes any more");
                for reason in back_up(s, &volume, &still, backups % 4 == 0) {
                    *said.entry(reason).or_default() += 1;
                }
                backups += 1;
            }
            drop(stop);
            assert!(threads.into_iter().all(|thread| thread.join().unwrap() > 10));
        });
        let _ = writeln!(std::io::stdout(), "{backups} backups of a volume in use: {said:?}");
        assert!(said.len() > 1, "{said:?}");
    });
}

/// One backup and what it stored, which others read `too`; gives what it warned of.
fn back_up(s: &Sandbox, volume: &Path, still: &Picture, too: bool) -> Vec<String> {
    s.init();
    let run = s.run(["backup", "--json"]).ok();
    assert!(run.took < LONG, "{run}");
    assert_eq!(s.verify()["ok"], true);
    if too {
        tool("tar", ["-tf", "backup.tar"]).silent();
        tool("bsdtar", ["-tf", "backup.tar"]).silent();
        tool("python3", ["-c", "import tarfile; tarfile.open('backup.tar').getnames()"]).silent();
    }
    // What a member holds begins with a block.
    let archive = fs::read(s.archive()).unwrap();
    assert!(!archive.chunks(512).any(|block| block.starts_with(SECRET)), "a link was followed");
    s.run(["restore", "--into", "into"]).ok();
    let into = s.path("into").join(volume.strip_prefix("/").unwrap());
    still.assert_same(into.join("still"));
    check(&into, &Warned::of(&run, volume));
    let warnings = run.json()["warnings"].as_array().unwrap().clone();
    warnings.iter().map(|warning| warning["reason"].as_str().unwrap().to_owned()).collect()
}

/// The paths in the volume that a warning names.
struct Warned(Vec<String>);

impl Warned {
    fn of(run: &Run, volume: &Path) -> Warned {
        let warnings = run.json()["warnings"].as_array().unwrap().clone();
        let path = |warning: &serde_json::Value| {
            let path = warning["path"].as_str().unwrap().strip_prefix(text(volume)).unwrap();
            path.trim_start_matches('/').to_owned()
        };
        Warned(warnings.iter().map(path).collect())
    }

    fn names(&self, path: &str) -> bool {
        self.0.iter().any(|one| one == path)
    }
}

fn check(into: &Path, warned: &Warned) {
    for (number, size) in SIZES.into_iter().enumerate() {
        let content = fs::read(into.join(format!("replaced/{number}"))).unwrap();
        let byte = content[0];
        assert!(content == vec![byte; size + usize::from(byte)], "a mixture in replaced/{number}");
        for (name, one_of) in [("over", None), ("grows", Some(b'g'))] {
            let name = format!("{name}/{number}");
            let content = fs::read(into.join(&name)).unwrap();
            let byte = one_of.or(content.first().copied()).unwrap_or_default();
            assert!(content == vec![byte; content.len()] || warned.names(&name), "a mixture in {name}");
        }
        let kind = into.join(format!("kind/{number}"));
        if kind.is_file() {
            let name = format!("kind/{number}");
            // It was written from its start on.
            let begins = content_of_size(number).starts_with(&fs::read(&kind).unwrap());
            assert!(begins || warned.names(&name), "{name} was never like that");
        }
    }
    let value = xattr::get(into.join("attributes"), "user.x").unwrap();
    assert!(value.as_ref().is_none_or(|value| value == b"short" || *value == [b'l'; 3000]), "{value:?}");
    for entry in fs::read_dir(into.join("links")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let content = fs::read_to_string(into.join("links").join(&name)).unwrap();
        // It was empty at first.
        let right = content.is_empty() || name.split(' ').next() == Some(content.as_str());
        assert!(right || warned.names(&format!("links/{name}")), "{name} holds {content:?}");
        assert!(fs::metadata(into.join("links").join(&name)).unwrap().nlink() <= 2);
    }
}
