//! `--events json`: each line on stderr is an event, and the last one says how the run ended.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use snapshotter::Hint;
use snapshotter::report::{BackupReport, End, Event, Phase, RestoreReport, RunError, Verification};

use super::prepared;
use crate::support::run::HANGS;
use crate::support::sandbox::text;
use crate::support::{Run, Sandbox, Tree, sandboxed};

/// Every line is an event that reads back, the last one is the end, and there is no other end.
#[track_caller]
fn events(lines: impl IntoIterator<Item = String>, code: Option<i32>) -> (Vec<Event>, End) {
    let event = |line: String| {
        let event: Event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
        assert_ne!(event, Event::Unknown, "{line}");
        event
    };
    let mut events: Vec<Event> = lines.into_iter().map(event).collect();
    let Some(Event::End(end)) = events.pop() else { panic!("no end after {events:?}") };
    assert!(!events.iter().any(|event| matches!(event, Event::End(_))), "{events:?}");
    assert_eq!(code, Some(i32::from(end.exit_code)));
    assert_eq!((end.ok, end.error.is_none()), (end.exit_code == 0, end.exit_code == 0), "{end:?}");
    (events, end)
}

fn run(s: &Sandbox, args: &[&str]) -> (Run, Vec<Event>, End) {
    let run = s.run([args, &["--events", "json"]].concat());
    let (events, end) = events(run.stderr().lines().map(str::to_owned), run.code());
    (run, events, end)
}

fn done(s: &Sandbox, args: &[&str]) -> (Run, Vec<Event>) {
    let (run, events, end) = run(s, args);
    assert_eq!(end, End { ok: true, exit_code: 0, error: None }, "{run}");
    (run, events)
}

fn failed(s: &Sandbox, args: &[&str], exit_code: u8) -> (Vec<Event>, RunError) {
    let (run, events, end) = run(s, args);
    assert_eq!(end.exit_code, exit_code, "{run}");
    (events, end.error.unwrap())
}

/// The bytes that each phase ended with.
fn phases(events: &[Event]) -> Vec<(Phase, u64)> {
    let mut phases = Vec::new();
    for event in events {
        match event {
            Event::Begin { phase, .. } => phases.push((*phase, 0)),
            Event::Progress { bytes, .. } => phases.last_mut().unwrap().1 = *bytes,
            _ => {}
        }
    }
    phases
}

#[test]
fn a_run_writes_events_beside_its_report() {
    sandboxed(|s| {
        let volume = prepared(s);
        let mount = s.tmpfs("vol/a/mo\\unt", "size=1m");
        done(s, &["init", text(&s.path("other.tar"))]);
        let (run, events) = done(s, &["backup", "--json"]);
        let report: BackupReport = serde_json::from_str(&run.stdout()).unwrap();
        assert_eq!(phases(&events)[0], (Phase::BackingUp, report.size));
        assert!(events.contains(&Event::Warning(report.warnings[0].clone())), "{events:?}");
        assert!(report.warnings[0].path.ends_with(b"mo\\unt"), "{}", mount.display());
        assert!(!events.iter().any(|event| matches!(event, Event::Member { .. })), "{events:?}");

        let (run, events) = done(s, &["verify", "--json", "-v"]);
        let found: Verification = serde_json::from_str(&run.stdout()).unwrap();
        let members = events.iter().filter(|event| matches!(event, Event::Member { .. })).count() as u64;
        assert!(members >= found.snapshots[0].sound, "{events:?}");
        assert_eq!(phases(&events), [(Phase::Verifying, found.bytes())]);

        let (run, events) = done(s, &["restore", "--json", "--into", "into"]);
        let report: RestoreReport = serde_json::from_str(&run.stdout()).unwrap();
        assert_eq!(phases(&events)[0], (Phase::Restoring, report.size));
        done(s, &["list", &report.id]);
        let (_, events) = done(s, &["restore", "--into", "quiet", "--no-progress"]);
        assert_eq!(events, []);
        let (run, events) = done(s, &["backup", "-q"]);
        assert!(events.iter().all(|event| matches!(event, Event::Warning(_))), "{run}");
        assert!(volume.exists());
    });
}

#[test]
fn a_failure_is_the_end_with_its_hint() {
    sandboxed(|s| {
        prepared(s);
        let (events, failure) = failed(s, &["restore"], 1);
        assert_eq!(events, []);
        assert!(failure.message.contains(text(&s.archive())), "{failure:?}");
        let (_, failure) = failed(s, &["list", "--archive", "/no/such.tar"], 1);
        assert!(failure.message.contains("/no/such.tar: No such file"), "{failure:?}");
        assert_eq!(failure.hint, Some(Hint::MakeArchive));
        assert!(failure.advice.is_some_and(|advice| advice.contains("snapshotter init")));

        s.backup();
        let mut bytes = fs::read(s.archive()).unwrap();
        let at = bytes.windows(7).position(|window| window == b"content").unwrap();
        bytes[at] = b'C';
        fs::write(s.archive(), &bytes).unwrap();
        let (events, failure) = failed(s, &["verify"], 1);
        let problem = |event: &Event| matches!(event, Event::Problem(problem) if problem.offset < at as u64);
        assert_eq!(events.iter().filter(|event| problem(event)).count(), 1, "{events:?}");
        assert!(failure.message.contains("1 damaged snapshot"), "{failure:?}");
        let (_, failure) = failed(s, &["restore"], 1);
        assert_eq!(failure.hint, Some(Hint::SkipDamaged));
        let (_, failure) = failed(s, &["restore", "--into", "into", "--skip-damaged"], 3);
        assert!(failure.message.contains("2 entries are missing"), "{failure:?}");
    });
}

#[test]
fn a_signal_is_an_end_too() {
    sandboxed(|s| {
        prepared(s);
        let held = Flock::lock(File::open(s.archive()).unwrap(), FlockArg::LockExclusive).unwrap();
        let mut child = s.command(["backup", "--events", "json"]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let waits = lines.next().unwrap();
        assert!(waits.starts_with(r#"{"event":"note","text":""#), "{waits}");
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        let rest: Vec<_> = lines.collect();
        let (_, end) = events(rest, child.wait().unwrap().code());
        assert!(end.error.is_some_and(|failure| failure.message.starts_with("stopped by SIGTERM")));
        drop(held);
    });
}

#[test]
fn a_line_is_one_write() {
    sandboxed(|s| {
        let mut tree = Tree::at(s.path("vol/a"));
        for n in 0..50 {
            tree = tree.file(format!("{n:0200}"), b"x");
        }
        s.init();
        s.configure("web", &[&tree.done()]);
        // Each write is a message of its own.
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_read_timeout(Some(HANGS)).unwrap();
        let mut child = s.command(["backup", "-v", "--events", "json"]);
        let mut child =
            child.stdout(Stdio::null()).stderr(Stdio::from(OwnedFd::from(theirs))).spawn().unwrap();
        let (mut lines, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        while !lines.last().is_some_and(|line: &String| line.contains(r#""event":"end""#)) {
            let length = ours.recv(&mut buffer).unwrap();
            let written = String::from_utf8(buffer[..length].to_vec()).unwrap();
            assert_eq!(written.find('\n'), Some(length - 1), "{written}");
            lines.push(written.trim_end().to_owned());
        }
        let (events, _) = events(lines, child.wait().unwrap().code());
        assert!(events.len() > 50, "{events:?}");
    });
}
