//! One at a time: waiting for a lock, and for how long.

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::prepared;
use crate::support::sandbox::text;
use crate::support::{Picture, sandboxed};

#[test]
fn a_locked_archive_is_waited_for_and_not_forever() {
    sandboxed(|s| {
        prepared(s);
        let lock = |kind| Flock::lock(File::open(s.archive()).unwrap(), kind).unwrap();
        let held = lock(FlockArg::LockExclusive);
        let archive = s.archive();
        for command in ["backup", "list", "verify"] {
            let run = s.run([command, "--lock-timeout", "1"]).exits(1);
            assert!(run.took >= Duration::from_millis(900) && run.took < Duration::from_secs(3), "{run}");
            run.says(&[text(&archive), "lock"]);
        }
        assert_eq!(fs::metadata(&archive).unwrap().len(), 1024);
        thread::scope(|scope| {
            let start = Instant::now();
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(700));
                drop(held);
            });
            s.run(["backup"]).ok().says(&["wait", text(&archive)]);
            assert!(start.elapsed() >= Duration::from_millis(700));
        });
        // Readers do not keep each other out, but an append.
        let held = lock(FlockArg::LockShared);
        s.list();
        s.run(["backup", "--lock-timeout", "0"]).exits(1).says(&["lock"]);
        drop(held);
        s.backup();
    });
}

#[test]
fn a_locked_volume_is_not_restored() {
    sandboxed(|s| {
        let volume = prepared(s);
        s.backup();
        let held = Flock::lock(File::open(&volume).unwrap(), FlockArg::LockExclusive).unwrap();
        let before = Picture::of(&volume);
        let run = s.run(["restore", "--lock-timeout", "0"]).exits(1);
        run.says(&[text(&volume), "lock"]);
        before.assert_same(&volume);
        drop(held);
        s.restore();
    });
}
