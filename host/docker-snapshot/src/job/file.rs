//! Work on whole files, in a thread of its own, so that signals are heard meanwhile.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use sha2::{Digest, Sha256};
use snapshotter_vault::encode::{Compression, Encoder, Encryption, Seal, Summary};
use snapshotter_vault::store::PipeWriter;

use crate::job::interrupt::Interrupt;
use crate::job::place::new_file;
use crate::job::tell::{Notice, Tell};

/// How much is read at a time.
const PIECE: usize = 1 << 20;
/// How often it is told how far it is.
const TICK: Duration = Duration::from_millis(200);

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) bytes: u64,
    /// The SHA-256, in hexadecimal digits.
    pub(crate) sha256: String,
}

impl Sum {
    /// That of what an encoder wrote.
    fn of(summary: &Summary) -> Self {
        Sum { bytes: summary.bytes_out, sha256: summary.sha256_hex() }
    }
}

/// Reads `file` to its end, or until the flag is set, and counts what it reads.
struct Watched {
    file: File,
    flag: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.flag.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped by a signal"));
        }
        let count = self.file.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The sum of the file at `path`.
///
/// # Errors
/// When it cannot be read, or a signal came.
pub(crate) async fn sum(path: &Path, what: &str, stop: &Interrupt, tell: Tell<'_>) -> anyhow::Result<Sum> {
    work(File::open(path), what, stop, tell, |mut from| copy(&mut from, &mut io::sink()))
        .await
        .with_context(|| format!("cannot read {}", path.display()))
}

/// The same without a word, and without an ear for signals.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn sum_of(path: &Path) -> anyhow::Result<Sum> {
    let sum = File::open(path).and_then(|mut file| copy(&mut file, &mut io::sink()));
    sum.with_context(|| format!("cannot read {}", path.display()))
}

/// Copies the file at `from` to a new one at `to`, which is on disk then.
///
/// # Errors
/// As [`sum`], and when it cannot be written.
pub(crate) async fn copied(
    from: &Path,
    to: &Path,
    what: &str,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<Sum> {
    let path = to.to_owned();
    work(File::open(from), what, stop, tell, move |mut from| {
        let mut to = new_file(&path)?;
        let sum = copy(&mut from, &mut to)?;
        to.sync_all()?;
        Ok(sum)
    })
    .await
    .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Encodes what `from` has into a new file at `to`, which is on disk then.
///
/// # Errors
/// As [`copied`].
pub(crate) async fn encoded(
    from: &Whole,
    to: &Path,
    compression: Compression,
    seal: &Seal,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<Sum> {
    let (path, seal) = (to.to_owned(), seal.clone());
    let what = if seal.encryption() == Encryption::None { "compressing" } else { "encrypting" };
    let work = work(from.open(), what, stop, tell, move |mut from| {
        let mut encoder = encoder(&path, compression, &seal)?;
        transfer(&mut from, &mut encoder)?;
        finished(encoder)
    });
    work.await.with_context(|| format!("cannot write the encoded archive {}", to.display()))
}

/// Encodes what `from` has into `to`, whose other end stores read.
///
/// # Errors
/// When it cannot be read, the stores take no more, or a signal came.
pub(crate) async fn encoded_to_stores(
    from: &Whole,
    to: PipeWriter,
    compression: Compression,
    seal: &Seal,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<Sum> {
    let seal = seal.clone();
    let work = work(from.open(), "storing", stop, tell, move |mut from| {
        let mut encoder = Encoder::new(to, compression, &seal)?;
        transfer(&mut from, &mut encoder)?;
        shipped(encoder)
    });
    work.await.context("cannot encode the archive into its stores")
}

/// A file that is read as a whole, with or without a name.
#[derive(Debug)]
pub(crate) enum Whole {
    At(PathBuf),
    Unnamed(File),
}

impl Whole {
    /// Another handle, at the beginning.
    fn open(&self) -> io::Result<File> {
        match self {
            Whole::At(path) => File::open(path),
            // Handles that are copied share one position, so it is opened anew.
            Whole::Unnamed(file) => File::open(format!("/proc/self/fd/{}", file.as_raw_fd())),
        }
    }

    /// Its length in bytes.
    ///
    /// # Errors
    /// When that cannot be told.
    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(self.open()?.metadata()?.len())
    }
}

/// An encoder into a new file at `path`.
///
/// # Errors
/// When the file cannot be made, or it cannot be encrypted so.
pub(crate) fn encoder(path: &Path, compression: Compression, seal: &Seal) -> io::Result<Encoder<File>> {
    Ok(Encoder::new(new_file(path)?, compression, seal)?)
}

/// Closes the file of `encoder`, which is on disk then.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn finished(encoder: Encoder<File>) -> io::Result<Sum> {
    let (file, summary) = encoder.finish()?;
    file.sync_all()?;
    Ok(Sum::of(&summary))
}

/// Says to stores that what `encoder` wrote is all.
///
/// # Errors
/// When they take no more.
pub(crate) fn shipped(encoder: Encoder<PipeWriter>) -> io::Result<Sum> {
    let (to, summary) = encoder.finish()?;
    to.finish()?;
    Ok(Sum::of(&summary))
}

/// As [`io::copy`], in larger pieces.
fn transfer(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

async fn work<F>(
    file: io::Result<File>,
    what: &str,
    stop: &Interrupt,
    tell: Tell<'_>,
    work: F,
) -> io::Result<Sum>
where
    F: FnOnce(Watched) -> io::Result<Sum> + Send + 'static,
{
    tell(&Notice::Step(what));
    let (file, count, flag) = (file?, Arc::new(AtomicU64::new(0)), stop.flag());
    let counted = Arc::clone(&count);
    let mut working = tokio::task::spawn_blocking(move || work(Watched { file, flag, count: counted }));
    let mut told = 0;
    let mut progress = || {
        let now = count.load(Ordering::Relaxed);
        tell(&Notice::Bytes(now - told));
        told = now;
    };
    let result = loop {
        match tokio::time::timeout(TICK, &mut working).await {
            Ok(result) => break result.unwrap_or_else(|error| Err(io::Error::other(error))),
            Err(_) => progress(),
        }
    };
    progress();
    tell(&Notice::Done);
    result
}

/// Copies all of `from` to `to`, and says what it was.
///
/// # Errors
/// Those of both.
pub(crate) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<Sum> {
    let mut buffer = vec![0; PIECE];
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        hash.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
        bytes += count as u64;
    }
    Ok(Sum { bytes, sha256: hex::encode(hash.finalize()) })
}
