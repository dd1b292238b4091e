//! The end of an archive, found from snapshot to snapshot: always where a walk over all headers arrives, or nowhere.
//! Nothing that a volume holds, and nothing behind the end, leads it astray.

use std::fs;
use std::path::{Path, PathBuf};

use crate::hostile::craft::{Body, Member, parse, write};
use crate::support::members::members;
use crate::support::sandbox::text;
use crate::support::{Picture, Run, Sandbox, Tree, need, sandboxed, tool};

const BLOCK: usize = 512;
const POINTER: &[u8] = b"snapshot-close:";

/// A volume with a file that may hold anything.
fn prepared(s: &Sandbox) -> PathBuf {
    s.init();
    let volume = Tree::at(s.path("vol")).dir("d").file("d/a", b"a").file("d/held", b"").done();
    s.configure("web", &[&volume]);
    volume
}

fn read(s: &Sandbox) -> Vec<u8> {
    fs::read(s.archive()).unwrap()
}

/// How many snapshots both ways to look at the archive find in it, where they find nothing wrong.
fn snapshots(s: &Sandbox, title: &str) -> Option<usize> {
    let (list, verify) = (s.run(["list", "--json"]), s.run(["verify", "--json"]));
    assert_eq!(list.code(), verify.code(), "{title}: {list}{verify}");
    let count = |run: &Run| run.json()["snapshots"].as_array().unwrap().len();
    (list.code() == Some(0)).then(|| {
        assert_eq!(count(&list), count(&verify), "{title}: {list}{verify}");
        count(&list)
    })
}

/// Appends a snapshot, which must be the last of so many, found by a walk, and restored.
fn appended(s: &Sandbox, volume: &Path, count: usize, title: &str) {
    let old = read(s);
    let kept = Picture::of(volume);
    s.backup();
    assert_eq!(snapshots(s, title), Some(count), "{title}");
    let into = s.path("into");
    s.run(["restore", "--into", "into"]).ok();
    kept.assert_same(into.join(volume.strip_prefix("/").unwrap()));
    fs::remove_dir_all(into).unwrap();
    fs::write(s.archive(), old).unwrap();
}

#[test]
fn the_first_directory_says_where_its_snapshot_closes() {
    sandboxed(|s| {
        let volume = prepared(s);
        let file = Tree::at(s.path("v")).file("file", b"x").done().join("file");
        s.configure("web", &[&file, &volume]);
        s.backup();
        s.backup();
        let bytes = read(s);
        let (members, _) = members(&bytes);
        let begins: Vec<_> = members.iter().filter(|member| member.name == ".snapshot-begin").collect();
        let starts: Vec<usize> = begins.iter().map(|begin| begin.part("header").start).collect();
        let mut said = Vec::new();
        for member in &members {
            let Some((_, pax)) = member.parts.iter().find(|(what, _)| *what == "pax data") else { continue };
            let records = String::from_utf8_lossy(&bytes[pax.clone()]).into_owned();
            if let Some((_, behind)) = records.split_once(" comment=snapshot-close:") {
                assert!(member.name.ends_with("/vol/"), "{}", member.name);
                said.push(behind[..20].parse::<usize>().unwrap());
            }
        }
        let closes = members.iter().filter(|member| member.name.ends_with("/snapshot.json"));
        let closes: Vec<usize> = closes.map(|close| close.part("pax header").start).collect();
        assert_eq!(said, [closes[0] - starts[0], closes[1] - starts[1]]);
        s.verify();
    });
}

#[test]
fn what_lies_between_is_not_read_and_is_still_held_against_the_close() {
    sandboxed(|s| {
        let volume = prepared(s);
        s.backup();
        fs::write(volume.join("d/a"), b"b").unwrap();
        let kept = Picture::of(&volume);
        let old = s.list()["snapshots"][0]["id"].as_str().unwrap().to_owned();
        let sound = read(s);
        let (members, _) = members(&sound);
        let inner = members.iter().find(|member| member.name.ends_with("/d/a")).unwrap();
        for part in ["header", "pax header", "pax data", "data"] {
            let mut bytes = sound.clone();
            bytes[inner.part(part).start] ^= 1;
            fs::write(s.archive(), &bytes).unwrap();
            // It is appended to, and what is appended is found; what is damaged is found where it is used.
            s.backup();
            s.run(["restore", "--into", "into"]).ok();
            kept.assert_same(s.path("into").join(volume.strip_prefix("/").unwrap()));
            fs::remove_dir_all(s.path("into")).unwrap();
            assert_eq!(s.list()["snapshots"].as_array().unwrap().len(), 2, "{part}");
            s.run(["verify"]).exits(1).says(&["offset "]);
            let run = s.run(["restore", "--into", "into", "--snapshot", &old]).exits(1);
            run.says(&["is damaged at offset", "--skip-damaged"]);
            assert!(!s.path("into").exists());
            if part != "data" {
                s.run(["list", &old]).exits(1).says(&["is damaged at offset"]);
            }
            let skip = ["restore", "--into", "into", "--snapshot", &old, "--skip-damaged"];
            s.run(skip).exits(3).prints(&["left out: "]);
            fs::remove_dir_all(s.path("into")).unwrap();
        }
        // A member that is gone, with headers that lead on.
        let gone = inner.part("pax header").start..inner.part("padding").end;
        let mut bytes = sound.clone();
        let block = tar_of_zeros(&format!("{}b", inner.name), gone.len() - BLOCK);
        bytes.splice(gone, block);
        fs::write(s.archive(), &bytes).unwrap();
        for args in [&["restore", "--into", "into"][..], &["list", &old]] {
            s.run(args).exits(1).says(&["a member without a checksum inside a snapshot"]);
        }
        s.run(["verify"]).exits(1);
    });
}

/// A member of another program that is so many bytes of zeros.
fn tar_of_zeros(name: &str, length: usize) -> Vec<u8> {
    let bytes = write(&[Member::plain(b'0', name.as_bytes(), &vec![0; length])], b"");
    assert_eq!(bytes.len(), length + BLOCK);
    bytes
}

#[test]
fn a_pointer_that_is_wrong_is_damage_and_leads_nowhere() {
    sandboxed(|s| {
        let volume = prepared(s);
        s.backup();
        s.backup();
        let (sound, tail) = parse(&read(s));
        let first = sound.iter().position(|member| pointer(&mut member.clone()).is_some()).unwrap();
        let right = pointer(&mut sound[first].clone()).unwrap()[POINTER.len()..][..20].to_vec();
        // What is forged lacks the spaces that fill a block.
        let right = String::from_utf8(right).unwrap().parse::<u64>().unwrap() - 512;
        let length = read(s).len() as u64;
        for wrong in [0, 512, right - 512, right + 512, right + 1, length, u64::MAX, 2 * right + 1536] {
            let mut forged = sound.clone();
            // Without the spaces behind it, it is left as it is.
            *pointer(&mut forged[first]).unwrap() = [POINTER, format!("{wrong:020}").as_bytes()].concat();
            fs::write(s.archive(), write(&forged, &tail)).unwrap();
            for command in ["list", "verify", "backup", "restore"] {
                s.run([command]).exits(1).says(&["says that the snapshot closes elsewhere"]);
            }
        }
        for odd in [
            &b"snapshot-close:"[..],
            b"snapshot-close:1",
            b"snapshot-close:+0000000000000000512",
            b"snapshot-close",
        ] {
            let mut forged = sound.clone();
            *pointer(&mut forged[first]).unwrap() = odd.to_vec();
            fs::write(s.archive(), write(&forged, &tail)).unwrap();
            appended(s, &volume, 3, "odd");
        }
        // Its member's checksum is looked at.
        fs::write(s.archive(), write(&sound, &tail)).unwrap();
        let mut bytes = read(s);
        let at = bytes.windows(POINTER.len()).position(|window| window == POINTER).unwrap();
        bytes[at + POINTER.len() + 19] ^= 1;
        fs::write(s.archive(), &bytes).unwrap();
        assert_eq!(snapshots(s, "flipped"), None);
    });
}

fn pointer(member: &mut Member) -> Option<&mut Vec<u8>> {
    let Body::Records(records) = &mut member.extensions.last_mut()?.body else { return None };
    records.iter_mut().map(|(_, value)| value).find(|value| value.starts_with(POINTER))
}

#[test]
fn an_archive_that_is_cut_at_any_byte_is_appended_to_where_a_walk_ends_or_not_at_all() {
    sandboxed(|s| {
        let volume = prepared(s);
        s.backup();
        let second = read(s).len() - 2 * BLOCK;
        s.backup();
        let whole = read(s);
        for cut in (0..whole.len()).step_by(BLOCK).chain([second + 1, whole.len() - 1, whole.len() - 1025]) {
            // Cut, and cut with zeros behind, as a filesystem may leave it.
            for more in [0, 3 * BLOCK, 1 << 20] {
                let bytes = [&whole[..cut], &vec![0; more]].concat();
                fs::write(s.archive(), &bytes).unwrap();
                let title = format!("cut at {cut}, {more} more");
                if let Some(count) = snapshots(s, &title) {
                    appended(s, &volume, count + 1, &title);
                } else {
                    s.run(["backup"]).exits(1);
                    assert_eq!(read(s), bytes, "{title}");
                }
            }
        }
    });
}

#[test]
fn what_a_killed_backup_left_leads_nowhere_whatever_its_volume_held() {
    sandboxed(|s| {
        let volume = prepared(s);
        s.backup();
        let end = read(s).len() - 2 * BLOCK;
        let one = read(s);
        // Copies of the archive itself, at every distance, and one whose offsets are those that they say, padded in
        // front to where it will lie.
        s.backup();
        let two = read(s);
        let copies: Vec<u8> = (0..4).flat_map(|shift| [&vec![0; shift * BLOCK], &two[..]].concat()).collect();
        fs::write(volume.join("d/held"), &copies).unwrap();
        let padded = fs::File::create(volume.join("d/padded")).unwrap();
        padded.set_len(1 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&padded, &two[end..], 1 << 20).unwrap();
        fs::write(s.archive(), &one).unwrap();
        s.backup();
        let mut whole = read(s);
        appended(s, &volume, 3, "copies of itself in a file");
        // Never committed, and cut anywhere, as by a kill.
        whole[end..end + BLOCK].fill(0);
        let cuts = (end + 3 * BLOCK..whole.len()).step_by(7 * BLOCK);
        for cut in cuts.chain([whole.len() - 2 * BLOCK, whole.len()]) {
            fs::write(s.archive(), &whole[..cut]).unwrap();
            appended(s, &volume, 2, &format!("killed at {cut}"));
        }
    });
}

#[test]
fn what_other_programs_append_is_walked_over() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        let volume = prepared(s);
        s.backup();
        let one = read(s);
        fs::write(s.path("copy.tar"), &one).unwrap();
        // A file of another program with the archive in it, one whose content is its tail, and an archive that is
        // appended to itself.
        for (args, count) in [
            (&["-rf", "backup.tar", "copy.tar"][..], 1),
            (&["-b1", "-rf", "backup.tar", "copy.tar"], 1),
            (&["-Af", "backup.tar", "copy.tar"], 2),
            (&["-b1", "-Af", "backup.tar", "copy.tar"], 2),
        ] {
            fs::write(s.archive(), &one).unwrap();
            tool("tar", args).silent();
            assert_eq!(snapshots(s, &format!("{args:?}")), Some(count));
            appended(s, &volume, count + 1, &format!("{args:?}"));
            // And once more behind that.
            s.backup();
            appended(s, &volume, count + 2, &format!("{args:?}, twice"));
        }
        // The same with one that another program wrote first.
        tool("tar", ["-cf", text(&s.archive()), "copy.tar"]).silent();
        appended(s, &volume, 1, "behind another program's");
    });
}

#[test]
fn an_append_to_a_long_archive_reads_little_of_it() {
    if !need("strace") {
        return;
    }
    sandboxed(|s| {
        let volume = prepared(s);
        let mut tree = Tree::at(&volume);
        for at in 0..2000 {
            tree = tree.file(format!("d/{at}"), b"");
        }
        tree.done();
        s.backup();
        s.configure("other", &[&Tree::at(s.path("small")).done()]);
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-e", "trace=pread64,preadv", "-o"]).arg(s.path("trace"));
        command.arg(assert_cmd::cargo::cargo_bin!("snapshotter")).arg("backup");
        s.run_as(command).ok();
        let trace = fs::read_to_string(s.path("trace")).unwrap();
        let read: usize =
            trace.lines().filter_map(|line| line.rsplit_once("= ")?.1.parse::<usize>().ok()).sum();
        assert!(read < 200_000 && read > 4096, "{read} of {} bytes", read_len(s));
    });
}

fn read_len(s: &Sandbox) -> u64 {
    fs::metadata(s.archive()).unwrap().len()
}
