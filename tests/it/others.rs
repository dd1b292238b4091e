//! An archive is shared with other programs: they append to ours and we to theirs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::sandbox::text;
use crate::support::tools::go_reader;
use crate::support::{Picture, Sandbox, Tree, assert_same_tree, need, sandboxed, tool};

/// The volume of ours, configured.
fn volume(s: &Sandbox) -> PathBuf {
    let volume = Tree::at(s.path("vol")).file("ours", b"ours").file("dir/x", [b'x'; 3000]).done();
    s.configure("web", &[&volume]);
    volume
}

/// Files to put into archives of others, some with long names.
fn theirs(s: &Sandbox, with_long_names: bool) -> PathBuf {
    let mut tree = Tree::at(s.path("theirs")).file("t/a", b"a").file("t/b", [0; 5000]).symlink("t/l", "a");
    tree = tree.hard_link("t/h", "t/a").dir("t/d");
    if with_long_names {
        tree = tree.file(format!("t/{}", "n".repeat(200)), b"long").symlink("t/far", "f".repeat(200));
        tree = tree.sparse("t/sparse", 1 << 20, &[(1 << 19, &[b's'; 4096])]).mtime(-3, 5);
    }
    tree.done()
}

fn names_by_gnu_tar(archive: &Path) -> Vec<String> {
    let listed = tool("tar", ["-tf", text(archive)]).silent_but_for(&["time stamp"]).stdout();
    listed.lines().map(str::to_owned).collect()
}

/// Appends to an archive of another program, has it back, and finds the other's members as they were.
fn append_to(s: &Sandbox, volume: &Path, program: &str) {
    let before = names_by_gnu_tar(&s.archive());
    assert!(before.len() >= 6, "{program}: {before:?}");
    s.run(["backup"]).ok();
    let listed = s.list();
    assert_eq!(listed["foreign"], before.len(), "{program}: {listed}");
    assert_eq!(listed["snapshots"].as_array().unwrap().len(), 1, "{program}");
    assert_eq!(listed["problems"].as_array().unwrap().len(), 0, "{program}: {listed}");
    assert_eq!(s.verify()["foreign"], before.len(), "{program}");
    let picture = Picture::of(volume);
    fs::remove_file(volume.join("ours")).unwrap();
    s.restore();
    picture.assert_same(volume);
    let after = names_by_gnu_tar(&s.archive());
    assert_eq!(after[..before.len()], before, "{program}");
    assert_eq!(after[before.len()], ".snapshot-begin", "{program}");
    assert_eq!(after.last().unwrap(), "web/snapshot.json", "{program}");
}

#[test]
fn ours_is_appended_to_archives_of_gnu_tar_of_every_format_and_padding() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        let volume = volume(s);
        for (format, long) in
            [("v7", false), ("ustar", false), ("oldgnu", true), ("gnu", true), ("posix", true)]
        {
            theirs(s, long);
            for blocks in ["1", "2", "7", "20", "200"] {
                let args = [
                    "--format",
                    format,
                    if long { "--sparse" } else { "--numeric-owner" },
                    "-b",
                    blocks,
                    "-cf",
                    "backup.tar",
                    "-C",
                    "theirs",
                    "t",
                ];
                tool("tar", args).silent_but_for(&["time stamp"]);
                append_to(s, &volume, &format!("tar --format {format} -b {blocks}"));
            }
            fs::remove_dir_all(s.path("theirs")).unwrap();
        }
    });
}

#[test]
fn ours_is_appended_to_archives_of_bsdtar() {
    if !need("bsdtar") {
        return;
    }
    sandboxed(|s| {
        let volume = volume(s);
        for (format, long) in [("v7", false), ("ustar", false), ("gnutar", true), ("pax", true)] {
            theirs(s, long);
            tool("bsdtar", ["--format", format, "-cf", "backup.tar", "-C", "theirs", "t"]).silent();
            append_to(s, &volume, &format!("bsdtar --format {format}"));
            fs::remove_dir_all(s.path("theirs")).unwrap();
        }
    });
}

#[test]
fn ours_is_appended_to_archives_of_busybox_python_and_go() {
    if !need("busybox") || !need("python3") {
        return;
    }
    sandboxed(|s| {
        let volume = volume(s);
        theirs(s, true);
        tool("busybox", ["tar", "-cf", "backup.tar", "-C", "theirs", "t"]).silent();
        append_to(s, &volume, "busybox");
        for format in ["GNU", "PAX"] {
            let script = format!(
                "import tarfile\n\
                with tarfile.open('backup.tar', 'w', format=tarfile.{format}_FORMAT,\n\
                                  pax_headers={{'comment': 'global'}}) as t: t.add('theirs/t', 't')"
            );
            tool("python3", ["-c", &script]).silent();
            append_to(s, &volume, format);
        }
    });
}

#[test]
fn zeros_that_pad_an_archive_are_cut_and_said() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        volume(s);
        theirs(s, false);
        tool("tar", ["-b", "40", "-cf", "backup.tar", "-C", "theirs", "t"]).silent();
        let size = fs::metadata(s.archive()).unwrap().len();
        let bytes = fs::read(s.archive()).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(512);
        let cut = size - end as u64 - 1024;
        assert!(cut > 512);
        let digits: String = s.run(["backup"]).ok().stderr().replace([',', '_', ' '], "");
        assert!(digits.contains(&cut.to_string()), "{cut} bytes were cut: {digits}");
    });
}

/// Another program's append to ours, and then ours again.
fn appended_by(s: &Sandbox, program: &str, append: impl Fn()) {
    s.init();
    let volume = volume(s);
    s.backup();
    let picture = Picture::of(&volume);
    let ours = names_by_gnu_tar(&s.archive());
    theirs(s, true);
    append();
    let all = names_by_gnu_tar(&s.archive());
    assert_eq!(all[..ours.len()], ours, "{program}");
    let listed = s.list();
    assert_eq!(listed["foreign"], all.len() - ours.len(), "{program}: {listed}");
    assert_eq!(s.verify()["ok"], true, "{program}");
    fs::remove_file(volume.join("ours")).unwrap();
    s.restore();
    picture.assert_same(&volume);

    fs::write(volume.join("new"), b"new").unwrap();
    let picture = Picture::of(&volume);
    s.backup();
    let listed = s.list();
    assert_eq!(listed["foreign"], all.len() - ours.len(), "{program}: {listed}");
    assert_eq!(listed["snapshots"].as_array().unwrap().len(), 2, "{program}");
    assert_eq!(s.verify()["ok"], true, "{program}");
    fs::remove_file(volume.join("new")).unwrap();
    s.restore();
    picture.assert_same(&volume);
    assert_eq!(names_by_gnu_tar(&s.archive())[..all.len()], all, "{program}");
}

#[test]
fn gnu_tar_appends_to_ours() {
    if need("tar") {
        for format in ["gnu", "posix"] {
            sandboxed(|s| {
                appended_by(s, format, || {
                    let args = ["--format", format, "-rf", "backup.tar", "-C", "theirs", "t"];
                    tool("tar", args).silent_but_for(&["time stamp"]);
                });
            });
        }
    }
}

#[test]
fn bsdtar_appends_to_ours() {
    if need("bsdtar") {
        sandboxed(|s| {
            appended_by(s, "bsdtar", || {
                tool("bsdtar", ["-rf", "backup.tar", "-C", "theirs", "t"]).silent();
            });
        });
    }
}

#[test]
fn python_appends_to_ours() {
    if need("python3") {
        sandboxed(|s| {
            appended_by(s, "python", || {
                let script =
                    "import tarfile\nwith tarfile.open('backup.tar', 'a') as t: t.add('theirs/t', 't')";
                tool("python3", ["-c", script]).silent();
            });
        });
    }
}

/// A golden archive of the original program, see testdata/README.md.
fn golden(s: &Sandbox, name: &str) {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    fs::copy(testdata.join(name), s.archive()).unwrap();
}

const VOLUMES: [&str; 3] = ["/home/volume1", "/home/volume2.txt", "/home/volume3"];

fn assert_busy_lewin(into: &Path) {
    for (name, content) in [
        ("volume1/file.txt", "volume one\n"),
        ("volume2.txt", "volume two\n"),
        ("volume3/file.txt", "volume three\n"),
        ("volume3/deep/er/leaf", "deep\n"),
    ] {
        assert_eq!(fs::read_to_string(into.join("home").join(name)).unwrap(), content);
    }
    assert_eq!(fs::read_dir(into.join("home/volume3/empty")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(into.join("home")).unwrap().count(), 3);
}

#[test]
fn archives_of_the_original_program_are_restored() {
    sandboxed(|s| {
        golden(s, "go-busy-lewin.tar");
        s.configure("volumes/busy_lewin", &VOLUMES.map(Path::new));
        let into = s.path("into");
        let run = s.run(["restore", "--json", "--into", text(&into)]).ok();
        assert_eq!(run.json()["volumes"].as_array().unwrap().len(), 3);
        assert_busy_lewin(&into);
        // Their members are plain enough for any tar.
        fs::create_dir(s.path("out")).unwrap();
        tool("tar", ["-xpf", "backup.tar", "-C", "out"]).silent();
        let hash = "45ed9d1d7c2e2551cab0be208038a8edb7e59bcfe8a376e81e4e31a5b17364f0";
        assert_same_tree(s.path("out/volumes/busy_lewin").join(hash), into.join("home/volume1"));
    });
}

#[test]
fn without_volumes_all_that_a_snapshot_of_the_original_holds_is_restored_into_a_directory() {
    sandboxed(|s| {
        golden(s, "go-two-containers.tar");
        for config in ["prefix: volumes/busy_lewin\n", "prefix: /volumes/busy_lewin/\n"] {
            fs::write(s.config(), config).unwrap();
            s.run(["restore", "--into", "into"]).ok();
            assert_busy_lewin(&s.path("into"));
            fs::remove_dir_all(s.path("into")).unwrap();
        }
        s.run(["restore", "--prefix", "volumes/other", "--volume", "/srv/data", "--into", "into"]).ok();
        let data = s.path("into/srv/data");
        assert_eq!(fs::read(data.join("zs")).unwrap(), "z".repeat(70_000).as_bytes());
        assert_eq!(fs::read(data.join("empty-file")).unwrap(), b"");
        assert_eq!(Picture::of(&data).entry("run.sh").mode, 0o755);
    });
}

#[test]
fn snapshots_of_the_original_program_are_listed_and_verified() {
    sandboxed(|s| {
        golden(s, "go-two-containers.tar");
        let listed = s.list();
        let snapshots = listed["snapshots"].as_array().unwrap();
        let shown: Vec<_> = snapshots.iter().map(|one| (&one["program"], &one["prefix"])).collect();
        assert_eq!(shown[0], (&"go".into(), &"volumes/busy_lewin".into()));
        assert_eq!(shown[1], (&"go".into(), &"volumes/other".into()));
        assert_eq!(listed["foreign"], 0);
        assert_eq!(snapshots[1]["volumes"][0]["path"], "/srv/data");
        assert_eq!(snapshots[1]["size"], 70_010);
        assert_ne!(snapshots[0]["id"], snapshots[1]["id"]);
        assert_eq!(s.verify()["ok"], true);
        let id = snapshots[1]["id"].as_str().unwrap();
        let members = s.run(["list", id, "--json"]).ok().json();
        assert!(members["members"].as_array().unwrap().iter().any(|member| member["size"] == 70_000));
    });
}

#[test]
fn ours_is_appended_to_an_archive_of_the_original_and_both_are_restored() {
    sandboxed(|s| {
        golden(s, "go-busy-lewin.tar");
        let volume = volume(s);
        s.backup();
        let picture = Picture::of(&volume);
        fs::remove_file(volume.join("ours")).unwrap();
        s.restore();
        picture.assert_same(&volume);
        fs::write(s.config(), "prefix: volumes/busy_lewin\n").unwrap();
        s.run(["restore", "--into", "into"]).ok();
        assert_busy_lewin(&s.path("into"));
        assert_eq!(s.list()["snapshots"].as_array().unwrap().len(), 2);
        assert_eq!(s.verify()["ok"], true);
    });
}

#[test]
fn the_original_program_still_restores_its_own_after_our_append() {
    if !need("go") {
        return;
    }
    let reader = text(go_reader());
    sandboxed(|s| {
        golden(s, "go-busy-lewin.tar");
        volume(s);
        s.backup();
        tool(reader, ["restore", "backup.tar", "volumes/busy_lewin", "into"]).silent();
        assert_busy_lewin(&s.path("into"));
        tool(reader, ["restore", "backup.tar", "web", "into"]).silent();
        assert_eq!(
            fs::read(s.path("into").join(text(s.root()).trim_start_matches('/')).join("vol/ours")).unwrap(),
            b"ours"
        );
    });
}

/// The same members in another order, which a key of Python's `tarfile` for each member says.
fn reorder(from: &Path, to: &str, key: &str) {
    let script = format!(
        "import tarfile\n\
        with tarfile.open({:?}) as a, tarfile.open({to:?}, 'w', format=tarfile.GNU_FORMAT) as b:\n\
        \x20for m in sorted(a.getmembers(), key=lambda m: (m.name.endswith('volumes-data.yml'), {key})):\n\
        \x20 b.addfile(m, a.extractfile(m) if m.isreg() else None)",
        text(from)
    );
    tool("python3", ["-c", &script]).silent();
}

#[test]
fn archives_of_the_original_that_were_packed_again_in_another_order_are_restored() {
    if !need("python3") {
        return;
    }
    sandboxed(|s| {
        golden(s, "go-busy-lewin.tar");
        let original = s.path("original.tar");
        fs::rename(s.archive(), &original).unwrap();
        for (at, key) in ["not m.isdir()", "m.isdir()", "-m.offset", "m.name[::-1]"].into_iter().enumerate() {
            reorder(&original, "backup.tar", key);
            fs::write(s.config(), "prefix: volumes/busy_lewin\n").unwrap();
            let into = s.path(format!("into-{at}"));
            s.run(["restore", "--into", text(&into)]).silent();
            assert_busy_lewin(&into);
            for volume in ["volume1", "volume3"] {
                assert_same_tree(s.path("into-0/home").join(volume), into.join("home").join(volume));
            }
            // In its place, too, staged and not, over what is there and differs.
            let volume = s.path(format!("volume-{at}"));
            let picture = Picture::of(s.path("into-0/home/volume3"));
            rename_target(s, &volume);
            for way in ["--no-progress", "--in-place"] {
                Tree::at(&volume).file(format!("more{way}"), b"not in the snapshot").done();
                s.run(["restore", way]).silent();
                picture.assert_same(&volume);
            }
        }
    });
}

/// Makes the archive of the directory `/home/volume3` one of `volume`, and configures that.
fn rename_target(s: &Sandbox, volume: &Path) {
    let hash = |path: &str| {
        let script = "import hashlib, sys; print(hashlib.sha256(sys.argv[1].encode()).hexdigest())";
        tool("python3", ["-c", script, path]).ok().stdout().trim().to_owned()
    };
    let (old, new) = (hash("/home/volume3"), hash(text(volume)));
    let script = "import tarfile, io, sys\n\
        old, new, target = sys.argv[1:]\n\
        a = tarfile.open('backup.tar'); b = tarfile.open('renamed.tar', 'w', format=tarfile.GNU_FORMAT)\n\
        for m in a.getmembers():\n\
        \x20data = a.extractfile(m).read() if m.isreg() else b''\n\
        \x20if m.name.endswith('volumes-data.yml'):\n\
        \x20 data = data.replace(old.encode(), new.encode()).replace(b'/home/volume3', target.encode())\n\
        \x20m.name = m.name.replace(old, new); m.size = len(data)\n\
        \x20b.addfile(m, io.BytesIO(data))\n\
        b.close()";
    tool("python3", ["-c", script, &old, &new, text(volume)]).silent();
    fs::rename(s.path("renamed.tar"), s.archive()).unwrap();
    s.configure("volumes/busy_lewin", &[volume]);
}
