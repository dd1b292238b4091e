//! Opening an archive and reading from it by offset, and what to say when it is none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use nix::errno::Errno;

use crate::archive::source::{self, Archive, STDIN, Source, Whence};
use crate::archive::stdin;
use crate::error::{Context, Error, Hint, Result};
use crate::fs::by_path::canonical;
use crate::fs::ids::is_confined;
use crate::fs::lock::{self, Mode};
use crate::fs::{FileId, FileKind, Handle, Stat, StoreFile};
use crate::name::Shown;
use crate::observer::Run;

/// An archive that is open for reading. Bytes before its end never change, so any number of readers may share
/// it.
#[derive(Clone)]
pub(crate) struct Reader {
    backing: Backing,
    name: Shown,
    length: u64,
    /// It came as a stream, and ends where that did.
    is_stream: bool,
    /// See [`Reader::with_any_padding`].
    any_padding: bool,
}

/// Where its bytes come from.
#[derive(Clone)]
enum Backing {
    File { file: Arc<StoreFile>, id: FileId },
    Source(Arc<dyn Source>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Append,
    Init,
    /// To read what another program made.
    Foreign,
}

impl Reader {
    /// The archive that is open as `file`, with the length that it has now.
    pub(crate) fn of_file(file: Arc<StoreFile>, name: Shown) -> Result<Arc<Self>> {
        let Stat { size: length, id, .. } = file.stat().context("look at", &name)?;
        let backing = Backing::File { file, id };
        Ok(Arc::new(Reader { backing, length, name, is_stream: false, any_padding: false }))
    }

    /// Standard input, which was taken into `file`.
    pub(crate) fn of_stream(file: Arc<StoreFile>) -> Result<Arc<Self>> {
        let reader = Self::of_file(file, Shown::from(STDIN))?;
        Ok(Arc::new(Reader { is_stream: true, ..Reader::clone(&reader) }))
    }

    fn of_source(source: &Arc<dyn Source>) -> Arc<Self> {
        let (name, length) = (Shown::from(source.name().as_str()), source.length());
        let backing = Backing::Source(Arc::clone(source));
        Arc::new(Reader { backing, name, length, is_stream: false, any_padding: false })
    }

    /// The file at `path`, for reading.
    pub(crate) fn open(path: &Path, access: Access) -> Result<Arc<Self>> {
        let name = Shown::from(path);
        Self::of_file(open(path, &name, access)?, name)
    }

    /// `archive`, and what `look` says of it while nobody appends to it. Standard input is taken into the first
    /// of the directories `spool` that can have a file.
    pub(crate) fn open_settled<T>(
        archive: &Archive,
        spool: &[PathBuf],
        lock_timeout: Duration,
        run: &Run,
        look: impl FnOnce(&Arc<Self>, &Run) -> T,
    ) -> Result<(Arc<Self>, T)> {
        let with_look = |reader: Arc<Self>| {
            let seen = look(&reader, run);
            Ok((reader, seen))
        };
        let (file, name) = match &archive.0 {
            Whence::Source(source) => return with_look(Self::of_source(source)),
            Whence::Stdin => match stdin::archive(spool, run)? {
                (file, true) => return with_look(Self::of_stream(file)?),
                (file, false) => (file, Shown::from(STDIN)),
            },
            Whence::Path(path) => {
                let name = Shown::from(path.as_path());
                (open(path, &name, Access::Read)?, name)
            }
        };
        lock::lock(file.handle(), Mode::Shared, &name, lock_timeout, run)?;
        let looked = with_look(Self::of_file(Arc::clone(&file), name)?);
        // Bytes before the end never change, so from here on no lock is needed.
        let _ = file.handle().as_file().unlock();
        looked
    }

    /// The same open archive, of which data that matches its checksum is taken whatever the padding behind it
    /// is.
    pub(crate) fn with_any_padding(&self) -> Arc<Self> {
        Arc::new(Reader { any_padding: true, ..self.clone() })
    }

    pub(crate) fn takes_any_padding(&self) -> bool {
        self.any_padding
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.is_stream
    }

    pub(crate) fn name(&self) -> &Shown {
        &self.name
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Which file it is, if it is one.
    pub(crate) fn id(&self) -> Option<FileId> {
        match self.backing {
            Backing::File { id, .. } => Some(id),
            Backing::Source(_) => None,
        }
    }

    /// Whether somebody may append to it, now or between two runs.
    pub(crate) fn grows(&self) -> bool {
        matches!(self.backing, Backing::File { .. })
    }

    /// The file, where it is one: of that data can be cloned.
    pub(crate) fn file(&self) -> Option<&StoreFile> {
        match &self.backing {
            Backing::File { file, .. } => Some(file),
            Backing::Source(_) => None,
        }
    }

    /// Fills `buffer` from `offset`, or as much of it as the archive has.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        match &self.backing {
            Backing::File { file, .. } => file.read_at(buffer, offset),
            Backing::Source(source) => {
                // It may have more than it said.
                let most = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
                let most = most.min(buffer.len());
                source::fill(&**source, &mut buffer[..most], offset)
            }
        }
        .context("read", &self.name)
    }

    /// Fills `buffer` from `offset`, which must lie inside.
    pub(crate) fn read_exact(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        if self.read(buffer, offset)? == buffer.len() { Ok(()) } else { Err(self.shrunk(offset)) }
    }

    /// The error for bytes that were there when the archive was opened.
    pub(crate) fn shrunk(&self, offset: u64) -> Error {
        self.damaged(offset, "it became shorter while it was read")
    }

    /// The error for what is wrong at `offset`.
    pub(crate) fn damaged(&self, offset: u64, reason: impl Into<String>) -> Error {
        Error::Damaged { archive: self.name.clone(), offset, reason: reason.into() }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.name)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// What a pipe, a device or a socket is told.
const NO_FILE: &str = "it is no regular file, and an archive is read by offsets and appended to";

/// Opens the file at `path`, called `name`.
pub(super) fn open(path: &Path, name: &Shown, access: Access) -> Result<Arc<StoreFile>> {
    let action = match access {
        Access::Read | Access::Foreign => "read",
        Access::Append => "append to",
        Access::Init => "initialise",
    };
    // A FIFO must not be opened, and a directory cannot be: ask first. The path itself may be a symbolic
    // link.
    let (real, kind) = match canonical(path) {
        Ok(real) => {
            let handle = Handle::open_path(&real);
            let kind = handle.and_then(|handle| handle.stat()).context("look at", name)?.kind;
            (real, kind)
        }
        // The link to a pipe, as `/dev/stdin` may be one, leads to no path.
        Err(source) => match kind_of(path).filter(|kind| *kind != FileKind::File) {
            Some(kind) => (path.to_owned(), kind),
            None => return Err(missing(path, access, action, name, source)),
        },
    };
    let (reason, hint) = match kind {
        FileKind::File => ("", None),
        FileKind::Directory if access == Access::Init => ("Is a directory", Some(Hint::NameFileInIt)),
        FileKind::Directory => ("Is a directory", Some(Hint::ArchiveIsDirectory)),
        _ if access == Access::Init => (NO_FILE, Some(Hint::NameAnotherArchive)),
        _ => (NO_FILE, Some(Hint::ArchiveIsNoFile)),
    };
    if let Some(hint) = hint {
        let hint = if access == Access::Foreign { Hint::PipeTar { unpack: None } } else { hint };
        let error = Error::Archive { action, archive: name.clone(), reason: reason.to_owned() };
        return Err(error.with_hint(hint));
    }
    let opened = match access {
        Access::Read | Access::Foreign => Handle::open_for_reading(&real),
        Access::Append | Access::Init => Handle::open_for_update(&real),
    };
    opened.map(|handle| Arc::new(StoreFile::new(handle))).map_err(|source| {
        let hint = match Errno::from_raw(source.raw_os_error().unwrap_or(0)) {
            Errno::EROFS => Some(Hint::MountArchiveWritable),
            Errno::EACCES if is_confined() => Some(Hint::ClosedInNamespace),
            Errno::EACCES => Some(Hint::ArchiveAccess { action: action.to_owned() }),
            _ => None,
        };
        let error = Error::Io { action, path: name.clone(), source };
        error.with_hint(hint)
    })
}

/// What is at `path`, where links are followed, if that can be told.
fn kind_of(path: &Path) -> Option<FileKind> {
    Handle::open_linked_path(path).and_then(|handle| handle.stat()).ok().map(|stat| stat.kind)
}

fn missing(path: &Path, access: Access, action: &'static str, name: &Shown, source: io::Error) -> Error {
    let hint = match (Errno::from_raw(source.raw_os_error().unwrap_or(0)), access) {
        (_, Access::Foreign) => None,
        (Errno::ENOENT, Access::Append) if path.as_os_str() == "-" => Some(Hint::NoStream),
        (Errno::ENOENT | Errno::ELOOP, Access::Init) => Some(Hint::RemoveDanglingLink),
        (Errno::ENOENT, _) => Some(Hint::MakeArchive),
        (Errno::ELOOP | Errno::ENOTDIR, _) => Some(Hint::NameArchive),
        _ => None,
    };
    let error = Error::Io { action, path: name.clone(), source };
    error.with_hint(hint)
}
