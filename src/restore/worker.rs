//! What one worker does with one file: reads, checks, writes, and gives it its metadata.

use std::sync::Arc;

use crate::archive::content::{BAD_CHECKSUM, BAD_PADDING, Content};
use crate::archive::member::MemberData;
use crate::archive::open::Reader;
use crate::error::{Context, Result};
use crate::fs::handle::{join, parent_and_name};
use crate::fs::{Handle, StoreFile};
use crate::observer::Run;
use crate::restore::batch::{Batch, Outcome, PerVolume, Task, blame};
use crate::restore::content::{Means, Room, is_worth_cloning, matches, write_content};
use crate::restore::owners::Remark;
use crate::restore::parts::Idle;

/// How much of a large file is read at once, in bytes: what fits a processor's cache.
const PART: usize = 256 << 10;

/// What a worker keeps from file to file.
pub(super) struct Worker<'r> {
    reader: Arc<Reader>,
    run: &'r Run<'r>,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    idle: Arc<Idle>,
}

impl<'r> Worker<'r> {
    pub(super) fn new(reader: Arc<Reader>, run: &'r Run<'r>, idle: Arc<Idle>) -> Self {
        Worker { reader, run, buffer: Vec::new(), scratch: Vec::new(), idle }
    }

    /// Does a batch, up to its first error.
    pub(super) fn run(&mut self, mut batch: Batch) -> Outcome {
        let mut remarks = Vec::new();
        let done = batch.tasks.iter().try_for_each(|task| self.file(task, &batch, &mut remarks));
        batch.release();
        Outcome { batch, remarks, error: done.err() }
    }

    fn file(&mut self, task: &Task, batch: &Batch, remarks: &mut Vec<(Vec<u8>, Remark)>) -> Result<()> {
        self.run.cancel.check("the volumes are as they were")?;
        let name = &batch.names[task.name.clone()];
        let data = MemberData::within(batch.chunk.bytes(), task.at, name, task.stored);
        let path = &batch.names[task.path.clone()];
        let Some(directory) = &task.directory else {
            return self.check(data);
        };
        let made = self.make(task, directory, path, data, remarks);
        made.map_err(|error| blame(error, &self.reader, task.stored.start, name))
    }

    fn make(
        &mut self,
        task: &Task,
        directory: &Handle,
        path: &[u8],
        data: MemberData,
        remarks: &mut Vec<(Vec<u8>, Remark)>,
    ) -> Result<()> {
        let PerVolume { path: volume, creator, pair } = &*task.volume;
        let full = || join(volume, path);
        let (_, name) = parent_and_name(path);
        let mode = task.metadata.first_mode(creator);
        let create = || directory.create_file_with(name, mode).map(StoreFile::new);
        let file;
        let stored = &data.stored;
        match data.held {
            Some(held)
                if stored.sparse.is_none() && !is_worth_cloning(stored.data(), stored.length, pair) =>
            {
                self.check_held(&data, held)?;
                file = create().context_of("create", full)?;
                if stored.length > 0 {
                    file.write_at(&held[..held.len() - stored.padding()], 0).context_of("write", full)?;
                    self.run.observer.bytes(stored.length);
                }
            }
            _ => {
                let full = full();
                file = create().context("create", &full)?;
                let content = Content::new(&self.reader, data);
                self.buffer.resize(PART, 0);
                let room = Room::Empty(Some(Means { pair, idle: &self.idle }));
                write_content(&file, room, &self.reader, content, &full, &mut self.buffer, self.run)?;
            }
        }
        task.metadata.apply_to_new(file.handle(), creator, mode, &full, &mut |remark| {
            remarks.push((full(), remark));
            Ok(())
        })
    }

    /// Checks what is not to be written.
    fn check(&mut self, data: MemberData) -> Result<()> {
        if let Some(held) = data.held {
            self.run.observer.bytes(data.stored.length);
            return self.check_held(&data, held);
        }
        self.buffer.resize(PART, 0);
        Content::new(&self.reader, data).check(&mut self.buffer, |count| {
            self.run.observer.bytes(count);
            self.run.cancel.check("the volumes are as they were")
        })
    }

    /// Checks a member whose data was read already, with its padding.
    fn check_held(&mut self, data: &MemberData, held: &[u8]) -> Result<()> {
        let Some(checksum) = &data.stored.checksum else { return Ok(()) };
        let (content, padding) = held.split_at(held.len() - data.stored.padding());
        if data.is_bad_padding(&self.reader, padding) {
            return Err(data.damaged(&self.reader, BAD_PADDING));
        }
        if !matches(checksum, data.header, content, &mut self.scratch) {
            return Err(data.damaged(&self.reader, BAD_CHECKSUM));
        }
        if data.stored.late.is_some_and(|late| blake3::hash(content) != late) {
            return Err(data.damaged(&self.reader, BAD_CHECKSUM));
        }
        Ok(())
    }
}

/// [`Context`] whose path is only put together when it is needed.
trait LazyContext<T> {
    fn context_of(self, action: &'static str, path: impl FnOnce() -> Vec<u8>) -> Result<T>;
}

impl<T> LazyContext<T> for std::io::Result<T> {
    fn context_of(self, action: &'static str, path: impl FnOnce() -> Vec<u8>) -> Result<T> {
        self.or_else(|error| Err(error).context(action, &path()))
    }
}
