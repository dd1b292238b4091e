//! An archive inside of an encoded one, wherever that lies, read at offsets: the core's library asks for what it
//! needs, and no more is fetched, decrypted and decompressed than that.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use anyhow::Context;
use snapshotter::{Archive, Source};
use snapshotter_vault::encode::{Compression, Encoding, Encryption, Error, Keys, ReadAt, SeekableDecoder};
use snapshotter_vault::store::Reader;
use tokio::runtime::Handle;

use crate::job::found::{Found, Whence};

/// What is read at a time of what may be damaged: no frame, and no chunk of age, begins or ends within.
const PIECE: usize = 64 << 10;

/// Whether what is encoded so can be read at offsets.
pub(crate) fn is_possible(encoding: Encoding) -> bool {
    encoding.encryption != Encryption::OpenPgp && !matches!(encoding.compression, Compression::Gzip { .. })
}

/// The archive inside of `found`. It must be read, and this be called, in threads that may wait.
///
/// # Errors
/// When it cannot be decrypted, or be read at offsets.
pub(crate) fn archive(found: &Found, keys: &Keys) -> anyhow::Result<Archive> {
    let inside = Inside::open(source(found)?, found.encoding, keys, found.shown())?;
    Ok(Archive::from_source(Box::new(inside)))
}

/// The same, in which zeros take the place of what is damaged: whoever holds what is read against checksums can
/// go on behind that. It is read from `copy` where there is one.
///
/// # Errors
/// As [`archive`].
pub(crate) fn salvaged(found: &Found, copy: Option<File>, keys: &Keys) -> anyhow::Result<Archive> {
    let source = match copy {
        Some(copy) => Box::new(copy),
        None => source(found)?,
    };
    let inside = Inside::open(source, found.encoding, keys, found.shown())?;
    Ok(Archive::from_source(Box::new(Salvaged(inside))))
}

fn source(found: &Found) -> anyhow::Result<Box<dyn ReadAt>> {
    Ok(match &found.whence {
        Whence::File(path) => {
            Box::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
        Whence::Object(store, object) => {
            Box::new(Remote(Reader::new(store.clone(), object.clone(), Handle::current())))
        }
    })
}

/// The archive that `file` is, which may have no name.
///
/// # Errors
/// When its length cannot be told.
pub(crate) fn of_file(file: File, name: String) -> io::Result<Archive> {
    let length = file.metadata()?.len();
    Ok(Archive::from_source(Box::new(Plain { file, name, length })))
}

/// An object in a store.
struct Remote(Reader);

impl ReadAt for Remote {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.length())
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(out, offset)
    }
}

struct Inside {
    decoder: SeekableDecoder<Box<dyn ReadAt>>,
    name: String,
    length: u64,
}

impl Inside {
    fn open(source: Box<dyn ReadAt>, encoding: Encoding, keys: &Keys, name: String) -> anyhow::Result<Self> {
        let failed = || format!("cannot read {name}");
        let decoder = SeekableDecoder::open(source, encoding, keys).with_context(failed)?;
        let length = decoder.len().with_context(failed)?;
        Ok(Inside { decoder, name, length })
    }
}

impl Source for Inside {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.decoder.read_at(buffer, offset)
    }
}

/// What has zeros where it is damaged.
struct Salvaged(Inside);

impl Source for Salvaged {
    fn name(&self) -> String {
        self.0.name()
    }

    fn length(&self) -> u64 {
        self.0.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // Little at a time, so that what is sound beside the damage is not lost with it.
        let count = buffer.len().min(PIECE - usize::try_from(offset % PIECE as u64).unwrap_or_default());
        let piece = &mut buffer[..count];
        match self.0.read_at(piece, offset) {
            Err(error) if matches!(Error::inside(&error), Some(Error::Damaged { .. })) => {
                piece.fill(0);
                Ok(usize::try_from(self.length() - offset).map_or(count, |left| count.min(left)))
            }
            read => read,
        }
    }
}

struct Plain {
    file: File,
    name: String,
    length: u64,
}

impl Source for Plain {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(&self.file, buffer, offset)
    }
}
