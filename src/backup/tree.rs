//! One volume, from its root down: parents before children, siblings in the order of their bytes.

use std::collections::{HashMap, HashSet};
use std::io;

use nix::errno::Errno;

use crate::archive::entry::{Entry, Kind as EntryKind};
use crate::backup::attributes::{entry, read_xattrs};
use crate::backup::sink::Sink;
use crate::backup::{OpenVolume, content};
use crate::config::Config;
use crate::error::{Context, Error, Result, reason};
use crate::fs::handle::join;
use crate::fs::xattrs::is;
use crate::fs::{Descent, FileId, Handle, Kind, Stat, mounts, space};
use crate::name::Shown;
use crate::observer::Run;
use crate::snapshot::manifest::Warnings;
use crate::snapshot::under;
use crate::volume::VolumeType;

pub(super) struct Tree<'a, 'b> {
    config: &'a Config,
    /// All volumes of the configuration, and the one that is stored.
    volumes: &'a [OpenVolume<'a>],
    volume: &'a OpenVolume<'a>,
    /// The archive and the configuration.
    left_out: &'a [FileId],
    run: &'a Run<'a>,
    sink: &'a mut Sink<'b>,
    warnings: &'a mut Warnings,
    /// The volume's name in the archive.
    name: Vec<u8>,
    /// The archive name of the first path of each file with several names.
    links: HashMap<FileId, FirstName>,
    /// Paths inside the volume that are mount points.
    mounts: HashSet<Vec<u8>>,
    /// The mount that the volume itself is on.
    mount: Option<u64>,
}

/// The name under which a file with several names was stored.
struct FirstName {
    name: Vec<u8>,
    /// How many other names are still to come.
    more: u64,
}

/// What became of opening something that was listed.
enum Opened {
    Handle(Handle, Stat),
    /// It is gone, or something else has taken its name.
    Changed(&'static str),
}

impl<'a, 'b> Tree<'a, 'b> {
    pub(super) fn new(
        config: &'a Config,
        volumes: &'a [OpenVolume<'a>],
        volume: &'a OpenVolume<'a>,
        left_out: &'a [FileId],
        run: &'a Run<'a>,
        sink: &'a mut Sink<'b>,
        warnings: &'a mut Warnings,
    ) -> Self {
        Tree {
            name: under(&config.prefix, volume.id),
            config,
            volumes,
            volume,
            left_out,
            run,
            sink,
            warnings,
            links: HashMap::new(),
            mounts: HashSet::new(),
            mount: None,
        }
    }

    pub(super) fn store(mut self) -> Result<()> {
        let stat = self.volume.handle.stat().context("look at", self.volume.path)?;
        self.mount = stat.mount;
        let root = self.volume.handle.duplicate().context("open", self.volume.path)?;
        if self.volume.kind == VolumeType::File {
            return self.file(b"", root, &stat);
        }
        self.mounts = mounts_below(&self.volume.real_path).context("find the mounts in", self.volume.path)?;
        self.directory(b"", &root, &stat)?;

        let mut names = space::names_in_root(&root).context("list", self.volume.path)?;
        names.retain(|name| !self.volume.strays.contains(name));
        self.below(Descent::new(root), names)
    }

    /// Stores everything below the root, whose names are `names`.
    fn below(&mut self, mut descent: Descent, mut names: Vec<Vec<u8>>) -> Result<()> {
        names.reverse();
        let mut pending = vec![names];
        let mut directory = Vec::new();
        while let Some(names) = pending.last_mut() {
            let Some(name) = names.pop() else {
                pending.pop();
                if let Some(left) = descent.leave() {
                    directory.truncate(directory.len().saturating_sub(left.len() + 1));
                }
                continue;
            };
            self.run.cancel.check("the archive is as it was")?;
            let path = join(&directory, &name);
            let here = descent.here().context("open", &self.full(&directory))?;
            if let Some((handle, stat)) = self.node(here, &name, &path)? {
                let mut below = handle.names().context("list", &self.full(&path))?;
                below.reverse();
                pending.push(below);
                descent.enter_open(&name, stat.id, handle);
                directory.extend_from_slice(&name);
                directory.push(b'/');
            }
        }
        Ok(())
    }

    /// Stores `name`; returns it when it is a directory that is to be entered.
    fn node(&mut self, here: &Handle, name: &[u8], path: &[u8]) -> Result<Option<(Handle, Stat)>> {
        let listed = match here.stat_name(name) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.warn(path, "it vanished before it was read: it is left out")?;
                return Ok(None);
            }
            Err(source) => return Err(self.failed("look at", path, source)),
        };
        if self.config.exclude.excludes(path, listed.kind == Kind::Directory) {
            return Ok(None);
        }
        if self.left_out.contains(&listed.id) {
            let full = self.full(path);
            self.run.observer.note(&format!("{}: left out, because this run uses it", Shown::from(&full)));
            return Ok(None);
        }
        if self.is_mount(path, &listed) {
            self.mount_point(path, &listed)?;
            return Ok(None);
        }
        if listed.kind == Kind::Socket {
            let full = self.full(path);
            self.run.observer.note(&format!("{}: left out, because it is a socket", Shown::from(&full)));
            return Ok(None);
        }
        let (handle, stat) = match self.open(here, name, path, &listed)? {
            Opened::Handle(handle, stat) => (handle, stat),
            Opened::Changed(reason) => {
                self.warn(path, reason)?;
                return Ok(None);
            }
        };
        if stat.kind == Kind::Directory {
            self.directory(path, &handle, &stat)?;
            return Ok(Some((handle, stat)));
        }
        if self.is_further_link(path, &stat)? {
            return Ok(None);
        }
        match stat.kind {
            Kind::File => self.file(path, handle, &stat)?,
            _ => self.special(path, &handle, &stat)?,
        }
        if stat.nlink > 1 {
            let first = FirstName { name: self.archive_name(path), more: stat.nlink - 1 };
            self.links.insert(stat.id, first);
        }
        Ok(None)
    }

    fn open(&self, here: &Handle, name: &[u8], path: &[u8], listed: &Stat) -> Result<Opened> {
        let opened = match listed.kind {
            Kind::File => here.file(name),
            Kind::Directory => here.directory(name),
            _ => here.node(name),
        };
        let handle = match opened {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Opened::Changed("it vanished before it was read: it is left out"));
            }
            // It became a symbolic link, or something that is no directory, or a FIFO or device without another end.
            Err(error)
                if is(&error, Errno::ELOOP) || is(&error, Errno::ENOTDIR) || is(&error, Errno::ENXIO) =>
            {
                return Ok(Opened::Changed(
                    "something else took its place while it was read: it is left out",
                ));
            }
            Err(source) => return Err(self.failed("open", path, source)),
        };
        let stat = handle.stat().map_err(|source| self.failed("look at", path, source))?;
        if stat.kind != listed.kind || self.is_mount(path, &stat) {
            return Ok(Opened::Changed("something else took its place while it was read: it is left out"));
        }
        Ok(Opened::Handle(handle, stat))
    }

    fn directory(&mut self, path: &[u8], handle: &Handle, stat: &Stat) -> Result<()> {
        let mut entry = entry(self.archive_name(path), EntryKind::Directory, stat);
        self.read_xattrs(&mut entry, path, handle)?;
        self.put(&entry, path)
    }

    fn file(&mut self, path: &[u8], handle: Handle, stat: &Stat) -> Result<()> {
        let mut entry = entry(self.archive_name(path), EntryKind::File, stat);
        self.read_xattrs(&mut entry, path, &handle)?;
        let full = self.full(path);
        let changed = content::store(self.sink, entry, handle, stat, &full, self.run)?;
        self.run.observer.member(&full);
        match changed {
            Some(reason) => self.warn(path, reason),
            None => Ok(()),
        }
    }

    /// A symbolic link, FIFO or device.
    fn special(&mut self, path: &[u8], handle: &Handle, stat: &Stat) -> Result<()> {
        let kind = match stat.kind {
            Kind::Symlink => EntryKind::Symlink,
            Kind::CharDevice => EntryKind::CharDevice,
            Kind::BlockDevice => EntryKind::BlockDevice,
            _ => EntryKind::Fifo,
        };
        let mut entry = entry(self.archive_name(path), kind, stat);
        if kind == EntryKind::Symlink {
            entry.link = handle.link_target().map_err(|source| self.failed("read the link", path, source))?;
        }
        self.read_xattrs(&mut entry, path, handle)?;
        self.put(&entry, path)
    }

    /// Whether this file was stored under another name; if so, this one is stored as a link to it.
    fn is_further_link(&mut self, path: &[u8], stat: &Stat) -> Result<bool> {
        if stat.nlink < 2 {
            return Ok(false);
        }
        let Some(first) = self.links.get_mut(&stat.id) else { return Ok(false) };
        first.more = first.more.saturating_sub(1);
        let is_last = first.more == 0;
        let name = first.name.clone();
        let mut entry = entry(self.archive_name(path), EntryKind::HardLink, stat);
        entry.link = name;
        self.put(&entry, path)?;
        if is_last {
            self.links.remove(&stat.id);
        }
        Ok(true)
    }

    fn is_mount(&self, path: &[u8], stat: &Stat) -> bool {
        self.mounts.contains(path)
            || (self.mount.is_some() && stat.mount.is_some() && stat.mount != self.mount)
    }

    /// A mount point is empty here, and no member at all when it is a volume itself: extracted by another program, it
    /// would empty that one.
    fn mount_point(&mut self, path: &[u8], stat: &Stat) -> Result<()> {
        let real = join(&self.volume.real_path, path);
        if self.volumes.iter().any(|volume| volume.real_path == real) {
            return Ok(());
        }
        let kind = match stat.kind {
            Kind::Directory => EntryKind::Directory,
            Kind::File => EntryKind::File,
            _ => return self.warn(path, "it is a mount and neither a directory nor a file: it is left out"),
        };
        self.put(&entry(self.archive_name(path), kind, stat), path)?;
        self.warn(path, "it is a mount of its own and stored empty: name it in `volumes` to back it up")
    }

    fn read_xattrs(&mut self, entry: &mut Entry, path: &[u8], handle: &Handle) -> Result<()> {
        let mut unreadable = Vec::new();
        let read = read_xattrs(entry, handle, |name, error| {
            unreadable.push(format!(
                "its extended attribute {} cannot be read and is left out: {}",
                Shown::from(name),
                reason(&error)
            ));
            Ok(())
        })?;
        read.map_err(|source| self.failed("read the extended attributes of", path, source))?;
        unreadable.into_iter().try_for_each(|reason| self.warn(path, reason))
    }

    fn put(&mut self, entry: &Entry, path: &[u8]) -> Result<()> {
        let full = self.full(path);
        self.sink.entry(entry, &full)?;
        self.run.observer.member(&full);
        Ok(())
    }

    fn warn(&mut self, path: &[u8], reason: impl Into<String>) -> Result<()> {
        let full = self.full(path);
        self.warnings.warn(self.run, &full, reason)
    }

    fn failed(&self, action: &'static str, path: &[u8], source: io::Error) -> Error {
        Error::Io { action, path: Shown::from(&self.full(path)), source }
    }

    fn archive_name(&self, path: &[u8]) -> Vec<u8> {
        join(&self.name, path)
    }

    fn full(&self, path: &[u8]) -> Vec<u8> {
        join(self.volume.path.as_bytes(), path)
    }
}

fn mounts_below(root: &[u8]) -> io::Result<HashSet<Vec<u8>>> {
    let points = mounts::mount_points()?;
    Ok(mounts::below(root, &points).into_iter().map(<[u8]>::to_vec).collect())
}
