//! `docker snapshot recover` with a lease that a killed run has left.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::run::{failure, program, success};
use crate::sandbox::{Sandbox, address, docker, inspect, is_podman};

/// The lease of a run that had stopped `name`, in the engine with this id.
fn lease(state: &Path, engine: &(String, Option<String>), name: &str) {
    lease_of(state, engine, name, &inspect(name, "{{.Id}}"));
}

/// The same, of a container with another id.
fn lease_of(state: &Path, engine: &(String, Option<String>), name: &str, id: &str) {
    let lease = json!({"version": 1, "engine": {"address": engine.0, "id": engine.1}, "entries": [{
        "id": id, "name": name, "compose": null, "manner": "stop", "depth": 0,
        "restart": {"Name": "always", "MaximumRetryCount": 0}, "patience": 10, "asked": 1,
    }]});
    fs::write(state.join("lease-1-1.json"), lease.to_string()).unwrap();
}

fn this_engine() -> (String, Option<String>) {
    (address(), (!is_podman()).then(|| docker(&["info", "--format", "{{.ID}}"])))
}

fn recover(state: &Path, arguments: &[&str]) -> Output {
    let mut program = program(state);
    program.arg("recover").args(arguments).env("DOCKER_SNAPSHOT_STATE_DIR", state).output().unwrap()
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_a_killed_run_stopped_is_started_and_told() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let app = sandbox.run("app", &[]);
    let engine = this_engine();
    docker(&["stop", &app]);
    lease(state.path(), &engine, &app);
    assert_eq!(success(&recover(state.path(), &[])), format!("{app}: started\n"));
    let policy = if is_podman() { "running no" } else { "running always" };
    assert_eq!(inspect(&app, "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}"), policy);
    assert_eq!(success(&recover(state.path(), &[])), "nothing to recover\n");

    lease(state.path(), &engine, &app);
    let report: Value = serde_json::from_str(&success(&recover(state.path(), &["--json"]))).unwrap();
    let nothing = json!([]);
    assert_eq!(report["resumed"], json!([{"container": app, "outcome": "running"}]));
    for field in ["failed", "held", "elsewhere", "unreadable"] {
        assert_eq!(report[field], nothing);
    }
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_cannot_be_started_fails_with_a_line() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let app = sandbox.run("app", &[]);
    docker(&["stop", &app]);
    let another = ("unix:///another.sock".to_owned(), Some("ANOTHER".to_owned()));
    lease_of(state.path(), &another, &app, &"0".repeat(64));
    let said = failure(&recover(state.path(), &[]));
    assert!(said.contains("this is another engine: choose that one with --host"), "{said}");
    assert_eq!(inspect(&app, "{{.State.Status}}"), "exited");

    let directory = tempfile::tempdir().unwrap();
    let bind = format!("type=bind,source={},target=/x", directory.path().display());
    let needy = sandbox.run("needy", &["--mount", &bind]);
    docker(&["stop", &needy]);
    drop(directory);
    lease(state.path(), &this_engine(), &needy);
    let said = failure(&recover(state.path(), &[]));
    assert!(
        said.contains(&format!("cannot start {needy} again: "))
            && (said.contains("bind source path") || is_podman()),
        "{said}"
    );
    assert!(said.contains("mend that, and `docker snapshot recover` starts them"), "{said}");
    assert!(state.path().join("lease-1-1.json").exists());
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn the_helper_of_a_dead_run_is_removed_and_anothers_is_named() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("identity"), "this").unwrap();
    let helper = |name: &str, owner: &str| {
        sandbox.run(name, &["--label", &format!("snapshotter.helper={owner}"), "--stop-timeout", "1"])
    };
    let (ours, theirs) = (helper("ours", "this/helper-1-1"), helper("theirs", "other/helper-1-1"));
    let output = recover(state.path(), &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let removed = format!("{ours}: removed, it was a helper\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), removed);
    assert!(said.contains(&format!("remove it with `docker rm --force {theirs}`")), "{said}");
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &format!("name={ours}")]), "");
    assert_eq!(inspect(&theirs, "{{.State.Status}}"), "running");
    let report: Value = serde_json::from_slice(&recover(state.path(), &["--json"]).stdout).unwrap();
    assert_eq!(report["helpers"]["removed"], json!([]));
    assert!(report["helpers"]["elsewhere"].as_array().unwrap().contains(&json!(theirs)));
}
