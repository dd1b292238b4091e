//! Snapshots that a later version of the program wrote, and that only it can restore: refused by name, listed,
//! checked as far as that goes, and appended to.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::refused;
use crate::hostile::craft::{BLOCK, Member, field, parse, put, write};
use crate::support::sandbox::text;
use crate::support::{Picture, Sandbox, Tree, sandboxed};

/// What its close says, and what of that is in each message.
const NEEDS: (&str, &str) = (
    r#"{"format": 2, "needs": ["moons", "index", "tides"], "more": {"x": [1]},"#,
    r#"it needs "moons" and "tides", which this program does not know"#,
);
const FORMAT: (&str, &str) =
    (r#"{"format": 3, "members_elsewhere": true,"#, "it has format 3, and this program knows 1 to 2");
const WRITER: &str = "use snapshotter 9.1.0, which wrote it, or a newer version";

/// An archive with a snapshot of one volume, which a later version closed, and that volume.
fn prepared(s: &Sandbox, opening: &str) -> PathBuf {
    s.init();
    let volume = Tree::at(s.path("vol/a")).file("file", b"x").done();
    s.configure("web", &[&volume]);
    s.backup();
    let (mut members, tail) = parse(&fs::read(s.archive()).unwrap());
    assert_eq!(tail, [0; 2 * BLOCK]);
    let close = members.last_mut().unwrap();
    let manifest = String::from_utf8(close.data.clone()).unwrap();
    let program = format!("\"snapshotter {}\"", env!("CARGO_PKG_VERSION"));
    let manifest =
        manifest.replacen("{\n  \"format\": 1,", opening, 1).replace(&program, "\"snapshotter 9.1.0\"");
    assert!(manifest.starts_with(opening) && manifest.contains("9.1.0"));
    close.data = manifest.into_bytes();
    put(&mut close.block[field::SIZE], format!("{:011o}\0", close.data.len()).as_bytes());
    // Behind the volumes there is something that belongs to none.
    let at = members.len() - 2;
    members.insert(at, Member::ours(b'0', b"web/snapshot.tides", b"an index"));
    fs::write(s.archive(), write(&members, &tail)).unwrap();
    volume
}

fn first(list: &Value) -> &Value {
    &list["snapshots"][0]
}

#[test]
fn each_way_to_restore_refuses_it_by_name() {
    for (opening, reason) in [NEEDS, FORMAT] {
        sandboxed(|s| {
            let volume = prepared(s, opening);
            let file = volume.join("file");
            let id = first(&s.list())["id"].as_str().unwrap().to_owned();
            let words = [text(&s.archive()).to_owned(), id.clone(), reason.to_owned(), WRITER.to_owned()];
            let words = words.each_ref().map(String::as_str);
            for args in [
                &["restore"][..],
                &["restore", "--snapshot", &id],
                &["restore", "--in-place"],
                &["restore", "--dry-run"],
                &["restore", "--into", "into"],
                &["restore", "--into", "into", "--path", text(&file)],
                &["restore", "--into", "into", "--dry-run"],
                &["restore", "--into", "into", "--skip-damaged"],
                &["restore", "--into", "into", "--skip-damaged", "--snapshot", &id],
            ] {
                refused(s, args, &words);
            }
        });
    }
}

#[test]
fn it_is_listed_and_what_can_be_checked_of_it_is() {
    for (opening, reason) in [NEEDS, FORMAT] {
        sandboxed(|s| {
            prepared(s, opening);
            let list = s.list();
            assert_eq!(first(&list)["program"], "snapshotter 9.1.0");
            assert_eq!(first(&list)["prefix"], "web");
            assert!(first(&list)["refused"].as_str().unwrap().starts_with(reason), "{list}");
            assert_eq!(list["problems"].as_array().unwrap().len(), 0);
            let shown = s.run(["list"]).ok().stdout();
            assert!(shown.contains(reason) && shown.contains(WRITER), "{shown}");
            let members = s.run(["list", first(&list)["id"].as_str().unwrap()]).ok().stdout();
            assert!(members.contains("web/snapshot.tides"), "{members}");

            // Nothing is wrong with it, and even so nobody may rely on it.
            let run = s.run(["verify"]).exits(1);
            assert!(run.stdout().contains("UNKNOWN") && run.stdout().contains(reason), "{run}");
            assert!(run.stderr().contains("nothing is damaged"), "{run}");
            let run = s.run(["verify", "--json"]).exits(1).json();
            assert_eq!((&run["ok"], &run["problems"]), (&Value::Bool(false), &Value::Array(Vec::new())));
            assert!(first(&run)["refused"].as_str().unwrap().starts_with(reason), "{run}");

            let mut archive = fs::read(s.archive()).unwrap();
            let at = archive.windows(8).position(|window| window == b"an index").unwrap();
            archive[at] ^= 1;
            fs::write(s.archive(), archive).unwrap();
            let run = s.run(["verify"]).exits(1);
            assert!(run.stdout().contains("DAMAGED") && run.stdout().contains(reason), "{run}");
            assert!(run.stderr().contains("web/snapshot.tides: it does not match its checksum"), "{run}");
        });
    }
}

#[test]
fn a_backup_appends_behind_it_and_that_one_is_restored() {
    for (opening, reason) in [NEEDS, FORMAT] {
        sandboxed(|s| {
            let volume = prepared(s, opening);
            let before = fs::read(s.archive()).unwrap();
            let picture = Picture::of(&volume);
            s.backup();
            let after = fs::read(s.archive()).unwrap();
            let kept = before.len() - 2 * BLOCK;
            assert!(after.len() > before.len() && after[..kept] == before[..kept]);
            let list = s.list();
            assert_eq!(list["snapshots"].as_array().unwrap().len(), 2);
            assert!(list["snapshots"][1].get("refused").is_none(), "{list}");
            Tree::at(&volume).file("more", b"y").done();
            s.restore();
            picture.assert_same(&volume);
            let old = first(&list)["id"].as_str().unwrap();
            refused(s, &["restore", "--snapshot", old], &[reason, WRITER]);
        });
    }
}
