//! Restoring a part of what a snapshot has, or to another place.

use std::fs;

use serde_json::json;

use crate::bad_input::assert_refused;
use crate::support::sandbox::text;
use crate::support::{Picture, Tree, assert_same_tree, sandboxed};

#[test]
fn several_paths_are_restored_and_nothing_beside_them() {
    sandboxed(|s| {
        s.init();
        let one = Tree::at(s.path("one"))
            .file("a/b/file", b"1")
            .file("a/beside", b"2")
            .hard_link("a/b/link", "a/beside")
            .file("c", b"3")
            .hard_link("d", "a/beside")
            .done();
        let two = Tree::at(s.path("two")).file("e/f", b"4").file("g", b"5").done();
        let three = Tree::at(s.path("three")).file("h", b"6").done();
        s.configure("web", &[&one, &two, &three]);
        s.backup();
        let path = |path: &str| s.path(path).to_str().unwrap().to_owned();
        let (b, d, f) = (path("one/a/b"), path("one/d"), path("two/e/f"));
        let args = ["restore", "--into", "into", "--path", &b, "--path", &f, "--path", &d];
        let dry = s.run([&args[..], &["--dry-run", "--json"]].concat()).ok().json();
        let done = s.run(args).ok();
        assert!(done.stdout().starts_with("restored 3 paths of web from "), "{done}");
        // What is asked for counts, and not the directories that lead to it.
        assert!(done.stdout().contains(": 5 entries, "), "{done}");
        let into = |path: &str| s.path("into").join(s.path(path).strip_prefix("/").unwrap());
        assert_same_tree(s.path("two/e/f"), into("two/e/f"));
        assert_eq!(fs::read(into("one/a/b/link")).unwrap(), b"2");
        assert_eq!(fs::read(into("one/d")).unwrap(), b"2");
        for absent in ["one/a/beside", "one/c", "two/g", "three"] {
            assert!(!into(absent).exists(), "{absent}");
        }
        let created = dry["changes"].as_array().unwrap();
        assert!(created.iter().all(|change| change["change"] == "create"), "{dry}");
        assert!(created.len() >= 7, "{dry}");
        // Again: what is beside them stays, and what is in them and not in the snapshot goes.
        fs::write(into("one/a/mine"), "stays").unwrap();
        fs::write(into("one/a/b/mine"), "goes").unwrap();
        s.run(args).ok();
        assert!(into("one/a/mine").exists() && !into("one/a/b/mine").exists());
        assert_eq!(fs::read(into("one/a/b/file")).unwrap(), b"1");

        // One of them alone is named, and a whole volume is one.
        let whole = s.run(["restore", "--into", "other", "--path", text(&two), "--path", &b, "--path", &f]);
        assert!(whole.ok().stdout().starts_with("restored 3 paths"));
        assert_same_tree(&two, s.path("other").join(two.strip_prefix("/").unwrap()));
        let single = s.run(["restore", "--into", "single", "--path", &f]).ok();
        assert!(single.stdout().starts_with(&format!("restored {f} of web from ")), "{single}");
        assert!(single.stdout().contains(": 1 entry, 1 byte "), "{single}");
        let missing = path("two/no");
        assert_refused(&s.run(["restore", "--into", "no", "--path", &f, "--path", &missing]), &[&missing]);
        assert_refused(
            &s.run(["restore", "--into", "no", "--path", &f, "--path", "/x"]),
            &["/x lies in no volume"],
        );
        assert!(!s.path("no").exists());
    });
}

#[test]
fn a_volume_is_restored_under_another_path() {
    sandboxed(|s| {
        s.init();
        let old = Tree::at(s.path("old")).file("a/file", b"1").symlink("l", "a").mtime(5, 6).done();
        let file = Tree::at(s.path("files")).file("x", b"2").done().join("x");
        s.configure("web", &[&old, &file]);
        s.backup();
        let new = Tree::at(s.path("new")).file("goes", b"x").done();
        let other = Tree::at(s.path("elsewhere")).file("y", b"y").done().join("y");
        let moved = [format!("{}={}", text(&old), text(&new)), format!("{}={}", text(&file), text(&other))];
        let volumes = ["--volume", &moved[0], "--volume", &moved[1]];
        let was = Picture::of(&old);
        let done = s.run([&["restore", "--json"], &volumes[..]].concat()).ok().json();
        assert_eq!(done["volumes"][0], json!({"path": text(&old), "target": text(&new), "type": "dir"}));
        was.assert_same(&new);
        was.assert_same(&old);
        assert_eq!(fs::read(&other).unwrap(), b"2");
        fs::write(new.join("more"), "x").unwrap();
        let dry = s.run([&["restore", "--dry-run"], &volumes[..]].concat()).ok().stdout();
        assert!(dry.contains(&format!("remove {}\n", text(&new.join("more")))), "{dry}");
        s.run([&["restore", "--in-place"], &volumes[..]].concat()).ok();
        was.assert_same(&new);
        s.run([&["restore", "--into", "into"], &volumes[..]].concat()).ok();
        was.assert_same(s.path("into").join(new.strip_prefix("/").unwrap()));

        // A path is that of the snapshot.
        let path = old.join("a");
        s.run([&["restore", "--into", "part", "--path", text(&path)], &volumes[..]].concat()).ok();
        assert!(s.path("part").join(new.strip_prefix("/").unwrap()).join("a/file").exists());
        // What the snapshot does not have is refused by the path that it was asked for by.
        let unknown = format!("{}={}", text(&new), text(&old));
        assert_refused(&s.run(["restore", "--volume", &unknown]), &["does not hold the volume", text(&new)]);
        let gone = format!("{}=/no/such", text(&old));
        assert_refused(&s.run(["restore", "--volume", &gone]), &["/no/such", "No such file"]);
    });
}

#[test]
fn volumes_that_would_lie_in_each_other_are_refused() {
    sandboxed(|s| {
        s.init();
        let one = Tree::at(s.path("one")).file("sub/file", b"1").done();
        let two = Tree::at(s.path("two")).file("file", b"2").done();
        s.configure("web", &[&one, &two]);
        s.backup();
        let moved = [format!("{}=/x", text(&one)), format!("{}=/x/sub", text(&two))];
        let args = ["restore", "--into", "into", "--volume", &moved[0], "--volume", &moved[1]];
        assert_refused(&s.run(args), &["/x/sub", "would lie in /x", "--volume"]);
        let same = [moved[0].clone(), format!("{}=/x", text(&two))];
        let args = ["restore", "--into", "into", "--volume", &same[0], "--volume", &same[1]];
        assert_refused(&s.run(args), &["is there twice"]);
        assert!(!s.path("into").exists());
    });
}

#[test]
fn read_only_volumes_can_be_left_out() {
    sandboxed(|s| {
        s.init();
        let writable = Tree::at(s.path("vol/a")).file("file", b"x").done();
        let volume = Tree::at(s.path("vol/b")).file("file", b"x").done();
        let single = Tree::at(s.path("vol/files")).file("single", b"x").done().join("single");
        s.configure("web", &[&writable, &volume, &single]);
        s.backup();
        for path in [writable.join("file"), volume.join("file"), single.clone()] {
            fs::write(path, "changed").unwrap();
        }
        s.read_only(&volume);
        s.read_only(&single);
        assert_refused(&s.run(["restore"]), &["Read-only file system", "--skip-read-only"]);
        assert_eq!(fs::read(writable.join("file")).unwrap(), b"changed");
        let dry = s.run(["restore", "--skip-read-only", "--dry-run", "--json"]).ok().json();
        let done = s.run(["restore", "--skip-read-only", "--json"]).ok();
        let done = done.says(&[text(&volume), text(&single), "left as it is"]).json();
        for report in [dry, done] {
            assert_eq!(report["read_only"], json!([text(&volume), text(&single)]));
            assert_eq!(report["volumes"].as_array().unwrap().len(), 1);
        }
        assert_eq!(fs::read(writable.join("file")).unwrap(), b"x");
        assert_eq!(fs::read(volume.join("file")).unwrap(), b"changed");
        assert_eq!(fs::read(&single).unwrap(), b"changed");
        s.configure("web", &[&volume, &single]);
        assert_refused(&s.run(["restore", "--skip-read-only"]), &[text(&volume), "as all volumes are"]);
        s.run(["restore", "--skip-read-only", "--into", "into"]).exits(2);
    });
}

#[test]
fn a_directory_whose_attributes_alone_change_is_not_called_replaced() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("file", b"x").dir("dir").done();
        s.configure("web", &[&volume]);
        s.backup();
        Tree::at(&volume).mtime(5, 6).done();
        let dry = s.run(["restore", "--dry-run"]).ok().stdout();
        assert!(dry.starts_with(&format!("update {}\nwould restore ", text(&volume))), "{dry}");
        assert!(dry.contains(": create 0, replace 0, remove 0, update 1; "), "{dry}");
        fs::remove_dir(volume.join("dir")).unwrap();
        fs::write(volume.join("dir"), "").unwrap();
        let dry = s.run(["restore", "--dry-run"]).ok().stdout();
        assert!(dry.contains(&format!("replace {}\n", text(&volume.join("dir")))), "{dry}");
    });
}
