//! Ways to a real engine.

use std::env;
use std::fs;

use crate::run::{program, script, success};
use crate::sandbox::{Sandbox, docker};

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn the_usual_socket_and_the_plugin_lead_to_the_same_engine() {
    let sandbox = Sandbox::new();
    let name = sandbox.volume("data", &[]);
    let home = tempfile::tempdir().unwrap();
    let output = program(home.path()).args(["volumes", "--json"]).output().unwrap();
    assert!(success(&output).contains(&name));
    success(&program(home.path()).arg("install").output().unwrap());
    let config = home.path().join(".docker");
    let config = config.to_str().unwrap();
    let listed = docker(&["--config", config, "snapshot", "volumes", "--json"]);
    assert!(listed.contains(&name));
    let listed = docker(&["--config", config, "--context", "default", "snapshot", "--json", "volumes"]);
    assert!(listed.contains(&name));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn ssh_leads_to_an_engine_over_one_connection() {
    let sandbox = Sandbox::new();
    let name = sandbox.volume("data", &[]);
    for number in 0..3 {
        sandbox.run(&format!("app{number}"), &["-v", &format!("{name}:/data")]);
    }
    let home = tempfile::tempdir().unwrap();
    // What sshd does: a shell gets the command.
    let ssh = "#!/bin/sh\necho x >>\"$HOME/count\"\nfor command; do :; done\nexec sh -c \"$command\"\n";
    script(&home.path().join("ssh"), ssh);
    let path = env::join_paths(
        std::iter::once(home.path().to_owned()).chain(env::split_paths(&env::var_os("PATH").unwrap())),
    );
    let mut program = program(home.path());
    program.args(["--host", "ssh://me@engine", "volumes", "--json"]).env("PATH", path.unwrap());
    assert!(success(&program.output().unwrap()).contains(&name));
    // Containers are asked about several at a time, and each of these questions goes over a connection that
    // is there.
    let connections = fs::read_to_string(home.path().join("count")).unwrap().lines().count();
    assert!(connections <= 8, "{connections}");
}
