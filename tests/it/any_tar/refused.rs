//! Tars that are made to do harm, or that cannot be restored as they are: nothing is changed, and it is said why.

use std::fs;

use tar::EntryType;

use crate::support::sandbox::text;
use crate::support::{Picture, Sandbox, Tree, sandboxed};

/// Name, type, link, content.
type Member<'a> = (&'a str, u8, &'a str, &'a [u8]);

const FILE: u8 = b'0';
const HARD: u8 = b'1';
const SYMLINK: u8 = b'2';
const DIR: u8 = b'5';

fn bytes(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::new(*kind));
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// In each way there is, nothing changes, and it is said why.
fn refused(s: &Sandbox, what: &str, tar: &[u8], more: &[&str], words: &[&str]) {
    fs::write(s.path("theirs.tar"), tar).unwrap();
    let before = Picture::of(s.root());
    let volume = s.path("vol");
    let from = [&["restore", "--config", "", "--from-tar", "theirs.tar"], more].concat();
    for way in
        [&["--volume", text(&volume)][..], &["--volume", text(&volume), "--in-place"], &["--into", "into"]]
    {
        let run = s.run([&from[..], way].concat());
        assert!(run.code() == Some(1) && !run.stderr().contains("panicked"), "{what}: {run}");
        for word in words {
            assert!(run.stderr().contains(word), "{what}: no {word}: {run}");
        }
        let differences = before.differences(&Picture::of(s.root()));
        assert!(differences.is_empty(), "{what}: {}\n{run}", differences.join("\n"));
    }
}

fn prepared(s: &Sandbox) {
    Tree::at(s.path("outside")).file("precious", b"precious").dir("d").done();
    Tree::at(s.path("vol")).file("mine", b"mine").symlink("out", "../outside").done();
}

#[test]
fn nothing_leads_out_of_what_is_restored_to() {
    sandboxed(|s| {
        prepared(s);
        let outside = s.path("outside/precious");
        let outside = text(&outside);
        let rows: &[(&[Member<'_>], &str)] = &[
            (&[("../outside/precious", FILE, "", b"evil")], "leads out"),
            (&[("d/../../outside/precious", FILE, "", b"evil")], "leads out"),
            (&[("/../outside/precious", FILE, "", b"evil")], "leads out"),
            (&[("..", DIR, "", b"")], "leads out"),
            (
                &[("l", SYMLINK, "../outside", b""), ("l/precious", FILE, "", b"evil")],
                "in what is no directory",
            ),
            (&[("l/precious", FILE, "", b"evil"), ("l", SYMLINK, "../outside", b"")], "l"),
            (&[("l", SYMLINK, "../outside", b""), ("l/new", DIR, "", b"")], "in what is no directory"),
            (&[("l", SYMLINK, "../outside", b""), ("l/a/b/c", FILE, "", b"")], "in what is no directory"),
            (&[("f", FILE, "", b""), ("f/in", FILE, "", b"evil")], "is damaged at offset"),
            (&[("h", HARD, outside, b"")], "a link to anything but"),
            (&[("h", HARD, "../outside/precious", b"")], "a link to anything but"),
            (&[("h", HARD, "never", b"")], "a link to anything but"),
            (&[("h", HARD, "h", b"")], "a link to anything but"),
            (&[("h", HARD, "", b"")], "a link to anything but"),
            (&[("d", DIR, "", b""), ("h", HARD, "d", b"")], "a link to anything but"),
            (&[("h", HARD, "d", b""), ("d", DIR, "", b"")], "a link to anything but"),
            (&[("a", HARD, "b", b""), ("b", HARD, "a", b"")], "a hard link to a later hard link"),
            (&[("a", HARD, "b", b""), ("b", HARD, "c", b""), ("c", FILE, "", b"")], "later hard link"),
            (&[("l", SYMLINK, "../outside", b""), ("h", HARD, "l/precious", b"")], "a link to anything but"),
            (
                &[("a", FILE, "", b"1"), ("h", HARD, "a", b""), ("a", FILE, "", b"2")],
                "a later member of the same name replaces",
            ),
            (&[("./", SYMLINK, "../outside", b"")], "does not fit"),
            (&[("x", b'Z', "", b"")], "type 0x5a"),
            (&[("x", b'M', "", b"")], "multi-volume"),
            (&[("g", b'g', "", b"14 path=evil1\n"), ("x", FILE, "", b"")], "global header"),
            (&[], "it holds nothing"),
            (&[("label", b'V', "", b"")], "it holds nothing"),
        ];
        for (members, words) in rows {
            refused(s, words, &bytes(members), &[], &[words, "theirs.tar"]);
        }
        refused(s, "all is cut", &bytes(&[("a/b", FILE, "", b"")]), &["--strip", "2"], &["it holds nothing"]);
    });
}

#[test]
fn absolute_names_stay_inside() {
    sandboxed(|s| {
        prepared(s);
        let outside = s.path("outside/precious");
        fs::write(s.path("theirs.tar"), bytes(&[(text(&outside), FILE, "", b"inside")])).unwrap();
        s.run(["restore", "--config", "", "--from-tar", "theirs.tar", "--into", "into"]).ok();
        assert_eq!(fs::read(&outside).unwrap(), b"precious");
        let inside = s.path("into").join(text(&outside).trim_start_matches('/'));
        assert_eq!(fs::read(inside).unwrap(), b"inside");
    });
}

#[test]
fn sizes_that_lie_and_maps_of_holes_that_lie_are_refused() {
    sandboxed(|s| {
        prepared(s);
        let good = bytes(&[("f", FILE, "", b"f")]);
        let sizes: [&[u8; 12]; 4] = [
            b"77777777777\0",
            b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\x00",
            b"0000000000x\0",
        ];
        let with_sum = |mut bytes: Vec<u8>| {
            let mut header = tar::Header::from_byte_slice(&bytes[..512]).clone();
            header.set_cksum();
            bytes[..512].copy_from_slice(header.as_bytes());
            bytes
        };
        for size in sizes {
            let mut bad = good.clone();
            bad[124..136].copy_from_slice(size);
            refused(s, &format!("{size:?}"), &with_sum(bad), &[], &["theirs.tar is damaged at offset 0"]);
        }
        // Offset and length of an extent, and the size of the file.
        for (offset, length, real) in [
            ("00000000000", "00000000002", "00000000010"),
            ("00000000010", "00000000001", "00000000010"),
            ("77777777777", "00000000001", "00000000010"),
            ("0000000000x", "00000000001", "00000000010"),
            ("00000000000", "00000000001", "0000000000x"),
        ] {
            let mut bad = bytes(&[("f", b'S', "", b"f")]);
            bad[386..397].copy_from_slice(offset.as_bytes());
            bad[398..409].copy_from_slice(length.as_bytes());
            bad[483..494].copy_from_slice(real.as_bytes());
            refused(s, offset, &with_sum(bad), &[], &["theirs.tar is damaged at offset 0"]);
        }
        let mut endless = bytes(&[("f", b'S', "", b"f")]);
        endless[482] = 1;
        refused(s, "a map that goes on", &with_sum(endless), &[], &["theirs.tar is damaged"]);
    });
}

#[test]
fn what_is_there_is_not_replaced_below_a_directory_and_ours_is_no_tar_of_another() {
    sandboxed(|s| {
        prepared(s);
        let tar = bytes(&[("f", FILE, "", b"f")]);
        fs::write(s.path("theirs.tar"), &tar).unwrap();
        let before = Picture::of(s.root());
        let run = s.run(["restore", "--config", "", "--from-tar", "theirs.tar", "--into", "vol"]);
        run.exits(1).says(&["cannot restore to vol: there is something", "--into"]);
        let vol = s.path("vol");
        for more in [&["--snapshot", "1a2b"][..], &["--path", "/x"], &["--skip-damaged"], &["--prefix", "p"]]
        {
            let args = ["restore", "--config", "", "--from-tar", "theirs.tar", "--into", "into"];
            s.run([&args[..], more].concat()).exits(2).says(&["cannot be used with"]);
        }
        s.run(["restore", "--strip", "1"]).exits(2);
        let two =
            ["restore", "--config", "", "--from-tar", "theirs.tar", "--volume", text(&vol), "--into", "into"];
        s.run(two).exits(1).says(&["give one of them"]);
        let two = [
            "restore",
            "--config",
            "",
            "--from-tar",
            "theirs.tar",
            "--volume",
            text(&vol),
            "--volume",
            "/outside",
        ];
        s.run(two).exits(1);
        let mine = vol.join("mine");
        let file = ["restore", "--config", "", "--from-tar", "theirs.tar", "--volume", text(&mine)];
        s.run(file).exits(1).says(&["it is a file, and a tar needs a directory"]);
        s.run(["restore", "--config", "", "--from-tar", "none.tar", "--into", "into"])
            .exits(1)
            .says(&["none.tar", "No such file"]);
        s.run(["restore", "--config", "", "--from-tar", "vol", "--into", "into"])
            .exits(1)
            .says(&["Is a directory"]);
        before.assert_same(s.root());
        let dry = s
            .run(["restore", "--config", "", "--from-tar", "theirs.tar", "--volume", text(&vol), "--dry-run"])
            .ok();
        assert!(dry.stdout().contains("create 1"), "{dry}");
        before.assert_same(s.root());
        s.init();
        s.configure("web", &[&vol]);
        s.backup();
        let ours = s.archive();
        let run = s.run(["restore", "--config", "", "--from-tar", text(&ours), "--into", "into"]);
        run.exits(1).says(&["it is an archive of this program", "--archive"]);
        assert!(!s.path("into").exists());
    });
}
