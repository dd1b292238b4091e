//! An archive of the same volume inside that volume: behind a damaged header its members are found too, each as sound as
//! those of the archive itself, and none of them may be taken for one.

use std::fs;
use std::path::PathBuf;

use crate::support::members::members;
use crate::support::sandbox::text;
use crate::support::{Picture, Run, Sandbox, Tree, sandboxed};

/// A volume with an older archive of itself in the file `m`, which also has what the volume no longer has: its members sort
/// before and behind `m`. `cut` makes of the archive what is put there. The new archive, the range of the member `m`, and
/// the volume.
fn prepared(s: &Sandbox, cut: impl Fn(Vec<u8>) -> Vec<u8>) -> (Vec<u8>, std::ops::Range<usize>, PathBuf) {
    s.init();
    let volume = Tree::at(s.path("vol"))
        .file("a", b"old a")
        .file("deleted", b"old")
        .file("n", b"old n")
        .file("z deleted", b"old")
        .done();
    s.configure("web", &[&volume]);
    s.backup();
    let older = cut(fs::read(s.archive()).unwrap());
    for deleted in ["deleted", "z deleted"] {
        fs::remove_file(volume.join(deleted)).unwrap();
    }
    for (name, content) in [("a", &b"new a"[..]), ("m", &older), ("n", b"new n"), ("o", b"new o")] {
        fs::write(volume.join(name), content).unwrap();
    }
    s.init();
    s.backup();
    let bytes = fs::read(s.archive()).unwrap();
    let (all, _) = members(&bytes);
    let m = all.iter().find(|member| member.name.ends_with("vol/m")).unwrap();
    let range = m.parts[0].1.start..m.parts.last().unwrap().1.end;
    (bytes, range, volume)
}

fn salvage(s: &Sandbox, bytes: &[u8], volume: &std::path::Path) -> (Run, Vec<String>) {
    fs::write(s.archive(), bytes).unwrap();
    let out = s.path("out");
    let run = s.run(["restore", "--skip-damaged", "--into", "out", "--json"]).exits(3);
    let found = Picture::of(out.join(volume.strip_prefix("/").unwrap()));
    let differences = Picture::of(volume).differences(&found);
    fs::remove_dir_all(out).unwrap();
    (run, differences)
}

/// Each block of the header of `m`, flipped or zeroed.
fn damage(s: &Sandbox, cut: impl Fn(Vec<u8>) -> Vec<u8>) {
    let (bytes, m, volume) = prepared(s, cut);
    for block in (m.start..m.start + 3 * 512).step_by(512) {
        for zero in [false, true] {
            let mut damaged = bytes.clone();
            if zero {
                damaged[block..block + 512].fill(0);
            } else {
                damaged[block + 20] ^= 1;
            }
            let (run, differences) = salvage(s, &damaged, &volume);
            assert_eq!(differences, ["m: missing"], "block {block}, zero {zero}: {run}");
            let left_out = run.json()["skipped"]["left_out"].to_string();
            assert!(left_out.contains(&m.start.to_string()) || left_out.contains("vol/m"), "{run}");
            assert_eq!(run.json()["skipped"]["missing"], 1, "{run}");
        }
    }
}

#[test]
fn members_of_an_archive_in_a_damaged_file_are_not_restored() {
    sandboxed(|s| damage(s, |archive| archive));
}

#[test]
fn nor_are_those_of_one_that_is_cut_off_between_members() {
    sandboxed(|s| {
        damage(s, |archive| {
            let (all, _) = members(&archive);
            let close = all.last().unwrap().parts[0].1.start;
            // Its last member is followed by the next of the archive itself, as if they belonged together.
            archive[..close].to_vec()
        });
    });
}

#[test]
fn nor_are_those_of_members_alone_that_sort_behind_the_file() {
    sandboxed(|s| {
        damage(s, |archive| {
            let (all, _) = members(&archive);
            let z = all.iter().find(|member| member.name.ends_with("z deleted")).unwrap();
            archive[z.parts[0].1.start..z.parts.last().unwrap().1.end].to_vec()
        });
    });
}

#[test]
fn an_archive_that_ends_in_a_file_that_is_one_brings_nothing_of_that() {
    sandboxed(|s| {
        let (bytes, m, volume) = prepared(s, |archive| archive);
        let (run, differences) = salvage(s, &bytes[..m.end - 1024], &volume);
        assert_eq!(differences, ["m: missing", "n: missing", "o: missing"], "{run}");
        assert_eq!(run.json()["skipped"]["missing"], serde_json::Value::Null, "{run}");
    });
}

#[test]
fn a_snapshot_without_its_closing_files_is_restored_by_its_place_and_the_named_volumes() {
    sandboxed(|s| {
        let (bytes, _, volume) = prepared(s, |archive| archive);
        let (all, end) = members(&bytes);
        let list = all.iter().find(|member| member.name == "web/volumes-data.yml").unwrap().parts[0].1.start;
        let mut zeroed = bytes.clone();
        zeroed[list..end].fill(0);
        for damaged in [&bytes[..list + 700], &zeroed] {
            fs::write(s.archive(), damaged).unwrap();
            let out = s.path("out");
            fs::write(s.config(), "prefix: web\n").unwrap();
            let args = ["restore", "--skip-damaged", "--into", "out"];
            s.run(args).exits(1).says(&["--volume", "@0", text(&volume)]);
            assert!(!out.exists());
            let named = s.run(args.iter().copied().chain(["--snapshot", "@0", "--volume", text(&volume)]));
            named.exits(3).says(&["not known"]);
            Picture::of(&volume).assert_same(out.join(volume.strip_prefix("/").unwrap()));
            fs::remove_dir_all(out).unwrap();
        }
    });
}

#[test]
fn what_is_there_already_is_not_replaced_by_less_and_in_place_is_refused() {
    sandboxed(|s| {
        let (bytes, _, volume) = prepared(s, |archive| archive);
        fs::write(s.archive(), &bytes[..bytes.len() - 1024]).unwrap();
        let before = Picture::of(s.root());
        s.run(["restore", "--skip-damaged"]).exits(2).says(&["--into"]);
        s.run(["restore", "--skip-damaged", "--in-place"]).exits(2);
        s.run(["restore", "--skip-damaged", "--in-place", "--into", "out"]).exits(2);
        s.run(["restore", "--skip-damaged", "--into", "/"]).exits(1).says(&[text(&volume), "--into"]);
        before.assert_same(s.root());
        // All of what is named is there, and so it is no loss that the archive has no end.
        let listed = s.run(["verify", "--json"]).exits(1).json();
        let id = listed["snapshots"][0]["id"].as_str().unwrap();
        let args = ["restore", "--skip-damaged", "--into", "out", "--snapshot", id];
        s.run(args.iter().copied().chain(["--dry-run"])).ok();
        assert!(!s.path("out").exists());
        s.run(args).ok();
        Picture::of(&volume).assert_same(s.path("out").join(volume.strip_prefix("/").unwrap()));
        s.run(["restore", "--skip-damaged", "--into", "out"]).exits(1).says(&["there is something"]);
    });
}
