//! Archives that were cut or damaged: wherever it is, restore refuses, and verify finds it.

use std::fs;
use std::path::PathBuf;

use super::{assert_refused, refused};
use crate::support::members::members;
use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Sandbox, Tree, sandboxed};

/// An archive with every kind of part, and a volume that has changed since.
fn prepared(s: &Sandbox) -> PathBuf {
    s.init();
    let volume = Tree::at(s.path("vol/a"))
        .file("file", b"content of a file")
        .xattr("user.x", b"y")
        .file("large", pattern(3000))
        .file("empty", b"")
        .symlink("link", "file")
        .hard_link("hard", "file")
        .fifo("fifo")
        .sparse("sparse", 1 << 20, &[(8192, &[b's'; 4096])])
        .done();
    s.configure("web", &[&volume]);
    s.backup();
    fs::write(volume.join("file"), b"changed since").unwrap();
    volume
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    sandboxed(|s| {
        prepared(s);
        let bytes = fs::read(s.archive()).unwrap();
        let (all, end) = members(&bytes);
        let mut cuts = vec![1, end, end + 1, end + 511, end + 512, end + 513, end + 1023];
        for (_, range) in all.iter().flat_map(|member| &member.parts) {
            cuts.extend([range.start + 1, usize::midpoint(range.start, range.end), range.end - 1, range.end]);
        }
        let archive = s.archive();
        for cut in cuts {
            fs::write(&archive, &bytes[..cut]).unwrap();
            for command in ["backup", "restore", "verify"] {
                let before = Picture::of(s.root());
                let run = s.run([command]);
                assert_eq!(run.code(), Some(1), "cut at {cut}: {run}");
                if command != "verify" {
                    assert_refused(&run, &[text(&archive)]);
                }
                before.assert_same(s.root());
            }
        }
    });
}

#[test]
fn snapshots_before_a_cut_are_restored_by_their_id() {
    sandboxed(|s| {
        let volume = prepared(s);
        let first = s.list()["snapshots"][0]["id"].as_str().unwrap().to_owned();
        s.restore();
        let picture = Picture::of(&volume);
        fs::write(volume.join("file"), b"second").unwrap();
        s.backup();
        let bytes = fs::read(s.archive()).unwrap();
        let archive = s.archive();
        for back in [1, 1024, 1025, 3000, 4000] {
            fs::write(&archive, &bytes[..bytes.len() - back]).unwrap();
            // The newest may be what is cut off.
            refused(s, &["restore"], &[text(&archive), "--snapshot"]);
            s.run(["restore", "--snapshot", &first]).ok();
            picture.assert_same(&volume);
            let listed = s.run(["list", "--json"]).exits(1).json();
            assert_eq!(listed["snapshots"][0]["id"], *first, "{listed}");
            assert_eq!(listed["problems"].as_array().unwrap().len(), 1, "{listed}");
        }
    });
}

#[test]
fn a_damaged_byte_anywhere_is_found() {
    sandboxed(|s| {
        prepared(s);
        let good = fs::read(s.archive()).unwrap();
        let (all, end) = members(&good);
        let mut kinds = std::collections::BTreeSet::new();
        let parts =
            all.iter().flat_map(|member| member.parts.iter().map(|part| (member.name.as_str(), part)));
        let the_end = ("end", end..end + 1024);
        let archive = s.archive();
        for (name, (kind, range)) in parts.chain(std::iter::once(("the", &the_end))) {
            kinds.insert(*kind);
            for at in [range.start, usize::midpoint(range.start, range.end), range.end - 1] {
                let mut bytes = good.clone();
                bytes[at] ^= 0x04;
                fs::write(&archive, &bytes).unwrap();
                let what = format!("byte {at}, {kind} of {name}");
                let before = Picture::of(s.root());
                let run = s.run(["restore"]);
                assert_eq!(run.code(), Some(1), "{what}: {run}");
                assert_refused(&run, &[text(&archive)]);
                let verified = s.run(["verify", "--json"]);
                assert_eq!(verified.code(), Some(1), "{what}: {verified}");
                let verified = verified.json();
                assert_eq!(verified["ok"], false, "{what}");
                assert!(!verified["problems"].as_array().unwrap().is_empty(), "{what}: {verified}");
                before.assert_same(s.root());
            }
        }
        let expected = ["data", "end", "header", "padding", "pax data", "pax header", "pax padding"];
        assert!(expected.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    });
}

#[test]
fn a_member_that_is_gone_or_doubled_is_found() {
    sandboxed(|s| {
        prepared(s);
        let good = fs::read(s.archive()).unwrap();
        let (all, _) = members(&good);
        let archive = s.archive();
        // All but .snapshot-begin, which comes first.
        for member in &all[1..] {
            let whole = member.part("pax header").start..member.parts.last().unwrap().1.end;
            let gone = [&good[..whole.start], &good[whole.end..]].concat();
            let doubled = [&good[..whole.end], &good[whole.start..]].concat();
            // A second close stands behind the snapshot, and is foreign.
            let closes = member.name.ends_with("snapshot.json");
            for bytes in [Some(gone), (!closes).then_some(doubled)].into_iter().flatten() {
                fs::write(&archive, &bytes).unwrap();
                let verified = s.run(["verify"]);
                assert_eq!(verified.code(), Some(1), "{}: {verified}", member.name);
                let before = Picture::of(s.root());
                let run = s.run(["restore"]);
                assert_eq!(run.code(), Some(1), "{}: {run}", member.name);
                assert_refused(&run, &[text(&archive)]);
                before.assert_same(s.root());
            }
        }
    });
}
