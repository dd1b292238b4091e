//! Members in any order, of one name, and without their directories.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::sandbox::text;
use crate::support::{Picture, Sandbox, Tree, assert_same_tree, need, sandboxed, tool};

/// Makes `theirs.tar` by lines of Python that call `add(name, type, link, content)`.
fn tar(s: &Sandbox, lines: &str) {
    let script = format!(
        "import tarfile, io\n\
        t = tarfile.open('theirs.tar', 'w', format=tarfile.PAX_FORMAT)\n\
        def add(name, type=tarfile.REGTYPE, link='', content='', mode=0o640):\n\
        \x20m = tarfile.TarInfo(name); m.type = type; m.linkname = link; m.mode = mode; m.mtime = 1700000000\n\
        \x20m.size = len(content); t.addfile(m, io.BytesIO(content.encode()))\n\
        DIR, LINK, SYM = tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE\n\
        {lines}\n\
        t.close()"
    );
    tool("python3", ["-c", &script]).silent();
    assert!(s.path("theirs.tar").exists());
}

fn names(picture: &Picture) -> Vec<String> {
    picture.entries.keys().map(|name| String::from_utf8(name.clone()).unwrap()).collect()
}

/// Restores in each way, and has `check` look at what came.
fn restored(s: &Sandbox, lines: &str, warning: &str, check: impl Fn(&std::path::Path)) {
    tar(s, lines);
    let volume = Tree::at(s.path("vol")).file("other", b"").done();
    for way in ["--no-progress", "--in-place"] {
        let run = s
            .run(["restore", "--config", "", "--from-tar", "theirs.tar", "--volume", text(&volume), way])
            .ok();
        assert_eq!(run.stderr().is_empty(), warning.is_empty(), "{run}");
        assert!(run.stderr().contains(warning), "{run}");
        check(&volume);
    }
}

#[test]
fn of_several_members_with_one_name_the_last_holds() {
    if !need("python3") {
        return;
    }
    sandboxed(|s| {
        let lines = "add('a', content='first'); add('d', DIR, mode=0o700); add('d/x', content='x')\n\
            add('s', SYM, 'a'); add('f', content='file'); add('./a', content='second and last')\n\
            add('d/', DIR, mode=0o755); add('s', content='no link'); add('f', DIR, mode=0o755)\n\
            add('f/y', content='y'); add('', DIR, mode=0o711)";
        restored(s, lines, "", |volume| {
            let picture = Picture::of(volume);
            assert_eq!(names(&picture), ["", "a", "d", "d/x", "f", "f/y", "s"]);
            assert_eq!(fs::read(volume.join("a")).unwrap(), b"second and last");
            assert_eq!(fs::read(volume.join("s")).unwrap(), b"no link");
            assert_eq!((picture.entry("d").mode, picture.entry("").mode), (0o755, 0o711));
            assert_eq!(picture.entry("s").kind, "file");
        });
    });
}

#[test]
fn hard_links_lead_to_earlier_and_to_later_files() {
    if !need("python3") {
        return;
    }
    sandboxed(|s| {
        let lines = "add('', DIR, mode=0o755); add('b', LINK, './deep/a'); add('c', LINK, '/deep//a')\n\
            add('deep/a', content='one' * 200000); add('d', LINK, 'deep/a'); add('deep', DIR, mode=0o755)\n\
            add('l2', LINK, 'l'); add('l', SYM, 'nowhere'); add('e', LINK, 'd')";
        restored(s, lines, "", |volume| {
            let inode = |name: &str| fs::symlink_metadata(volume.join(name)).unwrap().ino();
            for name in ["b", "c", "d", "e"] {
                assert_eq!(inode(name), inode("deep/a"), "{name}");
            }
            assert_eq!(fs::read(volume.join("e")).unwrap(), "one".repeat(200_000).as_bytes());
            assert_eq!(inode("l"), inode("l2"));
            assert_eq!(Picture::of(volume).entry("deep").mtime, (1_700_000_000, 0));
        });
    });
}

#[test]
fn directories_without_members_are_made_and_the_root_stays_as_it_is() {
    if !need("python3") {
        return;
    }
    sandboxed(|s| {
        let volume =
            Tree::at(s.path("vol")).at_entry("").owner(7, 8).mode(0o2771).xattr("user.k", "v").done();
        restored(s, "add('a/b/c', content='c'); add('a', DIR, mode=0o700)", "directories", |found| {
            let picture = Picture::of(found);
            assert_eq!(names(&picture), ["", "a", "a/b", "a/b/c"]);
            assert_eq!((picture.entry("a").mode, picture.entry("a/b").mode), (0o700, 0o755));
            let root = picture.entry("");
            assert_eq!((root.uid, root.gid, root.mode, root.xattrs.len()), (7, 8, 0o2771, 1));
        });
        s.run(["restore", "--config", "", "--from-tar", "theirs.tar", "--volume", text(&volume), "--strict"])
            .exits(1);
    });
}

#[test]
fn a_tar_that_was_updated_and_one_in_reverse_are_restored() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        let tree = Tree::at(s.path("theirs")).file("a", b"1").file("d/b", b"b").hard_link("d/h", "a");
        let theirs = tree.symlink("l", "d").done();
        tool("tar", ["--format", "posix", "-cf", "theirs.tar", "-C", "theirs", "."]).silent();
        fs::write(theirs.join("a"), b"two").unwrap();
        tool("tar", ["-rf", "theirs.tar", "-C", "theirs", "."]).silent();
        s.run(["restore", "--config", "", "--from-tar", "theirs.tar", "--into", "updated"]).silent();
        assert_same_tree(&theirs, s.path("updated"));
        let names =
            "cd theirs && find . -depth | sort -r | tar --format posix --no-recursion -cf ../r.tar -T -";
        tool("sh", ["-c", names]).silent();
        s.run(["restore", "--config", "", "--from-tar", "r.tar", "--into", "reversed"]).silent();
        assert_same_tree(&theirs, s.path("reversed"));
    });
}
