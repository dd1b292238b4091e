//! Carries a container's input, output and errors, until its end of the connection is closed.

use std::io::{self, Read, Write};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use hyper::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::transfer::frames::{Channel, Frames};
use crate::transfer::threads::{PIECE, Sink, source};

/// How long nothing may come before it is asked whether the container still runs. It may well have nothing to
/// say; a connection that is dead says nothing either, and for ever.
const SILENCE: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 30_000 });
/// How much of a message of the engine's is kept.
const MESSAGE: usize = 4096;

/// What a container reads and writes.
pub struct Streams<W> {
    /// What it reads; `None` where it reads nothing.
    pub input: Option<Box<dyn Read + Send>>,
    /// Where its output goes.
    pub output: W,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Carried<W> {
    /// Where the output went, all of it written and flushed.
    pub(crate) output: W,
    /// How many bytes that were.
    pub(crate) bytes: u64,
    /// Whether the stream ended between two frames.
    pub(crate) whole: bool,
}

/// Who hears what is not output.
pub(crate) trait Hears {
    /// The container has written this to its errors.
    fn errors(&self, bytes: &[u8]);

    /// Nothing has come for a time: whether that can go on.
    ///
    /// # Errors
    /// Why it cannot.
    async fn silence(&self) -> Result<()>;
}

/// Carries all that comes over `connection` until its other end is closed. What it is for stands in `action`.
///
/// # Errors
/// When the connection breaks, the engine says that it failed, or the reader or writer fails: the container
/// may still run then.
pub(crate) async fn carry<W: Write + Send + 'static>(
    connection: Upgraded,
    streams: Streams<W>,
    action: &str,
    hears: &impl Hears,
) -> Result<Carried<W>> {
    let (from, to) = split(TokioIo::new(connection));
    let draining = pin!(drain(from, streams.output, action, hears));
    let feeding = pin!(feed(to, streams.input));
    match select(draining, feeding).await {
        Either::Left((drained, _)) => drained,
        Either::Right((Ok(()), draining)) => draining.await,
        Either::Right((Err(error), _)) => Err(error),
    }
}

/// Sends all of `input`, and closes that direction.
async fn feed(mut to: WriteHalf<TokioIo<Upgraded>>, input: Option<Box<dyn Read + Send>>) -> Result<()> {
    let Some(input) = input else { return Ok(()) };
    let failed = |source| Error::Input { source };
    let mut pieces = source(input).map_err(failed)?;
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(failed)?;
        // What has ended without reading all says why in its own words and by its exit code.
        if piece.is_empty() {
            let _ = to.shutdown().await;
            return Ok(());
        }
        if to.write_all(&piece).await.and(to.flush().await).is_err() {
            return Ok(());
        }
    }
    Err(failed(io::Error::other("the thread that reads has ended by a panic")))
}

async fn drain<W: Write + Send + 'static>(
    mut from: ReadHalf<TokioIo<Upgraded>>,
    output: W,
    action: &str,
    hears: &impl Hears,
) -> Result<Carried<W>> {
    let broken = |source| Error::Broken { action: action.to_owned(), source };
    let sink = Sink::start(output).map_err(|source| Error::Output { source })?;
    let (mut frames, mut bytes) = (Frames::default(), 0);
    let mut message = Vec::new();
    let mut buffer = vec![0; PIECE];
    loop {
        let Ok(read) = timeout(SILENCE, from.read(&mut buffer)).await else {
            hears.silence().await?;
            continue;
        };
        let length = read.map_err(broken)?;
        let mut piece = Vec::new();
        let fed = frames.feed(&buffer[..length], |channel, content| match channel {
            Channel::Output => piece.extend_from_slice(content),
            Channel::Errors => hears.errors(content),
            Channel::Engine => {
                message
                    .extend_from_slice(&content[..content.len().min(MESSAGE.saturating_sub(message.len()))]);
            }
        });
        fed.map_err(broken)?;
        bytes += piece.len() as u64;
        let failed = !piece.is_empty() && sink.write(Bytes::from(piece)).await.is_err();
        if failed || length == 0 {
            break;
        }
    }
    if !message.is_empty() {
        let message = String::from_utf8_lossy(&message).trim().to_owned();
        return Err(Error::Refused { action: action.to_owned(), status: 500, message });
    }
    let output = sink.finish().await.map_err(|source| Error::Output { source })?;
    Ok(Carried { output, bytes, whole: frames.is_whole() })
}
