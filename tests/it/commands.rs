//! The command line: what is said, where, and in which form.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Sandbox, Tree};

mod events;
mod filters;
mod locks;
mod options;
mod report;
mod usage;

fn prepared(s: &Sandbox) -> PathBuf {
    s.init();
    let volume = Tree::at(s.path("vol/a"))
        .file("file", b"content")
        .mtime(1_600_000_000, 5)
        .dir("dir")
        .file("dir/in", b"in")
        .symlink("link", "file")
        .hard_link("hard", "file")
        .done();
    s.configure("web", &[&volume]);
    volume
}

/// An object has these keys and no others.
#[track_caller]
fn has_keys(value: &Value, expected: &str) {
    let mut expected: Vec<_> = expected.split(' ').collect();
    expected.sort_unstable();
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, expected, "{value}");
}
