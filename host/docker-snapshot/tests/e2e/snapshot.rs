//! Taking snapshots and putting them back.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::place::{Place, fill, helpers, json_of, state, tree, used_volume, write};
use crate::sandbox::{Sandbox, docker, inspect};

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_project_is_taken_while_it_runs_destroyed_and_made_again() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let project = format!("com.docker.compose.project={}", sandbox.prefix);
    let label = |key: &str| format!("com.docker.compose.volume={key}");
    let data =
        sandbox.volume("data", &["--label", &project, "--label", &label("data"), "--label", "tier=gold"]);
    let cache = sandbox.volume("cache", &["--label", &project, "--label", &label("cache")]);
    fill(&data);
    write(&cache, "cached");
    let health = ["--health-cmd", "true", "--health-interval", "300ms"];
    let db = sandbox.service(
        "db",
        "",
        &[&health[..], &["-v", &format!("{data}:/data"), "--restart", "always"]].concat(),
    );
    let api = sandbox.service(
        "api",
        "db:service_healthy:false",
        &["-v", &format!("{data}:/d"), "-v", &format!("{cache}:/c")],
    );
    let web = sandbox.service("web", "api:service_started:false", &["-v", &format!("{cache}:/cache:ro")]);
    let started = |name: &str| inspect(name, "{{.State.StartedAt}}");
    let before = (tree(&data), tree(&cache), started(&web));

    let (file, snapshot) = place.create(&["--project", &sandbox.prefix, "--note", "before"]);
    assert_eq!([state(&db), state(&api), state(&web)], ["running always", "running no", "running no"]);
    assert_eq!(started(&web), before.2, "who only reads goes on");
    assert_eq!(snapshot["grade"], "stopped", "{snapshot}");
    assert_eq!(snapshot["volumes"].as_array().unwrap().len(), 2);
    assert!(snapshot["rested_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!((place.leases(), helpers(&sandbox).as_str()), (0, ""));
    assert_eq!(place.files().iter().filter(|name| name.starts_with('.')).count(), 0);

    docker(&["rm", "--force", &db, &api, &web]);
    docker(&["volume", "rm", &data, &cache]);
    let file = file.to_str().unwrap();
    assert!(place.refused(&["restore", file]).contains("--create makes it as it was"));
    let report = place.report(&["restore", file, "--create"]);
    assert_eq!(report["made"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!((tree(&data), tree(&cache)), (before.0, before.1));
    let label = docker(&["volume", "inspect", "--format", "{{index .Labels \"tier\"}} {{.Driver}}", &data]);
    assert_eq!(label, "gold local");
    assert_eq!(helpers(&sandbox), "");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_volume_that_holds_something_and_is_used_is_replaced_only_when_one_says_so() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let (data, app) = used_volume(&sandbox);
    let (file, _) = place.create(&[&data]);
    let file = file.to_str().unwrap();
    let before = tree(&data);
    write(&data, "later");
    let changed = tree(&data);

    assert!(place.refused(&["restore", file]).contains("is not empty: --force replaces"));
    let said = place.refused(&["restore", file, "--force"]);
    assert!(said.contains(&app) && said.contains("--stop-containers"), "{said}");
    let report = place.report(&["restore", file, "--force", "--stop-containers", "--dry-run"]);
    assert_eq!(report["volumes"][0]["replaced"], true, "{report}");
    docker(&["pause", &app]);
    assert!(place.refused(&["restore", file, "--force", "--stop-containers"]).contains("it is paused"));
    docker(&["unpause", &app]);
    assert_eq!(tree(&data), changed, "nothing was changed");

    place.report(&["restore", file, "--force", "--stop-containers"]);
    assert_eq!(tree(&data), before);
    assert_eq!(state(&app), "running always");

    // By its name, into another volume, and of that name alone.
    let other = sandbox.volume("other", &[]);
    place.report(&["restore", &data, "--volume", &format!("{data}={other}")]);
    assert_eq!(tree(&other), before);
    let into = place.path().join("out");
    let path = format!("/{data}/notes.txt");
    let output = place.run(&["restore", file, "--path", &path, "--into", into.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(into.join(&data).join("notes.txt")).unwrap(), "note\n");
    assert_eq!(fs::read_dir(into.join(&data)).unwrap().count(), 1);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_is_damaged_or_no_archive_is_refused_before_anything_is_touched() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let (file, _) = place.create(&[&data]);
    let before = tree(&data);
    let refused = |path: &Path| place.refused(&["restore", path.to_str().unwrap(), "--force"]);
    let bytes = fs::read(&file).unwrap();

    let mut wrong = bytes.clone();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    fs::write(&file, &wrong).unwrap();
    assert!(refused(&file).contains("it is damaged, or another file"));
    fs::write(&file, &bytes[..middle]).unwrap();
    assert!(refused(&file).contains("it is damaged, or another file"));
    fs::remove_file(file.with_file_name(json_of(&file))).unwrap();
    let said = refused(&file);
    assert!(said.contains("cut off") || said.contains("no JSON beside it"), "{said}");
    let renamed = file.with_file_name("data.zip");
    fs::write(&renamed, &bytes).unwrap();
    assert!(refused(&renamed).contains("its name ends in none of"));
    assert!(refused(&file.with_file_name("missing.tar")).contains("cannot find the snapshot"));
    assert_eq!(tree(&data), before);
    assert!(
        place.refused(&["create", &format!("{}-dat", sandbox.prefix)]).contains(&format!("is {data} meant?"))
    );
    let empty = place.run(&["create"]);
    assert_eq!(empty.status.code(), Some(2));
    assert_eq!(helpers(&sandbox), "");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn where_leases_or_archives_cannot_be_written_nothing_is_stopped() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    let app = sandbox.run("app", &["-v", &format!("{data}:/data")]);
    let started = || inspect(&app, "{{.State.StartedAt}}");
    let before = started();
    fs::write(place.path().join("file"), "").unwrap();
    let file = place.path().join("file");
    let output = place.command(&["create", &data]).env("DOCKER_SNAPSHOT_STATE_DIR", &file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("DOCKER_SNAPSHOT_STATE_DIR"));
    let said = place.refused(&["create", &data, "--output", file.to_str().unwrap()]);
    assert!(said.contains("it is no directory"), "{said}");
    let said = place.refused(&["create", &data, "--output", "ftp://host/x"]);
    assert!(said.contains("nothing here speaks that"), "{said}");
    assert_eq!(started(), before);
    assert_eq!(place.files(), [""; 0]);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn labels_and_flags_say_who_rests_and_the_grade_says_what_that_was_worth() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    let mount = format!("{data}:/data");
    let paused = sandbox.run("paused", &["-v", &mount, "--rm", "--label", "snapshotter.stop=pause"]);
    let (_, snapshot) = place.create(&[&data]);
    assert_eq!(snapshot["grade"], "paused", "{snapshot}");
    assert_eq!(state(&paused), "running no");
    let said = place.refused(&["create", &data, "--stop", "stop"]);
    assert!(said.contains("started with --rm"), "{said}");
    let (_, snapshot) = place.create(&[&data, "--stop", "never"]);
    assert_eq!(snapshot["grade"], "live-unchanged", "{snapshot}");
    let wrong = sandbox.run("wrong", &["-v", &mount, "--label", "snapshotter.stop=perhaps"]);
    assert!(place.refused(&["create", &data]).contains("make it stop, pause or never"));
    assert_eq!([state(&paused), state(&wrong)], ["running no", "running no"]);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_signal_ends_a_run_and_everything_runs_again() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    let slow = "trap 'sleep 2; exit 0' TERM; while :; do sleep 1000000 & wait $!; done";
    let app = sandbox.run_command("app", &["-v", &format!("{data}:/data")], &["sh", "-c", slow]);
    let child = place.command(&["create", &data]).stderr(Stdio::piped()).spawn().unwrap();
    while inspect(&app, "{{.State.Status}}") == "running" && place.leases() == 0 {
        sleep(Duration::from_millis(20));
    }
    docker(&["version"]);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("stopped by SIGTERM"));
    assert_eq!(state(&app), "running no");
    assert_eq!((place.leases(), helpers(&sandbox).as_str()), (0, ""));
    assert_eq!(place.files().iter().filter(|name| name.contains(".tar")).count(), 0);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_full_disk_ends_a_run_with_nothing_left_of_it() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    let mount = format!("{data}:/data");
    let script = "dd if=/dev/urandom of=/data/much bs=1024 count=4000 2>/dev/null";
    docker(&["run", "--rm", "--network", "none", "-v", &mount, &crate::sandbox::image(), "sh", "-c", script]);
    let app = sandbox.run("app", &["-v", &mount]);
    let small = place.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&small).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "a small filesystem cannot be mounted"
        );
    }
    let said = place.refused(&["create", &data, "--output", small.to_str().unwrap()]);
    let left: Vec<_> = fs::read_dir(small.join(&data)).into_iter().flatten().collect();
    assert!(Command::new("umount").arg(&small).status().unwrap().success());
    assert!(said.contains("No space left on device"), "{said}");
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(state(&app), "running no");
    assert_eq!(helpers(&sandbox), "");
}
