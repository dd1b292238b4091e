//! What docker compose writes on what it makes. Version 1 and 2 agree on these labels; `depends_on` is
//! version 2's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const NUMBER: &str = "com.docker.compose.container-number";
const ONE_OFF: &str = "com.docker.compose.oneoff";
const VOLUME: &str = "com.docker.compose.volume";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";
const DIRECTORY: &str = "com.docker.compose.project.working_dir";
const FILES: &str = "com.docker.compose.project.config_files";

/// Where a container stands in a compose project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The project.
    pub project: String,
    /// The service.
    pub service: String,
    /// Which of the service's containers it is; compose counts from 1.
    pub number: Option<u32>,
    /// Made by `docker compose run`, which `docker compose stop` does not stop.
    pub one_off: bool,
}

impl Membership {
    /// What `labels` of a container say.
    pub fn of(labels: &BTreeMap<String, String>) -> Option<Self> {
        Some(Membership {
            project: labels.get(PROJECT)?.clone(),
            service: labels.get(SERVICE)?.clone(),
            number: labels.get(NUMBER).and_then(|number| number.parse().ok()),
            one_off: labels.get(ONE_OFF).is_some_and(|word| word.eq_ignore_ascii_case("true")),
        })
    }
}

/// The project of a volume, and the name that its file has for it.
pub(crate) fn of_volume(labels: &BTreeMap<String, String>) -> (Option<String>, Option<String>) {
    (labels.get(PROJECT).cloned(), labels.get(VOLUME).cloned())
}

/// The directory that compose was called for, on the machine where it was called, by `labels` of a container.
pub fn directory(labels: &BTreeMap<String, String>) -> Option<&str> {
    labels.get(DIRECTORY).map(String::as_str)
}

/// The compose files that a container was made from, by its `labels`. Names with a comma in them are torn
/// apart.
pub fn files(labels: &BTreeMap<String, String>) -> Vec<&str> {
    labels.get(FILES).into_iter().flat_map(|list| list.split(',')).filter(|file| !file.is_empty()).collect()
}

/// A service that another depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub service: String,
    /// It is to have ended well before the other one starts: it does its work once.
    pub completes: bool,
}

/// The services that a container with `labels` depends on: `service`, or `service:condition:restart`, with
/// commas between them.
pub fn dependencies(labels: &BTreeMap<String, String>) -> Vec<Dependency> {
    let list = labels.get(DEPENDS_ON).map(String::as_str).unwrap_or_default();
    let parse = |entry: &str| {
        let mut parts = entry.trim().split(':');
        let service = parts.next().filter(|service| !service.is_empty())?.to_owned();
        Some(Dependency { service, completes: parts.next() == Some("service_completed_successfully") })
    };
    list.split(',').filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn both_versions_of_compose_are_understood() {
        let member = |one_off| {
            Membership::of(&labels(&[(PROJECT, "p"), (SERVICE, "s"), (NUMBER, "2"), (ONE_OFF, one_off)]))
                .unwrap()
        };
        assert!(member("True").one_off && !member("False").one_off);
        assert_eq!(member("False").number, Some(2));
        assert_eq!(Membership::of(&labels(&[(PROJECT, "p")])), None);
    }

    #[test]
    fn dependencies_have_two_forms() {
        let of = |list| dependencies(&labels(&[(DEPENDS_ON, list)]));
        let on = |service: &str, completes| Dependency { service: service.to_owned(), completes };
        assert_eq!(of(""), []);
        assert_eq!(of("db"), [on("db", false)]);
        assert_eq!(
            of("db:service_healthy:true,init:service_completed_successfully:false"),
            [on("db", false), on("init", true)]
        );
        assert_eq!(dependencies(&BTreeMap::new()), []);
    }
}
