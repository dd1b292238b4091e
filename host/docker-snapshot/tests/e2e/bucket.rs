//! A bucket of an S3 server that is started for one test: `make test-servers` installs the server, and
//! `SNAPSHOTTER_TEST_SERVERS` names where.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The name of the bucket.
const NAME: &str = "backups";

/// This server wants a signature, and looks at none.
const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// A server with one empty bucket.
pub(crate) struct Bucket {
    child: Child,
    port: u16,
    _scratch: tempfile::TempDir,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bucket {
    /// One that answers; `None` with a line where no server is installed, which is an error with `CI=true`.
    #[expect(clippy::print_stdout, reason = "what is skipped is said")]
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = server() else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "moto_server: make test-servers");
            println!("skipped: moto_server is not installed (make test-servers)");
            return None;
        };
        let scratch = tempfile::tempdir().unwrap();
        let log = File::create(scratch.path().join("log")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let bucket = Bucket { child, port, _scratch: scratch };
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(since.elapsed() < Duration::from_mins(1), "the server does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(bucket.request("PUT", &format!("/{NAME}"), b"").0, 200);
        Some(bucket)
    }

    /// As `--output` takes it.
    pub(crate) fn address(&self) -> String {
        format!("s3://{NAME}/some/prefix?endpoint=http://127.0.0.1:{}", self.port)
    }

    /// What takes the place of credentials.
    pub(crate) fn variables() -> [(&'static str, &'static str); 3] {
        [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")]
    }

    /// The names of its objects, without the prefix.
    pub(crate) fn names(&self) -> Vec<String> {
        let (_, text) = self.request("GET", &format!("/{NAME}?list-type=2"), b"");
        let text = String::from_utf8(text).unwrap();
        let keys = text.split("<Key>some/prefix/").skip(1);
        keys.map(|rest| rest.split_once("</Key>").unwrap().0.to_owned()).collect()
    }

    /// What it has under `name`.
    pub(crate) fn get(&self, name: &str) -> Vec<u8> {
        let (status, body) = self.request("GET", &format!("/{NAME}/some/prefix/{name}"), b"");
        assert_eq!(status, 200, "{name}");
        body
    }

    /// Puts something under `name`, whatever is there.
    pub(crate) fn put(&self, name: &str, body: &[u8]) {
        assert_eq!(self.request("PUT", &format!("/{NAME}/some/prefix/{name}"), body).0, 200, "{name}");
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let (port, length) = (self.port, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\n\
             Authorization: {SIGNED}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer.split_off(end + 4))
    }
}

fn server() -> Option<PathBuf> {
    let own = std::env::var_os("SNAPSHOTTER_TEST_SERVERS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = own.into_iter().chain(std::env::split_paths(&path));
    places.map(|place| place.join("moto_server")).find(|program| program.is_file())
}
