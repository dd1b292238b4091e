//! Whose a helper is: a lock in the directory of leases, whose holder lives. It can be told from this machine
//! alone, and by whoever uses the same directory; the processes of another are nobody's to judge.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::SystemTime;

use crate::error::Result;
use crate::lease::{State, files, lock};

/// What the name of every owner begins with.
const PREFIX: &str = "helper-";
/// The file with the random name of this directory.
const IDENTITY: &str = "identity";

/// A process that makes helpers.
#[derive(Debug)]
pub(crate) struct Owner {
    state: State,
    name: String,
    label: String,
    _lock: File,
}

/// What became of an owner.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It lives: this process, as it calls itself.
    Lives(String),
    /// What it left is nobody's.
    Dead,
    /// It belongs to another machine, or to another directory of this one.
    Elsewhere,
}

impl Owner {
    /// What its helpers are labelled with.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Nothing of it is left: it need not be remembered.
    pub(crate) fn settle(&self) {
        // What stays is an empty file that the next `recover` removes.
        let _ = files::remove(&self.state.directory().join(format!("{}.lock", self.name)));
    }
}

impl State {
    /// Makes this process one that owns helpers.
    ///
    /// # Errors
    /// When the directory cannot be written: nobody would know then who is to remove them.
    pub(crate) fn own(&self) -> Result<Owner> {
        files::make(self.directory()).map_err(|source| self.failed(source))?;
        let _guard = self.guard()?;
        let identity = self.make_identity().map_err(|source| self.failed(source))?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("{PREFIX}{:x}-{:x}", since.as_nanos(), std::process::id());
        let lock = lock::take(self.directory(), &name).map_err(|source| self.failed(source))?;
        Ok(Owner { state: self.clone(), label: format!("{identity}/{name}"), name, _lock: lock })
    }

    /// Whether helpers can ever have been made by whoever uses this directory.
    pub fn has_owned(&self) -> bool {
        self.directory().join(IDENTITY).exists()
    }

    /// What became of the owner with this label.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn fate(&self, label: &str) -> Result<Fate> {
        let _guard = self.guard()?;
        let Some(ours) = self.identity().map_err(|source| self.failed(source))? else {
            return Ok(Fate::Elsewhere);
        };
        // A label comes from outside, and becomes a path.
        let is_name = |name: &&str| {
            name.starts_with(PREFIX) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let Some((identity, name)) = label.split_once('/') else { return Ok(Fate::Elsewhere) };
        let Some(name) = Some(name).filter(is_name).filter(|_| identity == ours) else {
            return Ok(Fate::Elsewhere);
        };
        let path = self.directory().join(format!("{name}.lock"));
        if path.exists() && lock::is_held(self.directory(), name) {
            return Ok(Fate::Lives(lock::holder(self.directory(), name)));
        }
        Ok(Fate::Dead)
    }

    /// Forgets all owners that are dead.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub(crate) fn forget_dead_owners(&self) -> Result<()> {
        let _guard = self.guard()?;
        let forget = || -> io::Result<()> {
            for entry in fs::read_dir(self.directory())? {
                let file = entry?.file_name();
                let name = file.to_str().and_then(|file| file.strip_suffix(".lock"));
                let Some(name) = name.filter(|name| name.starts_with(PREFIX)) else { continue };
                if !lock::is_held(self.directory(), name) {
                    files::remove(&self.directory().join(format!("{name}.lock")))?;
                }
            }
            Ok(())
        };
        forget().map_err(|source| self.failed(source))
    }

    fn make_identity(&self) -> io::Result<String> {
        if let Some(identity) = self.identity()? {
            return Ok(identity);
        }
        // The kernel's random numbers, in the form of a UUID.
        let identity = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        files::replace(self.directory(), IDENTITY, identity.as_bytes())?;
        Ok(identity.trim().to_owned())
    }

    fn identity(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(Path::new(self.directory()).join(IDENTITY)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(|text| Some(text.trim().to_owned()).filter(|identity| !identity.is_empty())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_as_long_as_it_has_its_lock() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(directory.path().join("state"));
        assert!(!state.has_owned());
        let owner = state.own().unwrap();
        let label = owner.label().to_owned();
        assert!(state.has_owned());
        assert_eq!(state.fate(&label).unwrap(), Fate::Lives(format!("process {}", std::process::id())));
        state.forget_dead_owners().unwrap();
        assert!(matches!(state.fate(&label).unwrap(), Fate::Lives(_)));
        drop(owner);
        assert_eq!(state.fate(&label).unwrap(), Fate::Dead);
        state.forget_dead_owners().unwrap();
        assert_eq!(state.fate(&label).unwrap(), Fate::Dead);
        assert_eq!(state.leases().unwrap(), Vec::<String>::new());
        let other = state.own().unwrap();
        assert_ne!(other.label(), label);
        other.settle();
        assert_eq!(state.fate(other.label()).unwrap(), Fate::Dead);
    }

    #[test]
    fn what_another_directory_owns_is_not_judged() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (here, there) = (State::at(here.path()), State::at(there.path()));
        let owner = there.own().unwrap();
        assert_eq!(here.fate(owner.label()).unwrap(), Fate::Elsewhere);
        let label = here.own().unwrap().label().to_owned();
        let identity = label.split_once('/').unwrap().0;
        assert_eq!(here.fate(&label).unwrap(), Fate::Dead);
        for bad in ["", "x", "/", "/helper-1", &format!("{identity}/../x"), &format!("{identity}/state")] {
            assert_eq!(here.fate(bad).unwrap(), Fate::Elsewhere, "{bad}");
        }
    }
}
