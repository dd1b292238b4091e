//! Helpers in an engine that breaks off, lies or falls silent.

use std::fs;
use std::future::pending;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;
use crate::connect::endpoint::Endpoint;
use crate::connect::find::Found;
use crate::helper::{Mount, Spec};
use crate::lease::State;

const DONE: &str = "{\"event\":\"end\",\"ok\":true,\"exit_code\":0}\n";

/// What follows the request to attach.
type Attach = fn(&mut UnixStream);

/// What an engine does that has one container, `c`.
struct Script {
    attach: Attach,
    /// How it says that the container is.
    state: &'static str,
    /// The container's exit code, once it has ended.
    exit_code: Option<i64>,
    /// How it answers when the container is to be removed.
    remove: &'static str,
}

impl Default for Script {
    fn default() -> Self {
        Script {
            attach: |stream| send(stream, &[(1, b"output"), (2, DONE.as_bytes())]),
            state: r#"{"Status":"exited","ExitCode":0}"#,
            exit_code: Some(0),
            remove: "204 No Content",
        }
    }
}

/// Hands the connection over, and sends frames.
fn send(stream: &mut UnixStream, frames: &[(u8, &[u8])]) {
    let upgraded = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    stream.write_all(upgraded).unwrap();
    for (kind, content) in frames {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        stream.write_all(&[&[*kind, 0, 0, 0], &length[..], content].concat()).unwrap();
    }
}

fn answer(stream: &mut UnixStream, status: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(head.as_bytes());
}

/// Answers the requests of one connection, and keeps their first lines.
fn converse(stream: UnixStream, script: &Script, requests: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let at = head.len();
            if !matches!(reader.read_line(&mut head), Ok(1..)) {
                return;
            }
            if let Some(value) = head[at..].to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        let line = head.lines().next().unwrap().to_owned();
        let made = requests.lock().unwrap().iter().any(|line| line.contains("/containers/create"));
        requests.lock().unwrap().push(line.clone());
        let path = line.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
        let stream = reader.get_mut();
        match path.trim_start_matches("/v1.41") {
            "/version" => answer(stream, "200 OK", r#"{"ApiVersion":"1.41","Arch":"amd64"}"#),
            "/images/i/json" => answer(stream, "200 OK", r#"{"Id":"sha256:1"}"#),
            "/volumes/steady" => answer(stream, "200 OK", r#"{"Name":"steady","CreatedAt":"1"}"#),
            "/volumes/fickle" => {
                let volume = format!(r#"{{"Name":"fickle","CreatedAt":"{}"}}"#, u8::from(made));
                answer(stream, "200 OK", &volume);
            }
            "/containers/create" => answer(stream, "201 Created", r#"{"Id":"c"}"#),
            "/containers/c/attach" => return (script.attach)(stream),
            "/containers/c/start" | "/containers/c/stop" => answer(stream, "204 No Content", ""),
            "/containers/c/wait" => match script.exit_code {
                Some(code) => answer(stream, "200 OK", &format!(r#"{{"StatusCode":{code}}}"#)),
                None => thread::sleep(Duration::from_secs(5)),
            },
            "/containers/c/json" if script.state.is_empty() => return,
            "/containers/c/json" => {
                let fields = r#""Id":"c","Name":"/n","Config":{},"HostConfig":{}"#;
                answer(stream, "200 OK", &format!(r#"{{{fields},"State":{}}}"#, script.state));
            }
            "/containers/c" => answer(stream, script.remove, r#"{"message":"busy"}"#),
            _ => answer(stream, "404 Not Found", r#"{"message":"no such thing"}"#),
        }
    }
}

/// What comes of a helper in such an engine, and what was asked of it.
fn run(script: Script) -> (Result<Finished<Collected>>, Vec<String>) {
    run_on(script, "steady", Path::new(""))
}

fn run_on(script: Script, volume: &str, state: &Path) -> (Result<Finished<Collected>>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let state = if state == Path::new("") { directory.path().join("state") } else { state.to_owned() };
    let socket = directory.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (script, kept) = (Arc::new(script), Arc::clone(&requests));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (script, kept) = (Arc::clone(&script), Arc::clone(&kept));
            thread::spawn(move || converse(stream.unwrap(), &script, &kept));
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async {
        let found = Found { endpoint: Endpoint::Unix(socket), origin: "a test".to_owned() };
        let engine = Engine::connect(&found).await?;
        let helpers = Helpers::new(&engine, &State::at(&state), Some("i")).await?;
        let mut spec = Spec::new(["backup"], &[]);
        spec.mounts.push(Mount::read(volume, "/volumes/0"));
        let prepared = helpers.prepare(spec, &|_| {}).await?;
        let streams = Streams { input: None, output: Collected::default() };
        prepared.run(streams, &|_| {}, pending()).await
    });
    let requests = requests.lock().unwrap().clone();
    (result, requests)
}

/// That the helper was asked to end, and then removed without any volume.
#[track_caller]
fn assert_removed(requests: &[String]) {
    let at = |text: &str| requests.iter().position(|line| line.contains(text));
    let removed = at("DELETE /v1.41/containers/c?force=true&v=false ").expect("it is removed");
    assert!(at("/containers/c/stop?t=60").is_none_or(|stopped| stopped < removed), "{requests:?}");
}

#[test]
fn all_three_say_that_it_is_done() {
    let (result, requests) = run(Script::default());
    assert_eq!(result.unwrap().output.0, b"output");
    assert!(!requests.iter().any(|line| line.contains("/stop")), "{requests:?}");
    assert_removed(&requests);
}

#[test]
fn a_stream_that_ends_early_is_no_success() {
    let cases: [Attach; 4] = [
        |stream| send(stream, &[]),
        |stream| send(stream, &[(1, b"output")]),
        |stream| send(stream, &[(2, &DONE.as_bytes()[..20])]),
        |stream| {
            send(stream, &[(2, DONE.as_bytes())]);
            stream.write_all(&[1, 0, 0, 0, 0, 0, 0, 9, b'x']).unwrap();
        },
    ];
    for attach in cases {
        let (result, requests) = run(Script { attach, ..Script::default() });
        assert!(matches!(result, Err(Error::Cut)), "{result:?}");
        assert!(requests.iter().any(|line| line.contains("/stop")), "{requests:?}");
        assert_removed(&requests);
    }
}

#[test]
fn an_archive_has_the_length_that_the_core_says() {
    let attach = |stream: &mut UnixStream| {
        let report = concat!(
            r#"{"event":"report","id":"1a2b3c4d","prefix":"p","time":"2026-11-20T16:03:00Z","volumes":[],"#,
            r#""entries":0,"size":0,"bytes":512,"unhashed":0,"note":null,"warning_count":0,"warnings":[],"#,
            "\"seconds\":0.4}\n",
        );
        send(stream, &[(2, report.as_bytes()), (1, &[0; 1535]), (2, DONE.as_bytes())]);
    };
    let (result, requests) = run(Script { attach, ..Script::default() });
    assert!(matches!(result, Err(Error::Cut)), "{result:?}");
    assert_removed(&requests);
}

#[test]
fn one_that_runs_on_was_cut_off() {
    let (result, requests) = run(Script { exit_code: None, ..Script::default() });
    assert!(matches!(result, Err(Error::Cut)), "{result:?}");
    assert_removed(&requests);
}

#[test]
fn the_engines_own_words_are_an_error() {
    let attach = |stream: &mut UnixStream| {
        send(stream, &[(1, b"output"), (3, b"error from daemon in stream: disk\n"), (2, DONE.as_bytes())]);
    };
    let (result, requests) = run(Script { attach, ..Script::default() });
    let said = "cannot read what the helper sends: the engine says: error from daemon in stream: disk";
    assert_eq!(result.unwrap_err().to_string(), said);
    assert_removed(&requests);
}

#[test]
fn what_is_no_stream_is_told() {
    let cases: [(Attach, &str); 4] = [
        (|stream| answer(stream, "200 OK", ""), "does not hand the connection over"),
        (|stream| answer(stream, "403 Forbidden", "forbidden by the proxy\n"), "forbidden by the proxy"),
        (
            |stream| {
                send(stream, &[]);
                stream.write_all(b"HTTP/1.1 502 Bad Gateway").unwrap();
            },
            "not in the form of its API",
        ),
        (|_| (), ""),
    ];
    for (attach, words) in cases {
        let (result, requests) = run(Script { attach, ..Script::default() });
        let error = result.unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(format!("{error}: {source}").contains(words), "{error}: {source}");
        assert_removed(&requests);
    }
}

#[test]
fn silence_is_well_while_the_container_runs() {
    let attach = |stream: &mut UnixStream| {
        send(stream, &[]);
        thread::sleep(Duration::from_secs(1));
        let length = u8::try_from(DONE.len()).unwrap();
        stream.write_all(&[&[2, 0, 0, 0, 0, 0, 0, length], DONE.as_bytes()].concat()).unwrap();
    };
    let state = r#"{"Status":"running"}"#;
    let (result, requests) = run(Script { attach, state, ..Script::default() });
    result.unwrap();
    assert!(requests.iter().filter(|line| line.contains("/containers/c/json")).count() > 5, "{requests:?}");
}

#[test]
fn silence_after_the_end_or_of_the_engine_too_is_not() {
    let attach = |stream: &mut UnixStream| {
        send(stream, &[]);
        thread::sleep(Duration::from_secs(20));
    };
    for state in [r#"{"Status":"exited","ExitCode":0}"#, ""] {
        let (result, requests) = run(Script { attach, state, ..Script::default() });
        assert!(matches!(result, Err(Error::Cut | Error::Broken { .. })), "{result:?}");
        assert_removed(&requests);
    }
}

#[test]
fn one_that_cannot_be_removed_keeps_its_owner() {
    let state = tempfile::tempdir().unwrap();
    let script = Script { remove: "500 Internal Server Error", ..Script::default() };
    run_on(script, "steady", state.path()).0.unwrap();
    let owners = || {
        let names = fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with("helper-")).count()
    };
    assert_eq!(owners(), 1);
    run_on(Script::default(), "steady", state.path()).0.unwrap();
    assert_eq!(owners(), 1);
}

#[test]
fn a_volume_that_another_has_taken_the_place_of_is_refused() {
    let (result, requests) = run_on(Script::default(), "fickle", Path::new(""));
    let error = result.unwrap_err();
    let words = "cannot use the volume fickle: it was removed meanwhile, and made anew";
    assert_eq!(error.to_string(), words);
    assert!(!requests.iter().any(|line| line.contains("/start")), "{requests:?}");
    assert_removed(&requests);
}
