//! The directory of all leases. Each is a file of its own, with a lock beside it that its holder keeps: a
//! lease whose lock is free was left by a program that died. All that looks for leases, makes one or takes
//! one over does it under the directory's lock, so that nobody sees a lock without knowing whether its lease
//! is still to come.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::lease::files::{self, PREFIX, SUFFIXES};
use crate::lease::held::Lease;
use crate::lease::lock;
use crate::lease::record::{Record, VERSION};

/// The directory with all leases.
#[derive(Debug, Clone)]
pub struct State {
    directory: PathBuf,
}

/// What came of taking over a lease.
#[derive(Debug)]
pub enum Taken {
    /// It is ours now.
    Ours(Lease),
    /// The process that holds it is alive.
    Held {
        /// That process, as it calls itself.
        holder: String,
    },
    /// It is settled.
    Gone,
}

impl State {
    /// In `directory`, which is made when it is needed.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        State { directory: directory.into() }
    }

    /// Where that is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where archives may be kept for a moment that are to go elsewhere: beside the leases, on a disk that is
    /// meant to last.
    pub fn spool(&self) -> PathBuf {
        self.directory.join("spool")
    }

    /// The usual place: `$DOCKER_SNAPSHOT_STATE_DIR`, `/var/lib/docker-snapshot` as root, else below
    /// `$XDG_STATE_HOME` or `~/.local/state`. Root's does not depend on who became root.
    ///
    /// # Errors
    /// When there is no home directory either.
    pub fn usual() -> Result<Self> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(directory) = set("DOCKER_SNAPSHOT_STATE_DIR") {
            return Ok(State::at(directory));
        }
        if rustix::process::geteuid().is_root() {
            return Ok(State::at("/var/lib/docker-snapshot"));
        }
        let home = || env::home_dir().map(|home| home.join(".local/state"));
        let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute()).or_else(home);
        state.map(|state| State::at(state.join("docker-snapshot"))).ok_or(Error::NoState)
    }

    /// Makes a lease with what `record` says durable.
    ///
    /// # Errors
    /// When it cannot be written, or one of its containers is in another lease: nothing may be stopped then.
    pub fn claim(&self, record: Record) -> Result<Lease> {
        files::make(&self.directory).map_err(|source| self.failed(source))?;
        let _guard = self.guard()?;
        self.refuse_doubles(&record)?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("{PREFIX}{:x}-{:x}", since.as_nanos(), process::id());
        let lock = lock::take(&self.directory, &name).map_err(|source| self.failed(source))?;
        let lease = Lease::new(self.directory.clone(), name, record, lock);
        lease.write().inspect_err(|_| drop(lease.remove()))?;
        Ok(lease)
    }

    /// The names of all leases, and of what is left of some.
    ///
    /// # Errors
    /// When the directory is there and cannot be read.
    pub fn leases(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| self.failed(source))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(|source| self.failed(source))?.file_name();
            let Some(file) = file.to_str().filter(|file| file.starts_with(PREFIX)) else { continue };
            names.extend(SUFFIXES.iter().find_map(|suffix| file.strip_suffix(suffix)).map(str::to_owned));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Takes over the lease `name`, unless its holder lives.
    ///
    /// # Errors
    /// When it cannot be read or locked.
    pub fn take(&self, name: &str) -> Result<Taken> {
        let _guard = self.guard()?;
        let lock = match lock::take(&self.directory, name) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Ok(Taken::Held { holder: lock::holder(&self.directory, name) });
            }
            lock => lock.map_err(|source| self.failed(source))?,
        };
        let Some(record) = self.read(name)? else {
            // Killed before it was on disk, so before anything was stopped; or settled a moment ago.
            files::remove_all(&self.directory, name).map_err(|source| self.failed(source))?;
            return Ok(Taken::Gone);
        };
        // It may have been killed while it wrote the next one.
        let unfinished = self.directory.join(format!("{name}.json.new"));
        files::remove(&unfinished).map_err(|source| self.failed(source))?;
        Ok(Taken::Ours(Lease::new(self.directory.clone(), name.to_owned(), record, lock)))
    }

    fn refuse_doubles(&self, record: &Record) -> Result<()> {
        for name in self.leases()? {
            let Some(other) = self.read(&name)? else { continue };
            let double = |id: &str| other.entries.iter().any(|entry| entry.id == id);
            if let Some(entry) = record.entries.iter().find(|entry| double(&entry.id)) {
                let lives = lock::is_held(&self.directory, &name);
                let holder = lives.then(|| lock::holder(&self.directory, &name));
                return Err(Error::Leased { container: entry.name.clone(), holder });
            }
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Option<Record>> {
        let path = self.directory.join(format!("{name}.json"));
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| Error::Lease { path: path.clone(), source })?,
        };
        let unknown =
            |problem: &str| Error::Lease { path: path.clone(), source: io::Error::other(problem.to_owned()) };
        let record: Record = serde_json::from_slice(&text).map_err(|error| unknown(&error.to_string()))?;
        if record.version == VERSION {
            Ok(Some(record))
        } else {
            Err(unknown("it was written by a newer version"))
        }
    }

    /// The directory's lock. Whoever has it gives it back soon.
    pub(super) fn guard(&self) -> Result<File> {
        let path = self.directory.join("state.lock");
        let options = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let locked = options.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|source| self.failed(source))
    }

    pub(super) fn failed(&self, source: io::Error) -> Error {
        Error::State { directory: self.directory.clone(), source }
    }
}

#[cfg(test)]
mod tests;
