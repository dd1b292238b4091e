//! Archives that are made to do harm: a table of them, each with what must come of it, and all that the fuzzer has
//! kept (fuzz/README.md). They are read and restored through the library, in each way that there is, where all but a
//! small filesystem in memory is read-only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Run, need};
use cases::{Case, Expect};
use confine::Scratch;
use restore::{ARCHIVE, WAYS, Way};

mod bombs;
mod cases;
#[path = "../../fuzz/src/confine.rs"]
mod confine;
#[allow(dead_code, reason = "only the fuzzer takes archives apart")]
#[path = "../../fuzz/src/craft.rs"]
pub(crate) mod craft;
#[allow(dead_code, reason = "what was seen is for messages")]
#[path = "../../fuzz/src/read.rs"]
mod read;
#[path = "../../fuzz/src/restore.rs"]
mod restore;

/// None of these archives takes as long as this, in any way.
const LONG: Duration = Duration::from_secs(100);

/// Runs a test in a thread that may write nowhere else.
fn confined(test: impl FnOnce(&Scratch) + Send) {
    if !need("root") {
        return;
    }
    let result = thread::scope(|scope| scope.spawn(|| test(&Scratch::enter())).join());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Reads the archive, and restores it in each way; `judge` looks at what came of it.
fn try_all(scratch: &Scratch, archive: &[u8], mut judge: impl FnMut(Way, Result<(), String>)) {
    Scratch::assert_confined();
    restore::prepare(scratch, archive);
    read::read(Path::new(ARCHIVE), archive.len() as u64);
    for way in WAYS {
        restore::prepare(scratch, archive);
        judge(way, restore::run(way));
    }
}

#[test]
fn every_hostile_archive_is_refused_or_restored_without_harm() {
    confined(|scratch| {
        let mut wrong = Vec::new();
        for case in cases::all() {
            let start = Instant::now();
            try_all(scratch, &case.archive, |way, outcome| wrong.extend(judge(&case, way, &outcome)));
            assert!(start.elapsed() < LONG, "{}: {:?}", case.name, start.elapsed());
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn the_program_says_in_order_what_is_wrong_with_every_hostile_archive() {
    confined(|scratch| {
        for case in cases::all() {
            restore::prepare(scratch, &case.archive);
            for args in [["verify", "--json"], ["list", "-q"]] {
                let mut command = Command::new(assert_cmd::cargo::cargo_bin!("snapshotter"));
                command.args(args).arg("--archive").arg(ARCHIVE).current_dir("/");
                let run = Run::of(command);
                assert!(matches!(run.code(), Some(0 | 1)), "{}: {run}", case.name);
                let drives = |c: char| c.is_control() && c != '\n';
                let said = run.stdout() + &run.stderr();
                assert!(!said.contains(drives) && !said.contains("panicked"), "{}: {run}", case.name);
            }
        }
    });
}

/// What is not as it must be, right after a restore.
fn judge(case: &Case, way: Way, outcome: &Result<(), String>) -> Option<String> {
    // What a dry run and a single path look at is not all of it, and not every snapshot has both volumes.
    if matches!(way, Way::DryRun | Way::OnePath | Way::Volumes) {
        return None;
    }
    // What is refused as a whole may have sound parts.
    if way == Way::SkipDamaged && matches!(case.expect, Expect::Refused(_)) {
        return None;
    }
    let root = if matches!(way, Way::Folder | Way::FolderInPlace) { "/srv/v" } else { "/srv/into/srv/v" };
    let is = match (case.expect, outcome) {
        (Expect::Refused(why), Err(reason)) => {
            reason.contains(why) || way == Way::Folder || way == Way::FolderInPlace
        }
        (Expect::Restored(files), Ok(())) => files.iter().all(|(name, content)| {
            let path = PathBuf::from(root).join(name);
            let found = fs::read_to_string(&path).ok();
            fs::symlink_metadata(&path).is_ok() && (content.is_none() || found.as_deref() == *content)
        }),
        // It has other volumes.
        (Expect::Restored(&[]), Err(reason)) => reason.contains("does not hold the volume"),
        _ => false,
    };
    (!is).then(|| format!("{} ({way:?}): {outcome:?} instead of {:?}", case.name, case.expect))
}

#[test]
fn what_the_fuzzer_kept_and_honest_archives_do_no_harm() {
    confined(|scratch| {
        let mut count = 0;
        for folder in ["fuzz/seeds", "testdata"] {
            for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "tar") {
                    let start = Instant::now();
                    try_all(scratch, &fs::read(&path).unwrap(), |_, _| {});
                    assert!(start.elapsed() < LONG, "{}: {:?}", path.display(), start.elapsed());
                    count += 1;
                }
            }
        }
        assert!(count > 2, "{count} archives");
    });
}

#[test]
#[ignore = "writes the table into the directory CASES, for the fuzzer to start with"]
fn write_cases() {
    let folder = PathBuf::from(std::env::var_os("CASES").expect("CASES names no directory"));
    for case in cases::all().into_iter().filter(|case| case.archive.len() < 100_000) {
        fs::write(folder.join(case.name.replace(['/', ' ', '\''], "-")), case.archive).unwrap();
    }
}
