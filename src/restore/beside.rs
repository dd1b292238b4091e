//! Restoring a volume that is a single file below another directory: it is made anew beside its place, and
//! the two are exchanged, which can be undone.

use std::io;

use crate::error::{Context, Error, Result};
use crate::fs::lock::{self, Mode};
use crate::fs::{FileKind, Handle, StoreFile};
use crate::name::Shown;
use crate::observer::Run;
use crate::restore::content::Room;
use crate::restore::job::Job;
use crate::restore::overwrite::{FileSource, write};
use crate::restore::target::FileTarget;
use crate::staging;
use crate::time::Time;

/// A file that was written under another name.
#[derive(Debug)]
pub(super) struct Beside {
    parent: Handle,
    /// The name that it has until it is in its place, and what was there has from then on.
    temporary: Vec<u8>,
    name: Vec<u8>,
    path: Vec<u8>,
    /// The directory's time before anything was made in it.
    mtime: Time,
    state: State,
    /// The file, and what was there, locked as long as they are open: until then neither is a stray.
    held: Vec<StoreFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Written,
    /// It is in its place, where nothing was before.
    Placed,
    /// It is in its place, and what was there has its temporary name.
    Exchanged,
}

impl FileTarget {
    /// Writes the file beside its place.
    pub(super) fn prepare_beside(&self, source: &FileSource, job: &Job) -> Result<Beside> {
        let parent = self.parent.duplicate().context("open", &self.path)?;
        let mtime = parent.stat().context("look at", &self.path)?.mtime;
        let (temporary, file) = self.create()?;
        let (name, path) = (self.name.clone(), self.path.clone());
        let written = write(&file, Room::Empty(None), source, &self.path, job, job.run);
        let held = vec![file];
        let beside = Beside { parent, temporary, name, path, mtime, state: State::Written, held };
        // What failed first is what matters.
        written.inspect_err(|_| drop(beside.put_back()))?;
        Ok(beside)
    }

    /// A new file under a name that nothing has, locked.
    fn create(&self) -> Result<(Vec<u8>, StoreFile)> {
        let _ajar = self.parent.ajar().context("open", &self.path)?;
        let mut index = 0;
        loop {
            let name = self.temporary(index);
            match self.parent.create_file(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && index < 1000 => {}
                Err(source) => return Err(self.refused(source)),
                Ok(file) => {
                    // Where there are no locks, nobody takes it for a stray.
                    let locked = lock::take(&file, Mode::Shared).unwrap_or(true);
                    match self.has(&name, &file) {
                        Ok(true) if locked => return Ok((name, StoreFile::new(file))),
                        // Before it was locked, another run took it for one, and removes it.
                        Ok(_) => {}
                        Err(source) => {
                            let _ = self.parent.remove_file(&name);
                            return Err(self.refused(source));
                        }
                    }
                }
            }
            index += 1;
        }
    }

    /// A name that nobody else gives a file: it is made of the one that this file is to have.
    fn temporary(&self, index: usize) -> Vec<u8> {
        let hash = blake3::hash(&self.name).to_hex();
        format!("{}.file.{}.{index}", staging::NAME, &hash[..16]).into_bytes()
    }

    fn has(&self, name: &[u8], file: &Handle) -> io::Result<bool> {
        let id = file.stat()?.id;
        Ok(self.parent.find(name)?.is_some_and(|found| found.id == id))
    }

    /// Removes what restores have left that were killed.
    pub(super) fn remove_strays(&self, run: &Run) -> Result<()> {
        for index in 0..10 {
            let removed = self.remove_stray(&self.temporary(index));
            if removed.context("remove what an interrupted restore has left beside", &self.path)? {
                let shown = Shown::from(&self.path);
                run.observer
                    .note(&format!("{shown}: what an interrupted restore has left beside it is removed"));
            }
        }
        Ok(())
    }

    fn remove_stray(&self, temporary: &[u8]) -> io::Result<bool> {
        let _ajar = self.parent.ajar()?;
        let Some(stray) = lock_file(&self.parent, temporary, Mode::Exclusive)? else { return Ok(false) };
        if !self.has(temporary, &stray)? {
            return Ok(false);
        }
        remove_beside(&self.parent, temporary)?;
        Ok(true)
    }
}

/// Removes a file. The directory's time stays, as it may be another volume's.
fn remove_beside(parent: &Handle, name: &[u8]) -> io::Result<()> {
    let _ajar = parent.ajar()?;
    let mtime = parent.stat()?.mtime;
    parent.remove_file(name)?;
    parent.set_mtime(mtime)
}

/// The regular file of this name, locked; `None` where there is none, or it cannot be locked.
fn lock_file(parent: &Handle, name: &[u8], mode: Mode) -> io::Result<Option<Handle>> {
    if parent.find(name)?.is_none_or(|stat| stat.kind != FileKind::File) {
        return Ok(None);
    }
    Ok(parent.file(name).ok().filter(|file| lock::take(file, mode).unwrap_or(false)))
}

impl Beside {
    /// Moves the file to its place. The directory's time stays, as it may be another volume's.
    pub(super) fn place(&mut self) -> Result<()> {
        let mut place = || -> io::Result<()> {
            let _ajar = self.parent.ajar()?;
            let mtime = self.parent.stat()?.mtime;
            if self.parent.find(&self.name)?.is_some() {
                let former = lock_file(&self.parent, &self.name, Mode::Shared)?;
                self.held.extend(former.map(StoreFile::new));
                self.parent.exchange(&self.temporary, &self.name)?;
                self.state = State::Exchanged;
            } else {
                self.parent.rename(&self.temporary, &self.parent, &self.name)?;
                self.state = State::Placed;
            }
            self.parent.set_mtime(mtime)?;
            self.parent.sync()
        };
        place().context("replace", &self.path)
    }

    /// Puts everything back as it was.
    pub(super) fn put_back(&self) -> Result<()> {
        let put_back = || -> io::Result<()> {
            let _ajar = self.parent.ajar()?;
            match self.state {
                State::Written => {}
                State::Placed => self.parent.rename(&self.name, &self.parent, &self.temporary)?,
                State::Exchanged => self.parent.exchange(&self.temporary, &self.name)?,
            }
            self.parent.remove_file(&self.temporary)?;
            self.parent.set_mtime(self.mtime)
        };
        put_back().context("put back", &self.path)
    }

    /// Removes what was in its place before; returns what is to be said if that fails.
    pub(super) fn finish(&self) -> Option<(&[u8], String)> {
        if self.state != State::Exchanged {
            return None;
        }
        let removed = remove_beside(&self.parent, &self.temporary);
        let error: Error = removed.context("remove", &self.path).err()?;
        let name = Shown::from(&self.temporary);
        let reason = format!(
            "it is restored, and its former content could not be removed: {}; remove {name} beside it \
             yourself",
            crate::error::chain(&error)
        );
        Some((&self.path, reason))
    }
}
