//! A tar that comes through a pipe: it is restored whole or not at all.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::streaming;
use crate::support::sandbox::text;
use crate::support::{Picture, Run, Sandbox, Tree, need, sandboxed, tool};

/// A small tar, and where its two closing blocks begin.
fn small(s: &Sandbox) -> (Vec<u8>, usize) {
    let tree = Tree::at(s.path("theirs")).file("a", b"a").file("d/b", vec![b'b'; 3000]).symlink("l", "a");
    tree.hard_link("h", "a").file(format!("d/{}", "n".repeat(150)), b"long").done();
    tool("tar", ["--format", "posix", "-b1", "-cf", "theirs.tar", "-C", "theirs", "."]).silent();
    let bytes = fs::read(s.path("theirs.tar")).unwrap();
    let end = bytes.len() - 1024;
    assert!(
        bytes[end..].iter().all(|byte| *byte == 0) && bytes[end - 512..end].iter().any(|byte| *byte != 0)
    );
    (bytes, end)
}

fn feed(s: &Sandbox, bytes: &[u8], args: &[&str]) -> Run {
    let mut child = streaming(s, args);
    // One that is refused early may be gone.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    Run::ended(&args.join(" "), child.wait_with_output().unwrap())
}

#[test]
fn a_stream_that_is_cut_at_any_block_restores_nothing() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        let (bytes, end) = small(s);
        let volume = Tree::at(s.path("vol")).file("mine", b"mine").done();
        let before = Picture::of(&volume);
        let cuts = (0..end + 1024).step_by(512).chain([1, 511, 513, end - 1, end + 1, end + 1023]);
        for cut in cuts {
            for way in ["--no-progress", "--in-place"] {
                let run = feed(s, &bytes[..cut], &["--volume", text(&volume), way]).exits(1);
                assert!(run.stderr().contains("standard input is damaged"), "cut at {cut}: {run}");
                assert!(run.stderr().contains("nothing was restored"), "cut at {cut}: {run}");
                before.assert_same(&volume);
            }
            feed(s, &bytes[..cut], &["--into", "into"]).exits(1);
            assert!(!s.path("into").exists(), "cut at {cut}");
        }
        feed(s, &bytes, &["--volume", text(&volume)]).silent();
        Picture::of(s.path("theirs")).assert_same(&volume);
        // What pads it is read, and may be anything long.
        feed(s, &[&bytes[..], &vec![0; 1 << 21]].concat(), &["--into", "into"]).silent();
        Picture::of(s.path("theirs")).assert_same(s.path("into"));
        let run = feed(s, &[&bytes[..], &bytes].concat(), &["--into", "twice"]).ok();
        run.says(&["warning: standard input: something follows its end"]);
    });
}

#[test]
fn a_packed_tar_is_named_with_the_way_to_unpack_it() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        small(s);
        for (program, unpack) in [("gzip", "zcat"), ("bzip2", "bzcat"), ("xz", "xzcat"), ("zstd", "zstdcat")]
        {
            if !need(program) {
                continue;
            }
            let packed = tool("sh", ["-c", &format!("{program} -c <theirs.tar >packed && echo ok")]);
            assert_eq!(packed.ok().stdout(), "ok\n");
            let advice = format!("`{unpack} FILE | snapshotter restore --from-tar - …`");
            let named = format!("it is a {program} file");
            for input in ["packed", "-"] {
                let mut command =
                    s.command(["restore", "--config", "", "--from-tar", input, "--into", "into"]);
                let output = command.stdin(fs::File::open(s.path("packed")).unwrap()).output().unwrap();
                Run::ended(program, output).exits(1).says(&[&named, &advice]);
                assert!(!s.path("into").exists());
            }
            let mut pipe = std::process::Command::new("sh");
            let line = format!("{unpack} packed | \"$0\" restore --from-tar - --into into");
            pipe.args(["-c", &line]).arg(assert_cmd::cargo::cargo_bin!("snapshotter"));
            s.run_as(pipe).silent();
            Picture::of(s.path("theirs")).assert_same(s.path("into"));
            fs::remove_dir_all(s.path("into")).unwrap();
        }
    });
}

/// Waits until the program has taken some of the stream into a file without a name.
fn wait_for_spool(pid: u32) {
    let start = Instant::now();
    let has_spool = || {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| text(&to).contains("(deleted)")))
    };
    while !has_spool() {
        assert!(start.elapsed() < Duration::from_mins(1));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_that_is_killed_or_stopped_while_it_reads_leaves_nothing() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        let (bytes, _) = small(s);
        let volume = Tree::at(s.path("vol")).file("mine", b"mine").done();
        let before = Picture::of(&volume);
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            for args in [["--volume", text(&volume)], ["--into", "into/deep"]] {
                let mut child = streaming(s, &args);
                let mut stdin = child.stdin.take().unwrap();
                stdin.write_all(&bytes[..2048]).unwrap();
                wait_for_spool(child.id());
                kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
                let run = Run::ended(signal.as_str(), child.wait_with_output().unwrap());
                if signal == Signal::SIGTERM {
                    run.exits(1).says(&["stopped by SIGTERM: nothing was changed"]);
                }
                drop(stdin);
                before.assert_same(&volume);
                assert!(!s.path("into").exists());
            }
        }
        feed(s, &bytes, &["--volume", text(&volume)]).silent();
        Picture::of(s.path("theirs")).assert_same(&volume);
    });
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_the_old_or_the_new() {
    if !need("tar") {
        return;
    }
    sandboxed(|s| {
        let (bytes, _) = small(s);
        let volume = s.path("vol");
        let new = Picture::of(s.path("theirs"));
        Tree::at(&volume).file("mine", b"mine").done();
        let old = Picture::of(&volume);
        for wait in 0..25_u64 {
            let mut child = streaming(s, &["--volume", text(&volume)]);
            child.stdin.take().unwrap().write_all(&bytes).unwrap();
            thread::sleep(Duration::from_millis(wait));
            let _ = child.kill();
            child.wait().unwrap();
            assert_old_or_new(s, &volume, &old, &new);
            fs::remove_dir_all(&volume).unwrap();
            Tree::at(&volume).file("mine", b"mine").done();
            filetime::set_file_mtime(&volume, mtime(&old)).unwrap();
            filetime::set_file_mtime(volume.join("mine"), file_mtime(&old)).unwrap();
        }
    });
}

fn mtime(picture: &Picture) -> filetime::FileTime {
    let (secs, nanos) = picture.entry("").mtime;
    filetime::FileTime::from_unix_time(secs, u32::try_from(nanos).unwrap())
}

fn file_mtime(picture: &Picture) -> filetime::FileTime {
    let (secs, nanos) = picture.entry("mine").mtime;
    filetime::FileTime::from_unix_time(secs, u32::try_from(nanos).unwrap())
}

/// What a kill leaves is one of the two, and what is beside it goes with the next restore.
fn assert_old_or_new(s: &Sandbox, volume: &Path, old: &Picture, new: &Picture) {
    let ours = |name: &[u8]| !name.is_empty() && !name.starts_with(b".snapshotter-staging");
    let now = Picture::of(volume).part(ours);
    let is = |picture: &Picture| picture.part(ours).differences(&now).is_empty();
    let interrupted = volume.join(".snapshotter-staging/swapping").exists();
    assert!(interrupted || is(old) || is(new), "{:?}", old.part(ours).differences(&now));
    let tar = s.path("theirs.tar");
    s.run(["restore", "--config", "", "--from-tar", text(&tar), "--volume", text(volume)]).ok();
    new.assert_same(volume);
}
