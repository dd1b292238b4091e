//! Modes and owners of the directories that a restore makes on the way, and modes that are in its own way.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::sandbox::text;
use crate::support::{Picture, Sandbox, Tree, sandboxed};

/// Where `volume` is restored to below `into`.
fn below(s: &Sandbox, into: &str, volume: &Path) -> PathBuf {
    s.path(into).join(volume.strip_prefix("/").unwrap())
}

/// A volume in which every directory is closed to others.
fn closed(s: &Sandbox) -> PathBuf {
    s.init();
    let volume = Tree::at(s.path("vol"))
        .owner(5, 6)
        .mode(0o700)
        .mtime(1_000_000_000, 7)
        .xattr("user.root", "kept")
        .dir("sub")
        .owner(7, 8)
        .mode(0o2750)
        .mtime(1_100_000_000, 8)
        .file("sub/f", "secret")
        .mode(0o644)
        .mtime(1_200_000_000, 9)
        .done();
    s.configure("web", &[&volume]);
    s.backup();
    volume
}

#[test]
fn directories_that_are_made_on_the_way_to_a_path_are_as_the_snapshot_has_them() {
    sandboxed(|s| {
        let volume = closed(s);
        for damaged in [&[][..], &["--skip-damaged"]] {
            let into = format!("out{}", damaged.len());
            let path = volume.join("sub/f");
            s.run(["restore", "--into", &into, "--path", text(&path)].iter().chain(damaged)).ok();
            Picture::of(&volume).assert_same(below(s, &into, &volume));
        }
    });
}

#[test]
fn a_root_that_was_there_keeps_what_it_is_when_a_path_is_restored_into_it() {
    sandboxed(|s| {
        let volume = closed(s);
        let root = Tree::at(below(s, "out", &volume)).file("mine", "x").at_entry("").mode(0o751).done();
        let before = Picture::of(&root);
        s.run(["restore", "--into", "out", "--path", text(&volume.join("sub/f"))]).ok();
        let after = Picture::of(&root);
        assert_eq!(after.entry("").mode, before.entry("").mode);
        assert_eq!(after.entry("").uid, 0);
        assert_eq!(fs::read(root.join("mine")).unwrap(), b"x");
        assert_eq!(fs::read(root.join("sub/f")).unwrap(), b"secret");
    });
}
