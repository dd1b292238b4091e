//! Configurations that are none.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::refused;
use crate::support::sandbox::text;
use crate::support::{Sandbox, Tree, sandboxed};

const COMMANDS: [&str; 2] = ["backup", "restore"];

/// A volume that an archive holds, so that only the configuration is wrong.
fn prepared(s: &Sandbox) -> PathBuf {
    s.init();
    let volume = Tree::at(s.path("vol/a")).file("file", b"x").dir("sub").done();
    s.configure("web", &[&volume]);
    s.backup();
    fs::write(volume.join("file"), b"changed since").unwrap();
    volume
}

/// Each configuration, with `V` for the volume, is refused by both commands with the path of the configuration
/// and these words.
fn each_refused(s: &Sandbox, volume: &Path, rows: &[(&str, &[&str])]) {
    for (yaml, words) in rows {
        fs::write(s.config(), yaml.replace('V', text(volume))).unwrap();
        let words: Vec<String> = words.iter().map(|word| word.replace('V', text(volume))).collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let config = s.config();
        words.push(text(&config));
        for command in COMMANDS {
            refused(s, &[command], &words);
        }
    }
}

#[test]
fn a_configuration_that_is_missing_or_a_directory() {
    sandboxed(|s| {
        prepared(s);
        fs::remove_file(s.config()).unwrap();
        let config = s.config();
        for command in COMMANDS {
            refused(s, &[command], &[text(&config), "No such file or directory"]);
        }
        fs::create_dir(s.config()).unwrap();
        for command in COMMANDS {
            refused(s, &[command], &[text(&config), "Is a directory", "docker"]);
        }
    });
}

#[test]
fn a_configuration_that_is_not_what_it_should_be() {
    sandboxed(|s| {
        let volume = prepared(s);
        each_refused(
            s,
            &volume,
            &[
                ("", &["empty"]),
                ("# nothing but a comment\n", &["empty"]),
                ("prefix: [\n", &["line 2"]),
                ("prefix: \"web\nvolumes: [V]\n", &["line"]),
                ("just text", &[]),
                ("- prefix\n- volumes\n", &[]),
                ("\t", &[]),
                ("{}", &["prefix"]),
                ("prefix: 1\nvolumes: [V]\n", &["line 1", "invalid type"]),
                ("prefix:\nvolumes: [V]\n", &["prefix"]),
                ("prefix: web\nvolumes: V\n", &["line 2", "invalid type"]),
                ("prefix: web\nvolumes: [1]\n", &["line 2", "invalid type"]),
                ("prefix: web\nvolumes:\n  - path: V\n", &["line 3", "a path alone"]),
                ("prefix: web\nvolumes: [V]\nexclude: x\n", &["line 3", "invalid type"]),
                ("prefix: web\nvolumes: [V]\nprefix: two\n", &["twice"]),
                ("prefix: web\nvolume: [V]\n", &["line 2", "unknown key", "volume"]),
                ("volumes: [V]\n", &["prefix"]),
                ("prefix: web\n", &["volumes"]),
                ("prefix: web\nvolumes: []\n", &["volumes"]),
                ("prefix: web\nvolumes: [V]\n---\nprefix: two\nvolumes: [V]\n", &["document"]),
            ],
        );
        fs::write(s.config(), b"prefix: \xff\nvolumes: [/x]\n").unwrap();
        let config = s.config();
        for command in COMMANDS {
            refused(s, &[command], &[text(&config), "utf-8"]);
        }
    });
}

#[test]
fn a_configuration_that_expands_beyond_reason() {
    sandboxed(|s| {
        prepared(s);
        let mut yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
            writeln!(yaml, "a{n}: &a{n} [{aliases}]").unwrap();
        }
        let config = s.config();
        for volumes in ["volumes: *a11\nprefix: web\n", "prefix: web\n"] {
            fs::write(s.config(), yaml.clone() + volumes).unwrap();
            for command in COMMANDS {
                refused(s, &[command], &[text(&config)]);
            }
        }
    });
}

#[test]
fn volumes_that_cannot_be_volumes() {
    sandboxed(|s| {
        let volume = prepared(s);
        symlink(&volume, s.path("vol/link")).unwrap();
        Tree::at(s.path("vol")).fifo("fifo").socket("socket").done();
        each_refused(
            s,
            &volume,
            &[
                ("prefix: web\nvolumes: [vol/a]\n", &["line 2", "vol/a", "absolute"]),
                ("prefix: web\nvolumes: [\"\"]\n", &["absolute"]),
                ("prefix: web\nvolumes: [V/../a]\n", &["line 2", "V/../a", ".."]),
                ("prefix: web/../x\nvolumes: [V]\n", &["line 1", "web/../x", ".."]),
                ("prefix: ..\nvolumes: [V]\n", &[".."]),
                ("prefix: web\nvolumes: [/]\n", &["line 2"]),
                ("prefix: web\nvolumes: [//.]\n", &["line 2"]),
                ("prefix: web\nvolumes:\n  - V\n  - V\n", &["line 4", "V", "twice"]),
                ("prefix: web\nvolumes: [V, V/]\n", &["V", "twice"]),
                ("prefix: web\nvolumes: [V, /.V/.//]\n", &["V", "twice"]),
                ("prefix: web\nvolumes: [V, V/sub]\n", &["V/sub", "inside"]),
                ("prefix: web\nvolumes: [V/sub, V]\n", &["V/sub", "inside"]),
                ("prefix: web\nvolumes: [V/../link]\n", &[".."]),
                (
                    "prefix: web\nvolumes: [V, V/.snapshotter-staging]\n",
                    &["reserved", ".snapshotter-staging"],
                ),
                ("prefix: \"\"\nvolumes: [/volumes-data.yml]\n", &["reserved", "volumes-data.yml"]),
                ("prefix: web\nvolumes: [/snapshot.json]\n", &["reserved", "snapshot.json"]),
                ("prefix: \"\"\nvolumes: [/.snapshot-begin]\n", &["reserved", ".snapshot-begin"]),
                ("prefix: .snapshot-begin\nvolumes: [V]\n", &["reserved", ".snapshot-begin"]),
            ],
        );
        let parent = s.path("vol");
        let at = |name: &str| text(&parent.join(name)).to_owned();
        for (name, words) in [
            ("link", &["symbolic link"][..]),
            ("fifo", &["is a FIFO", "leave it out"]),
            ("socket", &["is a socket", "leave it out"]),
            ("missing", &["No such file or directory", "--volumes-from"]),
        ] {
            s.configure("web", &[&volume, &parent.join(name)]);
            for command in COMMANDS {
                let path = at(name);
                refused(s, &[command], &[&[path.as_str()], words].concat());
            }
        }
    });
}

#[test]
fn two_volumes_that_are_one_directory() {
    sandboxed(|s| {
        let volume = prepared(s);
        let again = Tree::at(s.path("vol/again")).done();
        s.bind(&volume, &again);
        s.configure("web", &[&volume, &again]);
        for command in COMMANDS {
            refused(s, &[command], &[text(&volume), text(&again), "same directory"]);
        }
    });
}

#[test]
fn what_is_allowed_is_not_refused() {
    sandboxed(|s| {
        let volume = prepared(s);
        for prefix in ["/web/", "web", "//web//", "\"web\""] {
            let yaml = format!("# comment\nprefix: {prefix}\nvolumes:\n- {}/\nexclude: []\n", text(&volume));
            fs::write(s.config(), yaml).unwrap();
            assert_eq!(s.backup()["prefix"], "web", "{prefix}");
        }
        s.run(["restore"]).ok();
    });
}
