//! Numbers, maps of holes and attributes of a member.

use super::super::craft::{Body, Member, field};
use super::Expect::{Refused, Restored};
use super::{OUT, Row, file, volume};

const OVERLAP: &str = "overlaps itself or runs past";
const MALFORMED: &str = "malformed";
const NO_FIT: &str = "does not fit its stored size";

pub(super) fn numbers() -> Vec<Row> {
    let size = |value: &[u8]| volume(vec![file("a").set(field::SIZE, value)]);
    let pax_size = |value: &[u8]| volume(vec![file("a").record("size", value)]);
    let a = Restored(&[("a", Some("hello"))]);
    let eight = |value: i128| {
        let mut field = base_256(value)[4..].to_vec();
        field[0] = if value < 0 { 0xff } else { 0x80 };
        field
    };
    let mut larger = file("a").record("size", b"5");
    larger.block[field::SIZE].copy_from_slice(b"00000002000\0");
    vec![
        ("a pax size under the ustar size", volume(vec![larger]), a),
        ("a pax size over the archive's", pax_size(b"99999999"), Refused("in the middle of a member")),
        ("a pax size of 2^63", pax_size(b"9223372036854775808"), Refused("in the middle of a member")),
        ("a pax size of 2^64-1", pax_size(b"18446744073709551615"), Refused("beyond all bounds")),
        ("a pax size of 2^64", pax_size(b"18446744073709551616"), Refused("a size that is no number")),
        ("a negative pax size", pax_size(b"-1"), Refused("a size that is no number")),
        ("a size of 2^63", size(&base_256(1 << 63)), Refused("in the middle of a member")),
        ("a size of 2^64-1", size(&base_256((1 << 64) - 1)), Refused("beyond all bounds")),
        ("a size of 2^64", size(&base_256(1 << 64)), Refused("a size that is no number")),
        ("a size of 2^87", size(&base_256(1 << 87)), Refused("a size that is no number")),
        ("a size of -1", size(&base_256(-1)), Refused("a size that is no number")),
        ("a size of -512", size(&base_256(-512)), Refused("a size that is no number")),
        ("a size in base 256", size(&base_256(5)), a),
        ("a size in digits with spaces", size(b"          5 "), a),
        ("a size of 8 GiB", size(b"77777777777\0"), Refused("in the middle of a member")),
        ("a size with a sign", size(b"-0000000005\0"), Refused("a size that is no number")),
        ("a size in decimal", size(b"0000000009x\0"), Refused("a size that is no number")),
        ("an owner of -1", volume(vec![file("a").set(field::UID, &eight(-1))]), Refused("an owner")),
        (
            "an owner of 2^32-1",
            volume(vec![file("a").set(field::UID, &eight(0xffff_ffff))]),
            Refused("impossible owner"),
        ),
        (
            "an owner of 2^32",
            volume(vec![file("a").record("uid", b"4294967296")]),
            Refused("impossible owner"),
        ),
        ("an owner of 2^32-2", volume(vec![file("a").record("uid", b"4294967294")]), a),
        (
            "a group of 2^64",
            volume(vec![file("a").record("gid", b"18446744073709551616")]),
            Refused("a pax record"),
        ),
        ("a time before 1970", volume(vec![file("a").set(field::MTIME, &base_256(-2))]), a),
        (
            "the last of all times",
            volume(vec![file("a").record("mtime", b"9223372036854775807.999999999")]),
            a,
        ),
        ("the first of all times", volume(vec![file("a").record("mtime", b"-9223372036854775808")]), a),
        ("a time of 2^64", volume(vec![file("a").set(field::MTIME, &base_256(1 << 64))]), Refused("a time")),
        ("a time that is none", volume(vec![file("a").record("mtime", b"now")]), Refused("a pax record")),
        ("a mode of all bits", volume(vec![file("a").set(field::MODE, b"77777777")]), a),
        ("a mode that is none", volume(vec![file("a").set(field::MODE, b"rwxr-xr-x")]), Refused("a mode")),
        (
            "a device of -1",
            volume(vec![Member::ours(b'3', b"w/srv/v/a", b"").set(field::MAJOR, &eight(-1))]),
            Refused("a device"),
        ),
        (
            "a device of 2^32-1",
            volume(vec![Member::ours(b'3', b"w/srv/v/a", b"").set(field::MAJOR, &eight(0xffff_ffff))]),
            Refused("a device number that no system has"),
        ),
        (
            "a device of 4095, 2^20-1",
            volume(vec![
                Member::ours(b'3', b"w/srv/v/a", b"")
                    .set(field::MAJOR, b"0007777\0")
                    .set(337..345, b"3777777\0"),
            ]),
            Restored(&[("a", None)]),
        ),
    ]
}

pub(super) fn holes() -> Vec<Row> {
    let one = |member: Member| volume(vec![member]);
    let bad = |map: &str, data, size: &str| one(sparse(map, data, size));
    let zero_point_one = file("a")
        .record("GNU.sparse.size", b"5")
        .record("GNU.sparse.numblocks", b"1")
        .record("GNU.sparse.map", b"0,5");
    let mut old = Member::ours(b'S', b"w/srv/v/a", b"");
    old.block[257..265].copy_from_slice(b"ustar  \0");
    let mut old_goes_on = old.clone();
    old_goes_on.block[482] = 1;
    old_goes_on.more = vec![0; 512];
    let mut old_never_ends = old_goes_on.clone();
    old_never_ends.more = [&[1; 512][..]; 40].concat();
    vec![
        ("holes", bad("2\n512\n512\n4096\n0\n", 512, "4096"), Restored(&[("s", None)])),
        (
            "nothing but a hole of 2^62",
            bad("1\n4611686018427387904\n0\n", 0, "4611686018427387904"),
            Restored(&[("s", None)]),
        ),
        (
            "a size of 2^63 with holes",
            bad("1\n9223372036854775808\n0\n", 0, "9223372036854775808"),
            Refused(""),
        ),
        (
            "a size of 2^64-1 with holes",
            bad("1\n18446744073709551615\n0\n", 0, "18446744073709551615"),
            Refused(""),
        ),
        ("a map that overlaps", bad("2\n0\n512\n256\n512\n", 1024, "4096"), Refused(OVERLAP)),
        ("a map that goes back", bad("2\n1024\n512\n0\n512\n", 1024, "4096"), Refused(OVERLAP)),
        ("a map past the end", bad("1\n4000\n512\n", 512, "4096"), Refused(OVERLAP)),
        ("a map that overflows", bad("1\n18446744073709551615\n512\n", 512, "4096"), Refused(MALFORMED)),
        ("a map with more data than is there", bad("1\n0\n1024\n", 512, "4096"), Refused(NO_FIT)),
        ("a map with less data than is there", bad("1\n0\n512\n", 1024, "4096"), Refused(NO_FIT)),
        ("a map of 2^64 extents", bad("18446744073709551615\n0\n0\n", 0, "4096"), Refused(MALFORMED)),
        ("a map of 2^65 extents", bad("36893488147419103232\n0\n0\n", 0, "4096"), Refused(MALFORMED)),
        ("a map that is cut off", bad("3\n0\n512\n", 0, "4096"), Refused(MALFORMED)),
        ("a map of letters", bad("1\na\nb\n", 0, "4096"), Refused(MALFORMED)),
        ("a map with a sign", bad("1\n-1\n1\n", 0, "4096"), Refused(MALFORMED)),
        ("an endless number", bad(&"1".repeat(600), 0, "4096"), Refused(MALFORMED)),
        ("no map at all", bad("", 0, "4096"), Refused(MALFORMED)),
        ("a map of two million extents of nothing", bad(&many_extents(), 0, "4096"), Refused(MALFORMED)),
        (
            "a sparse name that leads out",
            one(sparse("1\n0\n0\n", 0, "0").record("GNU.sparse.name", b"w/srv/v/../x")),
            Refused(OUT),
        ),
        ("sparse format 0.1", one(zero_point_one), Restored(&[("a", Some("hello"))])),
        (
            "sparse format 9.9",
            one(sparse("1\n0\n0\n", 0, "0").record("GNU.sparse.major", b"9")),
            Refused("a sparse format"),
        ),
        ("GNU's old sparse format", one(old), Restored(&[("a", Some(""))])),
        ("GNU's old sparse format that goes on", one(old_goes_on), Restored(&[("a", Some(""))])),
        ("GNU's old sparse format that does not end", one(old_never_ends), Refused("")),
        (
            "a sparse record that is no number",
            one(file("a").record("GNU.sparse.major", b"x")),
            Refused("no number"),
        ),
    ]
}

fn many_extents() -> String {
    format!("2000000\n{}", "0\n0\n".repeat(600_000))
}

pub(super) fn attributes() -> Vec<Row> {
    let one = |key: &str, value: &[u8]| volume(vec![file("a").record(key, value)]);
    let a = Restored(&[("a", Some("hello"))]);
    let bomb = |count: usize| {
        let mut member = file("a");
        if let Body::Records(records) = &mut member.extensions[0].body {
            let attributes = (0..count).map(|n| (format!("SCHILY.xattr.user.{n}").into_bytes(), Vec::new()));
            records.splice(0..0, attributes);
        }
        volume(vec![member])
    };
    vec![
        ("an attribute without a name", one("SCHILY.xattr.", b"x"), a),
        ("an attribute of no namespace", one("SCHILY.xattr.none", b"x"), a),
        ("an attribute with a long name", one(&format!("SCHILY.xattr.user.{}", "n".repeat(300)), b"x"), a),
        ("an attribute with NUL in its name", one("SCHILY.xattr.user.a\0b", b"x"), a),
        ("an attribute of 100 KiB", one("SCHILY.xattr.user.a", &vec![b'x'; 100 << 10]), a),
        ("a raw ACL that is none", one("SCHILY.xattr.system.posix_acl_access", b"junk"), a),
        ("capabilities that are none", one("SCHILY.xattr.security.capability", b"junk"), a),
        ("an ACL that is none", one("SCHILY.acl.access", b"junk"), Refused("malformed ACL")),
        (
            "an ACL of ids beyond 2^32",
            one("SCHILY.acl.access", b"user::rwx,user:4294967296:rwx,group::r-x,mask::rwx,other::r-x"),
            Refused("malformed ACL"),
        ),
        (
            "an ACL with NUL",
            one("SCHILY.acl.access", b"user::rwx\0,group::r-x,other::r-x"),
            Refused("malformed ACL"),
        ),
        ("a default ACL of a file", one("SCHILY.acl.default", b"user::rwx,group::r-x,other::r-x"), a),
        ("two thousand attributes", bomb(2_000), a),
        ("ten thousand attributes", bomb(10_000), Refused("more extended attributes than a file can have")),
        ("an extended header of 3 MiB", one("comment", &vec![b' '; 3 << 20]), Refused("too long")),
    ]
}

/// A file with this map of holes, so long as it says that it is.
fn sparse(map: &str, data: usize, size: &str) -> Member {
    let mut stored = map.as_bytes().to_vec();
    stored.resize(stored.len().next_multiple_of(512), 0);
    stored.extend(vec![b's'; data]);
    Member::ours(b'0', b"w/srv/v/GNUSparseFile.0/s", &stored)
        .record("GNU.sparse.major", b"1")
        .record("GNU.sparse.minor", b"0")
        .record("GNU.sparse.name", b"w/srv/v/s")
        .record("GNU.sparse.realsize", size.as_bytes())
}

/// The number in 12 bytes, base-256.
fn base_256(number: i128) -> [u8; 12] {
    let mut field = [0; 12];
    field.copy_from_slice(&number.to_be_bytes()[4..]);
    field[0] = if number < 0 { 0xff } else { 0x80 };
    field
}
