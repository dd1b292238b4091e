//! What can be neither moved nor removed, wherever it lies in a volume: it is named before anything moves.

use std::fs;
use std::path::Path;

use crate::support::sandbox::text;
use crate::support::{Picture, Sandbox, Tree, need, sandboxed, tool};

/// How a volume is restored over what is in it.
const WAYS: [&[&str]; 2] = [&["restore"], &["restore", "--in-place"]];

/// Gives `path` a flag (`+i`) for as long as `test` runs; none where the filesystem knows no such flag.
fn with_flag(path: &Path, flag: &str, test: impl FnOnce()) {
    if tool("chattr", [&format!("+{flag}"), text(path)]).code() != Some(0) {
        return;
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
    tool("chattr", [&format!("-{flag}"), text(path)]).ok();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

fn deep(s: &Sandbox) -> std::path::PathBuf {
    s.init();
    let mut tree = Tree::at(s.path("vol")).file("a", "a").file("d/e/f/g", "g").symlink("d/e/f/l", "g");
    for number in 0..20 {
        tree = tree.file(format!("d/e/{number}"), "x");
    }
    let volume = tree.dir("d/z").done();
    s.configure("web", &[&volume]);
    s.backup();
    fs::write(volume.join("a"), "changed since").unwrap();
    volume
}

#[test]
fn what_is_immutable_or_append_only_is_named_before_anything_moves() {
    if !need("chattr") {
        return;
    }
    sandboxed(|s| {
        let volume = deep(s);
        for (name, flag, word) in [
            ("d/e/f/g", "i", "it is immutable: take that away with `chattr -i`"),
            ("d/e/f/g", "a", "it is append-only: take that away with `chattr -a`"),
            ("d/z", "i", "immutable"),
            ("d/e", "a", "append-only"),
            ("a", "i", "immutable"),
            ("", "i", "immutable"),
        ] {
            let path = volume.join(name);
            let shown = text(&path).trim_end_matches('/').to_owned();
            with_flag(&path, flag, || {
                let before = Picture::of(s.root());
                for way in WAYS {
                    s.run(way)
                        .exits(1)
                        .says(&[&format!("cannot replace {shown}: Operation not permitted"), word]);
                    before.assert_same(s.root());
                }
            });
        }
        // Once the flag is gone, both ways do.
        for way in WAYS {
            s.run(way).ok();
            assert_eq!(fs::read(volume.join("a")).unwrap(), b"a");
        }
    });
}

#[test]
fn only_what_is_replaced_is_looked_at() {
    if !need("chattr") {
        return;
    }
    sandboxed(|s| {
        let volume = deep(s);
        s.run(["restore", "--into", "out"]).ok();
        let copy = s.path("out").join(volume.strip_prefix("/").unwrap());
        fs::remove_file(copy.join("a")).unwrap();
        let path = volume.join("a");
        with_flag(&copy.join("d/e/f/g"), "i", || {
            s.run(["restore", "--into", "out", "--path", text(&path)]).ok();
            assert_eq!(fs::read(copy.join("a")).unwrap(), b"a");
            for path in [volume.join("d/e"), volume.join("d/e/f/g")] {
                let words = ["/d/e/f/g: Operation not permitted", "immutable"];
                s.run(["restore", "--into", "out", "--path", text(&path)]).exits(1).says(&words);
            }
        });
    });
}

#[test]
fn a_file_volume_that_is_immutable_is_named_before_anything_moves() {
    if !need("chattr") {
        return;
    }
    sandboxed(|s| {
        let volume = deep(s);
        let file = Tree::at(s.path("files")).file("f", "f").done().join("f");
        s.configure("web", &[&volume, &file]);
        s.backup();
        s.run(["restore", "--into", "out"]).ok();
        let copy = s.path("out").join(file.strip_prefix("/").unwrap());
        for (file, into) in [(&file, &[][..]), (&copy, &["--into", "out"])] {
            with_flag(file, "i", || {
                let before = Picture::of(s.root());
                let run = s.run(["restore"].iter().chain(into)).exits(1);
                run.says(&[
                    &format!("cannot replace {}", into.last().map_or(text(file), |_| "out")),
                    "immutable",
                ]);
                before.assert_same(s.root());
            });
        }
    });
}

/// What an earlier version left: a restore says that it cannot remove it, and does not say that it did.
#[test]
fn a_stray_that_cannot_be_removed_is_named_and_not_said_to_be_removed() {
    if !need("chattr") {
        return;
    }
    sandboxed(|s| {
        let volume = deep(s);
        let staging = Tree::at(volume.join(".snapshotter-staging"))
            .file("marker", "snapshotter staging directory\n")
            .file("old/d/in", "x")
            .done();
        with_flag(&staging.join("old/d/in"), "i", || {
            let run = s.run(["restore"]).exits(1);
            run.says(&["/.snapshotter-staging/old/d/in: Operation not permitted"]).says_not(&["is removed"]);
        });
        s.run(["restore"]).ok().says(&["is removed"]);
        assert!(!staging.exists());
    });
}

#[test]
fn a_read_only_btrfs_snapshot_is_named_before_anything_moves_and_the_ways_out_work() {
    if !need("btrfs") || !need("mkfs.btrfs") {
        return;
    }
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.filesystem("fs", "btrfs", 128).join("vol")).file("a", "a").done();
        let [sub, snapshot] = ["d/sub", "d/snap"].map(|name| volume.join(name));
        fs::create_dir(volume.join("d")).unwrap();
        tool("btrfs", ["-q", "subvolume", "create", text(&sub)]).ok();
        fs::write(sub.join("s"), "s").unwrap();
        tool("btrfs", ["-q", "subvolume", "snapshot", "-r", text(&sub), text(&snapshot)]).ok();
        s.configure("web", &[&volume]);
        s.backup();
        fs::write(volume.join("a"), "changed since").unwrap();
        let before = Picture::of(&volume);
        for way in WAYS {
            let words = ["/d/snap: Read-only file system: it is a read-only Btrfs snapshot", "--into"];
            s.run(way).exits(1).says(&words).says_not(&["`:ro`"]);
            before.assert_same(&volume);
        }
        s.run(["restore", "--into", "out"]).ok();
        tool("btrfs", ["property", "set", "-f", text(&snapshot), "ro", "false"]).ok();
        s.run(["restore"]).ok();
        assert_eq!(fs::read(volume.join("a")).unwrap(), b"a");
        assert_eq!(fs::read(snapshot.join("s")).unwrap(), b"s");
        // It is a plain directory now.
        fs::remove_dir_all(&snapshot).unwrap();
        tool("btrfs", ["-q", "subvolume", "create", text(&snapshot)]).ok();
        tool("btrfs", ["property", "set", text(&snapshot), "ro", "true"]).ok();
        s.run(["restore", "--in-place"]).exits(1).says(&["/d/snap: Read-only file system"]);
        tool("btrfs", ["-q", "subvolume", "delete", text(&snapshot)]).ok();
        s.run(["restore", "--in-place"]).ok();
        assert_eq!(fs::read(snapshot.join("s")).unwrap(), b"s");
    });
}

/// Makes directories with all below them a project of XFS, whose id what is made in them gets, too.
fn project(id: &str, path: &Path) {
    for command in [format!("chproj -R {id}"), "chattr -R +P".to_owned()] {
        tool("xfs_io", ["-c", &command, text(path)]).ok();
    }
}

#[test]
fn a_volume_that_is_a_project_of_xfs_is_restored_and_one_of_several_is_put_back_or_restored_in_place() {
    if !need("xfs_io") || !need("mkfs.xfs") {
        return;
    }
    sandboxed(|s| {
        s.init();
        let volume =
            Tree::at(s.filesystem("fs", "xfs", 320).join("vol")).file("a", "a").file("d/e", "e").done();
        project("5", &volume);
        s.configure("web", &[&volume]);
        s.backup();
        let good = Picture::of(&volume);
        let change = || fs::write(volume.join("a"), "changed since").unwrap();
        change();
        s.run(["restore"]).ok();
        good.assert_same(&volume);

        change();
        project("6", &volume.join("d"));
        let before = Picture::of(&volume);
        s.run(["restore"]).exits(1).says(&["another project id (XFS)", "--in-place"]);
        before.assert_same(&volume);
        s.run(["restore", "--in-place"]).ok();
        good.assert_same(&volume);
    });
}

#[test]
fn a_volume_that_is_a_read_only_btrfs_snapshot_itself_is_said_to_be_one() {
    if !need("btrfs") || !need("mkfs.btrfs") {
        return;
    }
    sandboxed(|s| {
        s.init();
        let volume = s.filesystem("fs", "btrfs", 128).join("vol");
        tool("btrfs", ["-q", "subvolume", "create", text(&volume)]).ok();
        Tree::at(&volume).file("a", "a").done();
        s.configure("web", &[&volume]);
        s.backup();
        tool("btrfs", ["property", "set", text(&volume), "ro", "true"]).ok();
        for way in WAYS {
            s.run(way).exits(1).says(&["read-only Btrfs snapshot"]).says_not(&["`:ro`"]);
        }
        tool("btrfs", ["property", "set", text(&volume), "ro", "false"]).ok();
        s.read_only(&volume);
        s.run(["restore"]).exits(1).says(&["`:ro`"]).says_not(&["Btrfs"]);
    });
}
