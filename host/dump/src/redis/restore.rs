//! A dump is put into the data directory of a server that is stopped.
//!
//! A server that is configured with `appendonly yes` does not read the RDB file when it starts, but its
//! append-only file, and starts empty if there is none. So where there is one, the dump becomes that too: its
//! base may be an RDB file. Each name is replaced by renaming, and what was there is kept until all is done.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Uid, fchmod, fchown};
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt;

use crate::database::Restored;
use crate::error::{Error, Result};
use crate::source::Source;

const AOF_MANIFEST: &str = "appendonly.aof.manifest";
const AOF_BASE: &str = "appendonly.aof.1.base.rdb";

/// Where a server has its files.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Its data directory: `/data` in its image.
    pub path: PathBuf,
    /// The RDB file's name: `dbfilename`.
    pub file: String,
    /// Whether the server is configured with `appendonly yes`, if that is known. Otherwise its files tell.
    pub append_only: Option<bool>,
}

impl Directory {
    /// A directory with the names that a server uses unless it is configured otherwise.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Directory { path: path.into(), file: "dump.rdb".into(), append_only: None }
    }
}

/// Puts a dump into the directory of a stopped server. **The server must not run**: when it ends it writes
/// what it has in memory over the dump.
///
/// # Errors
/// When the dump is not whole, or a file cannot be written; the directory is then as it was.
pub async fn restore(directory: &Directory, dump: &dyn Source, keep_previous: bool) -> Result<Restored> {
    super::check(dump).await?;
    let copies = Copies::find(directory)?;
    let mut written = Vec::new();
    for (target, owner) in &copies.targets {
        written.push((write(dump, target, owner).await?, target.clone()));
    }
    let mut undo = Vec::new();
    match copies.put(written, &mut undo) {
        Ok(()) => finish(&directory.path, undo, keep_previous),
        Err(error) => {
            for (old, target) in undo.into_iter().rev() {
                let undone = match old {
                    Some(old) => remove(&target).and_then(|()| fs::rename(old, &target)),
                    None => remove(&target),
                };
                undone.map_err(at("put back", &target))?;
            }
            Err(error)
        }
    }
}

/// What was at a path, moved aside, and the path.
type Moved = (Option<PathBuf>, PathBuf);

/// Where the dump is to go.
struct Copies {
    /// Files, and whose they shall be.
    targets: Vec<(PathBuf, fs::Metadata)>,
    /// The directory of append-only files of Redis 7.
    parts: Option<PathBuf>,
}

impl Copies {
    fn find(directory: &Directory) -> Result<Self> {
        let path = &directory.path;
        let owner = fs::metadata(path).map_err(at("look at", path))?;
        let like = |target: &Path| fs::symlink_metadata(target).unwrap_or_else(|_| owner.clone());
        let target = path.join(&directory.file);
        let mut targets = vec![(target.clone(), like(&target))];
        let (parts, single) = (path.join("appendonlydir"), path.join("appendonly.aof"));
        let wanted = directory.append_only;
        let modern = wanted != Some(false) && (parts.exists() || wanted == Some(true) && !single.exists());
        if wanted != Some(false) && single.exists() {
            // Before Redis 7, or a server that was one then.
            targets.push((single.clone(), like(&single)));
        }
        Ok(Copies { targets, parts: modern.then_some(parts) })
    }

    /// Puts the files in their places; `undo` has what was done, also after an error.
    fn put(&self, written: Vec<(NamedTempFile, PathBuf)>, undo: &mut Vec<Moved>) -> Result<()> {
        let first = written.first().map(|(_, target)| target.clone());
        for (file, target) in written {
            undo.push((aside(&target)?, target.clone()));
            file.persist_noclobber(&target).map_err(|error| at("write", &target)(error.error))?;
        }
        if let (Some(parts), Some(dump)) = (&self.parts, first) {
            undo.push((aside(parts)?, parts.clone()));
            let owner = fs::metadata(&dump).map_err(at("look at", &dump))?;
            base(parts, &dump, &owner).map_err(at("write", parts))?;
        }
        Ok(())
    }
}

/// The dump as a file beside `target`, on disk.
async fn write(dump: &dyn Source, target: &Path, owner: &fs::Metadata) -> Result<NamedTempFile> {
    let directory = target.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(directory).map_err(at("write to", directory))?;
    let mut input = dump.open().await.map_err(Error::Read)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = input.read(&mut buffer).await.map_err(Error::Read)?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        file.write_all(piece).map_err(at("write to", directory))?;
    }
    let mode = if owner.is_file() { owner.mode() } else { 0o640 };
    give(file.as_file(), owner, mode)
        .and_then(|()| file.as_file().sync_all())
        .map_err(at("write to", directory))?;
    Ok(file)
}

/// A directory of append-only files whose base is the dump.
fn base(parts: &Path, dump: &Path, owner: &fs::Metadata) -> io::Result<()> {
    fs::create_dir(parts)?;
    give(&File::open(parts)?, owner, 0o755)?;
    let mut to = File::create_new(parts.join(AOF_BASE))?;
    io::copy(&mut File::open(dump)?, &mut to)?;
    give(&to, owner, owner.mode())?;
    to.sync_all()?;
    let mut manifest = File::create_new(parts.join(AOF_MANIFEST))?;
    manifest.write_all(format!("file {AOF_BASE} seq 1 type b\n").as_bytes())?;
    give(&manifest, owner, owner.mode())?;
    manifest.sync_all()?;
    File::open(parts)?.sync_all()
}

fn give(file: impl AsFd, owner: &fs::Metadata, mode: u32) -> io::Result<()> {
    fchown(&file, Some(Uid::from_raw(owner.uid())), Some(Gid::from_raw(owner.gid())))?;
    Ok(fchmod(&file, Mode::from_raw_mode(mode & 0o777))?)
}

/// Moves what is at `path` to a name beside it, if there is anything.
fn aside(path: &Path) -> Result<Option<PathBuf>> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
    let mut name = path.as_os_str().to_owned();
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    name.push(format!(".until-{}", seconds.map(|time| time.as_nanos()).unwrap_or_default()));
    fs::rename(path, &name).map_err(at("move", path))?;
    Ok(Some(name.into()))
}

fn finish(directory: &Path, undo: Vec<Moved>, keep: bool) -> Result<Restored> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at("write to", directory))?;
    let old: Vec<_> = undo.into_iter().filter_map(|(old, _)| old).collect();
    if keep {
        let names: Vec<_> = old.iter().map(|path| path.display().to_string()).collect();
        return Ok(Restored { previous: (!names.is_empty()).then(|| names.join(", ")), notes: Vec::new() });
    }
    let failed =
        |path: &PathBuf| remove(path).err().map(|error| format!("cannot remove {}: {error}", path.display()));
    Ok(Restored { previous: None, notes: old.iter().filter_map(failed).collect() })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
