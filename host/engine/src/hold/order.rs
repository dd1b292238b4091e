//! In which order containers stop and start. A container's depth is the length of the longest chain of what
//! it depends on: what is deeper stops earlier and starts later, and what is of one depth does so together.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::container::Container;
use crate::compose::{self, Membership};

/// The depth of each of `containers`, by id. Containers that are in the way between two others count, whether
/// they run or not.
pub(crate) fn depths(containers: &[Container]) -> BTreeMap<&str, u32> {
    let mut sorted: Vec<_> = containers.iter().collect();
    // Where labels written by hand make a circle, the order is at least the same each time.
    sorted.sort_by_key(|container| container.name());
    let mut search = Search { containers: &sorted, depths: BTreeMap::new(), open: BTreeSet::new() };
    for container in &sorted {
        search.depth(container);
    }
    search.depths
}

/// The container that `mode` of a namespace leads to: `container:ID`.
pub(crate) fn shared_with(mode: &str) -> Option<&str> {
    mode.strip_prefix("container:")
}

/// The modes of a container's namespaces that can be another's.
pub(crate) fn namespaces(container: &Container) -> [&str; 3] {
    let host = &container.host_config;
    [&host.network_mode, &host.pid_mode, &host.ipc_mode]
}

/// Whether `reference`, as engines keep it, means `container`.
pub(crate) fn is_meant(container: &Container, reference: &str) -> bool {
    let name = reference.trim_start_matches('/');
    // Engines write the id as it is, or as the user has shortened it.
    container.name() == name || (name.len() >= 12 && container.id.starts_with(name))
}

struct Search<'s, 'a> {
    containers: &'s [&'a Container],
    depths: BTreeMap<&'a str, u32>,
    /// What the search is in the middle of: to come here again is a circle.
    open: BTreeSet<&'a str>,
}

impl<'a> Search<'_, 'a> {
    fn depth(&mut self, container: &'a Container) -> u32 {
        if let Some(&depth) = self.depths.get(container.id.as_str()) {
            return depth;
        }
        if !self.open.insert(&container.id) {
            return 0;
        }
        let below = self.dependencies(container);
        let depth = below.into_iter().map(|below| self.depth(below) + 1).max().unwrap_or(0);
        self.open.remove(container.id.as_str());
        self.depths.insert(&container.id, depth);
        depth
    }

    fn dependencies(&self, container: &Container) -> Vec<&'a Container> {
        let services: Vec<_> = compose::dependencies(&container.config.labels);
        let project = Membership::of(&container.config.labels).map(|member| member.project);
        let host = &container.host_config;
        // `/other:/this/alias`, `other:ro`
        let named = host.links.iter().chain(&host.volumes_from).filter_map(|text| text.split(':').next());
        let named: Vec<_> = named.chain(namespaces(container).into_iter().filter_map(shared_with)).collect();
        let depended = |other: &Container| {
            let member = Membership::of(&other.config.labels).filter(|member| !member.one_off);
            let service = member.filter(|member| Some(&member.project) == project.as_ref());
            service
                .is_some_and(|member| services.iter().any(|dependency| dependency.service == member.service))
                || named.iter().any(|name| is_meant(other, name))
        };
        let others = self.containers.iter().copied().filter(|other| other.id != container.id);
        others.filter(|other| depended(other)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str, depends_on: &str, host: &serde_json::Value) -> Container {
        serde_json::from_value(json!({
            "Id": format!("{name:x<64}"), "Name": format!("/p-{name}-1"), "State": {"Status": "running"},
            "Config": {"Labels": {"com.docker.compose.project": "p", "com.docker.compose.service": name,
                "com.docker.compose.depends_on": depends_on}},
            "HostConfig": host,
        }))
        .unwrap()
    }

    fn depth_of(containers: &[Container]) -> Vec<(String, u32)> {
        let depths = depths(containers);
        containers
            .iter()
            .map(|container| (container.name().to_owned(), depths[container.id.as_str()]))
            .collect()
    }

    fn expect(containers: &[Container], expected: &[(&str, u32)]) {
        let expected: Vec<_> = expected.iter().map(|&(name, depth)| (format!("p-{name}-1"), depth)).collect();
        assert_eq!(depth_of(containers), expected);
    }

    #[test]
    fn chains_and_diamonds_are_followed() {
        let none = json!({});
        let all = [
            service("web", "api:service_started:false,cache:service_started:false", &none),
            service("api", "db:service_healthy:true", &none),
            service("db", "", &none),
            service("cache", "", &none),
            service("solo", "", &none),
        ];
        expect(&all, &[("web", 2), ("api", 1), ("db", 0), ("cache", 0), ("solo", 0)]);
    }

    #[test]
    fn links_volumes_and_namespaces_are_dependencies_too() {
        let owner = format!("container:{:x<64}", "vpn");
        let all = [
            service("linked", "", &json!({"Links": ["/p-db-1:/p-linked-1/db"]})),
            service("volumes", "", &json!({"VolumesFrom": ["p-linked-1:ro"]})),
            service("net", "", &json!({"NetworkMode": owner})),
            service("pid", "", &json!({"PidMode": "container:p-net-1"})),
            service("vpn", "", &json!({"NetworkMode": "bridge"})),
            service("db", "", &json!({"NetworkMode": "host"})),
        ];
        expect(&all, &[("linked", 1), ("volumes", 2), ("net", 1), ("pid", 2), ("vpn", 0), ("db", 0)]);
    }

    #[test]
    fn a_circle_ends_and_is_the_same_each_time() {
        let none = json!({});
        let mut all = [
            service("a", "b", &none),
            service("b", "c", &none),
            service("c", "a", &none),
            service("d", "d", &none),
            service("e", "c,nobody", &none),
        ];
        let first = depths(&all).into_iter().map(|(id, depth)| (id.to_owned(), depth)).collect::<Vec<_>>();
        assert!(first.iter().all(|&(_, depth)| depth <= 4));
        all.reverse();
        assert_eq!(
            depths(&all).into_iter().map(|(id, depth)| (id.to_owned(), depth)).collect::<Vec<_>>(),
            first
        );
    }

    #[test]
    fn services_of_another_project_do_not_count() {
        let none = json!({});
        let mut other = service("db", "", &none);
        other.config.labels.insert("com.docker.compose.project".to_owned(), "q".to_owned());
        expect(&[service("web", "db", &none), other], &[("web", 0), ("db", 0)]);
    }
}
