//! Archives of the Go program, whose members have no checksums, and snapshots of which nothing is left.

use std::fs;
use std::path::Path;

use crate::support::members::members;
use crate::support::sandbox::text;
use crate::support::{Picture, Run, Sandbox, Tree, sandboxed};

const PREFIX: &str = "prefix: volumes/busy_lewin\n";
/// SHA-256 of `/home/volume1`.
const HASH: &str = "45ed9d1d7c2e2551cab0be208038a8edb7e59bcfe8a376e81e4e31a5b17364f0";

fn fixture() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/go-busy-lewin.tar")).unwrap()
}

/// Plainly restores the sound fixture to `expected`, and then has `bytes` for the archive.
fn prepare(s: &Sandbox, bytes: &[u8]) {
    fs::write(s.config(), PREFIX).unwrap();
    fs::write(s.archive(), fixture()).unwrap();
    s.run(["restore", "--into", "expected"]).ok();
    fs::write(s.archive(), bytes).unwrap();
}

fn assert_same_volumes(s: &Sandbox) {
    for volume in ["home/volume1", "home/volume2.txt", "home/volume3"] {
        Picture::of(s.path("expected").join(volume)).assert_same(s.path("out").join(volume));
    }
}

fn shows(run: &Run, words: &[&str]) {
    let stdout = run.stdout();
    assert!(words.iter().all(|word| stdout.contains(word)), "{words:?}: {run}");
}

#[test]
fn a_sound_archive_without_checksums_is_restored_as_ever_and_it_is_said() {
    sandboxed(|s| {
        prepare(s, &fixture());
        let run = s.run(["restore", "--into", "out", "--skip-damaged"]).ok();
        shows(&run, &["without a checksum: 9 entries"]);
        assert_same_volumes(s);
    });
}

#[test]
fn members_without_checksums_in_front_of_the_damage_are_restored() {
    sandboxed(|s| {
        let sound = fixture();
        // Cut off in the list, and in the second file; and a damaged header there.
        let mut flipped = sound.clone();
        flipped[2600] ^= 1;
        for (bytes, whole) in
            [(&sound[..sound.len() - 1400], true), (&sound[..2600], false), (&flipped, false)]
        {
            prepare(s, bytes);
            let args = ["restore", "--into", "out", "--skip-damaged"];
            // Without a list a volume is called by its hash.
            shows(&s.run(args).exits(3).says(&["not known"]), &["without a checksum"]);
            let volume = s.path("expected/home/volume1");
            Picture::of(&volume).assert_same(s.path("out").join(HASH));
            fs::remove_dir_all(s.path("out")).unwrap();
            // With the configuration that it was made by, all is where it was.
            fs::write(
                s.config(),
                format!("{PREFIX}volumes: [/home/volume1, /home/volume2.txt, /home/volume3]\n"),
            )
            .unwrap();
            let run = s.run(args.iter().copied().chain(["--json"])).exits(3);
            let left_out = run.json()["skipped"]["left_out"].to_string();
            assert!(left_out.contains("volumes-data.yml"), "{run}");
            assert_eq!(left_out.contains("nothing of this volume"), !whole, "{run}");
            assert_eq!(run.json()["skipped"]["unchecked"], if whole { 9 } else { 3 }, "{run}");
            if whole {
                assert_same_volumes(s);
            }
            Picture::of(&volume).assert_same(s.path("out/home/volume1"));
            shows(&s.run(["verify"]).exits(1), &["DAMAGED  @0  volumes/busy_lewin"]);
            fs::remove_dir_all(s.path("out")).unwrap();
            fs::remove_dir_all(s.path("expected")).unwrap();
        }
    });
}

/// Two snapshots of a volume that changed between them; where the second one begins, and what the first one has.
fn two(s: &Sandbox) -> (Vec<u8>, usize, Picture) {
    s.init();
    let volume = Tree::at(s.path("vol")).file("a", b"old").done();
    s.configure("web", &[&volume]);
    s.backup();
    let older = Picture::of(&volume);
    fs::write(volume.join("a"), b"new").unwrap();
    s.backup();
    let bytes = fs::read(s.archive()).unwrap();
    let (all, _) = members(&bytes);
    let second = all.iter().rposition(|member| member.name == ".snapshot-begin").unwrap();
    (bytes, all[second].parts[0].1.start, older)
}

#[test]
fn an_older_snapshot_is_not_restored_for_a_lost_one_without_a_word() {
    sandboxed(|s| {
        let (bytes, second, older) = two(s);
        let mut lost = bytes.clone();
        lost[second..].fill(b'x');
        for damaged in [&lost[..], &lost[..second + 100], &bytes[..second + 1100], &bytes[..second]] {
            fs::write(s.archive(), damaged).unwrap();
            let args = ["restore", "--into", "out", "--skip-damaged"];
            shows(&s.run(args).exits(3), &["a newer snapshot may have been here"]);
            let volume = s.path("vol");
            older.assert_same(s.path("out").join(volume.strip_prefix("/").unwrap()));
            fs::remove_dir_all(s.path("out")).unwrap();
            // What is named is meant.
            let listed = s.run(["verify", "--json"]).exits(1).json();
            let id = listed["snapshots"][0]["id"].as_str().unwrap();
            s.run(args.iter().copied().chain(["--snapshot", id])).ok();
            fs::remove_dir_all(s.path("out")).unwrap();
        }
    });
}

#[test]
fn where_the_volumes_must_be_named_a_whole_snapshot_is_offered_and_nothing_is_no_empty_archive() {
    sandboxed(|s| {
        let (bytes, second, _) = two(s);
        fs::write(s.config(), "prefix: web\n").unwrap();
        let args = ["restore", "--into", "out", "--skip-damaged"];
        fs::write(s.archive(), &bytes[..second + 3600]).unwrap();
        let listed = s.run(["verify", "--json"]).exits(1).json();
        let id = listed["snapshots"][0]["id"].as_str().unwrap();
        s.run(args).exits(1).says(&["--volume", text(&s.path("vol")), &format!("--snapshot {id}")]);
        fs::write(s.archive(), &bytes[..1500]).unwrap();
        s.run(args).exits(1).says(&["no snapshot is left", "`tar`"]);
        assert!(!s.path("out").exists());
    });
}
