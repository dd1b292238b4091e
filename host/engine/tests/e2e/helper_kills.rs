//! Whoever made a helper is killed at every step; what comes next leaves nothing of it.

use std::cell::Cell;
use std::env;
use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Signal, getpid, kill_process};
use snapshotter_engine::helper::{Collected, Helpers, Mount, Streams, Told};
use snapshotter_engine::lease::State;

use crate::driver::with_engine;
use crate::helper::{DONE, containers, owners, shell};
use crate::recover::recovered;
use crate::sandbox::{Sandbox, docker, image};

/// Starts this very program again, to run a helper on `volume` and to kill itself when it is told the event with
/// this number. Returns its id, and whether it was killed.
fn killed(state: &Path, volume: &str, at: usize) -> (u32, bool) {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "helper_kills::is_started_by_other_tests", "--ignored"])
        .env("HELPER_STATE", state)
        .env("HELPER_VOLUME", volume)
        .env("HELPER_KILL_AT", at.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let id = child.id();
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "{status}");
    (id, !status.success())
}

#[test]
#[ignore = "started by other tests, in a process that can be killed"]
fn is_started_by_other_tests() {
    let Ok(state) = env::var("HELPER_STATE") else { return };
    let volume = env::var("HELPER_VOLUME").unwrap();
    let kill_at: usize = env::var("HELPER_KILL_AT").unwrap().parse().unwrap();
    let events = Cell::new(0);
    let observer = |_: &Told<'_>| {
        if events.replace(events.get() + 1) == kill_at {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    };
    // It goes on for long after its reader has died, unless it is asked to end: then it says so in the volume.
    let note = r#"{"event":"note","text":"x"}"#;
    let script = format!(
        "trap 'echo asked >>/v/said; exit 1' TERM; echo '{note}' >&2; sleep 1; test -e /v/short || \
         while :; do sleep 100000 & wait $!; done; {DONE}"
    );
    with_engine(async |engine| {
        let helpers = Helpers::new(&engine, &State::at(&state), Some(&image())).await.unwrap();
        let spec = shell(&script, vec![Mount::write(volume, "/v")]);
        let prepared = helpers.prepare(spec, &observer).await.unwrap();
        let streams = Streams { input: None, output: Collected::default() };
        prepared.run(streams, &observer, pending()).await.unwrap();
    });
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn killed_after_each_event_of_a_helper_leaves_nothing() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let (mut at, mut removed) = (0, 0);
    loop {
        // From the event on that the core says, it must be short, so that all events come.
        let volume = sandbox.volume(&format!("v{at}"), &[]);
        let peek = format!("{volume}:/v");
        if at > 2 {
            docker(&["run", "--rm", "--network", "none", "-v", &peek, &image(), "touch", "/v/short"]);
        }
        let (id, killed) = killed(state.path(), &volume, at);
        let name = format!("-{id:x}-0");
        let left = !containers(&name).is_empty();
        let recovered = recovered(state.path());
        assert!(recovered.is_complete(), "{at}: {recovered:?}");
        assert_eq!(recovered.helpers.removed.len(), usize::from(left), "{at}: {recovered:?}");
        assert_eq!(containers(&name), "");
        assert!(!owners(state.path()), "{at}");
        removed += usize::from(left);
        if at == 2 {
            // It ran, and was asked to end before it was removed.
            let said = docker(&["run", "--rm", "--network", "none", "-v", &peek, &image(), "cat", "/v/said"]);
            assert_eq!(said, "asked");
        }
        docker(&["volume", "rm", &volume]);
        if !killed {
            break;
        }
        at += 1;
    }
    // Made, attached, started, two that the core says, ended: then it is removed.
    assert_eq!((at, removed), (7, 6));
}
