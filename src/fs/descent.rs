//! The way from a root directory down to the one being worked on, as open handles. However deep the tree is,
//! only the deepest few directories are kept open; one that was closed is opened again from the root, name by
//! name, and must still be the same directory.

use std::io;
use std::sync::Arc;

use crate::fs::handle::parent_and_name;
use crate::fs::{FileId, Handle, Stat};

/// How many directories below the root stay open.
const OPEN: usize = 64;

#[derive(Debug)]
pub(crate) struct Descent {
    root: Arc<Handle>,
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    name: Vec<u8>,
    id: FileId,
    handle: Option<Arc<Handle>>,
}

impl Descent {
    pub(crate) fn new(root: Handle) -> Self {
        Descent { root: Arc::new(root), levels: Vec::new() }
    }

    pub(crate) fn root(&self) -> &Handle {
        &self.root
    }

    /// Goes to the directory at `path` below the root, from the deepest one on the way that was entered
    /// already: of many paths in a row, most lie in the directory of the one before.
    pub(crate) fn go_to(&mut self, path: &[u8]) -> io::Result<&Handle> {
        let mut names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).peekable();
        let mut shared = 0;
        while names.next_if(|name| self.levels.get(shared).is_some_and(|level| level.name == *name)).is_some()
        {
            shared += 1;
        }
        self.levels.truncate(shared);
        for name in names {
            self.enter(name)?;
        }
        self.here()
    }

    /// What lies at `path` below the root; `None` when it, or a directory on the way, is not there.
    pub(crate) fn find(&mut self, path: &[u8]) -> io::Result<Option<Stat>> {
        let (parent, name) = parent_and_name(path);
        match self.go_to(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            parent => parent?.find(name),
        }
    }

    /// The names that lead from the root to here.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.levels.iter().map(|level| level.name.as_slice())
    }

    /// The directory that was entered last, or the root.
    pub(crate) fn here(&mut self) -> io::Result<&Handle> {
        self.share().map(|handle| &**handle)
    }

    /// The same, to be kept: it stays open as long as anybody has it.
    pub(crate) fn share(&mut self) -> io::Result<&Arc<Handle>> {
        self.reopen()?;
        Ok(self.levels.last().and_then(|level| level.handle.as_ref()).unwrap_or(&self.root))
    }

    pub(crate) fn enter(&mut self, name: &[u8]) -> io::Result<()> {
        let handle = self.here()?.directory(name)?;
        let id = handle.stat()?.id;
        self.enter_open(name, id, handle);
        Ok(())
    }

    /// Enters a directory that is open already.
    pub(crate) fn enter_open(&mut self, name: &[u8], id: FileId, handle: Handle) {
        self.levels.push(Level { name: name.to_vec(), id, handle: Some(Arc::new(handle)) });
        if let Some(above) = self.levels.len().checked_sub(OPEN + 1) {
            self.levels[above].handle = None;
        }
    }

    /// Goes up by one and returns the name that was left.
    pub(crate) fn leave(&mut self) -> Option<Vec<u8>> {
        self.levels.pop().map(|level| level.name)
    }

    /// Opens as many of the deepest directories as may stay open, so that the way from the root is gone once
    /// for all of them.
    fn reopen(&mut self) -> io::Result<()> {
        if self.levels.last().is_none_or(|last| last.handle.is_some()) {
            return Ok(());
        }
        let kept = self.levels.len().saturating_sub(OPEN);
        let mut above: Option<Arc<Handle>> = None;
        for at in 0..self.levels.len() {
            let parent = match at.checked_sub(1).and_then(|above| self.levels[above].handle.as_ref()) {
                Some(kept) => kept,
                None => above.as_ref().unwrap_or(&self.root),
            };
            let level = &self.levels[at];
            let handle = Arc::new(parent.directory(&level.name)?);
            if at < kept {
                above = Some(handle);
                continue;
            }
            if handle.stat()?.id != level.id {
                return Err(io::Error::other("the directory was replaced in the meantime"));
            }
            self.levels[at].handle = Some(handle);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_the_open_handles_is_walked_down_and_up_again() {
        let root = tempfile::tempdir().unwrap();
        let mut descent = Descent::new(Handle::open_directory(root.path()).unwrap());
        for _ in 0..OPEN * 3 {
            descent.here().unwrap().make_directory(b"d", 0o700).unwrap();
            descent.enter(b"d").unwrap();
        }
        for depth in (0..OPEN * 3).rev() {
            assert_eq!(descent.leave().as_deref(), Some(&b"d"[..]));
            assert_eq!(descent.levels.len(), depth);
            descent.here().unwrap().create_file(b"f").unwrap();
            let open = descent.levels.iter().filter(|level| level.handle.is_some()).count();
            // The way from the root is gone once in OPEN levels.
            assert_eq!(open, depth.checked_sub(1).map_or(0, |above| above % OPEN + 1));
        }
        assert!(root.path().join("d/d/d/f").exists());
    }

    #[test]
    fn paths_are_reached_from_wherever_the_last_one_was() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b/c")).unwrap();
        std::fs::create_dir_all(root.path().join("ab/c")).unwrap();
        std::os::unix::fs::symlink("a", root.path().join("link")).unwrap();
        let mut descent = Descent::new(Handle::open_directory(root.path()).unwrap());
        for path in ["a/b/c", "a/b", "ab/c", "a/b/c", "", "ab"] {
            let expected = Handle::open_directory(&root.path().join(path)).unwrap().stat().unwrap().id;
            assert_eq!(descent.go_to(path.as_bytes()).unwrap().stat().unwrap().id, expected, "{path}");
        }
        assert!(descent.find(b"a/b/c").unwrap().is_some());
        assert!(descent.find(b"a/no/c").unwrap().is_none());
        assert!(descent.find(b"a/b/no").unwrap().is_none());
        assert!(descent.go_to(b"link/b").is_err(), "followed");
        assert!(descent.find(b"ab/c").unwrap().is_some());
    }

    #[test]
    fn a_directory_that_was_replaced_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let mut descent = Descent::new(Handle::open_directory(root.path()).unwrap());
        for _ in 0..=OPEN {
            descent.here().unwrap().make_directory(b"d", 0o700).unwrap();
            descent.enter(b"d").unwrap();
        }
        std::fs::rename(root.path().join("d"), root.path().join("e")).unwrap();
        std::fs::create_dir(root.path().join("d")).unwrap();
        while descent.levels.len() > 1 {
            descent.leave();
        }
        assert!(descent.here().is_err());
    }
}
