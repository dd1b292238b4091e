//! Containers come to rest and go on.

use std::cell::RefCell;
use std::thread::sleep;
use std::time::{Duration, Instant};

use snapshotter_engine::hold::{Event, Outcome};
use snapshotter_engine::lease::Manner;

use crate::driver::{hold_names, with_engine};
use crate::sandbox::{Sandbox, docker, inspect, is_podman};

const STATUS: &str = "{{.State.Status}}";
const POLICY: &str = "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}";

fn status(names: &[String]) -> Vec<String> {
    names.iter().map(|name| inspect(name, STATUS)).collect()
}

/// What is told, in words.
fn word(event: &Event<'_>) -> String {
    format!("{event:?}")
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_project_stops_in_order_with_its_policies_and_starts_in_order_when_each_is_healthy() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let healthy = [
        "--health-cmd",
        "test -e /tmp-ready || { sleep 1; touch /tmp-ready; }",
        "--health-timeout",
        "1s",
        "--health-interval",
        "300ms",
    ];
    let db = sandbox.service("db", "", &[&healthy[..], &["--restart", "always"]].concat());
    let api = sandbox.service("api", "db:service_healthy:false", &["--restart", "on-failure:7"]);
    let web = sandbox.service("web", "api:service_started:false", &["--restart", "unless-stopped"]);
    let init = sandbox.service("init", "", &["--stop-signal", "TERM"]);
    docker(&["stop", &init]);
    let names = vec![db.clone(), api.clone(), web.clone(), init.clone()];
    let events = RefCell::new(Vec::new());
    let observer = |event: &Event<'_>| events.borrow_mut().push(word(event));
    with_engine(async |engine| {
        let held = hold_names(&engine, state.path(), &names, Manner::Stop, &observer).await.unwrap();
        assert_eq!(held.names(), [&web, &api, &db]);
        assert_eq!(status(&names), ["exited"; 4]);
        if !is_podman() {
            for name in [&db, &api, &web] {
                assert_eq!(inspect(name, POLICY), "no:0");
            }
        }
        let resumed = held.release(&observer).await.unwrap();
        assert!(resumed.iter().all(|resumed| resumed.outcome == Outcome::Started));
    });
    assert_eq!(status(&names), ["running", "running", "running", "exited"]);
    assert_eq!(inspect(&db, POLICY), "always:0");
    assert_eq!(inspect(&api, POLICY), "on-failure:7");
    assert_eq!(inspect(&web, POLICY), "unless-stopped:0");
    let events = events.into_inner();
    let resting = |name: &str| events.iter().position(|event| *event == word(&Event::Held(name))).unwrap();
    let going = |name: &str| events.iter().position(|event| *event == word(&Event::Resumed(name))).unwrap();
    assert_eq!(events[0], word(&Event::Recorded));
    assert!(resting(&web) < resting(&api) && resting(&api) < resting(&db));
    assert!(going(&db) < going(&api) && going(&api) < going(&web));
    assert!(events.contains(&word(&Event::Waiting(&db))), "{events:?}");
    assert!(!events.iter().any(|event| event.contains("Killed") || event.contains("Failed")), "{events:?}");
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 1, "the directory's lock alone is left");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_container_has_its_own_time_to_stop() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let slow = "trap 'sleep 3; exit 0' TERM; while :; do sleep 1000000 & wait $!; done";
    let patient = sandbox.run_command("patient", &["--stop-timeout", "20"], &["sh", "-c", slow]);
    let deaf = sandbox.run_command("deaf", &["--stop-timeout", "1"], &["sleep", "1000000"]);
    let events = RefCell::new(Vec::new());
    let observer = |event: &Event<'_>| events.borrow_mut().push(word(event));
    let names = [patient.clone(), deaf.clone()];
    with_engine(async |engine| {
        let begin = Instant::now();
        let held = hold_names(&engine, state.path(), &names, Manner::Stop, &observer).await.unwrap();
        assert!(begin.elapsed() >= Duration::from_secs(3) && begin.elapsed() < Duration::from_secs(15));
        assert_eq!(inspect(&patient, "{{.State.ExitCode}}"), "0");
        assert!(events.borrow().contains(&word(&Event::Killed(&deaf))));
        assert!(!events.borrow().contains(&word(&Event::Killed(&patient))));
        held.release(&observer).await.unwrap();
    });
    assert_eq!(status(&names), ["running", "running"]);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn paused_containers_stay_paused_and_paused_ones_go_on() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let frozen = sandbox.run("frozen", &[]);
    let lively = sandbox.run("lively", &["--rm"]);
    docker(&["pause", &frozen]);
    let names = [frozen.clone(), lively.clone()];
    with_engine(async |engine| {
        let held = hold_names(&engine, state.path(), &names, Manner::Pause, &|_| {}).await.unwrap();
        assert_eq!(held.names(), [&lively]);
        assert_eq!(status(&names), ["paused", "paused"]);
        held.release(&|_| {}).await.unwrap();
        assert_eq!(status(&names), ["paused", "running"]);
        let held = hold_names(&engine, state.path(), &names[..1], Manner::Stop, &|_| {}).await.unwrap();
        assert!(held.names().is_empty());
        held.release(&|_| {}).await.unwrap();
    });
    assert_eq!(status(&names), ["paused", "running"]);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_shares_a_network_is_connected_again() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let owner = sandbox.run("owner", &["--hostname", "owner"]);
    let sharer = sandbox.run("sharer", &["--network", &format!("container:{owner}")]);
    let names = vec![owner.clone()];
    let namespace = |name: &str| docker(&["exec", name, "readlink", "/proc/1/ns/net"]);
    with_engine(async |engine| {
        let held = hold_names(&engine, state.path(), &names, Manner::Stop, &|_| {}).await.unwrap();
        assert_eq!(held.names(), [&sharer, &owner]);
        held.release(&|_| {}).await.unwrap();
    });
    assert_eq!(namespace(&owner), namespace(&sharer));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn one_that_does_not_start_keeps_none_of_the_others_back() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let bind = directory.path().join("needed");
    std::fs::create_dir(&bind).unwrap();
    let mount = format!("type=bind,source={},target=/needed", bind.display());
    let needy = sandbox.service("needy", "", &["--mount", &mount, "--restart", "always"]);
    let next = sandbox.service("next", "needy", &[]);
    let names = vec![needy.clone(), next.clone()];
    let failure = with_engine(async |engine| {
        let held = hold_names(&engine, state.path(), &names, Manner::Stop, &|_| {}).await.unwrap();
        std::fs::remove_dir(&bind).unwrap();
        held.release(&|_| {}).await.unwrap_err()
    });
    assert_eq!(failure.to_string(), format!("cannot start {needy} again"));
    assert!(failure.advice().unwrap().contains("docker snapshot recover"));
    assert_eq!(status(&names), ["exited", "running"]);
    // It is still in the lease, and is started when it can be.
    std::fs::create_dir(&bind).unwrap();
    let recovered = crate::recover::recovered(state.path());
    assert_eq!(recovered.resumed.len(), 1);
    assert_eq!(status(&names), ["running", "running"]);
    assert_eq!(inspect(&needy, POLICY), "always:0");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn one_that_ended_by_itself_is_not_started() {
    let sandbox = Sandbox::new();
    let state = tempfile::tempdir().unwrap();
    let job = sandbox.run("job", &[]);
    let app = sandbox.run("app", &[]);
    let names = vec![job.clone(), app.clone()];
    with_engine(async |engine| {
        let plan = crate::driver::plan(&engine, &names, Manner::Stop).await.unwrap();
        // After the plan, and before the stop.
        docker(&["kill", "--signal", "TERM", &job]);
        while inspect(&job, STATUS) != "exited" {
            sleep(Duration::from_millis(50));
        }
        let state = snapshotter_engine::lease::State::at(state.path());
        let held = snapshotter_engine::hold::hold(&engine, &state, plan, &|_| {}).await.unwrap();
        assert_eq!(held.names(), [&app]);
        held.release(&|_| {}).await.unwrap();
    });
    assert_eq!(status(&names), ["exited", "running"]);
}
