//! Many containers in one archive, many snapshots of one container, volumes in volumes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Sandbox, Tree, need, sandboxed, tool};

/// A small volume at `vol/NAME` whose files say whose they are.
fn volume(s: &Sandbox, name: &str) -> PathBuf {
    Tree::at(s.path("vol").join(name))
        .file("file", name)
        .file("dir/deep", name)
        .mtime(5, 6)
        .dir("empty")
        .done()
}

fn ids(s: &Sandbox) -> Vec<String> {
    let list = s.list();
    let snapshots = list["snapshots"].as_array().unwrap();
    snapshots.iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

fn empty(volume: &Path) {
    for entry in fs::read_dir(volume).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn several_containers_share_an_archive_and_each_is_restored_alone() {
    sandboxed(|s| {
        s.init();
        // Prefixes that begin alike, one inside another, and none at all.
        let prefixes = ["web", "web2", "we", "web/app", "", "vol", "späte\"r\\"];
        let volumes: Vec<_> = (0..prefixes.len()).map(|n| volume(s, &format!("of-{n}"))).collect();
        for (prefix, volume) in prefixes.iter().zip(&volumes) {
            s.configure(prefix, &[volume]);
            s.backup();
        }
        let pictures: Vec<_> = volumes.iter().map(Picture::of).collect();
        for (n, (prefix, volume)) in prefixes.iter().zip(&volumes).enumerate() {
            empty(volume);
            s.configure(prefix, &[volume]);
            let restored = s.restore();
            assert_eq!(restored["prefix"], *prefix);
            pictures[n].assert_same(volume);
            for (other, picture) in volumes.iter().zip(&pictures).skip(n + 1) {
                picture.assert_same(other);
            }
        }
        let listed = s.list();
        let found: Vec<_> =
            listed["snapshots"].as_array().unwrap().iter().map(|one| &one["prefix"]).collect();
        assert_eq!(found, prefixes);
        assert_eq!(listed["foreign"], 0);
    });
}

#[test]
fn the_same_volume_under_two_prefixes_is_two_volumes() {
    sandboxed(|s| {
        s.init();
        let shared = volume(s, "shared");
        s.configure("one", &[&shared]);
        s.backup();
        let one = Picture::of(&shared);
        Tree::at(&shared).file("only in two", b"2").done();
        s.configure("two", &[&shared]);
        s.backup();
        let two = Picture::of(&shared);
        s.run(["restore", "--prefix", "one"]).ok();
        one.assert_same(&shared);
        s.run(["restore", "--prefix", "two"]).ok();
        two.assert_same(&shared);
    });
}

#[test]
fn the_newest_snapshot_wins_and_what_it_lacks_is_removed() {
    sandboxed(|s| {
        s.init();
        let volume = volume(s, "a");
        s.configure("web", &[&volume]);
        let mut pictures = Vec::new();
        let changes: [&dyn Fn(); 3] = [
            &|| fs::remove_dir_all(volume.join("dir")).unwrap(),
            &|| fs::remove_file(volume.join("file")).unwrap(),
            &|| fs::write(volume.join("dir"), b"a file now").unwrap(),
        ];
        for (n, change) in changes.iter().enumerate() {
            s.backup();
            pictures.push(Picture::of(&volume));
            fs::write(volume.join(format!("new after {n}")), b"x").unwrap();
            change();
        }
        s.restore();
        pictures[2].assert_same(&volume);
        assert!(!volume.join("new after 2").exists() && !volume.join("dir").exists());
        for (id, picture) in ids(s).iter().zip(&pictures) {
            let restored = s.run(["restore", "--json", "--snapshot", id]).ok().json();
            assert_eq!(restored["id"], *id);
            picture.assert_same(&volume);
        }
    });
}

#[test]
fn volumes_whose_names_begin_alike_are_kept_apart() {
    sandboxed(|s| {
        s.init();
        let volumes = ["data", "data2", "dat", "data.old", "other/data"].map(|name| volume(s, name));
        let paths: Vec<&Path> = volumes.iter().map(PathBuf::as_path).collect();
        let pictures = volumes.each_ref().map(Picture::of);
        s.configure("web", &paths);
        s.backup();
        for (volume, picture) in volumes.iter().zip(&pictures) {
            for each in &volumes {
                empty(each);
            }
            s.run(["restore", "--prefix", "web", "--volume", text(volume)]).ok();
            picture.assert_same(volume);
            for other in volumes.iter().filter(|other| *other != volume) {
                assert_eq!(Picture::of(other).entries.len(), 1, "{} was not asked for", other.display());
            }
        }
        s.restore();
        for (volume, picture) in volumes.iter().zip(&pictures) {
            picture.assert_same(volume);
        }
    });
}

#[test]
fn a_configured_mount_inside_a_volume_is_a_volume_of_its_own() {
    sandboxed(|s| {
        s.init();
        let outer = volume(s, "outer");
        fs::create_dir(outer.join("inner")).unwrap();
        let inner = s.tmpfs("vol/outer/inner", "size=1m");
        Tree::at(&inner).file("in the inner", b"x").owner(5, 5).done();
        for order in [[&outer, &inner], [&inner, &outer]] {
            let picture = Picture::of(&outer);
            assert!(picture.has("inner/in the inner"));
            s.configure("web", &order.map(PathBuf::as_path));
            s.run(["backup", "--strict"]).ok();
            empty(&inner);
            fs::remove_file(outer.join("file")).unwrap();
            s.run(["restore", "--strict"]).ok();
            picture.assert_same(&outer);
        }
        // No member stands in the mount's place that would empty it when others extract the archive.
        let listed = tool("tar", ["-tf", "backup.tar"]).silent().stdout();
        let name = format!("web{}/", text(&inner));
        assert_eq!(
            listed.lines().filter(|line| **line == name).count(),
            2,
            "once in each snapshot: {listed}"
        );
    });
}

#[test]
fn a_part_of_a_volume_that_is_mounted_again_is_no_volume_of_its_own() {
    sandboxed(|s| {
        s.init();
        let outer = Tree::at(s.path("outer")).file("part/deep/file", b"x").file("file", b"y").done();
        let (again, single) = (s.path("again"), s.path("single"));
        fs::create_dir(&again).unwrap();
        fs::write(&single, b"").unwrap();
        s.bind(&outer.join("part/deep"), &again);
        s.bind(&outer.join("file"), &single);
        let before = Picture::of(&outer);
        for (inner, is) in [(&again, "outer/part/deep in"), (&single, "outer/file in")] {
            for order in [[&outer, inner], [inner, &outer]] {
                s.configure("web", &order.map(PathBuf::as_path));
                s.run(["backup"]).exits(1).says(&[text(inner), is, "remove one of the two"]);
            }
            // Each alone is whole.
            s.configure("web", &[inner]);
            s.backup();
        }
        s.configure("web", &[&outer]);
        s.backup();
        fs::remove_dir_all(outer.join("part")).unwrap();
        s.restore();
        before.assert_same(&outer);
        // Nor is it below another directory.
        let plain = [Tree::at(s.path("x/a")).done(), Tree::at(s.path("x/b")).done()];
        s.configure("plain", &plain.each_ref().map(PathBuf::as_path));
        s.backup();
        let into = s.path("into");
        let below = plain.map(|path| into.join(path.strip_prefix("/").unwrap()));
        fs::create_dir_all(below[0].join("part")).unwrap();
        fs::create_dir(&below[1]).unwrap();
        s.bind(&below[0].join("part"), &below[1]);
        s.run(["restore", "--into", text(&into)]).exits(1).says(&[text(&below[1]), "mounted a second time"]);
        // What lies below a mount is not moved.
        let hidden = Tree::at(s.path("hidden")).file("inner/file", b"x").done();
        let inner = s.path("inner");
        fs::create_dir(&inner).unwrap();
        s.bind(&hidden.join("inner"), &inner);
        s.bind(&hidden.join("inner"), &hidden.join("inner"));
        s.configure("web", &[&hidden, &inner]);
        s.backup();
        s.restore();
        assert_eq!(fs::read(inner.join("file")).unwrap(), b"x");
        assert_eq!(fs::read(hidden.join("inner/file")).unwrap(), b"x");
    });
}

#[test]
fn a_bind_mount_of_the_same_filesystem_is_a_mount_too() {
    sandboxed(|s| {
        s.init();
        let outer = volume(s, "outer");
        Tree::at(&outer).dir("bound").file("bound.txt", b"below the mount").done();
        let elsewhere = Tree::at(s.path("elsewhere")).file("secret", b"s").done();
        s.bind(&elsewhere, &outer.join("bound"));
        s.bind(&elsewhere.join("secret"), &outer.join("bound.txt"));
        s.configure("web", &[&outer]);
        let backup = s.backup();
        let mut warned: Vec<_> =
            backup["warnings"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
        warned.sort_unstable();
        assert_eq!(warned, [text(&outer.join("bound")), text(&outer.join("bound.txt"))]);

        fs::remove_file(outer.join("file")).unwrap();
        let before = Picture::of(&elsewhere);
        s.restore();
        assert!(outer.join("file").exists());
        before.assert_same(&elsewhere);
        before.assert_same(outer.join("bound"));
        assert_eq!(fs::read(outer.join("bound.txt")).unwrap(), b"s");

        s.run(["restore", "--into", text(&s.path("into"))]).ok();
        let copy = s.path("into").join(outer.strip_prefix("/").unwrap());
        assert_eq!(
            fs::read_dir(copy.join("bound")).unwrap().count(),
            0,
            "a mount point is an empty directory"
        );
        assert_eq!(fs::read(copy.join("bound.txt")).unwrap(), b"", "or an empty file");
    });
}

#[test]
fn a_further_name_of_a_mount_is_no_damage_to_the_archive() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("a", b"x").hard_link("b", "a").done();
        s.configure("web", &[&volume]);
        s.backup();
        let other = Tree::at(s.path("other")).file("file", b"o").done().join("file");
        s.bind(&other, &volume.join("a"));
        fs::remove_file(volume.join("b")).unwrap();
        let before = Picture::of(s.root());
        let run = s.run(["restore", "--in-place"]).exits(1);
        run.says(&[text(&volume.join("b")), "restore without --in-place"]).says_not(&["damaged"]);
        before.assert_same(s.root());
        s.restore();
        assert_eq!(fs::read(volume.join("b")).unwrap(), b"x");
        assert_eq!(fs::read(other).unwrap(), b"o");
    });
}

#[test]
fn a_mount_deep_in_a_volume_survives_a_restore_that_lacks_it() {
    sandboxed(|s| {
        s.init();
        let outer = volume(s, "outer");
        s.configure("web", &[&outer]);
        let picture = Picture::of(&outer);
        s.backup();
        let inner = s.tmpfs("vol/outer/some/where/mounted", "size=1m");
        Tree::at(&inner).file("kept", b"x").done();
        Tree::at(&outer).file("some/file", b"goes").done();
        s.restore();
        assert_eq!(fs::read(inner.join("kept")).unwrap(), b"x");
        assert!(!outer.join("some/file").exists(), "what the snapshot lacks is removed around the mount");
        let mut found = Picture::of(&outer);
        found.entries.retain(|name, _| !name.starts_with(b"some"));
        picture.assert_same_picture(&found);
    });
}

#[test]
fn a_directory_that_stays_for_a_mount_and_has_no_member_keeps_what_it_is() {
    for flags in [&["restore"][..], &["restore", "--in-place"]] {
        sandboxed(|s| {
            s.init();
            let outer = volume(s, "outer");
            s.configure("web", &[&outer]);
            s.backup();
            let acl = [
                (0x01, 7, u32::MAX),
                (0x02, 7, 5),
                (0x04, 5, u32::MAX),
                (0x10, 7, u32::MAX),
                (0x20, 5, u32::MAX),
            ];
            Tree::at(&outer).dir("kept").acl("access", &acl).acl("default", &acl).done();
            s.tmpfs("vol/outer/kept/mounted", "size=1m");
            let aged = || Tree::at(&outer).at_entry("kept").mtime(5, 6).done();
            aged();
            let kept = || Picture::of(&outer).part(|name| name.starts_with(b"kept"));
            let before = kept();
            fs::write(outer.join("kept/new"), b"goes").unwrap();
            aged();
            s.run(flags).ok();
            before.assert_same_picture(&kept());
        });
    }
}

#[test]
fn lost_and_found_of_a_snapshot_gives_way_to_the_filesystems_own() {
    if !need("mkfs.ext4") {
        return;
    }
    for flags in [&["restore"][..], &["restore", "--in-place"]] {
        sandboxed(|s| {
            s.init();
            // As a copy of such a filesystem has it, and what other programs have stored.
            let volume = Tree::at(s.path("vol")).file("file", b"x").dir("lost+found").mode(0o755).done();
            s.configure("web", &[&volume]);
            s.backup();
            fs::write(volume.join("lost+found/piece"), b"x").unwrap();
            s.configure("with piece", &[&volume]);
            s.backup();
            s.filesystem("vol", "ext4", 64);
            fs::write(volume.join("newer"), b"x").unwrap();
            let before = Picture::of(&volume);
            s.run(flags).exits(1).says(&["lost+found/piece", "--into"]);
            before.assert_same(&volume);
            s.configure("web", &[&volume]);
            s.run(flags).ok();
            assert_eq!(fs::read(volume.join("file")).unwrap(), b"x");
            assert!(!volume.join("newer").exists());
            let own = Picture::of(&volume);
            assert_eq!(own.entry("lost+found").mode & 0o7777, 0o700);
        });
    }
}

#[test]
fn archive_and_configuration_inside_a_volume_are_left_alone() {
    sandboxed(|s| {
        let volume = volume(s, "a");
        Tree::at(&volume)
            .file("x/y/backup.tar", [0; 1024])
            .file("config.yml", b"")
            .file("x/file", b"x")
            .done();
        let (archive, config) = (volume.join("x/y/backup.tar"), volume.join("config.yml"));
        s.configure("web", &[&volume]);
        fs::copy(s.config(), &config).unwrap();
        let flags = ["--archive", text(&archive), "--config", text(&config)];
        s.run([&["backup", "--strict"], &flags[..]].concat()).ok();
        let listed = tool("tar", ["-tf", text(&archive)]).silent().stdout();
        assert!(!listed.contains("backup.tar") && !listed.contains("config.yml"), "{listed}");
        let picture = Picture::of(&volume);
        fs::remove_file(volume.join("file")).unwrap();
        fs::write(volume.join("x/file"), b"changed").unwrap();
        fs::write(volume.join("x/y/new"), b"new").unwrap();
        s.run([&["restore"], &flags[..]].concat()).ok();
        picture.assert_same(&volume);
    });
}

#[test]
fn archive_and_configuration_are_never_overwritten_as_volumes() {
    sandboxed(|s| {
        s.init();
        let other = Tree::at(s.path("other")).file("backup.tar", [0; 1024]).file("config.yml", b"").done();
        let (archive, config) = (other.join("backup.tar"), other.join("config.yml"));
        s.configure("web", &[&archive, &config]);
        s.backup();
        // What was a volume is now what this run uses.
        fs::copy(s.archive(), &archive).unwrap();
        fs::copy(s.config(), &config).unwrap();
        let into = s.path("into");
        let below = into.join(other.strip_prefix("/").unwrap());
        fs::create_dir_all(&below).unwrap();
        fs::hard_link(&archive, below.join("backup.tar")).unwrap();
        let before = Picture::of(s.root());
        for file in [&archive, &config] {
            let flag = if file == &archive { "--archive" } else { "--config" };
            let uses = [flag, text(file), "--volume", text(file)];
            for way in [&["restore"][..], &["restore", "--dry-run"], &["backup"]] {
                s.run([way, &uses[..]].concat()).exits(1).says(&[text(file), "of this run"]);
            }
        }
        let at = ["restore", "--archive", text(&archive), "--into", text(&into)];
        s.run(at).exits(1).says(&[text(&below.join("backup.tar")), "of this run"]);
        before.assert_same(s.root());
    });
}

#[test]
fn an_archive_in_a_subvolume_inside_a_volume_stays() {
    if !need("mkfs.btrfs") {
        return;
    }
    sandboxed(|s| {
        // A subvolume is no mount, and has a device number of its own.
        let volume = s.filesystem("fs", "btrfs", 200);
        tool("btrfs", ["subvolume".as_ref(), "create".as_ref(), volume.join("sub").as_os_str()]).ok();
        Tree::at(&volume)
            .file("sub/dir/backup.tar", [0; 1024])
            .file("sub/dir/file", b"x")
            .file("a", b"a")
            .done();
        let archive = volume.join("sub/dir/backup.tar");
        s.configure("web", &[&volume]);
        s.run(["backup", "--archive", text(&archive)]).ok();
        let picture = Picture::of(&volume);
        fs::write(volume.join("sub/dir/file"), b"changed").unwrap();
        fs::remove_file(volume.join("a")).unwrap();
        // Nothing can be renamed into another subvolume, and what stays in the way of that is the archive.
        let before = Picture::of(&volume);
        let restore = ["restore", "--archive", text(&archive)];
        s.run(restore).exits(1).says(&["Invalid cross-device link"]);
        before.assert_same(&volume);
        s.run([&restore[..], &["--in-place"]].concat()).ok();
        picture.assert_same(&volume);
    });
}

#[test]
fn an_archive_on_an_overlay_stays_though_it_is_listed_with_another_number() {
    for flags in [&["restore"][..], &["restore", "--in-place"]] {
        sandboxed(|s| {
            s.init();
            let lower = Tree::at(s.path("lower")).file("backup.tar", [0; 1024]).file("file", b"x").done();
            let volume = s.overlay("vol", &lower);
            let archive = volume.join("backup.tar");
            s.configure("web", &[&volume]);
            let at = ["--archive", text(&archive)];
            s.run([&["backup"], &at[..]].concat()).ok();
            let picture = Picture::of(&volume);
            fs::write(volume.join("file"), b"changed").unwrap();
            s.run([flags, &at, &["--strict"]].concat()).ok();
            picture.assert_same(&volume);
        });
    }
}

#[test]
fn an_archive_in_a_directory_that_the_snapshot_lacks_stays() {
    sandboxed(|s| {
        let volume = volume(s, "a");
        s.init();
        s.configure("web", &[&volume]);
        s.backup();
        fs::create_dir_all(volume.join("new/deep")).unwrap();
        let archive = volume.join("new/deep/backup.tar");
        fs::copy(s.archive(), &archive).unwrap();
        fs::write(volume.join("new/goes"), b"x").unwrap();
        let bytes = fs::read(&archive).unwrap();
        s.run(["restore", "--archive", text(&archive)]).ok();
        assert_eq!(fs::read(&archive).unwrap(), bytes);
        assert!(!volume.join("new/goes").exists());
    });
}

#[test]
fn restore_touches_only_the_configured_volumes() {
    sandboxed(|s| {
        s.init();
        let (a, b) = (volume(s, "a"), volume(s, "b"));
        s.configure("web", &[&a, &b]);
        s.backup();
        let before = Picture::of(&a);
        fs::write(a.join("file"), b"changed").unwrap();
        fs::write(b.join("file"), b"changed").unwrap();
        let changed = Picture::of(&b);
        s.configure("web", &[&a]);
        let restored = s.restore();
        assert_eq!(restored["volumes"].as_array().unwrap().len(), 1);
        before.assert_same(&a);
        changed.assert_same(&b);
    });
}

#[test]
fn a_directory_named_lost_and_found_is_only_left_out_at_the_root_of_an_ext_volume() {
    if !need("mkfs.ext4") {
        return;
    }
    sandboxed(|s| {
        s.init();
        let ext = s.filesystem("ext", "ext4", 64);
        Tree::at(&ext).file("sub/lost+found/kept", b"x").file("file", pattern(10)).done();
        let plain = Tree::at(s.path("plain")).file("lost+found/kept", b"x").done();
        s.configure("web", &[&ext, &plain]);
        s.backup();
        let listed = tool("tar", ["-tf", "backup.tar"]).silent().stdout();
        assert!(!listed.contains(&format!("web{}/lost+found", text(&ext))), "{listed}");
        let picture = Picture::of(&ext);
        fs::remove_file(ext.join("file")).unwrap();
        s.restore();
        picture.assert_same(&ext);
        assert!(listed.contains("sub/lost+found/kept") && picture.has("lost+found"));
        assert!(listed.contains(&format!("web{}/lost+found/kept", text(&plain))), "{listed}");
    });
}
