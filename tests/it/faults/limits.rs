//! Limits that are really there: a disk that fills up, a process that may not open more files or has no more memory.
//! Each is tried at every height, from one that stops a command at once to one that lets it pass.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

use super::{COMMANDS, Place, Stored, for_each_command, says};
use crate::support::{Run, Sandbox, need, sandboxed};

/// Runs a command with a limit, as `--nofile=9`.
fn limited(s: &Sandbox, limit: &str, args: &[&str]) -> Run {
    let mut command = Command::new("prlimit");
    command.arg(limit).arg(assert_cmd::cargo::cargo_bin!("snapshotter")).args(args);
    s.run_as(command)
}

/// Runs a command with each of these limits until it succeeds, and checks what came of each. Returns those that are no
/// success.
fn until_it_succeeds(
    stored: &mut Stored,
    args: &[&str],
    limits: impl IntoIterator<Item = u64>,
    run: &dyn Fn(u64) -> Run,
) -> Vec<(Run, &'static str)> {
    let mut others = Vec::new();
    for limit in limits {
        let old = stored.prepare(args);
        let run = run(limit);
        // With the very lowest limits the program is not even loaded.
        if run.code() == Some(127) {
            continue;
        }
        let outcome = stored.outcome(args, &old, &run);
        stored.works(args);
        if outcome == "done" {
            return others;
        }
        others.push((run, outcome));
    }
    panic!("no limit was high enough");
}

#[test]
fn whoever_may_open_few_files_is_told_to_open_more() {
    if !need("prlimit") {
        return;
    }
    for_each_command(|args| {
        sandboxed(|s| {
            let run = |limit| limited(s, &format!("--nofile={limit}"), args);
            let refused = until_it_succeeds(&mut Stored::new(s, Place::Tmpfs), args, 4.., &run);
            assert!(refused.len() > 3, "only {} limits were too low", refused.len());
            for (run, outcome) in refused {
                assert_eq!(outcome, "refused", "{run}");
                assert!(says(&run, &["--ulimit nofile=1024"]), "{run}");
            }
        });
    });
}

#[test]
fn a_disk_that_fills_up_at_any_moment_costs_nothing_but_the_run() {
    for_each_command(|args| {
        sandboxed(|s| {
            let mut stored = Stored::new(s, Place::Tmpfs);
            let (full, root) = (s.path("full"), s.root());
            // What was removed a moment ago may still be counted: the disk is as full as it says once it has stayed so.
            let settled = || {
                let mut found = statvfs(root).unwrap();
                for _ in 0..200 {
                    std::thread::sleep(Duration::from_millis(10));
                    let now = statvfs(root).unwrap();
                    if now.blocks_available() == found.blocks_available() {
                        return now;
                    }
                    found = now;
                }
                found
            };
            let run = |kilobytes: u64| {
                let found = settled();
                let taken = found.blocks_available() * found.fragment_size() - (kilobytes << 10);
                let taken = i64::try_from(taken).unwrap();
                let file = File::create(&full).unwrap();
                fallocate(&file, FallocateFlags::empty(), 0, taken).unwrap();
                let run = s.run(args);
                file.set_len(0).unwrap();
                std::fs::remove_file(&full).unwrap();
                run
            };
            let refused = until_it_succeeds(&mut stored, args, (0..).step_by(100), &run);
            // One that has no room at all, and some more.
            assert!(refused.len() >= 3, "only {} disks were too small for {args:?}", refused.len());
            for (run, outcome) in refused {
                let in_place = args == COMMANDS[2] && outcome == "incomplete";
                assert!(outcome == "refused" || in_place, "{outcome}: {run}");
                assert!(says(&run, &["No space left on device"]) && says(&run, &["make room"]), "{run}");
            }
        });
    });
}

#[test]
fn memory_that_runs_out_is_an_error_or_as_if_the_program_were_killed() {
    if !need("prlimit") {
        return;
    }
    for_each_command(|args| {
        sandboxed(|s| {
            let run = |kilobytes| limited(s, &format!("--as={}", kilobytes << 10), args);
            let limits = (4 << 10..).step_by(700);
            let others = until_it_succeeds(&mut Stored::new(s, Place::Tmpfs), args, limits, &run);
            assert!(!others.is_empty());
        });
    });
}
