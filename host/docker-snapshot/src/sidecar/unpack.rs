//! A backup out of a store, as an archive that can be read at offsets: decrypted and unpacked into a file
//! without a name. It is whole, and what its maker said it is, before anything is restored from it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use snapshotter::{Archive, Source};
use snapshotter_vault::catalog::About;
use snapshotter_vault::encode::{Decoder, Keys};
use snapshotter_vault::store::Reader;
use tokio::runtime::Handle;

use crate::job::interrupt::Interrupt;
use crate::job::tell::{Notice, Tell};
use crate::sidecar::backups::Found;

/// How much is carried at a time.
const PIECE: usize = 1 << 20;
/// How often it is told how far it is.
const TICK: Duration = Duration::from_millis(500);

/// An archive in a file without a name.
#[derive(Debug, Clone)]
pub(crate) struct Unpacked {
    file: Arc<File>,
    length: u64,
    name: String,
}

impl Unpacked {
    /// As the core reads it.
    pub(crate) fn archive(&self) -> Archive {
        Archive::from_source(Box::new(self.clone()))
    }
}

impl Source for Unpacked {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
}

/// A backup from front to back, hashed.
struct Sequence {
    reader: Reader,
    at: u64,
    sum: Arc<std::sync::Mutex<Sha256>>,
    count: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
}

impl Read for Sequence {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped by a signal"));
        }
        let count = self.reader.read_at(buffer, self.at)?;
        self.at += count as u64;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        let mut sum = self.sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sum.update(&buffer[..count]);
        Ok(count)
    }
}

/// Unpacks `found` into a file without a name in `directory`.
///
/// # Errors
/// When it cannot be read, the keys do not fit, or it is not what was stored.
pub(crate) async fn unpack(
    found: &Found,
    keys: Keys,
    directory: &Path,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<Unpacked> {
    let name = format!("{}/{}", found.store.address(), found.backup.object.name);
    tell(&Notice::Step("unpacking"));
    let count = Arc::new(AtomicU64::new(0));
    let sum = Arc::new(std::sync::Mutex::new(Sha256::new()));
    let sequence = Sequence {
        reader: Reader::new(Arc::clone(&found.store), found.backup.object.clone(), Handle::current()),
        at: 0,
        sum: Arc::clone(&sum),
        count: Arc::clone(&count),
        stopped: stop.flag(),
    };
    let (encoding, directory) = (found.backup.encoding, directory.to_owned());
    let mut work = tokio::task::spawn_blocking(move || -> anyhow::Result<(File, u64)> {
        let mut decoder = Decoder::new_in(sequence, encoding, &keys, &directory)?;
        let mut file = tempfile::tempfile_in(&directory).context("cannot unpack it")?;
        let length = copy(&mut decoder, &mut file).context("cannot unpack it")?;
        if !decoder.is_complete() {
            bail!("cannot unpack it: it is cut off");
        }
        Ok((file, length))
    });
    let mut told = 0;
    let result = loop {
        let result = tokio::time::timeout(TICK, &mut work).await;
        let now = count.load(Ordering::Relaxed);
        tell(&Notice::Bytes(now - told));
        told = now;
        if let Ok(result) = result {
            break result;
        }
    };
    tell(&Notice::Done);
    let result = result.map_err(io::Error::other)?;
    if result.is_err() {
        stop.check("nothing was changed")?;
    }
    let (file, length) = result.with_context(|| format!("cannot restore {name}"))?;
    let sum = std::mem::take(&mut *sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    compare(found, &hex::encode(sum.finalize())).with_context(|| format!("cannot restore {name}"))?;
    Ok(Unpacked { file: Arc::new(file), length, name })
}

/// Holds the sum of what was read against what was written down when it was stored.
fn compare(found: &Found, sum: &str) -> anyhow::Result<()> {
    match &found.backup.about {
        About::Said(record) => match &record.checksum {
            Some(said) if said.algo == "sha256" && !said.tar_zst.eq_ignore_ascii_case(sum) => {
                bail!("it has another SHA-256 than when it was stored: take another backup, or another store")
            }
            _ => Ok(()),
        },
        // Its own checksums are all there is.
        About::Nothing => Ok(()),
        About::Unreadable(why) => bail!("{why}: take another backup, or another store"),
    }
}

fn copy(from: &mut impl Read, to: &mut File) -> io::Result<u64> {
    let (mut piece, mut length) = (vec![0; PIECE], 0);
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            return Ok(length);
        }
        to.write_all(&piece[..count])?;
        length += count as u64;
    }
}
