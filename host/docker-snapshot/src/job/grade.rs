//! How consistent each volume was while it was read: by what could write then, and by what was seen to
//! change.

use std::collections::{BTreeMap, BTreeSet};

use snapshotter::report::Warning;
use snapshotter_engine::api::container::{Container, Status};
use snapshotter_engine::api::events::Happening;
use snapshotter_engine::discover::Storage;
use snapshotter_engine::lease::Manner;

use crate::job::description::Grade;

/// How the names of helpers begin.
const HELPER: &str = "snapshotter-helper-";

/// What is known of the time in which volumes were read.
#[derive(Debug, Default)]
pub(crate) struct Meanwhile {
    /// The containers that rested, by id.
    pub(crate) rested: BTreeMap<String, Manner>,
    /// What was started, and what was mounted where the engine says so.
    pub(crate) happened: Vec<Happening>,
    /// All containers, at its end.
    pub(crate) after: Vec<Container>,
    /// Whether the engine says which volumes a container mounts.
    pub(crate) tells_mounts: bool,
    /// Whether something may have happened that is not known.
    pub(crate) in_doubt: bool,
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
    for reason in meanwhile.reasons(&volume.name) {
        worse(Grade::LiveUnchanged, reason);
    }
    if meanwhile.in_doubt {
        worse(Grade::LiveUnchanged, "the engine did not say what was started meanwhile".to_owned());
    }
    let changed =
        warnings.iter().filter(|warning| is_below(&warning.path, path) && warning.is_of_change()).count();
    match changed {
        0 => {}
        1 => worse(Grade::LiveChanged, "a file changed while it was read".to_owned()),
        _ => worse(Grade::LiveChanged, format!("{changed} files changed while they were read")),
    }
    (grade, reasons)
}

impl Meanwhile {
    /// Why somebody else may have written to `volume`.
    fn reasons(&self, volume: &str) -> BTreeSet<String> {
        let known = |id: &str| self.after.iter().find(|container| container.id == id);
        let mounts = |container: &Container| {
            let mounts = &container.mounts;
            mounts.iter().any(|mount| mount.kind == "volume" && mount.name == volume && mount.writable)
        };
        let reason = |happening: &Happening| match happening {
            Happening::Started { id, name } => match known(id) {
                Some(container) => mounts(container).then(|| format!("{name} was started meanwhile")),
                // Helpers, our own among them, are started and gone as well.
                None if self.tells_mounts || name.starts_with(HELPER) => None,
                None => Some(format!("{name} was started meanwhile, and is gone")),
            },
            Happening::Mounted { volume: mounted, id } if mounted == volume => {
                let (name, started) =
                    (self.name_of(id), known(id).is_some_and(mounts) && self.was_started(id));
                (!started).then(|| format!("{name} had it mounted meanwhile"))
            }
            Happening::Mounted { .. } => None,
        };
        self.happened.iter().filter_map(reason).collect()
    }

    /// The name of the container with this id, or that where it is gone and was not heard of.
    fn name_of<'a>(&'a self, wanted: &'a str) -> &'a str {
        let started = self.happened.iter().find_map(|happening| match happening {
            Happening::Started { id, name } if id == wanted => Some(name.as_str()),
            _ => None,
        });
        let known = || self.after.iter().find(|container| container.id == wanted).map(Container::name);
        started.or_else(known).unwrap_or(wanted)
    }

    fn was_started(&self, wanted: &str) -> bool {
        let started =
            |happening: &Happening| matches!(happening, Happening::Started { id, .. } if id == wanted);
        self.happened.iter().any(started)
    }
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
        let in_doubt = Meanwhile { in_doubt: true, ..none };
        assert_eq!(grade(Status::Exited, true, &in_doubt, &[]), Grade::LiveUnchanged);
    }

    #[test]
    fn who_was_started_meanwhile_is_named_where_it_could_write_to_this_volume() {
        let started = |name: &str| Happening::Started { id: "1".to_owned(), name: name.to_owned() };
        let mounted = |volume: &str| Happening::Mounted { volume: volume.to_owned(), id: "1".to_owned() };
        let reasons = |happened: Vec<Happening>, after: Vec<Container>, tells_mounts| {
            let meanwhile = Meanwhile { happened, after, tells_mounts, ..Meanwhile::default() };
            meanwhile.reasons("data").into_iter().collect::<Vec<_>>().join(", ")
        };
        let there = || vec![container("running")];
        assert_eq!(
            reasons(vec![started("app"), mounted("data")], there(), true),
            "app was started meanwhile"
        );
        assert_eq!(reasons(vec![mounted("data")], there(), true), "app had it mounted meanwhile");
        assert_eq!(reasons(vec![mounted("other")], there(), true), "");
        // It was removed when it had ended.
        let gone = vec![started("app"), mounted("data"), mounted("data")];
        assert_eq!(reasons(gone, Vec::new(), true), "app had it mounted meanwhile");
        assert_eq!(reasons(vec![started("app"), mounted("other")], Vec::new(), true), "");
        assert_eq!(
            reasons(vec![started("app")], Vec::new(), false),
            "app was started meanwhile, and is gone"
        );
        assert_eq!(reasons(vec![started("snapshotter-helper-1")], Vec::new(), false), "");
    }

    #[test]
    fn what_changed_makes_it_worse_where_it_is_in_this_volume() {
        let none = Meanwhile::default();
        let of = |path, reason| grade(Status::Exited, true, &none, &[warning(path, reason)]);
        assert_eq!(
            of("/volumes/data/a", "it grew while it was read: what came behind its former size was left out"),
            Grade::LiveChanged
        );
        assert_eq!(
            of("/volumes/data/a", "it vanished before it was read: it is left out"),
            Grade::LiveChanged
        );
        assert_eq!(of("/volumes/data2/a", "it vanished before it was read: it is left out"), Grade::Stopped);
        assert_eq!(of("/volumes/data/a", "it is a socket"), Grade::Stopped);
    }
}
