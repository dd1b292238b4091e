//! An engine that says what a test wants it to say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// Makes the bytes of an answer to the request for a path.
pub(crate) type Answers = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// An engine of 20.10 without containers and volumes.
pub(crate) fn empty() -> Answers {
    with_version(r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#)
}

/// The same, with another answer to the question for its version.
pub(crate) fn with_version(version: &'static str) -> Answers {
    Arc::new(move |path| match path.split('?').next().unwrap() {
        "/version" => json(version),
        "/v1.41/volumes" => json(r#"{"Volumes":null,"Warnings":null}"#),
        "/v1.41/containers/json" => json("[]"),
        _ => answer("404 Not Found", r#"{"message":"page not found"}"#),
    })
}

/// A good answer.
pub(crate) fn json(body: &str) -> Vec<u8> {
    answer("200 OK", body)
}

/// An answer with a status.
pub(crate) fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Listens on a socket.
pub(crate) fn on_socket(path: &Path, answers: Answers) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answers) = (stream.unwrap(), Arc::clone(&answers));
            thread::spawn(move || converse(stream, &answers));
        }
    });
}

/// Listens on a port of this machine, and tells which.
pub(crate) fn on_port(address: &str, answers: Answers) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answers) = (stream.unwrap(), Arc::clone(&answers));
            thread::spawn(move || converse(stream, &answers));
        }
    });
    port
}

/// Answers requests without a body until the other side leaves, or an answer says that this side does.
pub(crate) fn converse(stream: impl Read + Write, answers: &Answers) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(stream.read_line(&mut head), Ok(1..)) {
                return;
            }
        }
        let answer = answers(head.split(' ').nth(1).unwrap());
        let leave = answer.is_empty() || !answer.starts_with(b"HTTP/1.1") || answer.ends_with(b"LEAVE");
        let answer = answer.strip_suffix(b"LEAVE").unwrap_or(&answer);
        if stream.get_mut().write_all(answer).and_then(|()| stream.get_mut().flush()).is_err() || leave {
            return;
        }
    }
}
