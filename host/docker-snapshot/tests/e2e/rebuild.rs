//! A project that is lost with all that it was made from comes back from its snapshots and a key.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::place::{Place, fill, key, tree, write};
use crate::sandbox::{Sandbox, docker, image};

/// A project that docker-compose makes, and removes.
struct Project {
    name: String,
    directory: std::path::PathBuf,
}

impl Project {
    /// Its service has one volume, which is filled.
    fn start(sandbox: &Sandbox, directory: &Path) -> Self {
        let text = format!(
            "version: '3.8'\nservices:\n  app:\n    image: {}\n    network_mode: none\n    volumes: ['data:/data']\n\
             volumes:\n  data:\n    labels: {{tier: gold}}\n",
            image()
        );
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("docker-compose.yml"), text).unwrap();
        let project = Project { name: sandbox.prefix.clone(), directory: directory.to_owned() };
        project.compose(&["up", "--detach"]);
        fill(&project.volume());
        project
    }

    fn compose(&self, arguments: &[&str]) {
        let mut compose = Command::new("docker-compose");
        compose.args(["--project-name", &self.name]).args(arguments).current_dir(&self.directory);
        let done = compose.output().expect("docker-compose is installed");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn volume(&self) -> String {
        format!("{}_data", self.name)
    }

    /// The names of its containers that run.
    fn running(&self) -> String {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        docker(&["ps", "--filter", &filter, "--format", "{{.Names}}"])
    }

    /// All of it is lost.
    fn lose(self) -> Self {
        self.compose(&["down", "--volumes"]);
        fs::remove_dir_all(&self.directory).unwrap();
        assert_eq!(self.running(), "");
        self
    }
}

/// Compose is looked for where programs are.
fn with_path() -> Place {
    Place::with(&[("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")])
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn an_encrypted_project_comes_back_with_volumes_compose_file_and_containers() {
    let (sandbox, place) = (Sandbox::new(), with_path());
    let (public, key) = key(&place);
    let project = Project::start(&sandbox, &place.path().join("shop"));
    let other = sandbox.volume("other", &[]);
    write(&other, "older");
    let (volume, before) = (project.volume(), tree(&project.volume()));
    let made = ["--project", &project.name, "--output", "backups", "--age-recipient", &public];
    let (file, _) = place.create(&made);
    place.create(&[&other, "--output", "backups", "--age-recipient", &public]);
    // What the compose file has is in nothing that is not encrypted.
    let json = fs::read_to_string(file.with_file_name(crate::place::json_of(&file))).unwrap();
    assert!(json.contains("docker-compose.yml") && !json.contains("network_mode"), "{json}");
    let project = project.lose();
    docker(&["volume", "rm", &other]);

    let rebuild = ["rebuild", "backups", "--into", "new"];
    let without = place.refused(&rebuild);
    assert!(without.contains("no identity is given: --age-identity FILE"), "{without}");
    let with_key = [&rebuild[..], &["--age-identity", &key]].concat();
    let would = place.report(&[&with_key[..], &["--dry-run"]].concat());
    assert_eq!(would["snapshots"][0]["made"][0], volume.as_str(), "{would}");
    assert_eq!((project.running(), place.path().join("new").exists()), (String::new(), false));

    let report = place.report(&with_key);
    assert_eq!(report["started"][0], project.name.as_str(), "{report}");
    assert_eq!(report["snapshots"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!((tree(&volume), project.running()), (before, format!("{}_app_1", project.name)));
    let labels = docker(&["volume", "inspect", "--format", "{{json .Labels}}", &volume]);
    assert!(labels.contains("\"tier\":\"gold\"") && labels.contains("com.docker.compose.volume"), "{labels}");
    let written = place.path().join("new").join(&project.name).join("docker-compose.yml");
    assert!(fs::read_to_string(&written).unwrap().contains("network_mode: none"));
    assert!(tree(&other).contains("./older"));

    // Once more: what is there is not replaced unasked.
    let again = place.refused(&[&with_key[..], &[&project.name]].concat());
    assert!(again.contains("containers use") || again.contains("not empty"), "{again}");
    assert_eq!(project.running(), format!("{}_app_1", project.name));
    let project = Project { directory: written.parent().unwrap().to_owned(), ..project };
    project.lose();
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn what_cannot_be_brought_back_whole_is_said_before_anything_is_made() {
    let (sandbox, place) = (Sandbox::new(), with_path());
    let project = Project::start(&sandbox, &place.path().join("shop"));
    let (file, _) = place.create(&["--project", &project.name]);
    let project = project.lose();
    let directory = place.path().join("new").join(&project.name);
    fs::create_dir_all(&directory).unwrap();
    let compose = directory.join("docker-compose.yml");
    fs::write(&compose, "mine").unwrap();
    let refused = place.refused(&["rebuild", "--into", "new"]);
    assert!(refused.contains("there is another file"), "{refused}");
    let volumes = || docker(&["volume", "ls", "--quiet", "--filter", &format!("name={}", project.volume())]);
    assert_eq!((volumes(), fs::read_to_string(&compose).unwrap()), (String::new(), "mine".to_owned()));
    fs::remove_file(&compose).unwrap();

    // The JSON says another text than was there when it was stored.
    let json = file.with_file_name(crate::place::json_of(&file));
    let text = fs::read_to_string(&json).unwrap();
    fs::write(&json, text.replace("network_mode: none", "privileged: true")).unwrap();
    let refused = place.refused(&["rebuild", "--into", "new"]);
    assert!(refused.contains("not the one that was stored"), "{refused}");
    assert_eq!(volumes(), "");
    fs::write(&json, text).unwrap();

    // Without a compose that could start it, all else is done, and said.
    let bare = Place::with(&[("PATH", "/nowhere")]);
    let backups = place.path().join("snapshots");
    let said = bare.refused(&["rebuild", backups.to_str().unwrap(), "--into", "new"]);
    assert!(said.contains("volumes and compose files are back") && said.contains("up --detach"), "{said}");
    assert!(bare.path().join("new").join(&project.name).join("docker-compose.yml").exists());
    assert_eq!(volumes(), project.volume());
}
