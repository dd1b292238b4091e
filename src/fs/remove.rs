//! Deleting a tree: by handles, without recursion, and never into another mount.

use std::io;

use crate::error::Error;
use crate::fs::handle::join;
use crate::fs::{Descent, FileId, FileKind, Handle};
use crate::name::Shown;

/// What could not be removed, at a path below the directory that it was to be removed from.
#[derive(Debug)]
pub(crate) struct Unremoved {
    path: Vec<u8>,
    source: io::Error,
}

impl Unremoved {
    /// The error, of what lies below the directory at `above`.
    pub(crate) fn below(self, above: &[u8]) -> Error {
        let path = Shown::from(&join(above, &self.path));
        Error::Io { action: "remove", path, source: self.source }
    }
}

/// Deletes `name` in `parent` and everything below it.
///
/// # Errors
/// The first thing that could not be deleted; a mount point below is one (`EBUSY`), and nothing in it is
/// touched, and so is a file of `keep`.
pub(crate) fn remove_tree(parent: &Handle, name: &[u8], keep: &[FileId]) -> Result<(), Unremoved> {
    // Of the directories that were gone into, and what is at hand in the last of them.
    let mut way = vec![name.to_vec()];
    remove_along(parent, name, keep, &mut way).map_err(|source| {
        let path = way.iter().fold(Vec::new(), |path, name| join(&path, name));
        Unremoved { path, source }
    })
}

fn remove_along(parent: &Handle, name: &[u8], keep: &[FileId], way: &mut Vec<Vec<u8>>) -> io::Result<()> {
    let Some(found) = parent.find(name)? else { return Ok(()) };
    let mount = parent.stat()?.mount;
    if keep.contains(&found.id) {
        return Err(busy());
    }
    if found.kind != FileKind::Directory {
        return parent.remove_file(name);
    }
    if found.mount != mount {
        return Err(busy());
    }
    open_up(parent, name, found.mode);
    let mut descent = Descent::new(parent.duplicate()?);
    descent.enter(name)?;
    let mut pending = vec![descent.here()?.names()?];
    while let Some(names) = pending.last_mut() {
        let Some(next) = names.pop() else {
            pending.pop();
            if let Some(left) = descent.leave() {
                descent.here()?.remove_directory(&left)?;
                way.pop();
            }
            continue;
        };
        way.push(next.clone());
        let here = descent.here()?;
        let Some(found) = here.find(&next)? else {
            way.pop();
            continue;
        };
        if found.mount != mount || keep.contains(&found.id) {
            return Err(busy());
        }
        if found.kind == FileKind::Directory {
            open_up(here, &next, found.mode);
            descent.enter(&next)?;
            pending.push(descent.here()?.names()?);
        } else {
            here.remove_file(&next)?;
            way.pop();
        }
    }
    Ok(())
}

/// Lets the owner, who may not be root, into a directory that is to go.
fn open_up(parent: &Handle, name: &[u8], mode: u32) {
    if mode & 0o700 != 0o700 {
        // Where this fails and mattered, the deletion fails too, and says so.
        let _ = parent.node(name).and_then(|node| node.set_mode(0o700));
    }
}

fn busy() -> io::Error {
    nix::errno::Errno::EBUSY.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_goes_and_what_its_links_point_to_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        std::fs::create_dir_all(path.join("tree/a/b")).unwrap();
        std::fs::create_dir(path.join("kept")).unwrap();
        std::fs::write(path.join("kept/file"), "x").unwrap();
        std::os::unix::fs::symlink(path.join("kept"), path.join("tree/a/link")).unwrap();
        let handle = Handle::open_directory(path).unwrap();
        let link = handle.directory(b"tree").unwrap().directory(b"a").unwrap().stat_name(b"link").unwrap().id;
        let error = remove_tree(&handle, b"tree", &[link]).unwrap_err().below(b"/above");
        assert_eq!(error.to_string(), "cannot remove /above/tree/a/link");
        assert!(path.join("tree/a/link").is_symlink());
        remove_tree(&handle, b"tree", &[]).unwrap();
        assert!(!path.join("tree").exists());
        assert!(path.join("kept/file").exists());
        remove_tree(&handle, b"missing", &[]).unwrap();
    }
}
