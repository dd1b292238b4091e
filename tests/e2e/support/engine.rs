//! The engine, and what a test makes in it. All of it has a label of the test's own and is removed when the test
//! ends, after a panic as well; the script that runs the tests removes what a killed one leaves.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::Run;
use super::run::HANGS;

/// What a backup and a restore of anything need (docs/security.md), as arguments of `docker run`.
pub(crate) const HARDENED: [&str; 19] = [
    "--read-only",
    "--security-opt",
    "no-new-privileges",
    "--network",
    "none",
    "--cap-drop",
    "ALL",
    "--cap-add",
    "CHOWN",
    "--cap-add",
    "DAC_OVERRIDE",
    "--cap-add",
    "FOWNER",
    "--cap-add",
    "FSETID",
    "--cap-add",
    "MKNOD",
    "--cap-add",
    "SETFCAP",
];

/// The engine as one test sees it, with a directory of the host's to mount files from: in it `backup.tar`, an
/// empty archive, and `config.yml`.
pub(crate) struct Engine {
    image: String,
    app: String,
    run_label: String,
    label: String,
    directory: Rc<tempfile::TempDir>,
    /// Its socket, unless it is the engine that docker finds by itself.
    host: Option<String>,
}

/// Runs a test with the engine. `scripts/e2e.sh` says which images to use; without it there is nothing to test.
#[track_caller]
pub(crate) fn with_engine(test: impl FnOnce(&Engine)) {
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let (Ok(image), Ok(app), Ok(run_label)) = (
        env::var("SNAPSHOTTER_E2E_IMAGE"),
        env::var("SNAPSHOTTER_E2E_APP"),
        env::var("SNAPSHOTTER_E2E_LABEL"),
    ) else {
        panic!("run these tests with `make e2e`: it makes the images and removes them again");
    };
    assert!(geteuid().is_root(), "these tests look into volumes, which only root may");
    let run = run_label.rsplit('=').next().unwrap_or_default();
    let name = format!("sn-e2e-{run}-{}", TESTS.fetch_add(1, Ordering::Relaxed));
    let directory = tempfile::Builder::new().prefix("snapshotter-e2e-").tempdir().unwrap();
    let engine = Engine { image, app, run_label, label: name, directory: Rc::new(directory), host: None };
    fs::write(engine.archive(), [0; 1024]).unwrap();
    test(&engine);
}

/// Runs a test with two engines that share a directory of the host's: the ordinary one, and one with
/// `--userns-remap`, which `scripts/e2e.sh` starts where it can. In CI it must be there.
#[track_caller]
pub(crate) fn with_remapped_engine(test: impl FnOnce(&Engine, &Engine)) {
    with_engine(|ordinary| {
        let Ok(host) = env::var("SNAPSHOTTER_E2E_REMAPPED") else {
            assert!(
                env::var_os("CI").is_none(),
                "no remapped engine could be started, and in CI nothing is skipped"
            );
            let _ =
                writeln!(io::stderr(), "skipped: a test of userns-remap: no such engine could be started");
            return;
        };
        // Its root is another user of the host's, who has to come by here.
        fs::set_permissions(ordinary.directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let remapped = Engine {
            image: ordinary.image.clone(),
            app: ordinary.app.clone(),
            run_label: ordinary.run_label.clone(),
            label: ordinary.label.clone(),
            directory: Rc::clone(&ordinary.directory),
            host: Some(host),
        };
        test(ordinary, &remapped);
    });
}

impl Engine {
    /// A path on the host, below the test's directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        assert!(name.as_ref().is_relative());
        self.directory.path().join(name)
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.path("backup.tar")
    }

    /// A name that no other test has: for containers, volumes and images.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.label)
    }

    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    pub(crate) fn app(&self) -> &str {
        &self.app
    }

    pub(crate) fn configure(&self, prefix: &str, volumes: &[&str]) {
        let volumes = volumes.join("\"\n  - \"");
        let text = format!("prefix: \"{prefix}\"\nvolumes:\n  - \"{volumes}\"\n");
        fs::write(self.path("config.yml"), text).unwrap();
    }

    /// `docker` with these arguments, in the test's directory.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new("docker");
        command.args(args).stdin(Stdio::null()).current_dir(self.directory.path());
        if let Some(host) = &self.host {
            command.env("DOCKER_HOST", host);
        }
        command
    }

    pub(crate) fn docker<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        Run::of(self.command(args))
    }

    /// What a successful `docker` prints, without the line's end.
    #[track_caller]
    pub(crate) fn told<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        self.docker(args).ok().stdout().trim().to_owned()
    }

    /// Both labels: the run's and the test's.
    pub(crate) fn labels(&self) -> [String; 4] {
        ["--label".to_owned(), self.run_label.clone(), "--label".to_owned(), self.label.clone()]
    }

    /// Starts an application that does nothing, with volumes as `docker run` takes them, and gives its name.
    #[track_caller]
    pub(crate) fn application(&self, name: &str, options: &[&str]) -> String {
        let name = self.name(name);
        let mut command = self.command(["run", "--detach", "--network", "none", "--name", &name]);
        command.args(self.labels()).args(options).arg(&self.app);
        Run::of(command).ok();
        name
    }

    /// Makes a named volume, and gives its name and where its files are on the host.
    #[track_caller]
    pub(crate) fn volume(&self, name: &str, options: &[&str]) -> (String, PathBuf) {
        let name = self.name(name);
        let mut command = self.command(["volume", "create"]);
        command.args(self.labels()).args(options).arg(&name);
        Run::of(command).ok();
        let point = self.told(["volume", "inspect", "--format", "{{.Mountpoint}}", &name]);
        (name, point.into())
    }

    /// Where what is mounted at `target` in a container is on the host.
    #[track_caller]
    pub(crate) fn source(&self, container: &str, target: &str) -> PathBuf {
        let format = format!(
            "{{{{range .Mounts}}}}{{{{if eq .Destination \"{target}\"}}}}{{{{.Source}}}}{{{{end}}}}{{{{end}}}}"
        );
        self.told(["inspect", "--format", &format, container]).into()
    }

    /// Runs a shell's command in a container that runs.
    #[track_caller]
    pub(crate) fn shell(&self, container: &str, command: &str) -> String {
        self.told(["exec", container, "sh", "-ec", command])
    }

    /// `docker run … snapshotter`, not yet started: with these options of docker's, archive, configuration, and arguments.
    pub(crate) fn snapshotter_command(&self, options: &[&str], args: &[&str]) -> Command {
        let mut command = self.command(["run"]);
        command.args(self.labels()).args(options);
        command.arg("-v").arg(mount(&self.archive(), "/backup.tar"));
        command.arg("-v").arg(mount(&self.path("config.yml"), "/config.yml:ro"));
        command.arg(&self.image).args(args);
        command
    }

    /// `snapshotter` beside a container, with nothing but what it needs.
    #[track_caller]
    pub(crate) fn snapshotter(&self, container: &str, args: &[&str]) -> Run {
        self.snapshotter_with(&[&HARDENED[..], &["--rm", "--volumes-from", container]].concat(), args)
    }

    /// `snapshotter` with these options of docker's.
    pub(crate) fn snapshotter_with(&self, options: &[&str], args: &[&str]) -> Run {
        Run::of(self.snapshotter_command(options, args))
    }

    /// Starts `snapshotter` under a name, with further options of docker's, to be stopped or killed.
    pub(crate) fn start_slowly(
        &self,
        name: &str,
        container: &str,
        args: &[&str],
        options: &[&str],
    ) -> (String, Child) {
        let name = self.name(name);
        let options = [&HARDENED[..], &["--name", &name, "--volumes-from", container], options].concat();
        let mut command = self.snapshotter_command(&options, args);
        (name, command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    #[track_caller]
    pub(crate) fn backup(&self, container: &str) -> serde_json::Value {
        self.snapshotter(container, &["backup", "--json"]).ok().json()
    }

    #[track_caller]
    pub(crate) fn restore(&self, container: &str) -> serde_json::Value {
        self.snapshotter(container, &["restore", "--json"]).ok().json()
    }

    /// Checks the archive, which must be whole, and gives the number of snapshots in it.
    #[track_caller]
    pub(crate) fn verified(&self) -> usize {
        let options = ["--rm", "--read-only", "--network", "none", "--cap-drop", "ALL"];
        let mut command = self.command(["run"]);
        command.args(self.labels()).args(options);
        command.arg("-v").arg(mount(&self.archive(), "/backup.tar:ro"));
        command.arg(&self.image).args(["verify", "--json"]);
        let found = Run::of(command).ok().json();
        assert_eq!(found["ok"], true, "{found}");
        found["snapshots"].as_array().unwrap().len()
    }

    /// The exit code of a container that has ended.
    #[track_caller]
    pub(crate) fn exit_code(&self, container: &str) -> String {
        self.told(["inspect", "--format", "{{.State.ExitCode}}", container])
    }
}

/// `FROM:TO`, as `-v` takes it.
pub(crate) fn mount(from: &Path, to: &str) -> String {
    format!("{}:{to}", from.to_str().unwrap())
}

/// Waits until something holds, or the child has ended; says whether the child still ran.
pub(crate) fn reaches(child: &mut Child, reached: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if reached() {
            return true;
        }
        assert!(start.elapsed() < HANGS, "it hangs");
        sleep(Duration::from_millis(1));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Compose and `-v NAME:…` make things without our label, but by a name of ours.
        let filters = [format!("label={}", self.label), format!("name={}-", self.label)];
        let kinds: [(&[&str], &[&str]); 4] = [
            (&["ps", "--all", "--quiet"], &["rm", "--force", "--volumes"]),
            (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
            (&["network", "ls", "--quiet"], &["network", "rm"]),
            (&["images", "--quiet"], &["rmi", "--force"]),
        ];
        for (list, remove) in kinds {
            for filter in &filters {
                if list[0] == "images" && filter.starts_with("name") {
                    continue;
                }
                let found = self.command(list).args(["--filter", filter]).output();
                let found = found.map(|found| String::from_utf8_lossy(&found.stdout).into_owned());
                let found = found.unwrap_or_default();
                if !found.trim().is_empty() {
                    let _ = self.command(remove).args(found.split_whitespace()).output();
                }
            }
        }
    }
}
