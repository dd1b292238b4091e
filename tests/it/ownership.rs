//! Owners that a restore can set, those that it cannot, and those that become others.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Picture, Run, Sandbox, Tree, assert_same_tree, sandboxed};

/// Restores below `out` as a user who belongs to the group 77 as well.
fn as_user(s: &Sandbox, args: &[&str]) -> Run {
    for open in [s.root().to_owned(), s.archive()] {
        fs::set_permissions(open, Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=4242", "--regid=4242", "--groups=77"]);
    command.arg(assert_cmd::cargo::cargo_bin!("snapshotter")).args(["restore", "--into", "out"]).args(args);
    s.run_as(command)
}

/// Files of three owners, each with a setuid and a setgid bit.
fn owned(s: &Sandbox) -> PathBuf {
    s.init();
    let mut tree = Tree::at(s.path("vol")).owner(4242, 4242).mode(0o755);
    for (name, uid, gid) in [("own", 4242, 4242), ("group", 4242, 77), ("other", 4242, 88), ("root", 0, 77)] {
        tree = tree.file(name, name).owner(uid, gid).mode(0o6755);
    }
    let volume = tree.dir("dir").owner(5, 88).mode(0o2755).done();
    s.configure("web", &[&volume]);
    s.backup();
    volume
}

#[test]
fn owners_that_can_be_set_are_set_with_no_owner_too() {
    sandboxed(|s| {
        let volume = owned(s);
        s.run(["restore", "--no-owner", "--into", "out"]).ok().prints(&["0 warnings"]);
        let copy = s.path("out").join(volume.strip_prefix("/").unwrap());
        assert_same_tree(&volume, &copy);
        s.run(["restore", "--no-owner", "--into", "out", "--dry-run"]).ok().prints(&["replace 0"]);
    });
}

#[test]
fn what_cannot_get_its_owner_gets_no_bit_that_lends_the_owner_s_rights() {
    sandboxed(|s| {
        let volume = owned(s);
        let run = as_user(s, &["--no-owner", "--json"]).ok();
        let copy = s.path("out").join(volume.strip_prefix("/").unwrap());
        let picture = Picture::of(&copy);
        for (name, uid, gid, mode) in [
            ("own", 4242, 4242, 0o6755),
            ("group", 4242, 77, 0o6755),
            ("other", 4242, 4242, 0o4755),
            ("root", 4242, 77, 0o2755),
            ("dir", 4242, 4242, 0o755),
        ] {
            let entry = picture.entry(name);
            assert_eq!((entry.uid, entry.gid, entry.mode & 0o7777), (uid, gid, mode), "{name}");
        }
        let warnings = run.json()["warnings"].as_array().unwrap().clone();
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(warning["reason"].as_str().unwrap().starts_with("it and 2 other files did not get"), "{run}");
        // Nothing of that would change with another restore.
        as_user(s, &["--no-owner", "--dry-run"]).ok().prints(&["create 0, replace 0, remove 0"]);
        as_user(s, &["--no-owner", "--strict"]).exits(1).says(&["did not get the owner"]);
        picture.assert_same(&copy);
        as_user(s, &[]).exits(1).says(&["cannot set the owner", "--no-owner"]);
        picture.assert_same(&copy);
    });
}

#[test]
fn a_file_volume_that_cannot_get_its_owner_loses_the_bits_that_it_has() {
    sandboxed(|s| {
        s.init();
        let folder = Tree::at(s.path("vol")).file("f", "new").owner(5, 6).mode(0o6755).done();
        let file = folder.join("f");
        s.configure("web", &[&file]);
        s.backup();
        std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o6755)).unwrap();
        s.run_without("-chown", ["restore", "--no-owner"]).ok().says(&["did not get"]).prints(&["1 warning"]);
        let entry = Picture::of(&folder);
        let entry = entry.entry("f");
        assert_eq!((entry.uid, entry.gid, entry.mode & 0o7777), (0, 0, 0o755));
    });
}

#[test]
fn owners_are_mapped_and_so_are_the_ids_in_acls() {
    sandboxed(|s| {
        s.init();
        let acl =
            |user, group| [(1, 7, !0), (2, 4, user), (4, 5, !0), (8, 6, group), (16, 7, !0), (32, 0, !0)];
        let volume = Tree::at(s.path("vol"))
            .owner(5, 5)
            .file("both", "x")
            .owner(5, 5)
            .mode(0o6755)
            .file("acl", "x")
            .owner(9, 5)
            .acl("access", &acl(5, 7))
            .symlink("link", "both")
            .owner(7, 7)
            .dir("dir")
            .owner(1, 1)
            .acl("default", &acl(7, 5))
            .done();
        s.configure("web", &[&volume]);
        s.backup();
        let into = [
            "restore",
            "--into",
            "out",
            "--map-owner",
            "5:50",
            "--map-owner",
            "u7:5",
            "--map-owner",
            "g7:70",
        ];
        s.run(into).ok().prints(&["0 warnings"]);
        s.run(into.iter().chain(&["--dry-run"])).ok().prints(&["create 0, replace 0, remove 0"]);
        Tree::at(&volume)
            .owner(50, 50)
            .at_entry("both")
            .owner(50, 50)
            .mode(0o6755)
            .at_entry("acl")
            .owner(9, 50)
            .acl("access", &acl(50, 70))
            .at_entry("link")
            .owner(5, 70)
            .at_entry("dir")
            .acl("default", &acl(5, 50))
            .done();
        assert_same_tree(&volume, s.path("out").join(volume.strip_prefix("/").unwrap()));
    });
}

#[test]
fn capabilities_of_a_user_namespace_belong_to_its_root_whom_a_mapping_maps() {
    sandboxed(|s| {
        s.init();
        let of_root = |id: u32| [&[1, 0, 0, 3, 0, 4, 0, 0], &[0; 12][..], &id.to_le_bytes()].concat();
        let volume = Tree::at(s.path("vol")).file("f", "x").owner(5, 5).mode(0o755).done();
        xattr::set(volume.join("f"), "security.capability", &of_root(5)).unwrap();
        s.configure("web", &[&volume]);
        s.backup();
        for (mapping, id) in [("u5:50", 50), ("g5:50", 5), ("6:50", 5)] {
            s.run(["restore", "--into", "out", "--map-owner", mapping]).ok().prints(&["0 warnings"]);
            let file = s.path("out").join(volume.strip_prefix("/").unwrap()).join("f");
            assert_eq!(xattr::get(file, "security.capability").unwrap(), Some(of_root(id)), "{mapping}");
            let again = ["restore", "--into", "out", "--map-owner", mapping, "--dry-run"];
            s.run(again).ok().prints(&["create 0, replace 0, remove 0"]);
        }
    });
}

#[test]
fn a_mapping_that_cannot_be_meant_is_refused_before_anything_is_looked_at() {
    sandboxed(|s| {
        let volume = owned(s);
        let before = Picture::of(s.root());
        for bad in ["", "5", "5:", "5:4294967295", "99999999999:1", "root:0", "-1:2", "5:6:7"] {
            s.run(["restore", &format!("--map-owner={bad}")]).exits(2).says(&["FROM:TO"]);
        }
        s.run(["restore", "--map-owner=5:6", "--map-owner=g5:7"]).exits(1).says(&["5 is mapped twice"]);
        before.assert_same(s.root());
        assert!(volume.exists());
    });
}
