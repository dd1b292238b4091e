//! Archives made to write where they should not. Those of the original program have no checksums to forge.

use std::fs;
use std::path::Path;

use super::refused;
use crate::support::sandbox::text;
use crate::support::{Sandbox, Tree, sandboxed};

const ID: &str = "45ed9d1d7c2e2551cab0be208038a8edb7e59bcfe8a376e81e4e31a5b17364f0";

/// A member: its name below the volume (or as it is, with `=` before it), type, link target, content.
type Member<'a> = (&'a str, tar::EntryType, &'a str, &'a [u8]);

const FILE: tar::EntryType = tar::EntryType::Regular;
const SYMLINK: tar::EntryType = tar::EntryType::Symlink;
const HARD: tar::EntryType = tar::EntryType::Link;
const DIR: tar::EntryType = tar::EntryType::Directory;

/// An archive of the original program that holds `target`, and in it these members.
fn archive(s: &Sandbox, target: &Path, members: &[Member<'_>]) {
    let mut builder = tar::Builder::new(Vec::new());
    let list = format!("- id: {ID}\n  type: dir\n  target: {}\n", text(target));
    let root: Member<'_> = ("", DIR, "", b"");
    let close: Member<'_> = ("=web/volumes-data.yml", FILE, "", list.as_bytes());
    for (name, kind, link, content) in [root].iter().chain(members).chain([&close]) {
        let name = match name.strip_prefix('=') {
            Some(name) => name.to_owned(),
            None => format!("web/{ID}{name}"),
        };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        // The builder's own ways refuse such names.
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    fs::write(s.archive(), builder.into_inner().unwrap()).unwrap();
}

fn prepared(s: &Sandbox) -> std::path::PathBuf {
    Tree::at(s.path("outside")).file("precious", b"precious").dir("d").done();
    let volume = Tree::at(s.path("vol")).file("mine", b"mine").symlink("out", "../outside").done();
    s.configure("web", &[&volume]);
    volume
}

#[test]
fn an_honest_archive_of_this_making_is_restored() {
    sandboxed(|s| {
        let volume = prepared(s);
        archive(s, &volume, &[("/d", DIR, "", b""), ("/d/f", FILE, "", b"f"), ("/l", SYMLINK, "d/f", b"")]);
        s.restore();
        assert_eq!(fs::read(volume.join("l")).unwrap(), b"f");
        assert!(!volume.join("mine").exists());
    });
}

#[test]
fn nothing_is_written_outside_a_volume() {
    sandboxed(|s| {
        let volume = prepared(s);
        let outside = s.path("outside/precious");
        let outside = text(&outside);
        let id = format!("web/{ID}/");
        let rows: [&[Member<'_>]; 13] = [
            &[("/../outside/precious", FILE, "", b"evil")],
            &[("/d/../../outside/precious", FILE, "", b"evil")],
            &[("/..", DIR, "", b"")],
            &[("/l", SYMLINK, "../outside", b""), ("/l/precious", FILE, "", b"evil")],
            &[("/l", SYMLINK, "../outside", b""), ("/l/new", DIR, "", b"")],
            &[("/l", SYMLINK, outside, b""), ("/l", FILE, "", b"evil")],
            &[("/h", HARD, outside, b"")],
            &[("/h", HARD, &format!("{id}../../../outside/precious"), b"")],
            &[("/h", HARD, "web/volumes-data.yml", b"")],
            &[("/h", HARD, &format!("{id}never"), b"")],
            &[("/d", DIR, "", b""), ("/h", HARD, &format!("{id}d"), b"")],
            &[("/l", SYMLINK, "../outside", b""), ("/h", HARD, &format!("{id}l/precious"), b"")],
            &[("/f", FILE, "", b""), ("/f/in", FILE, "", b"evil")],
        ];
        for members in rows {
            archive(s, &volume, members);
            let path = s.archive();
            for more in [&[][..], &["--in-place"], &["--into", "into"]] {
                refused(s, &[&["restore"], more].concat(), &[text(&path)]);
            }
        }
    });
}

#[test]
fn numbers_that_overflow_are_refused_before_anything_is_allocated() {
    sandboxed(|s| {
        let volume = prepared(s);
        archive(s, &volume, &[("/f", FILE, "", b"f")]);
        let good = fs::read(s.archive()).unwrap();
        let member = good.chunks(512).position(|block| block.starts_with(format!("web/{ID}/f\0").as_bytes()));
        let at = member.unwrap() * 512;
        let sizes: [&[u8; 12]; 5] = [
            b"77777777777\0",
            b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\x00",
            b"0000000000x\0",
        ];
        for size in sizes {
            let mut bytes = good.clone();
            bytes[at + 124..at + 136].copy_from_slice(size);
            let mut header = tar::Header::from_byte_slice(&bytes[at..at + 512]).clone();
            header.set_cksum();
            bytes[at..at + 512].copy_from_slice(header.as_bytes());
            fs::write(s.archive(), bytes).unwrap();
            let path = s.archive();
            for command in ["restore", "backup"] {
                refused(s, &[command], &[text(&path)]);
            }
            s.run(["verify"]).exits(1);
        }
    });
}
