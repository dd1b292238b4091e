//! Readers and writers of the program are not asynchronous: they compress, encrypt and wait for disks. Each
//! has a thread of its own, and a short queue to it. A thread that waits for its reader when nobody wants
//! more is left to itself, since there is no way to call it back.

use std::io::{self, ErrorKind, Read, Write};
use std::thread;

use hyper::body::Bytes;
use tokio::sync::{mpsc, oneshot};

/// How many pieces a queue holds, each of at most [`PIECE`].
const QUEUE: usize = 8;
/// How long a piece may be.
pub(super) const PIECE: usize = 256 << 10;

/// The end of a queue to a writer.
#[derive(Debug)]
pub(super) struct Sink<W> {
    to: mpsc::Sender<Bytes>,
    done: oneshot::Receiver<(W, io::Result<()>)>,
}

impl<W: Write + Send + 'static> Sink<W> {
    /// Starts a thread for `writer`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(mut writer: W) -> io::Result<Self> {
        let (to, mut from) = mpsc::channel::<Bytes>(QUEUE);
        let (tell, done) = oneshot::channel();
        thread::Builder::new().name("sink".to_owned()).spawn(move || {
            let mut written = Ok(());
            while let Some(piece) = from.blocking_recv() {
                written = writer.write_all(&piece);
                if written.is_err() {
                    break;
                }
            }
            let written = written.and_then(|()| writer.flush());
            // Whoever does not wait for it has failed already.
            let _ = tell.send((writer, written));
        })?;
        Ok(Sink { to, done })
    }

    /// Writes `piece`, when there is room for it.
    ///
    /// # Errors
    /// When the writer has failed; [`Sink::finish`] says how.
    pub(super) async fn write(&self, piece: Bytes) -> Result<(), ()> {
        self.to.send(piece).await.map_err(drop)
    }

    /// Waits until all is written and flushed.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) async fn finish(self) -> io::Result<W> {
        drop(self.to);
        let (writer, written) =
            self.done.await.map_err(|_| io::Error::other("the thread that writes has ended by a panic"))?;
        written.map(|()| writer)
    }
}

/// Starts a thread that reads `reader` to its end. Each piece comes when the last was taken; without a last
/// one that is `Ok` and empty, the end was not reached.
///
/// # Errors
/// When no thread can be started.
pub(super) fn source(mut reader: Box<dyn Read + Send>) -> io::Result<mpsc::Receiver<io::Result<Bytes>>> {
    let (to, from) = mpsc::channel(QUEUE);
    thread::Builder::new().name("source".to_owned()).spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = match reader.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read,
            };
            let is_last = !matches!(read, Ok(1..));
            let read = read.map(|length| {
                piece.truncate(length);
                Bytes::from(piece)
            });
            if to.blocking_send(read).is_err() || is_last {
                break;
            }
        }
    })?;
    Ok(from)
}
