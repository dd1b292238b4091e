//! The way out that a refusal names must be one.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::{assert_refused, refused};
use crate::support::sandbox::text;
use crate::support::{Tree, sandboxed, tool};

#[test]
fn an_archive_that_is_a_stream_or_a_device_is_called_that() {
    sandboxed(|s| {
        s.init();
        let volume = Tree::at(s.path("vol")).file("file", b"x").done();
        s.configure("web", &[&volume]);
        tool("mkfifo", ["fifo"]).silent();
        symlink("fifo", s.path("link")).unwrap();
        for command in ["backup", "restore", "list", "verify"] {
            for archive in ["/dev/null", "fifo", "link"] {
                let run = refused(
                    s,
                    &[command, "--archive", archive],
                    &[archive, "no regular file", "name a file"],
                );
                run.says_not(&["remove"]);
            }
            let mut piped = Command::new("sh");
            let program = assert_cmd::cargo::cargo_bin!("snapshotter");
            piped
                .args(["-c", "cat backup.tar | \"$0\" \"$1\" --archive /dev/stdin"])
                .arg(program)
                .arg(command);
            assert_refused(&s.run_as(piped), &["/dev/stdin", "no regular file", "name a file"]);
        }
    });
}

#[test]
fn nobody_is_told_to_remove_what_they_need_for_an_archive() {
    sandboxed(|s| {
        s.init();
        fs::create_dir(s.path("backups")).unwrap();
        for force in [&[][..], &["--force"]] {
            let run = refused(s, &[&["init", "backups"], force].concat(), &["Is a directory", "name a file"]);
            run.says_not(&["remove"]);
            let run =
                refused(s, &[&["init", "/dev/null"], force].concat(), &["/dev/null", "name another path"]);
            run.says_not(&["remove"]);
        }
    });
}

#[test]
fn no_mount_is_advised_that_docker_would_refuse() {
    sandboxed(|s| {
        s.init();
        let run = refused(
            s,
            &["backup", "--config", "no.yml"],
            &["no.yml", "No such file", "--prefix and --volume"],
        );
        run.says_not(&["-v $PWD"]);
        fs::create_dir(s.path("dir.yml")).unwrap();
        let run = refused(s, &["backup", "--config", "dir.yml"], &["Is a directory", "name a file"]);
        run.says_not(&["-v $PWD"]);
        refused(s, &["backup", "--config", "/no.yml"], &["-v $PWD/config.yml:/no.yml"]);
    });
}

#[test]
fn a_configuration_is_answered_with_what_is_wrong_in_it() {
    sandboxed(|s| {
        s.init();
        let socket = s.path("docker.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        tool("mkfifo", ["fifo"]).silent();
        let volume = |path: &str| format!("prefix: p\nvolumes:\n- {path}\n");
        for (config, words) in [
            (volume("path: /data"), &["line 3", "path alone", "key `path`", "`- /data`"][..]),
            (volume("{source: x, target: /data}"), &["line 3", "key `source`"]),
            ("prefix: p\nvolumes: [/v]\nexclude:\n- a: b\n".to_owned(), &["line 4", "quote it"]),
            (volume(text(&socket)), &["line 3", "is a socket", "leave it out"]),
            (volume(text(&s.path("fifo"))), &["is a FIFO", "leave it out"]),
            (volume("/dev/null"), &["is a device", "leave it out"]),
            ("prefix: p\n\nvolumes: []\n".to_owned(), &["line 3", "there are no volumes"]),
            ("# a\nprefix: p\n".to_owned(), &["line 2", "there are no volumes"]),
        ] {
            fs::write(s.config(), &config).unwrap();
            let run = refused(s, &["backup"], words);
            run.says_not(&["as in \"123\""]);
        }
    });
}

#[test]
fn what_cannot_be_moved_in_an_overlay_is_not_called_a_subvolume_alone() {
    sandboxed(|s| {
        s.init();
        let lower = Tree::at(s.path("lower")).file("dir/file", b"x").done();
        let volume = s.overlay("vol", &lower);
        s.configure("web", &[&volume]);
        s.backup();
        fs::write(volume.join("dir/file"), "changed").unwrap();
        let restore = s.run(["restore"]);
        // Where the kernel redirects directories, they can be moved.
        if restore.code() != Some(0) {
            assert_refused(&restore, &["lower layer (overlay)", "project id", "(Btrfs)", "--in-place"]);
            assert_eq!(fs::read(volume.join("dir/file")).unwrap(), b"changed");
        }
        s.run(["restore", "--in-place"]).ok();
        assert_eq!(fs::read(volume.join("dir/file")).unwrap(), b"x");
    });
}
