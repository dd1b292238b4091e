//! Servers that live as long as a test needs them.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// A server's user, where root runs the tests: servers refuse to be root.
const NOBODY: u32 = 65534;
/// A password that every client must quote.
pub(crate) const PASSWORD: &str = "p\"a'ss#w\\o/rd@:;%é $x";

/// A server that runs; it ends when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Its socket.
    pub(crate) socket: PathBuf,
    directory: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::QUIT);
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > end {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Server {
    /// A file of this test's.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Whether these programs are installed; a test without them is left out, unless `CI` is `true`.
pub(crate) fn installed(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !Path::new(program).exists()).collect();
    assert!(
        missing.is_empty() || std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "missing: {missing:?}"
    );
    if !missing.is_empty() {
        eprintln!("skipped, as these are not installed: {missing:?}");
    }
    missing.is_empty()
}

/// A directory that a server may write to, and this process.
pub(crate) fn directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    if geteuid().is_root() {
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    directory
}

/// `program` as a user who may do nothing.
pub(crate) fn as_nobody(program: &str) -> Command {
    let mut command = Command::new(program);
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// What a program wrote, if it succeeded.
pub(crate) fn output(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Starts a server and waits until `ready`.
pub(crate) fn start(
    directory: TempDir,
    mut command: Command,
    socket: &str,
    ready: impl Fn(&Path) -> bool,
) -> Server {
    let log = fs::File::create(directory.path().join("log")).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let socket = directory.path().join(socket);
    let server = Server { child: command.spawn().unwrap(), socket, directory };
    let end = Instant::now() + Duration::from_secs(30);
    while !ready(&server.socket) {
        let log = fs::read_to_string(server.path("log")).unwrap();
        assert!(Instant::now() < end, "{command:?} does not answer: {log}");
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

/// One server for all tests that run at a time.
pub(crate) fn shared(slot: &Mutex<Weak<Server>>, make: impl FnOnce() -> Server) -> Arc<Server> {
    let mut slot = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    slot.upgrade().unwrap_or_else(|| {
        let server = Arc::new(make());
        *slot = Arc::downgrade(&server);
        server
    })
}

/// A text with everything but letters and digits encoded.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => all.push(byte.into()),
            _ => write!(all, "%{byte:02X}").unwrap(),
        }
        all
    })
}

/// A program of this name that does what `script` says; the directories in which it is found first.
pub(crate) fn imposter(directory: &Path, name: &str, script: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap())
}
