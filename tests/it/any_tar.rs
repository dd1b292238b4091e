//! Tars of other programs, in every format that these write, are restored as a volume.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::sandbox::text;
use crate::support::{Picture, Run, Sandbox, Tree, assert_same_tree, need, sandboxed, tool};

mod order;
mod refused;
mod stream;

/// What every tar can hold, with times of whole seconds.
fn plain(s: &Sandbox) -> Tree {
    let at = |tree: Tree| tree.owner(1234, 2345).mtime(1_700_000_000, 0);
    let mut tree = at(Tree::at(s.path("theirs")).at_entry("")).mode(0o750);
    tree = at(tree.dir("d")).mode(0o1777);
    tree = at(tree.dir("d/empty")).mode(0o700);
    tree = at(tree.file("d/run", b"#!")).mode(0o4755);
    tree = at(tree.file("large", vec![b'x'; 700_000])).mode(0o640);
    tree = at(tree.file("none", b"")).mode(0o600);
    tree = at(tree.symlink("link", "../elsewhere"));
    at(tree.hard_link("d/again", "large")).mode(0o640)
}

/// And what a format without limits can hold.
fn rich(s: &Sandbox) -> Tree {
    let at = |tree: Tree| tree.mtime(1_700_000_000, 0);
    let mut tree = plain(s);
    tree = at(tree.fifo("fifo")).mode(0o644);
    tree = at(tree.char_device("null", 1, 3)).mode(0o644);
    tree = at(tree.file(format!("d/{}", "n".repeat(200)), b"long")).owner(3_000_000_000, 3).mode(0o644);
    tree = at(tree.symlink("far", "f".repeat(300)));
    tree = at(tree.file("strange \n\u{e9}", b"name")).mode(0o644);
    // Times of directories change while entries are made in them.
    at(tree.at_entry("d")).at_entry("").mtime(1_700_000_000, 0)
}

fn sparse(tree: Tree) -> Tree {
    let data: Vec<(u64, &[u8])> = (0..40).map(|i| (i * 200_000, &[b's'; 4096][..])).collect();
    let tree = tree.sparse("holes", 9_000_000, &data).mode(0o644).mtime(1_700_000_000, 0);
    tree.sparse("hole", 5_000_000, &[])
        .mode(0o644)
        .mtime(1_700_000_000, 0)
        .at_entry("")
        .mtime(1_700_000_000, 0)
}

/// Restores `theirs.tar` in each way there is, and compares what came with `theirs`.
fn restores(s: &Sandbox, more: &[&str], what: &str) {
    let expected = Picture::of(s.path("theirs"));
    let same = |found: &Path| {
        let differences = expected.differences(&Picture::of(found));
        assert!(differences.is_empty(), "{what}: {}", differences.join("\n"));
    };
    let from = [&["restore", "--config", "", "--from-tar", "theirs.tar"], more].concat();
    let into = s.path("into");
    s.run([&from[..], &["--into", "into"]].concat()).silent();
    same(&into);
    fs::remove_dir_all(&into).unwrap();
    let volume = Tree::at(s.path("vol")).file("other", b"goes").dir("d").file("d/run", b"other").done();
    for way in ["--no-progress", "--in-place"] {
        s.run([&from[..], &["--volume", text(&volume), way]].concat()).silent();
        same(&volume);
    }
    let mut command = s
        .command([&["restore", "--config", "", "--from-tar", "-", "--volume", text(&volume)], more].concat());
    let output = command.stdin(File::open(s.path("theirs.tar")).unwrap()).output().unwrap();
    Run::ended("from stdin", output).silent();
    same(&volume);
    fs::remove_dir_all(&volume).unwrap();
    assert_eq!(fs::read_dir(s.root()).unwrap().count(), 2, "something is left");
}

#[test]
fn tars_of_gnu_tar_in_every_format() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        plain(s).done();
        for format in ["v7", "ustar", "oldgnu", "gnu", "posix"] {
            tool("tar", ["--format", format, "-cf", "theirs.tar", "-C", "theirs", "."]).silent();
            restores(s, &[], format);
            tool("tar", ["--format", format, "-cf", "theirs.tar", "theirs"]).silent();
            restores(s, &["--strip", "1"], format);
        }
        fs::remove_dir_all(s.path("theirs")).unwrap();
        let theirs = sparse(rich(s)).done();
        for args in [
            &["--format", "oldgnu"][..],
            &["--format", "gnu", "-V", "label"],
            &["--format", "posix", "--sparse-version", "0.0"],
            &["--format", "posix", "--sparse-version", "0.1"],
            &["--format", "posix", "--sparse-version", "1.0"],
            &["--format", "gnu", "-g", "theirs.snar"],
        ] {
            let all = [args, &["-S", "-cf", "theirs.tar", "-C", "theirs", "."]].concat();
            tool("tar", all).silent_but_for(&["time stamp"]);
            let _ = fs::remove_file(s.path("theirs.snar"));
            restores(s, &[], &args.join(" "));
        }
        Tree::at(&theirs).at_entry("large").xattr("user.a=b%", "v\n\0").done();
        Tree::at(&theirs).at_entry("d").acl("default", &[(1, 7, !0), (4, 5, !0), (0x20, 0, !0)]).done();
        let entries = [(1, 6, !0), (2, 4, 1000), (4, 4, !0), (0x10, 4, !0), (0x20, 0, !0)];
        Tree::at(&theirs).at_entry("none").acl("access", &entries).done();
        let all = ["--acls", "--xattrs", "--numeric-owner", "-S", "-cf", "theirs.tar", "-C", "theirs", "."];
        tool("tar", all).silent();
        restores(s, &[], "with attributes");
    });
}

#[test]
fn tars_of_bsdtar_in_every_format() {
    if !need("bsdtar") {
        return;
    }
    sandboxed(|s| {
        plain(s).done();
        for format in ["v7", "ustar"] {
            tool("bsdtar", ["--format", format, "-cf", "theirs.tar", "-C", "theirs", "."]).silent();
            restores(s, &[], format);
        }
        fs::remove_dir_all(s.path("theirs")).unwrap();
        let theirs = rich(s).done();
        tool("bsdtar", ["--format", "gnutar", "-cf", "theirs.tar", "-C", "theirs", "."]).silent();
        restores(s, &[], "gnutar");
        let tree = sparse(Tree::at(&theirs)).at_entry("large").xattr("user.a=b%", "v\n\0");
        let entries = [(1, 6, !0), (2, 4, 1000), (4, 4, !0), (0x10, 4, !0), (0x20, 0, !0)];
        tree.at_entry("none").acl("access", &entries).done();
        let headers =
            [&[][..], &["--options", "xattrheader=LIBARCHIVE"], &["--options", "xattrheader=SCHILY"]];
        for header in headers {
            let all = [&["--format", "pax"], header, &["-cf", "theirs.tar", "-C", "theirs", "."]].concat();
            tool("bsdtar", all).silent();
            restores(s, &[], &header.join(" "));
        }
    });
}

#[test]
fn tars_of_busybox_and_python() {
    if !need("busybox") || !need("python3") {
        return;
    }
    sandboxed(|s| {
        plain(s).done();
        tool("busybox", ["tar", "-cf", "theirs.tar", "-C", "theirs", "."]).silent();
        restores(s, &[], "busybox");
        // As `vackup` packs a volume: below a directory, with its absolute name.
        tool("tar", ["-P", "-cf", "theirs.tar", text(&s.path("theirs"))]).silent();
        let strip = text(&s.path("theirs")).matches('/').count().to_string();
        restores(s, &["--strip", &strip], "absolute names");
        restores(s, &["--strip", text(&s.path("theirs"))], "absolute names");
        fs::remove_dir_all(s.path("theirs")).unwrap();
        rich(s).done();
        for (format, headers) in [("USTAR", ""), ("GNU", ""), ("PAX", ""), ("PAX", "'comment': 'global'")] {
            let script = format!(
                "import tarfile\n\
                with tarfile.open('theirs.tar', 'w', format=tarfile.{format}_FORMAT,\n\
                                  pax_headers={{{headers}}}) as t: t.add('theirs', '')"
            );
            if format != "USTAR" {
                tool("python3", ["-c", &script]).silent();
                restores(s, &[], format);
            }
        }
    });
}

#[test]
fn one_directory_of_a_tar_with_several_volumes_is_restored() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        let tree = Tree::at(s.path("theirs")).file("backup/app/x", b"app").file("backup/db/x", b"db");
        let theirs: PathBuf = tree.file("backup/application/x", b"other").file("note", b"above").done();
        tool("tar", ["--format", "posix", "-cf", "theirs.tar", "-C", "theirs", "backup", "note"]).silent();
        s.run([
            "restore",
            "--config",
            "",
            "--from-tar",
            "theirs.tar",
            "--strip",
            "backup/app",
            "--into",
            "into",
        ])
        .silent();
        assert_same_tree(theirs.join("backup/app"), s.path("into"));
        // Cut off by number, they would be one.
        let args = ["restore", "--config", "", "--from-tar", "theirs.tar", "--strip", "2", "--into", "two"];
        s.run(args)
            .exits(1)
            .says(&["both backup/app and backup/application would be cut off", "--strip DIR"]);
        assert!(!s.path("two").exists());
        // What is above is told.
        let args = ["restore", "--config", "", "--from-tar", "theirs.tar", "--strip", "1", "--into", "one"];
        let run = s.run(args).ok().says(&["warning: theirs.tar: left out", ": 1, the first is note"]);
        assert!(run.stdout().contains("unchecked"), "{run}");
        assert_same_tree(theirs.join("backup"), s.path("one"));
        s.run([&args[..7], &["--into", "strict", "--strict"]].concat()).exits(1);
        assert!(!s.path("strict").exists());
    });
}

/// Starts the program with a stream that the test writes.
fn streaming(s: &Sandbox, args: &[&str]) -> std::process::Child {
    let mut command = s.command([&["restore", "--config", "", "--from-tar", "-"], args].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}
