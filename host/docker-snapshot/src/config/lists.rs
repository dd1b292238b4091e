//! Lists of paths: `/path:name,/path2:name2`.

use std::path::Path;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::config::value::Value;

/// Whether a whole directory or one file is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// A directory or file, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) kind: Kind,
}

/// The directories or files that `value` lists.
///
/// # Errors
/// When one of them is no absolute path, or its name is none.
pub(crate) fn sources(value: &Value, kind: Kind) -> anyhow::Result<Vec<Source>> {
    let parts = value.text().split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
    let mut sources = Vec::new();
    for part in parts {
        let (path, name) = match part.rsplit_once(':') {
            Some((path, name)) => (path, name),
            None => (part, ""),
        };
        if !path.starts_with('/') || Path::new(path).components().count() < 2 || path.contains("/../") {
            return Err(value.unfit(format!("{part} is no absolute path: write /path:name, /path2:name2")));
        }
        let last = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = if name.is_empty() { last } else { name.to_owned() };
        if !is_name(&name) {
            return Err(value.unfit(format!(
                "{name} cannot be the name of {path}: use letters, digits, dot, dash and underscore"
            )));
        }
        sources.push(Source { name, path: path.trim_end_matches('/').to_owned(), kind });
    }
    Ok(sources)
}

/// Whether `name` can be that of a job, a source or a dump: it becomes part of a file's name.
pub(crate) fn is_name(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= 100 && !name.starts_with(['.', '-']) && name.bytes().all(letters)
}

/// Refuses two of one name, and paths of which one holds the other: restored, each would undo the other.
///
/// # Errors
/// When there are such.
pub(crate) fn check(sources: &[Source]) -> anyhow::Result<()> {
    for (at, source) in sources.iter().enumerate() {
        for other in &sources[..at] {
            if source.name == other.name {
                bail!(
                    "cannot use BACKUP_DIRS and BACKUP_FILES: {} and {} are both called {}: give each a name \
                     of its own",
                    other.path,
                    source.path,
                    source.name
                );
            }
            let (one, two) = (Path::new(&source.path), Path::new(&other.path));
            if one.starts_with(two) || two.starts_with(one) {
                bail!(
                    "cannot use BACKUP_DIRS and BACKUP_FILES: {} and {} hold the same files: leave one out",
                    other.path,
                    source.path
                );
            }
        }
    }
    Ok(())
}

/// Names or patterns, separated by commas or lines.
pub(crate) fn words(value: &Value) -> Vec<String> {
    let parts = value.text().split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}
