//! A place of one test's own for snapshots and leases, and volumes to fill and to compare.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::run::{failure, program};
use crate::sandbox::{Sandbox, docker, inspect};

/// A place for snapshots and leases of one test.
pub(crate) struct Place(tempfile::TempDir, Vec<(&'static str, &'static str)>);

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// Whose programs find these variables.
    pub(crate) fn with(variables: &[(&'static str, &'static str)]) -> Self {
        Place(tempfile::tempdir().unwrap(), variables.to_vec())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut program = program(self.path());
        let state = self.path().join("state");
        program.args(arguments).env("DOCKER_SNAPSHOT_STATE_DIR", state);
        let core =
            std::env::var("SNAPSHOTTER_HOST_E2E_CORE").expect("these tests are started by `make host-e2e`");
        program.env("DOCKER_SNAPSHOT_CORE", core).envs(self.1.iter().copied());
        program
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a run that went well printed as JSON.
    pub(crate) fn report(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The one line that a failed run ended with.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let mut output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = said.lines().rfind(|line| line.contains("cannot ")).unwrap_or_else(|| panic!("{said}"));
        output.stderr = last.as_bytes().to_vec();
        failure(&output)
    }

    /// The file that `create` has made.
    pub(crate) fn create(&self, arguments: &[&str]) -> (PathBuf, Value) {
        let report = self.report(&[&["create"], arguments].concat());
        let snapshot = report["snapshots"][0].clone();
        (PathBuf::from(snapshot["files"][0].as_str().unwrap()), snapshot)
    }

    /// The names of all files below `snapshots`, hidden ones too.
    pub(crate) fn files(&self) -> Vec<String> {
        Self::below(self.path().join("snapshots"))
    }

    /// The names of all files in the place.
    pub(crate) fn all_files(&self) -> Vec<String> {
        Self::below(self.path().to_owned())
    }

    /// The paths of all files in the place.
    pub(crate) fn all_paths(&self) -> Vec<PathBuf> {
        Self::walk(self.path().to_owned()).into_iter().filter(|path| path.is_file()).collect()
    }

    fn below(directory: PathBuf) -> Vec<String> {
        let names = Self::walk(directory).into_iter();
        let mut names: Vec<_> =
            names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    fn walk(directory: PathBuf) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let mut directories = vec![directory];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    directories.push(entry.path());
                }
                paths.push(entry.path());
            }
        }
        paths
    }

    pub(crate) fn leases(&self) -> usize {
        let leases = fs::read_dir(self.path().join("state")).into_iter().flatten();
        leases
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().contains("lease-"))
            .count()
    }
}

/// Fills a volume with one of each kind, and keeps it from ending.
const FILL: &str = "cd /data && mkdir -p sub/deep && echo note >notes.txt && chown 1000:2000 notes.txt && \
    ln notes.txt hard && ln -s notes.txt soft && mkfifo pipe && mknod null c 1 3 && chmod 6750 sub && \
    dd if=/dev/zero of=sub/deep/zeros bs=1024 count=2000 2>/dev/null && touch -d '2001-02-03 04:05:06' \
    sub/deep";

/// What a volume holds, with its attributes and sums.
pub(crate) fn tree(volume: &str) -> String {
    let script = "cd /data && find . | sort | while read -r f; do stat -c '%n %F %a %u %g %s %Y %h' \
        \"$f\"; done; \
        find . -type f | sort | xargs sha256sum";
    docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        &format!("{volume}:/data"),
        &crate::sandbox::image(),
        "sh",
        "-c",
        script,
    ])
}

pub(crate) fn fill(volume: &str) {
    let mount = format!("{volume}:/data");
    docker(&["run", "--rm", "--network", "none", "-v", &mount, &crate::sandbox::image(), "sh", "-c", FILL]);
}

pub(crate) fn write(volume: &str, text: &str) {
    let mount = format!("{volume}:/data");
    let script = format!("echo {text} >/data/{text}");
    docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        &mount,
        &crate::sandbox::image(),
        "sh",
        "-c",
        &script,
    ]);
}

pub(crate) fn state(container: &str) -> String {
    inspect(container, "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}")
}

/// The helpers that have a volume of this test, which others run beside.
pub(crate) fn helpers(sandbox: &Sandbox) -> String {
    let format = "{{.ID}} {{.Mounts}}";
    let all =
        docker(&["ps", "--all", "--no-trunc", "--filter", "label=snapshotter.helper", "--format", format]);
    let ours = format!("{}-", sandbox.prefix);
    all.lines().filter(|line| line.contains(&ours)).collect()
}

/// A volume with something of each kind in it, and a container that writes to it.
pub(crate) fn used_volume(sandbox: &Sandbox) -> (String, String) {
    let data = sandbox.volume("data", &[]);
    fill(&data);
    let app = sandbox.run("app", &["-v", &format!("{data}:/data"), "--restart", "always"]);
    (data, app)
}

/// The name of the JSON beside an archive.
pub(crate) fn json_of(file: &Path) -> String {
    let name = file.file_name().unwrap().to_str().unwrap();
    format!("{}.json", name.split('.').next().unwrap())
}

/// A pair of keys: the public one, and the file of the other.
pub(crate) fn key(place: &Place) -> (String, String) {
    let file = place.path().join("key.txt");
    let made = Command::new("age-keygen").arg("-o").arg(&file).output().expect("age is installed");
    assert!(made.status.success());
    let text = fs::read_to_string(&file).unwrap();
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    (public.to_owned(), file.to_str().unwrap().to_owned())
}
