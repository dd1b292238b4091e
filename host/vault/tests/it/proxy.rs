//! A server between a store and its server, that does wrong where it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done to a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is answered with this status and body, and goes nowhere.
    Answer(u16, &'static str),
    /// The connection breaks when half of its body is there.
    CutRequest,
    /// It is done, and the connection breaks before the answer.
    LoseAnswer,
    /// It is done, and the connection breaks when half of the answer's body was sent.
    CutAnswer,
    /// It is never answered.
    Hang,
    /// It is done, and the length in the answer is one less.
    Lie,
}

type Rule = Box<dyn FnMut(&str) -> Option<Fault> + Send>;

/// The server. Requests are told to the rule as `METHOD /path?query`.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    rule: Arc<Mutex<Rule>>,
    seen: Arc<Mutex<Vec<String>>>,
}

/// The first line of a request's head.
fn first(head: &str) -> String {
    head.split(" HTTP/").next().unwrap_or(head).to_owned()
}

impl Proxy {
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_| None)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (rules, all) = (rule.clone(), seen.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (rules, all) = (rules.clone(), all.clone());
                std::thread::spawn(move || pass(client, server, &rules, &all));
            }
        });
        Proxy { port, rule, seen }
    }

    /// From now on does what `rule` says.
    pub(crate) fn set(&self, rule: impl FnMut(&str) -> Option<Fault> + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
        self.seen.lock().unwrap().clear();
    }

    /// From now on does `fault` to the first `times` requests that begin with `method` and have `part` in them.
    pub(crate) fn fail(&self, method: &'static str, part: &'static str, fault: Fault, mut times: usize) {
        self.set(move |request| {
            let hit = times > 0 && request.starts_with(method) && request.contains(part);
            times -= usize::from(hit);
            hit.then(|| fault.clone())
        });
    }

    /// The requests since the rule was set.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.heads().iter().map(|head| first(head)).collect()
    }

    /// Their heads.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// One request: each has a connection of its own.
fn pass(mut client: TcpStream, server: u16, rule: &Mutex<Rule>, seen: &Mutex<Vec<String>>) -> Option<()> {
    let (head, mut rest) = head(&mut client)?;
    let request = first(&head);
    seen.lock().unwrap().push(head.clone());
    let fault = (rule.lock().unwrap())(&request);
    if let Some(Fault::Hang) = fault {
        std::thread::sleep(Duration::from_mins(1));
        return None;
    }
    let length = field(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
    let chunked = field(&head, "transfer-encoding").is_some();
    let wanted = match (&fault, length) {
        (Some(Fault::CutRequest), Some(length)) => length / 2,
        (_, length) => length.unwrap_or(0),
    };
    if field(&head, "expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    while rest.len() < wanted || (chunked && !rest.ends_with(b"0\r\n\r\n")) {
        let mut buffer = [0; 1 << 14];
        let got = client.read(&mut buffer).ok().filter(|got| *got > 0)?;
        rest.extend_from_slice(&buffer[..got]);
    }
    match fault {
        Some(Fault::CutRequest) => return None,
        Some(Fault::Answer(status, body)) => {
            let answer = format!(
                "HTTP/1.1 {status} Fault\r\nContent-Length: {}\r\nContent-Type: application/xml\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            );
            client.write_all(answer.as_bytes()).ok()?;
            return client.shutdown(Shutdown::Write).ok();
        }
        _ => {}
    }
    let mut stream = TcpStream::connect(("127.0.0.1", server)).ok()?;
    stream.write_all(closing(&head).as_bytes()).ok()?;
    stream.write_all(&rest).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let (head, body) = answer.split_at(end);
    let head = String::from_utf8_lossy(head).into_owned();
    let (head, body) = match fault {
        Some(Fault::LoseAnswer) => return None,
        Some(Fault::CutAnswer) => (head, &body[..body.len() / 2]),
        Some(Fault::Lie) => (shorter(&head), body),
        _ => (head, body),
    };
    client.write_all(closing(&head).as_bytes()).ok()?;
    client.write_all(body).ok()?;
    client.shutdown(Shutdown::Write).ok()
}

/// The head of a request, and what came behind it.
fn head(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        if let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = all.split_off(end + 4);
            return Some((String::from_utf8_lossy(&all).into_owned(), rest));
        }
        let mut buffer = [0; 4096];
        let got = client.read(&mut buffer).ok().filter(|got| *got > 0)?;
        all.extend_from_slice(&buffer[..got]);
    }
}

fn field(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// `head` with the connection to be closed afterwards.
fn closing(head: &str) -> String {
    let lines = head.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    format!("{}\r\nConnection: close\r\n\r\n", lines.collect::<Vec<_>>().join("\r\n"))
}

/// `head` with a length that is one less.
fn shorter(head: &str) -> String {
    let length = field(head, "content-length").and_then(|length| length.parse::<u64>().ok()).unwrap_or(1);
    let lines = head.lines().map(|line| {
        if line.to_ascii_lowercase().starts_with("content-length:") {
            format!("Content-Length: {}", length.saturating_sub(1))
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\r\n") + "\r\n"
}
