//! Finding files by what they are, wherever they lie below a directory.

use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use walkdir::{DirEntryExt, WalkDir};

use crate::fs::handle::path as as_path;
use crate::fs::{FileId, Handle, space};

/// The paths below `root` of all that is one of `files` and no directory; nothing at or below `left_out` is
/// looked at. Most filesystems list numbers rightly, so that not every file need be looked at.
pub(crate) fn find_files(root: &Handle, files: &[FileId], left_out: &[Vec<u8>]) -> io::Result<Vec<Vec<u8>>> {
    // The trailing dot makes the walk begin in the directory and not at the link to it.
    let base = root.proc_path().join(".");
    let left_out: HashSet<PathBuf> = left_out.iter().map(|path| base.join(as_path(path))).collect();
    let lists_numbers = space::lists_numbers(root);
    let mut found = Vec::new();
    let walk = WalkDir::new(&base).follow_links(false).into_iter();
    for entry in walk.filter_entry(|entry| !left_out.contains(entry.path())) {
        // What cannot be looked into cannot be exchanged either: the swap will say so.
        let Ok(entry) = entry else { continue };
        let may_be = !lists_numbers || files.iter().any(|id| id.ino == entry.ino());
        if entry.file_type().is_dir() || !may_be {
            continue;
        }
        let relative = entry.path().strip_prefix(&base).map_err(io::Error::other)?;
        let stat = Handle::open_path(entry.path()).and_then(|handle| handle.stat());
        if stat.is_ok_and(|stat| files.contains(&stat.id)) {
            found.push(relative.as_os_str().as_bytes().to_vec());
        }
    }
    Ok(found)
}
