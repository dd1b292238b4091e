//! A lease that this process holds.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::lease::files;
use crate::lease::record::{EngineName, Record, unix_time};

/// A lease that this process holds.
#[derive(Debug)]
pub struct Lease {
    directory: PathBuf,
    name: String,
    record: Record,
    _lock: File,
}

impl Lease {
    pub(crate) fn new(directory: PathBuf, name: String, record: Record, lock: File) -> Self {
        Lease { directory, name, record, _lock: lock }
    }

    /// What must run again.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whose containers they are.
    pub fn engine(&self) -> &EngineName {
        &self.record.engine
    }

    /// Says that the containers with these ids are asked to rest now.
    ///
    /// # Errors
    /// When it cannot be written: they must not be asked then.
    pub fn ask(&mut self, ids: &[String]) -> Result<()> {
        let now = unix_time();
        self.record.entries.iter_mut().filter(|entry| ids.contains(&entry.id)).for_each(|entry| {
            entry.asked = Some(now);
        });
        self.write()
    }

    /// Takes the containers with these ids out: they run again. With the last one the lease is gone.
    ///
    /// # Errors
    /// When it cannot be written. It then says more than it must: that something runs that does.
    pub fn settle(&mut self, ids: &[String]) -> Result<()> {
        self.record.entries.retain(|entry| !ids.contains(&entry.id));
        if self.record.entries.is_empty() {
            return self.remove().map_err(|source| self.failed(source));
        }
        self.write()
    }

    /// Makes it durable as it is now.
    pub(crate) fn write(&self) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(&self.record).map_err(|error| self.failed(error.into()))?;
        text.push(b'\n');
        let file = format!("{}.json", self.name);
        files::replace(&self.directory, &file, &text).map_err(|source| self.failed(source))
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        files::remove_all(&self.directory, &self.name)
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::State { directory: self.directory.clone(), source }
    }
}
