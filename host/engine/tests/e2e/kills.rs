//! The driver is killed at every step; what ran runs again, as it did before.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use snapshotter_engine::lease::{Manner, State};

use crate::driver::{driver, wait_for};
use crate::recover::recovered;
use crate::sandbox::{Sandbox, docker, inspect, is_podman};

const ALL: &str = "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}";

fn everything_runs(names: &[String]) {
    let [db, web, off] = names else { panic!("three") };
    assert_eq!(inspect(db, ALL), "running always");
    assert_eq!(inspect(web, ALL), "running no");
    assert_eq!(inspect(off, ALL), "exited unless-stopped");
}

/// Whether the driver was killed.
fn was_killed(mut child: Child) -> bool {
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert!(status.signal() == Some(9) || (status.success() && said.contains("DONE")), "{status}: {said}");
    status.signal() == Some(9)
}

/// Kills the driver after each event that there is, and recovers.
fn at_every_event(manner: Manner) -> usize {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let db = sandbox.service("db", "", &["--restart", "always", "--stop-timeout", "1"]);
    let web = sandbox.service("web", "db", &["--stop-timeout", "1"]);
    let off = sandbox.service("off", "web", &["--restart", "unless-stopped"]);
    docker(&["stop", &off]);
    let names = vec![db, web, off];
    let mut at = 0;
    while was_killed(driver(state.path(), &names, manner, Some(at))) {
        let recovered = recovered(state.path());
        assert!(recovered.is_complete() && recovered.held.is_empty(), "{at}: {recovered:?}");
        everything_runs(&names);
        assert_eq!(State::at(state.path()).leases().unwrap(), Vec::<String>::new());
        at += 1;
    }
    everything_runs(&names);
    at
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn killed_after_each_event_of_stop_and_start() {
    // Recorded, and for each of two: asked, held, resumed, settled; and one policy, taken and given.
    assert_eq!(at_every_event(Manner::Stop), if is_podman() { 9 } else { 11 });
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn killed_after_each_event_of_pause_and_unpause() {
    assert_eq!(at_every_event(Manner::Pause), 9);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn killed_while_a_container_stops() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let slow = "trap 'sleep 2; exit 0' TERM; while :; do sleep 1000000 & wait $!; done";
    let options = ["--restart", "always", "--stop-timeout", "5"];
    let app = sandbox.run_command("app", &options, &["sh", "-c", slow]);
    for delay in [0, 500, 1500] {
        let mut child = driver(state.path(), std::slice::from_ref(&app), Manner::Stop, None);
        wait_for(&mut child, "Holding");
        sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        // The engine goes on stopping it, and it still runs when it is looked at first.
        let first = recovered(state.path());
        assert!(first.is_complete(), "{first:?}");
        assert_eq!(inspect(&app, ALL), "running always", "after {delay} ms: {first:?}");
    }
}
