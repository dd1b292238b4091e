//! What the walk hands to a worker, and what it gets back: a batch of files, and what came of it.

use std::ops::Range;
use std::sync::Arc;

use nix::errno::Errno;

use crate::archive::chunk::Chunk;
use crate::archive::decode::Head;
use crate::archive::member::Stored;
use crate::archive::open::Reader;
use crate::error::{Error, reason};
use crate::fs::Handle;
use crate::fs::clone::DevicePair;
use crate::fs::handle::join;
use crate::fs::has_errno;
use crate::name::Shown;
use crate::observer::Observer;
use crate::restore::metadata::{Creator, Metadata};
use crate::restore::owners::Remark;

/// A batch is full when it has this many files, or this many bytes of them or of their names.
const MAX_FILES: usize = if cfg!(test) { 3 } else { 64 };
const MAX_BYTES: u64 = 128 << 10;
const MAX_NAMES: usize = 16 << 10;

/// What all files of one volume share.
#[derive(Debug)]
pub(super) struct PerVolume {
    /// The volume's path, for messages.
    pub(super) path: Vec<u8>,
    pub(super) creator: Creator,
    /// The archive's filesystem and the volume's.
    pub(super) pair: DevicePair,
}

impl PerVolume {
    pub(super) fn new(path: &[u8]) -> Arc<Self> {
        let (path, creator) = (path.to_vec(), Creator::this_process());
        Arc::new(PerVolume { path, creator, pair: DevicePair::default() })
    }
}

/// One file.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) volume: Arc<PerVolume>,
    /// Where it is to be made; `None` when it is only to be checked.
    pub(super) directory: Option<Arc<Handle>>,
    /// Its name in the archive and its path in the volume, in the batch's names.
    pub(super) name: Range<usize>,
    pub(super) path: Range<usize>,
    /// Where its header blocks begin in the batch's chunk.
    pub(super) at: usize,
    pub(super) stored: Stored,
    pub(super) metadata: Metadata,
}

/// A path that was made, of which the observer hears in its turn.
#[derive(Debug)]
struct Made {
    volume: Arc<PerVolume>,
    /// In the batch's names.
    path: Range<usize>,
}

/// A file that is handed over.
pub(super) struct NewFile<'a> {
    pub(super) volume: &'a Arc<PerVolume>,
    /// Where it is to be made; `None` when it is only to be checked.
    pub(super) directory: Option<&'a Arc<Handle>>,
    /// Its path in the volume.
    pub(super) path: &'a [u8],
    pub(super) head: &'a Head<'a>,
    pub(super) metadata: Metadata,
}

impl<'a> NewFile<'a> {
    /// One that is not made.
    pub(super) fn to_check(volume: &'a Arc<PerVolume>, path: &'a [u8], head: &'a Head<'a>) -> Self {
        NewFile { volume, directory: None, path, head, metadata: Metadata::default() }
    }
}

/// Files that one worker makes one after the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Its place in the order of all batches.
    pub(super) number: u64,
    /// What was read of the archive, with the header blocks of all files.
    pub(super) chunk: Arc<Chunk>,
    pub(super) tasks: Vec<Task>,
    /// The files' names in the archive, one after the other, and the paths of what was made without a worker.
    pub(super) names: Vec<u8>,
    made: Vec<Made>,
    bytes: u64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.made.is_empty() && self.tasks.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.tasks.len() >= MAX_FILES
            || self.made.len() >= 2 * MAX_FILES
            || self.bytes >= MAX_BYTES
            || self.names.len() >= MAX_NAMES
    }

    /// Whether a file can be added: all of a batch lie in one chunk.
    pub(super) fn takes(&self, file: &Head) -> bool {
        self.tasks.is_empty() || Arc::ptr_eq(&self.chunk, file.place().0)
    }

    pub(super) fn add(&mut self, file: NewFile) {
        let NewFile { volume, directory, path, head, metadata } = file;
        let (chunk, at) = head.place();
        if self.tasks.is_empty() {
            self.chunk = Arc::clone(chunk);
        }
        let name = self.keep(head.name);
        // Another name of a file may be restored as the file itself.
        let is_its = head.name.ends_with(path);
        let path = if is_its { name.end - path.len()..name.end } else { self.keep(path) };
        if directory.is_some() {
            self.made.push(Made { volume: Arc::clone(volume), path: path.clone() });
        }
        let (volume, directory, stored) = (Arc::clone(volume), directory.map(Arc::clone), head.stored);
        self.tasks.push(Task { volume, directory, name, path, at, stored, metadata });
        self.bytes += stored.length;
    }

    /// Adds what was made without a worker.
    pub(super) fn add_made(&mut self, volume: &Arc<PerVolume>, path: &[u8]) {
        let path = self.keep(path);
        self.made.push(Made { volume: Arc::clone(volume), path });
    }

    fn keep(&mut self, name: &[u8]) -> Range<usize> {
        let from = self.names.len();
        self.names.extend_from_slice(name);
        from..self.names.len()
    }

    /// Reports all that was made.
    pub(super) fn report(&self, observer: &dyn Observer) {
        for Made { volume, path } in &self.made {
            observer.member(&join(&volume.path, &self.names[path.clone()]));
        }
    }

    /// Lets go of the files: the walk may be waiting for their chunk.
    pub(super) fn release(&mut self) {
        self.chunk = Arc::default();
        self.tasks.clear();
    }

    /// Empties it, to be filled again.
    pub(super) fn clear(&mut self) {
        self.release();
        self.names.clear();
        self.made.clear();
        self.bytes = 0;
    }
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) batch: Batch,
    /// In the order of the archive.
    pub(super) remarks: Vec<(Vec<u8>, Remark)>,
    pub(super) error: Option<Error>,
}

/// Turns the error for a name that is there already, or that leads through something that is no directory,
/// into damage: in a directory that was empty before, that is the archive's fault. `start` and `name` are the
/// member's.
pub(super) fn blame(error: Error, reader: &Reader, start: u64, name: &[u8]) -> Error {
    const ITS_FAULT: [Errno; 5] =
        [Errno::EEXIST, Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP, Errno::ENAMETOOLONG];
    match error {
        Error::Io { source, .. } if has_errno(&source, &ITS_FAULT) => Error::Damaged {
            archive: reader.name().clone(),
            offset: start,
            reason: format!("{} cannot be made: {}", Shown::from(name), reason(&source)),
        },
        other => other,
    }
}
