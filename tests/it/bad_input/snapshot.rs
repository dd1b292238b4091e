//! Snapshots that the archive does not hold, or not so.

use std::fs;
use std::path::PathBuf;

use super::refused;
use crate::support::members::forge_id;
use crate::support::sandbox::text;
use crate::support::{Picture, Sandbox, Tree, sandboxed};

fn prepared(s: &Sandbox) -> PathBuf {
    s.init();
    let volume = Tree::at(s.path("vol/a")).file("file", b"x").done();
    s.configure("web", &[&volume]);
    s.backup();
    volume
}

#[test]
fn a_prefix_that_the_archive_does_not_hold() {
    sandboxed(|s| {
        prepared(s);
        let archive = s.archive();
        for prefix in ["web2", "we", "web/x", "", "Web"] {
            refused(s, &["restore", "--prefix", prefix], &[text(&archive), prefix]);
        }
        s.init();
        refused(s, &["restore"], &[text(&archive), "web"]);
    });
}

#[test]
fn a_volume_that_the_snapshot_does_not_hold() {
    sandboxed(|s| {
        let volume = prepared(s);
        let other = Tree::at(s.path("vol/b")).file("b", b"b").done();
        let begins_alike = Tree::at(s.path("vol/aa")).done();
        let inner = Tree::at(volume.join("inner")).done();
        for more in [&other, &begins_alike] {
            s.configure("web", &[&volume, more]);
            refused(s, &["restore"], &[text(more)]);
        }
        refused(s, &["restore", "--volume", text(&inner), "--prefix", "web"], &[text(&inner)]);
        refused(s, &["restore", "--into", "into"], &[text(&begins_alike)]);
    });
}

#[test]
fn a_volume_that_the_snapshot_holds_as_the_other_type() {
    sandboxed(|s| {
        let volume = prepared(s);
        let file = s.path("vol/file");
        fs::write(&file, b"file").unwrap();
        s.configure("web", &[&volume, &file]);
        s.backup();
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        refused(s, &["restore"], &[text(&file), "directory", "file"]);
        fs::remove_dir(&file).unwrap();
        fs::write(&file, b"file").unwrap();
        fs::remove_dir_all(&volume).unwrap();
        fs::write(&volume, b"").unwrap();
        refused(s, &["restore"], &[text(&volume), "directory", "file"]);
    });
}

#[test]
fn an_id_that_matches_none() {
    sandboxed(|s| {
        prepared(s);
        let id = s.list()["snapshots"][0]["id"].as_str().unwrap().to_owned();
        let other: String = id.chars().map(|c| if c == '0' { '1' } else { '0' }).collect();
        for wrong in [other.as_str(), &other[..4], &format!("{id}0"), "no hex at all", "../..", ""] {
            refused(s, &["restore", "--snapshot", wrong], &[wrong]);
            refused(s, &["list", wrong], &[wrong]);
        }
        // Too short to be meant.
        refused(s, &["restore", "--snapshot", &id[..3]], &[&id[..3]]);
    });
}

#[test]
fn an_id_that_matches_several() {
    sandboxed(|s| {
        let volume = prepared(s);
        let picture = Picture::of(&volume);
        let first = s.list()["snapshots"][0]["id"].as_str().unwrap().to_owned();
        fs::write(volume.join("file"), b"second").unwrap();
        s.run(["backup", "--note", "00000000"]).ok();
        let mut bytes = fs::read(s.archive()).unwrap();
        let second = forge_id(&mut bytes, &first[..4]);
        fs::write(s.archive(), bytes).unwrap();
        assert_eq!(s.verify()["ok"], true, "the forged archive is sound");
        assert_eq!(s.list()["snapshots"][1]["id"], *second);
        assert_ne!(first, second);

        refused(s, &["restore", "--snapshot", &first[..4]], &[&first[..4], &first, &second]);
        refused(s, &["list", &first[..4]], &[&first[..4], &first, &second]);
        s.run(["restore", "--snapshot", &first]).ok();
        picture.assert_same(&volume);
    });
}
