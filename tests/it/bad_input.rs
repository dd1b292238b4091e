//! Every bad input ends quickly, with one line that names the path, the reason and the way out, and changes
//! nothing.

use std::time::Duration;

use crate::support::{Picture, Run, Sandbox};

mod archive;
mod configuration;
mod damage;
mod hostile;
mod later;
mod snapshot;
mod volume;
mod words;

/// Runs a command that must be refused with one line that has all of `words`, and change nothing in the sandbox.
#[track_caller]
fn refused(s: &Sandbox, args: &[&str], words: &[&str]) -> Run {
    let before = Picture::of(s.root());
    let run = s.run(args);
    assert_refused(&run, words);
    before.assert_same(s.root());
    run
}

/// A run that was refused with one line that has all of `words`, whatever their case.
#[track_caller]
pub(crate) fn assert_refused(run: &Run, words: &[&str]) {
    assert!(matches!(run.code(), Some(1 | 2)), "{run}");
    let complaints = run.complaints();
    assert_eq!(complaints.len(), 1, "not one line:\n{run}");
    assert!(complaints[0].starts_with("snapshotter: "), "{run}");
    assert!(!run.stderr().contains("panicked"), "{run}");
    assert_eq!(run.stdout(), "", "{run}");
    for word in words {
        let found = complaints[0].to_lowercase().contains(&word.to_lowercase());
        assert!(found, "does not say {word:?}:\n{run}");
    }
    assert!(run.took < Duration::from_secs(2), "{run}");
}

/// As the tree was, but for the time of the archive: it was written to, and cut back.
#[track_caller]
fn assert_same_but_for_the_time_of_the_archive(before: &Picture, s: &Sandbox, archive: &str) {
    let mut found = Picture::of(s.root());
    found.entries.get_mut(archive.as_bytes()).unwrap().mtime = before.entry(archive).mtime;
    before.assert_same_picture(&found);
}
