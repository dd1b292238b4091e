//! `recover` where no engine is needed, or none answers.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::run::{failure, program, success};

fn recover(home: &Path, variables: &[(&str, &str)]) -> Output {
    let mut program = program(home);
    program
        .args(["recover", "--host", "unix:///nowhere.sock"])
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn where_nothing_was_stopped_no_engine_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let state = state.to_str().unwrap();
    assert_eq!(
        success(&recover(home.path(), &[("DOCKER_SNAPSHOT_STATE_DIR", state)])),
        "nothing to recover\n"
    );
    assert!(!Path::new(state).exists());
}

#[test]
fn a_lease_is_kept_while_no_engine_answers() {
    let home = tempfile::tempdir().unwrap();
    let lease = home.path().join("lease-1.json");
    fs::write(&lease, "{}").unwrap();
    let state = home.path().to_str().unwrap();
    let said = failure(&recover(home.path(), &[("DOCKER_SNAPSHOT_STATE_DIR", state)]));
    assert!(said.contains("cannot connect to the engine at unix:///nowhere.sock"), "{said}");
    assert_eq!(fs::read_to_string(lease).unwrap(), "{}");
}

#[test]
fn a_place_that_cannot_be_read_fails() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("file"), "").unwrap();
    let state = home.path().join("file");
    let said = failure(&recover(home.path(), &[("DOCKER_SNAPSHOT_STATE_DIR", state.to_str().unwrap())]));
    assert!(
        said.contains("cannot keep a list of stopped containers in ") && said.contains("name another"),
        "{said}"
    );
}
