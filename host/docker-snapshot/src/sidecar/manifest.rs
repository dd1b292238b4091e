//! What a backup says of itself, inside the archive: which directory was called what, and which dump is which
//! database's. It holds no address and no password: where a database is now, the configuration says.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use snapshotter_dump::Kind as DatabaseKind;

use crate::config::Source;

/// The last part of the path, in archives, of the directory with the dumps and the manifest.
pub(crate) const DIRECTORY: &str = "snapshotter-dumps";
/// The manifest in that directory.
const FILE: &str = "backup.json";
const VERSION: u32 = 1;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u32,
    pub(crate) job: String,
    /// The directories and files that are in the archive, each a volume of it.
    pub(crate) sources: Vec<Source>,
    pub(crate) dumps: Vec<Dump>,
}

/// A dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dump {
    /// The file's name.
    pub(crate) file: String,
    pub(crate) kind: Kind,
    /// What the configuration calls the database, or the server.
    pub(crate) of: String,
    /// The database, where the configuration names a server with all that it has.
    #[serde(default)]
    pub(crate) database: Option<String>,
    /// The file, of a SQLite database.
    #[serde(default)]
    pub(crate) path: Option<String>,
    pub(crate) bytes: u64,
    /// The server's version.
    pub(crate) server: String,
}

/// A kind of database, as the manifest has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Postgres,
    Mysql,
    Redis,
    Mongo,
    Sqlite,
}

impl From<DatabaseKind> for Kind {
    fn from(kind: DatabaseKind) -> Self {
        match kind {
            DatabaseKind::Postgres => Kind::Postgres,
            DatabaseKind::Mysql => Kind::Mysql,
            DatabaseKind::Redis => Kind::Redis,
            DatabaseKind::Mongo => Kind::Mongo,
            DatabaseKind::Sqlite => Kind::Sqlite,
        }
    }
}

impl From<Kind> for DatabaseKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Postgres => DatabaseKind::Postgres,
            Kind::Mysql => DatabaseKind::Mysql,
            Kind::Redis => DatabaseKind::Redis,
            Kind::Mongo => DatabaseKind::Mongo,
            Kind::Sqlite => DatabaseKind::Sqlite,
        }
    }
}

impl Manifest {
    pub(crate) fn new(job: &str, sources: Vec<Source>, dumps: Vec<Dump>) -> Self {
        Manifest { version: VERSION, job: job.to_owned(), sources, dumps }
    }

    /// Writes it into the directory with the dumps.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("cannot write JSON")?;
        let path = directory.join(FILE);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads it from there. Names of files in it lead nowhere else.
    ///
    /// # Errors
    /// When it is not there, or says what cannot be.
    pub(crate) fn read(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(FILE);
        let failed = "cannot read what the backup says of itself";
        let text = std::fs::read(path).context(failed)?;
        let manifest: Manifest = serde_json::from_slice(&text).context(failed)?;
        ensure!(
            manifest.version == VERSION,
            "cannot restore it: a later version of this program made it: take that version"
        );
        for dump in &manifest.dumps {
            let inside = !dump.file.contains('/') && !dump.file.starts_with('.');
            ensure!(inside, "cannot restore it: it names a dump outside of itself: it was tampered with");
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_leads_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let dump = |file: &str| Dump {
            file: file.to_owned(),
            kind: Kind::Postgres,
            of: "app".to_owned(),
            database: None,
            path: None,
            bytes: 1,
            server: "15".to_owned(),
        };
        let good = Manifest::new("shop", Vec::new(), vec![dump("app.pgdump")]);
        good.write(directory.path()).unwrap();
        assert_eq!(Manifest::read(directory.path()).unwrap(), good);
        for file in ["../app.pgdump", "/etc/passwd", ".hidden"] {
            Manifest::new("shop", Vec::new(), vec![dump(file)]).write(directory.path()).unwrap();
            assert!(Manifest::read(directory.path()).is_err(), "{file}");
        }
        Manifest { version: 2, ..good }.write(directory.path()).unwrap();
        assert!(Manifest::read(directory.path()).unwrap_err().to_string().contains("later version"));
    }
}
