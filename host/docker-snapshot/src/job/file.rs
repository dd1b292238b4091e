//! Work on whole files, in a thread of its own, so that signals are heard meanwhile.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use sha2::{Digest, Sha256};
use snapshotter_vault::encode::{Compression, Encoder, Seal};

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
    work(path, what, stop, tell, |mut from| copy(&mut from, &mut io::sink()))
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
    work(from, what, stop, tell, move |mut from| {
        let mut to = new_file(&path)?;
        let sum = copy(&mut from, &mut to)?;
        to.sync_all()?;
        Ok(sum)
    })
    .await
    .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Compresses the file at `from` into a new one at `to`, which is on disk then.
///
/// # Errors
/// As [`copied`].
pub(crate) async fn compressed(
    from: &Path,
    to: &Path,
    compression: Compression,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<Sum> {
    let path = to.to_owned();
    work(from, "compressing", stop, tell, move |mut from| {
        let mut encoder = encoder(&path, compression)?;
        io::copy(&mut from, &mut encoder)?;
        finished(encoder)
    })
    .await
    .with_context(|| format!("cannot compress {} into {}", from.display(), to.display()))
}

/// An encoder into a new file at `path`.
///
/// # Errors
/// When the file cannot be made.
pub(crate) fn encoder(path: &Path, compression: Compression) -> io::Result<Encoder<File>> {
    Encoder::new(new_file(path)?, compression, &Seal::None).map_err(io::Error::other)
}

/// Closes the file of `encoder`, which is on disk then.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn finished(encoder: Encoder<File>) -> io::Result<Sum> {
    let (file, summary) = encoder.finish().map_err(io::Error::other)?;
    file.sync_all()?;
    Ok(Sum { bytes: summary.bytes_out, sha256: summary.sha256_hex() })
}

async fn work<F>(path: &Path, what: &str, stop: &Interrupt, tell: Tell<'_>, work: F) -> io::Result<Sum>
where
    F: FnOnce(Watched) -> io::Result<Sum> + Send + 'static,
{
    tell(&Notice::Step(what));
    let (path, count, flag): (PathBuf, _, _) = (path.to_owned(), Arc::new(AtomicU64::new(0)), stop.flag());
    let counted = Arc::clone(&count);
    let mut working =
        tokio::task::spawn_blocking(move || work(Watched { file: File::open(path)?, flag, count: counted }));
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
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<Sum> {
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
