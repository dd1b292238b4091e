//! Archives that come as standard input, and from what a caller of the library has: what is restored of them is
//! what a file restores, or there is an error.

mod sources;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::support::sandbox::text;
use crate::support::{Picture, Run, Sandbox, Tree, need, sandboxed, tool};

/// An archive of two snapshots of the volume that is returned, which then is as in the second.
fn prepared(s: &Sandbox) -> std::path::PathBuf {
    s.init();
    let volume = Tree::at(s.path("vol")).file("a", b"a").dir("d").file("d/b", vec![b'b'; 3000]).done();
    s.configure("web", &[&volume]);
    s.backup();
    let tree = Tree::at(&volume).file("c", vec![b'c'; 700]).symlink("l", "a").hard_link("h", "a");
    let volume = tree.file(format!("d/{}", "n".repeat(150)), b"long").done();
    s.backup();
    volume
}

/// Runs the program with `bytes` on standard input.
fn feed(s: &Sandbox, bytes: &[u8], args: &[&str]) -> Run {
    feed_in(s, bytes, args, "/tmp")
}

/// The same, with a directory for temporary files.
fn feed_in(s: &Sandbox, bytes: &[u8], args: &[&str], temporary: &str) -> Run {
    let mut command = s.command(args);
    command.env("TMPDIR", if temporary == "/tmp" { text(s.root()) } else { temporary });
    command.args(["--archive", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that is refused early may be gone.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    Run::ended(&args.join(" "), child.wait_with_output().unwrap())
}

/// Runs a command with an open file as its standard input.
fn from(mut command: Command, input: File) -> Run {
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    Run::ended(&format!("{command:?}"), command.spawn().unwrap().wait_with_output().unwrap())
}

#[test]
fn an_archive_from_a_pipe_is_one_from_a_file() {
    sandboxed(|s| {
        let volume = prepared(s);
        let bytes = fs::read(s.archive()).unwrap();
        let kept = Picture::of(&volume);

        let of_file = s.list();
        let mut of_pipe = feed(s, &bytes, &["list", "--json"]).ok().json();
        assert_eq!(of_pipe["archive"], "standard input");
        of_pipe["archive"] = of_file["archive"].clone();
        assert_eq!(of_pipe, of_file);
        let id = of_file["snapshots"][0]["id"].as_str().unwrap();
        assert_eq!(feed(s, &bytes, &["list", id]).ok().stdout(), s.run(["list", id]).ok().stdout());
        feed(s, &bytes, &["verify"]).ok().prints(&["verified standard input: 2 snapshots"]);

        fs::write(volume.join("a"), b"changed").unwrap();
        let run = feed(s, &bytes, &["restore"]).ok();
        assert!(run.stderr().is_empty(), "{run}");
        kept.assert_same(&volume);
        feed(s, &bytes, &["restore", "--into", "into/deep"]).ok();
        kept.assert_same(s.path("into/deep").join(volume.strip_prefix("/").unwrap()));
        feed(s, &bytes, &["restore", "--in-place", "--snapshot", id]).ok();
        assert!(!volume.join("c").exists() && volume.join("d/b").exists());
        feed(s, &bytes, &["restore", "--dry-run"]).ok().prints(&["create ", "nothing was changed"]);
        // Zeros are no other archive.
        feed(s, &[&bytes[..], &vec![0; 1 << 21]].concat(), &["restore"]).ok();
        kept.assert_same(&volume);
        // Nothing is left of the stream.
        let left: Vec<_> = fs::read_dir(&volume).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with('.')), "{left:?}");
    });
}

#[test]
fn a_stream_that_is_cut_anywhere_restores_nothing() {
    sandboxed(|s| {
        let volume = prepared(s);
        let bytes = fs::read(s.archive()).unwrap();
        fs::write(volume.join("mine"), b"mine").unwrap();
        let before = Picture::of(&volume);
        let cuts = (0..bytes.len()).step_by(512).chain([1, 511, 513, bytes.len() - 1]);
        for cut in cuts {
            let run = feed(s, &bytes[..cut], &["restore"]).exits(1);
            let expected = if cut < 1024 { "it ends after" } else { "standard input is damaged at offset" };
            assert!(run.stderr().contains(expected), "cut at {cut}: {run}");
            let told = ["should write it has", "writes the stream may"];
            assert!(told.iter().any(|told| run.stderr().contains(told)), "cut at {cut}: {run}");
            before.assert_same(&volume);
            for command in ["list", "verify"] {
                feed(s, &bytes[..cut], &[command]).exits(1);
            }
        }
        let run = feed(s, &[&bytes[..], &bytes].concat(), &["restore"]).exits(1);
        run.says(&["standard input", "something follows behind the archive's end"]);
        before.assert_same(&volume);
    });
}

#[test]
fn what_is_packed_is_named_with_the_way_to_unpack_it() {
    sandboxed(|s| {
        prepared(s);
        for (program, unpack) in [("gzip", "zcat"), ("zstd", "zstdcat")] {
            if !need(program) {
                continue;
            }
            let packed = tool("sh", ["-c", &format!("{program} -c <backup.tar >packed && echo ok")]);
            assert_eq!(packed.ok().stdout(), "ok\n");
            for command in ["restore", "list", "verify"] {
                let run = feed(s, &fs::read(s.path("packed")).unwrap(), &[command]).exits(1);
                run.says(&["standard input: it is a", &format!("… | {unpack} | snapshotter")]);
            }
        }
    });
}

#[test]
fn a_regular_file_is_read_where_it_is_from_its_beginning_only() {
    sandboxed(|s| {
        prepared(s);
        // No file can be made there, so that what would be taken into one fails.
        let list = |input: File| {
            let mut command = s.command(["list", "--json", "--archive", "-"]);
            command.env("TMPDIR", "/proc");
            from(command, input)
        };
        let run = list(File::open(s.archive()).unwrap()).ok();
        assert_eq!(run.json()["snapshots"], s.list()["snapshots"]);
        let bytes = fs::read(s.archive()).unwrap();
        feed_in(s, &bytes, &["list"], "/proc").exits(1).says(&["make a file for standard input in /proc"]);
        // As in a container that is read-only.
        let closed = s.path("closed");
        fs::create_dir(&closed).unwrap();
        s.read_only(&closed);
        let words = ["make a file for standard input in", "Read-only file system", "--tmpfs /tmp", "TMPDIR"];
        feed_in(s, &bytes, &["list"], text(&closed)).exits(1).says(&words).says_not(&["`:ro`"]);

        fs::write(s.path("behind"), [&b"something else"[..], &bytes].concat()).unwrap();
        let mut behind = File::open(s.path("behind")).unwrap();
        behind.read_exact(&mut [0; 14]).unwrap();
        list(behind.try_clone().unwrap()).exits(1).says(&["standard input in /proc"]);
        let mut command = s.command(["list", "--json", "--archive", "-"]);
        command.env("TMPDIR", s.root());
        assert_eq!(from(command, behind).ok().json()["snapshots"], s.list()["snapshots"]);
    });
}

#[test]
fn an_archive_that_is_given_as_standard_input_stays_where_it_is() {
    sandboxed(|s| {
        let volume = prepared(s);
        let inside = volume.join("backup.tar");
        fs::copy(s.archive(), &inside).unwrap();
        from(s.command(["restore", "--archive", "-"]), File::open(&inside).unwrap()).ok();
        assert_eq!(fs::read(&inside).unwrap(), fs::read(s.archive()).unwrap());
    });
}

#[test]
fn a_stream_needs_room_and_says_where() {
    sandboxed(|s| {
        let volume = prepared(s);
        let bytes = fs::read(s.archive()).unwrap();
        let small = s.tmpfs("small", "size=8k");
        let run = feed_in(s, &bytes, &["list"], text(&small)).exits(1);
        run.says(&["write what is read from standard input to", text(&small), "make room"]);
        // A volume that takes no file is no hindrance, where another place does.
        s.read_only(&volume);
        feed(s, &bytes, &["restore", "--dry-run"]).ok();
        feed(s, &bytes, &["restore"]).exits(1).says(&[text(&volume), "Read-only file system"]);
    });
}
