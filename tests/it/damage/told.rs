//! What is told of a damaged archive to somebody who has nothing else: all that is missing, and nothing that is not; and
//! no advice that would cost what is left.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::members::members;
use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Sandbox, Tree, sandboxed};

const BLOCK: usize = 512;

/// A volume, an archive with two snapshots of it, and where the members of the second lie, by the ends of their names.
struct Prepared {
    volume: PathBuf,
    bytes: Vec<u8>,
    members: Vec<(String, Range<usize>)>,
}

impl Prepared {
    fn new(s: &Sandbox, backup: &[&str]) -> Self {
        s.init();
        let volume = Tree::at(s.path("vol"))
            .dir("d")
            .file("d/in", b"in it")
            .file("d/sub/deep", pattern(700))
            .dir("e")
            .file("e/y", b"y")
            .file("large", pattern(300_001))
            .file("small", b"small")
            .done();
        s.configure("web", &[&volume]);
        s.backup();
        s.run(backup).ok();
        let bytes = fs::read(s.archive()).unwrap();
        let (all, _) = members(&bytes);
        let last = all.iter().rposition(|member| member.name == ".snapshot-begin").unwrap();
        let lies = |range: &[(_, Range<usize>)]| range.first().unwrap().1.start..range.last().unwrap().1.end;
        let members = all[last..].iter().map(|member| (member.name.clone(), lies(&member.parts))).collect();
        Prepared { volume, bytes, members }
    }

    fn at(&self, name: &str) -> Range<usize> {
        self.members.iter().find(|(full, _)| full.trim_end_matches('/').ends_with(name)).unwrap().1.clone()
    }

    fn name(&self, path: &str) -> String {
        format!("web{}/{path}", text(&self.volume))
    }
}

fn left_out(report: &Value) -> Vec<(u64, Option<&str>)> {
    let all = report["skipped"]["left_out"].as_array().unwrap().iter();
    all.map(|one| (one["offset"].as_u64().unwrap(), one["name"].as_str())).collect()
}

#[test]
fn a_path_whose_own_member_is_damaged_is_restored_with_what_is_in_it_and_no_more_is_said_to_be() {
    sandboxed(|s| {
        let mut archive = Prepared::new(s, &["backup"]);
        for name in ["vol/d", "vol/e"] {
            let header = archive.at(name).end - 1;
            archive.bytes[header - 300] ^= 1;
        }
        fs::write(s.archive(), &archive.bytes).unwrap();
        let path = archive.volume.join("d");
        let args = ["restore", "--skip-damaged", "--into", "out", "--json", "--path", text(&path)];
        let run = s.run(args).exits(3);
        let out = s.path("out").join(archive.volume.strip_prefix("/").unwrap());
        Picture::of(path.join("sub")).assert_same(out.join("d/sub"));
        assert_eq!(fs::read(out.join("d/in")).unwrap(), b"in it");
        assert!(!out.join("e").exists());
        let report = run.json();
        assert_eq!(report["skipped"]["made"], serde_json::json!([text(&path)]), "{run}");
        // The root is only on the way.
        assert_eq!((&report["entries"], &report["skipped"]["found"]), (&3.into(), &3.into()), "{run}");
    });
}

#[test]
fn what_left_no_name_is_listed_beside_what_did() {
    sandboxed(|s| {
        let mut archive = Prepared::new(s, &["backup"]);
        let (lost, named) = (archive.at("d/in"), archive.at("d/sub"));
        archive.bytes[lost.start + BLOCK..named.end - BLOCK].fill(0);
        fs::write(s.archive(), &archive.bytes).unwrap();
        let run = s.run(["restore", "--skip-damaged", "--into", "out", "--json"]).exits(3);
        let report = run.json();
        let name = archive.name("d/sub");
        let expected = [(lost.start as u64, None), ((named.end - BLOCK) as u64, Some(name.as_str()))];
        assert_eq!(left_out(&report), expected, "{run}");
        assert_eq!(report["skipped"]["missing"], 2, "{run}");
    });
}

#[test]
fn a_snapshot_whose_beginning_became_zeros_is_told_and_not_to_be_cut_off() {
    sandboxed(|s| {
        let archive = Prepared::new(s, &["backup"]);
        let second = archive.at(".snapshot-begin").start;
        let listed = s.list();
        for (at, start) in [0, second].into_iter().enumerate() {
            let mut bytes = archive.bytes.clone();
            bytes[start..start + 4096].fill(0);
            fs::write(s.archive(), &bytes).unwrap();
            let run = s.run(["verify"]).exits(1);
            let id = listed["snapshots"][at]["id"].as_str().unwrap();
            assert!(run.stdout().contains(&format!("DAMAGED  {id}")), "{run}");
            let said = run.complaints().join("\n");
            assert!(said.contains("--skip-damaged") && !said.contains("--discard-tail"), "{run}");
            s.run(["backup"]).exits(1).says(&["snapshotter verify"]);
            s.run(["list"]).exits(1).says(&["snapshotter verify"]);
        }
    });
}

#[test]
fn whole_snapshots_behind_the_end_are_not_to_be_cut_off() {
    sandboxed(|s| {
        let archive = Prepared::new(s, &["backup"]);
        fs::write(s.archive(), [&archive.bytes[..], &archive.bytes].concat()).unwrap();
        let run = s.run(["verify"]).exits(1);
        assert_eq!(run.stdout().matches("ok ").count(), 4, "{run}");
        assert!(!run.complaints().join("\n").contains("--discard-tail"), "{run}");
    });
}

#[test]
fn a_file_whose_padding_alone_is_damaged_is_restored_where_its_checksum_covers_its_data() {
    for (checksum, code) in [("auto", 0), ("never", 3)] {
        sandboxed(|s| {
            let mut archive = Prepared::new(s, &["backup", "--checksum", checksum]);
            for name in ["vol/small", "vol/large", "web/volumes-data.yml"] {
                let end = archive.at(name).end;
                archive.bytes[end - 1] ^= 1;
            }
            fs::write(s.archive(), &archive.bytes).unwrap();
            let problems = s.run(["verify", "--json"]).exits(1).json()["problems"].as_array().unwrap().len();
            assert_eq!(problems, 3);
            let run = s.run(["restore", "--skip-damaged", "--into", "out", "--json"]).exits(code);
            let out = s.path("out").join(archive.volume.strip_prefix("/").unwrap());
            if code == 0 {
                Picture::of(&archive.volume).assert_same(&out);
            } else {
                let report = run.json();
                let (small, large) = (archive.name("small"), archive.name("large"));
                let names: Vec<_> = left_out(&report).into_iter().map(|(_, name)| name).collect();
                assert_eq!(names, [Some(large.as_str()), Some(&small)], "{run}");
                assert!(!out.join("small").exists() && !out.join("large").exists());
            }
            s.run(["restore", "--into", "plain"]).exits(1);
        });
    }
}

#[test]
fn where_there_is_no_room_nothing_is_left_and_what_helps_is_said() {
    sandboxed(|s| {
        let mut archive = Prepared::new(s, &["backup"]);
        let lost = archive.at("d/in");
        archive.bytes[lost.end - BLOCK] ^= 1;
        fs::write(s.archive(), &archive.bytes).unwrap();
        // Too little for all of it, and for what of it is rounded up to pages.
        for (name, size) in [("less", "size=100k"), ("pages", "size=304k")] {
            let out = s.tmpfs(name, size);
            let run = s.run(["restore", "--skip-damaged", "--into", text(&out)]).exits(1);
            run.says(&["No space left on device", "make room"]).says_not(&["--in-place"]);
            assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "{name}");
        }
    });
}

#[test]
fn whole_snapshots_between_damage_are_called_so_and_none_is_mixed_with_another() {
    sandboxed(|s| {
        let archive = Prepared::new(s, &["backup"]);
        let second = archive.at(".snapshot-begin").start;
        fs::write(archive.volume.join("small"), b"changed").unwrap();
        let third = fs::read(s.archive()).unwrap().len() - 2 * BLOCK;
        s.backup();
        let ids: Vec<String> = s.list()["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect();
        let bytes = fs::read(s.archive()).unwrap();
        let large = archive.at("vol/large").start;
        // A header of the first, and either a header of the third or its beginning.
        for zeroed in
            [large - second + third + BLOCK..large - second + third + 2 * BLOCK, third..third + BLOCK]
        {
            let mut damaged = bytes.clone();
            damaged[large - second + 2 * BLOCK + 10] ^= 1;
            damaged[zeroed.clone()].fill(0);
            fs::write(s.archive(), &damaged).unwrap();
            let run = s.run(["verify", "--json"]).exits(1);
            let found = run.json();
            let ok = |id: &String| super::find(&found["snapshots"], "id", id).map(|one| one["ok"] == true);
            assert_eq!((ok(&ids[0]), ok(&ids[1])), (Some(false), Some(true)), "{zeroed:?}: {run}");
            let args =
                ["restore", "--skip-damaged", "--into", "out", "--json", "--snapshot", ids[0].as_str()];
            let run = s.run(args).exits(3);
            assert_eq!(run.json()["skipped"]["missing"], 1, "{run}");
            let small = archive.volume.join("small");
            let small = s.path("out").join(small.strip_prefix("/").unwrap());
            assert_eq!(fs::read(small).unwrap(), b"small", "{run}");
            fs::remove_dir_all(s.path("out")).unwrap();
        }
    });
}
