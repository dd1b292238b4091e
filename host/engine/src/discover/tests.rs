//! What is concluded from what an engine says, without an engine.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

/// A container with mounts `(kind, name or source, destination, writable)`.
fn container(name: &str, state: &str, image: &str, mounts: &[(&str, &str, &str, bool)]) -> Value {
    let mounts: Vec<_> = mounts
        .iter()
        .map(|&(kind, name, destination, writable)| {
            let (name, source) = if kind == "volume" { (name, "/var/lib/docker/x") } else { ("", name) };
            json!({"Type": kind, "Name": name, "Source": source, "Destination": destination, "RW": writable})
        })
        .collect();
    json!({"Id": format!("id-{name}"), "Name": format!("/{name}"), "State": {"Status": state},
           "Config": {"Image": image, "Labels": {}}, "HostConfig": {}, "Mounts": mounts})
}

fn in_project(mut container: Value, project: &str, service: &str) -> Value {
    container["Config"]["Labels"] =
        json!({"com.docker.compose.project": project, "com.docker.compose.service": service});
    container
}

fn all(volumes: Value, containers: Vec<Value>) -> Vec<Storage> {
    let volumes: Vec<Volume> = serde_json::from_value(volumes).unwrap();
    let containers: Vec<Container> =
        containers.into_iter().map(|container| serde_json::from_value(container).unwrap()).collect();
    inventory(&volumes, &containers, &BTreeMap::from([("sized".to_owned(), 7)]))
}

fn dangers(storage: &Storage) -> Vec<DangerKind> {
    storage.dangers.iter().map(|danger| danger.kind).collect()
}

#[test]
fn kinds_are_told_apart() {
    let anonymous = "0123456789abcdef".repeat(4);
    let containers = vec![container(
        "app",
        "exited",
        "app",
        &[
            ("volume", "data", "/data", true),
            ("volume", &anonymous, "/cache", true),
            ("bind", "/srv/files", "/files", false),
            ("tmpfs", "", "/tmp", true),
            ("npipe", "x", "/pipe", true),
        ],
    )];
    let volumes = json!([{"Name": "data", "Driver": "local"}, {"Name": anonymous, "Driver": "local"},
        {"Name": "old", "Driver": "local", "Labels": {"com.docker.volume.anonymous": ""}}]);
    let all = all(volumes, containers);
    let found: Vec<_> = all.iter().map(|storage| (storage.kind.word(), storage.name.as_str())).collect();
    assert_eq!(
        found,
        [
            ("named", "data"),
            ("anonymous", &*anonymous),
            ("anonymous", "old"),
            ("bind", "/srv/files"),
            ("tmpfs", "/tmp")
        ]
    );
    assert_eq!(dangers(&all[0]), []);
    assert_eq!(dangers(&all[1]), [DangerKind::Anonymous]);
    assert_eq!(dangers(&all[2]), [DangerKind::Anonymous, DangerKind::Dangling]);
    assert!(!all[3].users[0].writable);
}

#[test]
fn who_may_write_is_counted_by_container() {
    let containers = vec![
        container("a", "running", "app", &[("volume", "v", "/a", true), ("volume", "v", "/b", true)]),
        container("b", "running", "app", &[("volume", "v", "/a", false)]),
        container("c", "paused", "app", &[("volume", "v", "/a", true), ("volume", "w", "/w", true)]),
        container("d", "restarting", "app", &[("volume", "w", "/w", true)]),
        container("e", "running", "app", &[("volume", "w", "/w", true)]),
    ];
    let all = all(json!([{"Name": "v", "Driver": "local"}, {"Name": "w", "Driver": "local"}]), containers);
    assert_eq!(dangers(&all[0]), [DangerKind::Writer]);
    assert!(all[0].dangers[0].reason.ends_with("by a"));
    assert_eq!(dangers(&all[1]), [DangerKind::Writers]);
    assert!(all[1].dangers[0].reason.ends_with("by d, e"));
    assert_eq!(all[0].users.len(), 4);
}

#[test]
fn a_database_is_known_by_path_image_or_port_while_it_runs() {
    let sign = |state: &str, image: &str, port: Option<&str>, path: &str| {
        let mut container =
            container("db", state, image, &[("volume", "v", path, true), ("volume", "w", "/x", true)]);
        if let Some(port) = port {
            container["Config"]["ExposedPorts"] = json!({port: {}});
        }
        let all = all(json!([]), vec![container]);
        let reason = |storage: &Storage| {
            let danger = storage.dangers.iter().find(|danger| danger.kind == DangerKind::Database);
            danger.map(|danger| danger.reason.rsplit_once("by its ").unwrap().1.to_owned())
        };
        (reason(&all[0]), reason(&all[1]))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(sign("running", "app", None, "/var/lib/mysql"), (some("path /var/lib/mysql"), None));
    assert_eq!(sign("running", "mysql", None, "/var/lib/mysql/x"), (some("path /var/lib/mysql"), None));
    let both = |text| (some(text), some(text));
    assert_eq!(sign("running", "r:5000/a/postgres:15", None, "/p"), both("image r:5000/a/postgres:15"));
    assert_eq!(sign("running", "app", Some("5432/tcp"), "/var/lib/mysqlx"), both("port 5432/tcp"));
    assert_eq!(sign("running", "postgres-exporter", None, "/p"), (None, None));
    assert_eq!(sign("exited", "postgres", None, "/p"), (None, None));
    assert_eq!(sign("paused", "postgres", None, "/p"), (None, None));
}

#[test]
fn projects_come_from_labels_and_from_those_who_use_a_place() {
    let containers = vec![
        in_project(container("p-web-1", "running", "app", &[("volume", "p_data", "/d", true)]), "p", "web"),
        in_project(container("p-db-1", "running", "app", &[("bind", "/srv/p", "/d", true)]), "p", "db"),
        in_project(container("q-db-1", "running", "app", &[("volume", "shared", "/d", true)]), "q", "db"),
        container("alone", "running", "app", &[("volume", "shared", "/d", true)]),
    ];
    let volumes = json!([{"Name": "shared"}, {"Name": "sized"},
        {"Name": "p_data", "Labels": {"com.docker.compose.project": "p", "com.docker.compose.volume": "data"}}]);
    let all = all(volumes, containers);
    let found: Vec<_> = all
        .iter()
        .map(|storage| (storage.name.as_str(), storage.project.as_deref(), storage.key.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("p_data", Some("p"), Some("data")),
            ("/srv/p", Some("p"), None),
            ("shared", None, None),
            ("sized", None, None)
        ]
    );
    assert_eq!(all[3].bytes, Some(7));
    assert_eq!(all[2].bytes, None);
    assert_eq!(all[0].users[0].compose.as_ref().unwrap().service, "web");
}

#[test]
fn memory_is_a_place_of_its_own_for_each_container() {
    let mut first = container("a", "running", "app", &[]);
    first["HostConfig"]["Tmpfs"] = json!({"/run": ""});
    let second = container("b", "running", "app", &[("tmpfs", "", "/run", true)]);
    let volumes = json!([{"Name": "m", "Driver": "local", "Options": {"type": "tmpfs", "device": "tmpfs"}}]);
    let all = all(volumes, vec![first, second]);
    assert_eq!(all.iter().filter(|storage| storage.kind == StorageKind::Tmpfs).count(), 2);
    assert_eq!(dangers(&all[0]), [DangerKind::Dangling, DangerKind::Memory]);
    assert!(all[1].dangers.is_empty() && all[2].dangers.is_empty());
}
