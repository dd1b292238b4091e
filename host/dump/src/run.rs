//! Runs one program to its end: feeds it, takes what it writes, and makes an error of a bad end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::{Error, Result};
use crate::place::{Call, Place};
use crate::source::Bytes;

/// What a question or an order may take. Dropping a large database, or making one while a server writes a
/// checkpoint, takes minutes; that a server does not answer at all is found out when it is connected to.
const PATIENCE: Duration = Duration::from_mins(10);
/// More than any answer to a question and any schema has.
const ANSWER: usize = 64 << 20;
const BUFFER: usize = 256 << 10;

/// Whether a program must read all of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    All,
    WhatItNeeds,
}

/// Runs `call`, which answers soon, with `input`; its answer.
pub(crate) async fn ask(place: &dyn Place, call: Call, action: &str, input: Option<&str>) -> Result<String> {
    let input = input.map(|text| Box::new(io::Cursor::new(text.as_bytes().to_vec())) as Bytes);
    let work = collect(place, &call, action, input, Reads::All);
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::NoAnswer {
            action: action.into(),
            program: call.program.clone(),
            seconds: PATIENCE.as_secs(),
        }),
    }
}

/// Runs `call` however long it takes; what it wrote.
pub(crate) async fn collect(
    place: &dyn Place,
    call: &Call,
    action: &str,
    input: Option<Bytes>,
    reads: Reads,
) -> Result<String> {
    let mut answer = Limited(Vec::new());
    pass(place, call, action, input, reads, &mut answer).await?;
    String::from_utf8(answer.0).map_err(|error| Error::Answer {
        action: action.into(),
        program: call.program.clone(),
        answer: String::from_utf8_lossy(error.as_bytes()).chars().take(100).collect(),
    })
}

/// Runs `call` with `input`, and passes what it writes to `output`; how many bytes that were.
pub(crate) async fn pass(
    place: &dyn Place,
    call: &Call,
    action: &str,
    input: Option<Bytes>,
    reads: Reads,
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<u64> {
    let program = || call.program.clone();
    let running = place.start(call).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NoProgram { tried: vec![program()], place: place.name() },
        _ => Error::Start { program: program(), place: place.name(), source },
    })?;
    let feeding = async {
        match (running.stdin, input) {
            (Some(stdin), Some(input)) => feed(input, stdin).await,
            _ => Ok(true),
        }
    };
    let ending = async {
        running.end.await.map_err(|source| Error::Start { program: program(), place: place.name(), source })
    };
    let (all, written, end) = tokio::try_join!(feeding, drain(running.stdout, output), ending)?;
    let failed =
        |end: String, said| Err(Error::Program { action: action.into(), program: program(), end, said });
    match end.code {
        Some(0) if all || reads == Reads::WhatItNeeds => Ok(written),
        Some(0) => failed("ended before it had read all".into(), String::new()),
        code => failed(how(code), call.redact(&end.stderr)),
    }
}

/// `call`, or the same program under another name, whichever is there first; with the answer.
pub(crate) async fn first(place: &dyn Place, names: &[&str], action: &str) -> Result<(String, String)> {
    for &name in names {
        match ask(place, Call::new(name, ["--version"]), action, None).await {
            Ok(answer) => return Ok((name.into(), answer)),
            Err(Error::NoProgram { .. }) => (),
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoProgram { tried: names.iter().map(|&name| name.into()).collect(), place: place.name() })
}

fn how(code: Option<i32>) -> String {
    code.map_or_else(|| "was killed by a signal".into(), |code| format!("exited with {code}"))
}

/// Whether the program took all of it. One that ended early has its reason in its exit code.
async fn feed(mut input: Bytes, mut stdin: Box<dyn AsyncWrite + Send + Unpin>) -> Result<bool> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = input.read(&mut buffer).await.map_err(Error::Read)?;
        let sent = match buffer.get(..read) {
            Some([]) | None => return Ok(stdin.shutdown().await.is_ok()),
            Some(piece) => stdin.write_all(piece).await,
        };
        if sent.is_err() {
            return Ok(false);
        }
    }
}

async fn drain(
    mut stdout: Box<dyn AsyncRead + Send + Unpin>,
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<u64> {
    let (mut buffer, mut written) = (vec![0; BUFFER], 0);
    loop {
        let read = stdout.read(&mut buffer).await.map_err(Error::Read)?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        output.write_all(piece).await.map_err(Error::Write)?;
        written += piece.len() as u64;
    }
    output.flush().await.map_err(Error::Write)?;
    Ok(written)
}

/// An answer that is kept in memory, so it has a limit.
struct Limited(Vec<u8>);

impl AsyncWrite for Limited {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.0.len() + bytes.len() > ANSWER {
            return Poll::Ready(Err(io::Error::other("an answer of a client program has more than 64 MiB")));
        }
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
