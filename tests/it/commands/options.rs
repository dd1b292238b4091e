//! What a restore can be asked to do otherwise, and what a backup can leave out.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use super::{has_keys, prepared};
use crate::bad_input::assert_refused;
use crate::support::sandbox::text;
use crate::support::torture::Torture;
use crate::support::{Picture, Tree, assert_same_tree, sandboxed};

#[test]
fn a_dry_run_changes_nothing_and_lists_what_would_change() {
    sandboxed(|s| {
        let volume = prepared(s);
        s.backup();
        fs::remove_file(volume.join("link")).unwrap();
        fs::write(volume.join("file"), b"other").unwrap();
        fs::write(volume.join("dir/new"), b"new").unwrap();
        let before = Picture::of(s.root());
        let run = s.run(["restore", "--dry-run", "--json"]).silent();
        before.assert_same(s.root());
        let result = run.json();
        has_keys(
            &result,
            "id prefix time volumes entries size unhashed warning_count warnings dry_run changes skipped seconds",
        );
        assert_eq!(result["dry_run"], true);
        let changes = result["changes"].as_array().unwrap();
        let change = |what: &str, name: &str| {
            changes.contains(&json!({"change": what, "path": text(&volume.join(name))}))
        };
        assert!(
            change("create", "link") && change("replace", "file") && change("remove", "dir/new"),
            "{run}"
        );
        assert!(!change("create", "dir/in") && !change("replace", "dir/in"), "{run}");
        let run = s.run(["restore", "--dry-run"]).ok();
        let said = run.stdout() + &run.stderr();
        assert!(said.contains(text(&volume.join("dir/new"))), "{run}");
        before.assert_same(s.root());
        s.restore();
        let result = s.run(["restore", "--dry-run", "--json"]).ok().json();
        assert_eq!(result["changes"], json!([]));
    });
}

#[test]
fn one_file_or_directory_is_had_back_beside_the_volume() {
    sandboxed(|s| {
        let volume = prepared(s);
        s.backup();
        let before = Picture::of(&volume);
        for (n, name) in ["file", "dir", "dir/in", "link", "hard"].iter().enumerate() {
            let wanted = volume.join(name);
            let into = s.path(format!("into {n}"));
            s.run(["restore", "--into", text(&into), "--path", text(&wanted)]).ok();
            let copy = into.join(wanted.strip_prefix("/").unwrap());
            let mut found = Picture::of(&copy).differences(&Picture::of(&wanted));
            found.retain(|line| !line.contains("hard link"));
            assert_eq!(found, [""; 0]);
            let others = walkdir::WalkDir::new(&into).into_iter().map(|entry| entry.unwrap().into_path());
            let others: Vec<_> =
                others.filter(|path| !copy.starts_with(path) && !path.starts_with(&copy)).collect();
            assert!(others.is_empty(), "{name}: {others:?}");
        }
        let missing = volume.join("missing");
        let run = s.run(["restore", "--into", "x", "--path", text(&missing)]);
        assert_refused(&run, &[text(&missing)]);
        before.assert_same(&volume);
    });
}

#[test]
fn what_is_excluded_is_not_stored_and_gone_after_a_restore() {
    sandboxed(|s| {
        let volume = prepared(s);
        Tree::at(&volume)
            .file("cache/a", b"x")
            .file("dir/cache/b", b"x")
            .file("x.log", b"x")
            .file("dir/y.log", b"x")
            .file("dir/keep.log", b"x")
            .file("only/here/z", b"x")
            .file("dir/only/here/z", b"x")
            .done();
        let globs = r#"["cache/", "*.log"]"#;
        let config = format!("prefix: web\nvolumes: [{}]\nexclude: {globs}\n", text(&volume));
        fs::write(s.config(), config).unwrap();
        s.run(["backup", "--exclude", "!keep.log", "--exclude", "/only/here"]).ok();
        s.restore();
        let gone = ["cache", "dir/cache", "x.log", "dir/y.log", "only/here"];
        let kept = ["file", "dir/keep.log", "only", "dir/only/here/z"];
        for name in gone {
            assert!(!volume.join(name).exists(), "{name}");
        }
        for name in kept {
            assert!(volume.join(name).exists(), "{name}");
        }
    });
}

#[test]
fn in_place_makes_do_with_the_room_of_one_copy() {
    sandboxed(|s| {
        s.init();
        let made = Torture::default().make(s.path("made"));
        let volume = s.path("vol");
        fs::create_dir(&volume).unwrap();
        s.configure("web", &[&made]);
        s.backup();
        let picture = Picture::of(&made);
        fs::remove_dir_all(made.join("sizes")).unwrap();
        fs::write(made.join("new"), b"new").unwrap();
        s.run(["restore", "--in-place", "--strict"]).ok();
        picture.assert_same(&made);
        s.run(["restore", "--into", text(&volume)]).ok();
        assert_same_tree(&made, volume.join(made.strip_prefix("/").unwrap()));
    });
}

#[test]
fn a_path_may_be_of_any_bytes() {
    sandboxed(|s| {
        let volume = prepared(s);
        let strange = OsStr::from_bytes(b"caf\xe9\n");
        fs::write(volume.join(strange), b"strange").unwrap();
        s.backup();
        let wanted = volume.join(strange);
        let into = s.path("into strange");
        let args: [&OsStr; 5] =
            ["restore".as_ref(), "--into".as_ref(), into.as_ref(), "--path".as_ref(), wanted.as_ref()];
        s.run(args).ok();
        assert_eq!(fs::read(into.join(wanted.strip_prefix("/").unwrap())).unwrap(), b"strange");
    });
}
