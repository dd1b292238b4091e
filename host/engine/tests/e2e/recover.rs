//! What recovering finds: live holders, containers that others have touched, and other engines.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use snapshotter_engine::Error;
use snapshotter_engine::api::container::RestartPolicy;
use snapshotter_engine::hold::{Outcome, Recovered, recover};
use snapshotter_engine::lease::{EngineName, Entry, Manner, Record, State};

use crate::driver::{driver, hold_names, wait_for, with_engine};
use crate::sandbox::{Sandbox, address, docker, inspect, is_podman};

/// Recovers, with the engine of this machine.
pub(crate) fn recovered(state: &Path) -> Recovered {
    with_engine(async |engine| recover(&engine, &State::at(state), &|_| {}).await.unwrap())
}

/// Brings the containers to rest and dies.
fn abandon(state: &Path, names: &[String]) {
    let mut child = driver(state, names, Manner::Stop, None);
    wait_for(&mut child, "AT REST");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn outcomes(recovered: &Recovered) -> Vec<Outcome> {
    recovered.resumed.iter().map(|resumed| resumed.outcome).collect()
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_a_live_process_holds_is_left_alone() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let app = sandbox.run("app", &["--stop-timeout", "1"]);
    let names = [app.clone()];
    let mut child = driver(state.path(), &names, Manner::Stop, None);
    wait_for(&mut child, "AT REST");
    let found = recovered(state.path());
    assert_eq!(found.held, [format!("process {}", child.id())]);
    assert!(found.is_complete() && found.resumed.is_empty());
    assert_eq!(inspect(&app, "{{.State.Status}}"), "exited");
    // Nor can another run take it for its own, though it does not run now.
    docker(&["start", &app]);
    let refused = with_engine(async |engine| {
        hold_names(&engine, state.path(), &names, Manner::Stop, &|_| {}).await.unwrap_err()
    });
    assert!(matches!(refused, Error::Leased { holder: Some(_), .. }), "{refused}");
    drop(child.stdin.take());
    wait_for(&mut child, "DONE");
    assert!(child.wait().unwrap().success());
    assert_eq!(inspect(&app, "{{.State.Status}}"), "running");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_others_have_done_meanwhile_is_respected() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let names: Vec<_> = ["started", "removed", "policy"]
        .map(|name| sandbox.run(name, &["--restart", "unless-stopped", "--stop-timeout", "1"]))
        .into_iter()
        .chain([sandbox.service("anew", "", &[]), sandbox.service("anew-stopped", "", &[])])
        .collect();
    abandon(state.path(), &names);
    docker(&["start", &names[0]]);
    docker(&["rm", "--volumes", &names[1]]);
    let podman = is_podman();
    if !podman {
        docker(&["update", "--restart", "always", &names[2]]);
    }
    // What compose does when it recreates a container.
    for name in &names[3..] {
        docker(&["rename", name, &format!("{name}-old")]);
        docker(&["rm", &format!("{name}-old")]);
    }
    sandbox.service("anew", "", &[]);
    sandbox.service("anew-stopped", "", &[]);
    docker(&["stop", &names[4]]);

    let found = recovered(state.path());
    assert!(found.is_complete(), "{found:?}");
    let mut outcomes: Vec<_> =
        found.resumed.iter().map(|resumed| (resumed.container.as_str(), resumed.outcome)).collect();
    outcomes.sort_by_key(|&(name, _)| names.iter().position(|known| known == name));
    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    let (replaced, gone) = (Outcome::Replaced, Outcome::Gone);
    assert_eq!(outcomes, [Outcome::Running, gone, Outcome::Started, replaced, replaced]);
    let policy = "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(inspect(&names[0], policy), "running unless-stopped");
    let kept = if podman { "running unless-stopped" } else { "running always" };
    assert_eq!(inspect(&names[2], policy), kept);
    assert_eq!(inspect(&names[3], policy), "running no");
    assert_eq!(inspect(&names[4], policy), "running no");
    assert!(recovered(state.path()).resumed.is_empty());
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_paused_container_that_the_engine_has_ended_runs_again() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let app = sandbox.run("app", &["--stop-timeout", "1"]);
    let mut child = driver(state.path(), std::slice::from_ref(&app), Manner::Pause, None);
    wait_for(&mut child, "AT REST");
    child.kill().unwrap();
    child.wait().unwrap();
    // What is left of a frozen container when its engine is restarted.
    docker(&["kill", &app]);
    assert_eq!(outcomes(&recovered(state.path())), [Outcome::Started]);
    assert_eq!(inspect(&app, "{{.State.Status}}"), "running");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn leases_of_other_engines_and_broken_ones_are_kept() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let app = sandbox.run("app", &["--stop-timeout", "1"]);
    abandon(state.path(), std::slice::from_ref(&app));
    let lease = fs::read_dir(state.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "json"))
        .unwrap();
    let text = fs::read_to_string(&lease).unwrap();
    let name = if is_podman() { address() } else { docker(&["info", "--format", "{{.ID}}"]) };
    assert!(text.contains(&name));
    let elsewhere = text.replace(&name, "ANOTHER");
    fs::write(&lease, elsewhere.replace(&inspect(&app, "{{.Id}}"), &"0".repeat(64))).unwrap();
    fs::write(state.path().join("lease-broken.json"), "{").unwrap();
    let found = recovered(state.path());
    assert!(!found.is_complete() && found.resumed.is_empty());
    assert_eq!((found.elsewhere.len(), found.unreadable.len()), (1, 1));
    assert_eq!(inspect(&app, "{{.State.Status}}"), "exited");
    // An engine can get another name; its containers are known all the same.
    fs::write(&lease, elsewhere).unwrap();
    fs::remove_file(state.path().join("lease-broken.json")).unwrap();
    assert_eq!(outcomes(&recovered(state.path())), [Outcome::Started]);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn one_that_may_take_for_ever_to_stop_is_kept_for_an_hour() {
    let sandbox = Sandbox::new();
    let app = sandbox.run("app", &["--stop-timeout", "-1"]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let engine = EngineName {
        address: address(),
        id: (!is_podman()).then(|| docker(&["info", "--format", "{{.ID}}"])),
    };
    let entry = |asked| Entry {
        id: inspect(&app, "{{.Id}}"),
        name: app.clone(),
        compose: None,
        manner: Manner::Stop,
        restart: RestartPolicy::default(),
        depth: 0,
        patience: None,
        asked: Some(asked),
    };
    let left = |asked| {
        let state = tempfile::tempdir().unwrap();
        drop(State::at(state.path()).claim(Record::new(engine.clone(), vec![entry(asked)])).unwrap());
        let found = recovered(state.path());
        (found, State::at(state.path()).leases().unwrap().len())
    };
    let (found, leases) = left(now - 120);
    assert!(matches!(&found.failed[..], [(_, Error::StillStopping { .. })]), "{found:?}");
    assert_eq!(leases, 1);
    let (found, leases) = left(now - 4000);
    assert_eq!(outcomes(&found), [Outcome::Running]);
    assert_eq!(leases, 0);
}
