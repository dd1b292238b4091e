//! `docker snapshot volumes` with containers that the test has made.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::run::{failure, program, success};
use crate::sandbox::{Sandbox, docker, image, inspect};

/// What is listed, and belongs to the test.
fn storages(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Value> {
    let home = tempfile::tempdir().unwrap();
    let output = program(home.path()).args(["volumes", "--json"]).args(arguments).output().unwrap();
    let listing: Value = serde_json::from_str(&success(&output)).unwrap();
    let ours = |storage: &Value| storage.to_string().contains(&sandbox.prefix);
    listing["storages"].as_array().unwrap().iter().filter(|storage| ours(storage)).cloned().collect()
}

fn find<'a>(storages: &'a [Value], name: &str) -> &'a Value {
    storages
        .iter()
        .find(|storage| storage["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {storages:#?}"))
}

fn dangers(storage: &Value) -> Vec<&str> {
    storage["dangers"].as_array().unwrap().iter().map(|danger| danger["kind"].as_str().unwrap()).collect()
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn kinds_users_and_dangers_are_told() {
    let sandbox = Sandbox::new();
    let data = sandbox.volume("data", &["--label", "tier=gold"]);
    let dangling = sandbox.volume("dangling", &[]);
    let memory = sandbox.volume("memory", &["-o", "type=tmpfs", "-o", "device=tmpfs"]);
    let files = tempfile::tempdir().unwrap();
    let bind = files.path().to_str().unwrap();
    let app = sandbox.run(
        "app",
        &[
            "-v",
            &format!("{data}:/data"),
            "-v",
            "/anonymous",
            "-v",
            &format!("{bind}:/files:ro"),
            "--tmpfs",
            "/run",
        ],
    );
    let reader =
        sandbox.run("reader", &["-v", &format!("{data}:/in:ro"), "--mount", "type=tmpfs,target=/tmp/x"]);
    let db = sandbox.run("db", &["-v", &format!("{memory}:/var/lib/mysql"), "--expose", "3306"]);
    docker(&["pause", &reader]);
    let all = storages(&sandbox, &[]);

    let named = find(&all, &data);
    assert_eq!(named["kind"], "named");
    assert_eq!(named["driver"], "local");
    assert_eq!(named["labels"]["tier"], "gold");
    assert_eq!(dangers(named), ["writer"]);
    let users = named["users"].as_array().unwrap();
    assert_eq!(users[0]["container"], *app);
    assert_eq!(users[0]["state"], "running");
    assert_eq!(
        (&users[1]["container"], &users[1]["writable"]),
        (&Value::from(reader.clone()), &Value::from(false))
    );
    assert_eq!((&users[1]["state"], &users[1]["path"]), (&Value::from("paused"), &Value::from("/in")));

    let template = r#"{{range .Mounts}}{{if eq .Destination "/anonymous"}}{{.Name}}{{end}}{{end}}"#;
    let anonymous = find(&all, &inspect(&app, template)).clone();
    assert_eq!(anonymous["kind"], "anonymous");
    assert_eq!(dangers(&anonymous), ["anonymous", "writer"]);
    assert_eq!(dangers(find(&all, &dangling)), ["dangling"]);
    assert_eq!(dangers(find(&all, &memory)), ["memory", "writer", "database"]);
    assert_eq!(find(&all, &memory)["options"]["type"], "tmpfs");
    assert_eq!(find(&all, bind)["kind"], "bind");
    assert_eq!(find(&all, bind)["users"][0]["writable"], false);
    for path in ["/run", "/tmp/x"] {
        assert_eq!(find(&all, path)["kind"], "tmpfs");
    }

    // Stopped, neither writes, and the database is none that runs.
    docker(&["unpause", &reader]);
    docker(&["stop", &app, &reader, &db]);
    let all = storages(&sandbox, &[]);
    assert!(dangers(find(&all, &data)).is_empty());
    assert_eq!(find(&all, &data)["users"][0]["state"], "exited");
    assert_eq!(dangers(find(&all, &memory)), ["memory"]);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn volumes_are_measured_where_that_is_asked_for() {
    let sandbox = Sandbox::new();
    let data = sandbox.volume("data", &[]);
    let mount = format!("{data}:/data");
    sandbox.run_command(
        "app",
        &["-v", &mount],
        &["sh", "-c", "dd if=/dev/zero of=/data/f bs=1k count=300; sleep 99999"],
    );
    let written = || {
        docker(&["exec", &sandbox.name("app"), "sh", "-c", "stat -c %s /data/f 2>/dev/null || echo 0"])
            == "307200"
    };
    while !written() {}
    assert_eq!(find(&storages(&sandbox, &[]), &data)["bytes"], Value::Null);
    assert_eq!(find(&storages(&sandbox, &["--size"]), &data)["bytes"], 307_200);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn patterns_and_labels_choose() {
    let sandbox = Sandbox::new();
    let key = "com.docker.compose.volume=database";
    let gold = sandbox.volume("gold.db", &["--label", "tier=gold", "--label", key]);
    let plain = sandbox.volume("plain", &["--label", "tier"]);
    let anything = format!("{}-*", sandbox.prefix);
    let names = |arguments: &[&str]| -> Vec<String> {
        let all = storages(&sandbox, arguments);
        all.iter().map(|storage| storage["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&[&anything]), [gold.as_str(), &plain]);
    assert_eq!(names(&[&anything, "--exclude", "*plai?"]), [gold.as_str()]);
    assert_eq!(names(&["database", &plain]), [gold.as_str(), &plain]);
    assert_eq!(names(&[&anything, "--exclude", "data[a-c]ase"]), [plain.as_str()]);
    assert_eq!(names(&[&anything, "--label", "tier"]), [gold.as_str(), &plain]);
    assert_eq!(names(&[&anything, "--label", "tier=gold"]), [gold.as_str()]);
    assert_eq!(names(&[&anything, "--label", "tier", "--label", "other"]), Vec::<String>::new());
    let home = tempfile::tempdir().unwrap();
    let none = program(home.path()).args(["volumes", &anything, "no-such-*"]).output().unwrap();
    assert!(failure(&none).contains("cannot find no-such-*: no volume and no mount has such a name"));
    let misused = program(home.path()).args(["volumes", "a[b"]).output().unwrap();
    assert_eq!(misused.status.code(), Some(2));
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_compose_project_is_shown_by_service() {
    let sandbox = Sandbox::new();
    let files = tempfile::tempdir().unwrap();
    let outside = sandbox.volume("outside", &[]);
    let project = sandbox.name("shop");
    let yaml = format!(
        "version: '3.4'\nservices:\n  web: {{image: {image}, network_mode: none, volumes: ['data:/data:ro', 'out:/out']}}\n\
         \x20 db: {{image: {image}, network_mode: none, volumes: ['data:/var/lib/postgresql/data'], depends_on: [web]}}\n\
         volumes:\n  data: {{}}\n  out: {{external: {{name: {outside}}}}}\n",
        image = image(),
    );
    fs::write(files.path().join("docker-compose.yml"), yaml).unwrap();
    let compose = |arguments: &[&str]| {
        let mut command = Command::new("docker-compose");
        command.args(["--project-name", &project]).args(arguments).current_dir(files.path());
        let output = command.output().expect("docker-compose is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    compose(&["up", "-d"]);
    let all = storages(&sandbox, &["--project", &project]);
    assert_eq!(all.len(), 2);
    let data = find(&all, &format!("{project}_data"));
    assert_eq!((&data["project"], &data["key"]), (&Value::from(project.clone()), &Value::from("data")));
    assert_eq!(dangers(data), ["writer", "database"]);
    assert_eq!(data["users"][0]["compose"]["service"], "db");
    // It is the project's by those who use it.
    assert_eq!(find(&all, &outside)["key"], Value::Null);
    let home = tempfile::tempdir().unwrap();
    let shown = program(home.path()).args(["volumes", "--project", &project]).output().unwrap();
    let shown = success(&shown);
    assert!(shown.starts_with("PROJECT"), "{shown}");
    assert!(shown.contains("db, web read-only"), "{shown}");
    assert!(shown.contains("one writer, database (path /var/lib/postgresql)"), "{shown}");
    compose(&["down", "--volumes", "--timeout", "1"]);
    let none = program(home.path()).args(["volumes", "--project", &project]).output().unwrap();
    assert!(failure(&none).contains("no volume and no mount belongs to it"));
}
