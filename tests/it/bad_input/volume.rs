//! Volumes that cannot be read or written.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{assert_refused, assert_same_but_for_the_time_of_the_archive, refused};
use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Tree, need, sandboxed, tool};

#[test]
fn a_read_only_volume_cannot_be_restored_but_backed_up() {
    sandboxed(|s| {
        s.init();
        let other = Tree::at(s.path("vol/other")).file("file", b"x").done();
        let volume = Tree::at(s.path("vol/a")).file("file", b"x").done();
        let single = Tree::at(s.path("vol/files")).file("single", b"x").done().join("single");
        s.configure("web", &[&other, &volume, &single]);
        s.backup();
        for read_only in [&volume, &single] {
            s.read_only(read_only);
            s.configure("web", &[&other, read_only]);
            s.backup();
            fs::write(other.join("file"), b"changed since").unwrap();
            refused(s, &["restore"], &[text(read_only), "Read-only file system"]);
        }
    });
}

#[test]
fn no_space_in_a_volume_leaves_it_as_it_was() {
    sandboxed(|s| {
        s.init();
        let volume = s.tmpfs("vol", "size=4m");
        Tree::at(&volume).file("first", pattern(2_500_000)).file("more/x", pattern(5000)).mtime(5, 6).done();
        s.configure("web", &[&volume]);
        s.backup();
        let picture = Picture::of(&volume);
        fs::remove_file(volume.join("first")).unwrap();
        Tree::at(&volume).file("other", pattern(2_600_000)).mtime(77, 88).done();
        refused(s, &["restore"], &[text(&volume), "No space left on device", "--in-place"]);
        s.run(["restore", "--in-place"]).ok();
        picture.assert_same(&volume);
    });
}

#[test]
fn a_filesystem_that_does_not_tell_its_space_is_restored_to() {
    use nix::mount::{MsFlags, mount};
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("file", b"x").done();
        s.configure("web", &[&volume]);
        s.backup();
        let none = None::<&str>;
        mount(none, &volume, Some("ramfs"), MsFlags::empty(), none).unwrap();
        s.restore();
        assert_eq!(fs::read(volume.join("file")).unwrap(), b"x");
    });
}

#[test]
fn no_inodes_in_a_volume_leave_it_as_it_was() {
    sandboxed(|s| {
        s.init();
        let volume = s.tmpfs("vol", "size=4m,nr_inodes=150");
        let names: Vec<String> = (0..100).map(|n| format!("file {n}")).collect();
        let tree = names.iter().fold(Tree::at(&volume), |tree, name| tree.file(name, name));
        tree.done();
        s.configure("web", &[&volume]);
        s.backup();
        let picture = Picture::of(&volume);
        fs::write(volume.join("file 7"), b"changed since").unwrap();
        refused(s, &["restore"], &[text(&volume), "No space left on device"]);
        s.run(["restore", "--in-place"]).ok();
        picture.assert_same(&volume);
    });
}

#[test]
fn no_space_for_a_file_volume_leaves_it_as_it_was() {
    sandboxed(|s| {
        s.init();
        let point = s.tmpfs("small", "size=1m");
        let volume = Tree::at(&point).file("volume", pattern(900_000)).done().join("volume");
        s.configure("web", &[&volume]);
        s.backup();
        fs::write(&volume, b"short, and precious").unwrap();
        fs::write(point.join("in the way"), pattern(300_000)).unwrap();
        let content = Picture::of(&volume);
        let run = s.run(["restore"]);
        assert_refused(&run, &[text(&volume), "No space left on device"]);
        content.assert_same(&volume);
        assert_eq!(fs::read(&volume).unwrap(), b"short, and precious");
    });
}

#[test]
fn a_file_or_directory_that_cannot_be_read() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("a", b"a").file("d/secret", b"x").dir("closed").done();
        s.configure("web", &[&volume]);
        s.backup();
        for secret in ["d/secret", "closed"] {
            let secret = volume.join(secret);
            let mode = fs::metadata(&secret).unwrap().permissions();
            fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
            let before = Picture::of(s.root());
            let run = s.run_without("-dac_override,-dac_read_search", ["backup"]);
            assert_refused(&run, &[text(&secret), "Permission denied"]);
            assert_same_but_for_the_time_of_the_archive(&before, s, "backup.tar");
            fs::set_permissions(&secret, mode).unwrap();
        }
        assert_eq!(s.list()["snapshots"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn an_owner_that_cannot_be_set_is_refused_unless_asked() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("a", b"a").owner(5, 6).done();
        s.configure("web", &[&volume]);
        s.backup();
        fs::write(volume.join("a"), b"changed since").unwrap();
        let before = Picture::of(s.root());
        let run = s.run_without("-chown", ["restore"]);
        assert_refused(&run, &["a", "Operation not permitted", "--no-owner"]);
        before.assert_same(s.root());
        s.run_without("-chown", ["restore", "--no-owner"]).ok();
        let after = Picture::of(&volume);
        assert_eq!((after.entry("a").uid, after.entry("a").size), (0, 1));
    });
}

#[test]
fn what_cannot_be_set_for_want_of_privilege_is_a_warning_and_an_error_if_strict() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol"))
            .char_device("device", 1, 3)
            .file("file", b"x")
            .file("capable", b"x")
            .xattr("security.capability", [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .done();
        s.configure("web", &[&volume]);
        s.backup();
        fs::write(volume.join("file"), b"changed since").unwrap();
        let before = Picture::of(s.root());
        let run = s.run_without("-mknod,-setfcap", ["restore", "--strict"]);
        assert_eq!(run.code(), Some(1), "{run}");
        before.assert_same(s.root());
        let run = s.run_without("-mknod,-setfcap", ["restore", "--json"]).ok();
        let result = run.json();
        let warned = result["warnings"].as_array().unwrap();
        for name in ["device", "capable"] {
            let path = volume.join(name);
            assert!(warned.iter().any(|warning| warning["path"] == text(&path)), "{run}");
        }
        let run = s.run_without("-mknod,-setfcap", ["restore"]).ok();
        let (device, capable) = (volume.join("device"), volume.join("capable"));
        run.says(&[text(&device), text(&capable), "Operation not permitted"]);
        assert!(!volume.join("device").exists());
        assert_eq!(fs::read(volume.join("file")).unwrap(), b"x");
    });
}

#[test]
fn an_immutable_file_in_a_volume_is_refused() {
    if !need("chattr") {
        return;
    }
    sandboxed(|s| {
        s.init();
        let mut tree = Tree::at(s.path("vol"));
        for n in 0..20 {
            tree = tree.file(format!("file {n:02}"), b"x");
        }
        let volume = tree.done();
        s.configure("web", &[&volume]);
        s.backup();
        let fixed = volume.join("file 11");
        fs::write(volume.join("file 02"), b"changed since").unwrap();
        if tool("chattr", ["+i", text(&fixed)]).code() != Some(0) {
            return;
        }
        let before = Picture::of(s.root());
        let run = s.run(["restore"]);
        let found = Picture::of(s.root());
        tool("chattr", ["-i", text(&fixed)]).ok();
        assert_refused(&run, &["file 11", "Operation not permitted"]);
        before.assert_same_picture(&found);
        s.restore();
        assert_eq!(fs::read(volume.join("file 02")).unwrap(), b"x");
    });
}

#[test]
fn a_root_that_is_another_users_is_refused_before_anything_moves() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("a", b"a").mode(0o777).done();
        s.configure("web", &[&volume]);
        s.backup();
        fs::write(volume.join("a"), b"changed since").unwrap();
        fs::set_permissions(s.archive(), Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(s.root(), Permissions::from_mode(0o755)).unwrap();
        let before = Picture::of(s.root());
        let program = assert_cmd::cargo::cargo_bin!("snapshotter");
        for in_place in [&[][..], &["--in-place"]] {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
            command.args(["restore", "--no-owner"]).args(in_place);
            let run = s.run_as(command);
            assert_refused(&run, &[text(&volume), "Operation not permitted", "owner of the volume"]);
            before.assert_same(s.root());
        }
    });
}
