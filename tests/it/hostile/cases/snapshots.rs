//! Links, volumes and closing files.

use super::super::craft::{Extension, Member, field, snapshot, snapshot_members, write};
use super::Expect::{Refused, Restored};
use super::{NO_VOLUME, OUT, Row, VOLUMES, ZEROS, dir, file, hard_link, symlink, volume};

const BAD_LINK: &str = "a link to anything but an earlier file";
const FOLLOWED: &str = "does not follow the directory";
const NO_SNAPSHOT: &str = "no snapshot";

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn links() -> Vec<Row> {
    let through = |target: &str, more: Vec<Member>| volume([vec![symlink("l", target)], more].concat());
    vec![
        ("a path through a symlink", through("../outside", vec![file("l/precious")]), Refused(FOLLOWED)),
        (
            "a path through an absolute symlink",
            through("/srv/outside", vec![file("l/new")]),
            Refused(FOLLOWED),
        ),
        ("a directory through a symlink", through("../outside", vec![dir("l/d")]), Refused(FOLLOWED)),
        ("a directory over a symlink", through("../outside", vec![dir("l"), file("l/new")]), Refused("")),
        ("a file over a symlink", through("../outside/precious", vec![file("l")]), Refused("")),
        (
            "a symlink over a directory",
            volume(vec![dir("d"), symlink("d", "../outside"), file("d/x")]),
            Refused(""),
        ),
        (
            "a hard link to a symlink, and a file over it",
            through("../outside/precious", vec![hard_link("h", "w/srv/v/l"), file("h")]),
            Refused(""),
        ),
        (
            "a hard link through a symlink",
            through("../outside", vec![hard_link("h", "w/srv/v/l/precious")]),
            Refused(""),
        ),
        (
            "a hard link to a symlink",
            through("../outside/precious", vec![hard_link("h", "w/srv/v/l")]),
            Restored(&[("h", None)]),
        ),
        (
            "symlinks in a circle",
            volume(vec![symlink("a", "b"), symlink("b", "a"), symlink("c", "c")]),
            Restored(&[("a", None)]),
        ),
        ("a symlink to nothing", volume(vec![symlink("a", "")]), Refused("")),
        (
            "a symlink of 4096 bytes",
            volume(vec![symlink("a", "x").record("linkpath", &[b'x'; 4096])]),
            Refused(""),
        ),
        ("a symlink with NUL", volume(vec![symlink("a", "x").record("linkpath", b"x\0y")]), Refused("")),
        (
            "hard links in a circle",
            volume(vec![hard_link("a", "w/srv/v/b"), hard_link("b", "w/srv/v/a")]),
            Refused(BAD_LINK),
        ),
        ("a hard link to itself", volume(vec![hard_link("a", "w/srv/v/a")]), Refused(BAD_LINK)),
        (
            "a hard link to what comes later",
            volume(vec![hard_link("a", "w/srv/v/b"), file("b")]),
            Refused(BAD_LINK),
        ),
        (
            "a hard link to a directory",
            volume(vec![dir("d"), hard_link("h", "w/srv/v/d")]),
            Refused(BAD_LINK),
        ),
        ("a hard link to the root", volume(vec![hard_link("h", "w/srv/v")]), Refused(BAD_LINK)),
        ("a hard link to nothing", volume(vec![hard_link("h", "")]), Refused(BAD_LINK)),
        ("a hard link up", volume(vec![hard_link("h", "w/srv/v/../outside/precious")]), Refused("")),
        ("an absolute hard link", volume(vec![hard_link("h", "/srv/outside/precious")]), Refused(BAD_LINK)),
        (
            "a hard link to a file outside",
            volume(vec![hard_link("h", "../outside/precious")]),
            Refused(BAD_LINK),
        ),
        ("a hard link to the file volume", volume(vec![hard_link("h", "w/srv/f")]), Refused(BAD_LINK)),
        (
            "a hard link to a closing file",
            volume(vec![hard_link("h", "w/volumes-data.yml")]),
            Refused(BAD_LINK),
        ),
        (
            "a hard link by a pax record",
            volume(vec![file("a"), hard_link("h", "w/srv/v/a").record("linkpath", b"/srv/outside/precious")]),
            Refused(BAD_LINK),
        ),
        (
            "a hard link by a GNU name",
            volume(vec![
                file("a"),
                hard_link("h", "w/srv/v/a").before(Extension::long(b'K', b"../precious")),
            ]),
            Refused(BAD_LINK),
        ),
        (
            "a hard link with a size",
            volume(vec![file("a"), hard_link("h", "w/srv/v/a").set(field::SIZE, b"77777777777\0")]),
            Restored(&[("h", Some("hello"))]),
        ),
        (
            "a symlink with a pax size",
            volume(vec![symlink("a", "b").record("size", b"99999999")]),
            Restored(&[("a", None)]),
        ),
        (
            "a directory with a size",
            volume(vec![dir("d").set(field::SIZE, b"77777777777\0")]),
            Restored(&[("d", None)]),
        ),
        (
            "a volume that is a symlink",
            snapshot("w", &VOLUMES[..1], vec![Member::ours(b'2', b"w/srv/v", b"").link(b"../outside")]),
            Refused(""),
        ),
        (
            "a volume that is a hard link",
            snapshot("w", &VOLUMES[..1], vec![Member::ours(b'1', b"w/srv/v", b"").link(b"w/srv/v")]),
            Refused(""),
        ),
        (
            "a directory volume that is a file",
            snapshot("w", &VOLUMES[..1], vec![Member::ours(b'0', b"w/srv/v", b"x")]),
            Refused(""),
        ),
    ]
}

pub(super) fn volumes() -> Vec<Row> {
    let of = |path: &'static str, is_dir: bool| {
        let flag = if is_dir { b'5' } else { b'0' };
        let name = format!("w/{}", path.strip_prefix('/').unwrap_or(path));
        snapshot("w", &[(path, is_dir)], vec![Member::ours(flag, name.as_bytes(), b"")])
    };
    let two = |first: (&'static str, bool), second: (&'static str, bool)| {
        let name = |(path, is_dir): (&str, bool)| {
            Member::ours(if is_dir { b'5' } else { b'0' }, format!("w{path}").as_bytes(), b"")
        };
        snapshot("w", &[first, second], vec![name(first), name(second)])
    };
    let mut file_twice = vec![Member::ours(b'0', b"w/srv/f", b"a"), Member::ours(b'0', b"w/srv/f", b"b")];
    let twice = snapshot("w", &VOLUMES[1..], file_twice.clone());
    file_twice.swap(0, 1);
    let below_file = vec![Member::ours(b'0', b"w/srv/f", b"a"), Member::ours(b'0', b"w/srv/f/x", b"b")];
    vec![
        ("a volume that leads out", of("/../outside/x", true), Refused(OUT)),
        ("a volume that leads out later", of("/srv/../../outside/x", true), Refused(OUT)),
        ("a file volume that leads out", of("/../outside/x", false), Refused(OUT)),
        ("a volume that is all there is", of("/", true), Refused("")),
        ("a volume that is a space", of("/ ", true), Restored(&[])),
        ("a volume that is not absolute", of("srv/outside", true), Restored(&[])),
        ("a volume with an empty part", of("//srv/outside", true), Refused(NO_VOLUME)),
        ("a volume twice", two(("/srv/v", true), ("/srv/v", true)), Refused("")),
        ("a file volume twice", two(("/srv/f", false), ("/srv/f", false)), Refused("")),
        ("a volume in a file volume", two(("/srv/f", false), ("/srv/f/x", true)), Refused("which is a file")),
        ("a file volume with two members", twice, Refused("another member")),
        (
            "a file volume with a member below",
            snapshot("w", &VOLUMES[1..], below_file),
            Refused("another member"),
        ),
        (
            "a file volume that is a symlink",
            snapshot("w", &VOLUMES[1..], vec![Member::ours(b'2', b"w/srv/f", b"").link(b"outside/precious")]),
            Refused("another member"),
        ),
        (
            "a file volume that is a device",
            snapshot("w", &VOLUMES[1..], vec![Member::ours(b'3', b"w/srv/f", b"")]),
            Refused("another member"),
        ),
        (
            "a file volume that is a directory",
            snapshot("w", &VOLUMES[1..], vec![Member::ours(b'5', b"w/srv/f", b"")]),
            Refused("another member"),
        ),
        (
            "no members of a volume",
            snapshot("w", &VOLUMES, vec![Member::ours(b'0', b"w/srv/f", b"x")]),
            Refused("no members of it"),
        ),
        (
            "a prefix that leads out",
            snapshot("../w", &[("/srv/v", true)], vec![Member::ours(b'5', b"../w/srv/v", b"")]),
            Refused(""),
        ),
    ]
}

pub(super) fn closes() -> Vec<Row> {
    let members = || {
        snapshot_members(
            "w",
            &VOLUMES,
            vec![Member::ours(b'5', b"w/srv/v/", b""), file("a"), Member::ours(b'0', b"w/srv/f", b"file")],
        )
    };
    let a = Restored(&[("a", Some("hello"))]);
    let changed = |change: &dyn Fn(&mut Vec<Member>)| {
        let mut members = members();
        change(&mut members);
        write(&members, &ZEROS)
    };
    let text = |from: &'static str, to: &'static str| {
        changed(&|members| {
            let close = members.last_mut().unwrap();
            let text = String::from_utf8(close.data.clone()).unwrap().replacen(from, to, 1);
            close.data = text.into_bytes();
            close.block[field::SIZE].copy_from_slice(format!("{:011o}\0", close.data.len()).as_bytes());
        })
    };
    let deep = "[".repeat(100_000);
    let deep: &'static str = deep.leak();
    vec![
        (
            "a close twice",
            changed(&|members| members.push(members.last().unwrap().clone())),
            Refused("beginning is missing"),
        ),
        ("a begin twice", changed(&|members| members.insert(0, members[0].clone())), Refused("not complete")),
        (
            "a begin in the middle",
            changed(&|members| members.insert(2, members[0].clone())),
            Refused("not complete"),
        ),
        (
            "a begin with data",
            changed(&|members| members[0].data = vec![1; 512]),
            Refused("beginning is missing"),
        ),
        ("no close", changed(&|members| drop(members.pop())), Refused("not complete")),
        ("no list", changed(&|members| drop(members.remove(4))), a),
        ("a list in the wrong place", changed(&|members| members.swap(1, 4)), Refused(NO_VOLUME)),
        (
            "a begin with a checksum",
            changed(&|members| members.insert(3, Member::ours(b'0', b".snapshot-begin", b"x"))),
            Refused(NO_VOLUME),
        ),
        ("a later format", text("\"format\": 1", "\"format\": 3"), Refused("cannot restore snapshot")),
        (
            "a need",
            text("\"format\": 1", "\"format\": 2, \"needs\": [\"\\u001b[2J\"]"),
            Refused("cannot restore snapshot"),
        ),
        ("the second format", text("\"format\": 1", "\"format\": 2"), a),
        ("a manifest that is none", text("{", "["), Refused(NO_SNAPSHOT)),
        ("a deep manifest", text("\"created\": \"", deep), Refused(NO_SNAPSHOT)),
        (
            "a manifest of numbers beyond 2^64",
            text("\"size\": 0", "\"size\": 99999999999999999999"),
            Refused(NO_SNAPSHOT),
        ),
        (
            "a manifest that counts 2^64-1 entries",
            text("\"entries\": 1", "\"entries\": 18446744073709551615"),
            a,
        ),
        ("another prefix", text("\"prefix\": \"w\"", "\"prefix\": \"x\""), Refused(NO_SNAPSHOT)),
        ("a key twice", text("\"format\": 1", "\"format\": 1, \"format\": 1"), Refused(NO_SNAPSHOT)),
        ("a time that is none", text("2026-01-01", "yesterday"), a),
        ("a note that drives a terminal", text("\"volumes\"", "\"note\": \"\\u001b[2J\", \"volumes\""), a),
    ]
}
