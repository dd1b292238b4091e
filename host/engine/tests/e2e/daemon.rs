//! The engine's own daemon is killed while containers are at rest, and another one takes its place: nothing that
//! was stopped may run before its time, and everything runs in the end. scripts/host-e2e.sh starts an engine
//! for these tests, which no one else needs.

use std::cell::RefCell;
use std::env;
use std::fs;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use snapshotter_engine::helper::{Collected, Helpers, Streams, Told};
use snapshotter_engine::lease::{Manner, State};

use crate::driver::{driver, wait_for, with_engine};
use crate::helper::{containers as helper_containers, shell};
use crate::recover::recovered;
use crate::sandbox::{Sandbox, docker, image, inspect};

const STATE: &str = "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}";

fn daemon() -> Option<Pid> {
    let own =
        env::var("SNAPSHOTTER_HOST_E2E_OWN_ENGINE").expect("these tests are started by `make host-e2e`");
    let text = fs::read_to_string(PathBuf::from(own).join("pid")).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

/// Kills the daemon, and waits until the next one answers.
fn kill_daemon() {
    let killed = daemon().unwrap();
    kill_process(killed, Signal::KILL).unwrap();
    let patience = Instant::now() + Duration::from_mins(1);
    let answers = || Command::new("docker").arg("version").output().unwrap().status.success();
    while daemon() == Some(killed) || !answers() {
        assert!(Instant::now() < patience, "no engine has come up again");
        sleep(Duration::from_millis(100));
    }
}

/// Containers with each restart policy, the last of them stopped by its user.
fn containers(sandbox: &Sandbox) -> Vec<String> {
    let mut names: Vec<_> = ["always", "unless-stopped", "on-failure", "no"]
        .map(|policy| sandbox.run(policy, &["--restart", policy, "--stop-timeout", "1"]))
        .into();
    names.push(sandbox.run("off", &["--restart", "unless-stopped", "--stop-timeout", "1"]));
    docker(&["stop", &names[4]]);
    names
}

fn states(names: &[String]) -> Vec<String> {
    names.iter().map(|name| inspect(name, STATE)).collect()
}

const BEFORE: [&str; 5] =
    ["running always", "running unless-stopped", "running on-failure", "running no", "exited unless-stopped"];

/// Stops `names`, and kills the daemon when they are at rest.
fn at_rest_under_another_daemon(state: &Path, names: &[String]) -> Child {
    let mut child = driver(state, names, Manner::Stop, None);
    wait_for(&mut child, "AT REST");
    kill_daemon();
    // One that was stopped already keeps its policy: no engine starts it.
    let rest = ["exited no", "exited no", "exited no", "exited no", "exited unless-stopped"];
    assert_eq!(states(names), rest, "something was started in the middle");
    child
}

#[test]
#[ignore = "needs an engine that may be killed: make host-e2e"]
fn a_daemon_that_is_killed_starts_nothing_and_the_live_driver_starts_all() {
    let (sandbox, state) = (Sandbox::new(), tempfile::tempdir().unwrap());
    let names = containers(&sandbox);
    let mut child = at_rest_under_another_daemon(state.path(), &names);
    drop(child.stdin.take());
    wait_for(&mut child, "DONE");
    assert!(child.wait().unwrap().success());
    assert_eq!(states(&names), BEFORE);
    assert_eq!(State::at(state.path()).leases().unwrap(), Vec::<String>::new());
}

#[test]
#[ignore = "needs an engine that may be killed: make host-e2e"]
fn after_a_crash_of_the_whole_machine_recover_starts_all() {
    let (sandbox, state) = (Sandbox::new(), tempfile::tempdir().unwrap());
    let names = containers(&sandbox);
    let mut child = at_rest_under_another_daemon(state.path(), &names);
    child.kill().unwrap();
    child.wait().unwrap();
    let found = recovered(state.path());
    assert!(found.is_complete() && found.held.is_empty(), "{found:?}");
    assert_eq!(states(&names), BEFORE);
    assert_eq!(State::at(state.path()).leases().unwrap(), Vec::<String>::new());
}

#[test]
#[ignore = "needs an engine that may be killed: make host-e2e"]
fn a_daemon_that_is_killed_during_a_stop_is_a_failure_and_leaves_a_lease() {
    let (sandbox, state) = (Sandbox::new(), tempfile::tempdir().unwrap());
    let slow = "trap 'sleep 3; exit 0' TERM; while :; do sleep 1000000 & wait $!; done";
    let options = ["--restart", "always", "--stop-timeout", "20"];
    let app = sandbox.run_command("app", &options, &["sh", "-c", slow]);
    let mut child = driver(state.path(), std::slice::from_ref(&app), Manner::Stop, None);
    wait_for(&mut child, "Holding");
    sleep(Duration::from_millis(500));
    kill_daemon();
    assert!(!child.wait().unwrap().success());
    // It may still have been on its way down when the next daemon came.
    let patience = Instant::now() + Duration::from_mins(1);
    while !State::at(state.path()).leases().unwrap().is_empty() {
        recovered(state.path());
        assert!(Instant::now() < patience, "{}", inspect(&app, STATE));
        sleep(Duration::from_millis(500));
    }
    assert_eq!(inspect(&app, STATE), "running always");
}

#[test]
#[ignore = "needs an engine that may be killed: make host-e2e"]
fn a_daemon_that_is_killed_under_a_helper_fails_the_run_and_leaves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let name = RefCell::new(String::new());
    let observer = |told: &Told<'_>| match told {
        Told::Made(made) => (*made).clone_into(&mut name.borrow_mut()),
        Told::Core(_) => kill_daemon(),
        _ => {}
    };
    let note = r#"{"event":"note","text":"it works"}"#;
    let script = format!("trap 'exit 1' TERM; echo '{note}' >&2; while :; do sleep 100000 & wait $!; done");
    let error = with_engine(async |engine| {
        let helpers = Helpers::new(&engine, &State::at(state.path()), Some(&image())).await.unwrap();
        let prepared = helpers.prepare(shell(&script, Vec::new()), &observer).await.unwrap();
        let streams = Streams { input: None, output: Collected::default() };
        prepared.run(streams, &observer, pending()).await.unwrap_err()
    });
    assert!(error.to_string().contains("helper"), "{error}");
    assert!(recovered(state.path()).is_complete());
    assert_eq!(helper_containers(&name.borrow()), "");
}
