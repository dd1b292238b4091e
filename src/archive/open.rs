//! Opening an archive and reading from it by offset, and what to say when it is none.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use crate::archive::ustar::Block;
use crate::error::{Context, Error, Hint, Result};
use crate::fs::by_path::canonical;
use crate::fs::ids::is_confined;
use crate::fs::lock::{self, Mode};
use crate::fs::{FileId, FileKind, Handle, StoreFile};
use crate::name::Shown;
use crate::observer::Run;

/// An archive that is open for reading. Bytes before its end never change, so any number of readers may share
/// it.
#[derive(Debug)]
pub(crate) struct Reader {
    file: StoreFile,
    name: Shown,
    length: u64,
    id: FileId,
    /// See [`Reader::with_any_padding`].
    any_padding: bool,
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
    pub(crate) fn open(path: &Path, access: Access) -> Result<Arc<Self>> {
        let name = Shown::from(path);
        let file = StoreFile::new(open(path, &name, access)?);
        let stat = file.stat().context("look at", &name)?;
        Ok(Arc::new(Reader { file, length: stat.size, id: stat.id, name, any_padding: false }))
    }

    /// What was read from a stream, called `name`.
    pub(crate) fn of_stream(file: Handle, name: Shown) -> Result<Arc<Self>> {
        let file = StoreFile::new(file);
        let stat = file.stat().context("look at", &name)?;
        Ok(Arc::new(Reader { file, length: stat.size, id: stat.id, name, any_padding: false }))
    }

    /// The same, and what `look` says of it while nobody appends to it.
    pub(crate) fn open_settled<T>(
        path: &Path,
        lock_timeout: Duration,
        run: &Run,
        look: impl FnOnce(&Arc<Self>, &Run) -> T,
    ) -> Result<(Arc<Self>, T)> {
        let opened = Reader::open(path, Access::Read)?;
        lock::lock(opened.file().handle(), Mode::Shared, opened.name(), lock_timeout, run)?;
        let reader = opened.refreshed()?;
        let seen = look(&reader, run);
        // Bytes before the end never change, so from here on no lock is needed.
        let _ = reader.file().handle().as_file().unlock();
        Ok((reader, seen))
    }

    /// The same open archive with the length that it has now, for after a lock was waited for.
    pub(crate) fn refreshed(self: &Arc<Self>) -> Result<Arc<Self>> {
        let stat = self.file.stat().context("look at", &self.name)?;
        if stat.size == self.length {
            return Ok(Arc::clone(self));
        }
        Ok(Arc::new(Reader { length: stat.size, ..self.duplicate()? }))
    }

    /// The same open archive, of which data that matches its checksum is taken whatever the padding behind it
    /// is.
    pub(crate) fn with_any_padding(&self) -> Result<Arc<Self>> {
        Ok(Arc::new(Reader { any_padding: true, ..self.duplicate()? }))
    }

    fn duplicate(&self) -> Result<Self> {
        let file = StoreFile::new(self.file.handle().duplicate().context("open", &self.name)?);
        Ok(Reader { file, name: self.name.clone(), ..*self })
    }

    pub(crate) fn takes_any_padding(&self) -> bool {
        self.any_padding
    }

    pub(crate) fn name(&self) -> &Shown {
        &self.name
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    pub(crate) fn file(&self) -> &StoreFile {
        &self.file
    }

    /// Fills `buffer` from `offset`, or as much of it as the archive has.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.file.read_at(buffer, offset).context("read", &self.name)
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

/// What a pipe, a device or a socket is told.
const NO_FILE: &str = "it is no regular file, and an archive is read by offsets and appended to";

/// How other files begin that are taken for archives.
const MAGIC: [(&[u8], &str); 9] = [
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"LZIP", "lzip"),
    (b"\x1f\x9d", "compress"),
    (b"age-encryption.org/", "age"),
];

/// Of a file that begins so, the format, where it is no tar but may hold one.
pub(crate) fn packed_as(beginning: &[u8]) -> Option<&'static str> {
    // Where a tar says that it is one.
    let is_tar = beginning.get(257..262) == Some(b"ustar");
    let format = MAGIC.iter().find(|(magic, _)| beginning.starts_with(magic));
    format.filter(|_| !is_tar).map(|(_, format)| *format)
}

/// What a block at `at` that is no header may be.
pub(crate) fn describe(at: u64, block: &Block) -> String {
    if at > 0 || block[257..262] == *b"ustar" {
        return "neither a member's header nor the end of the archive".to_owned();
    }
    match packed_as(block) {
        Some(format) => format!("this is a {format} file and not a tar: unpack it first"),
        None => {
            "this is not a tar: name the right file, or make a new archive with `snapshotter init`".to_owned()
        }
    }
}

fn open(path: &Path, name: &Shown, access: Access) -> Result<Handle> {
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
    opened.map_err(|source| {
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
        (Errno::ENOENT, _) if path.as_os_str() == "-" => Some(Hint::NoStream),
        (Errno::ENOENT | Errno::ELOOP, Access::Init) => Some(Hint::RemoveDanglingLink),
        (Errno::ENOENT, _) => Some(Hint::MakeArchive),
        (Errno::ELOOP | Errno::ENOTDIR, _) => Some(Hint::NameArchive),
        _ => None,
    };
    let error = Error::Io { action, path: name.clone(), source };
    error.with_hint(hint)
}
