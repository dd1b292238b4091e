//! Each change at each moment: a backup is stopped between two of its calls, a file is changed, and the backup goes on.
//!
//! One run is traced to learn the calls (see `faults.rs`); it and the others have one processor, and with that one thread.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::mount::MsFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::confine::attach;
use crate::support::run::HANGS;
use crate::support::sandbox::text;
use crate::support::{Run, Sandbox, Tree, need, sandboxed, tool};

const VANISHED: &str = "it vanished before it was read: it is left out";
const REPLACED: &str = "something else took its place while it was read: it is left out";
const EMPTIED: &str = "it vanished while it was read: what was in it is left out";
const GREW: &str = "it grew while it was read: what came behind its former size was left out";
const SHRUNK: &str = "it became shorter while it was read: what is missing was stored as zeros";
const CHANGED: &str = "it changed while it was read: what was stored may be a mixture";

const SECRET: &str = "nobody may read this";

/// After which call on the file `victim` the backup is stopped.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// Its directory was listed.
    Listed,
    Opened,
    /// Its type, size and times are known.
    Looked,
    /// Its extended attributes were listed.
    Attributes,
    /// The first part of its content was read.
    Half,
}

impl Moment {
    /// The call after which it is, and the number of that call among those of its name.
    fn call(self, trace: &str) -> (&'static str, usize) {
        let lines: Vec<_> = trace.lines().collect();
        let named = |line: &&str, call: &str| {
            let (_process, rest) = line.split_once(' ').unwrap();
            rest.trim_start().split('(').next() == Some(call)
        };
        let opened = lines.iter().position(|line| line.contains("openat(") && line.contains("\"victim\""));
        let opened = opened.unwrap_or_else(|| panic!("it is never opened\n{trace}"));
        let behind = |call| opened + lines[opened..].iter().position(|line| named(line, call)).unwrap();
        let (call, at) = match self {
            Moment::Listed => {
                ("getdents64", lines[..opened].iter().rposition(|line| named(line, "getdents64")).unwrap())
            }
            Moment::Opened => ("openat", opened),
            Moment::Looked => ("statx", behind("statx")),
            Moment::Attributes => ("flistxattr", behind("flistxattr")),
            Moment::Half => ("pread64", behind("pread64")),
        };
        (call, lines[..=at].iter().filter(|line| named(line, call)).count())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Nothing,
    Removed,
    /// Another file is renamed over it.
    Other,
    Grown,
    Shrunk,
    Rewritten,
    Symlink,
    Directory,
    Fifo,
    Socket,
    Device,
    AttributeRemoved,
    AttributeLonger,
    /// What has several names is removed, and something else gets its inode, and several names.
    InodeUsedAgain,
}

use Change::{
    AttributeLonger, AttributeRemoved, Device, Directory, Fifo, Grown, InodeUsedAgain, Nothing, Other,
    Removed, Rewritten, Shrunk, Socket, Symlink,
};
use Moment::{Attributes, Half, Listed, Looked, Opened};

const ALL_KINDS: [Change; 5] = [Symlink, Directory, Fifo, Socket, Device];

impl Change {
    fn make(self, victim: &Path) {
        let clear = || {
            if victim.is_symlink() || !victim.is_dir() {
                fs::remove_file(victim).unwrap();
            } else {
                fs::remove_dir_all(victim).unwrap();
            }
            Tree::at(victim.parent().unwrap())
        };
        let open = || OpenOptions::new().append(true).open(victim).unwrap();
        match self {
            Nothing => {}
            Removed => drop(clear()),
            Other => {
                let new = victim.with_extension("new");
                fs::write(&new, b"another").unwrap();
                fs::rename(new, victim).unwrap();
            }
            Grown => open().write_all(&[b'g'; 2000]).unwrap(),
            Shrunk => open().set_len(1000).unwrap(),
            Rewritten => {
                let length = fs::metadata(victim).unwrap().len();
                // It is not cut before.
                let mut file = OpenOptions::new().write(true).open(victim).unwrap();
                file.write_all(&vec![b'b'; usize::try_from(length).unwrap()]).unwrap();
            }
            Symlink => {
                drop(clear());
                symlink("../outside", victim).unwrap();
            }
            Directory => drop(clear().file("victim/in", b"in").done()),
            Fifo => drop(clear().fifo("victim").done()),
            Socket => drop(clear().socket("victim").done()),
            Device => drop(clear().char_device("victim", 1, 3).done()),
            InodeUsedAgain => use_inode_again(victim.parent().unwrap(), victim),
            AttributeRemoved => xattr::remove(victim, "user.x").unwrap(),
            AttributeLonger => xattr::set(victim, "user.x", &[b'y'; 3000]).unwrap(),
        }
    }
}

fn use_inode_again(volume: &Path, directory: &Path) {
    let inode = fs::metadata(volume.join("a")).unwrap().ino();
    fs::remove_file(volume.join("a")).unwrap();
    fs::remove_file(volume.join("z")).unwrap();
    let mut new = (0..100).map(|n| directory.join(format!("{n}")));
    let same = new.find(|new| {
        fs::write(new, "another").unwrap();
        fs::metadata(new).unwrap().ino() == inode
    });
    fs::hard_link(same.expect("no inode is used again"), directory.join("too")).unwrap();
}

/// A volume with the file that changes, and one that does not. Beside it is what nobody may read.
struct Place<'s> {
    s: &'s Sandbox,
    make: &'s dyn Fn(Tree) -> Tree,
}

impl Place<'_> {
    fn victim(&self) -> PathBuf {
        self.s.path("vol/victim")
    }

    fn prepare(&self) {
        for name in ["vol", "outside", "into"] {
            let _ = fs::remove_dir_all(self.s.path(name));
        }
        Tree::at(self.s.path("outside")).file("in", SECRET).done();
        let volume = (self.make)(Tree::at(self.s.path("vol"))).file("zz", [b'z'; 500]).done();
        self.s.configure("web", &[&volume]);
        self.s.init();
    }

    fn strace(&self, more: &[&str]) -> Command {
        let mut command = Command::new("taskset");
        let log = self.s.path("trace");
        command.args(["-c", &a_processor(), "strace", "-f", "-qq", "-o", text(&log)]).args(more);
        command.arg(assert_cmd::cargo::cargo_bin!("snapshotter")).args(["backup", "--json"]);
        command
    }

    /// Changes the file at that moment of a backup, which is well; gives what it says of that.
    fn changed(&self, moment: Moment, change: Change) -> Stored {
        self.prepare();
        let calls = "trace=getdents64,openat,statx,flistxattr,pread64";
        self.s.run_as(self.strace(&["-e", calls])).ok();
        let (call, number) = moment.call(&fs::read_to_string(self.s.path("trace")).unwrap());
        self.prepare();
        let inject = format!("inject={call}:signal=SIGSTOP:when={number}");
        let child = self.s.start_as(self.strace(&["-e", &format!("trace={call}"), "-e", &inject]));
        let stopped = self.wait_until_stopped();
        change.make(&self.victim());
        kill(stopped, Signal::SIGCONT).unwrap();
        let run = ended(child);
        self.stored(&run.ok())
    }

    fn wait_until_stopped(&self) -> Pid {
        let start = Instant::now();
        loop {
            let log = fs::read_to_string(self.s.path("trace")).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains("--- stopped by SIGSTOP")) {
                return Pid::from_raw(line.split(' ').next().unwrap().parse().unwrap());
            }
            assert!(start.elapsed() < HANGS, "{log}");
            sleep(Duration::from_millis(1));
        }
    }

    /// What is in the archive, which is sound, whoever reads it.
    fn stored(&self, run: &Run) -> Stored {
        assert_eq!(self.s.verify()["ok"], true);
        let archive = fs::read(self.s.archive()).unwrap();
        assert!(!archive.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
        tool("tar", ["-tf", "backup.tar"]).silent();
        self.s.run(["restore", "--strict", "--into", "into"]).ok();
        let volume = self.s.path("into").join(self.s.path("vol").strip_prefix("/").unwrap());
        assert_eq!(fs::read(volume.join("zz")).unwrap(), [b'z'; 500], "what did not change");
        let warnings = run.json()["warnings"].as_array().unwrap().clone();
        let of_victim = warnings.iter().filter(|one| one["path"] == text(&self.victim()));
        let said = of_victim.map(|one| one["reason"].as_str().unwrap().to_owned()).collect();
        assert!(warnings.len() < 2, "{run}");
        Stored { victim: volume.join("victim"), said }
    }
}

fn ended(child: Child) -> Run {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (done, over) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if over.recv_timeout(HANGS).is_err() {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        let output = child.wait_with_output().unwrap();
        let _ = done.send(());
        Run::ended("a backup that was stopped and went on", output)
    })
}

/// What became of the file, in the archive and in words.
struct Stored {
    victim: PathBuf,
    said: Vec<String>,
}

impl Stored {
    #[track_caller]
    fn says(self, expected: Option<&str>) -> Self {
        assert_eq!(self.said, Vec::from_iter(expected));
        self
    }

    #[track_caller]
    fn holds(self, content: &[u8]) {
        assert!(fs::read(&self.victim).unwrap() == content, "something else is stored");
    }

    #[track_caller]
    fn left_out(self) {
        assert!(!self.victim.is_symlink() && !self.victim.exists());
    }
}

fn at_place(make: impl Fn(Tree) -> Tree + Sync, test: impl FnOnce(&Place) + Send) {
    at_place_on(|s| drop(s.tmpfs("", "size=100m")), make, test);
}

fn at_place_on(
    mount: impl FnOnce(&Sandbox) + Send,
    make: impl Fn(Tree) -> Tree + Sync,
    test: impl FnOnce(&Place) + Send,
) {
    if need("strace") && need("taskset") && need("tar") {
        sandboxed(|s| {
            mount(s);
            std::env::set_current_dir(s.root()).unwrap();
            test(&Place { s, make: &make });
        });
    }
}

/// A file of so many `a`, changed in every way before its content is read.
fn a_file_changes(size: usize) {
    let old = vec![b'a'; size];
    let new = vec![b'b'; size];
    let grown = [&old[..], &[b'g'; 2000]].concat();
    let cut = [&old[..1000], &vec![0; size - 1000]].concat();
    at_place(
        |tree| tree.file("victim", vec![b'a'; size]).xattr("user.x", b"y"),
        |place| {
            for change in ALL_KINDS {
                place.changed(Listed, change).says(Some(REPLACED)).left_out();
                place.changed(Opened, change).says(None).holds(&old);
            }
            place.changed(Looked, Symlink).says(None).holds(&old);
            for (change, found) in
                [(Grown, &grown[..]), (Shrunk, &old[..1000]), (Rewritten, &new), (Nothing, &old)]
            {
                place.changed(Listed, change).says(None).holds(found);
                place.changed(Opened, change).says(None).holds(found);
            }
            place.changed(Listed, Removed).says(Some(VANISHED)).left_out();
            place.changed(Listed, Other).says(None).holds(b"another");
            for moment in [Opened, Looked] {
                place.changed(moment, Removed).says(None).holds(&old);
                place.changed(moment, Other).says(None).holds(&old);
            }
            place.changed(Looked, Grown).says(Some(GREW)).holds(&old);
            // Of a large one the holes are asked for, and what is not there any more is one. A small one is read at once,
            // so that it is what it was at one moment.
            let (shrunk, rewritten) = if size > 1 << 20 { (CHANGED, Some(CHANGED)) } else { (SHRUNK, None) };
            place.changed(Looked, Shrunk).says(Some(shrunk)).holds(&cut);
            place.changed(Looked, Rewritten).says(rewritten).holds(&new);
            for (change, value) in [(AttributeRemoved, None), (AttributeLonger, Some(vec![b'y'; 3000]))] {
                let stored = place.changed(Attributes, change).says(None);
                assert_eq!(xattr::get(&stored.victim, "user.x").unwrap(), value);
            }
        },
    );
}

#[test]
fn a_small_file_that_changes_at_any_moment_is_what_it_was_once_or_a_warning_says_what_it_is() {
    a_file_changes(3000);
}

#[test]
fn a_large_file_that_changes_at_any_moment_is_what_it_was_once_or_a_warning_says_what_it_is() {
    const SIZE: usize = 2 << 20;
    a_file_changes(SIZE);
    let old = vec![b'a'; SIZE];
    at_place(
        |tree| tree.file("victim", vec![b'a'; SIZE]),
        |place| {
            place.changed(Half, Removed).says(None).holds(&old);
            place.changed(Half, Symlink).says(None).holds(&old);
            place.changed(Half, Grown).says(Some(GREW)).holds(&old);
            let read = |stored: Stored| {
                let content = fs::read(&stored.victim).unwrap();
                assert_eq!(content.len(), SIZE);
                content.iter().position(|byte| *byte != b'a').unwrap()
            };
            let at = read(place.changed(Half, Shrunk).says(Some(SHRUNK)));
            assert!((200_000..=256 << 10).contains(&at), "{at}");
            let at = read(place.changed(Half, Rewritten).says(Some(CHANGED)));
            assert!((200_000..=256 << 10).contains(&at), "{at}");
        },
    );
}

#[test]
fn a_sparse_file_that_changes_after_its_map_was_made_is_said_to() {
    let data = [b'a'; 8192];
    at_place(
        |tree| tree.sparse("victim", 1 << 20, &[(65_536, &data), (1 << 19, &data)]),
        |place| {
            let whole = fs::read(place.changed(Looked, Nothing).says(None).victim).unwrap();
            place.changed(Looked, Removed).says(None).holds(&whole);
            let cut = place.changed(Half, Shrunk).says(Some(SHRUNK));
            assert_eq!(fs::metadata(cut.victim).unwrap().len(), 1 << 20);
            place.changed(Half, Grown).says(Some(GREW)).holds(&whole);
            place.changed(Half, Rewritten).says(Some(CHANGED));
        },
    );
}

#[test]
fn a_directory_that_changes_at_any_moment_is_not_left_for_what_took_its_place() {
    at_place(
        |tree| tree.file("victim/in", b"a").file("victim/in too", b"b"),
        |place| {
            place.changed(Listed, Removed).says(Some(VANISHED)).left_out();
            for change in [Symlink, Fifo, Socket, Device] {
                place.changed(Listed, change).says(Some(REPLACED)).left_out();
            }
            for moment in [Opened, Looked] {
                for change in [Removed, Symlink] {
                    let stored = place.changed(moment, change).says(Some(EMPTIED));
                    assert_eq!(fs::read_dir(stored.victim).unwrap().count(), 0);
                }
            }
        },
    );
}

#[test]
fn a_link_and_a_fifo_that_change_at_any_moment_are_what_they_were_or_left_out() {
    at_place(
        |tree| tree.symlink("victim", "outside"),
        |place| {
            place.changed(Listed, Removed).says(Some(VANISHED)).left_out();
            place.changed(Listed, Directory).says(Some(REPLACED)).left_out();
            let stored = place.changed(Listed, Symlink).says(None);
            assert_eq!(fs::read_link(stored.victim).unwrap(), Path::new("../outside"));
            for change in [Removed, Symlink, Fifo] {
                let stored = place.changed(Opened, change).says(None);
                assert_eq!(fs::read_link(stored.victim).unwrap(), Path::new("outside"));
            }
        },
    );
    at_place(
        |tree| tree.fifo("victim"),
        |place| {
            place.changed(Listed, Removed).says(Some(VANISHED)).left_out();
            place.changed(Listed, Symlink).says(Some(REPLACED)).left_out();
            for change in [Removed, Symlink, Directory] {
                let stored = place.changed(Opened, change).says(None);
                assert!(!stored.victim.is_file() && !stored.victim.is_symlink() && stored.victim.exists());
            }
        },
    );
}

#[test]
fn a_file_that_becomes_a_device_that_may_not_be_opened_is_left_out() {
    let without_devices = |s: &Sandbox| {
        s.tmpfs("", "size=10m");
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NODEV;
        attach(None, s.root(), flags, "").unwrap();
    };
    at_place_on(
        without_devices,
        |tree| tree.file("victim", b"a"),
        |place| place.changed(Listed, Device).says(Some(REPLACED)).left_out(),
    );
}

#[test]
fn a_file_that_got_the_inode_of_another_is_no_link_to_it() {
    if !need("mkfs.ext4") {
        return;
    }
    at_place_on(
        |s| drop(s.filesystem("", "ext4", 64)),
        // It is closed when so many others have come after it.
        |tree| {
            let tree = tree.file("a", b"the first").hard_link("z", "a").dir("victim");
            (0..600).fold(tree, |tree, n| tree.file(format!("b{n}"), b"b"))
        },
        |place| {
            let volume = place.changed(Opened, InodeUsedAgain).victim.parent().unwrap().to_owned();
            assert_eq!(fs::read(volume.join("a")).unwrap(), b"the first");
            assert_eq!(fs::read(volume.join("victim/too")).unwrap(), b"another");
            let links = |name: &str| fs::metadata(volume.join(name)).unwrap().nlink();
            assert_eq!((links("a"), links("victim/too")), (1, 2));
        },
    );
}

/// The number of a processor that this process may use.
fn a_processor() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    allowed.trim().split(['-', ',']).next().unwrap().to_owned()
}
