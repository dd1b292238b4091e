//! Archives that have broken readers of tar, or could break this one, rebuilt by hand: each with what must come of it.

mod members;
mod snapshots;

use super::craft::{Block, Extension, Member, block, field, snapshot, write};

/// What must come of a restore.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// The volume holds these files with this content afterwards (`None`: anything that is there).
    Restored(&'static [(&'static str, Option<&'static str>)]),
    /// Nothing is changed, and the reason has this in it.
    Refused(&'static str),
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) archive: Vec<u8>,
    pub(crate) expect: Expect,
}

use Expect::{Refused, Restored};

const VOLUMES: [(&str, bool); 2] = [("/srv/v", true), ("/srv/f", false)];
const OUT: &str = "leads out of its directory";
const ZEROS: [u8; 1024] = [0; 1024];
const NO_VOLUME: &str = "belongs to no volume";

/// A snapshot of the directory volume with these members in it, and the file volume.
fn volume(members: Vec<Member>) -> Vec<u8> {
    let root = Member::ours(b'5', b"w/srv/v/", b"");
    let file = Member::ours(b'0', b"w/srv/f", b"file");
    snapshot("w", &VOLUMES, [vec![root], members, vec![file]].concat())
}

fn file(name: &str) -> Member {
    Member::ours(b'0', format!("w/srv/v/{name}").as_bytes(), b"hello")
}

fn dir(name: &str) -> Member {
    Member::ours(b'5', format!("w/srv/v/{name}/").as_bytes(), b"")
}

fn symlink(name: &str, target: &str) -> Member {
    Member::ours(b'2', format!("w/srv/v/{name}").as_bytes(), b"").link(target.as_bytes())
}

fn hard_link(name: &str, target: &str) -> Member {
    Member::ours(b'1', format!("w/srv/v/{name}").as_bytes(), b"").link(target.as_bytes())
}

/// A member with this name as it is.
fn named(name: &[u8]) -> Member {
    Member::ours(b'0', name, b"evil")
}

pub(crate) fn all() -> Vec<Case> {
    let groups = [
        names(),
        headers(),
        members::numbers(),
        members::holes(),
        members::attributes(),
        snapshots::links(),
        snapshots::volumes(),
        snapshots::closes(),
    ];
    groups.into_iter().flatten().map(|(name, archive, expect)| Case { name, archive, expect }).collect()
}

type Row = (&'static str, Vec<u8>, Expect);

fn names() -> Vec<Row> {
    let one = |member: Member| volume(vec![dir("d"), member]);
    vec![
        ("an honest archive", volume(vec![dir("d"), file("d/a")]), Restored(&[("d/a", Some("hello"))])),
        ("up", one(file("../outside/precious")), Refused(OUT)),
        ("down and up", one(file("d/../../outside/precious")), Refused(OUT)),
        ("nothing but up", one(dir("..")), Refused(OUT)),
        ("a dot", one(file("./a")), Refused(OUT)),
        ("an empty part", one(file("d//a")), Refused("empty part")),
        ("absolute", one(named(b"/srv/outside/precious")), Refused(NO_VOLUME)),
        ("absolute with the prefix", one(named(b"/w/srv/v/a")), Refused(NO_VOLUME)),
        ("above the prefix", one(named(b"w/../../srv/outside/precious")), Refused(NO_VOLUME)),
        ("above the volume", one(named(b"w/srv/v/../v/a")), Refused(OUT)),
        ("a neighbour of the volume", one(named(b"w/srv/vv")), Refused(NO_VOLUME)),
        ("a dot in front", one(named(b"./w/srv/v/a")), Refused(NO_VOLUME)),
        ("no name", one(named(b"")), Refused(NO_VOLUME)),
        ("up in two fields", one(named(b"outside/precious").set(field::PREFIX, b"w/srv/v/..")), Refused(OUT)),
        ("up in a pax record", one(file("a").record("path", b"w/srv/v/../outside/precious")), Refused(OUT)),
        ("up in a GNU name", one(file("a").before(Extension::long(b'L', b"w/srv/v/../a"))), Refused(OUT)),
        ("NUL in a pax record", one(file("a").record("path", b"w/srv/v/a\0b")), Refused("zero byte")),
        ("NUL in a field", one(file("a\0/../../b")), Restored(&[("a", Some("hello"))])),
        (
            "NUL in a GNU name",
            one(file("x").before(Extension::long(b'L', b"w/srv/v/a\0/../b"))),
            Restored(&[("a", Some("hello"))]),
        ),
        ("a name of 256 bytes", one(file("a").record("path", &long_name(256))), Refused("too long")),
        ("twice", one(file("d")), Refused("")),
        ("the root twice", one(Member::ours(b'5', b"w/srv/v/", b"")), Refused("")),
        ("below no directory", volume(vec![file("d/a")]), Refused("does not follow the directory")),
        ("below a file", volume(vec![file("d"), file("d/a")]), Refused("does not follow the directory")),
        (
            "back in a directory that was left",
            volume(vec![dir("d"), file("e"), file("d/a")]),
            Refused("does not follow the directory"),
        ),
        (
            "our own staging directory",
            volume(vec![dir(".snapshotter-staging"), file(".snapshotter-staging/swapping")]),
            Restored(&[(".snapshotter-staging/swapping", Some("hello"))]),
        ),
        ("a control character", one(file("\x1b[2J\n")), Restored(&[("\x1b[2J\n", Some("hello"))])),
    ]
}

fn long_name(length: usize) -> Vec<u8> {
    [b"w/srv/v/".to_vec(), vec![b'n'; length]].concat()
}

fn headers() -> Vec<Row> {
    let global = |key: &str, value: &[u8]| Extension::pax(b'g', &[(key, value)]);
    let x = || Extension::pax(b'x', &[("path", b"w/srv/v/other")]);
    let rows = |extension: Extension, count| (0..count).fold(file("a"), |m, _| m.before(extension.clone()));
    let a = Restored(&[("a", Some("hello"))]);
    let by_path = Restored(&[("pax", Some("hello"))]);
    let renamed = || file("a").record("path", b"w/srv/v/pax");
    let mut x_before_l = renamed();
    x_before_l.extensions.push(Extension::long(b'L', b"w/srv/v/gnu"));
    vec![
        ("x before L", volume(vec![x_before_l]), by_path),
        ("L before x", volume(vec![renamed().before(Extension::long(b'L', b"w/srv/v/gnu"))]), by_path),
        (
            "L twice",
            volume(vec![
                file("x")
                    .before(Extension::long(b'L', b"w/srv/v/a"))
                    .before(Extension::long(b'L', b"w/srv/v/first")),
            ]),
            a,
        ),
        ("two x", volume(vec![file("a").before(x())]), Refused("without a checksum")),
        ("sixteen x", volume(vec![rows(x(), 15)]), Refused("without a checksum")),
        ("a thousand x", volume(vec![rows(x(), 1000)]), Refused("long row of extended headers")),
        (
            "a thousand g",
            volume(vec![rows(global("path", b"g"), 1000)]),
            Refused("long row of extended headers"),
        ),
        ("a global header that renames", volume(vec![rows(global("path", b"w/srv/v/../outside/x"), 1)]), a),
        ("a global header that resizes", volume(vec![rows(global("size", b"99999"), 1)]), a),
        ("a global header that links", volume(vec![rows(global("linkpath", b"../outside"), 1)]), a),
        (
            "a global header with records that are none",
            volume(vec![file("a").before(Extension {
                body: super::craft::Body::Raw(b"no records".to_vec()),
                block: block(b'g', b"g", 10),
            })]),
            a,
        ),
        (
            "a path twice",
            volume(vec![file("x").record("path", b"w/srv/v/../b").record("path", b"w/srv/v/a")]),
            a,
        ),
        ("an empty path", volume(vec![file("a").record("path", b"")]), a),
        ("x without a member", write(&[header_only(&x())], &ZEROS), Refused("")),
        (
            "x of another name with our checksum",
            volume(vec![named_otherwise(file("a"))]),
            Refused("without a checksum"),
        ),
        ("a vendor's type", volume(vec![Member::ours(b'Z', b"w/srv/v/a", b"hello")]), Refused("type 0x5a")),
        ("a volume label", volume(vec![Member::ours(b'V', b"w/srv/v/a", b"")]), Refused("type 0x56")),
        (
            "a record that says it is longer",
            volume(vec![raw(b"99 path=a\n")]),
            Refused("longer than its header"),
        ),
        ("a record of no length", volume(vec![raw(b"0 path=a\n")]), Refused("longer than its header")),
        ("a record with a sign", volume(vec![raw(b"+9 path=a\n")]), Refused("without a length")),
        ("a record of 2^64", volume(vec![raw(b"18446744073709551616 a=b\n")]), Refused("without a length")),
        ("a record without a newline", volume(vec![raw(b"9 path=ab")]), Refused("newline")),
        ("a record without a key", volume(vec![raw(b"5 =b\n")]), Refused("without a key")),
        ("a newline and more in a value", volume(vec![file("a").record("x", b"b\n20 path=w/srv/v/b\n")]), a),
    ]
}

/// A header of an extension as if it were a member.
fn header_only(extension: &Extension) -> Member {
    Member { extensions: Vec::new(), block: extension.block, more: Vec::new(), data: Vec::new() }
}

fn named_otherwise(mut member: Member) -> Member {
    super::craft::put(&mut member.extensions[0].block[field::NAME], b"PaxHeaders/other");
    member
}

/// A member with this as its extended header.
fn raw(records: &[u8]) -> Member {
    let header: Block = block(b'x', b"PaxHeaders/snapshotter", records.len() as u64);
    let extension = Extension { block: header, body: super::craft::Body::Raw(records.to_vec()) };
    Member { extensions: vec![extension], ..Member::plain(b'0', b"w/srv/v/a", b"hello") }
}
