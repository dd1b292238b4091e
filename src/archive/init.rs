//! Making an empty archive.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::open::{Access, Reader, open};
use crate::archive::{BLOCK, END, END_LEN};
use crate::error::{Context, Error, Hint, Result};
use crate::fs::ids::explain;
use crate::fs::{Handle, StoreFile, by_path, lock};
use crate::name::Shown;
use crate::observer::Run;

/// An archive of nothing but zeros is empty up to this size, in bytes: no program pads further.
const MAX_EMPTY: u64 = 1 << 20;

/// Makes an empty archive at `path`: exactly 1024 zero bytes, on disk when this returns. A zero-byte file or
/// an empty archive that is there already becomes one too. A new file has mode 0600, since what is backed up
/// may be readable by its owner alone.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("backup.tar");
/// snapshotter::init_archive(&path)?;
/// assert_eq!(std::fs::read(&path)?, [0; 1024]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When `path` holds anything else, or cannot be written; it is then as it was.
pub fn init_archive(path: &Path) -> Result<()> {
    init(path, false).map_err(explain)
}

/// Makes an empty archive at `path`, whatever file is there. What it held is lost.
///
/// # Errors
/// When `path` is no regular file, is in use, or cannot be written.
pub fn init_archive_over(path: &Path) -> Result<()> {
    init(path, true).map_err(explain)
}

fn init(path: &Path, force: bool) -> Result<()> {
    match Handle::create(path) {
        Ok(handle) => fill(&StoreFile::new(handle), path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => reset(path, force),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            let error = Error::Io { action: "create", path: Shown::from(path), source };
            Err(error.with_hint(Hint::MakeDirectory))
        }
        Err(source) => Err(Error::Io { action: "create", path: Shown::from(path), source }),
    }
}

/// Makes the new file an archive, or removes it again.
fn fill(file: &StoreFile, path: &Path) -> Result<()> {
    // As long as it may have to go again, no backup may append to it. Where there are no locks, this does
    // without.
    let _ = lock::take(file.handle(), lock::Mode::Exclusive);
    let filled = file.write_at(&END, 0).and_then(|()| file.handle().sync()).context("write", path);
    let Err(what) = filled.and_then(|()| sync_directory_of(path)) else { return Ok(()) };
    match by_path::remove_file(path).context("remove", path) {
        Ok(()) => Err(what),
        Err(undo) => {
            let state =
                "it is new and holds nothing, so remove it, or try `snapshotter init` again".to_owned();
            Err(Error::Undo { what: Box::new(what), undo: Box::new(undo), state })
        }
    }
}

fn sync_directory_of(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = by_path::canonical(parent).context("open", parent)?;
    Handle::open_directory(&parent).and_then(|parent| parent.sync()).context("sync", &*parent)
}

fn reset(path: &Path, force: bool) -> Result<()> {
    let name = Shown::from(path);
    let file = open(path, &name, Access::Init)?;
    lock::lock(file.handle(), lock::Mode::Exclusive, &name, Duration::ZERO, &Run::default())?;
    let reader = Reader::of_file(Arc::clone(&file), name)?;
    if !force && !is_empty(&reader)? {
        let reason = "it exists and is not empty".to_owned();
        let error = Error::Archive { action: "initialise", archive: reader.name().clone(), reason };
        return Err(error.with_hint(Hint::ForceInit));
    }
    file.truncate(0)
        .and_then(|()| file.write_at(&END, 0))
        .and_then(|()| file.handle().sync())
        .context("write", path)
}

fn is_empty(reader: &Reader) -> Result<bool> {
    if reader.len() == 0 {
        return Ok(true);
    }
    if reader.len() > MAX_EMPTY || reader.len() < END_LEN || !reader.len().is_multiple_of(BLOCK) {
        return Ok(false);
    }
    let mut bytes = vec![0; usize::try_from(reader.len()).unwrap_or(0)];
    reader.read_exact(&mut bytes, 0)?;
    Ok(bytes.iter().all(|&byte| byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_empty_is_made_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        for content in [&b""[..], &[0; 1024], &[0; 10240]] {
            std::fs::write(&path, content).unwrap();
            init_archive(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), [0; 1024]);
        }
        for content in [&b"x"[..], &[0; 1023], &[0; 1025]] {
            std::fs::write(&path, content).unwrap();
            assert!(init_archive(&path).is_err());
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
        init_archive_over(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0; 1024]);
        assert!(init_archive(folder.path()).is_err());
    }
    #[test]
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn a_full_disk_leaves_no_file_behind() {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};

        let folder = tempfile::tempdir().unwrap();
        // In a mount namespace of a thread's own, which ends with it.
        let in_namespace = || {
            if unshare(CloneFlags::CLONE_NEWNS).is_err() {
                eprintln!("skipped: it needs root, to mount a small filesystem");
                return;
            }
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(none, folder.path(), Some("tmpfs"), MsFlags::empty(), Some("nr_blocks=1")).unwrap();
            std::fs::write(folder.path().join("full"), [1; 4096]).unwrap();
            let path = folder.path().join("a.tar");
            assert!(matches!(init_archive(&path), Err(Error::Io { action: "write", .. })));
            assert!(!path.exists());
        };
        std::thread::scope(|scope| scope.spawn(in_namespace).join().unwrap());
    }
}
