//! Who is brought to rest, in which order, and who must not be.

use serde_json::{Value, json};

use super::*;
use crate::connect::endpoint::Endpoint;

/// A container with an id that begins with its name, and `host` as its configuration of the host.
fn container(name: &str, status: &str, host: &Value) -> Container {
    let mounts =
        json!([{"Type": "volume", "Name": format!("{name}-data"), "Destination": "/data", "RW": true}]);
    serde_json::from_value(json!({
        "Id": id(name), "Name": format!("/{name}"), "State": {"Status": status},
        "Config": {"Labels": {}}, "HostConfig": host, "Mounts": mounts,
    }))
    .unwrap()
}

fn service(name: &str, depends_on: &str) -> Container {
    let mut container = container(name, "running", &json!({}));
    for (label, value) in [("project", "p"), ("service", name), ("depends_on", depends_on)] {
        container.config.labels.insert(format!("com.docker.compose.{label}"), value.to_owned());
    }
    container
}

fn id(name: &str) -> String {
    format!("{name:0<64}")
}

fn plan(containers: &[Container], wanted: &[&str], manner: Manner) -> Result<Vec<Vec<String>>> {
    let way = Way::of_this_process(&Endpoint::parse("tcp://proxy", None).unwrap());
    let wanted = wanted.iter().map(|name| (id(name), manner)).collect();
    let plan = Plan::new(containers, &BTreeSet::from(["memory-data".to_owned()]), &wanted, &way)?;
    let names = |wave: &Vec<Planned>| wave.iter().map(|planned| planned.entry.name.clone()).collect();
    Ok(plan.waves.iter().map(names).collect())
}

fn obstacle(containers: &[Container], wanted: &str) -> Option<Obstacle> {
    match plan(containers, &[wanted], Manner::Stop) {
        Err(Error::Obstacle { obstacle, .. }) => Some(obstacle),
        other => other.map(|_| None).unwrap(),
    }
}

#[test]
fn the_helper_of_another_run_is_neither_stopped_nor_paused() {
    let mut helper = service("helper", "");
    helper.config.labels.insert(helper::LABEL.to_owned(), "x/helper-1".to_owned());
    for manner in [Manner::Stop, Manner::Pause] {
        let refused = plan(std::slice::from_ref(&helper), &["helper"], manner);
        assert!(matches!(refused, Err(Error::Obstacle { obstacle: Obstacle::Helper, .. })), "{refused:?}");
    }
}

#[test]
fn what_depends_on_others_rests_first_and_only_what_is_wanted_does() {
    let all = [
        service("db", ""),
        service("api", "db"),
        service("web", "api"),
        service("cache", ""),
        service("x", ""),
    ];
    // `api` goes on, and still stands between the other two.
    let waves = plan(&all, &["db", "web", "cache"], Manner::Stop).unwrap();
    assert_eq!(waves, [vec!["web"], vec!["db", "cache"]]);
    assert!(plan(&all, &[], Manner::Stop).unwrap().is_empty());
}

#[test]
fn what_cannot_write_stays_as_it_is() {
    let all = [
        container("runs", "running", &json!({})),
        container("loops", "restarting", &json!({})),
        container("frozen", "paused", &json!({})),
        container("ended", "exited", &json!({})),
        container("fresh", "created", &json!({})),
    ];
    for manner in [Manner::Stop, Manner::Pause] {
        let waves = plan(&all, &["runs", "loops", "frozen", "ended", "fresh"], manner).unwrap();
        assert_eq!(waves, [["runs", "loops"]]);
    }
}

#[test]
fn what_shares_the_namespaces_of_a_stopped_container_stops_with_it() {
    let shared = |name: &str, status: &str, with: &str| {
        container(name, status, &json!({"NetworkMode": format!("container:{}", id(with))}))
    };
    let mut all = vec![
        container("vpn", "running", &json!({"NetworkMode": "bridge"})),
        shared("torrent", "running", "vpn"),
        shared("old", "exited", "vpn"),
        container("debug", "running", &json!({"PidMode": "container:torrent"})),
    ];
    assert_eq!(plan(&all, &["vpn"], Manner::Stop).unwrap(), [["debug"], ["torrent"], ["vpn"]]);
    assert_eq!(plan(&all, &["torrent"], Manner::Stop).unwrap(), [["debug"], ["torrent"]]);
    assert_eq!(plan(&all, &["vpn"], Manner::Pause).unwrap(), [["vpn"]]);
    all.push(shared("frozen", "paused", "vpn"));
    assert_eq!(obstacle(&all, "vpn"), Some(Obstacle::PausedSharer("frozen".to_owned())));
    assert_eq!(obstacle(&all, "torrent"), None);
}

#[test]
fn what_would_not_come_back_as_it_was_is_not_stopped_and_may_be_paused() {
    let removed = container("removed", "running", &json!({"AutoRemove": true}));
    let mut task = container("task", "running", &json!({}));
    task.config.labels.insert("com.docker.swarm.service.name".to_owned(), "s".to_owned());
    let mut run = service("run", "");
    run.config.labels.insert("com.docker.compose.oneoff".to_owned(), "True".to_owned());
    let migration = service("migration", "");
    let web = service("web", "migration:service_completed_successfully:false");
    let memory = container("memory", "running", &json!({}));
    let all = [removed, task, run, migration, web, memory];
    for (name, expected) in [
        ("removed", Some(Obstacle::AutoRemove)),
        ("task", Some(Obstacle::Swarm("s".to_owned()))),
        ("run", Some(Obstacle::OneOff)),
        ("migration", Some(Obstacle::OneShot)),
        ("memory", Some(Obstacle::Memory("memory-data".to_owned()))),
        ("web", None),
    ] {
        assert_eq!(obstacle(&all, name), expected, "{name}");
        assert!(plan(&all, &[name], Manner::Pause).is_ok(), "{name}");
    }
}

#[test]
fn our_own_way_to_the_engine_is_neither_stopped_nor_paused() {
    let all = [container("proxy", "running", &json!({}))];
    assert_eq!(obstacle(&all, "proxy"), Some(Obstacle::OurWay));
    assert!(plan(&all, &["proxy"], Manner::Pause).is_err());
}

#[test]
fn each_rests_in_its_manner_and_a_stop_takes_its_sharers_along() {
    let way = Way::of_this_process(&Endpoint::parse("tcp://proxy", None).unwrap());
    let sharer = container("sharer", "running", &json!({"NetworkMode": "container:owner"}));
    let all = [container("owner", "running", &json!({})), sharer, container("frozen", "running", &json!({}))];
    let wanted = [("owner", Manner::Stop), ("sharer", Manner::Pause), ("frozen", Manner::Pause)];
    let wanted = wanted.into_iter().map(|(name, manner)| (id(name), manner)).collect();
    let plan = Plan::new(&all, &BTreeSet::new(), &wanted, &way).unwrap();
    let entries: Vec<_> = plan.entries().into_iter().map(|entry| (entry.name, entry.manner)).collect();
    assert_eq!(entries[0], ("sharer".to_owned(), Manner::Stop));
    assert!(entries.contains(&("owner".to_owned(), Manner::Stop)));
    assert!(entries.contains(&("frozen".to_owned(), Manner::Pause)));
}
