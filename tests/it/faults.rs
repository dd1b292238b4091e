//! Every system call that a command makes fails once, and the command is killed at every one that changes
//! something: the archive and the volumes are then as they were, or new, or the message says what they are, and
//! the next command knows what to do.
//!
//! One run is traced to learn the calls. Those before the configuration is opened are the loader's; each of the
//! others is struck in a run of its own, by its number among those of its name. That number counts in each thread for
//! itself, so these runs have one processor, and with that no other threads: the same calls, all made by one. What
//! becomes of an error in another thread is tried with calls that the loader does not make.

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use crate::bad_input::assert_refused;
use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Run, Sandbox, Tree, need, sandboxed, tool};

/// The calls that change a file or make sure that it stays changed; `openat` only where it makes one.
const CHANGES: &str = "fallocate,fchmod,fchmodat,fchownat,fdatasync,fremovexattr,fsetxattr,fsync,ftruncate,\
    linkat,mkdirat,mknodat,openat,pwrite64,renameat2,setxattr,symlinkat,syncfs,unlinkat,utimensat";

/// The calls that only look. To be killed at one is to be killed at the next that changes something.
const LOOKS: &str = "fgetxattr,flistxattr,flock,fstatfs,getdents64,getxattr,listxattr,lseek,\
    newfstatat,pread64,readlinkat,statx";

/// A restore that was not undone says so in one of these ways.
const TOLD: [&str; 4] = ["putting it back failed", "was restored", "incomplete", "directories are restored"];

const NONE: [&str; 0] = [];
const RESTORES: [&[&str]; 2] = [&["restore"], &["restore", "--in-place"]];
const KILL: &str = "signal=KILL";

/// What happens to one call: `how` is as strace wants it.
struct Fault {
    call: String,
    number: usize,
    how: &'static str,
    traced: String,
    processors: Processors,
}

#[derive(Clone, Copy, PartialEq)]
enum Processors {
    One,
    All,
}

impl Fault {
    fn strike(&self, s: &Sandbox, args: &[&str]) -> Run {
        let inject = format!("inject={}:{}:when={}", self.call, self.how, self.number);
        // The faster way knows no signals.
        let options = ["-e", &inject, "--seccomp-bpf"];
        let options = if self.how == KILL { &options[..2] } else { &options };
        let (run, trace) = strace(s, self.processors, &self.call, options, args);
        // Which thread makes which call differs from run to run.
        let struck = run.code().is_none() || trace.contains("(INJECTED)");
        assert!(struck || self.processors == Processors::All, "nothing was struck\n{run}");
        run
    }
}

/// Runs the program and gives what strace wrote, which is not left in the sandbox.
fn strace(
    s: &Sandbox,
    processors: Processors,
    calls: &str,
    options: &[&str],
    args: &[&str],
) -> (Run, String) {
    let (log, calls) = (s.path("trace"), format!("trace={calls}"));
    let mut command = match processors {
        Processors::All => Command::new("strace"),
        Processors::One => {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", &a_processor(), "strace"]);
            taskset
        }
    };
    command.args(["-f", "-qq", "-o", text(&log), "-e", &calls]).args(options);
    command.arg(assert_cmd::cargo::cargo_bin!("snapshotter")).args(args);
    let result = (s.run_as(command), fs::read_to_string(&log).unwrap());
    fs::remove_file(log).unwrap();
    result
}

/// The number of one that this process may use.
pub(crate) fn a_processor() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    allowed.trim().split(['-', ',']).next().unwrap().to_owned()
}

/// A fault for each call that a command's main thread makes after it has opened the configuration.
fn faults(s: &Sandbox, args: &[&str], kill: bool) -> Vec<Fault> {
    let processors = Processors::One;
    let (run, trace) = strace(s, processors, &format!("{CHANGES},{LOOKS}"), &[], args);
    run.ok();
    let (mut numbers, mut started, mut all) = (HashMap::new(), false, Vec::new());
    let (main, _) = trace.split_once(' ').unwrap();
    let calls = trace.lines().filter_map(|line| line.strip_prefix(main)).map(str::trim_start);
    // The rest of a call during which another thread made one starts with `<`.
    for traced in calls.filter(|line| !line.starts_with('<')) {
        let call = traced.split('(').next().unwrap();
        let number = *numbers.entry(call).and_modify(|number| *number += 1).or_insert(1);
        started |= call == "openat" && traced.contains(text(&s.config()));
        let changes = CHANGES.split(',').any(|name| name == call);
        let hows: &[_] = match call {
            _ if !started => &[],
            "openat" if kill && !traced.contains("O_CREAT") => &[],
            _ if kill && changes => &[KILL],
            _ if kill => &[],
            "pwrite64" | "fdatasync" => &["error=EIO", "error=ENOSPC"],
            _ => &["error=EIO"],
        };
        all.extend(hows.iter().map(|how| Fault {
            call: call.into(),
            number,
            how,
            traced: traced.into(),
            processors,
        }));
    }
    assert!(all.len() > 10, "few calls were traced:\n{trace}");
    all
}

/// Strikes each call of a command, checks what that did, given the volumes as they were before, and then that the
/// command works again. Names each fault after which that panics; a few of them are enough.
fn strike_each(args: &[&str], kill: bool, check: fn(&Stored, &Volumes, &Run)) {
    if !need("strace") || !need("taskset") {
        return;
    }
    sandboxed(|s| {
        let stored = Stored::new(s);
        let strike = |fault: &Fault| {
            let old = stored.prepare(args);
            check(&stored, &old, &fault.strike(s, args));
            s.run(args).ok();
            assert_eq!(differences(&stored.good, &volumes(s.root())), NONE);
            assert!(stored.archive_is_as_before() || differences(&stored.good, &stored.last()).is_empty());
            assert_eq!(fs::read_dir(s.root()).unwrap().count(), 4, "something is left");
        };
        stored.prepare(args);
        let all = faults(s, args, kill);
        let failed = all.iter().filter_map(|fault| {
            let panic = catch_unwind(AssertUnwindSafe(|| strike(fault))).err()?;
            let why = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
            Some(format!("{} number {}, {}: {}\n{why}", fault.call, fault.number, fault.how, fault.traced))
        });
        let failed: Vec<_> = failed.take(5).collect();
        assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    });
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
    good: Volumes,
}

impl<'s> Stored<'s> {
    fn new(s: &'s Sandbox) -> Self {
        s.tmpfs("", "size=64m"); // A sync of a disk may take a while.
        let tree = Tree::at(s.path("vol")).file("a", [b'a'; 700]).owner(3, 4).mode(0o4755);
        let tree = tree.xattr("trusted.x", b"x").file("d/b", [b'b'; 5000]).hard_link("d/hard", "a");
        let tree = tree.file("d/e/big", pattern((1 << 20) + 1000)).symlink("l", "a").fifo("f");
        let tree = tree.sparse("sparse", 1 << 20, &[(500_000, b"x")]).at_entry("d").mtime(7, 7);
        let volume = tree.at_entry("").xattr("trusted.root", b"x").mtime(5, 6).done();
        fs::write(s.path("file"), b"a volume, too").unwrap();
        s.configure("p", &[&volume, &s.path("file")]);
        s.init();
        s.backup();
        Stored { s, archive: fs::read(s.archive()).unwrap(), good: volumes(s.root()) }
    }

    /// Puts the archive back, and makes the volumes what a restore has to replace.
    fn prepare(&self, args: &[&str]) -> Volumes {
        fs::write(self.s.archive(), &self.archive).unwrap();
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
}

/// Whether it did what it was asked to; if not, it says why with one line.
fn succeeded(run: &Run) -> bool {
    assert!(!run.stderr().contains("panicked"), "{run}");
    if run.code() != Some(0) {
        assert_refused(run, &[]);
        assert_eq!((run.code(), run.stderr().lines().count()), (Some(1), 1), "{run}");
    }
    run.code() == Some(0)
}

fn says(run: &Run, words: &[&str]) -> bool {
    words.iter().any(|word| run.stderr().contains(word))
}

#[test]
fn a_backup_in_which_a_call_fails_leaves_the_archive_as_it_was_or_says_so() {
    strike_each(&["backup"], false, |stored, old, run| {
        assert_eq!(differences(old, &volumes(stored.s.root())), NONE);
        if succeeded(run) {
            assert_eq!(stored.s.verify()["ok"], true);
            assert!(!stored.archive_is_as_before(), "{run}");
            assert!(says(run, &["warning: "]) || differences(old, &stored.last()).is_empty(), "{run}");
        } else if !says(run, &["may or may not", "putting it back failed", "the snapshot was appended"]) {
            assert!(stored.archive_is_as_before(), "{run}");
        }
    });
}

#[test]
fn a_backup_killed_at_any_call_leaves_whole_snapshots_only() {
    strike_each(&["backup"], true, |stored, old, _| {
        assert_eq!(differences(old, &volumes(stored.s.root())), NONE);
        assert!(matches!(stored.s.list()["snapshots"].as_array().unwrap().len(), 1 | 2));
        assert_eq!(stored.s.verify()["ok"], true);
        tool("tar", ["-tf", text(&stored.s.archive())]).silent();
        assert_eq!(differences(old, &stored.last()), NONE);
    });
}

fn restored_or_told(stored: &Stored, old: &Volumes, run: &Run) {
    let well = succeeded(run);
    let told = if well { &["warning: "][..] } else { &TOLD };
    let differences = differences(if well { &stored.good } else { old }, &volumes(stored.s.root()));
    assert!(says(run, told) || differences.is_empty(), "{differences:?}\n{run}");
}

#[test]
fn a_restore_in_which_a_call_fails_leaves_the_volumes_as_they_were_or_says_so() {
    for args in RESTORES {
        strike_each(args, false, restored_or_told);
    }
}

#[test]
fn a_restore_in_which_a_call_of_any_thread_fails_leaves_the_volumes_as_they_were_or_says_so() {
    if !need("strace") {
        return;
    }
    sandboxed(|s| {
        let stored = Stored::new(s);
        let mut failed = 0;
        for args in RESTORES {
            for (call, number) in ["pwrite64", "utimensat", "fchmod", "fchownat", "ftruncate"]
                .into_iter()
                .flat_map(|call| (1..=3).map(move |number| (call.to_owned(), number)))
            {
                let (how, traced, processors) = ("error=EIO", String::new(), Processors::All);
                let fault = Fault { call, number, how, traced, processors };
                let old = stored.prepare(args);
                let run = fault.strike(s, args);
                failed += usize::from(run.code() != Some(0));
                restored_or_told(&stored, &old, &run);
                s.run(args).ok();
                assert_eq!(differences(&stored.good, &volumes(s.root())), NONE);
            }
        }
        assert!(failed >= 10, "only {failed} restores failed");
    });
}

#[test]
fn after_a_restore_killed_at_any_call_no_mixture_is_stored_and_the_next_one_completes() {
    for args in RESTORES {
        strike_each(args, true, |stored, old, _| {
            let run = stored.s.run(["backup"]);
            if !succeeded(&run) {
                return assert_refused(&run, &["interrupted", "restore"]);
            }
            // Each volume is the old or the new one, but for the time of a root in which something was made.
            for ((mut one, old), new) in stored.last().into_iter().zip(old).zip(&stored.good) {
                let differences = [old, new].map(|other| {
                    one.entries.get_mut(b"".as_slice()).unwrap().mtime = other.entry("").mtime;
                    other.differences(&one)
                });
                assert!(differences.iter().any(Vec::is_empty), "a mixture: {differences:?}\n{run}");
            }
            fs::write(stored.s.archive(), &stored.archive).unwrap();
        });
    }
}
