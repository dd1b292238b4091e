//! Restoring a volume that is a single file. It is usually a bind mount, which cannot be renamed over, so it
//! is overwritten. Its content in the archive was checked before; what is in it is kept in memory, as far as
//! that is reasonable, to be put back after an error.

use std::io;

use crate::archive::content::Content;
use crate::archive::member::{Member, MemberData};
use crate::error::{Context, Error, Hint, Result};
use crate::fs::{FileKind, StoreFile};
use crate::name::Shown;
use crate::observer::Run;
use crate::restore::content::{Room, write_content};
use crate::restore::job::Job;
use crate::restore::metadata::Metadata;
use crate::restore::target::FileTarget;

/// Files up to this size are put back after an error, in bytes.
const KEPT: u64 = 64 << 20;

/// A member that was checked and is to be written.
#[derive(Debug)]
pub(super) struct FileSource {
    pub(super) member: Box<Member>,
    pub(super) header: Vec<u8>,
}

impl FileSource {
    fn data(&self) -> MemberData<'_> {
        MemberData::within(&self.header, 0, &self.member.entry.name, self.member.stored)
    }
}

/// A file as it was before it was overwritten.
#[derive(Debug)]
pub(super) struct Former {
    file: StoreFile,
    path: Vec<u8>,
    metadata: Metadata,
    size: u64,
    /// `None` when it was too large.
    content: Option<Vec<u8>>,
    /// The content is being written.
    touched: bool,
}

impl FileTarget {
    /// Opens the file that is to be overwritten and reserves the space that it will need. Nothing in it
    /// changes.
    pub(super) fn prepare(&self, source: &FileSource) -> Result<Former> {
        let opened = self.parent.own_file_for_update(&self.name);
        let file = StoreFile::new(opened.map_err(|source| self.refused(source))?);
        let stat = file.stat().context("look at", &self.path)?;
        if stat.kind != FileKind::File {
            return Err(Error::Volume {
                action: "restore",
                volume: Shown::from(&self.path),
                reason: "the snapshot has a file there, and it is no regular file now".to_owned(),
            });
        }
        let metadata = Metadata::of_closed(file.handle()).context("look at", &self.path)?;
        let size = stat.size;
        let content =
            if size <= KEPT { Some(read_all(&file, size).context("read", &self.path)?) } else { None };
        let former = Former { file, path: self.path.clone(), metadata, size, content, touched: false };
        if source.member.entry.sparse.is_none()
            && let Err(source) = former.file.reserve(source.member.entry.size)
        {
            let _ = former.file.truncate(size);
            let _ = former.file.handle().set_mtime(former.metadata.mtime);
            return Err(self.refused(source));
        }
        Ok(former)
    }

    pub(super) fn refused(&self, source: io::Error) -> Error {
        let is_read_only = source.kind() == io::ErrorKind::ReadOnlyFilesystem;
        let error = Error::Io { action: "restore to", path: Shown::from(&self.path), source };
        error.with_hint(is_read_only.then_some(Hint::MountVolumeWritable))
    }
}

impl Former {
    /// Overwrites the file.
    pub(super) fn overwrite(&mut self, source: &FileSource, job: &Job) -> Result<()> {
        self.touched = true;
        // From here on a signal waits.
        let run = Run { cancel: crate::observer::Cancel::default(), ..job.run.clone() };
        write(&self.file, Room::Taken, source, &self.path, job, &run)
    }

    /// Puts back what was there.
    pub(super) fn put_back(&self) -> Result<()> {
        match &self.content {
            _ if !self.touched => {
                // Only space was reserved after the end.
                self.file.truncate(self.size).context("put back", &self.path)?;
            }
            Some(content) => {
                let write = self.file.write_at(content, 0).and_then(|()| self.file.truncate(self.size));
                write.context("put back", &self.path)?;
            }
            None => {
                return Err(Error::Volume {
                    action: "put back",
                    volume: Shown::from(&self.path),
                    reason: "its former content was larger than the 64 MiB that are kept in memory"
                        .to_owned(),
                });
            }
        }
        self.metadata.apply(self.file.handle(), false, &self.path, &mut |_| Ok(()))?;
        self.file.handle().sync().context("sync", &self.path)
    }
}

/// Writes a file's content and metadata. `run` says when to stop.
pub(super) fn write(
    file: &StoreFile,
    room: Room,
    source: &FileSource,
    path: &[u8],
    job: &Job,
    run: &Run,
) -> Result<()> {
    let metadata = Metadata::of_entry(&source.member.entry, &job.owners, path)?;
    let content = Content::new(job.reader, source.data());
    write_content(file, room, job.reader, content, path, &mut vec![0; 1 << 20], run)?;
    // A new file may have inherited an ACL.
    metadata.apply(file.handle(), false, path, &mut |remark| job.remark(path, remark))?;
    file.handle().sync().context("sync", path)
}

fn read_all(file: &StoreFile, size: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    let length = file.read_at(&mut content, 0)?;
    content.truncate(length);
    Ok(content)
}
