//! How consistent each volume was while it was read: by what could write then, and by what was seen to
//! change.

use std::collections::BTreeMap;

use snapshotter::report::Warning;
use snapshotter_engine::api::container::{Container, Status};
use snapshotter_engine::discover::Storage;
use snapshotter_engine::lease::Manner;

use crate::job::description::Grade;

/// What a warning of a file that changed has in it: "it grew while it was read".
const CHANGED: &str = " was read";

/// What is known of the time in which volumes were read.
#[derive(Debug, Default)]
pub(crate) struct Meanwhile {
    /// The containers that rested, by id.
    pub(crate) rested: BTreeMap<String, Manner>,
    /// The ids of containers that somebody started meanwhile.
    pub(crate) started: Vec<String>,
    /// All containers, at its end.
    pub(crate) after: Vec<Container>,
}

/// The grade of `volume`, which lay at `path` when it was read, and why it is no better one.
pub(crate) fn of(
    volume: &Storage,
    path: &str,
    meanwhile: &Meanwhile,
    warnings: &[Warning],
) -> (Grade, Vec<String>) {
    let mut reasons = Vec::new();
    let mut grade = Grade::Stopped;
    let mut worse = |to: Grade, reason: String| {
        grade = grade.max(to);
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    };
    for user in volume.users.iter().filter(|user| user.writable) {
        let name = &user.container;
        match meanwhile.rested.get(&user.id) {
            Some(Manner::Pause) => worse(Grade::Paused, format!("{name} was paused")),
            None if user.state == Status::Paused => worse(Grade::Paused, format!("{name} was paused")),
            None if user.state.may_write() => worse(Grade::LiveUnchanged, format!("{name} was running")),
            Some(Manner::Stop) | None => {}
        }
    }
    for name in started(volume, meanwhile) {
        worse(Grade::LiveUnchanged, format!("{name} was started meanwhile"));
    }
    let changed =
        warnings.iter().filter(|warning| is_below(&warning.path, path) && is_change(warning)).count();
    match changed {
        0 => {}
        1 => worse(Grade::LiveChanged, "a file changed while it was read".to_owned()),
        _ => worse(Grade::LiveChanged, format!("{changed} files changed while they were read")),
    }
    (grade, reasons)
}

/// The names of the containers that can write to `volume` and were started while it was read.
fn started<'a>(volume: &'a Storage, meanwhile: &'a Meanwhile) -> impl Iterator<Item = &'a str> {
    let mounts = |container: &&Container| {
        let mounts = &container.mounts;
        mounts.iter().any(|mount| mount.kind == "volume" && mount.name == volume.name && mount.writable)
    };
    let started = |id: &String| meanwhile.started.contains(id);
    let now = meanwhile.after.iter().filter(move |container| started(&container.id));
    now.filter(mounts).map(Container::name)
}

fn is_change(warning: &Warning) -> bool {
    warning.reason.contains(CHANGED)
}

/// Whether `path` is `directory` or lies in it.
fn is_below(path: &[u8], directory: &str) -> bool {
    path.strip_prefix(directory.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use snapshotter_engine::discover::{StorageKind, StorageUser};

    use super::*;

    fn container(status: &str) -> Container {
        serde_json::from_value(json!({
            "Id": "1", "Name": "/app", "State": {"Status": status}, "Config": {}, "HostConfig": {},
            "Mounts": [{"Type": "volume", "Name": "data", "Destination": "/data", "RW": true}],
        }))
        .unwrap()
    }

    /// The grade of a volume that a container of this status has mounted.
    fn grade(status: Status, writable: bool, meanwhile: &Meanwhile, warnings: &[Warning]) -> Grade {
        let user = StorageUser {
            container: "app".to_owned(),
            id: "1".to_owned(),
            compose: None,
            state: status,
            path: "/data".to_owned(),
            writable,
        };
        let mut storage = Storage::new(StorageKind::Named, "data");
        storage.users.push(user);
        of(&storage, "/volumes/data", meanwhile, warnings).0
    }

    fn warning(path: &str, reason: &str) -> Warning {
        Warning { path: path.as_bytes().to_vec(), reason: reason.to_owned() }
    }

    #[test]
    fn who_could_write_makes_the_grade() {
        let rested = |manner| Meanwhile { rested: [("1".to_owned(), manner)].into(), ..Meanwhile::default() };
        let none = Meanwhile::default();
        assert_eq!(grade(Status::Running, true, &rested(Manner::Stop), &[]), Grade::Stopped);
        assert_eq!(grade(Status::Running, true, &rested(Manner::Pause), &[]), Grade::Paused);
        assert_eq!(grade(Status::Paused, true, &none, &[]), Grade::Paused);
        assert_eq!(grade(Status::Running, true, &none, &[]), Grade::LiveUnchanged);
        assert_eq!(grade(Status::Running, false, &none, &[]), Grade::Stopped);
        assert_eq!(grade(Status::Exited, true, &none, &[]), Grade::Stopped);
        let started = Meanwhile { started: vec!["1".to_owned()], after: vec![container("running")], ..none };
        assert_eq!(grade(Status::Exited, true, &started, &[]), Grade::LiveUnchanged);
    }

    #[test]
    fn what_changed_makes_it_worse_where_it_is_in_this_volume() {
        let none = Meanwhile::default();
        let of = |path, reason| grade(Status::Exited, true, &none, &[warning(path, reason)]);
        assert_eq!(of("/volumes/data/a", "it grew while it was read: what came"), Grade::LiveChanged);
        assert_eq!(
            of("/volumes/data/a", "it vanished before it was read: it is left out"),
            Grade::LiveChanged
        );
        assert_eq!(of("/volumes/data2/a", "it grew while it was read"), Grade::Stopped);
        assert_eq!(of("/volumes/data/a", "it is a socket"), Grade::Stopped);
    }
}
