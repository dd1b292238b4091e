//! What a restore takes out of a volume though nobody may expect it: it is said before, and can be kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::bad_input::assert_refused;
use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Sandbox, Tree, sandboxed, tool};

/// A restore that must be refused with these words, and leave the volume as it is.
#[track_caller]
fn refused(s: &Sandbox, volume: &Path, args: &[&str], words: &[&str]) {
    let before = Picture::of(volume);
    assert_refused(&s.run([&["restore"], args].concat()), words);
    before.assert_same(volume);
}

fn exclude(s: &Sandbox, patterns: &[&str]) {
    let config = fs::read_to_string(s.config()).unwrap();
    let patterns = serde_json::to_string(patterns).unwrap();
    fs::write(s.config(), format!("{config}exclude: {patterns}\n")).unwrap();
}

#[test]
fn a_volume_that_became_empty_is_said_and_is_no_snapshot_if_strict() {
    sandboxed(|s| {
        s.init();
        let volume = s.filesystem("vol", "ext4", 16);
        let other = Tree::at(s.path("other")).file("file", b"x").done();
        s.configure("web", &[&volume, &other]);
        // There is nothing that it could be held against.
        s.run(["backup", "--strict"]).ok().says(&["/vol: it is empty"]).says_not(&["warning"]);
        s.run(["backup", "--strict", "-q"]).silent();
        Tree::at(&volume).file("a/file", b"x").done();
        s.run(["backup", "--strict", "-q"]).silent();
        let id = s.list()["snapshots"][2]["id"].as_str().unwrap().to_owned();
        empty_but_for_the_filesystems(&volume);
        // Of another prefix nothing is known.
        s.run(["backup", "--strict", "--prefix", "db"]).ok().says_not(&["warning"]);
        let archive = fs::read(s.archive()).unwrap();
        let words = [text(&volume), "it is empty", id.as_str(), "3 entries", "--strict"];
        assert_refused(&s.run(["backup", "--strict", "-q"]), &words);
        assert_eq!(fs::read(s.archive()).unwrap(), archive);
        let backup = s.run(["backup", "--json"]).ok().says(&["warning: ", "it is empty"]).json();
        assert_eq!(backup["warning_count"], 1, "{backup}");
        // And once it is, that is how it was.
        s.run(["backup", "--strict", "-q"]).silent();
    });
}

fn empty_but_for_the_filesystems(volume: &Path) {
    assert!(volume.join("lost+found").is_dir());
    fs::remove_dir_all(volume.join("a")).unwrap();
}

#[test]
fn of_a_volume_all_of_which_is_left_out_that_is_said() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("a.tmp", b"x").done();
        s.configure("web", &[&volume]);
        s.backup();
        exclude(s, &["*.tmp"]);
        s.run(["backup"]).ok().says(&["warning: ", "all that is in it is left out", "2 entries"]);
    });
}

#[test]
fn an_empty_volume_in_memory_is_said_however_often() {
    sandboxed(|s| {
        s.init();
        let volume = s.tmpfs("vol", "size=1m");
        s.configure("web", &[&volume]);
        for _ in 0..2 {
            s.run(["backup"]).ok().says(&["warning: ", "it is empty", "tmpfs"]);
            assert_refused(&s.run(["backup", "--strict"]), &["tmpfs", "--strict"]);
        }
        fs::write(volume.join("file"), "x").unwrap();
        s.run(["backup", "--strict", "-q"]).silent();
    });
}

#[test]
fn a_volume_that_holds_something_is_not_emptied_unasked() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).mtime(5, 6).done();
        let other = Tree::at(s.path("other")).file("file", b"x").done();
        s.configure("web", &[&volume, &other]);
        s.backup();
        let stored = Picture::of(&volume);
        // What is empty stays so, without a question.
        s.run(["restore", "-q"]).silent();
        Tree::at(&volume).file("only copy", b"x").mtime(7, 8).done();
        fs::write(other.join("file"), "changed").unwrap();
        for more in [&[][..], &["--dry-run"], &["--in-place"]] {
            refused(s, &volume, more, &[text(&volume), "nothing in it", "--allow-empty"]);
            assert_eq!(fs::read(other.join("file")).unwrap(), b"changed");
        }
        // Beside it, nothing is lost.
        s.run(["restore", "--into", "into"]).ok();
        s.run(["restore", "--allow-empty", "--dry-run"]).ok();
        assert!(volume.join("only copy").exists());
        s.run(["restore", "--allow-empty"]).ok();
        stored.assert_same(&volume);
        Tree::at(&volume).dir("only").done();
        s.run(["restore", "--allow-empty", "--in-place"]).ok();
        stored.assert_same(&volume);
    });
}

#[test]
fn what_stays_anyhow_is_not_asked_about() {
    sandboxed(|s| {
        let volume = Tree::at(s.path("vol")).done();
        let archive = volume.join("backup.tar");
        fs::write(&archive, [0; 1024]).unwrap();
        s.configure("web", &[&volume]);
        s.run(["backup", "--archive", text(&archive)]).ok();
        s.run(["restore", "--archive", text(&archive)]).ok();
        assert!(archive.exists());
    });
}

/// A volume and a snapshot of it that lacks what is excluded; then the excluded is there, and more changes.
fn with_excluded(s: &Sandbox) -> PathBuf {
    s.init();
    let volume = Tree::at(s.path("vol")).file("a/kept", b"1").file("b", b"2").dir("c").done();
    s.configure("web", &[&volume]);
    exclude(s, &["*.tmp", "/cache/"]);
    s.backup();
    Tree::at(&volume)
        .file("cache/deep/file", b"cached")
        .owner(5, 6)
        .mtime(7, 8)
        .file("a/x.tmp", b"in a")
        .xattr("user.x", b"y")
        .file("new/only here", b"goes")
        .file("new/sub/y.tmp", b"leads")
        .mode(0o640)
        .file("b", b"changed")
        .at_entry("new")
        .mode(0o751)
        .mtime(123, 456)
        .done();
    volume
}

#[test]
fn how_many_excluded_entries_a_restore_removes_is_said_before_it_does() {
    sandboxed(|s| {
        let volume = with_excluded(s);
        let words = ["warning: ", text(&volume), "5 entries", "/vol/a/x.tmp", "keep-excluded"];
        let before = Picture::of(&volume);
        let dry = s.run(["restore", "--dry-run", "--json"]).ok().says(&words).json();
        assert_eq!(dry["warning_count"], 1, "{dry}");
        refused(s, &volume, &["--strict"], &["5 entries", "--strict"]);
        refused(s, &volume, &["--strict", "--in-place"], &["5 entries", "--strict"]);
        before.assert_same(&volume);
        let done = s.run(["restore", "--json"]).ok().says(&words).json();
        assert_eq!(done["warning_count"], 1, "{done}");
        assert!(!volume.join("cache").exists() && !volume.join("new").exists());
        // Nothing that is excluded is there any more.
        s.run(["restore", "--strict", "-q"]).silent();
        fs::write(volume.join("z.tmp"), "x").unwrap();
        s.run(["restore"]).ok().says(&["1 entry", "/vol/z.tmp"]);
        // What is restored below another directory takes nothing away, unless it is there.
        s.run(["restore", "--strict", "-q", "--into", "into"]).silent();
    });
}

#[test]
fn what_is_excluded_can_be_kept_with_all_it_has() {
    sandboxed(|s| {
        let volume = with_excluded(s);
        let before = Picture::of(&volume);
        for more in [&[][..], &["--in-place"]] {
            let dry =
                s.run([&["restore", "--keep-excluded", "--strict", "--dry-run", "--json"], more].concat());
            let changes = dry.ok().json()["changes"].clone();
            let removed = |change: &&serde_json::Value| change["change"] == "remove";
            let removed: Vec<_> = changes.as_array().unwrap().iter().filter(removed).collect();
            if more.is_empty() {
                assert_eq!(
                    removed,
                    [&json!({"change": "remove", "path": text(&volume.join("new/only here"))})]
                );
            }
            s.run([&["restore", "--keep-excluded", "--strict", "-q"], more].concat()).silent();
            let after = Picture::of(&volume);
            for kept in
                ["cache", "cache/deep", "cache/deep/file", "a/x.tmp", "new", "new/sub", "new/sub/y.tmp"]
            {
                assert_eq!(after.entry(kept), before.entry(kept), "{kept}");
            }
            assert!(!volume.join("new/only here").exists());
            assert_eq!(fs::read(volume.join("b")).unwrap(), b"2");
            assert_eq!(fs::read(volume.join("a/kept")).unwrap(), b"1");
            fs::write(volume.join("b"), "changed again").unwrap();
            let staging = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().contains("staging");
            assert!(!fs::read_dir(&volume).unwrap().any(|entry| staging(&entry.unwrap())));
        }
    });
}

#[test]
fn something_else_in_the_place_of_what_is_to_be_kept_is_refused() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("cache", b"a file").file("dir", b"a file").done();
        s.configure("web", &[&volume]);
        exclude(s, &["*.tmp", "cache/"]);
        s.backup();
        for (path, is_in_the_way) in [("cache", "cache/file"), ("dir", "dir/x.tmp")] {
            fs::remove_file(volume.join(path)).unwrap();
            Tree::at(&volume).file(is_in_the_way, b"x").done();
            for more in [&[][..], &["--dry-run"], &["--in-place"]] {
                let args = [&["--keep-excluded"], more].concat();
                refused(s, &volume, &args, &[text(&volume.join(path)), "something else", "move that first"]);
            }
            s.run(["restore"]).ok().says(&["that snapshot"]);
            assert_eq!(fs::read(volume.join(path)).unwrap(), b"a file");
        }
    });
}

#[test]
fn a_restore_that_is_killed_loses_nothing_of_what_it_keeps() {
    sandboxed(|s| {
        s.init();
        let root = s.tmpfs("vol", "size=64m");
        let files = |tree: Tree| {
            (0..200).fold(tree, |tree, n| tree.file(format!("d{}/f{n}", n % 9), pattern(9000 + n)))
        };
        let volume = files(Tree::at(root)).done();
        s.configure("web", &[&volume]);
        exclude(s, &["*.tmp"]);
        s.backup();
        let tree = (0..9).fold(Tree::at(&volume), |tree, n| tree.file(format!("d{n}/{n}.tmp"), pattern(n)));
        tree.file("lone/x.tmp", b"lone").mtime(3, 4).at_entry("lone").mode(0o700).mtime(1, 2).done();
        s.run(["restore", "--keep-excluded", "-q"]).ok();
        let complete = Picture::of(&volume);
        let kept: Vec<_> = complete.entries.keys().filter(|name| name.ends_with(b".tmp")).cloned().collect();
        assert_eq!(kept.len(), 10);
        for number in 0..16_u32 {
            fs::write(volume.join("d3/f3"), "changed").unwrap();
            let mut child = s.start(["restore", "--keep-excluded"]);
            sleep(Duration::from_millis(u64::from(number * number)));
            child.kill().unwrap();
            child.wait().unwrap();
            let now = Picture::of(&volume);
            for name in &kept {
                assert_eq!(now.entries.get(name), complete.entries.get(name), "{}", name.escape_ascii());
            }
            s.run(["restore", "--keep-excluded", "-q"]).ok();
            complete.assert_same(&volume);
        }
    });
}

#[test]
fn list_and_json_show_what_a_snapshot_excludes() {
    sandboxed(|s| {
        with_excluded(s);
        assert_eq!(s.list()["snapshots"][0]["exclude"], json!(["*.tmp", "/cache/"]));
        assert_eq!(s.backup()["exclude"], json!(["*.tmp", "/cache/"]));
        let list = s.run(["list"]).ok().stdout();
        assert!(list.contains("  excluded: *.tmp, /cache/\n"), "{list}");
    });
}

#[test]
fn an_older_archive_that_was_appended_is_not_taken_for_the_newest_in_silence() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("file", b"old").done();
        s.configure("web", &[&volume]);
        let old = s.run(["backup", "--json"]).ok().json()["id"].as_str().unwrap().to_owned();
        fs::rename(s.archive(), s.path("old.tar")).unwrap();
        s.init();
        sleep(Duration::from_millis(1100));
        fs::write(volume.join("file"), "new").unwrap();
        let new = s.backup()["id"].as_str().unwrap().to_owned();
        s.run(["restore", "--strict", "-q"]).silent();
        tool("tar", ["-Af", "backup.tar", "old.tar"]).silent();
        let list = s.list();
        assert_eq!(list["snapshots"][1]["id"], old.as_str());
        assert_eq!(list["snapshots"][1]["older_than"], new.as_str(), "{list}");
        assert_eq!(list["snapshots"][0].get("older_than"), None);
        let line = format!("older than {new}, which comes before it");
        assert!(s.run(["list"]).ok().stdout().contains(&line));
        assert!(s.run(["verify"]).ok().stdout().contains(&line));
        let words = ["warning: ", old.as_str(), new.as_str(), "counts as the newest"];
        refused(s, &volume, &["--strict"], &words[1..]);
        s.run(["restore", "--dry-run"]).ok().says(&words);
        s.run(["restore", "--snapshot", &new, "--strict", "-q"]).silent();
        s.run(["restore"]).ok().says(&words);
        assert_eq!(fs::read(volume.join("file")).unwrap(), b"old");
        // What is taken after both is the newest by either measure.
        s.backup();
        s.run(["restore", "--strict", "-q"]).silent();
    });
}

#[test]
fn what_fsck_has_found_is_said_to_be_left_out() {
    sandboxed(|s| {
        s.init();
        let volume = s.filesystem("vol", "ext4", 16);
        Tree::at(&volume).file("file", b"x").done();
        s.configure("web", &[&volume]);
        s.run(["backup", "--strict", "-q"]).silent();
        fs::write(volume.join("lost+found/#12"), "x").unwrap();
        s.run(["backup"]).ok().says(&["warning: ", "/vol/lost+found: left out with the entry that fsck"]);
    });
}
