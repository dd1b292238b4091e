//! A directory that archives are put into. An archive grows in a hidden directory beside its final name,
//! which is locked while its maker lives, and gets that name when it is complete and on disk; what the lock
//! of a dead one leaves is removed by the next run. No name is ever replaced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::job::names::Stem;

/// How the name of a directory ends that an archive grows in.
const PARTIAL: &str = ".partial";
const LOCK: &str = "lock";

/// A directory for the archives of one set.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
}

/// Where an archive grows. It goes with this value, and all in it that has got no name of its own.
#[derive(Debug)]
pub(crate) struct Partial {
    /// Where the archive will lie.
    place: PathBuf,
    directory: PathBuf,
    stem: Stem,
    /// Kept for as long as this process may write there.
    _lock: Option<File>,
}

/// A file under a second name, in a hidden directory beside it that nothing else has the name of. Both go with
/// this value.
#[derive(Debug)]
pub(crate) struct Linked {
    directory: PathBuf,
    _lock: Option<File>,
}

/// The directory `path` that archives are to be put into, as an absolute path.
///
/// # Errors
/// When something else is there.
pub(crate) fn directory(path: &Path) -> anyhow::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            bail!("cannot store to {}: it is no directory: name a directory", path.display())
        }
        _ => Ok(std::path::absolute(path)?),
    }
}

impl Place {
    /// Below `output`, for the set `set`; it is made when it is needed.
    pub(crate) fn new(output: &Path, set: &str) -> Self {
        Place { directory: output.join(set) }
    }

    /// Makes a place in which the archive `stem` can grow; `None` where that name is taken.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn begin(&self, stem: &Stem) -> anyhow::Result<Option<Partial>> {
        let failed = || format!("cannot store in {}", self.directory.display());
        self.try_begin(stem).with_context(failed)
    }

    fn try_begin(&self, stem: &Stem) -> io::Result<Option<Partial>> {
        fs::create_dir_all(&self.directory)?;
        let guard = File::open(&self.directory)?;
        if guard.lock().is_ok() {
            remove_what_is_left(&self.directory)?;
        }
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            let name = name.strip_prefix('.').unwrap_or(&name);
            if name.strip_prefix(stem.as_str()).is_some_and(|rest| rest.starts_with('.')) {
                return Ok(None);
            }
        }
        let directory = self.directory.join(format!(".{}.{}{PARTIAL}", stem.as_str(), nonce()));
        let lock = make(&directory)?;
        Ok(Some(Partial { place: self.directory.clone(), directory, stem: stem.clone(), _lock: lock }))
    }
}

/// Makes a directory that is taken for left when nobody has the lock that is returned. The directory that it is
/// in is locked by the caller: nobody must find it in between. An engine that sees a directory of this name sees
/// this very one.
fn make(directory: &Path) -> io::Result<Option<File>> {
    DirBuilder::new().mode(0o700).create(directory)?;
    let lock = new_file(&directory.join(LOCK))?;
    // Where files cannot be locked, nobody takes this one for left either.
    Ok(lock.try_lock().is_ok().then_some(lock))
}

/// Removes directories whose makers are dead.
fn remove_what_is_left(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !(name.starts_with('.') && name.ends_with(PARTIAL)) {
            continue;
        }
        let lock = OpenOptions::new().write(true).open(path.join(LOCK));
        let dead = match &lock {
            Ok(lock) => lock.try_lock().is_ok(),
            // It was killed before it had a lock.
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if dead {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a directory with the files in it. Another directory in it is none of ours, and is left.
fn remove(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        fs::remove_file(entry?.path())?;
    }
    fs::remove_dir(directory)
}

/// A new file that its owner alone can read: it will have all that is in the volumes.
pub(crate) fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// A name that nobody else has.
pub(crate) fn nonce() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

impl Partial {
    /// The path of `file` in it.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// The directory itself.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Gives `file`, which is on disk, its final name, which ends in `suffix`, and returns it.
    ///
    /// # Errors
    /// When there is something of that name, or it cannot be renamed.
    pub(crate) fn publish(&self, file: &str, suffix: &str) -> anyhow::Result<PathBuf> {
        let to = self.place.join(format!("{}{suffix}", self.stem.as_str()));
        rename(&self.path(file), &to)
            .and_then(|()| sync(&self.place))
            .with_context(|| format!("cannot store {}", to.display()))?;
        Ok(to)
    }

    /// Writes `text` to its final name, which ends in `suffix`, and returns that.
    ///
    /// # Errors
    /// As [`Partial::publish`].
    pub(crate) fn publish_text(&self, text: &[u8], suffix: &str) -> anyhow::Result<PathBuf> {
        let file = self.path("text");
        let write = || {
            let mut to = new_file(&file)?;
            to.write_all(text)?;
            to.sync_all()
        };
        write().with_context(|| format!("cannot write {}", file.display()))?;
        self.publish("text", suffix)
    }
}

impl Linked {
    /// Gives the file at `path` the second name `name`.
    ///
    /// # Errors
    /// When nothing can be made beside it, or it can have no other name.
    pub(crate) fn new(path: &Path, name: &str) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let beside = path.parent().unwrap_or(Path::new("/"));
        let guard = File::open(beside)?;
        let _ = guard.lock();
        let directory = beside.join(format!(".restore.{}{PARTIAL}", nonce()));
        let linked = Linked { _lock: make(&directory)?, directory };
        fs::hard_link(&path, linked.directory.join(name))?;
        Ok(linked)
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        // What stays is removed by the next `create` there.
        let _ = remove(&self.directory);
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // What stays is removed by the next run, when the lock is free.
        let _ = remove(&self.directory);
    }
}

/// Makes the names in `place`, and its own, durable.
fn sync(place: &Path) -> io::Result<()> {
    File::open(place)?.sync_all()?;
    place.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Gives `from` the name `to`, which nothing may have. Filesystems that cannot do that in one step mostly
/// have hard links.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        renamed => return Ok(renamed?),
    }
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

#[cfg(test)]
mod tests {
    use snapshotter::time::Time;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_archive_has_its_name_when_it_is_complete_and_nothing_is_left() {
        let output = tempfile::tempdir().unwrap();
        let place = Place::new(output.path(), "shop");
        let stem = Stem::new(Time::default(), "0123abcd");
        let partial = place.begin(&stem).unwrap().unwrap();
        assert!(place.begin(&stem).unwrap().is_none(), "two have one name");
        fs::write(partial.path("archive"), "whole").unwrap();
        let growing = names(&output.path().join("shop"));
        assert!(growing.len() == 1 && growing[0].starts_with(".1970-01-01T00-00-00Z__spec-0123abcd."));
        partial.publish("archive", ".tar").unwrap();
        partial.publish_text(b"{}", ".json").unwrap();
        drop(partial);
        let stem = stem.as_str();
        let all = [format!("{stem}.json"), format!("{stem}.tar")];
        assert_eq!(names(&output.path().join("shop")), all);
    }

    #[test]
    fn a_second_name_goes_and_the_file_stays() {
        let output = tempfile::tempdir().unwrap();
        let file = output.path().join("a.tar");
        fs::write(&file, "whole").unwrap();
        let linked = Linked::new(&file, "archive.tar").unwrap();
        assert_eq!(fs::read(linked.directory().join("archive.tar")).unwrap(), b"whole");
        // The next run leaves it alone while it is used.
        drop(Place::new(output.path(), "").begin(&Stem::new(Time::default(), "0123abcd")).unwrap());
        assert!(linked.directory().join("archive.tar").exists());
        drop(linked);
        assert_eq!(names(output.path()), ["a.tar"]);
        assert!(Linked::new(&output.path().join("gone"), "archive.tar").is_err());
        assert_eq!(names(output.path()), ["a.tar"]);
    }

    #[test]
    fn nothing_is_ever_replaced() {
        let output = tempfile::tempdir().unwrap();
        let place = Place::new(output.path(), "shop");
        let stem = Stem::new(Time::default(), "0123abcd");
        let partial = place.begin(&stem).unwrap().unwrap();
        let taken = output.path().join("shop").join(format!("{}.tar", stem.as_str()));
        fs::write(&taken, "before").unwrap();
        fs::write(partial.path("archive"), "after").unwrap();
        assert!(partial.publish("archive", ".tar").is_err());
        drop(partial);
        assert_eq!(fs::read_to_string(&taken).unwrap(), "before");
        assert!(place.begin(&stem).unwrap().is_none());
    }

    #[test]
    fn what_a_dead_run_left_goes_and_what_a_live_one_has_stays() {
        let output = tempfile::tempdir().unwrap();
        let place = Place::new(output.path(), "shop");
        let (first, second) =
            (Stem::new(Time::default(), "aaaaaaaa"), Stem::new(Time::default(), "bbbbbbbb"));
        let live = place.begin(&first).unwrap().unwrap();
        for (name, locked) in [(".dead.partial", true), (".killed-at-once.partial", false)] {
            let dead = output.path().join("shop").join(name);
            fs::create_dir(&dead).unwrap();
            fs::write(dead.join("archive"), "half").unwrap();
            if locked {
                fs::write(dead.join(LOCK), "").unwrap();
            }
        }
        let other = place.begin(&second).unwrap().unwrap();
        assert_eq!(names(&output.path().join("shop")).len(), 2);
        assert!(live.directory().exists() && other.directory().exists());
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let error = directory(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(error.contains("it is no directory"), "{error}");
        assert!(directory(Path::new("./not-there-yet")).unwrap().is_absolute());
    }
}
