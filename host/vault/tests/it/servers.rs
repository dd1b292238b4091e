//! Real servers, each a process of its own with a port and a directory of its own, ended with the test.
//!
//! Programs are looked for in the directory that `SNAPSHOTTER_TEST_SERVERS` names (`make test-servers` fills
//! it), then where the shell looks. What is not installed is skipped with a line; with `CI=true` it is an error.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use snapshotter_vault::store::{self, Limits, Settings, Store};
use tempfile::TempDir;

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) scratch: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program `name`, or a line that says what is skipped.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let own = std::env::var_os("SNAPSHOTTER_TEST_SERVERS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = own.into_iter().chain(std::env::split_paths(&path)).chain([PathBuf::from("/usr/sbin")]);
    let found = places.map(|place| place.join(name)).find(|program| program.is_file());
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{name} is not installed: make test-servers");
        println!("skipped: {name} is not installed (make test-servers)");
    }
    found
}

/// A port that was free a moment ago, below those that are handed out to connections, and free 10,000 above:
/// `SeaweedFS` takes that one too.
pub(crate) fn free_port() -> u16 {
    for _ in 0..1000 {
        let port = 10_000 + u16::try_from(fastrand() % 10_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok()
            && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok()
        {
            return port;
        }
    }
    panic!("no port is free")
}

fn fastrand() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

impl Server {
    /// Starts `program` with what `arguments` makes of a port and a directory, and waits until it listens.
    pub(crate) fn start(program: &Path, arguments: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("data")).unwrap();
        let port = free_port();
        let log = File::create(scratch.path().join("log")).unwrap();
        let child = Command::new(program)
            .args(arguments(port, scratch.path()))
            .current_dir(scratch.path())
            .env("HOME", scratch.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Server { child, port, scratch };
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(
                ended.is_none() && since.elapsed() < PATIENCE,
                "{} does not start: {}",
                program.display(),
                server.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }
}

/// One request, in plain HTTP; gives the status and the body of the answer.
pub(crate) fn request(port: u16, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n\
         Content-Type: application/json\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

/// Limits that a test can wait for.
pub(crate) fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        idle: Duration::from_secs(10),
        retry: Duration::from_secs(10),
        bandwidth: None,
    }
}

pub(crate) fn open(address: &str, settings: &Settings) -> Arc<dyn Store> {
    store::open(&address.parse().unwrap(), settings, limits()).unwrap()
}
