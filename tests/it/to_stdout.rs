//! An archive that goes to stdout: it is one, everything comes back from it, and what is cut off is taken
//! for whole by nobody.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use snapshotter::config::{Config, Exclude, Need};
use snapshotter::observer::Run as Watch;
use snapshotter::{BackupOptions, ListOptions, RestoreOptions, backup_to, restore, verify};

use crate::hostile::craft;
use crate::support::sandbox::text;
use crate::support::torture::{Torture, pattern};
use crate::support::{Picture, Run, Sandbox, Tree, assert_same_tree, need, sandboxed, tool};

/// What the program writes to a pipe.
fn stream(s: &Sandbox, args: &[&str]) -> Output {
    s.command([&["backup", "--archive", "-"], args].concat()).output().unwrap()
}

/// Keeps it as the archive.
fn keep(s: &Sandbox, args: &[&str]) {
    let output = stream(s, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(s.archive(), output.stdout).unwrap();
}

/// Files that are too large for one piece, with holes and without, among small ones.
fn volume(s: &Sandbox) -> PathBuf {
    let data = pattern(3 << 20);
    let mut tree = Tree::at(s.path("vol/a")).dir("dir").file("large", &data).file("dir/larger", &data[7..]);
    tree = tree.sparse("sparse", 9 << 20, &[(1 << 20, &data[..700_001]), (8 << 20, &data[..5000])]);
    for n in 0..150 {
        tree = tree.file(format!("dir/small {n:03}"), &data[n..n * 13]);
    }
    let volume = tree.hard_link("second name", "large").mtime(5, 6).done();
    s.configure("web", &[&volume]);
    volume
}

#[test]
fn everything_comes_back_from_a_stream_and_it_can_be_appended_to() {
    sandboxed(|s| {
        let volume = Torture::default().make(s.path("vol/a"));
        let file = Tree::at(s.path("vol")).file("file", pattern(700_000)).done().join("file");
        Tree::at(&volume)
            .file("zz large", pattern(2 << 20))
            .sparse("zz sparse", 6 << 20, &[(5 << 20, b"x")])
            .done();
        s.configure("web", &[&volume, &file]);
        let before = Picture::of(&volume);
        for choice in ["auto", "never"] {
            keep(s, &["--strict", "--checksum", choice]);
            before.assert_same(&volume);
            let verified = s.verify();
            assert_eq!(verified["ok"], true, "{verified}");
            assert_eq!(verified["snapshots"][0]["unhashed"] == 0, choice == "auto", "{verified}");
            fs::write(&file, b"spoilt").unwrap();
            fs::remove_dir_all(&volume).unwrap();
            fs::create_dir(&volume).unwrap();
            s.run(["restore", "--strict"]).ok();
            before.assert_same(&volume);
            assert_eq!(fs::read(&file).unwrap(), pattern(700_000));
        }
        // From a pipe to a pipe.
        let program = text(assert_cmd::cargo::cargo_bin!("snapshotter")).to_owned();
        let mut shell = std::process::Command::new("bash");
        let pipe = "set -o pipefail; $0 backup --archive - | $0 restore --archive - --into piped";
        shell.args(["-c", pipe, &program]).env("TMPDIR", s.root());
        s.run_as(shell).ok();
        before.assert_same(s.path("piped").join(text(&volume).trim_start_matches('/')));
        for args in [&["backup"][..], &["backup", "--index"]] {
            s.run(args).ok();
        }
        let verified = s.verify();
        assert_eq!(verified["ok"], true, "{verified}");
        assert_eq!(verified["snapshots"].as_array().unwrap().len(), 3);
    });
}

#[test]
fn an_archive_with_an_index_is_like_one_without() {
    sandboxed(|s| {
        s.init();
        let volume = volume(s);
        let before = Picture::of(&volume);
        s.run(["backup", "--index"]).ok();
        assert_eq!(s.verify()["ok"], true);
        fs::remove_dir_all(volume.join("dir")).unwrap();
        s.restore();
        before.assert_same(&volume);
        let id = s.list()["snapshots"][0]["id"].as_str().unwrap().to_owned();
        let members = s.run(["list", &id]).ok().stdout();
        assert_eq!(members.matches("web/snapshot.index\n").count(), 2, "{members}");
    });
}

#[test]
fn other_tools_read_it() {
    sandboxed(|s| {
        let volume = volume(s);
        keep(s, &[]);
        let below = text(&volume).trim_start_matches('/').to_owned();
        let python = "import tarfile; tarfile.open('backup.tar').extractall('out')";
        for (program, args) in [
            ("tar", &["-xpf", "backup.tar", "-C", "out"][..]),
            ("bsdtar", &["-xpf", "backup.tar", "-C", "out"]),
            ("busybox", &["tar", "-xpf", "backup.tar", "-C", "out"]),
            ("python3", &["-c", python]),
        ] {
            if !need(program) {
                continue;
            }
            fs::create_dir(s.path("out")).unwrap();
            tool(program, args).silent();
            let out = s.path("out/web").join(&below);
            if program == "tar" {
                assert_same_tree(&volume, &out);
            }
            for name in ["large", "dir/larger", "second name", "dir/small 077"] {
                assert_eq!(
                    fs::read(out.join(name)).unwrap(),
                    fs::read(volume.join(name)).unwrap(),
                    "{program}"
                );
            }
            assert!(out.parent().unwrap().exists() && s.path("out/web/snapshot.index").is_file());
            fs::remove_dir_all(s.path("out")).unwrap();
        }
    });
}

/// Starts a backup to a pipe, which is to be read or not.
fn start(s: &Sandbox) -> Child {
    s.start(["backup", "--archive", "-"])
}

/// How it ended, and what it had written.
fn ended(mut child: Child, mut written: Vec<u8>) -> (Run, Vec<u8>) {
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_end(&mut written).unwrap();
    }
    (Run::ended("backup --archive -", child.wait_with_output().unwrap()), written)
}

/// Nobody takes this for an archive.
fn assert_torn(s: &Sandbox, written: &[u8]) {
    fs::write(s.archive(), written).unwrap();
    s.run(["list"]).exits(1);
    s.run(["restore", "--into", "into"]).exits(1);
    if written.len() >= 512 {
        for (program, reader) in [("tar", "tar -t"), ("bsdtar", "bsdtar -t"), ("busybox", "busybox tar -t")] {
            let read = || tool("sh", ["-c", &format!("cat backup.tar | {reader} -f -")]);
            assert!(!need(program) || read().code() != Some(0), "{program} of {}", written.len());
        }
    }
}

#[test]
fn a_stream_that_is_stopped_anywhere_is_taken_for_whole_by_nobody() {
    sandboxed(|s| {
        volume(s);
        let whole = stream(s, &[]).stdout.len();
        for part in 0..12 {
            let mut child = start(s);
            let mut read = vec![0; whole / 12 * part];
            child.stdout.as_mut().unwrap().read_exact(&mut read).unwrap();
            // It may be waiting for its reader, or not.
            std::thread::sleep(Duration::from_millis(if part % 3 == 0 { 300 } else { 0 }));
            let since = Instant::now();
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
            let (run, written) = ended(child, read);
            assert!(since.elapsed() < Duration::from_mins(1));
            if run.code() == Some(0) {
                assert_eq!(written.len(), whole);
                continue;
            }
            let run = run.exits(1).says(&["SIGTERM", "no whole archive"]);
            assert!(written.len() < whole, "{run}");
            assert_torn(s, &written);
        }
    });
}

#[test]
fn it_can_be_stopped_while_nobody_reads() {
    sandboxed(|s| {
        volume(s);
        let mut child = start(s);
        std::thread::sleep(Duration::from_millis(500));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        let since = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(since.elapsed() < Duration::from_mins(1), "it waits for its reader");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (run, _) = ended(child, Vec::new());
        run.exits(1).says(&["SIGINT", "throw it away"]);
    });
}

#[test]
fn a_reader_that_goes_away_is_an_error_wherever_that_is() {
    sandboxed(|s| {
        volume(s);
        let whole = stream(s, &[]).stdout.len();
        for count in (0..14).map(|n| n * whole / 16).chain([1, 511, 512, 700, 1024, 1025, 2560, 70_000]) {
            let mut child = start(s);
            let mut read = vec![0; count];
            child.stdout.as_mut().unwrap().read_exact(&mut read).unwrap();
            drop(child.stdout.take());
            let (run, _) = ended(child, Vec::new());
            run.exits(1).says(&[
                "cannot write to standard output",
                "Broken pipe",
                "throw it away",
                "has ended",
            ]);
        }
    });
}

/// Runs it with its output going to a file.
fn into(s: &Sandbox, file: File, args: &[&str]) -> Run {
    let mut command = s.command([&["backup", "--archive", "-"], args].concat());
    command.stdout(file).stderr(Stdio::piped());
    Run::ended("backup --archive - > FILE", command.spawn().unwrap().wait_with_output().unwrap())
}

#[test]
fn it_goes_to_a_new_file_and_to_nothing_that_holds_something() {
    sandboxed(|s| {
        let volume = volume(s);
        let append = || OpenOptions::new().append(true).create(true).open(s.archive()).unwrap();
        into(s, append(), &[]).ok();
        assert_eq!(s.verify()["ok"], true);
        let before = fs::read(s.archive()).unwrap();
        into(s, append(), &[]).exits(1).says(&["it is a file that holds something already", "--archive"]);
        assert_eq!(fs::read(s.archive()).unwrap(), before);
        if Path::new("/dev/full").exists() {
            let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
            into(s, full, &[]).exits(1).says(&["No space left on device", "throw it away"]);
        }
        // One in a volume is left out.
        let inside = volume.join("backup.tar");
        let run = into(s, File::create(&inside).unwrap(), &[]).ok().says(&["backup.tar: left out"]);
        drop(run);
        fs::rename(&inside, s.archive()).unwrap();
        // The root's time is another, since the archive was in it.
        let below = || Picture::of(&volume).part(|name| !name.is_empty());
        let picture = below();
        Tree::at(&volume).file("more", b"x").done();
        s.restore();
        picture.assert_same_picture(&below());
    });
}

#[test]
fn what_cannot_take_an_archive_is_refused_before_anything_is_read() {
    sandboxed(|s| {
        volume(s);
        let closed = |redirect: &str| {
            let mut shell = std::process::Command::new("sh");
            let program = assert_cmd::cargo::cargo_bin!("snapshotter");
            shell.args(["-c", &format!("\"$0\" backup --archive - {redirect}"), text(program)]);
            s.run_as(shell)
        };
        closed(">&-").exits(1).says(&["cannot write an archive to standard output: it is closed"]);
        closed("--discard-tail >/dev/null").exits(2).says(&["--discard-tail"]);
        closed(">/dev/null").ok();
        if need("script") {
            let program = text(assert_cmd::cargo::cargo_bin!("snapshotter")).to_owned();
            let mut script = std::process::Command::new("script");
            script.args(["-qec", &format!("{program} backup --archive - 2>said"), "/dev/null"]);
            s.run_as(script).exits(1);
            let said = fs::read_to_string(s.path("said")).unwrap();
            assert!(said.contains("it is a terminal: send the archive to a file"), "{said}");
        }
    });
}

#[test]
fn its_report_goes_to_stderr() {
    sandboxed(|s| {
        volume(s);
        let output = stream(s, &["--json", "--events", "json", "--note", "n"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let events: Vec<snapshotter::report::Event> =
            stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let snapshotter::report::Event::Report(report) = &events[events.len() - 2] else {
            panic!("{stderr}")
        };
        fs::write(s.archive(), output.stdout).unwrap();
        let listed = s.list();
        assert_eq!(listed["snapshots"][0]["id"], report.id.as_str());
        assert_eq!(listed["snapshots"][0]["note"], "n");
        let output = stream(s, &["--json"]);
        let line = String::from_utf8(output.stderr).unwrap();
        let report: snapshotter::BackupReport = serde_json::from_str(line.lines().last().unwrap()).unwrap();
        assert_eq!(report.entries, listed["snapshots"][0]["entries"]);
        let output = stream(s, &[]);
        assert!(String::from_utf8(output.stderr).unwrap().contains("backed up 1 volume of web as "));
        assert!(stream(s, &["-q"]).stderr.is_empty());
    });
}

/// Changes a file when so much of the stream was written.
struct Meddler<'a> {
    written: Vec<u8>,
    at: usize,
    then: Box<dyn FnMut() + Send + 'a>,
}

impl Write for Meddler<'_> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        // As slowly as a pipe.
        let count = data.len().min(4000);
        self.written.extend(&data[..count]);
        if self.written.len() > self.at {
            self.at = usize::MAX;
            (self.then)();
        }
        Ok(count)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn config(volume: &Path) -> Config {
    Config::from_parts("web", [text(volume)], Exclude::default(), Need::Volumes).unwrap()
}

#[test]
fn a_file_that_shrinks_or_grows_while_it_is_read_is_stored_as_it_was_opened() {
    sandboxed(|s| {
        let volume = Tree::at(s.path("vol/a")).file("a", b"x").file("large", pattern(40 << 20)).done();
        let large = volume.join("large");
        for (length, words) in [(11 << 20, "it became shorter"), (50 << 20, "it grew")] {
            let then = || File::options().write(true).open(&large).unwrap().set_len(length).unwrap();
            let mut to = Meddler { written: Vec::new(), at: 1 << 20, then: Box::new(then) };
            let options = BackupOptions::default();
            let report =
                backup_to(&mut to, "a stream", &config(&volume), &options, &Watch::default()).unwrap();
            assert!(report.warnings[0].reason.starts_with(words), "{:?}", report.warnings);
            assert_eq!((report.warning_count, report.unhashed), (1, 0));
            fs::write(s.archive(), &to.written).unwrap();
            drop(to);
            assert_eq!(s.verify()["ok"], true);
            s.configure("web", &[&volume]);
            s.run(["restore", "--into", "into"]).ok();
            let restored = s.path("into").join(text(&large).trim_start_matches('/'));
            assert_eq!(fs::metadata(restored).unwrap().len(), report.size - 1);
            fs::remove_dir_all(s.path("into")).unwrap();
        }
    });
}

#[test]
fn damage_to_content_whose_checksum_is_in_the_index_is_found() {
    sandboxed(|s| {
        let volume = volume(s);
        keep(s, &[]);
        let sound = fs::read(s.archive()).unwrap();
        let before = Picture::of(&volume);
        let content = fs::read(volume.join("dir/larger")).unwrap();
        let at = |what: &[u8]| sound.windows(what.len()).position(|window| window == what).unwrap();
        let skip = ["restore", "--into", "into", "--skip-damaged"];
        let lies = |name: &str| s.path("into").join(text(&volume).trim_start_matches('/')).join(name);

        let mut bytes = sound.clone();
        bytes[at(&content[..64]) + 1_000_000] ^= 1;
        fs::write(s.archive(), &bytes).unwrap();
        s.run(["verify"]).exits(1).says(&["dir/larger: it does not match its checksum"]);
        s.run(["restore"]).exits(1).says(&["dir/larger: it does not match its checksum"]);
        before.assert_same(&volume);
        s.run(skip).exits(3).prints(&["dir/larger: it does not match its checksum"]);
        assert!(!lies("dir/larger").exists() && lies("large").exists());
        fs::remove_dir_all(s.path("into")).unwrap();

        // What is left of a damaged index is still used, and what is not is said.
        let mut bytes = sound.clone();
        bytes[at(b"SNAPIDX\x01c") + 100] ^= 1;
        fs::write(s.archive(), &bytes).unwrap();
        s.run(["verify"]).exits(1).says(&["web/snapshot.index: it does not match its checksum"]);
        s.run(["restore"]).exits(1).says(&["web/snapshot.index: it does not match its checksum"]);
        before.assert_same(&volume);
        s.run(skip).exits(3).prints(&["web/snapshot.index: it does not", "carry no content checksum"]);
        assert_same_tree(&volume, lies(""));
        fs::remove_dir_all(s.path("into")).unwrap();
        let mut bytes = sound.clone();
        bytes[at(b"SNAPIDX\x01t") + 10] ^= 1;
        bytes[at(&content[..64]) + 1_000_000] ^= 1;
        fs::write(s.archive(), &bytes).unwrap();
        s.run(skip).exits(3).prints(&["dir/larger: it does not match", "web/snapshot.index"]);
        assert!(!lies("dir/larger").exists() && lies("large").exists());
    });
}

/// An index that says anything, with right checksums around it.
#[test]
fn an_index_that_lies_is_found_or_does_no_harm() {
    sandboxed(|s| {
        let data = pattern(300_000);
        let tree =
            Tree::at(s.path("vol/a")).dir("d").file("d/x", b"x").file("large", &data).symlink("l", "d/x");
        let volume = tree.file("larger", &data[9..]).hard_link("z", "d/x").char_device("n", 1, 3).done();
        let mut to = Vec::new();
        let options = BackupOptions::default();
        backup_to(&mut to, "a stream", &config(&volume), &options, &Watch::default()).unwrap();
        let before = Picture::of(&volume);
        let (members, tail) = craft::parse(&to);
        let parts = (0..members.len()).filter(|&at| members[at].data.starts_with(b"SNAPIDX"));
        let (mut tried, mut found) = (0, 0);
        for part in parts {
            let length = members[part].data.len();
            for bit in (0..length * 8).step_by(7) {
                let mut members = members.clone();
                members[part].data[bit / 8] ^= 1 << (bit % 8);
                fs::write(s.archive(), craft::write(&members, &tail)).unwrap();
                let list = ListOptions { archive: s.archive().into(), ..ListOptions::default() };
                let verified = verify(&list, &Watch::default()).unwrap();
                let options = RestoreOptions { archive: s.archive().into(), ..RestoreOptions::default() };
                let restored = restore(&config(&volume), &options, &Watch::default());
                before.assert_same(&volume);
                assert!(restored.is_ok() || !verified.ok, "bit {bit} of {part}: {restored:?}");
                (tried, found) = (tried + 1, found + usize::from(!verified.ok));
            }
        }
        // No header has the inode and the time of the last change, and so nothing is wrong with any.
        assert!(tried > 200 && found > tried / 2, "{found} of {tried}");
    });
}
