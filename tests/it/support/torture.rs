//! A tree with one of everything that the product promises to keep.

use std::path::{Path, PathBuf};

use super::Tree;
pub(crate) use super::tree::pattern;

/// Tags of an ACL entry, see acl(5) and `linux/posix_acl.h`.
pub(crate) const USER_OBJ: u16 = 0x01;
pub(crate) const USER: u16 = 0x02;
pub(crate) const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
pub(crate) const MASK: u16 = 0x10;
pub(crate) const OTHER: u16 = 0x20;
pub(crate) const NOBODY: u32 = u32::MAX;

/// The highest id there is: 2³² − 1 means "do not change".
const HIGHEST_ID: u32 = u32::MAX - 1;

/// `CAP_NET_BIND_SERVICE`, effective and permitted, in the kernel's second form.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What filesystems and other tools cannot have all of.
#[derive(Clone, Copy)]
pub(crate) struct Torture {
    /// XFS keeps 1,023 bytes.
    pub(crate) longest_target: usize,
    /// Paths longer than `PATH_MAX`, which other tools cannot make.
    pub(crate) beyond_path_max: bool,
}

impl Default for Torture {
    fn default() -> Self {
        Torture { longest_target: 4095, beyond_path_max: true }
    }
}

impl Torture {
    pub(crate) fn make(self, root: impl AsRef<Path>) -> PathBuf {
        let mut tree = Tree::at(root).owner(12, 34).mode(0o3751);
        tree = names(tree);
        if self.beyond_path_max {
            let deep = vec![b'd'; 250];
            tree = tree.file(vec![deep.as_slice(); 20].join(&b'/'), b"deep");
        }
        tree = modes_and_owners(tree);
        tree = times(tree);
        tree = links(tree, self.longest_target);
        tree = nodes(tree);
        tree = attributes(tree);
        tree = acls(tree);
        tree = sparse_files(tree);
        tree = sizes(tree);
        // In the end: all of the above changed the root's time.
        Tree::at(tree.done()).mtime(1_234_567_890, 123_456_789).done()
    }
}

fn names(mut tree: Tree) -> Tree {
    let own: [&[u8]; 14] = [
        b"new\nline",
        b"tab\tquote\"'\\",
        b"\xff\xfe not utf-8",
        b"\xc3\xa9",
        b" ",
        b"-rf",
        b"...",
        b".hidden",
        b"*?[a]",
        b"#{}:&!|>%@`",
        b"\x01\x1b[31m\x7f",
        b"\xc3\xa9\xff/\xe2\x80\xa8",
        b"GNUSparseFile.0/x",
        b"PaxHeaders/snapshotter",
    ];
    for name in own {
        tree = tree.file(name, name);
    }
    // Files of these names are the program's own only where it puts them.
    for name in
        ["snapshot.json", "volumes-data.yml", ".snapshot-begin", "in/snapshot.json", "in/volumes-data.yml"]
    {
        tree = tree.file(name, b"- id: \"x\"\n  type: dir\n  target: \"/\"\n");
    }
    tree = tree.dir("in/.snapshotter-staging").file("in/.snapshotter-staging/mine", b"mine");
    // However long prefix and volume are: every edge of a ustar header's name is met (100, 155, 256 bytes).
    for length in 1..=255 {
        tree = tree.file(["edge/".as_bytes(), &vec![b'n'; length]].concat(), b"");
    }
    for length in (1..=155).chain([200, 255]) {
        let directory = [b"edges/".as_slice(), &vec![b'm'; length]].concat();
        tree = tree.file([&directory, b"/f".as_slice()].concat(), b"");
        tree = tree.dir([&directory, b"/".as_slice(), &[b'd'; 99]].concat());
        tree = tree.file([&directory, b"/".as_slice(), &[b'l'; 100]].concat(), b"");
        tree = tree.file([&directory, b"/\xff".as_slice(), &[b'l'; 100]].concat(), b"");
    }
    tree
}

fn modes_and_owners(mut tree: Tree) -> Tree {
    for mode in [0o0000, 0o0644, 0o4755, 0o2755, 0o1644, 0o6711, 0o7777] {
        tree = tree.file(format!("modes/file-{mode:04o}"), b"mode").mode(mode);
        tree = tree.dir(format!("modes/dir-{mode:04o}")).mode(mode);
        tree = tree.file(format!("modes/dir-{mode:04o}/in"), b"in");
    }
    // A ustar header holds ids below 2²¹.
    for id in [1, 1000, (1 << 21) - 1, 1 << 21, i32::MAX as u32, 1 << 31, HIGHEST_ID] {
        tree = tree.file(format!("owners/file-{id}"), b"owner").owner(id, HIGHEST_ID - id).mode(0o6755);
        tree = tree.dir(format!("owners/dir-{id}")).owner(id, id);
        tree = tree.symlink(format!("owners/link-{id}"), "x").owner(id, id);
    }
    tree
}

fn times(mut tree: Tree) -> Tree {
    let times = [
        (0, 0),
        (0, 1),
        (1, 999_999_999),
        (1_700_000_000, 100_000_000),
        (1_700_000_000, 123_456_789),
        (-1, 0),
        (-1, 999_999_999),
        (-2, 500_000_000),
        (-2_000_000_000, 1),
        (i64::from(i32::MAX) + 1, 0),
        // The year 2207. A ustar header ends in 2242.
        (7_500_000_000, 987_654_321),
        (8_589_934_592, 5),
        (10_000_000_000, 0),
    ];
    for (seconds, nanoseconds) in times {
        let name = format!("{seconds}.{nanoseconds}");
        tree = tree.file(format!("times/file {name}"), b"time").mtime(seconds, nanoseconds);
        tree = tree.dir(format!("times/dir {name}")).mtime(seconds, nanoseconds);
        tree = tree.file(format!("times/dir {name}/in"), b"in");
        tree = tree.symlink(format!("times/link {name}"), "x").mtime(seconds, nanoseconds);
    }
    tree
}

fn links(mut tree: Tree, longest: usize) -> Tree {
    tree = tree.symlink("links/dangling", "no/where").symlink("links/up", "../../../../../../../../etc");
    tree = tree.symlink("links/absolute", "/etc/passwd").symlink("links/bytes", b"\xff\n\\");
    tree = tree.symlink("links/to dir", "../sizes").symlink("links/self", "self");
    for length in [99, 100, 101, 255, 256, 1000] {
        tree = tree.symlink(format!("links/{length}"), vec![b't'; length]);
    }
    tree = tree.symlink("links/longest", vec![b't'; longest]);
    tree = tree.file("hard/a/first", b"one file").file("hard/z/other", b"another");
    tree = tree.hard_link("hard/b/second", "hard/a/first").hard_link("hard/third", "hard/a/first");
    tree = tree.hard_link("hard/a/other", "hard/z/other").file("hard/empty", b"");
    tree = tree.hard_link("hard/empty too", "hard/empty");
    tree = tree.symlink("hard/link", "a/first").hard_link("hard/b/link", "hard/link");
    tree = tree.fifo("hard/fifo").hard_link("hard/b/fifo", "hard/fifo");
    let long = vec![b'h'; 255];
    tree.file([b"hard/", long.as_slice()].concat(), b"long")
        .hard_link([b"hard/b/".as_slice(), &[b'H'; 255]].concat(), [b"hard/", long.as_slice()].concat())
}

fn nodes(tree: Tree) -> Tree {
    tree.fifo("nodes/fifo")
        .mode(0o600)
        .mtime(5, 6)
        .char_device("nodes/null", 1, 3)
        .mode(0o666)
        .owner(7, 8)
        .block_device("nodes/loop", 7, 200)
        .mode(0o660)
        .mtime(-5, 6)
}

fn attributes(mut tree: Tree) -> Tree {
    tree = tree.file("xattrs/file", b"x").xattr("user.plain", b"value").xattr("user.empty", b"");
    tree = tree.xattr("user.binary", [0, 1, 0xff, 0, b'=', b'\n']).xattr("user.new\nline", b"in a name");
    tree = tree.xattr("user.line", b"a\nb\n12 user.c=d\n").xattr("user.a=b%3Dc%", b"= and %");
    tree = tree.xattr("trusted.t", b"trusted").xattr("user.long", vec![b'v'; 1500]);
    tree = tree.xattr(b"user.\xc3\xa9", b"\xc3\xa9");
    tree = tree.dir("xattrs/dir").xattr("user.d", b"on a directory").xattr("trusted.d", b"\0");
    tree = tree.symlink("xattrs/link", "nowhere").xattr("trusted.l", b"on a link");
    tree = tree.fifo("xattrs/fifo").xattr("trusted.f", b"on a fifo");
    tree = tree.file("xattrs/capable", b"#!/bin/true").owner(3, 4).mode(0o4755);
    tree.xattr("security.capability", CAPABILITY).xattr("user.too", b"and this")
}

fn acls(tree: Tree) -> Tree {
    let access = [
        (USER_OBJ, 6, NOBODY),
        (USER, 4, 1000),
        (USER, 0, HIGHEST_ID),
        (GROUP_OBJ, 4, NOBODY),
        (GROUP, 6, 50),
        (MASK, 6, NOBODY),
        (OTHER, 0, NOBODY),
    ];
    let default = [(USER_OBJ, 7, NOBODY), (GROUP_OBJ, 5, NOBODY), (OTHER, 1, NOBODY)];
    let default_named =
        [(USER_OBJ, 7, NOBODY), (USER, 7, 5), (GROUP_OBJ, 5, NOBODY), (MASK, 7, NOBODY), (OTHER, 0, NOBODY)];
    tree.file("acls/file", b"acl")
        .acl("access", &access)
        .dir("acls/plain")
        .file("acls/plain/in", b"in")
        .dir("acls/dir")
        .acl("access", &access)
        .acl("default", &default_named)
        .file("acls/dir/inherits", b"in")
        .dir("acls/dir/inherits too")
        .dir("acls/default")
        .acl("default", &default)
        .file("acls/default/in", b"in")
        .mode(0o600)
}

fn sparse_files(mut tree: Tree) -> Tree {
    const MIB: u64 = 1 << 20;
    let block = [b'#'; 4096];
    tree = tree.sparse("sparse/first", MIB + 4096, &[(MIB, &block)]);
    tree = tree.sparse("sparse/last", MIB, &[(0, &block)]);
    tree = tree.sparse("sparse/odd end", MIB + 77, &[(8192, &block), (MIB + 70, b"the end")]);
    tree = tree.sparse("sparse/odd hole", 5 * MIB + 1, &[(MIB, &block)]);
    tree = tree.sparse("sparse/all", 3 * MIB, &[]);
    tree = tree.sparse("sparse/one byte", MIB, &[(MIB / 2, b"1")]);
    tree = tree.sparse("sparse/zeros", MIB, &[(MIB / 2, &[0; 4096])]);
    tree = tree.sparse("sparse/9 GiB", 9 << 30, &[(0, b"start"), (5 << 30, &block), ((9 << 30) - 1, b"!")]);
    tree = tree.sparse("sparse/9 GiB of nothing", 9 << 30, &[]);
    let many: Vec<(u64, &[u8])> = (0..200).map(|n| (n * 16384, block.as_slice())).collect();
    tree = tree.sparse("sparse/everywhere", 200 * 16384, &many);
    let long = [b"sparse/".as_slice(), &[b's'; 255]].concat();
    tree.sparse(long, MIB, &[(4096, &block)]).sparse(b"sparse/\xff\n", MIB, &[(0, &block)])
}

fn sizes(mut tree: Tree) -> Tree {
    for size in [0, 1, 511, 512, 513, 1023, 1024, 1025, 65_536, 1_000_001] {
        tree = tree.file(format!("sizes/{size}"), pattern(size));
    }
    // Two zero blocks end an archive, but not inside a file.
    tree.file("sizes/zeros", [0; 4096]).dir("sizes/empty").dir("sizes/empty too/and this")
}
