//! Mistakes as they are made with Docker: each is refused by one line that says what to do, and changes nothing.

use std::fs;

use crate::support::engine::{HARDENED, mount};
use crate::support::{Engine, Picture, with_engine};

/// A container with one small volume that is backed up, and where its files are.
fn backed_up(e: &Engine) -> (String, std::path::PathBuf) {
    let container = e.application("app", &["-v", "/data"]);
    e.shell(&container, "echo hello > /data/file");
    e.configure("app", &["/data"]);
    e.backup(&container);
    let path = e.source(&container, "/data");
    (container, path)
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_bad_configuration_is_refused_with_its_line() {
    with_engine(|e| {
        let (container, path) = backed_up(e);
        let (archive, volume) = (fs::read(e.archive()).unwrap(), Picture::of(&path));
        let rows: [(&str, &[&str]); 9] = [
            ("{", &["/config.yml, line 2", "not YAML"]),
            ("prefix: a\n", &["there are no volumes"]),
            ("prefix: a\nvolumes: [data]\n", &["line 2", "no absolute path"]),
            ("prefix: a\nvolumes: [/]\n", &["line 2", "name directories below it"]),
            ("prefix: a\nvolumes: [/data, /data]\n", &["line 2", "twice"]),
            ("prefix: a\nvolumes: [/data/../data]\n", &["line 2", "`..`"]),
            ("prefix: a\nvolumes: [/forgotten]\n", &["/forgotten", "`--volumes-from`"]),
            ("prefix: a\nvolumes: [/data]\nmore: 1\n", &["line 3", "unknown key `more`"]),
            ("volumes: [/data]\n", &["prefix"]),
        ];
        for (text, words) in rows {
            fs::write(e.path("config.yml"), text).unwrap();
            for command in ["backup", "restore"] {
                let run = e.snapshotter(&container, &[command]).exits(1).says(words);
                assert_eq!(run.stderr().lines().count(), 1, "{run}");
            }
        }
        // Docker makes a directory of a file that is not there.
        fs::remove_file(e.path("config.yml")).unwrap();
        for command in ["backup", "restore"] {
            let words = ["/config.yml", "docker makes one", "-v $PWD/config.yml"];
            e.snapshotter(&container, &[command]).exits(1).says(&words);
        }
        assert!(fs::read(e.archive()).unwrap() == archive);
        volume.assert_same(&path);
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_bad_archive_is_refused_and_left_as_it_is() {
    with_engine(|e| {
        let (container, path) = backed_up(e);
        let volume = Picture::of(&path);
        let good = fs::read(e.archive()).unwrap();
        let mut flipped = good.clone();
        let content = good.windows(6).position(|bytes| bytes == b"hello\n").unwrap();
        flipped[content] ^= 1;
        let rows: [(&str, Vec<u8>, &[&str]); 4] = [
            ("empty", Vec::new(), &["/backup.tar", "snapshotter init"]),
            ("no tar", vec![7; 5000], &["/backup.tar", "not a tar", "snapshotter init"]),
            ("cut", good[..3000].to_vec(), &["/backup.tar is damaged at offset 2560", "ends here"]),
            ("flipped", flipped, &["/backup.tar is damaged at offset 3072", "app/data/file", "checksum"]),
        ];
        for (what, bytes, words) in rows {
            fs::write(e.archive(), &bytes).unwrap();
            e.snapshotter(&container, &["restore"]).exits(1).says(words);
            e.snapshotter(&container, &["verify"]).exits(1).says(&["/backup.tar"]);
            // A backup reads headers, not what other snapshots hold.
            if what != "flipped" {
                e.snapshotter(&container, &["backup"]).exits(1).says(&["/backup.tar"]);
            }
            assert!(fs::read(e.archive()).unwrap() == bytes, "{what}");
            volume.assert_same(&path);
        }
    });
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn what_was_not_mounted_is_named_with_the_flag_that_mounts_it() {
    with_engine(|e| {
        let (container, path) = backed_up(e);
        let volume = Picture::of(&path);
        let run = |options: &[&str], args: &[&str]| {
            let mut command = e.command(["run", "--rm"]);
            command.args(e.labels()).args(HARDENED).args(options).arg(e.image()).args(args);
            crate::support::Run::of(command).exits(1)
        };
        let archive = mount(&e.archive(), "/backup.tar");
        let config = mount(&e.path("config.yml"), "/config.yml");
        for command in ["backup", "restore"] {
            run(&["-v", &archive, "-v", &config], &[command]).says(&["/data", "`--volumes-from`"]);
            run(&["-v", &config, "--volumes-from", &container], &[command])
                .says(&["-v $PWD/backup.tar:/backup.tar", "snapshotter init"]);
            run(&["-v", &archive, "--volumes-from", &container], &[command])
                .says(&["-v $PWD/config.yml:/config.yml", "--prefix"]);
        }
        e.snapshotter(&container, &["restore", "--prefix", "other"]).exits(1).says(&["\"other\"", "\"app\""]);
        e.snapshotter(&container, &["restore", "--snapshot", "deadbeef"])
            .exits(1)
            .says(&["snapshotter list"]);
        e.snapshotter(&container, &["restore", "--nonsense"]).exits(2).says(&["--nonsense"]);
        let other = [&HARDENED[..], &["--rm", "--user", "1000", "--volumes-from", &container]].concat();
        e.snapshotter_with(&other, &["backup"]).exits(1).says(&["/backup.tar", "Permission denied"]);
        assert_eq!(e.verified(), 1);
        volume.assert_same(&path);
    });
}
