//! What this program itself needs to go on: the container that it runs in, and the one that its words to the
//! engine go through. To stop either would leave everything stopped.

use std::fs;

use crate::api::container::Container;
use crate::compose::Membership;
use crate::connect::endpoint::Endpoint;
use crate::obstacle::Obstacle;

/// What must not be stopped.
#[derive(Debug, Clone)]
pub struct Way {
    /// The id of the container that this program runs in.
    own: Option<String>,
    endpoint: Endpoint,
}

impl Way {
    /// Of this process, to the engine at `endpoint`.
    pub fn of_this_process(endpoint: &Endpoint) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Way { own: own_container(&mounts), endpoint: endpoint.clone() }
    }

    /// Why `container` must go on, if it must.
    pub(crate) fn obstacle(&self, container: &Container) -> Option<Obstacle> {
        if self.own.as_ref() == Some(&container.id) {
            return Some(Obstacle::Ourselves);
        }
        self.leads_through(container).then_some(Obstacle::OurWay)
    }

    /// Whether the engine's address is that of `container`, a proxy of the engine's socket.
    fn leads_through(&self, container: &Container) -> bool {
        let Endpoint::Tcp { host, port, .. } = &self.endpoint else { return false };
        let service = Membership::of(&container.config.labels).map(|member| member.service);
        let names = [container.name(), &container.config.hostname, service.as_deref().unwrap_or_default()];
        let networks = container.network_settings.networks.values();
        let mut reached = networks.flat_map(|network| network.aliases.iter().chain([&network.address]));
        let published = || {
            let bindings = container.host_config.port_bindings.values().flatten().flatten();
            let port = port.to_string();
            bindings.into_iter().any(|binding| binding.host_port == port)
        };
        names.contains(&host.as_str()) || reached.any(|name| name == host) || (is_here(host) && published())
    }
}

fn is_here(host: &str) -> bool {
    matches!(host, "localhost" | "::1") || host.starts_with("127.")
}

/// Engines mount files of a container's own directory into it, and that directory has the container's id.
/// What is mounted elsewhere does not count: on the engine's machine itself, mounts of all its containers can
/// be seen.
fn own_container(mountinfo: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        if !matches!(point, "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf") {
            return None;
        }
        let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        root.split('/').rfind(is_id).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn our_own_container_is_known_inside_and_not_outside() {
        let inside = format!(
            "745 718 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw"
        );
        assert_eq!(own_container(&inside).as_deref(), Some(ID));
        let podman = format!(
            "9 8 0:25 /containers/overlay-containers/{ID}/userdata/hosts /etc/hosts rw - tmpfs tmpfs rw"
        );
        assert_eq!(own_container(&podman).as_deref(), Some(ID));
        let outside = format!(
            "500 29 0:60 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw\n1 1 8:1 / / rw"
        );
        assert_eq!(own_container(&outside), None);
    }

    #[test]
    fn a_proxy_of_the_engines_socket_is_known_by_its_address() {
        let container: Container = serde_json::from_value(json!({
            "Id": ID, "Name": "/p-proxy-1", "State": {"Status": "running"},
            "Config": {"Hostname": "0123456789ab", "Labels": {"com.docker.compose.project": "p",
                "com.docker.compose.service": "proxy"}},
            "HostConfig": {"PortBindings": {"2375/tcp": [{"HostIp": "127.0.0.1", "HostPort": "2375"}], "1/tcp": null}},
            "NetworkSettings": {"Networks": {"p": {"Aliases": ["sock"], "IPAddress": "172.18.0.2"}}},
        }))
        .unwrap();
        let through = |address: &str, own: Option<&str>| {
            let endpoint = Endpoint::parse(address, None).unwrap();
            Way { own: own.map(str::to_owned), endpoint }.obstacle(&container)
        };
        for address in
            ["tcp://p-proxy-1", "tcp://proxy", "tcp://sock", "tcp://172.18.0.2", "tcp://localhost:2375"]
        {
            assert_eq!(through(address, None), Some(Obstacle::OurWay), "{address}");
        }
        for address in ["tcp://other", "tcp://localhost:2376", "unix:///var/run/docker.sock", "ssh://proxy"] {
            assert_eq!(through(address, None), None, "{address}");
        }
        assert_eq!(through("unix:///x", Some(ID)), Some(Obstacle::Ourselves));
    }
}
