//! What others do while volumes are read, at a moment that a test chooses: the grade says so, and nothing else
//! fails.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::place::{Place, fill, helpers, state};
use crate::proxy::{Proxy, Step, When};
use crate::sandbox::{Sandbox, docker, image, inspect, is_podman};

/// An order, when, and which of those with that name it is, from 0.
pub(crate) type Moment = (&'static str, When, usize);

/// The helper is there and reads next.
pub(crate) const BEFORE_READING: Moment = ("attach", When::After, 0);

/// Runs the program with `arguments`, and does `act` once at a moment.
pub(crate) fn at(
    place: &Place,
    arguments: &[&str],
    (order, when, nth): Moment,
    act: impl FnOnce() + Send + 'static,
) -> std::process::Output {
    let act = Mutex::new(Some(act));
    let done = Arc::new(Mutex::new(false));
    let acted = Arc::clone(&done);
    let proxy = Proxy::local(move |step: &Step| {
        if (step.order.as_str(), step.when, step.nth) == (order, when, nth)
            && let Some(act) = act.lock().unwrap().take()
        {
            act();
            *acted.lock().unwrap() = true;
        }
        true
    });
    let output = place.command(arguments).env("DOCKER_HOST", &proxy.address).output().unwrap();
    assert!(*done.lock().unwrap(), "{order} never came: {:?}", proxy.orders());
    output
}

/// The grade, and its reasons.
fn graded(place: &Place, volume: &str, moment: Moment, act: impl FnOnce() + Send + 'static) -> String {
    let output = at(place, &["--json", "create", volume], moment, act);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let volume = &report["snapshots"][0]["volumes"][0];
    format!("{} {}", volume["grade"], volume["reasons"])
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn whoever_starts_something_while_a_volume_is_read_makes_its_grade_worse() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let (data, other) = (sandbox.volume("data", &[]), sandbox.volume("other", &[]));
    fill(&data);
    let app = sandbox.run("app", &["-v", &format!("{data}:/data")]);
    let name = sandbox.name("passer-by");
    let run = |mount: String| {
        let name = name.clone();
        move || {
            let run = ["run", "--rm", "--network", "none", "--name", &name, "-v", &mount, &image()];
            docker(&[&run[..], &["sh", "-c", "touch /data/x"]].concat());
        }
    };
    // It is gone when the volumes have been read.
    let found = graded(&place, &data, BEFORE_READING, run(format!("{data}:/data")));
    assert!(found.starts_with("\"live-unchanged\"") && found.contains(&name), "{found}");
    if !is_podman() {
        let found = graded(&place, &data, BEFORE_READING, run(format!("{other}:/data")));
        assert_eq!(found, "\"stopped\" []");
    }
    let started = app.clone();
    let found = graded(&place, &data, BEFORE_READING, move || drop(docker(&["start", &started])));
    assert_eq!(found, format!("\"live-unchanged\" [\"{app} was started meanwhile\"]"));
    assert_eq!(state(&app), "running no");
    // All was read, and it is about to go on: the second start is its own.
    let found = graded(&place, &data, ("start", When::Before, 1), run(format!("{data}:/data")));
    assert_eq!(found, "\"stopped\" []");
    assert_eq!(helpers(&sandbox), "");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn two_runs_on_one_volume_do_not_disturb_each_other() {
    let (sandbox, place) = (Sandbox::new(), Arc::new(Place::new()));
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let app = sandbox.run("app", &["-v", &format!("{data}:/data"), "--restart", "always"]);
    let (second, volume, container) = (Arc::clone(&place), data.clone(), app.clone());
    let output = at(&place, &["create", &data], BEFORE_READING, move || {
        // Somebody starts it, so that the second run wants to stop it as well.
        docker(&["start", &container]);
        let said = second.refused(&["create", &volume]);
        assert!(said.contains("it is held by process"), "{said}");
        let report = second.report(&["recover"]);
        assert_eq!(report["resumed"], serde_json::json!([]), "{report}");
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(state(&app), "running always");
    assert_eq!((place.leases(), helpers(&sandbox).as_str()), (0, ""));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn containers_that_are_gone_do_not_stop_or_do_not_start_again_are_said() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let mount = format!("{data}:/data");
    let ignores = "trap '' TERM; while :; do sleep 1000000 & wait $!; done";
    let deaf = sandbox.run_command("deaf", &["-v", &mount, "--stop-timeout", "1"], &["sh", "-c", ignores]);
    let gone = sandbox.run("gone", &["-v", &mount]);
    let directory = tempfile::tempdir().unwrap();
    let bind = format!("type=bind,source={},target=/x", directory.path().display());
    let needy = sandbox.run("needy", &["-v", &mount, "--mount", &bind]);
    let removed = gone.clone();
    let output = at(&place, &["create", &data], BEFORE_READING, move || {
        docker(&["rm", &removed]);
        drop(directory);
    });
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("{deaf} did not end in the time that it has to stop, and was killed")),
        "{said}"
    );
    assert!(said.contains(&format!("cannot start {needy} again")), "{said}");
    assert!(said.contains("`docker snapshot recover` starts them"), "{said}");
    assert!(!said.contains(&format!("cannot start {gone}")), "{said}");
    assert_eq!(state(&deaf), "running no");
    assert_eq!(inspect(&needy, "{{.State.Running}}"), "false");
    // What was read is kept, and what does not run is not forgotten.
    let complete = said.lines().find_map(|line| line.split_once("complete: ")).unwrap().1;
    assert!(PathBuf::from(complete).exists(), "{complete}");
    assert!(place.leases() > 0);
    assert_eq!(helpers(&sandbox), "");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_connection_that_is_cut_off_is_no_success_and_all_runs_again() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let app = sandbox.run("app", &["-v", &format!("{data}:/data"), "--restart", "always"]);
    place.create(&[&data, "--output", "others"]);
    for (order, when) in [
        ("create", When::Before),
        ("create", When::After),
        ("stop", When::After),
        ("attach", When::After),
        ("start", When::Before),
    ] {
        let proxy = {
            let once = Mutex::new(false);
            Proxy::local(move |step: &Step| {
                let mut done = once.lock().unwrap();
                let cuts = !*done && (step.order.as_str(), step.when) == (order, when);
                *done |= cuts;
                !cuts
            })
        };
        let output = place.command(&["create", &data]).env("DOCKER_HOST", &proxy.address).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{order} {when:?}: {said}");
        assert_eq!(state(&app), "running always", "{order} {when:?}: {said}");
        assert_eq!(place.leases(), 0, "{order} {when:?}: {said}");
        assert!(place.run(&["recover"]).status.success());
        assert_eq!(helpers(&sandbox), "", "{order} {when:?}: {said}");
        assert!(!place.files().iter().any(|name| name.contains(".tar")), "{order} {when:?}");
    }
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_helper_that_cannot_start_or_is_killed_is_a_failure_and_all_runs_again() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let mount = format!("{data}:/data");
    let much = ["dd", "if=/dev/zero", "of=/data/much", "bs=1048576", "count=200"];
    docker(&[&["run", "--rm", "--network", "none", "-v", &mount, &image()][..], &much].concat());
    let app = sandbox.run("app", &["-v", &format!("{data}:/data"), "--restart", "always"]);
    // This image has no program of the core's name.
    let output = place.run(&["create", &data, "--helper-image", &image()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot start the container"), "{said}");
    let said = place.refused(&["create", &data, "--helper-image", "nobody/has:this"]);
    assert!(said.contains("the engine has no image nobody/has:this"), "{said}");

    let of_data = data.clone();
    let helper = move || {
        let all = ["ps", "--all", "--quiet", "--filter", "label=snapshotter.helper"];
        docker(&[&all[..], &["--filter", &format!("volume={of_data}")]].concat())
    };
    let proxy = Proxy::local(move |step: &Step| {
        match (step.order.as_str(), step.when) {
            // It takes its time, so that it can be met.
            ("attach", When::After) => drop(docker(&["update", "--cpus", "0.01", &helper()])),
            ("start", When::After) if step.nth == 0 => drop(docker(&["kill", &helper()])),
            _ => {}
        }
        true
    });
    let output = place.command(&["create", &data]).env("DOCKER_HOST", &proxy.address).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("137") && said.contains("it was killed: see by whom"), "{said}");

    assert_eq!(state(&app), "running always");
    assert_eq!((place.leases(), helpers(&sandbox).as_str()), (0, ""));
    assert!(!place.files().iter().any(|name| name.contains(".tar")), "{:?}", place.files());
}
