//! The files of a directory that is a store. A final name appears by one call of the system, when all of the
//! file has reached the disk.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use super::super::draft::{draft, is_draft};
use super::super::name::Name;
use super::super::{LEFT_FOR_DEAD, Leftover};

/// How long nobody has written to a draft that is a leftover.
const UNTOUCHED: Duration = Duration::from_hours(1);
/// How deep folders are looked into: no name of ours has more parts.
const DEEPEST: usize = 16;

/// A file that has not got its name yet. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    path: PathBuf,
    name: PathBuf,
    published: bool,
}

impl Draft {
    /// A file that is to be `name` in `root`. Folders are made as needed; the name must be free.
    pub(crate) fn begin(root: &Path, name: &Name) -> io::Result<Self> {
        let name = root.join(name.as_str());
        let folder = folder(&name).to_owned();
        make(&folder)?;
        match fs::symlink_metadata(&name) {
            Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let path = folder.join(draft());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let draft = Draft { file, path, name, published: false };
        // Where there are no locks, leftovers are told by their age.
        match flock(&draft.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => Ok(draft),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)
    }

    /// Gives the file its name, for good: when this returns, a power cut changes nothing any more.
    pub(crate) fn publish(mut self) -> io::Result<Metadata> {
        self.file.sync_all()?;
        let metadata = self.file.metadata()?;
        rename(&self.path, &self.name)?;
        self.published = true;
        // What may be gone after a power cut is not stored.
        sync(folder(&self.name)).inspect_err(|_| drop(fs::remove_file(&self.name)))?;
        Ok(metadata)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed is a leftover, and is found as one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Renames without ever replacing: by the kernel where the file system can, else by a second link.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            // The object is there. A second name that stays is a leftover.
            let _ = fs::remove_file(from);
            Ok(())
        }
        renamed => Ok(renamed?),
    }
}

/// The file `name`, to be read. Neither a link nor a pipe is followed or waited for.
pub(crate) fn open(root: &Path, name: &Name) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(root.join(name.as_str()));
    let file = file.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP) => io::Error::new(ErrorKind::InvalidInput, "it is a symbolic link"),
        Some(Errno::NOTDIR) => ErrorKind::NotFound.into(),
        _ => error,
    })?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Tells `found` each regular file in `folder` of `root`, with its name if it can have one.
pub(crate) fn walk(
    root: &Path,
    folder: &str,
    found: &mut dyn FnMut(Option<Name>, &Metadata),
) -> io::Result<()> {
    each(root, folder, 0, &mut |name, metadata| {
        if !is_draft(name) {
            found(name.parse().ok(), metadata);
        }
    })
}

/// The drafts that no live run writes to.
pub(crate) fn leftovers(root: &Path) -> io::Result<Vec<Leftover>> {
    let mut leftovers = Vec::new();
    each(root, "", 0, &mut |name, metadata| {
        if is_draft(name) && is_left(&root.join(name), metadata) {
            leftovers.push(Leftover {
                id: name.to_owned(),
                name: None,
                size: Some(metadata.len()),
                since: metadata.modified().ok(),
            });
        }
    })?;
    leftovers.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(leftovers)
}

/// Removes the draft `id`, if no live run writes to it.
pub(crate) fn clear(root: &Path, id: &str) -> io::Result<()> {
    let path = root.join(id);
    let inside = !id.starts_with('/') && id.split('/').all(|part| !part.is_empty() && part != "..");
    if !inside || !is_draft(id) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not what a killed run left"));
    }
    if !is_left(&path, &fs::symlink_metadata(&path)?) {
        return Err(io::Error::new(ErrorKind::ResourceBusy, "a run writes to it"));
    }
    remove(&path)
}

/// Removes a file, for good.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync(folder(path))
}

/// Tells `found` each regular file below `folder` of `root`, by its path from there.
fn each(root: &Path, folder: &str, depth: usize, found: &mut dyn FnMut(&str, &Metadata)) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        // A folder that is not there is empty; a store that is not there is not.
        Err(error) if error.kind() == ErrorKind::NotFound && !folder.is_empty() => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // A name that is not UTF-8 is nobody's of ours, and is shown as one that cannot be a name.
        let last = entry.file_name().to_str().map_or_else(|| "\u{0}".to_owned(), str::to_owned);
        let name = if folder.is_empty() { last } else { format!("{folder}/{last}") };
        let metadata = match entry.metadata() {
            // It went meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        if metadata.is_dir() && depth < DEEPEST && !name.ends_with('\0') {
            each(root, &name, depth + 1, found)?;
        } else if metadata.is_file() {
            found(&name, &metadata);
        }
    }
    Ok(())
}

/// Whether no live run writes to the draft: its lock says so, but not of another machine's run on every file
/// system, so it must have lain untouched for a while as well.
fn is_left(path: &Path, metadata: &Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    let Some(age) = age.filter(|age| *age > UNTOUCHED) else { return false };
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path) else { return false };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => true,
        Err(Errno::WOULDBLOCK) => false,
        Err(_) => age > LEFT_FOR_DEAD,
    }
}

/// The directory that holds `path`.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes `directory` and what leads to it, each of them durable.
fn make(directory: &Path) -> io::Result<()> {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let parent = folder(directory);
    if parent != directory {
        make(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| sync(parent)),
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
