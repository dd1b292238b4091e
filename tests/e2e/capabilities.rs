//! What docs/security.md says of each capability: with all of them everything comes back, and without one of them
//! exactly that is lost which stands there, and is said.

use std::fs;
use std::path::Path;

use nix::unistd::chown;

use crate::support::engine::HARDENED;
use crate::support::{Engine, Picture, Run, Tree, with_engine};

/// Effective and permitted `CAP_NET_BIND_SERVICE`.
const CAPABLE: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Something for each capability to be needed for.
fn fill(path: &Path) {
    Tree::at(path)
        .file("root's", b"plain")
        .file("private", b"private")
        .owner(1000, 1000)
        .mode(0o600)
        .xattr("user.x", b"x")
        .dir("closed")
        .owner(1000, 1000)
        .file("closed/in", b"in")
        .at_entry("closed")
        .mode(0o500)
        .mtime(5, 6)
        .done();
}

fn with(e: &Engine, container: &str, capabilities: &[&str], args: &[&str]) -> Run {
    let mut options = vec!["--rm", "--read-only", "--network", "none", "--cap-drop", "ALL"];
    options.extend(["--volumes-from", container]);
    for capability in capabilities {
        options.extend(["--cap-add", capability]);
    }
    e.snapshotter_with(&options, args)
}

/// The capabilities that the tests grant, but one.
fn all_but(left_out: &str) -> Vec<&'static str> {
    let names = HARDENED.into_iter().skip_while(|option| *option != "--cap-add");
    names.filter(|option| *option != "--cap-add" && *option != left_out).collect()
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_backup_needs_to_read_all_and_no_more() {
    with_engine(|e| {
        let (volume, path) = e.volume("vol", &[]);
        fill(&path);
        let container = e.application("app", &["-v", &format!("{volume}:/data:ro")]);
        e.configure("caps", &["/data"]);
        with(e, &container, &[], &["backup"]).exits(1).says(&["/data/closed", "Permission denied"]);
        with(e, &container, &["DAC_READ_SEARCH"], &["backup", "--strict"]).ok();
        with(e, &container, &["DAC_OVERRIDE"], &["backup", "--strict"]).ok();
        assert_eq!(e.verified(), 2);
        // An archive of another user's can be appended to only with DAC_OVERRIDE.
        chown(&e.archive(), Some(1000.into()), Some(1000.into())).unwrap();
        with(e, &container, &["DAC_READ_SEARCH"], &["backup"])
            .exits(1)
            .says(&["/backup.tar", "Permission denied"]);
        with(e, &container, &["DAC_OVERRIDE"], &["backup"]).ok();
        with(e, &container, &[], &["list"]).ok();
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_volume_of_root_alone_needs_no_capability_at_all() {
    with_engine(|e| {
        let (volume, path) = e.volume("vol", &[]);
        let container = e.application("app", &["-v", &format!("{volume}:/data")]);
        Tree::at(&path).file("dir/file", b"x").mode(0o600).symlink("link", "dir").fifo("fifo").done();
        e.configure("caps", &["/data"]);
        with(e, &container, &[], &["backup", "--strict"]).ok();
        let picture = Picture::of(&path);
        fs::remove_dir_all(path.join("dir")).unwrap();
        with(e, &container, &[], &["restore", "--strict"]).ok();
        picture.assert_same(&path);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_restore_says_what_it_loses_without_each_capability() {
    with_engine(|e| {
        let (volume, path) = e.volume("vol", &[]);
        fill(&path);
        Tree::at(&path)
            .file("setgid", b"x")
            .owner(1000, 1000)
            .mode(0o6755)
            .file("capable", b"x")
            .xattr("security.capability", CAPABLE)
            .char_device("null", 1, 3)
            .done();
        let container = e.application("app", &["-v", &format!("{volume}:/data")]);
        e.configure("caps", &["/data"]);
        e.backup(&container);
        let snapshot = Picture::of(&path);
        let fails = [
            ("CHOWN", "cannot set the owner"),
            ("DAC_OVERRIDE", "Permission denied"),
            ("FOWNER", "Operation not permitted"),
        ];
        let loses = [
            ("FSETID", "/data/setgid: its mode became 4755 instead of 6755", "setgid: mode: 6755, 4755"),
            ("MKNOD", "/data/null", "null: missing"),
            ("SETFCAP", "/data/capable", "capable: xattr security.capability: missing"),
        ];
        fs::write(path.join("root's"), b"changed").unwrap();
        let changed = Picture::of(&path);
        for (capability, message) in fails {
            with(e, &container, &all_but(capability), &["restore"]).exits(1).says(&[message]);
            // Without DAC_OVERRIDE what was staged may be out of reach; the next restore removes it.
            let mut found = Picture::of(&path);
            found.entries.retain(|name, _| !name.starts_with(b".snapshotter-staging"));
            found.entries.insert(Vec::new(), changed.entry("").clone());
            changed.assert_same_picture(&found);
        }
        for (capability, message, lost) in loses {
            with(e, &container, &all_but(capability), &["restore", "--strict"]).exits(1).says(&[message]);
            with(e, &container, &all_but(capability), &["restore"]).ok().says(&["warning: ", message]);
            assert_eq!(snapshot.differences(&Picture::of(&path)), [lost]);
        }
        with(e, &container, &all_but(""), &["restore", "--strict"]).ok().says_not(&["warning"]);
        snapshot.assert_same(&path);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn attributes_that_only_the_administrator_sees_need_sys_admin() {
    with_engine(|e| {
        let (volume, path) = e.volume("vol", &[]);
        Tree::at(&path).file("file", b"x").xattr("trusted.t", b"t").xattr("user.u", b"u").done();
        let container = e.application("app", &["-v", &format!("{volume}:/data")]);
        e.configure("caps", &["/data"]);
        let picture = Picture::of(&path);
        let all = [&all_but("")[..], &["SYS_ADMIN"]].concat();
        with(e, &container, &all, &["backup"]).ok();
        with(e, &container, &all_but(""), &["restore"]).ok().says(&["/data/file", "trusted.t"]);
        assert_eq!(picture.differences(&Picture::of(&path)), ["file: xattr trusted.t: missing"]);
        with(e, &container, &all, &["restore", "--strict"]).ok();
        picture.assert_same(&path);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn docker_s_default_capabilities_are_enough() {
    with_engine(|e| {
        let (volume, path) = e.volume("vol", &[]);
        fill(&path);
        let container = e.application("app", &["-v", &format!("{volume}:/data")]);
        e.configure("caps", &["/data"]);
        let options = ["--rm", "--volumes-from", &container];
        let picture = Picture::of(&path);
        e.snapshotter_with(&options, &["backup", "--strict"]).ok();
        fs::remove_dir_all(path.join("closed")).unwrap();
        e.snapshotter_with(&options, &["restore", "--strict"]).ok();
        picture.assert_same(&path);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn another_user_than_root_saves_and_restores_what_is_his() {
    with_engine(|e| {
        let (volume, path) = e.volume("vol", &[]);
        Tree::at(&path).owner(1000, 1000).file("file", b"x").owner(1000, 1000).done();
        let container = e.application("app", &["-v", &format!("{volume}:/data")]);
        e.configure("caps", &["/data"]);
        chown(&e.archive(), Some(1000.into()), Some(1000.into())).unwrap();
        let user = ["--rm", "--cap-drop", "ALL", "--user", "1000:1000", "--volumes-from", &container];
        let picture = Picture::of(&path);
        e.snapshotter_with(&user, &["backup", "--strict"]).ok();
        e.shell(&container, "rm /data/file");
        e.snapshotter_with(&user, &["restore", "--strict"]).ok();
        picture.assert_same(&path);

        e.shell(&container, "chown 7:7 /data/file");
        e.snapshotter_with(&user, &["backup"]).ok();
        let changed = Picture::of(&path);
        e.snapshotter_with(&user, &["restore"]).exits(1).says(&["cannot set the owner", "--no-owner"]);
        changed.assert_same(&path);
        e.snapshotter_with(&user, &["restore", "--no-owner"]).ok();
        picture.assert_same(&path);
    });
}
