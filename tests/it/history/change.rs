//! Changes of volumes, each where it is possible and else none.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::step::{Place, Step, What};
use crate::support::Tree;
use crate::support::compare::kind_of;
use crate::support::spot::Spot;
use crate::support::torture::{GROUP_OBJ, MASK, NOBODY, OTHER, USER, USER_OBJ, pattern};

const KEYS: [&str; 3] = ["trusted.a", "trusted.b=%25\n", "user.c"];

/// Changes what is below `volumes`.
pub(super) fn change(volumes: &Path, step: &Step) {
    let tree = |place: Place| Tree::at(volumes.join(place.volume()));
    match step {
        Step::Make(place, what) if cleared(volumes, *place) => make(tree(*place), place.name(), what),
        Step::Write { place, at, length } if kind(volumes, *place) == Some("file") => {
            let file = OpenOptions::new().write(true).open(path(volumes, *place)).unwrap();
            file.write_all_at(&pattern(*length), *at).unwrap();
        }
        Step::HardLink(place, to) => {
            let linked = |kind| kind != "directory" && kind != "socket";
            if cleared(volumes, *place) && kind(volumes, *to).is_some_and(linked) {
                tree(*place).hard_link(place.name(), to.name()).done();
            }
        }
        Step::Move(place, to) if cleared(volumes, *to) => {
            // A directory does not go into itself.
            let _ = fs::rename(path(volumes, *place), path(volumes, *to));
        }
        Step::Remove(place) => drop(cleared(volumes, *place)),
        Step::Attributes { place, mode, owner, seconds, nanoseconds } => {
            if let Some(kind) = kind(volumes, *place) {
                let entry = at_entry(volumes, *place, |tree| tree.owner(*owner, owner / 2));
                let entry = if kind == "symlink" { entry } else { entry.mode(*mode) };
                entry.mtime(*seconds, *nanoseconds).done();
            }
        }
        Step::Xattr { place, key, value } => xattr(volumes, *place, KEYS[*key], value.as_deref()),
        Step::Acl { place, kind: which, user } => match (kind(volumes, *place), *which) {
            (Some("directory"), _) | (Some("file"), "access") => {
                let entries = [
                    (USER_OBJ, 7, NOBODY),
                    (USER, 5, *user),
                    (GROUP_OBJ, 1, NOBODY),
                    (MASK, 5, NOBODY),
                    (OTHER, 4, NOBODY),
                ];
                at_entry(volumes, *place, |tree| tree.acl(which, &entries)).done();
            }
            _ => {}
        },
        _ => {}
    }
}

/// The tree that an entry is in, which may be a volume that is a file, after `change` of the entry.
fn at_entry(volumes: &Path, place: Place, change: impl FnOnce(Tree) -> Tree) -> Tree {
    let name = [place.volume().as_bytes(), place.name()].join(&b'/');
    change(Tree::at(volumes).at_entry(name))
}

fn path(volumes: &Path, place: Place) -> PathBuf {
    let volume = volumes.join(place.volume());
    // `join` would add a slash, and a file has none.
    if place.name().is_empty() { volume } else { volume.join(OsStr::from_bytes(place.name())) }
}

/// What is there, if all that leads to it are directories.
fn kind(volumes: &Path, place: Place) -> Option<&'static str> {
    let path = path(volumes, place);
    leads_through_directories(volumes, &path).then_some(())?;
    path.symlink_metadata().ok().map(|metadata| kind_of(&metadata))
}

fn leads_through_directories(volumes: &Path, path: &Path) -> bool {
    let above = path.ancestors().skip(1).take_while(|above| *above != volumes);
    above.into_iter().all(|above| above.symlink_metadata().map_or(true, |metadata| metadata.is_dir()))
}

/// Takes away what is there; whether something can be made in its place.
fn cleared(volumes: &Path, place: Place) -> bool {
    let path = path(volumes, place);
    if !leads_through_directories(volumes, &path) {
        return false;
    }
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path).unwrap(),
        Ok(_) => fs::remove_file(&path).unwrap(),
        Err(_) => {}
    }
    drop(Spot::below(&volumes.join(place.volume()), place.name()));
    true
}

fn make(tree: Tree, name: &[u8], what: &What) {
    let tree = match what {
        What::File(size) => tree.file(name, pattern(*size)),
        What::Sparse(at) => tree.sparse(name, 300_000, &[(*at, b"data")]),
        What::Directory => tree.dir(name),
        What::Symlink => tree.symlink(name, "../b"),
        What::Fifo => tree.fifo(name),
        // The name of a socket has 107 bytes at most.
        What::Socket if name.len() < 80 => tree.socket(name),
        What::Socket => tree,
        What::CharDevice => tree.char_device(name, 1, 3),
        What::BlockDevice => tree.block_device(name, 7, 200),
    };
    tree.done();
}

fn xattr(volumes: &Path, place: Place, key: &str, value: Option<&[u8]>) {
    let Some(kind) = kind(volumes, place) else { return };
    // Others have none of the users'.
    if key.starts_with("user.") && !matches!(kind, "file" | "directory") {
        return;
    }
    let path = path(volumes, place);
    match value {
        Some(value) => xattr::set(path, key, value).unwrap(),
        None if xattr::get(&path, key).unwrap().is_some() => xattr::remove(path, key).unwrap(),
        None => {}
    }
}
