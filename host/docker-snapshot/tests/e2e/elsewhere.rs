//! What is lost in one engine is made again in another, where root is another user: scripts/host-e2e.sh starts
//! that one.

use std::env;
use std::process::Command;

use crate::place::{Place, fill, state, tree, write};
use crate::sandbox::{Sandbox, docker, image};

/// The other engine, and what a test has made in it.
struct Other {
    address: String,
    prefix: String,
}

impl Other {
    fn new(sandbox: &Sandbox) -> Self {
        let own =
            env::var("SNAPSHOTTER_HOST_E2E_OWN_ENGINE").expect("these tests are started by `make host-e2e`");
        Other { address: format!("unix://{own}/docker.sock"), prefix: sandbox.prefix.clone() }
    }

    fn docker(&self, arguments: &[&str]) -> String {
        docker(&[&["--host", &self.address], arguments].concat())
    }

    /// What a file in a volume holds.
    fn cat(&self, volume: &str, file: &str) -> String {
        let mount = format!("{volume}:/data");
        self.docker(&[
            "run",
            "--rm",
            "--network",
            "none",
            "-v",
            &mount,
            &image(),
            "cat",
            &format!("/data/{file}"),
        ])
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let filter = format!("name={}-", self.prefix);
        for (list, remove) in [
            (["ps", "--all", "--quiet"], &["rm", "--force"][..]),
            (["volume", "ls", "--quiet"], &["volume", "rm"]),
        ] {
            let docker = |arguments: &[&str]| {
                Command::new("docker").args(["--host", &self.address]).args(arguments).output()
            };
            let found = docker(&[&list[..], &["--filter", &filter]].concat()).map(|output| output.stdout);
            let found = String::from_utf8(found.unwrap_or_default()).unwrap_or_default();
            let found: Vec<_> = found.split_whitespace().collect();
            if !found.is_empty() {
                let _ = docker(&[remove, &found].concat());
            }
        }
    }
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_project_that_is_lost_is_made_again_in_another_engine_and_comes_back() {
    let (sandbox, place) = (Sandbox::new(), Place::new());
    let other = Other::new(&sandbox);
    let project = format!("com.docker.compose.project={}", sandbox.prefix);
    let volume = |key: &str| {
        let label = format!("com.docker.compose.volume={key}");
        sandbox.volume(key, &["--label", &project, "--label", &label, "--label", "tier=gold"])
    };
    let (data, cache) = (volume("data"), volume("cache"));
    fill(&data);
    write(&cache, "cached");
    let directory = tempfile::tempdir().unwrap();
    let compose = directory.path().join("compose.yaml");
    std::fs::write(&compose, "services: {db: {image: app}}\n").unwrap();
    let labels = [
        format!("com.docker.compose.project.working_dir={}", directory.path().display()),
        format!("com.docker.compose.project.config_files={}", compose.display()),
    ];
    let mount = [format!("{data}:/data"), format!("{cache}:/cache")];
    let options = ["--label", &labels[0], "--label", &labels[1], "-v", &mount[0], "-v", &mount[1]];
    let db = sandbox.service("db", "", &options);
    let before = (tree(&data), tree(&cache));
    let (file, snapshot) = place.create(&["--project", directory.path().to_str().unwrap()]);
    assert!(snapshot["compose"]["files"][0]["text"].is_null(), "it is printed: {snapshot}");
    let json = std::fs::read_to_string(file.with_file_name(crate::place::json_of(&file))).unwrap();
    assert!(json.contains("services: {db: {image: app}}"), "{json}");
    assert_eq!(state(&db), "running no");
    docker(&["rm", "--force", &db]);
    docker(&["volume", "rm", &data, &cache]);

    let file = file.to_str().unwrap();
    let report = place.report(&["--host", &other.address, "restore", file, "--create"]);
    // No root of a user namespace makes devices.
    assert!(report["warnings"].to_string().contains("/null"), "{report}");
    let about = other.docker(&["volume", "inspect", "--format", "{{json .Labels}}", &data]);
    assert!(about.contains("tier") && about.contains(&sandbox.prefix), "{about}");
    assert_eq!(
        (other.cat(&data, "notes.txt"), other.cat(&cache, "cached")),
        ("note".to_owned(), "cached".to_owned())
    );

    // Root is another user there, and yet the same comes back.
    let back = place.report(&["--host", &other.address, "create", "--all", "--output", "back"]);
    let back =
        back["snapshots"].as_array().unwrap().iter().find(|made| made["set"] == sandbox.prefix.as_str());
    let back = back.unwrap()["files"][0].as_str().unwrap().to_owned();
    place.report(&["restore", &back, "--create"]);
    let without_device =
        |tree: &str| tree.lines().filter(|line| !line.starts_with("./null ")).collect::<String>();
    assert_eq!(without_device(&tree(&data)), without_device(&before.0));
    assert_eq!(tree(&cache), before.1);
}
