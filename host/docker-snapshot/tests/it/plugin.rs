//! The program as a plugin of the docker CLI, and how it becomes one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

fn run(home: &Path, program: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .current_dir(home)
        .output()
        .expect("the program starts")
}

#[test]
fn it_tells_its_version_under_both_names() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["--version"][..], &["snapshot", "--version"]] {
        let output = run(home.path(), cargo_bin!("docker-snapshot"), arguments);
        assert!(output.status.success());
        assert_eq!(output.stdout, concat!("docker-snapshot ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
    }
}

#[test]
fn it_answers_what_the_docker_cli_asks_a_plugin() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), cargo_bin!("docker-snapshot"), &["docker-cli-plugin-metadata"]);
    assert!(output.status.success());
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(metadata["SchemaVersion"], "0.1.0");
    assert_eq!(metadata["Version"], env!("CARGO_PKG_VERSION"));
    assert!(!metadata["Vendor"].as_str().unwrap().is_empty());
}

#[test]
fn it_is_misused_without_a_command_and_with_a_wrong_one() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&[][..], &["snapshot"], &["shred"], &["snapshot", "install", "extra"], &["--wrong"]] {
        let output = run(home.path(), cargo_bin!("docker-snapshot"), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn installed_it_is_a_plugin_and_installs_itself_again() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join(".docker/cli-plugins/docker-snapshot");
    let program = cargo_bin!("docker-snapshot").to_owned();
    for program in [&program, &program, &place] {
        let output = run(home.path(), program, &["install", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let installed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(installed["path"], place.to_str().unwrap());
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }
    let output = run(home.path(), &place, &["snapshot", "--version"]);
    assert!(output.status.success());
}

#[test]
fn a_place_that_cannot_be_written_fails_with_one_line() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".docker"), "a file").unwrap();
    let output = run(home.path(), cargo_bin!("docker-snapshot"), &["install"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("docker-snapshot: cannot copy ") && stderr.lines().count() == 1, "{stderr}");
}
