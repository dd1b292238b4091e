//! A test's own corner of the engine: everything that it makes has the test's prefix and label, and is
//! removed when the test ends, also by a panic. scripts/host-e2e.sh removes what a killed test left.

#![allow(dead_code, reason = "two test programs use it, each another part")]

use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What one test makes.
pub(crate) struct Sandbox {
    /// What every name begins with.
    pub(crate) prefix: String,
    label: String,
}

impl Sandbox {
    /// A new one. Only scripts/host-e2e.sh starts these tests: it makes their image.
    pub(crate) fn new() -> Self {
        let run = env::var("SNAPSHOTTER_HOST_E2E").expect("these tests are started by `make host-e2e`");
        // Two programs share a run.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{run}-{}-{number}", std::process::id());
        Sandbox { prefix, label: format!("snapshotter.host-e2e={run}") }
    }

    /// The full name of what this test calls `name`.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// A volume, made with `options`.
    pub(crate) fn volume(&self, name: &str, options: &[&str]) -> String {
        let name = self.name(name);
        docker(&[&["volume", "create", "--label", &self.label], options, &[&name]].concat());
        name
    }

    /// A container that runs and ends at once when it is asked to; made with `options`.
    pub(crate) fn run(&self, name: &str, options: &[&str]) -> String {
        self.run_command(name, options, &[])
    }

    /// A container that runs `command`.
    pub(crate) fn run_command(&self, name: &str, options: &[&str], command: &[&str]) -> String {
        let name = self.name(name);
        let image = image();
        let fixed = ["run", "--detach", "--network", "none", "--label", &self.label, "--name", &name];
        // A later network takes the place of the first.
        let fixed = if options.iter().any(|option| option.starts_with("--network")) {
            [&fixed[..2], &fixed[4..]].concat()
        } else {
            fixed.to_vec()
        };
        docker(&[&fixed[..], options, &[&image], command].concat());
        name
    }

    /// A container of a compose project with this test's prefix, as compose labels it.
    pub(crate) fn service(&self, service: &str, depends_on: &str, options: &[&str]) -> String {
        let labels = [
            format!("com.docker.compose.project={}", self.prefix),
            format!("com.docker.compose.service={service}"),
            "com.docker.compose.container-number=1".to_owned(),
            "com.docker.compose.oneoff=False".to_owned(),
            format!("com.docker.compose.depends_on={depends_on}"),
        ];
        let labels: Vec<_> = labels.iter().flat_map(|label| ["--label", label]).collect();
        self.run(service, &[&labels[..], options].concat())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let filter = format!("name={}-", self.prefix);
        // Podman removes a container only after those that share its network, which the second time are gone.
        let containers = (&["ps", "--all", "--quiet"][..], &["rm", "--force", "--volumes"][..]);
        for (list, remove) in [
            containers,
            containers,
            (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
            (&["network", "ls", "--quiet"], &["network", "rm"]),
        ] {
            let listed = Command::new("docker").args(list).args(["--filter", &filter]).output();
            let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            let ids: Vec<_> = listed.iter().flat_map(|text| text.split_whitespace()).collect();
            if !ids.is_empty() {
                let _ = Command::new("docker").args(remove).args(ids).output();
            }
        }
    }
}

/// Where the engine of these tests listens.
pub(crate) fn address() -> String {
    let set = env::var("DOCKER_HOST").ok().filter(|address| !address.is_empty());
    set.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
}

/// Whether it is Podman: it keeps restart policies as they are, and has no name for itself.
pub(crate) fn is_podman() -> bool {
    docker(&["version", "--format", "{{json .Server.Components}}"]).contains("Podman")
}

/// The image of busybox.
pub(crate) fn image() -> String {
    env::var("SNAPSHOTTER_HOST_E2E_IMAGE").expect("these tests are started by `make host-e2e`")
}

/// Runs the docker CLI, and returns what it printed.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker starts");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// One value of a container.
pub(crate) fn inspect(container: &str, template: &str) -> String {
    docker(&["inspect", "--type", "container", "--format", template, container])
}
