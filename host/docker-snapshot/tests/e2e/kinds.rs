//! Volumes of all kinds, and snapshots of all kinds of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::place::{Place, fill, helpers, json_of, state, tree, write};
use crate::proxy::{Proxy, When};
use crate::sandbox::{Sandbox, docker, inspect};

fn json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file.with_file_name(json_of(file))).unwrap()).unwrap()
}

fn exists(volume: &str) -> bool {
    docker(&["volume", "ls", "--quiet", "--filter", &format!("name={volume}")])
        .lines()
        .any(|line| line == volume)
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_volume_that_is_a_bind_is_made_again_where_one_agrees() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let directory = tempfile::tempdir().unwrap();
    let device = format!("device={}", directory.path().display());
    let options = ["-o", "type=none", "-o", "o=bind", "-o", &device, "--label", "tier=gold"];
    let data = sandbox.volume("data", &options);
    fill(&data);
    assert!(directory.path().join("notes.txt").exists());
    let before = tree(&data);
    let (file, snapshot) = place.create(&[&data]);
    assert_eq!(snapshot["volumes"][0]["driver_opts"]["o"], "bind", "{snapshot}");
    docker(&["volume", "rm", &data]);
    let other = tempfile::tempdir().unwrap();
    fs::rename(directory.path(), other.path().join("kept")).unwrap();
    fs::create_dir(directory.path()).unwrap();

    let file = file.to_str().unwrap();
    let said = place.refused(&["restore", file, "--create"]);
    assert!(
        said.contains("may lead to any place of the engine's machine") && said.contains("--yes"),
        "{said}"
    );
    assert!(!exists(&data));
    place.report(&["restore", file, "--create", "--yes"]);
    assert_eq!(tree(&data), before);
    assert!(directory.path().join("notes.txt").exists());
    let format = "{{index .Labels \"tier\"}} {{index .Options \"o\"}}";
    assert_eq!(docker(&["volume", "inspect", "--format", format, &data]), "gold bind");
    // One that is made otherwise is told from it.
    docker(&["volume", "rm", &data]);
    sandbox.volume("data", &[]);
    let output = place.run(&["restore", file, "--yes"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("has another driver, options or labels"), "{said}");
    assert_eq!(tree(&data), before);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_volume_in_memory_is_paused_and_never_stopped() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let memory = sandbox.volume("memory", &["-o", "type=tmpfs", "-o", "device=tmpfs"]);
    let said = place.refused(&["create", &memory]);
    assert!(said.contains("it is in memory, and empty while no container uses it"), "{said}");
    let app = sandbox.run_command(
        "app",
        &["-v", &format!("{memory}:/data")],
        &["sh", "-c", "echo kept >/data/file; trap 'exit 0' TERM; while :; do sleep 1000000 & wait $!; done"],
    );
    let said = place.refused(&["create", &memory]);
    assert!(said.contains(&app) && said.contains(&memory), "{said}");
    let (file, snapshot) = place.create(&[&memory, "--stop", "pause"]);
    assert_eq!(snapshot["grade"], "paused", "{snapshot}");
    let copy = sandbox.volume("copy", &[]);
    place.report(&["restore", file.to_str().unwrap(), &copy]);
    // Directories have sizes of their own there.
    let files =
        |volume: &str| tree(volume).lines().filter(|line| line.contains("./file")).collect::<String>();
    assert_eq!(files(&copy), files(&memory));
    assert_eq!(state(&app), "running no");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn every_legal_name_is_one_and_projects_with_one_key_are_told_apart() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let odd = sandbox.volume("Az09_.-.tar.zst", &[]);
    // As long as a name can be: fuse-overlayfs makes no longer directories for mounts.
    let long = sandbox.volume(&"x".repeat(251 - sandbox.prefix.len() - 1), &[]);
    for name in [&odd, &long] {
        fill(name);
        let before = tree(name);
        let (file, snapshot) = place.create(&[name]);
        assert_eq!(snapshot["volumes"][0]["name"], **name);
        write(name, "later");
        place.report(&["restore", file.to_str().unwrap(), "--force"]);
        assert_eq!(tree(name), before);
    }
    let listed = place.report(&["list"]);
    let names: Vec<_> = listed["snapshots"].as_array().unwrap().iter().map(|found| &found["name"]).collect();
    assert!(names.contains(&&Value::from(odd)) && names.contains(&&Value::from(long)), "{names:?}");

    let of_project = |project: &str| {
        let project = sandbox.name(project);
        let labels =
            [format!("com.docker.compose.project={project}"), "com.docker.compose.volume=data".to_owned()];
        let options: Vec<_> = labels.iter().flat_map(|label| ["--label", label]).collect();
        let volume = docker(&[&["volume", "create"], &options[..], &[&format!("{project}_data")]].concat());
        write(&volume, &project);
        (project, volume)
    };
    let (one, two) = (of_project("one"), of_project("two"));
    for (project, volume) in [&one, &two] {
        let (_, snapshot) = place.create(&["--project", project]);
        let volumes: Vec<_> =
            snapshot["volumes"].as_array().unwrap().iter().map(|found| &found["name"]).collect();
        assert_eq!(volumes, [&Value::from(volume.clone())]);
        assert_eq!(snapshot["volumes"][0]["key"], "data");
    }
    docker(&["volume", "rm", &one.1, &two.1]);
    place.report(&["restore", &two.0, "--create"]);
    assert!(exists(&two.1) && !exists(&one.1));
    assert!(tree(&two.1).contains(&two.0));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn several_outputs_forms_and_patterns_hold_what_was_asked_for() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let mount = format!("{data}:/data");
    // Two can write to it.
    let apps =
        [sandbox.run("one", &["-v", &mount]), sandbox.run("two", &["-v", &mount, "--restart", "always"])];
    let before = tree(&data);

    let arguments = [&data, "--output", "first", "--output", "second", "--compression", "gzip"];
    let (file, snapshot) = place.create(&arguments);
    let files = snapshot["files"].as_array().unwrap();
    assert_eq!((files.len(), snapshot["grade"].as_str()), (2, Some("stopped")));
    let copy = Path::new(files[1].as_str().unwrap());
    assert!(file.to_str().unwrap().ends_with(".tar.gz") && copy.starts_with(place.path().join("second")));
    assert_eq!(fs::read(&file).unwrap(), fs::read(copy).unwrap());
    assert_eq!(json(&file), json(copy));
    assert_eq!([state(&apps[0]), state(&apps[1])], ["running no", "running always"]);

    let arguments = [&data, "--exclude", "*.txt", "--exclude", "sub/deep/", "--stop", "pause"];
    let (some, snapshot) = place.create(&[&arguments[..], &["--compression", "none"]].concat());
    let last = |from: &[&str]| {
        let volumes = place.report(&[&["volumes", &data], from].concat());
        PathBuf::from(volumes["storages"][0]["last_snapshot"]["file"].as_str().unwrap_or_default())
    };
    assert!(some.ends_with(last(&[])) && last(&["--from", "first"]) != last(&[]));
    assert_eq!(snapshot["exclude"], serde_json::json!(["*.txt", "sub/deep/"]));
    assert_eq!(snapshot["grade"], "paused");
    let target = sandbox.volume("target", &[]);
    place.report(&["restore", some.to_str().unwrap(), &target]);
    let restored = tree(&target);
    assert!(restored.contains("./sub ") && restored.contains("./soft "), "{restored}");
    assert!(!restored.contains("notes.txt") && !restored.contains("zeros"), "{restored}");

    docker(&["rm", "--force", &apps[0], &apps[1]]);
    for file in [file.as_path(), copy] {
        place.report(&["restore", file.to_str().unwrap(), &target, "--force"]);
        assert_eq!(tree(&target), before);
    }
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn an_engine_elsewhere_gets_and_sends_streams() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let (data, target) = (sandbox.volume("data", &[]), sandbox.volume("target", &[]));
    fill(&data);
    let app = sandbox.run("app", &["-v", &format!("{data}:/data")]);
    let before = tree(&data);
    let proxy = Proxy::remote();
    for compression in ["zstd", "none"] {
        let remote = |arguments: &[&str]| {
            let arguments = [&["--host", proxy.address.as_str(), "--json"], arguments].concat();
            let output = place.run(&arguments);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        let report = remote(&["create", &data, "--compression", compression]);
        let snapshot = &report["snapshots"][0];
        // What came as a stream has large files whose checksums stand behind them.
        assert!(snapshot["grade"] == "stopped" && snapshot["unhashed"] == 0, "{snapshot}");
        remote(&["restore", snapshot["files"][0].as_str().unwrap(), &target, "--force"]);
        assert_eq!(tree(&target), before, "{compression}");
    }
    assert!(proxy.orders().contains(&"attach".to_owned()));
    assert_eq!((state(&app).as_str(), helpers(&sandbox).as_str()), ("running no", ""));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_plain_archive_on_the_engines_machine_is_read_by_the_helper_itself() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let (data, target) = (sandbox.volume("data", &[]), sandbox.volume("target", &[]));
    fill(&data);
    let (file, _) = place.create(&[&data, "--compression", "none"]);
    let mounts = Arc::new(Mutex::new(String::new()));
    let (seen, ours) = (Arc::clone(&mounts), target.clone());
    let proxy = Proxy::local(move |step| {
        if (step.order.as_str(), step.when) == ("attach", When::After) {
            let all = ["ps", "--all", "--quiet", "--filter", "label=snapshotter.helper"];
            let of_target = docker(&[&all[..], &["--filter", &format!("volume={ours}")]].concat());
            *seen.lock().unwrap() = inspect(&of_target, "{{json .HostConfig.Mounts}}");
        }
        true
    });
    let restore = ["restore", file.to_str().unwrap(), &target];
    let output = place.command(&restore).env("DOCKER_HOST", &proxy.address).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(tree(&target), tree(&data));
    let mounts = mounts.lock().unwrap().clone();
    if !crate::sandbox::is_podman() {
        assert!(mounts.contains("/source") && mounts.contains(".partial"), "{mounts}");
    }
    assert!(!place.files().iter().any(|name| name.starts_with('.')), "{:?}", place.files());
    assert_eq!(helpers(&sandbox), "");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_volume_that_was_made_for_a_restore_that_fails_goes_again() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let (file, _) = place.create(&[&data, "--compression", "none"]);
    let mut bytes = fs::read(&file).unwrap();
    let text = bytes.windows(5).position(|window| window == b"note\n").unwrap();
    bytes[text] ^= 1;
    fs::write(&file, bytes).unwrap();
    fs::remove_file(file.with_file_name(json_of(&file))).unwrap();
    docker(&["volume", "rm", &data]);
    let output = place.run(&["restore", file.to_str().unwrap(), "--create"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("damaged") && !said.contains("/source"), "{said}");
    assert!(said.contains(&format!("removed the volume {data} again")), "{said}");
    assert!(!exists(&data));
    assert_eq!(helpers(&sandbox), "");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_running_database_is_not_restored_under() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let (file, _) = place.create(&[&data]);
    let db = sandbox.run("db", &["-v", &format!("{data}:/var/lib/postgresql/data")]);
    let (before, started) = (tree(&data), inspect(&db, "{{.State.StartedAt}}"));
    let said = place.refused(&["restore", file.to_str().unwrap(), "--force"]);
    assert!(said.contains(&db) && said.contains("--stop-containers"), "{said}");
    assert_eq!((tree(&data), inspect(&db, "{{.State.StartedAt}}")), (before, started));
}
