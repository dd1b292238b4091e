//! Leases on disk, and what is made of each state that a kill can leave them in.

use std::fs;
use std::path::Path;

use super::*;
use crate::api::container::RestartPolicy;
use crate::lease::record::{EngineName, Entry, Manner};

fn entry(id: &str) -> Entry {
    Entry {
        id: id.to_owned(),
        name: format!("name-{id}"),
        compose: None,
        manner: Manner::Stop,
        restart: RestartPolicy::default(),
        depth: 0,
        patience: Some(10),
        asked: None,
    }
}

fn record(ids: &[&str]) -> Record {
    let engine = EngineName { address: "unix:///a".to_owned(), id: Some("E".to_owned()) };
    Record::new(engine, ids.iter().map(|id| entry(id)).collect())
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The ids of the one lease that is there, when its holder is dead.
fn taken(state: &State) -> Option<Vec<String>> {
    let names = state.leases().unwrap();
    assert!(names.len() <= 1, "{names:?}");
    match state.take(names.first()?).unwrap() {
        Taken::Ours(lease) => Some(lease.record().entries.iter().map(|entry| entry.id.clone()).collect()),
        Taken::Gone => None,
        Taken::Held { holder } => panic!("held by {holder}"),
    }
}

#[test]
fn a_lease_outlives_its_holder_and_says_what_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::at(directory.path().join("deep/er"));
    let mut lease = state.claim(record(&["a", "b", "c"])).unwrap();
    let name = state.leases().unwrap().remove(0);
    let Taken::Held { holder } = state.take(&name).unwrap() else { panic!("it is held") };
    assert_eq!(holder, format!("process {}", process::id()));
    lease.settle(&["b".to_owned()]).unwrap();
    drop(lease);
    assert_eq!(taken(&state).unwrap(), ["a", "c"]);
    let Taken::Ours(mut lease) = state.take(&name).unwrap() else { panic!("it is free") };
    assert_eq!(lease.record(), &record(&["a", "c"]));
    lease.settle(&["a".to_owned()]).unwrap();
    lease.settle(&["c".to_owned()]).unwrap();
    assert_eq!(files(&state.directory), ["state.lock"]);
    assert_eq!(state.leases().unwrap(), Vec::<String>::new());
}

#[test]
fn a_container_is_in_one_lease_at_most() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::at(directory.path());
    let lease = state.claim(record(&["a"])).unwrap();
    let refused = |ids: &[&str]| state.claim(record(ids)).unwrap_err();
    let Error::Leased { container, holder } = refused(&["b", "a"]) else { panic!("another error") };
    assert_eq!((container.as_str(), holder), ("name-a", Some(format!("process {}", process::id()))));
    let other = state.claim(record(&["b"])).unwrap();
    assert_eq!(state.leases().unwrap().len(), 2);
    drop((lease, other));
    assert!(matches!(refused(&["a"]), Error::Leased { holder: None, .. }));
}

type Case<'a> = (Option<&'a str>, Option<&'a str>, bool, Option<&'a [&'a str]>);

#[test]
fn every_state_that_a_kill_can_leave_is_understood() {
    let text = |ids: &[&str]| serde_json::to_string(&record(ids)).unwrap();
    let (first, second) = (text(&["a", "b"]), text(&["b"]));
    let half = &first[..first.len() / 2];
    // What is in the lease, in the lease that is being written, whether there is a lock, and who must run.
    let cases: [Case<'_>; 9] = [
        (None, None, true, None),
        (None, Some(""), true, None),
        (None, Some(half), true, None),
        (None, Some(&first), true, None),
        (Some(&first), None, true, Some(&["a", "b"])),
        (Some(&first), Some(half), true, Some(&["a", "b"])),
        (Some(&first), Some(&second), true, Some(&["a", "b"])),
        (Some(&second), None, true, Some(&["b"])),
        // Somebody removed what looked like a lock.
        (Some(&first), None, false, Some(&["a", "b"])),
    ];
    for (lease, new, lock, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        let write = |suffix: &str, text: Option<&str>| {
            text.map(|text| fs::write(directory.path().join(format!("lease-1{suffix}")), text).unwrap())
        };
        write(".json", lease);
        write(".json.new", new);
        write(".lock", lock.then_some("process 1\n"));
        let state = State::at(directory.path());
        let case = format!("{lease:?} {new:?} {lock}");
        assert_eq!(
            taken(&state),
            expected.map(|ids| ids.iter().map(|&id| id.to_owned()).collect()),
            "{case}"
        );
        let left: &[&str] = match expected {
            Some(_) => &["lease-1.json", "lease-1.lock", "state.lock"],
            None => &["state.lock"],
        };
        assert_eq!(files(directory.path()), left, "{case}");
    }
}

#[test]
fn a_lease_that_cannot_be_read_is_kept_and_lets_nothing_be_stopped() {
    for text in ["{", "[]", r#"{"version":2,"engine":{"address":"","id":null},"entries":[]}"#] {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(directory.path());
        fs::write(directory.path().join("lease-1.json"), text).unwrap();
        assert!(matches!(state.take("lease-1"), Err(Error::Lease { .. })), "{text}");
        assert!(matches!(state.claim(record(&["a"])), Err(Error::Lease { .. })), "{text}");
        assert_eq!(fs::read_to_string(directory.path().join("lease-1.json")).unwrap(), text);
    }
}

#[test]
fn without_a_place_there_is_no_lease() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    for place in ["file", "file/below"] {
        let state = State::at(directory.path().join(place));
        assert!(matches!(state.claim(record(&["a"])), Err(Error::State { .. })), "{place}");
    }
    assert_eq!(State::at(directory.path().join("missing")).leases().unwrap(), Vec::<String>::new());
}

#[test]
fn what_is_no_lease_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["lease-1.txt", "other.json", "lease-"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    assert_eq!(State::at(directory.path()).leases().unwrap(), Vec::<String>::new());
}

#[test]
fn an_engine_is_the_same_by_name_or_else_by_address() {
    let engine = |address: &str, id: Option<&str>| EngineName {
        address: address.to_owned(),
        id: id.map(str::to_owned),
    };
    assert!(engine("a", Some("1")).is_same(&engine("b", Some("1"))));
    assert!(!engine("a", Some("1")).is_same(&engine("a", Some("2"))));
    assert!(engine("a", None).is_same(&engine("a", Some("1"))));
    assert!(!engine("a", None).is_same(&engine("b", None)));
}
