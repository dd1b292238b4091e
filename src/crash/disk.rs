//! A tree of files as a model: what calls make of it, and the real tree that it stands for.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::fs::handle::path as as_path;
use crate::fs::record::{Call, Recorded};
use crate::fs::{FileKind, Handle, StoreFile};
use crate::time::Time;

/// A directory and all below it, by their numbers.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    root: u64,
    pub(super) nodes: BTreeMap<u64, Node>,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: FileKind,
    mode: u32,
    owner: (u32, u32),
    mtime: Time,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    device: (u32, u32),
    /// Of a symbolic link.
    target: Vec<u8>,
    pub(super) content: Vec<u8>,
    entries: BTreeMap<Vec<u8>, u64>,
}

impl Disk {
    /// The tree at `root`.
    pub(super) fn of(root: &Path) -> Disk {
        let handle = Handle::open_path(root).unwrap();
        let mut disk = Disk { root: handle.stat().unwrap().id.ino, nodes: BTreeMap::new() };
        disk.add(&handle, root);
        disk
    }

    fn add(&mut self, handle: &Handle, at: &Path) {
        let mut node = Node::new(&handle.stat().unwrap());
        for name in handle.xattr_names().unwrap() {
            node.xattrs.insert(name.clone(), handle.xattr(&name).unwrap().unwrap());
        }
        match node.kind {
            FileKind::File => node.content = fs::read(at).unwrap(),
            FileKind::Symlink => node.target = handle.link_target().unwrap(),
            FileKind::Directory => {
                for entry in fs::read_dir(at).unwrap() {
                    let entry = entry.unwrap();
                    let below = Handle::open_path(&entry.path()).unwrap();
                    let name = entry.file_name().as_bytes().to_vec();
                    node.entries.insert(name, below.stat().unwrap().id.ino);
                    self.add(&below, &entry.path());
                }
            }
            _ => {}
        }
        self.nodes.insert(handle.stat().unwrap().id.ino, node);
    }

    /// Does what `event` says to names and attributes, not to contents. What cannot be done, because
    /// something before it is missing, is not. `now` is the time that it leaves behind.
    pub(super) fn apply(&mut self, event: &Recorded, now: i64) {
        self.call(event.on.ino, &event.call, Time { secs: now, nanos: 0 });
    }

    fn call(&mut self, on: u64, call: &Call, now: Time) -> Option<()> {
        match call {
            Call::Create { name, made, target } => {
                if self.nodes.get(&on)?.entries.contains_key(name) {
                    return None;
                }
                let target = target.clone();
                self.nodes.insert(made.id.ino, Node { target, mtime: now, ..Node::new(made) });
                self.directory(on, now)?.insert(name.clone(), made.id.ino);
            }
            Call::Link { name, from, original } => {
                let ino = *self.nodes.get(&from.ino)?.entries.get(original)?;
                self.directory(on, now)?.insert(name.clone(), ino);
            }
            Call::Rename { name, to, new_name } => {
                let ino = *self.nodes.get(&on)?.entries.get(name)?;
                if self.nodes.get(&to.ino)?.entries.contains_key(new_name) {
                    return None;
                }
                self.directory(on, now)?.remove(name);
                self.directory(to.ino, now)?.insert(new_name.clone(), ino);
            }
            Call::Exchange { name, other } => {
                let entries = self.directory(on, now)?;
                let (one, two) = (*entries.get(name)?, *entries.get(other)?);
                entries.extend([(name.clone(), two), (other.clone(), one)]);
            }
            Call::Remove(name) => {
                // Of a directory whose own removals are not in the log, they go with it.
                self.directory(on, now)?.remove(name)?;
            }
            Call::Owner(uid, gid) => self.nodes.get_mut(&on)?.owner = (*uid, *gid),
            Call::Mode(mode) => self.nodes.get_mut(&on)?.mode = *mode,
            Call::Mtime(time) => self.nodes.get_mut(&on)?.mtime = *time,
            Call::Xattr(name, Some(value)) => {
                self.nodes.get_mut(&on)?.xattrs.insert(name.clone(), value.clone());
            }
            Call::Xattr(name, None) => drop(self.nodes.get_mut(&on)?.xattrs.remove(name)),
            Call::Write { .. } | Call::Truncate(_) | Call::Punch { .. } => {
                self.nodes.get_mut(&on)?.mtime = now;
            }
            Call::Sync | Call::SyncAll => {}
        }
        Some(())
    }

    /// The entries of a directory, which are about to change.
    fn directory(&mut self, ino: u64, now: Time) -> Option<&mut BTreeMap<Vec<u8>, u64>> {
        let node = self.nodes.get_mut(&ino)?;
        node.mtime = now;
        Some(&mut node.entries)
    }

    /// The files that have a name, with all their names.
    pub(super) fn names(&self) -> BTreeMap<u64, Vec<String>> {
        let mut all: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut pending = vec![(self.root, String::new())];
        while let Some((ino, path)) = pending.pop() {
            for (name, &below) in &self.nodes[&ino].entries {
                pending.push((below, format!("{path}/{}", name.escape_ascii())));
            }
            all.entry(ino).or_default().push(path);
        }
        all
    }

    /// What two disks with the same tree have in common.
    pub(super) fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let names = self.names();
        let mut all: Vec<_> = names.iter().map(|(ino, names)| (names, &self.nodes[ino])).collect();
        all.sort_unstable_by_key(|(names, _)| *names);
        for (names, node) in all {
            let Node { kind, mode, owner, mtime, xattrs, device, target, content, entries: _ } = node;
            hasher
                .update(format!("{names:?}{kind:?}{mode}{owner:?}{mtime:?}{xattrs:?}{device:?}").as_bytes());
            hasher.update(format!("{target:?}{}", blake3::hash(content)).as_bytes());
        }
        hasher.finalize()
    }

    /// Makes the tree, in `root`, which is emptied.
    pub(super) fn make(&self, root: &Path) {
        for entry in fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            }
            .unwrap();
        }
        let mut made = HashMap::new();
        self.fill(self.root, &Handle::open_directory(root).unwrap(), root, &mut made);
    }

    fn fill(&self, ino: u64, handle: &Handle, at: &Path, made: &mut HashMap<u64, std::path::PathBuf>) {
        for (name, below) in &self.nodes[&ino].entries {
            let path = at.join(as_path(name));
            if let Some(first) = made.get(below) {
                fs::hard_link(first, path).unwrap();
                continue;
            }
            let node = &self.nodes[below];
            match node.kind {
                FileKind::Directory => {
                    handle.make_directory(name, 0o700).unwrap();
                    self.fill(*below, &handle.directory(name).unwrap(), &path, made);
                }
                FileKind::File => {
                    let file = StoreFile::new(handle.create_file(name).unwrap());
                    file.write_at(&node.content, 0).unwrap();
                }
                FileKind::Symlink => handle.make_symlink(name, &node.target).unwrap(),
                kind => handle.make_node(name, kind, node.device).unwrap(),
            }
            if node.kind != FileKind::Directory {
                made.insert(*below, path);
                node.dress(&handle.node(name).unwrap());
            }
        }
        self.nodes[&ino].dress(handle);
    }
}

impl Node {
    fn new(stat: &crate::fs::Stat) -> Node {
        Node {
            kind: stat.kind,
            mode: stat.mode,
            owner: (stat.uid, stat.gid),
            mtime: stat.mtime,
            xattrs: BTreeMap::new(),
            device: stat.device,
            target: Vec::new(),
            content: Vec::new(),
            entries: BTreeMap::new(),
        }
    }

    /// Gives a file the node's attributes.
    fn dress(&self, handle: &Handle) {
        handle.set_owner(self.owner.0, self.owner.1).unwrap();
        for name in handle.xattr_names().unwrap() {
            handle.remove_xattr(&name).unwrap();
        }
        for (name, value) in &self.xattrs {
            handle.set_xattr(name, value).unwrap();
        }
        if self.kind != FileKind::Symlink {
            handle.set_mode(self.mode).unwrap();
        }
        handle.set_mtime(self.mtime).unwrap();
    }
}
