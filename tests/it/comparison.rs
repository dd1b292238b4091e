//! The tests' own tools: a comparison that misses a difference would make every other test worthless.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use filetime::FileTime;

use crate::support::torture::Torture;
use crate::support::tree::set_mtime;
use crate::support::{Picture, Sandbox, Tree, assert_same_tree, need, sandboxed, tool};

#[test]
fn nothing_outside_a_sandbox_can_be_written() {
    sandboxed(|s| {
        for outside in ["/snapshotter-was-here", "/tmp/snapshotter-was-here", "/dev/shm/snapshotter-was-here"]
        {
            if Path::new(outside).parent().unwrap().is_dir() {
                let error = fs::write(outside, b"x").unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{outside}");
            }
        }
        fs::write(s.path("inside"), b"x").unwrap();
        let inside = tool("touch", ["/snapshotter-was-here", "also-inside"]).exits(1);
        inside.says(&["/snapshotter-was-here", "Read-only file system"]).says_not(&["also-inside"]);
    });
}

#[test]
fn a_tree_is_the_same_after_gnu_tar_wrote_and_read_it() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        let all = ["--format=pax", "--sparse", "--xattrs", "--xattrs-include=*", "--acls"];
        let made = Torture { beyond_path_max: false, ..Torture::default() }.make(s.path("made"));
        let copy = s.path("copy");
        fs::create_dir(&copy).unwrap();
        let write = ["-cf", "copy.tar", "-C", "made", "."];
        tool("tar", all.iter().chain(&write)).silent_but_for(&["time stamp"]);
        let read = ["--numeric-owner", "-xpf", "copy.tar", "-C", "copy"];
        tool("tar", all.iter().chain(&read)).silent_but_for(&["time stamp"]);
        // GNU tar writes a second name of a FIFO as another FIFO.
        assert_eq!(differences(&made, &copy), ["hard/fifo: hard link to: hard/b/fifo, hard/fifo"]);
    });
}

#[test]
fn a_tree_deeper_than_a_path_can_name_is_compared_to_its_ground() {
    sandboxed(|s| {
        let deep = |content: &[u8]| [vec![vec![b'd'; 250]; 20], vec![content.to_vec()]].concat().join(&b'/');
        let one = Tree::at(s.path("one")).file(deep(b"file"), b"a").done();
        let two = Tree::at(s.path("two")).file(deep(b"file"), b"b").done();
        let found = differences(&one, &two);
        assert!(found.iter().any(|line| line.contains("d/file: content")), "{found:?}");
        assert_eq!(Picture::of(one).entries.len(), 22);
    });
}

/// Makes two equal trees, changes the second, and gives what the comparison says about the entry `it`.
fn after_change(s: &Sandbox, make: impl Fn(Tree) -> Tree, change: impl FnOnce(&Path)) -> Vec<String> {
    let trees = ["one", "two"].map(|name| {
        let tree = make(Tree::at(s.path(name)));
        let root = tree.done();
        for entry in walkdir::WalkDir::new(&root).contents_first(true) {
            set_mtime(entry.unwrap().path(), FileTime::from_unix_time(1, 0));
        }
        root
    });
    assert_same_tree(&trees[0], &trees[1]);
    change(&trees[1].join("it"));
    let mut found = differences(&trees[0], &trees[1]);
    for tree in &trees {
        let _ = fs::remove_dir_all(tree);
    }
    // A change to the directory follows from one to what is in it.
    found.retain(|line| !line.starts_with(": mtime"));
    found
}

fn differences(one: &Path, two: &Path) -> Vec<String> {
    Picture::of(one).differences(&Picture::of(two))
}

#[test]
fn the_comparison_finds_each_kind_of_difference() {
    sandboxed(|s| {
        let file = |tree: Tree| tree.file("it", [7; 9000]).xattr("user.a", b"1");
        let check = |make: &dyn Fn(Tree) -> Tree, change: &dyn Fn(&Path), expected: &[&str]| {
            assert_eq!(after_change(s, make, change), expected);
        };
        check(&file, &|it| fs::remove_file(it).unwrap(), &["it: missing"]);
        check(&file, &|it| fs::write(it.with_file_name("x\n"), b"").unwrap(), &["x\\n: should not be there"]);
        check(&file, &|it| set_mtime(it, FileTime::from_unix_time(1, 1)), &["it: mtime: 1s + 0ns, 1s + 1ns"]);
        check(&file, &|it| lchown(it, Some(5), None).unwrap(), &["it: uid: 0, 5"]);
        check(&file, &|it| lchown(it, None, Some(6)).unwrap(), &["it: gid: 0, 6"]);
        check(
            &file,
            &|it| fs::set_permissions(it, Permissions::from_mode(0o4644)).unwrap(),
            &["it: mode: 0644, 4644"],
        );
        check(&file, &|it| xattr::set(it, "user.a", b"2").unwrap(), &["it: xattr user.a: 1, 2"]);
        check(&file, &|it| xattr::remove(it, "user.a").unwrap(), &["it: xattr user.a: missing"]);
        check(
            &file,
            &|it| xattr::set(it, "trusted.b", b"").unwrap(),
            &["it: xattr trusted.b: should not be there"],
        );
        let rewrite = |it: &Path, offset: u64, bytes: &[u8]| {
            fs::OpenOptions::new().write(true).open(it).unwrap().write_all_at(bytes, offset).unwrap();
            set_mtime(it, FileTime::from_unix_time(1, 0));
        };
        for offset in [0, 511, 512, 4096, 8999] {
            let found = after_change(s, file, |it| rewrite(it, offset, b"\x08"));
            assert!(found.len() == 1 && found[0].starts_with("it: content"), "{offset}: {found:?}");
        }
        let found = after_change(s, file, |it| rewrite(it, 9000, b"\x07"));
        assert!(found.contains(&"it: size: 9000, 9001".to_owned()), "{found:?}");
        let swapped = after_change(
            s,
            |tree| tree.file("it", [[1; 512], [2; 512]].concat()),
            |it| rewrite(it, 0, &[[2; 512], [1; 512]].concat()),
        );
        assert!(swapped.len() == 1 && swapped[0].starts_with("it: content"), "{swapped:?}");
    });
}

#[test]
fn the_comparison_finds_differences_between_links_nodes_and_kinds() {
    sandboxed(|s| {
        let again = |it: &Path, make: &dyn Fn(&Path)| {
            fs::remove_file(it).unwrap();
            make(it);
            set_mtime(it, FileTime::from_unix_time(1, 0));
        };
        let target = |it: &Path| again(it, &|it| symlink("y", it).unwrap());
        assert_eq!(after_change(s, |tree| tree.symlink("it", "x"), target), ["it: target: x, y"]);

        let kind = |it: &Path| again(it, &|it| fs::write(it, b"").unwrap());
        assert_eq!(after_change(s, |tree| tree.fifo("it"), kind), ["it: kind: fifo, file"]);

        let device = |it: &Path| {
            again(it, &|it| {
                drop(Tree::at(it.parent().unwrap()).char_device("it", 1, 5).done());
            });
        };
        let found = after_change(s, |tree| tree.char_device("it", 1, 3), device);
        assert_eq!(found, ["it: device: 259, 261"]);

        let linked = |tree: Tree| tree.file("first", b"x").hard_link("it", "first");
        let copied = |it: &Path| again(it, &|it| fs::write(it, b"x").unwrap());
        assert_eq!(after_change(s, linked, copied), ["it: hard link to: first, it"]);
        let link = |it: &Path| {
            again(it, &|it| fs::hard_link(it.with_file_name("first"), it).unwrap());
        };
        let unlinked = |tree: Tree| tree.file("first", b"x").file("it", b"x");
        assert_eq!(after_change(s, unlinked, link), ["it: hard link to: it, first"]);
    });
}

#[test]
fn the_comparison_finds_a_hole_that_was_filled_but_not_one_that_was_made() {
    sandboxed(|s| {
        let sparse = |tree: Tree| tree.sparse("it", 1 << 20, &[(1 << 19, &[1; 4096])]);
        let fill = |it: &Path| {
            fs::OpenOptions::new().write(true).open(it).unwrap().write_all_at(&[0; 8192], 65_536).unwrap();
            set_mtime(it, FileTime::from_unix_time(1, 0));
        };
        assert_eq!(after_change(s, sparse, fill), ["it: hole at 65536..73728 is filled"]);

        let dense = |tree: Tree| tree.file("it", vec![0; 1 << 20]);
        let dig = |it: &Path| {
            fs::File::create(it).unwrap().set_len(1 << 20).unwrap();
            set_mtime(it, FileTime::from_unix_time(1, 0));
            assert_eq!(it.metadata().unwrap().blocks(), 0);
        };
        assert_eq!(after_change(s, dense, dig), [""; 0]);
    });
}
