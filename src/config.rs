//! The configuration: what is backed up or restored, and where in the archive it lives. It is read before
//! anything is touched, and whatever in it could be meant in two ways is refused, with the file, the line and
//! the way out.

mod check;
mod document;
mod exclude;
mod origin;
mod paths;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::document::read::{Document, DocumentPart};
pub use crate::config::exclude::Exclude;
use crate::config::origin::{ConfigFile, Origin};
pub use crate::config::paths::Volume;
use crate::error::Result;
use crate::fs::FileId;
use crate::name::quote;
use crate::yaml::quoted;

/// What is backed up or restored, and where in the archive it lives.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The directory in the archive, normalised, without `/` at either end; empty for the archive's root.
    pub prefix: String,
    /// The volumes, none of them twice; empty for all that a snapshot holds.
    pub volumes: Vec<Volume>,
    /// What of the volumes is not backed up.
    pub exclude: Exclude,
    /// Whether a backup stores what changed, by reference to the snapshot before; `None` where nothing is said.
    pub incremental: Option<bool>,
    /// Of so many snapshots, one at least stores all.
    pub full_every: Option<u64>,
    /// The file that it was read from, if any: where that lies inside a volume, a backup leaves it out, and a
    /// restore leaves it as it is.
    pub file: Option<PathBuf>,
    volumes_origin: Origin,
}

/// What the caller puts in place of the file's.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The prefix.
    pub prefix: Option<String>,
    /// The volumes; empty if none were given.
    pub volumes: Vec<String>,
    /// Patterns of what is not backed up, which follow the file's.
    pub exclude: Vec<String>,
    /// Whether `STORED=PATH` stands for a volume at `PATH` that has the path `STORED` in the snapshot.
    pub moved: bool,
    /// How messages name these two.
    pub named: Named,
}

/// How messages name what is given in place of the file's: a command line has flags for it.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// What the prefix is given by.
    pub prefix: &'static str,
    /// What the volumes are given by.
    pub volumes: &'static str,
    /// What patterns are given by.
    pub exclude: &'static str,
}

impl Default for Named {
    fn default() -> Self {
        Named { prefix: "prefix", volumes: "volumes", exclude: "exclude" }
    }
}

/// A value, and where it was written.
struct Given<T> {
    value: T,
    origin: Origin,
}

/// Whether there must be volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// At least one.
    Volumes,
    /// None stand for all that a snapshot holds.
    VolumesOrAll,
}

impl Config {
    /// The files that a run with this configuration uses itself, besides volumes.
    pub(crate) fn in_use(&self, archive: Option<FileId>) -> Vec<FileId> {
        let file = self.file.as_deref().and_then(|path| FileId::of_path(path).ok());
        archive.into_iter().chain(file).collect()
    }

    /// Reads the file at `path`. It may be missing if the user did not name it (`explicit`) and `overrides`
    /// has all that is needed.
    ///
    /// # Errors
    /// [`crate::Error::Config`]: what it says cannot be used. [`crate::Error::Io`]: it cannot be read.
    pub fn load(path: &Path, explicit: bool, overrides: &Overrides, need: Need) -> Result<Config> {
        let Overrides { prefix, volumes, exclude, moved, named } = overrides;
        let optional = !explicit && prefix.is_some() && (need == Need::VolumesOrAll || !volumes.is_empty());
        let (document, origin, file) = match ConfigFile::read(path) {
            Ok(file) => (
                Document::parse(&file.text).map_err(|bad| file.refuse(bad.line, bad.reason))?,
                Origin::File(Arc::new(file)),
                Some(path.to_owned()),
            ),
            Err(error) if optional && error.system().is_some_and(|e| e.kind() == ErrorKind::NotFound) => {
                (Document::default(), Origin::Named(named.volumes), None)
            }
            Err(error) => return Err(error),
        };
        let prefix = match (prefix, document.prefix) {
            (Some(prefix), _) => Given { value: prefix.clone(), origin: Origin::Named(named.prefix) },
            (None, Some(prefix)) => Given { value: prefix, origin: origin.clone() },
            (None, None) => {
                let reason =
                    "`prefix` is missing: write `prefix: NAME`, or `prefix: \"\"` for the archive's root";
                return Err(origin.refuse(DocumentPart::Document, reason));
            }
        };
        let mut patterns = document.exclude.unwrap_or_default();
        let of_file = patterns.len();
        patterns.extend_from_slice(exclude);
        let exclude = Exclude::compile(patterns).map_err(|bad| match bad.index {
            index if index < of_file => origin.refuse(DocumentPart::Pattern(index), bad.reason),
            _ => Origin::Named(named.exclude).refuse(DocumentPart::Document, bad.reason),
        })?;
        let volumes = match document.volumes {
            _ if !volumes.is_empty() => {
                Given { value: volumes.clone(), origin: Origin::Named(named.volumes) }
            }
            listed => Given { value: listed.unwrap_or_default(), origin },
        };
        let is_moved = *moved && matches!(volumes.origin, Origin::Named(_));
        let parse = if is_moved { Volume::parse_moved } else { Volume::parse };
        let mut config = Config::assemble(&prefix, volumes, parse, exclude, need)?;
        config.file = file;
        (config.incremental, config.full_every) = (document.incremental, document.full_every);
        Ok(config)
    }

    /// The same, from values instead of a file.
    ///
    /// # Errors
    /// [`crate::Error::Config`]: one of them cannot be used.
    pub fn from_parts<S: Into<String>>(
        prefix: impl Into<String>,
        volumes: impl IntoIterator<Item = S>,
        exclude: Exclude,
        need: Need,
    ) -> Result<Config> {
        let volumes = volumes.into_iter().map(Into::into).collect();
        let prefix = Given { value: prefix.into(), origin: Origin::Named("prefix") };
        let volumes = Given { value: volumes, origin: Origin::Named("volumes") };
        Config::assemble(&prefix, volumes, Volume::parse, exclude, need)
    }

    fn assemble(
        prefix: &Given<String>,
        volumes: Given<Vec<String>>,
        parse: fn(&str, &str) -> Result<Volume, String>,
        exclude: Exclude,
        need: Need,
    ) -> Result<Config> {
        let Given { value: paths, origin: volumes_origin } = volumes;
        let refuse = |reason| prefix.origin.refuse(DocumentPart::Prefix, reason);
        let prefix = paths::prefix(&prefix.value).map_err(refuse)?;
        let (mut known, mut stored) = (HashSet::new(), HashSet::new());
        let mut volumes = Vec::with_capacity(paths.len());
        for (index, path) in paths.iter().enumerate() {
            let refuse = |reason| volumes_origin.refuse(DocumentPart::Volume(index), reason);
            let volume = parse(path, &prefix).map_err(refuse)?;
            let is_new = known.insert(volume.path().to_owned());
            if !(stored.insert(volume.stored_path().to_owned()) && is_new) {
                return Err(refuse(format!("{} is there twice: keep one", quote(path))));
            }
            volumes.push(volume);
        }
        if volumes.is_empty() && need == Need::Volumes {
            let reason = "there are no volumes: list their paths, as in `volumes: [/data]`";
            return Err(volumes_origin.refuse(DocumentPart::Volumes, reason));
        }
        let (incremental, full_every, file) = (None, None, None);
        Ok(Config { prefix, volumes, exclude, incremental, full_every, file, volumes_origin })
    }

    /// The text of a configuration file that says the same.
    pub fn to_yaml(&self) -> String {
        let mut text = format!("prefix: {}\n", quoted(&self.prefix));
        text.extend(self.incremental.map(|incremental| format!("incremental: {incremental}\n")));
        text.extend(self.full_every.map(|every| format!("full_every: {every}\n")));
        let volumes: Vec<&str> = self.volumes.iter().map(Volume::path).collect();
        let patterns: Vec<&str> = self.exclude.patterns().iter().map(String::as_str).collect();
        for (key, items) in [("volumes:\n", volumes), ("exclude:\n", patterns)] {
            text += if items.is_empty() { "" } else { key };
            for item in items {
                text.extend(["  - ", &quoted(item), "\n"]);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests;
