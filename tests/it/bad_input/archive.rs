//! Files that are no archives, and archives that cannot be written.

use std::fs;
use std::path::PathBuf;

use super::{assert_refused, assert_same_but_for_the_time_of_the_archive, refused};
use crate::support::members::members;
use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Sandbox, Tree, sandboxed, tool};

const COMMANDS: [&str; 4] = ["backup", "restore", "list", "verify"];

fn prepared(s: &Sandbox) -> PathBuf {
    s.init();
    let volume = Tree::at(s.path("vol/a")).file("file", b"x").file("dir/more", [b'm'; 2000]).done();
    s.configure("web", &[&volume]);
    s.backup();
    volume
}

#[test]
fn an_archive_that_is_missing_or_a_directory() {
    sandboxed(|s| {
        prepared(s);
        let archive = s.archive();
        fs::remove_file(&archive).unwrap();
        for command in COMMANDS {
            let words = [text(&archive), "No such file or directory", "snapshotter init"];
            refused(s, &[command], &words);
        }
        fs::create_dir(&archive).unwrap();
        for command in COMMANDS {
            refused(s, &[command], &[text(&archive), "is a directory", "docker", "snapshotter init"]);
        }
        refused(s, &["init"], &[text(&archive), "is a directory"]);
        refused(s, &["init", "--force"], &[text(&archive), "is a directory"]);
    });
}

#[test]
fn files_that_are_no_archives() {
    sandboxed(|s| {
        prepared(s);
        let good = fs::read(s.archive()).unwrap();
        fs::write(s.path("to-zip"), &good).unwrap();
        tool("gzip", ["to-zip"]).silent();
        let gzip = fs::read(s.path("to-zip.gz")).unwrap();
        let zeros = [0; 1024];
        let text_file = b"Dear diary,\n".repeat(500);
        let almost = [&text_file[..512 * 3], &zeros].concat();
        let noise = [&pattern(4096)[..], &zeros].concat();
        let shifted = [&[0; 511][..], &good].concat();
        let rows: [(&[u8], &[&str]); 11] = [
            (b"", &["empty", "snapshotter init"]),
            (b"x", &[]),
            (&[0], &["snapshotter init"]),
            (&[0; 512], &["snapshotter init"]),
            (&[0; 1023], &["snapshotter init"]),
            (&text_file, &["not a tar"]),
            (&almost, &["not a tar"]),
            (&noise, &["not a tar"]),
            (&gzip, &["gzip"]),
            (&shifted, &[]),
            (b"PK\x03\x04 is how a zip begins", &[]),
        ];
        let archive = s.archive();
        for (content, words) in rows {
            fs::write(&archive, content).unwrap();
            for command in COMMANDS {
                refused(s, &[command], &[&[text(&archive)], words].concat());
            }
        }
    });
}

#[test]
fn an_archive_followed_by_another() {
    sandboxed(|s| {
        let volume = prepared(s);
        let bytes = fs::read(s.archive()).unwrap();
        let theirs = Tree::at(s.path("theirs")).file("x", b"x").done();
        tool("tar", ["-cf", "theirs.tar", "-C", text(&theirs), "x"]).silent();
        let other = fs::read(s.path("theirs.tar")).unwrap();
        let archive = s.archive();
        for tail in [
            &bytes,
            &other,
            &pattern(100),
            &[&[0; 3000][..], b"x"].concat(),
            &[&[0; 4096], &bytes[..]].concat(),
        ] {
            fs::write(&archive, [&bytes, &tail[..]].concat()).unwrap();
            let offset =
                (bytes.len() + tail.iter().position(|byte| *byte != 0).unwrap() / 512 * 512).to_string();
            let words = [text(&archive), &offset, "tar -i", "--discard-tail"];
            refused(s, &["backup"], &words);
        }
        s.run(["backup", "--discard-tail"]).ok();
        let listed = s.list();
        assert_eq!(listed["snapshots"].as_array().unwrap().len(), 2);
        assert_eq!(listed["remains"], 0);
        assert_eq!(s.verify()["ok"], true);
        fs::remove_file(volume.join("file")).unwrap();
        s.restore();
        assert!(volume.join("file").exists());
    });
}

#[test]
fn remains_of_ours_with_another_programs_append_behind_them() {
    sandboxed(|s| {
        prepared(s);
        let bytes = fs::read(s.archive()).unwrap();
        s.backup();
        let mut two = fs::read(s.archive()).unwrap();
        // A backup killed just before its commit, and another program that appended at the file's end.
        two[bytes.len() - 1024..bytes.len()].fill(0);
        let killed = two.clone();
        two.extend(pattern(5000));
        let archive = s.archive();
        fs::write(&archive, &two).unwrap();
        refused(s, &["backup"], &[text(&archive), "tar -i", "--discard-tail"]);
        fs::write(&archive, &killed).unwrap();
        assert_eq!(s.list()["remains"], killed.len() - bytes.len());
        s.run(["backup"]).ok().says(&["cut"]);
        assert_eq!(s.list()["snapshots"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn a_read_only_archive_can_be_read_but_not_appended_to() {
    sandboxed(|s| {
        let volume = prepared(s);
        s.read_only(&s.archive());
        let archive = s.archive();
        refused(s, &["backup"], &[text(&archive), "Read-only file system"]);
        refused(s, &["init", "--force"], &[text(&archive), "Read-only file system"]);
        s.list();
        s.verify();
        fs::remove_file(volume.join("file")).unwrap();
        s.restore();
        assert!(volume.join("file").exists());
    });
}

#[test]
fn no_space_for_the_archive_leaves_it_as_it_was_and_gives_the_space_back() {
    sandboxed(|s| {
        let point = s.tmpfs("small", "size=1m");
        let archive = point.join("backup.tar");
        let volume = Tree::at(s.path("vol")).file("small", b"x").done();
        s.configure("web", &[&volume]);
        s.run(["init", text(&archive)]).ok();
        s.run(["backup", "--archive", text(&archive)]).ok();
        for n in 0..20 {
            fs::write(volume.join(format!("file {n}")), pattern(100_000)).unwrap();
        }
        let free = || nix::sys::statvfs::statvfs(&point).unwrap().blocks_free();
        let (before, free_before) = (Picture::of(s.root()), free());
        let run = s.run(["backup", "--archive", text(&archive)]);
        assert_refused(&run, &[text(&archive), "No space left on device"]);
        assert_same_but_for_the_time_of_the_archive(&before, s, "small/backup.tar");
        assert_eq!(free(), free_before);
        let verified = s.run(["verify", "--json", "--archive", text(&archive)]).ok().json();
        assert_eq!(verified["ok"], true);
        assert_eq!(verified["remains"], 0);
    });
}

#[test]
fn an_archive_whose_size_is_limited_is_cut_back_too() {
    sandboxed(|s| {
        let volume = prepared(s);
        fs::write(volume.join("large"), pattern(3 << 20)).unwrap();
        let before = Picture::of(s.root());
        let mut command = std::process::Command::new("prlimit");
        command.arg("--fsize=1048576").arg(assert_cmd::cargo::cargo_bin!("snapshotter")).arg("backup");
        let run = s.run_as(command);
        let archive = s.archive();
        assert_refused(&run, &[text(&archive), "File too large"]);
        assert_same_but_for_the_time_of_the_archive(&before, s, "backup.tar");
    });
}

#[test]
fn init_makes_an_archive_and_harms_none() {
    sandboxed(|s| {
        let archive = s.archive();
        s.run(["init"]).ok();
        assert_eq!(fs::read(&archive).unwrap(), [0; 1024]);
        s.run(["init"]).ok();
        fs::write(&archive, b"").unwrap();
        let run = s.run(["init", "--json", text(&archive)]).ok();
        assert_eq!(run.json(), serde_json::json!({"archive": text(&archive)}));
        assert_eq!(fs::read(&archive).unwrap(), [0; 1024]);

        let other = s.path("other.tar");
        refused(s, &["init", text(&s.path("no/dir.tar"))], &["no/dir.tar", "No such file or directory"]);
        for content in [&[0; 1023][..], &[0; 1025], b"x", &[[0; 512], [1; 512]].concat()] {
            fs::write(&other, content).unwrap();
            refused(s, &["init", text(&other)], &[text(&other), "--force"]);
            s.run(["init", "--force", text(&other)]).ok();
            assert_eq!(fs::read(&other).unwrap(), [0; 1024]);
        }
        prepared(s);
        refused(s, &["init"], &[text(&archive), "--force"]);
        let (all, end) = members(&fs::read(&archive).unwrap());
        assert!(all.len() >= 6 && end > 5000);
    });
}
