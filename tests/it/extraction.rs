//! For someone who has lost this program: the archive is a tar, and tar restores it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::sandbox::text;
use crate::support::tools::go_reader;
use crate::support::torture::Torture;
use crate::support::{Picture, Sandbox, Tree, assert_same_tree, need, sandboxed, tool};

const GNU_TAR: [&str; 5] = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf"];

/// A file volume and a directory of all but what only this program can make: paths beyond `PATH_MAX`.
fn tortured(s: &Sandbox) -> [PathBuf; 2] {
    s.init();
    let directory = Torture { beyond_path_max: false, ..Torture::default() }.make(s.path("vol/a"));
    Tree::at(s.path("vol")).file("single", b"file").owner(5, 6).mode(0o4711).mtime(-9, 7).done();
    let file = s.path("vol/single");
    s.configure("web/x", &[&directory, &file]);
    s.backup();
    fs::create_dir(s.path("out")).unwrap();
    [directory, file]
}

fn extracted(s: &Sandbox, volume: &Path) -> PathBuf {
    s.path("out/web/x").join(volume.strip_prefix("/").unwrap())
}

#[test]
fn gnu_tar_restores_everything() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        let volumes = tortured(s);
        tool("tar", GNU_TAR.iter().chain(&["backup.tar", "-C", "out"])).silent_but_for(&["time stamp"]);
        for volume in volumes {
            assert_same_tree(&volume, extracted(s, &volume));
        }
    });
}

#[test]
fn gnu_tar_restores_to_the_very_place() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        let [directory, file] = tortured(s);
        let pictures = [&directory, &file].map(Picture::of);
        fs::remove_dir_all(s.path("vol")).unwrap();
        let members = [&directory, &file].map(|volume| format!("web/x{}", text(volume)));
        let place = ["backup.tar", "--strip-components=2", "-C", "/", &members[0], &members[1]];
        tool("tar", GNU_TAR.iter().chain(&place)).silent_but_for(&["time stamp"]);
        pictures[0].assert_same(&directory);
        pictures[1].assert_same(&file);
    });
}

#[test]
fn bsdtar_restores_everything_but_its_exceptions() {
    if !need("bsdtar") {
        return;
    }
    sandboxed(|s| {
        let volumes = tortured(s);
        // It complains of long names that are no UTF-8, and extracts them.
        let run = tool("bsdtar", ["--numeric-owner", "-xpf", "backup.tar", "-C", "out"]);
        let known = ["can't be converted", "Error exit delayed"];
        assert!(run.stderr().lines().all(|line| known.iter().any(|word| line.contains(word))), "{run}");
        for volume in volumes {
            let (mut expected, found) = (Picture::of(&volume), Picture::of(extracted(s, &volume)));
            for (name, entry) in &mut expected.entries {
                let Some(other) = found.entries.get(name) else {
                    continue;
                };
                let (seconds, nanoseconds) = entry.mtime;
                if seconds < 0 && nanoseconds > 0 && (other.mtime.0 - seconds).abs() <= 1 {
                    entry.mtime = other.mtime;
                }
                if let Some(value) = entry.xattrs.remove(b"user.a=b%3Dc%".as_slice()) {
                    entry.xattrs.insert(b"user.a%3Db%253Dc%25".to_vec(), value);
                }
                // Ids in an ACL end at 2³¹ − 1: 8 bytes an entry, the id is the last four.
                for (_, acl) in
                    entry.xattrs.iter_mut().filter(|(name, _)| name.starts_with(b"system.posix_acl"))
                {
                    for id in acl[4..].chunks_mut(8).map(|entry| &mut entry[4..]) {
                        if id[3] > 0x7f && id != [0xff; 4] {
                            id.copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
                        }
                    }
                }
            }
            expected.assert_same_picture(&found);
        }
    });
}

/// What every tar can have: directories, files, links, whole seconds.
fn plain(s: &Sandbox) -> PathBuf {
    s.init();
    let mut tree = Tree::at(s.path("vol/plain")).mtime(1_600_000_000, 0).file("empty", b"").dir("dir/empty");
    for size in [1, 511, 512, 513, 70_000] {
        tree = tree.file(format!("dir/{size}"), vec![b'x'; size]).mtime(1_500_000_000, 0);
    }
    let long = format!("{}/{}/{}", "d".repeat(120), "e".repeat(120), "f".repeat(150));
    tree = tree.file(&long, b"long").file("ünï", b"utf-8").file("mode", b"").mode(0o4711);
    tree = tree.symlink("link", "dir/1").symlink("far", "x".repeat(150)).hard_link("hard", "dir/511");
    let volume = tree.hard_link("z/hard too", long).done();
    s.configure("web", &[&volume]);
    s.backup();
    fs::create_dir(s.path("out")).unwrap();
    volume
}

/// The plain tree and what another tool made of it, with the differences that it is known for taken away.
fn same_but_for(s: &Sandbox, volume: &Path, known: &[&str]) {
    let copy = s.path("out/web").join(volume.strip_prefix("/").unwrap());
    let mut found = Picture::of(volume).differences(&Picture::of(copy));
    found.retain(|line| !known.iter().any(|word| line.contains(word)));
    assert_eq!(found, [""; 0]);
}

#[test]
fn busybox_extracts_a_plain_tree_without_a_word() {
    if !need("busybox") {
        return;
    }
    sandboxed(|s| {
        let volume = plain(s);
        tool("busybox", ["tar", "-xpf", "backup.tar", "-C", "out"]).silent();
        let listed = tool("busybox", ["tar", "-tf", "backup.tar"]).silent().stdout();
        assert!(listed.contains("web/snapshot.json"));
        // It sets no times of links, and times of directories before it fills them; no nanoseconds.
        same_but_for(s, &volume, &["mtime"]);
        let file = s.path("out/web").join(volume.strip_prefix("/").unwrap()).join("dir/513");
        assert_eq!(Picture::of(file).entry("").mtime, (1_500_000_000, 0));
    });
}

#[test]
fn python_extracts_a_plain_tree_without_a_word() {
    if !need("python3") {
        return;
    }
    sandboxed(|s| {
        let volume = plain(s);
        let script = "import sys, tarfile\n\
            archive = tarfile.open(sys.argv[1], errorlevel=2)\n\
            print(*archive.getnames(), sep='\\n')\n\
            archive.extractall('out', numeric_owner=True)\n\
            archive.close()";
        let listed = tool("python3", ["-W", "error", "-c", script, "backup.tar"]).silent().stdout();
        assert!(listed.contains("web/volumes-data.yml"));
        // Microseconds, and floating point at that.
        same_but_for(s, &volume, &["mtime"]);
        let file = s.path("out/web").join(volume.strip_prefix("/").unwrap()).join("dir/513");
        assert_eq!(Picture::of(file).entry("").mtime, (1_500_000_000, 0));
    });
}

#[test]
fn go_extracts_a_plain_tree() {
    if !need("go") {
        return;
    }
    let reader = text(go_reader());
    sandboxed(|s| {
        let volume = plain(s);
        tool(reader, ["extract", "backup.tar", "out"]).silent();
        // The reader in these tests sets neither times nor owners nor setuid.
        same_but_for(s, &volume, &["mtime", "mode: mode: 4711, 0711"]);
        let listed = tool(reader, ["list", "backup.tar"]).silent().stdout();
        assert_eq!(listed, tool("tar", ["-tf", "backup.tar", "--quoting-style=literal"]).silent().stdout());
    });
}

#[test]
fn gnu_tar_and_bsdtar_extract_a_plain_tree_without_a_word() {
    for name in ["tar", "bsdtar"] {
        if !need(name) {
            continue;
        }
        sandboxed(|s| {
            let volume = plain(s);
            tool(name, ["-xpf", "backup.tar", "-C", "out"]).silent();
            same_but_for(s, &volume, &[]);
            let listed = tool(name, ["-tvf", "backup.tar"]).silent().stdout();
            assert!(listed.contains("web/snapshot.json"), "{listed}");
        });
    }
}

#[test]
fn the_last_of_several_snapshots_is_extracted_alone_by_the_documented_command() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        let volume = plain(s);
        fs::remove_file(volume.join("empty")).unwrap();
        s.backup();
        let command = r"B=$(tar -tRf backup.tar | sed -n 's/^block \([0-9]*\): \.snapshot-begin$/\1/p' | tail -1)
            tail -c +$((B*512+1)) backup.tar | tar -xp -C out";
        tool("sh", ["-ec", command]).silent();
        same_but_for(s, &volume, &[]);
    });
}

#[test]
fn the_original_program_restores_our_plain_archives() {
    if !need("go") {
        return;
    }
    let reader = text(go_reader());
    sandboxed(|s| {
        s.init();
        let odd = "o\"dd\\ ünï:#{}";
        let directory =
            Tree::at(s.path("vol")).file(format!("{odd}/f"), b"f").mode(0o750).file("d/e/f", b"g").done();
        let (odd, plain) = (directory.join(odd), directory.join("d"));
        let file =
            Tree::at(s.path("files")).file("single.txt", b"single").mode(0o640).done().join("single.txt");
        fs::set_permissions(plain.join("e"), fs::Permissions::from_mode(0o711)).unwrap();
        s.configure("volumes/busy_lewin", &[&odd, &plain, &file]);
        s.backup();
        s.configure("volumes/other", &[&plain]);
        s.backup();
        tool(reader, ["restore", "backup.tar", "volumes/busy_lewin", "out"]).silent();
        for volume in [odd, plain, file] {
            let copy = s.path("out").join(volume.strip_prefix("/").unwrap());
            let mut differences = Picture::of(&volume).differences(&Picture::of(copy));
            differences.retain(|line| !line.contains(": mtime: "));
            assert_eq!(differences, [""; 0]);
        }
    });
}
