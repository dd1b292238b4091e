//! Modes and owners of the directories that a restore makes on the way, and modes that are in its own way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Who restores: everything belongs to them, and no capability lets them in where a mode does not.
#[derive(Debug, Clone, Copy)]
enum Who {
    Root,
    User,
}

impl Who {
    fn id(self) -> u32 {
        match self {
            Who::Root => 0,
            Who::User => 4242,
        }
    }

    /// The program, to be run by them.
    fn command<'a>(self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("setpriv");
        match self {
            Who::Root => command.arg("--bounding-set=-all"),
            Who::User => command.args(["--reuid=4242", "--regid=4242", "--clear-groups"]),
        };
        command.arg(assert_cmd::cargo::cargo_bin!("snapshotter")).args(args);
        command
    }
}

/// Modes of a root that keep its owner out of it, in one way or another.
const CLOSED: [u32; 6] = [0o555, 0o500, 0o444, 0o200, 0o111, 0];

/// A volume whose root and much else is closed to its owner, and a file volume that is, too.
fn shut(s: &Sandbox, who: Who, root: u32) -> [PathBuf; 2] {
    let id = who.id();
    fs::set_permissions(s.root(), fs::Permissions::from_mode(0o777)).unwrap();
    s.init();
    let make = |tree: Tree| tree.owner(id, id);
    let tree = make(Tree::at(s.path("vol"))).xattr("user.root", "x");
    let tree = make(tree.file("f", "f")).xattr("user.f", "x").mode(0o444);
    let tree = make(tree.dir("a")).xattr("user.a", "x");
    let tree = make(tree.file("a/h", "h"));
    let tree = make(tree.dir("a/deep"));
    let tree = make(tree.file("a/deep/g", "g")).mode(0);
    let tree = make(tree.at_entry("a/deep")).mode(0).mtime(1_000_000_001, 1);
    let tree = make(tree.at_entry("a")).mode(0o555).mtime(1_000_000_002, 2);
    let tree = tree.hard_link("link", "a/deep/g");
    let tree = make(tree.dir("z")).mode(0o600).mtime(1_000_000_003, 3);
    let directory = tree.at_entry("").mode(root).mtime(1_000_000_004, 4).done();
    let file = make(Tree::at(s.path("files")).owner(id, id).file("single", "single"));
    let file = file.xattr("user.single", "x").mode(0o444).mtime(1_000_000_005, 5).done().join("single");
    s.configure("web", &[&directory, &file]);
    s.backup();
    fs::set_permissions(s.archive(), fs::Permissions::from_mode(0o644)).unwrap();
    [directory, file]
}

fn spoil(directory: &Path, file: &Path) {
    fs::write(directory.join("f"), "changed since").unwrap();
    fs::remove_file(directory.join("link")).unwrap();
    fs::write(file, "changed since").unwrap();
    xattr::set(file, "user.other", b"x").unwrap();
}

#[test]
fn a_dry_run_opens_nothing_and_says_what_helps() {
    sandboxed(|s| {
        for (who, root) in [(Who::Root, 0), (Who::User, 0o111), (Who::User, 0o755)] {
            let [directory, file] = shut(s, who, root);
            let pictures = [&directory, &file].map(Picture::of);
            let run = s.run_as(who.command(["restore", "--dry-run"]));
            run.exits(1).says(&[
                text(&directory),
                "Permission denied",
                "a dry run changes nothing",
                "chmod u+rwx",
            ]);
            pictures[0].assert_same(&directory);
            pictures[1].assert_same(&file);
            fs::remove_dir_all(&directory).unwrap();
            fs::remove_dir_all(file.parent().unwrap()).unwrap();
        }
    });
}

#[test]
fn a_mode_that_keeps_out_the_owner_keeps_out_no_restore() {
    sandboxed(|s| {
        for (who, root) in [Who::Root, Who::User].into_iter().flat_map(|who| CLOSED.map(|root| (who, root))) {
            let [directory, file] = shut(s, who, root);
            let pictures = [&directory, &file].map(Picture::of);
            let run =
                |args: &[&str]| s.run_as(who.command(args.iter().copied())).ok().prints(&["0 warnings"]);
            for way in [&["restore"][..], &["restore", "--in-place"]] {
                spoil(&directory, &file);
                run(way);
                pictures[0].assert_same(&directory);
                pictures[1].assert_same(&file);
            }
            // Into nothing, over what is there, and one path of it.
            let deep = directory.join("a/h");
            for into in [&[][..], &[], &["--path", text(&deep)]] {
                run(&[&["restore", "--into", "out"], into].concat());
                pictures[0].assert_same(below(s, "out", &directory));
                pictures[1].assert_same(below(s, "out", &file));
            }
            run(&["restore", "--into", "one", "--path", text(&directory.join("f"))]);
            assert_eq!(Picture::of(below(s, "one", &directory)).entry("").mode & 0o7777, root, "{who:?}");
            for made in ["out", "one", "vol", "files"] {
                fs::remove_dir_all(s.path(made)).unwrap();
            }
        }
    });
}

#[test]
fn a_restore_that_fails_closes_what_it_has_opened() {
    sandboxed(|s| {
        for root in CLOSED {
            let [directory, file] = shut(s, Who::User, root);
            // Another's file: the user cannot make such a one.
            Tree::at(&directory).file("other", "x").owner(7, 7).at_entry("").mtime(1_000_000_004, 4).done();
            s.backup();
            spoil(&directory, &file);
            let before = Picture::of(s.path("vol"));
            for way in [&["restore"][..], &["restore", "--into", "out"]] {
                let run = s.run_as(Who::User.command(way.iter().copied())).exits(1);
                run.says(&["cannot set the owner"]);
                before.assert_same(&directory);
            }
            assert!(!s.path("out").exists());
            for made in ["vol", "files"] {
                fs::remove_dir_all(s.path(made)).unwrap();
            }
        }
    });
}

#[test]
fn a_restore_that_is_killed_leaves_what_the_next_one_can_open() {
    sandboxed(|s| {
        for (number, root) in CLOSED.into_iter().cycle().take(18).enumerate() {
            let [directory, file] = shut(s, Who::Root, root);
            let pictures = [&directory, &file].map(Picture::of);
            let way: &[&str] = if number % 3 == 2 { &["restore", "--in-place"] } else { &["restore"] };
            spoil(&directory, &file);
            let mut child = s.start_as(Who::Root.command(way.iter().copied()));
            std::thread::sleep(std::time::Duration::from_millis(3 * number as u64));
            child.kill().unwrap();
            child.wait().unwrap();
            s.run_as(Who::Root.command(way.iter().copied())).ok();
            pictures[0].assert_same(&directory);
            pictures[1].assert_same(&file);
            for made in ["vol", "files"] {
                fs::remove_dir_all(s.path(made)).unwrap();
            }
        }
    });
}
