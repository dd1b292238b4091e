//! Dumps the databases of a job into a directory, one file each, and has each read back before it counts. A
//! dump that fails fails the backup.
//!
//! They are files on this machine for a moment, since a tar says how long a member is in front of it, and
//! nobody knows how long a dump will be.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use snapshotter_dump::place::Local;
use snapshotter_dump::{Database, Error, check, dump, fits, mysql, postgres};
use tokio::io::AsyncSeekExt;

use crate::config::{Job, Kind, Named, Source};
use crate::job::tell::{Notice, Tell};
use crate::sidecar::manifest::Dump;

/// How a SQLite database begins.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// What is dumped of a job, and what is read as files.
#[derive(Debug, Default)]
pub(crate) struct Work {
    dumped: Vec<Wanted>,
    /// What is not dumped.
    pub(crate) sources: Vec<Source>,
}

/// A dump that is to be made.
#[derive(Debug)]
struct Wanted {
    /// The file's name without its extension.
    name: String,
    of: String,
    database: Database,
    /// Of a server whose databases are all dumped: which this is.
    one: Option<String>,
}

impl Work {
    /// Finds out what there is: which databases servers have, and which files are databases of SQLite.
    ///
    /// # Errors
    /// When a server cannot be asked, or a file not read.
    pub(crate) async fn find(job: &Job) -> anyhow::Result<Self> {
        let mut work = Work::default();
        for named in &job.databases {
            work.dumped.extend(databases(named).await?);
        }
        for source in &job.sources {
            let path = Path::new(&source.path);
            let is_there = path.metadata().map(|there| there.is_dir() == (source.kind == Kind::Directory));
            let is_there = is_there.with_context(|| {
                format!("cannot back up {}: mount it into this container, or leave it out", source.path)
            })?;
            let (kind, other) = match source.kind {
                Kind::Directory => ("directory", "BACKUP_FILES"),
                Kind::File => ("file", "BACKUP_DIRS"),
            };
            ensure!(is_there, "cannot back up {}: it is no {kind}: name it in {other}", source.path);
            if source.kind == Kind::File && is_sqlite(path)? {
                work.dumped.push(Wanted {
                    name: source.name.clone(),
                    of: source.name.clone(),
                    database: Database::Sqlite(path.to_owned()),
                    one: None,
                });
            } else {
                work.sources.push(source.clone());
            }
        }
        Ok(work)
    }

    /// Dumps all. `stopped` says that who uses files is at rest.
    ///
    /// # Errors
    /// When one of them cannot be dumped, or its dump is not whole.
    pub(crate) async fn dump(
        &self,
        directory: &Path,
        stopped: bool,
        tell: Tell<'_>,
    ) -> anyhow::Result<Vec<Dump>> {
        let mut dumps = Vec::new();
        for wanted in &self.dumped {
            tell(&Notice::Step(&format!("dumping {}", wanted.database)));
            let dumped = wanted.dump(directory, stopped, tell).await;
            dumps.push(dumped.with_context(|| format!("cannot back up {}", wanted.of))?);
            tell(&Notice::Done);
        }
        Ok(dumps)
    }
}

/// Finds out at the start what would otherwise fail at night: a client program that is missing, or older than
/// its server. That a server does not answer may pass, since all of a project starts at once; it is said.
///
/// # Errors
/// When a client program does not fit.
pub(crate) async fn fit(job: &Job, tell: Tell<'_>) -> anyhow::Result<()> {
    for named in &job.databases {
        match fits(&named.database, &Local::default()).await {
            Ok(()) => {}
            Err(error @ (Error::NoProgram { .. } | Error::Mismatch { .. })) => {
                anyhow::bail!("cannot back up {}: {:#}", named.database, told(&error));
            }
            Err(error) => tell(&Notice::Warning(&format!("{:#}", told(&error)))),
        }
    }
    Ok(())
}

/// The databases of `named`: itself, or all of the server if it names none.
async fn databases(named: &Named) -> anyhow::Result<Vec<Wanted>> {
    let wanted = |database, one: Option<String>| {
        let end = one.as_ref().map(|one| format!("-{}", legal(one))).unwrap_or_default();
        Wanted { name: format!("{}{end}", named.name), of: named.name.clone(), database, one }
    };
    let all = match &named.database {
        Database::Postgres(at) if at.database.is_none() => {
            postgres::databases(at, &Local::default()).await.map_err(|error| told(&error))?
        }
        Database::Mysql(at) if at.database.is_none() => {
            mysql::databases(at, &Local::default()).await.map_err(|error| told(&error))?
        }
        _ => return Ok(vec![wanted(named.database.clone(), None)]),
    };
    let each = all.into_iter().map(|one| wanted(of_server(&named.database, &one), Some(one)));
    Ok(each.collect())
}

/// The database `one` of the server of `database`.
pub(crate) fn of_server(database: &Database, one: &str) -> Database {
    let mut database = database.clone();
    if let Database::Postgres(at) | Database::Mysql(at) | Database::Mongo(at) = &mut database {
        at.database = Some(one.to_owned());
    }
    database
}

fn legal(name: &str) -> String {
    let letter =
        |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '_' };
    name.chars().map(letter).collect()
}

/// The error with what helps at its end.
pub(crate) fn told(error: &snapshotter_dump::Error) -> anyhow::Error {
    let advice = error.advice().map(str::to_owned);
    let words = crate::words::chain(error);
    match advice {
        Some(advice) => anyhow::anyhow!("{words}: {advice}"),
        None => anyhow::anyhow!("{words}"),
    }
}

fn is_sqlite(path: &Path) -> anyhow::Result<bool> {
    let mut begin = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SQLITE.len() as u64).read_to_end(&mut begin));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(begin == SQLITE)
}

impl Wanted {
    async fn dump(&self, directory: &Path, stopped: bool, tell: Tell<'_>) -> anyhow::Result<Dump> {
        let kind = self.database.kind();
        let file = format!("{}.{}", self.name, kind.extension());
        let path = directory.join(&file);
        // Two databases whose names differ in letters alone that no file's name may have.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut output = tokio::fs::File::from_std(made.with_context(|| format!("cannot make {file}"))?);
        let place = Local::default();
        let first = dump(&self.database, &place, directory, &mut output).await;
        let dumped = match (first, &self.database) {
            // Mounted read-only, one with a log of its own cannot be opened where it is.
            (Err(_), Database::Sqlite(path)) if stopped => {
                let copy = at_rest(path, directory)?;
                output.set_len(0).await.and(output.rewind().await).context("cannot write the dump")?;
                let copied = Database::Sqlite(copy.path().join("copy"));
                dump(&copied, &place, directory, &mut output).await
            }
            (first, _) => first,
        };
        let dumped = dumped.map_err(|error| told(&error))?;
        drop(output);
        check(kind, &place, directory, &path).await.map_err(|error| told(&error))?;
        for note in &dumped.notes {
            tell(&Notice::Note(&format!("{}: {note}", self.database)));
        }
        let sqlite = if let Database::Sqlite(path) = &self.database { path.to_str() } else { None };
        Ok(Dump {
            file,
            kind: kind.into(),
            of: self.of.clone(),
            database: self.one.clone(),
            path: sqlite.map(str::to_owned),
            bytes: dumped.bytes,
            server: dumped.version,
        })
    }
}

/// A copy of a SQLite database that nobody has open, with its log: where it is mounted read-only, SQLite could
/// not take it in there.
fn at_rest(path: &Path, directory: &Path) -> anyhow::Result<tempfile::TempDir> {
    let copy = tempfile::Builder::new().prefix(".sqlite").tempdir_in(directory);
    let copy = copy.with_context(|| format!("cannot write to {}", directory.display()))?;
    for end in ["", "-wal", "-journal"] {
        let mut from = path.as_os_str().to_owned();
        from.push(end);
        let (from, to) = (PathBuf::from(from), copy.path().join(format!("copy{end}")));
        if end.is_empty() || from.exists() {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    Ok(copy)
}
