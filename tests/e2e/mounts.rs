//! Every kind of mount that a container can have.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::engine::{HARDENED, mount};
use crate::support::torture::pattern;
use crate::support::{Picture, Tree, with_engine};

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn named_anonymous_and_bind_volumes_and_a_file_come_back() {
    with_engine(|e| {
        let (named, named_path) = e.volume("named", &[]);
        let bind = Tree::at(e.path("bind")).file("dir/file", pattern(5000)).xattr("user.a", b"b").done();
        fs::write(e.path("settings.ini"), "a=1\n").unwrap();
        let inode = fs::metadata(e.path("settings.ini")).unwrap().ino();
        let container = e.application(
            "app",
            &[
                "-v",
                &format!("{named}:/named"),
                "-v",
                "/anonymous",
                "-v",
                &mount(&bind, "/srv/bind"),
                "-v",
                &mount(&e.path("settings.ini"), "/etc/settings.ini"),
            ],
        );
        let anonymous_path = e.source(&container, "/anonymous");
        e.shell(&container, "echo n > /named/file; echo a > /anonymous/file; chmod 2750 /anonymous");
        let paths = [&named_path, &anonymous_path, &bind, &e.path("settings.ini")];
        let pictures = paths.map(Picture::of);
        e.configure("all", &["/named", "/anonymous", "/srv/bind", "/etc/settings.ini"]);
        let done = e.backup(&container);
        assert_eq!(done["warnings"].as_array().unwrap().len(), 0, "{done}");

        e.shell(
            &container,
            "rm -r /named/* /anonymous/* /srv/bind/*; echo 'a=2, and more' > /etc/settings.ini",
        );
        e.restore(&container);
        for (picture, path) in pictures.iter().zip(paths) {
            picture.assert_same(path);
        }
        assert_eq!(
            fs::metadata(e.path("settings.ini")).unwrap().ino(),
            inode,
            "a bind mount shows one inode"
        );
        assert_eq!(e.shell(&container, "cat /etc/settings.ini"), "a=1");
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_volume_inside_a_volume_is_one_of_its_own() {
    with_engine(|e| {
        let (outer, outer_path) = e.volume("outer", &[]);
        let (inner, inner_path) = e.volume("inner", &[]);
        fs::write(e.path("file"), "mounted into the volume").unwrap();
        let container = e.application(
            "app",
            &[
                "-v",
                &format!("{outer}:/data"),
                "-v",
                &format!("{inner}:/data/deep/inner"),
                "-v",
                &mount(&e.path("file"), "/data/file"),
            ],
        );
        e.shell(&container, "echo o > /data/outer; echo i > /data/deep/inner/inner; chmod 711 /data/deep");
        let pictures = [Picture::of(&outer_path), Picture::of(&inner_path)];

        e.configure("outer", &["/data"]);
        let done = e.backup(&container);
        let mut warned: Vec<_> =
            done["warnings"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
        warned.sort_unstable();
        assert_eq!(warned, ["/data/deep/inner", "/data/file"]);
        e.shell(&container, "rm /data/outer; echo changed > /data/deep/inner/inner");
        e.restore(&container);
        pictures[0].assert_same(&outer_path);
        assert_eq!(
            e.shell(&container, "cat /data/deep/inner/inner /data/file"),
            "changed\nmounted into the volume"
        );
        e.shell(&container, "echo i > /data/deep/inner/inner");

        e.configure("both", &["/data", "/data/deep/inner", "/data/file"]);
        let picture = Picture::of(&inner_path);
        assert_eq!(e.backup(&container)["warnings"].as_array().unwrap().len(), 0);
        e.shell(&container, "rm /data/outer /data/deep/inner/inner; echo changed > /data/file");
        e.restore(&container);
        pictures[0].assert_same(&outer_path);
        picture.assert_same(&inner_path);
        assert_eq!(fs::read_to_string(e.path("file")).unwrap(), "mounted into the volume");
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_tmpfs_is_not_handed_on_and_that_is_said() {
    with_engine(|e| {
        let container = e.application("app", &["--tmpfs", "/scratch", "-v", "/data"]);
        e.configure("tmpfs", &["/data", "/scratch"]);
        for command in ["backup", "restore"] {
            e.snapshotter(&container, &[command]).exits(1).says(&["/scratch", "--volumes-from"]);
        }
        assert_eq!(e.verified(), 0);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_read_only_volume_is_backed_up_and_a_restore_says_why_not() {
    with_engine(|e| {
        let (volume, path) = e.volume("vol", &[]);
        Tree::at(&path).file("file", b"x").dir("dir").done();
        let read_only = e.application("read-only", &["-v", &format!("{volume}:/data:ro")]);
        let writable = e.application("writable", &["-v", &format!("{volume}:/data")]);
        e.configure("ro", &["/data"]);
        e.backup(&read_only);
        let from = format!("{writable}:ro");
        e.snapshotter_with(&[&HARDENED[..], &["--rm", "--volumes-from", &from]].concat(), &["backup"]).ok();
        assert_eq!(e.verified(), 2);

        let picture = Picture::of(&path);
        e.snapshotter(&read_only, &["restore"]).exits(1).says(&["/data", "ead-only"]);
        picture.assert_same(&path);
        e.shell(&writable, "rm /data/file");
        e.restore(&writable);
        picture.assert_same(&path);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn an_archive_that_is_mounted_read_only_can_be_restored_and_is_not_written() {
    with_engine(|e| {
        let container = e.application("app", &["-v", "/data"]);
        e.shell(&container, "echo x > /data/file");
        e.configure("ro", &["/data"]);
        e.backup(&container);
        let archive = mount(&e.archive(), "/ro.tar:ro");
        let options = [&HARDENED[..], &["--rm", "--volumes-from", &container, "-v", &archive]].concat();
        e.shell(&container, "rm /data/file");
        e.snapshotter_with(&options, &["restore", "--archive", "/ro.tar"]).ok();
        assert_eq!(e.shell(&container, "cat /data/file"), "x");
        let before = fs::read(e.archive()).unwrap();
        e.snapshotter_with(&options, &["backup", "--archive", "/ro.tar"])
            .exits(1)
            .says(&["/ro.tar", "ead-only"]);
        assert_eq!(fs::read(e.archive()).unwrap(), before);
    });
}
