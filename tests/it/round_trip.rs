//! What comes back is what was there: of every kind of entry, on every filesystem that Docker stands on.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use crate::support::sandbox::text;
use crate::support::torture::{Torture, pattern};
use crate::support::{Picture, Sandbox, Tree, assert_same_tree, need, sandboxed, tool};

/// Spoils a volume: a third of its root's entries go, a third become another kind, files are overwritten,
/// and things come that were not there.
fn wreck(volume: &Path) {
    let mut names: Vec<_> = fs::read_dir(volume).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for (n, path) in names.iter().enumerate() {
        let is_directory = path.symlink_metadata().unwrap().is_dir();
        match n % 3 {
            0 if is_directory => fs::remove_dir_all(path).unwrap(),
            0 => fs::remove_file(path).unwrap(),
            1 if is_directory => {
                fs::remove_dir_all(path).unwrap();
                fs::write(path, b"no longer a directory").unwrap();
            }
            1 => {
                fs::remove_file(path).unwrap();
                symlink("/etc", path).unwrap();
            }
            _ if is_directory => fs::write(path.join("new"), b"new").unwrap(),
            _ => fs::write(path, b"overwritten").unwrap(),
        }
    }
    Tree::at(volume)
        .owner(99, 98)
        .mode(0o700)
        .xattr("trusted.wrecked", b"x")
        .acl("default", &[(1, 7, u32::MAX), (4, 7, u32::MAX), (32, 7, u32::MAX)])
        .file("unexpected", b"x")
        .dir("unexpected too/and/deep")
        .file("unexpected too/file", b"y")
        .done();
}

/// Backs a volume up, wrecks it, and has it back.
fn comes_back(s: &Sandbox, volume: &Path, arguments: &[&str]) {
    s.configure("web", &[volume]);
    let before = Picture::of(volume);
    s.run([&["backup", "--strict"], arguments].concat()).ok();
    before.assert_same(volume);
    wreck(volume);
    assert!(before.differences(&Picture::of(volume)).len() > 10);
    s.run(["restore", "--strict"]).ok();
    before.assert_same(volume);
    let verified = s.verify();
    assert_eq!(verified["ok"], true, "{verified}");
}

#[test]
fn everything_comes_back() {
    sandboxed(|s| {
        s.init();
        let volume = Torture::default().make(s.path("vol/a"));
        comes_back(s, &volume, &[]);
    });
}

#[test]
fn everything_comes_back_with_a_checksum_or_without() {
    sandboxed(|s| {
        s.init();
        for choice in ["always", "never"] {
            let volume = Torture { beyond_path_max: false, ..Torture::default() }.make(s.path(choice));
            comes_back(s, &volume, &["--checksum", choice]);
        }
    });
}

#[test]
fn everything_comes_back_on_tmpfs() {
    sandboxed(|s| {
        s.init();
        let volume = Torture::default().make(s.tmpfs("vol", "size=200m"));
        comes_back(s, &volume, &[]);
    });
}

#[test]
fn everything_comes_back_on_ext4() {
    on_a_filesystem("ext4", Torture::default());
}

#[test]
fn everything_comes_back_on_xfs() {
    on_a_filesystem("xfs", Torture { longest_target: 1023, ..Torture::default() });
}

#[test]
fn everything_comes_back_on_btrfs() {
    on_a_filesystem("btrfs", Torture::default());
}

/// With volume and archive on one filesystem, so that what can be cloned is.
fn on_a_filesystem(kind: &str, torture: Torture) {
    if !need(&format!("mkfs.{kind}")) {
        return;
    }
    sandboxed(|s| {
        let point = s.filesystem("fs", kind, 600);
        let archive = point.join("backup.tar");
        fs::write(&archive, [0; 1024]).unwrap();
        let volume = torture.make(point.join("vol"));
        large_files(&volume);
        let before = Picture::of(&volume);
        s.configure("web", &[&volume]);
        for choice in ["auto", "always", "never"] {
            s.run(["backup", "--strict", "--checksum", choice, "--archive", text(&archive)]).ok();
            before.assert_same(&volume);
            wreck(&volume);
            s.run(["restore", "--strict", "--archive", text(&archive)]).ok();
            before.assert_same(&volume);
        }
        let verified = s.run(["verify", "--json", "--archive", text(&archive)]).ok().json();
        assert_eq!(verified["ok"], true, "{verified}");
        assert_eq!(verified["snapshots"][1]["unhashed"], 0, "--checksum always hashes what was cloned");
    });
}

#[test]
fn what_is_cloned_takes_no_space_on_xfs() {
    clones_on("xfs");
}

#[test]
fn what_is_cloned_takes_no_space_on_btrfs() {
    clones_on("btrfs");
}

fn clones_on(kind: &str) {
    if !need(&format!("mkfs.{kind}")) {
        return;
    }
    sandboxed(|s| {
        let point = s.filesystem("fs", kind, 800);
        let archive = point.join("backup.tar");
        fs::write(&archive, [0; 1024]).unwrap();
        let data = pattern(64 << 20);
        let volume = Tree::at(point.join("vol")).file("a", &data).file("b", &data[..(64 << 20) - 5]).done();
        s.configure("web", &[&volume]);
        let before = Picture::of(&volume);
        let first = used(&point);
        let added = |what: &str| {
            let more = used(&point).saturating_sub(first);
            assert!(more < 8 << 20, "{what} took {more} bytes");
        };
        let report = s.run(["backup", "--json", "--archive", text(&archive)]).ok().json();
        assert_eq!(report["unhashed"], 2 * (64 << 20) - 5, "{report}");
        added("the backup");
        // Other readers see the same content.
        let name = format!("web{}/b", text(&volume));
        let read = std::process::Command::new("tar").args(["-xOf", text(&archive), &name]).output().unwrap();
        assert!(read.status.success() && read.stdout == data[..(64 << 20) - 5]);
        wreck(&volume);
        s.run(["restore", "--archive", text(&archive)]).ok();
        before.assert_same(&volume);
        added("the restore");
        let report =
            s.run(["backup", "--json", "--checksum", "always", "--archive", text(&archive)]).ok().json();
        assert_eq!(report["unhashed"], 0, "{report}");
        added("the backup with checksums");
        s.run(["verify", "--archive", text(&archive)]).ok();
    });
}

#[test]
fn aligned_data_is_cloned_back_on_xfs() {
    aligned_data_is_cloned_back_on("xfs");
}

#[test]
fn aligned_data_is_cloned_back_on_btrfs() {
    aligned_data_is_cloned_back_on("btrfs");
}

/// The archive is one of the original program, whose members can lie anywhere.
fn aligned_data_is_cloned_back_on(kind: &str) {
    if !need(&format!("mkfs.{kind}")) {
        return;
    }
    sandboxed(|s| {
        let point = s.filesystem("fs", kind, 600);
        let archive = point.join("backup.tar");
        let id = "a".repeat(64);
        let data = pattern((128 << 20) + 1000);
        let list = format!("- id: {id}\n  type: dir\n  target: /vol\n");
        let mut tar = tar::Builder::new(fs::File::create(&archive).unwrap());
        let mut append = |name: String, kind, data: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(0o755);
            header.set_size(data.len() as u64);
            tar.append_data(&mut header, name, data).unwrap();
        };
        append(format!("p/{id}/"), tar::EntryType::Directory, b"");
        // Six blocks, so that what follows it begins with a whole block of the filesystem, behind its header.
        append(format!("p/{id}/filler"), tar::EntryType::Regular, &[b'f'; 2560]);
        append(format!("p/{id}/large"), tar::EntryType::Regular, &data);
        append("p/volumes-data.yml".to_owned(), tar::EntryType::Regular, list.as_bytes());
        tar.into_inner().unwrap().sync_all().unwrap();

        let before = used(&point);
        let into = point.join("into");
        s.configure("p", &[Path::new("/vol")]);
        s.run(["restore", "--into", text(&into), "--archive", text(&archive)]).ok();
        let grown = used(&point).saturating_sub(before);
        assert!(grown < 3 << 20, "{grown} more bytes are used");
        assert!(fs::read(into.join("vol/large")).unwrap() == data);
        assert_eq!(fs::read(into.join("vol/filler")).unwrap(), [b'f'; 2560]);
    });
}

/// How much of a filesystem is in use, once all is on its disk, in bytes.
fn used(point: &Path) -> u64 {
    tool("sync", ["-f", text(point)]).ok();
    let stat = nix::sys::statvfs::statvfs(point).unwrap();
    (stat.blocks() - stat.blocks_free()) * stat.fragment_size()
}

/// Files worth cloning: whole blocks or not, one with holes.
fn large_files(volume: &Path) {
    let data = pattern(8 << 20);
    let sparse: [(u64, &[u8]); 3] =
        [(0, &data[..1 << 20]), (4 << 20, &data[..(1 << 20) + 5]), (9 << 20, &data[..3 << 20])];
    Tree::at(volume)
        .file("large/whole blocks", &data)
        .file("large/odd", &data[..(8 << 20) - 4097])
        .file("large/odder", &data[..=2 << 20])
        .sparse("large/with holes", 20 << 20, &sparse)
        .sparse("large/hole first", 3 << 20, &[(1 << 20, &data[..1 << 20])])
        .done();
}

#[test]
fn a_file_of_more_runs_than_a_sparse_map_holds_keeps_its_content() {
    sandboxed(|s| {
        s.init();
        let volume = s.tmpfs("vol", "size=400m");
        // A MiB of map holds about 52,000 runs of a file of this size.
        let runs: Vec<(u64, &[u8])> = (0..60_000).map(|n| (n * 8192, b"run".as_slice())).collect();
        Tree::at(&volume).sparse("runs", 60_000 * 8192, &runs).mtime(1, 2).done();
        s.configure("web", &[&volume]);
        s.backup();
        let into = s.tmpfs("into", "size=500m");
        s.run(["restore", "--into", text(&into)]).ok();
        let (before, after) =
            (Picture::of(&volume), Picture::of(into.join(text(&volume).trim_start_matches('/'))));
        let filled = before.differences(&after);
        assert!(!filled.is_empty() && filled.iter().all(|line| line.ends_with("is filled")), "{filled:?}");
    });
}

#[test]
fn into_a_directory_that_does_not_exist() {
    sandboxed(|s| {
        s.init();
        let volume = Torture::default().make(s.path("vol/a"));
        let file = s.path("vol/single.txt");
        fs::write(&file, b"single").unwrap();
        s.configure("web/x", &[&volume, &file]);
        s.backup();
        let before = Picture::of(s.path("vol"));
        let into = s.path("not/yet/there");
        s.run(["restore", "--strict", "--into", text(&into)]).ok();
        for path in [&volume, &file] {
            assert_same_tree(path, into.join(path.strip_prefix("/").unwrap()));
        }
        before.assert_same(s.path("vol"));
    });
}

#[test]
fn a_file_volume_is_overwritten_in_place_for_it_may_be_a_mount() {
    sandboxed(|s| {
        s.init();
        let outside = Tree::at(s.path("host"))
            .file("file", pattern(70_000))
            .owner(7, 8)
            .mode(0o4750)
            .mtime(-5, 500)
            .xattr("user.x", b"1")
            .done();
        Tree::at(s.path("ctr")).file("volume2.txt", b"").done();
        let volume = s.path("ctr/volume2.txt");
        s.bind(&outside.join("file"), &volume);
        s.configure("web", &[&volume]);
        let backup = s.backup();
        assert_eq!(backup["volumes"][0]["type"], "file");
        let before = Picture::of(&volume);
        let inode = volume.metadata().unwrap().ino();
        for spoilt in [b"".to_vec(), b"short".to_vec(), pattern(200_000)] {
            fs::write(&volume, spoilt).unwrap();
            xattr::set(&volume, "user.more", b"2").unwrap();
            s.restore();
            before.assert_same(&volume);
            assert_eq!(volume.metadata().unwrap().ino(), inode);
        }
    });
}

#[test]
fn the_same_tree_at_the_same_place_makes_the_same_bytes() {
    sandboxed(|s| {
        let volume = Torture::default().make(s.path("vol/a"));
        s.configure("web", &[&volume]);
        let archives = ["one.tar", "two.tar"].map(|name| {
            let archive = s.path(name);
            fs::write(&archive, [0; 1024]).unwrap();
            s.run(["backup", "--archive", text(&archive)]).ok();
            fs::read(&archive).unwrap()
        });
        let [one, two] = archives.map(|bytes| {
            let close = b"web/volumes-data.yml\0";
            let at = bytes.windows(close.len()).rposition(|window| window == close).unwrap();
            // Before its ustar header stands its pax header, of two blocks, with the time.
            bytes[..at - 1024].to_vec()
        });
        assert!(one.len() > 100_000 && one == two);
    });
}

#[test]
fn a_socket_is_left_out_and_said() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol/a")).file("file", b"x").socket("run/app.sock").done();
        s.configure("web", &[&volume]);
        let socket = volume.join("run/app.sock");
        // It is said, and no warning: a socket has nothing to lose.
        let run = s.run(["backup", "--strict", "--json"]).ok().says(&[text(&socket), "socket"]);
        assert_eq!(run.json()["warning_count"], 0);
        s.restore();
        assert!(!socket.exists() && socket.parent().unwrap().is_dir());
    });
}

#[test]
fn a_restored_entry_has_no_attribute_that_it_lacked() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol/a")).file("file", b"x").dir("dir").file("dir/in", b"y").done();
        s.configure("web", &[&volume]);
        s.backup();
        let before = Picture::of(&volume);
        // What is created below a default ACL gets an ACL, below a setgid directory its group.
        let everyone = [(1, 7, u32::MAX), (2, 7, 5), (4, 7, u32::MAX), (16, 7, u32::MAX), (32, 7, u32::MAX)];
        Tree::at(&volume)
            .acl("default", &everyone)
            .acl("access", &everyone)
            .owner(0, 77)
            .mode(0o2777)
            .xattr("user.more", b"x")
            .done();
        s.restore();
        before.assert_same(&volume);
    });
}

#[test]
fn a_name_of_any_bytes_is_shown_so_that_it_can_be_read_back() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol/a")).socket(b"a\\b\xff\xc3\xa9\x1b[2J").done();
        let file = Tree::at(s.path("vol/b")).file(b"a\\b\xff\xc3\xa9\x1b[2J", b"x").done();
        s.configure("web", &[&volume, &file]);
        s.backup();
        fs::remove_dir_all(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let changes = s.run(["restore", "--allow-empty", "--dry-run", "--json"]).ok().json();
        let path = format!("{}/a\\\\b\\xffé\u{1b}[2J", text(&file));
        let change = serde_json::json!({"change": "create", "path": path});
        assert!(changes["changes"].as_array().unwrap().contains(&change), "{changes}");
        let shown = s.run(["backup"]).ok();
        assert!(!shown.stderr().as_bytes().contains(&0x1b), "{shown}");
        shown.says(&["a\\b\\xffé\\x1b[2J"]);
    });
}
