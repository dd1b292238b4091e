//! Appending to an archive, all or nothing.
//!
//! At every moment, whatever kills the run, readers see the old archive or the new one. With `E` the offset
//! of the end, the order on disk is:
//!
//! 1. what lies behind `E + 1024` is cut, but for the first block of remains of ours;
//! 2. the first header block is written at `E + 1024` and synced: from then on whatever is found there is
//!    known to be ours;
//! 3. the rest is written, and synced. The two zero blocks at `E` are still there, and still the end;
//! 4. two zero blocks are written behind it, and synced;
//! 5. the block at `E` is written, and synced. Its member's data is the zero block at `E + 512`. This is the
//!    commit.
//!
//! An error before 5 cuts the file back to `E + 1024`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::archive::end::{Tail, tail};
use crate::archive::open::{Access, Reader, open};
use crate::archive::ustar::Block;
use crate::archive::{BLOCK, BLOCK_LEN, END, END_LEN};
use crate::error::{Context, Error, Hint, Result, reason};
use crate::fs::clone::DevicePair;
use crate::fs::lock::{self, Mode};
use crate::fs::{FileId, Handle, Stat, StoreFile};
use crate::name::Shown;
use crate::observer::Run;

/// How an archive is opened for appending.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendOptions {
    pub(crate) lock_timeout: Duration,
    /// Cut what lies behind the end, even when it may be another archive.
    pub(crate) discard_tail: bool,
}

/// An archive that is locked for one append.
#[derive(Debug)]
pub(crate) struct Append {
    reader: Arc<Reader>,
    file: Arc<StoreFile>,
    path: PathBuf,
    /// As the archive was before.
    before: Stat,
    end: u64,
    tail: Tail,
    /// The first header block is on disk, or may be.
    marked: AtomicBool,
}

impl Append {
    /// Opens and locks the archive at `path`. `find_end` is handed the locked archive and returns its end.
    pub(crate) fn open(
        path: &Path,
        options: AppendOptions,
        run: &Run,
        find_end: impl FnOnce(&Arc<Reader>, &Run) -> Result<u64>,
    ) -> Result<Self> {
        let name = Shown::from(path);
        let file = open(path, &name, Access::Append)?;
        lock::lock(file.handle(), Mode::Exclusive, &name, options.lock_timeout, run)?;
        let reader = Reader::of_file(Arc::clone(&file), name)?;
        let before = file.stat().context("look at", reader.name())?;
        let end = find_end(&reader, run)?;
        let mut append = Append {
            reader,
            file,
            path: path.to_owned(),
            before,
            end,
            tail: Tail::Nothing,
            marked: AtomicBool::new(false),
        };
        append.check_in_place("nothing was changed")?;
        append.tail = tail(&append.reader, end, run)?;
        append.check_tail(options.discard_tail, run)?;
        Ok(append)
    }

    /// The offset that the first block of the appended run has, once it is committed.
    pub(crate) fn start(&self) -> u64 {
        self.end
    }

    pub(crate) fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.file.handle()
    }

    /// Step 1 and 2, before anything else is written.
    pub(crate) fn mark(&self, first: &Block) -> Result<()> {
        self.marked.store(true, Ordering::Relaxed);
        // The first block of remains stays until it is overwritten. Filesystems zero the block that they cut
        // through before they shorten the file, and if the power fails in between, zeros with the rest of the
        // remains behind them could not be told from another archive.
        let kept = if matches!(self.tail, Tail::Remains(_)) { BLOCK } else { 0 };
        self.truncate(self.end + END_LEN + kept)?;
        self.write(first, self.end + END_LEN)?;
        self.sync()
    }

    /// Writes at an offset behind the first block, in any order.
    pub(crate) fn write(&self, data: &[u8], offset: u64) -> Result<()> {
        debug_assert!(self.marked.load(Ordering::Relaxed) && offset >= self.end + END_LEN);
        self.file.write_at(data, offset).context("append to", self.reader.name())
    }

    /// Writes at an offset behind the first block by cloning `length` bytes of `from`. Returns whether it
    /// could be done; if not, they are to be written.
    pub(crate) fn clone_from(
        &self,
        pair: &DevicePair,
        from: &Handle,
        from_offset: u64,
        length: u64,
        offset: u64,
    ) -> bool {
        debug_assert!(self.marked.load(Ordering::Relaxed) && offset >= self.end + END_LEN);
        pair.clone_range(from, from_offset, length, self.file.handle(), offset)
    }

    /// Steps 3 to 5: everything up to `new_end` was written; `first` becomes the block at the old end.
    pub(crate) fn commit(&mut self, new_end: u64, first: &Block) -> Result<()> {
        self.sync()?;
        self.write(&END, new_end)?;
        // That is its length already, but XFS keeps space for more behind it until it is told.
        self.file.truncate(new_end + END_LEN).context("set the size of", self.reader.name())?;
        self.sync()?;
        let file = &self.file;
        if let Err(error) = file
            .write_at(first, self.end)
            .and_then(|()| file.sync_data())
            .context("commit", self.reader.name())
        {
            return Err(self.take_back_commit(error));
        }
        self.marked.store(false, Ordering::Relaxed);
        self.check_in_place("the snapshot was appended to the file that was opened")
    }

    /// The commit's own write failed, so it may or may not be on disk: make sure that it is not.
    fn take_back_commit(&self, error: Error) -> Error {
        let file = &self.file;
        let undone = file.write_at(&[0; BLOCK_LEN], self.end).and_then(|()| file.sync_data());
        match undone.context("take back the commit in", self.reader.name()) {
            Ok(()) => error,
            Err(undo) => Error::Undo {
                what: Box::new(error),
                undo: Box::new(undo),
                state: "the snapshot may or may not be in the archive: look with `snapshotter verify`"
                    .to_owned(),
            },
        }
    }

    /// Gives up and makes the archive what it was before; returns `error`, or both when that fails too.
    pub(crate) fn abandon(mut self, error: Error) -> Error {
        if matches!(error, Error::Undo { .. }) {
            // The commit may have happened: what it points to must stay.
            self.marked.store(false, Ordering::Relaxed);
            return error;
        }
        match self.cut_back() {
            Ok(()) => error,
            Err(undo) => Error::Undo {
                what: Box::new(error),
                undo: Box::new(undo),
                state:
                    "the snapshots in the archive are whole, and the next backup cuts what lies behind them"
                        .to_owned(),
            },
        }
    }

    fn cut_back(&mut self) -> Result<()> {
        if !std::mem::take(self.marked.get_mut()) {
            return Ok(());
        }
        let file = &self.file;
        let first = self.end + END_LEN + BLOCK;
        if file.stat().is_ok_and(|stat| stat.size > first) {
            // The first block goes last, see `mark`. Where this cannot be synced, it is still to be cut.
            self.truncate(first)?;
            let _ = self.sync();
        }
        self.truncate(self.end + END_LEN)?;
        if matches!(self.tail, Tail::Zeros(_)) {
            // Zeros again, without taking up space.
            file.truncate(self.before.size).context("lengthen", self.reader.name())?;
        }
        self.sync()?;
        // The last trace; it is no loss where it cannot be removed.
        let _ = file.handle().set_mtime(self.before.mtime);
        Ok(())
    }

    fn truncate(&self, length: u64) -> Result<()> {
        self.file.truncate(length).context("shorten", self.reader.name())
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().context("sync", self.reader.name())
    }

    /// The archive must still be the one under its path: what is appended to a file that was deleted or
    /// replaced in the meantime is lost. `state` says what was done to it until now.
    fn check_in_place(&self, state: &str) -> Result<()> {
        let refused = |reason: &str| Error::Archive {
            action: "append to",
            archive: self.reader.name().clone(),
            reason: format!("{reason} ({state})"),
        };
        let look = || -> io::Result<bool> {
            let stat = self.file.stat()?;
            Ok(FileId::of_path(&self.path)? == stat.id && stat.nlink > 0)
        };
        match look() {
            Ok(true) => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(refused(&format!("cannot tell whether it is still under its path: {}", reason(&error))))
            }
            _ => Err(refused("it was deleted or replaced while it was open: run the backup again")),
        }
    }

    fn check_tail(&self, discard: bool, run: &Run) -> Result<()> {
        let behind = self.end + END_LEN;
        match self.tail {
            Tail::Nothing => {}
            Tail::Zeros(length) => {
                run.observer.note(&format!("{length} bytes of zero padding behind the archive's end are cut"));
            }
            Tail::Remains(length) => run.observer.note(&format!(
                "a backup was killed here before: {length} bytes that it left behind the archive's end are cut"
            )),
            Tail::Foreign(_) if discard => {
                let length = self.reader.len() - behind;
                run.observer.note(&format!("{length} bytes behind the archive's end are cut, as was asked for"));
            }
            Tail::Foreign(offset) => {
                let reason = format!(
                    "it ends at offset {}, and something else follows at {offset}, maybe another archive, or what is \
                     left of a snapshot",
                    self.end
                );
                let archive = self.reader.name().clone();
                let error = Error::Archive { action: "append to", archive, reason };
                return Err(error.with_hint(Hint::DiscardTail));
            }
        }
        Ok(())
    }
}

impl Drop for Append {
    fn drop(&mut self) {
        // Only after a panic: every other way out has said what became of this.
        let _ = self.cut_back();
    }
}
