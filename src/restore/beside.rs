//! Restoring a volume that is a single file below another directory: it is made anew beside its place, and the two
//! are exchanged, which can be undone.

use std::io;

use crate::archive::open::Reader;
use crate::error::{Context, Error, Result};
use crate::fs::{Handle, StoreFile};
use crate::name::Shown;
use crate::observer::Run;
use crate::restore::overwrite::{Source, write};
use crate::restore::target::FileTarget;
use crate::snapshot::manifest::Warnings;
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
    pub(super) fn prepare_beside(
        &self,
        source: &Source,
        reader: &Reader,
        no_owner: bool,
        run: &Run,
        warnings: &mut Warnings,
    ) -> Result<Beside> {
        let parent = self.parent.duplicate().context("open", &self.path)?;
        let mtime = parent.stat().context("look at", &self.path)?.mtime;
        let (temporary, file) = self.create()?;
        let (name, path) = (self.name.clone(), self.path.clone());
        let beside = Beside { parent, temporary, name, path, mtime, state: State::Written };
        let written = write(&file, false, source, &self.path, reader, no_owner, run, warnings);
        // What failed first is what matters.
        written.inspect_err(|_| drop(beside.put_back()))?;
        Ok(beside)
    }

    /// A new file under a name that nothing has.
    fn create(&self) -> Result<(Vec<u8>, StoreFile)> {
        let mut index = 0;
        loop {
            let name = format!("{}.file.{index}", staging::NAME).into_bytes();
            match self.parent.create_file(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && index < 1000 => index += 1,
                Err(source) => return Err(self.refused(source)),
                Ok(file) => return Ok((name, StoreFile::new(file))),
            }
        }
    }
}

impl Beside {
    /// Moves the file to its place. The directory's time stays, as it may be another volume's.
    pub(super) fn place(&mut self) -> Result<()> {
        let mut place = || -> io::Result<()> {
            let mtime = self.parent.stat()?.mtime;
            if self.parent.find(&self.name)?.is_some() {
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
        let remove = || -> io::Result<()> {
            let mtime = self.parent.stat()?.mtime;
            self.parent.remove_file(&self.temporary)?;
            self.parent.set_mtime(mtime)
        };
        if self.state != State::Exchanged {
            return None;
        }
        let error: Error = remove().context("remove", &self.path).err()?;
        let name = Shown::from(&self.temporary);
        let reason = format!(
            "it is restored, and its former content could not be removed: {}; remove {name} beside it yourself",
            crate::error::chain(&error)
        );
        Some((&self.path, reason))
    }
}
