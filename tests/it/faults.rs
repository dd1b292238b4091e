//! Every system call that a command makes fails once in every way that it can, and the command is killed at every one
//! that changes something: the archive and the volumes are then as they were, or new, or the message says what they
//! are, nothing is left open, and the next command knows what to do. What comes of which error is a table in
//! docs/reliability.md.
//!
//! One run is traced to learn the calls; each of them is struck in runs of its own, by its number among those of its
//! name and its thread. That these numbers are the same in each run, the runs have one processor, and with that no
//! workers: the same calls, all made by one thread. What becomes of an error in another thread is tried apart.
//!
//! `SNAPSHOTTER_FAULTS=all` strikes each call in every way, and writes the table. With another value each is struck in one
//! way, in turn, and without the variable every fifth of each name, and nothing is written.

mod errors;
mod limits;
mod table;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::bad_input::assert_refused;
use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::tracer::{Call, How, Strike, trace};
use crate::support::{Picture, Run, Sandbox, Tree, need, sandboxed, tool};
use errors::{fails_too, hows};
use table::Table;

const COMMANDS: [&[&str]; 3] = [&["backup"], &["restore"], &["restore", "--in-place"]];

/// The calls that change a file or make sure that it stays changed. To be killed at one that only looks is to be killed
/// at the next of these.
const CHANGES: [&str; 20] = [
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchownat",
    "fdatasync",
    "fremovexattr",
    "fsetxattr",
    "fsync",
    "ftruncate",
    "ioctl FICLONERANGE",
    "linkat",
    "mkdirat",
    "mknodat",
    "openat O_CREAT",
    "pwrite64",
    "renameat2",
    "symlinkat",
    "syncfs",
    "unlinkat",
    "utimensat",
];

/// An error after which not everything is as it was says so in one of these ways.
const TOLD: [&str; 8] = [
    "putting it back failed",
    "may or may not",
    "the snapshot was appended",
    "is in the archive, but",
    "was restored",
    "directories are restored",
    "is complete, but",
    "incomplete",
];

const NONE: [&str; 0] = [];

/// So many failures are enough to look at.
const FEW: usize = 5;

/// Which filesystem archive and volumes lie on.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// One in memory, since a sync of a disk may take a while.
    Tmpfs,
    /// One that clones.
    Xfs,
}

/// Makes the program run on one processor, or on all of this machine.
fn processors(one: bool) {
    let this = Pid::from_raw(0);
    let all = sched_getaffinity(Pid::from_raw(std::process::id().cast_signed())).unwrap();
    let mut set = all;
    if one {
        let first = (0..CpuSet::count()).find(|&number| all.is_set(number).unwrap()).unwrap();
        set = CpuSet::new();
        set.set(first).unwrap();
    }
    sched_setaffinity(this, &set).unwrap();
}

fn everything() -> bool {
    std::env::var("SNAPSHOTTER_FAULTS").is_ok_and(|which| which == "all")
}

/// One of `all` for the call with this number among those of its name, or nothing.
fn in_turn(number: usize, all: &[How]) -> Vec<How> {
    let is_due = std::env::var_os("SNAPSHOTTER_FAULTS").is_some() || number.is_multiple_of(5);
    if is_due { vec![all[number % all.len()]] } else { Vec::new() }
}

/// A directory and a file.
type Volumes = [Picture; 2];

fn volumes(root: &Path) -> Volumes {
    ["vol", "file"].map(|name| Picture::of(root.join(name)))
}

fn differences(one: &Volumes, other: &Volumes) -> Vec<String> {
    one.iter().zip(other).flat_map(|(one, other)| one.differences(other)).collect()
}

/// The volumes, and an archive with one snapshot of them.
struct Stored<'s> {
    s: &'s Sandbox,
    archive: Vec<u8>,
    archive_seen: Picture,
    good: Volumes,
}

impl<'s> Stored<'s> {
    fn new(s: &'s Sandbox, place: Place) -> Self {
        s.tmpfs("", if place == Place::Tmpfs { "size=64m" } else { "size=400m" });
        if place == Place::Xfs {
            s.filesystem("", "xfs", 320);
        }
        let tree = Tree::at(s.path("vol")).file("a", [b'a'; 700]).owner(3, 4).mode(0o4755);
        let tree = tree.xattr("trusted.x", b"x").file("d/b", [b'b'; 5000]).hard_link("d/hard", "a");
        let tree = tree.file("d/e/big", pattern((1 << 20) + 1000)).symlink("l", "a").fifo("f");
        let tree = tree.sparse("sparse", 1 << 20, &[(500_000, b"x")]).at_entry("d").mtime(7, 7);
        let volume = tree.at_entry("").xattr("trusted.root", b"x").mtime(5, 6).done();
        fs::write(s.path("file"), b"a volume, too").unwrap();
        s.configure("p", &[&volume, &s.path("file")]);
        s.init();
        s.backup();
        let (archive, archive_seen) = (fs::read(s.archive()).unwrap(), Picture::of(s.archive()));
        Stored { s, archive, archive_seen, good: volumes(s.root()) }
    }

    /// Puts the archive back, and makes the volumes what a restore has to replace.
    fn prepare(&mut self, args: &[&str]) -> Volumes {
        fs::write(self.s.archive(), &self.archive).unwrap();
        self.archive_seen = Picture::of(self.s.archive());
        if args[0] == "restore" {
            let volume = self.s.path("vol");
            fs::remove_dir_all(&volume).unwrap();
            Tree::at(volume).file("a", b"mine").file("z/y/q", b"mine too").mtime(9, 9).done();
            fs::write(self.s.path("file"), b"my file").unwrap();
        }
        volumes(self.s.root())
    }

    /// The volumes as they are in the last snapshot.
    fn last(&self) -> Volumes {
        let into = self.s.path("into");
        self.s.run(["restore", "--into", text(&into)]).ok();
        let last = volumes(&into.join(self.s.root().strip_prefix("/").unwrap()));
        fs::remove_dir_all(into).unwrap();
        last
    }

    fn archive_is_as_before(&self) -> bool {
        fs::read(self.s.archive()).unwrap() == self.archive
    }

    /// What came of a run, in the words of the table, once all is as it must be then.
    fn outcome(&self, args: &[&str], old: &Volumes, run: &Run) -> &'static str {
        if run.code().is_none() {
            self.after_a_kill(args, old);
            return "killed";
        }
        let is_backup = args[0] == "backup";
        let now = volumes(self.s.root());
        let unchanged = differences(old, &now);
        if succeeded(run) {
            let changed = if is_backup {
                assert_eq!(unchanged, NONE);
                assert_eq!(self.s.verify()["ok"], true);
                assert!(!self.archive_is_as_before(), "{run}");
                differences(old, &self.last())
            } else {
                differences(&self.good, &now)
            };
            if says(run, &["warning: "]) {
                let stderr = run.stderr();
                let warnings: Vec<&str> = stderr.lines().filter(|line| line.contains("warning: ")).collect();
                let path = |line: &&str| line.contains(text(self.s.root()));
                assert!(warnings.iter().all(path), "{run}");
                return "warned";
            }
            assert!(changed.is_empty(), "{changed:?}\n{run}");
            return "done";
        }
        let paths = [text(self.s.root()), "/proc", "standard output", "stopped by"];
        assert!(says(run, &paths), "no path:\n{run}");
        if says(run, &TOLD) {
            if is_backup {
                assert_eq!(unchanged, NONE);
                assert_eq!(self.s.verify()["ok"], true);
            }
            return if says(run, &["incomplete"]) { "incomplete" } else { "told" };
        }
        assert!(unchanged.is_empty(), "{unchanged:?}\n{run}");
        let seen = self.archive_seen.differences(&Picture::of(self.s.archive()));
        assert!(
            self.archive_is_as_before() && seen.iter().all(|what| what.contains(": mtime: ")),
            "{seen:?}\n{run}"
        );
        match () {
            () if !seen.is_empty() => "refused but for a time",
            () if says(run, &["stopped by"]) => "stopped",
            () => "refused",
        }
    }

    /// The archive has whole snapshots only; each volume is the old or the new one, or no backup takes it.
    fn after_a_kill(&self, args: &[&str], old: &Volumes) {
        assert!(matches!(self.s.list()["snapshots"].as_array().unwrap().len(), 1 | 2));
        assert_eq!(self.s.verify()["ok"], true);
        if args[0] == "backup" {
            tool("tar", ["-tf", text(&self.s.archive())]).silent();
            assert_eq!(differences(old, &volumes(self.s.root())), NONE);
            assert_eq!(differences(old, &self.last()), NONE);
            return;
        }
        let run = self.s.run(["backup"]);
        if !succeeded(&run) {
            return assert_refused(&run, &["interrupted", "restore"]);
        }
        // But for the time of a root in which something was made.
        for ((mut one, old), new) in self.last().into_iter().zip(old).zip(&self.good) {
            let differences = [old, new].map(|other| {
                one.entries.get_mut(b"".as_slice()).unwrap().mtime = other.entry("").mtime;
                other.differences(&one)
            });
            assert!(differences.iter().any(Vec::is_empty), "a mixture: {differences:?}\n{run}");
        }
        fs::write(self.s.archive(), &self.archive).unwrap();
    }

    /// Strikes one call, checks what that did, and then that the command works again. `None` when the call was not made.
    fn strike(&mut self, args: &[&str], strike: &Strike) -> Option<&'static str> {
        let old = self.prepare(args);
        let mut traced = trace(&self.s.command(args), &self.s.config(), Some(strike), &fails_too);
        traced.struck.as_ref()?;
        // Without getrandom(2) the standard library opens this once, and keeps it.
        traced.open.retain(|path| path != Path::new("/dev/urandom"));
        let outcome = self.outcome(args, &old, &traced.run);
        assert!(
            outcome == "killed" || traced.open.is_empty(),
            "left open: {:?}\n{}",
            traced.open,
            traced.run
        );
        if matches!(strike.how, How::Fails(_)) && !traced.run.stderr().is_empty() && outcome != "killed" {
            self.assert_names(&traced.struck?.about, &traced.run);
        }
        self.works(args);
        Some(if outcome == "done" && traced.repeated { "retried" } else { outcome })
    }

    /// What is said of a failed call names the file that it was about, or a directory around it, as they are outside of a
    /// staging directory; for a volume or the archive itself nothing else will do.
    fn assert_names(&self, about: &str, run: &Run) {
        let root = text(self.s.root());
        let mut parts = about.split(", ").map(|part| part.trim_matches('"'));
        let Some(path) = parts.find(|part| part.starts_with(root)) else { return };
        let (outside, staged) = path.split_once("/.snapshotter-staging").unwrap_or((path, ""));
        let file = format!("{outside}{}", staged.strip_prefix("/new").unwrap_or_default());
        let directory = file.rsplit_once('/').unwrap().0;
        let near = if directory == root { &file } else { directory };
        assert!(says(run, &[&file, near]), "says nothing of {file}, which was {about}:\n{run}");
    }

    /// The command does what it is asked to, and leaves nothing else.
    fn works(&self, args: &[&str]) {
        self.s.run(args).ok();
        assert_eq!(differences(&self.good, &volumes(self.s.root())), NONE);
        assert!(self.archive_is_as_before() || differences(&self.good, &self.last()).is_empty());
        assert_eq!(fs::read_dir(self.s.root()).unwrap().count(), 4, "something is left");
    }

    /// Strikes all calls that `choose` gives something for.
    fn strike_each(
        &mut self,
        args: &[&str],
        one_processor: bool,
        choose: &dyn Fn(usize, &Call) -> Vec<How>,
    ) -> Struck {
        processors(one_processor);
        self.prepare(args);
        let calls = trace(&self.s.command(args), &self.s.config(), None, &fails_too);
        let calls = (calls.run.ok(), calls.calls).1;
        assert!(calls.len() > 100, "few calls were traced: {calls:?}");
        let (mut all, mut numbers) = (Struck::default(), HashMap::new());
        for call in &calls {
            let number = *numbers.entry(&call.name).and_modify(|number| *number += 1).or_insert(0);
            for how in choose(number, call) {
                let Call { thread, name, number, .. } = call.clone();
                let strike = Strike { thread, name, number, how };
                match catch_unwind(AssertUnwindSafe(|| self.strike(args, &strike))) {
                    Ok(Some(outcome)) => all.outcomes.push((strike.name, how, outcome)),
                    Ok(None) => all.missed += 1,
                    Err(panic) => {
                        let why = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
                        all.failed.push(format!("{args:?} {strike:?} on {}:\n{why}", call.about));
                    }
                }
            }
            if all.failed.len() >= FEW && !everything() {
                break;
            }
        }
        all
    }
}

/// What came of many strikes.
#[derive(Default)]
struct Struck {
    outcomes: Vec<(String, How, &'static str)>,
    /// How many calls were not made when they were to be struck.
    missed: usize,
    /// Each strike after which not all was as it must be, and what was not.
    failed: Vec<String>,
}

impl Struck {
    fn assert_well(&self) {
        assert!(self.failed.is_empty(), "{}", self.failed.join("\n\n"));
        assert!(
            self.outcomes.len() > 10 && self.missed <= self.outcomes.len() / 10,
            "{} were missed",
            self.missed
        );
    }
}

/// Whether it did what it was asked to; if not, it says why with one line.
fn succeeded(run: &Run) -> bool {
    assert!(!run.stderr().contains("panicked"), "{run}");
    if run.code() != Some(0) {
        if says(run, &["standard output"]) {
            // What could not be written there is tried once more at the end, and may be there after all.
            assert_eq!(run.complaints().len(), 1, "{run}");
        } else {
            assert_refused(run, &[]);
        }
        assert_eq!(run.code(), Some(1), "{run}");
    }
    run.code() == Some(0)
}

fn says(run: &Run, words: &[&str]) -> bool {
    words.iter().any(|word| run.stderr().contains(word))
}

/// Plays something with each command, all at the same time.
fn for_each_command<T: Send>(play: impl Fn(&'static [&'static str]) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let play = &play;
        let all: Vec<_> = COMMANDS.iter().map(|args| scope.spawn(move || play(args))).collect();
        all.into_iter()
            .map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

#[test]
fn each_error_of_each_call_is_met_as_the_documentation_says() {
    if !need("root") {
        return;
    }
    let choose = |number: usize, call: &Call| {
        let all = hows(&call.name);
        if everything() || all.is_empty() { all } else { in_turn(number, &all) }
    };
    let clones =
        |_, call: &Call| if call.name.ends_with("FICLONERANGE") { hows(&call.name) } else { Vec::new() };
    let struck = for_each_command(|args| {
        let mut all = Vec::new();
        sandboxed(|s| all.push(Stored::new(s, Place::Tmpfs).strike_each(args, true, &choose)));
        sandboxed(|s| all.push(Stored::new(s, Place::Xfs).strike_each(args, true, &clones)));
        all
    });
    let mut table = Table::default();
    for (command, struck) in struck.iter().enumerate() {
        for (call, how, outcome) in struck.iter().flat_map(|struck| &struck.outcomes) {
            table.add(command, call, *how, outcome);
        }
    }
    if std::env::var_os("SNAPSHOTTER_FAULTS").is_some() {
        table.write();
        let count: usize = struck.iter().flatten().map(|struck| struck.outcomes.len()).sum();
        let _ = writeln!(std::io::stderr(), "{count} strikes");
    }
    struck.iter().flatten().for_each(Struck::assert_well);
    let unknown = table.unknown_to(&Table::read());
    assert!(unknown.is_empty(), "docs/reliability.md does not have:\n{}", unknown.join("\n"));
}

#[test]
fn an_error_in_any_thread_is_met_as_well() {
    if !need("root") {
        return;
    }
    let choose = |number: usize, call: &Call| {
        let all = hows(&call.name);
        let of_threads = call.thread > 0 || call.name == "clone3";
        match () {
            () if !of_threads || all.is_empty() => Vec::new(),
            () if everything() => all,
            () => in_turn(number, &all),
        }
    };
    for_each_command(|args| {
        sandboxed(|s| {
            let struck = Stored::new(s, Place::Tmpfs).strike_each(args, false, &choose);
            // Which thread makes which call differs from run to run.
            assert!(struck.outcomes.len() > 5, "few calls of threads were struck");
            assert!(struck.failed.is_empty(), "{}", struck.failed.join("\n\n"));
        });
    });
}

#[test]
fn a_command_killed_at_any_call_that_changes_something_leaves_the_old_or_the_new() {
    if !need("root") {
        return;
    }
    let kill = |_, call: &Call| {
        let changes = CHANGES.contains(&call.name.as_str());
        if changes { vec![How::Meets(Signal::SIGKILL)] } else { Vec::new() }
    };
    for_each_command(|args| {
        sandboxed(|s| {
            let struck = Stored::new(s, Place::Tmpfs).strike_each(args, true, &kill);
            struck.assert_well();
            assert!(struck.outcomes.iter().all(|(_, _, outcome)| *outcome == "killed"));
        });
    });
}

#[test]
fn an_archive_that_cannot_be_opened_is_told_with_what_helps() {
    if !need("root") {
        return;
    }
    sandboxed(|s| {
        Stored::new(s, Place::Tmpfs);
        let (command, archive) = (s.command(["backup"]), format!("{:?}", s.archive()));
        let trace = |strike: Option<&Strike>| trace(&command, &s.config(), strike, &fails_too);
        let mut opens = trace(None).calls;
        opens.retain(|call| call.name == "openat" && call.about.contains(&archive));
        assert!(opens.len() >= 2, "it is looked at, and opened");
        for Call { thread, name, number, .. } in opens {
            for (errno, help) in [
                (Errno::EACCES, "DAC_OVERRIDE"),
                (Errno::EIO, "dmesg"),
                (Errno::EMFILE, "--ulimit nofile"),
                (Errno::EPERM, "lsattr"),
                (Errno::EROFS, ":ro"),
            ] {
                let strike = Strike { thread, name: name.clone(), number, how: How::Fails(errno) };
                let run = trace(Some(&strike)).run;
                assert!(!succeeded(&run) && says(&run, &[help]), "{run}");
                assert_eq!(says(&run, &["DAC_OVERRIDE"]), errno == Errno::EACCES, "{run}");
            }
        }
    });
}

#[test]
fn an_archive_that_cannot_be_made_is_not_there_after_all() {
    if !need("root") {
        return;
    }
    sandboxed(|s| {
        s.tmpfs("", "size=1m");
        let (command, archive) = (s.command(["init"]), s.archive());
        let trace = |strike: Option<&Strike>| trace(&command, &archive, strike, &fails_too);
        let (mut removed, mut struck_syncs) = (0, 0);
        for call in trace(None).calls {
            for how in hows(&call.name) {
                fs::remove_file(&archive).unwrap();
                let Call { thread, name, number, .. } = call.clone();
                struck_syncs += usize::from(name == "fsync");
                let run = trace(Some(&Strike { thread, name, number, how })).run;
                if run.code().is_some() && !succeeded(&run) {
                    let told = ["putting it back failed", "is an empty archive now"];
                    assert_eq!(archive.exists(), says(&run, &told), "{run}");
                    assert!(says(&run, &[text(s.root())]), "{run}");
                    removed += usize::from(!archive.exists());
                }
                s.init();
                assert_eq!(fs::read(&archive).unwrap(), [0; 1024], "{run}");
            }
        }
        assert!(removed > 10 && struck_syncs > 10, "{removed}, {struck_syncs}");
    });
}
