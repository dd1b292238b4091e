//! What an archive is read from: a file by its path, standard input, or whatever else can be read at offsets.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::name::Shown;

/// What standard input is called in messages and reports.
pub(crate) const STDIN: &str = "standard input";

/// Anything that can be read at offsets, such as a part of a larger file, or an archive that is kept encrypted
/// on a server. Several threads read at a time. What it says is believed no more than what a file holds:
/// everything read is held against the archive's checksums.
pub trait Source: Send + Sync {
    /// What it is called in messages and reports. It is asked for once.
    fn name(&self) -> String;

    /// How many bytes it has. It is asked for once, and no byte at or behind it is read.
    fn length(&self) -> u64;

    /// Reads from `offset` into `buffer`, which is not empty, and returns how many bytes that were: at least
    /// one, where the source is not over at `offset`. Fewer than would fit are no error; the rest is asked for
    /// again.
    ///
    /// # Errors
    /// Any but [`io::ErrorKind::Interrupted`], after which it is asked again, ends what is being done. A source
    /// that may wait for ever must set itself a limit: a run that is to stop stops only between reads.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// An archive that is to be read.
#[derive(Clone)]
pub struct Archive(pub(super) Whence);

#[derive(Clone)]
pub(super) enum Whence {
    Path(PathBuf),
    Source(Arc<dyn Source>),
    Stdin,
}

impl Archive {
    /// The archive that `source` has. Nobody may append to it while it is read.
    ///
    /// ```
    /// use snapshotter::observer::Run;
    /// use snapshotter::{Archive, ListOptions, Source, list};
    ///
    /// struct Bytes(Vec<u8>);
    ///
    /// impl Source for Bytes {
    ///     fn name(&self) -> String {
    ///         "backup.tar in memory".to_owned()
    ///     }
    ///
    ///     fn length(&self) -> u64 {
    ///         self.0.len() as u64
    ///     }
    ///
    ///     fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    ///         let rest = usize::try_from(offset).ok().and_then(|from| self.0.get(from..)).unwrap_or_default();
    ///         let count = rest.len().min(buffer.len());
    ///         buffer[..count].copy_from_slice(&rest[..count]);
    ///         Ok(count)
    ///     }
    /// }
    ///
    /// let archive = Archive::from_source(Box::new(Bytes(vec![0; 1024])));
    /// let listing = list(&ListOptions { archive, ..ListOptions::default() }, &Run::default())?;
    /// assert!(listing.snapshots.is_empty() && listing.problems.is_empty());
    /// # Ok::<(), snapshotter::Error>(())
    /// ```
    pub fn from_source(source: Box<dyn Source>) -> Self {
        Archive(Whence::Source(source.into()))
    }

    /// The archive that comes as standard input, which can be read only once. A regular file is read where it
    /// is; all else is first taken to its end, into a file without a name: on the filesystem that is restored
    /// to, or for [`list`](crate::list()), [`members`](crate::members) and [`verify`](crate::verify) in the
    /// directory for temporary files.
    pub fn stdin() -> Self {
        Archive(Whence::Stdin)
    }

    /// How reports name it.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.0 {
            Whence::Path(path) => path.clone(),
            Whence::Source(source) => PathBuf::from(Shown::from(source.name().as_str()).to_string()),
            Whence::Stdin => PathBuf::from(STDIN),
        }
    }
}

impl Default for Archive {
    fn default() -> Self {
        Path::new(crate::defaults::DEFAULT_ARCHIVE).into()
    }
}

impl From<PathBuf> for Archive {
    fn from(path: PathBuf) -> Self {
        Archive(Whence::Path(path))
    }
}

impl From<&Path> for Archive {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<&str> for Archive {
    fn from(path: &str) -> Self {
        Path::new(path).into()
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Archive").field(&self.path()).finish()
    }
}

/// Fills `buffer` from `offset`, or as much of it as there is; returns how much that was.
pub(super) fn fill(source: &dyn Source, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        let most = rest.len();
        match source.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) if count > most => {
                return Err(io::Error::other(format!("it gave {count} bytes where {most} were asked for")));
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
