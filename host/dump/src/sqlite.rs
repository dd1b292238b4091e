//! SQLite: a copy of the database, made by SQLite itself while others use it.
//!
//! A database in use is several files (`-wal`, `-shm`, `-journal`) that fit together only under SQLite's
//! locks; copied one after the other they are corrupt more often than not. The [backup
//! interface](https://www.sqlite.org/backup.html) copies all pages within one transaction. It is taken
//! rather than `VACUUM INTO`, which may renumber rows.
//!
//! A dump is restored the same way, into the file that is there: one transaction, which SQLite rolls back
//! if it is killed, and whoever has the database open sees the old content or the new.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Gid, Uid, fchown};
use tempfile::{NamedTempFile, TempPath};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::database::{Dumped, Kind, Restore, Restored};
use crate::error::{Error, Result};
use crate::source::Source;

/// How long others may hold a lock that is in the way.
const PATIENCE: Duration = Duration::from_secs(30);
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Writes a copy of the database `path`, by way of a file in `scratch`, which is checked first.
///
/// # Errors
/// When it cannot be copied, or is corrupt.
pub async fn dump(
    path: &Path,
    scratch: &Path,
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<Dumped> {
    let (from, scratch) = (path.to_owned(), scratch.to_owned());
    let copy = blocking(move || {
        let copy = NamedTempFile::new_in(&scratch).map_err(file("write to", &scratch))?.into_temp_path();
        let source = open(&from, looking(&from))?;
        let mut target = open(&copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let wal = has_wal(&source, &from)?;
        copy_all(&source, &mut target, "copy", &from)?;
        target.pragma_update(None, "journal_mode", "DELETE").map_err(sql("copy", &from))?;
        if fs::metadata(&copy).map_err(file("look at", &copy))?.len() == 0 {
            // What nobody has written to has no page yet, and could not be told from a dump that is cut.
            target
                .execute_batch("CREATE TABLE one(a); DROP TABLE one; VACUUM;")
                .map_err(sql("copy", &from))?;
        }
        intact(&target, &from)?;
        drop(target);
        mark_wal(&copy, wal).map_err(file("write", &copy))?;
        Ok(copy)
    })
    .await?;
    let bytes = send(&copy, output).await?;
    Ok(Dumped { bytes, version: rusqlite::version().into(), notes: Vec::new() })
}

/// Reads all of a dump by way of a file in `scratch`, and has SQLite check all of its tables and indexes.
///
/// # Errors
/// [`Error::Damaged`] when it is cut or damaged.
pub async fn check(dump: &dyn Source, scratch: &Path) -> Result<()> {
    let copy = receive(dump, scratch).await?;
    blocking(move || whole(&copy).map(drop)).await
}

/// Makes of the database `path` what the dump holds. One that others have open is waited for and not refused,
/// since they notice that it has changed; one that is being written to all the time is.
///
/// # Errors
/// When it cannot be restored; the database is then as it was.
pub async fn restore(path: &Path, dump: &dyn Source, how: &Restore) -> Result<Restored> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (path, directory) = (path.to_owned(), directory.to_owned());
    let copy = receive(dump, &directory).await?;
    let keep = how.keep_previous;
    blocking(move || {
        let wal = whole(&copy)?;
        if !path.exists() {
            alone(&path)?;
            mark_wal(&copy, wal).map_err(file("write", &copy))?;
            return settle(copy, &path, &directory).map(|()| Restored::default());
        }
        let previous = if keep { Some(kept(&path, &directory)?) } else { None };
        let source = open(&copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        replace(&source, &path)?;
        Ok(Restored { previous: previous.map(|path| path.display().to_string()), notes: Vec::new() })
    })
    .await
}

/// Copies `source` into the database that is at `path`, in one transaction.
fn replace(source: &Connection, path: &Path) -> Result<()> {
    let mut target = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let page = |database: &Connection| -> Result<u32> {
        database.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(sql("look at", path))
    };
    // A write-ahead log has pages of one size.
    let other_pages = has_wal(&target, path)? && page(source)? != page(&target)?;
    if other_pages {
        target.pragma_update(None, "journal_mode", "DELETE").map_err(sql("restore", path))?;
        if has_wal(&target, path)? {
            let users = "others have it open".into();
            return Err(Error::InUse { database: path.display().to_string(), users });
        }
    }
    copy_all(source, &mut target, "restore", path)?;
    if other_pages {
        target.pragma_update(None, "journal_mode", "WAL").map_err(sql("restore", path))?;
    }
    Ok(())
}

fn has_wal(database: &Connection, path: &Path) -> Result<bool> {
    let mode: String =
        database.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(sql("look at", path))?;
    Ok(mode == "wal")
}

/// Says in a copy's header that it is written to by way of a write-ahead log. While it is worked with here it
/// is not, as it would have other files beside it.
fn mark_wal(copy: &Path, wal: bool) -> std::io::Result<()> {
    let version = if wal { [2, 2] } else { [1, 1] };
    fs::OpenOptions::new().write(true).open(copy)?.write_all_at(&version, 18)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Read(std::io::Error::other(error))),
    }
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags).map_err(sql("open", path))?;
    connection.busy_timeout(PATIENCE).map_err(sql("open", path))?;
    Ok(connection)
}

/// How a database is opened that is not to be changed. One with a write-ahead log gets files beside it when
/// it is opened, which only a writer removes again. If it has them already, whoever left them is to have
/// them.
fn looking(path: &Path) -> OpenFlags {
    // Beside the file, and not beside a link to it.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let there = beside(&path, "-wal").symlink_metadata().is_ok();
    if there { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE }
}

/// Refuses what SQLite would take for a log of the new database, and play into it.
fn alone(path: &Path) -> Result<()> {
    let left = ["-wal", "-journal"].map(|end| beside(path, end));
    match left.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(left) => Err(Error::Refused {
            database: path.display().to_string(),
            problem: format!("it is not there, and {} is", left.display()),
            advice: "that is a part of another database of this name: move it away".into(),
        }),
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// All pages in one step: between two, others could write, and it would begin again, perhaps for ever.
fn copy_all(source: &Connection, target: &mut Connection, action: &'static str, path: &Path) -> Result<()> {
    let backup = Backup::new(source, target).map_err(sql(action, path))?;
    let begun = Instant::now();
    loop {
        match backup.step(-1).map_err(sql(action, path))? {
            StepResult::Done => return Ok(()),
            _ if begun.elapsed() > PATIENCE => {
                let users = format!("others have had it locked for {} s", PATIENCE.as_secs());
                return Err(Error::InUse { database: path.display().to_string(), users });
            }
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn intact(database: &Connection, path: &Path) -> Result<()> {
    let problem: String =
        database.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0)).map_err(sql("check", path))?;
    if problem == "ok" { Ok(()) } else { Err(Error::Damaged { kind: Kind::Sqlite, problem }) }
}

/// Whether a file is one whole database, as [`dump`] writes them; whether it is marked to have a write-ahead
/// log, which it is not any more.
fn whole(copy: &TempPath) -> Result<bool> {
    let damaged = |problem: String| Error::Damaged { kind: Kind::Sqlite, problem };
    let mut header = [0; 100];
    let read = File::open(copy).and_then(|mut copy| std::io::Read::read_exact(&mut copy, &mut header));
    if read.is_err() || !header.starts_with(MAGIC) {
        return Err(damaged("it does not begin as a SQLite database does".into()));
    }
    // https://www.sqlite.org/fileformat2.html#the_database_header
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65536,
        size => u64::from(size),
    };
    let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    let length = fs::metadata(copy).map_err(file("look at", copy))?.len();
    if length != page * u64::from(pages) {
        return Err(damaged(format!(
            "it has {length} bytes, and {pages} pages of {page} bytes are expected"
        )));
    }
    let wal = header[18..20] == [2, 2];
    mark_wal(copy, false).map_err(file("write", copy))?;
    let database = open(copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match intact(&database, copy) {
        Err(Error::Sqlite { source, .. }) => Err(damaged(source.to_string())),
        checked => checked.map(|()| wal),
    }
}

/// A copy of what is at `path`, beside it.
fn kept(path: &Path, directory: &Path) -> Result<PathBuf> {
    let copy = NamedTempFile::new_in(directory).map_err(file("write to", directory))?.into_temp_path();
    let source = open(path, looking(path))?;
    copy_all(&source, &mut open(&copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?, "copy", path)?;
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let name = beside(path, &format!(".until-{}", seconds.map(|time| time.as_secs()).unwrap_or_default()));
    settle(copy, &name, directory)?;
    Ok(name)
}

/// Gives a copy its name, on disk, as a file of the directory's owner.
fn settle(copy: TempPath, path: &Path, directory: &Path) -> Result<()> {
    let settled = || {
        let owner = fs::metadata(directory)?;
        let file = File::open(&copy)?;
        fchown(&file, Some(Uid::from_raw(owner.uid())), Some(Gid::from_raw(owner.gid())))?;
        file.sync_all()
    };
    settled().map_err(file("write", path))?;
    copy.persist_noclobber(path).map_err(|error| file("write", path)(error.error))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(file("write to", directory))
}

async fn receive(dump: &dyn Source, directory: &Path) -> Result<TempPath> {
    let (copy, path) = NamedTempFile::new_in(directory).map_err(file("write to", directory))?.into_parts();
    let mut copy = tokio::fs::File::from_std(copy);
    let mut input = dump.open().await.map_err(Error::Read)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = input.read(&mut buffer).await.map_err(Error::Read)?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        copy.write_all(piece).await.map_err(file("write", &path))?;
    }
    copy.flush().await.map_err(file("write", &path))?;
    Ok(path)
}

async fn send(copy: &TempPath, output: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<u64> {
    let mut input = tokio::fs::File::open(copy).await.map_err(file("read", copy))?;
    let (mut buffer, mut bytes) = (vec![0; 256 << 10], 0);
    loop {
        let read = input.read(&mut buffer).await.map_err(file("read", copy))?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        output.write_all(piece).await.map_err(Error::Write)?;
        bytes += piece.len() as u64;
    }
    output.flush().await.map_err(Error::Write)?;
    Ok(bytes)
}

fn sql(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Sqlite { action, path, source }
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
