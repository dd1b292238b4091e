//! A place in which a test may do anything: a temporary directory, and around it a mount namespace of the
//! test's own in which everything else is read-only. The test itself runs in it, too, and so does every
//! process that it starts. What it mounts is gone when its thread ends, after a panic as well.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::mount::{MsFlags, mount};
use serde_json::Value;

use super::confine::{assert_confined, attach, confine, confined};
use super::{Run, need, tool};

/// A temporary directory, and in it the archive `backup.tar`, the configuration `config.yml` and volumes.
pub(crate) struct Sandbox {
    root: PathBuf,
}

/// Runs a test in a sandbox, or says that it cannot be made.
pub(crate) fn sandboxed(test: impl FnOnce(&Sandbox) + Send) {
    if !need("root") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    confined(|| test(&Sandbox::enter(root)));
}

impl Sandbox {
    /// Makes everything but `root` read-only, for this thread and what it starts.
    fn enter(root: PathBuf) -> Sandbox {
        confine(&root);
        std::env::set_current_dir(&root).unwrap_or_else(|error| panic!("{error}"));
        let sandbox = Sandbox { root };
        sandbox.assert_confined();
        sandbox
    }

    /// Nothing outside can be written: asked before every start of the program.
    pub(crate) fn assert_confined(&self) {
        assert_confined(&self.root);
    }

    /// A path in the sandbox.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        let name = name.as_ref();
        assert!(name.is_relative());
        self.root.join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.path("backup.tar")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("config.yml")
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, prefix: &str, volumes: &[&Path]) {
        // Strings of JSON are strings of YAML.
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let volumes: Vec<_> = volumes.iter().map(|path| quoted(text(path))).collect();
        let volumes = volumes.join("\n  - ");
        fs::write(self.config(), format!("prefix: {}\nvolumes:\n  - {volumes}\n", quoted(prefix))).unwrap();
    }

    /// The program, not yet started. Everything in these tests starts it by this: it is confined. Archive and
    /// configuration are the sandbox's unless `args` say otherwise.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        self.assert_confined();
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("snapshotter"));
        self.prepare(&mut command);
        command.args(args);
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        Run::of(self.command(args))
    }

    /// Runs the program without capabilities, as `-chown,-mknod`.
    pub(crate) fn run_without<A: AsRef<OsStr>>(
        &self,
        capabilities: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Run {
        let mut command = Command::new("setpriv");
        command.arg(format!("--bounding-set={capabilities}"));
        command.arg(assert_cmd::cargo::cargo_bin!("snapshotter"));
        command.args(args);
        self.run_as(command)
    }

    /// Runs another tool that runs the program.
    pub(crate) fn run_as(&self, mut command: Command) -> Run {
        self.assert_confined();
        self.prepare(&mut command);
        Run::of(command)
    }

    /// Starts the program, to be killed.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Child {
        self.start_as(self.command(args))
    }

    /// Starts another tool that runs the program.
    pub(crate) fn start_as(&self, mut command: Command) -> Child {
        self.assert_confined();
        self.prepare(&mut command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn prepare(&self, command: &mut Command) {
        command.stdin(Stdio::null()).current_dir(&self.root).env("TZ", "UTC");
        command.env("SNAPSHOTTER_ARCHIVE", self.archive()).env("SNAPSHOTTER_CONFIG", self.config());
    }

    /// An empty archive.
    pub(crate) fn init(&self) {
        fs::write(self.archive(), [0; 1024]).unwrap();
    }

    #[track_caller]
    pub(crate) fn backup(&self) -> Value {
        self.run(["backup", "--json"]).ok().json()
    }

    #[track_caller]
    pub(crate) fn restore(&self) -> Value {
        self.run(["restore", "--json"]).ok().json()
    }

    #[track_caller]
    pub(crate) fn list(&self) -> Value {
        self.run(["list", "--json"]).ok().json()
    }

    #[track_caller]
    pub(crate) fn verify(&self) -> Value {
        self.run(["verify", "--json"]).ok().json()
    }

    /// A small filesystem in memory, for as long as the test runs.
    pub(crate) fn tmpfs(&self, name: &str, options: &str) -> PathBuf {
        let point = self.mount_point(name);
        let none = None::<&str>;
        mount(none, &point, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        point
    }

    /// An overlay over what is in `lower`, whose changes go to another filesystem, for as long as the test runs.
    pub(crate) fn overlay(&self, name: &str, lower: &Path) -> PathBuf {
        let upper = self.tmpfs(&format!("{name}.upper"), "size=16m");
        for part in ["changes", "work"] {
            fs::create_dir(upper.join(part)).unwrap();
        }
        let point = self.mount_point(name);
        let (lower, upper) = (text(lower), text(&upper));
        let options = format!("lowerdir={lower},upperdir={upper}/changes,workdir={upper}/work");
        mount(None::<&str>, &point, Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap();
        point
    }

    /// A filesystem of a kind (`xfs`, `btrfs`, `ext4`) in a file, for as long as the test runs.
    pub(crate) fn filesystem(&self, name: &str, kind: &str, megabytes: u64) -> PathBuf {
        let image = self.path(format!("{name}.image"));
        let point = self.mount_point(name);
        fs::File::create_new(&image).unwrap().set_len(megabytes << 20).unwrap();
        tool(&format!("mkfs.{kind}"), ["-q".as_ref(), image.as_os_str()]).ok();
        tool("mount", ["-n".as_ref(), "-o".as_ref(), "loop".as_ref(), image.as_os_str(), point.as_os_str()])
            .ok();
        point
    }

    /// Mounts a directory or file a second time.
    pub(crate) fn bind(&self, from: &Path, to: &Path) {
        assert!(to.starts_with(&self.root));
        attach(Some(from), to, MsFlags::MS_BIND, "").unwrap();
    }

    /// Makes a directory or file read-only.
    pub(crate) fn read_only(&self, path: &Path) {
        self.bind(path, path);
        attach(None, path, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, "").unwrap();
    }

    fn mount_point(&self, name: &str) -> PathBuf {
        let point = self.path(name);
        fs::create_dir_all(&point).unwrap();
        point
    }
}

/// A path as text: all paths of the tests are.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
