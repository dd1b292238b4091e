//! One volume, from its root down: parents before children, siblings in the order of their bytes.

use std::collections::{HashMap, HashSet};
use std::io;

use nix::errno::Errno;

use crate::archive::entry::{Entry, Kind};
use crate::backup::attributes::{describe, read_xattrs};
use crate::backup::owners::Owners;
use crate::backup::shared::BackupRun;
use crate::backup::sink::Sink;
use crate::backup::source::SourceFile;
use crate::backup::volumes::OpenVolume;
use crate::config::Config;
use crate::error::{Context, Error, Result, reason};
use crate::fs::handle::{join, join_into};
use crate::fs::{Descent, DirBuffer, DirNames, FileId, FileKind, Handle, Stat, has_errno, mounts, space};
use crate::name::Shown;
use crate::snapshot::under;
use crate::time::Time;
use crate::volume::VolumeType;
use crate::warning::changes::{EMPTIED, REPLACED, VANISHED};

pub(super) struct Tree<'a, 'b> {
    config: &'a Config,
    /// All volumes of the configuration, and the one that is stored.
    volumes: &'a [OpenVolume<'a>],
    volume: &'a OpenVolume<'a>,
    /// The archive and the configuration.
    left_out: &'a [FileId],
    shared: &'a BackupRun<'a>,
    sink: &'a mut Sink<'b>,
    /// The volume's name in the archive.
    name: Vec<u8>,
    /// The archive name of the first path of each file with several names.
    links: HashMap<FileId, FirstName>,
    /// Paths inside the volume that are mount points.
    mounts: HashSet<Vec<u8>>,
    /// The mount that the volume itself is on.
    mount: Option<u64>,
    /// What is stored next; and full paths, for messages. Both are used over and over.
    entry: Entry,
    full: Vec<u8>,
    buffer: DirBuffer,
    owners: Owners,
}

/// The name under which a file with several names was stored.
struct FirstName {
    name: Vec<u8>,
    /// When the file was made: another may have got its inode since.
    born: Option<Time>,
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
        shared: &'a BackupRun<'a>,
        sink: &'a mut Sink<'b>,
    ) -> Result<Self> {
        Ok(Tree {
            name: under(&config.prefix, volume.id),
            config,
            volumes,
            volume,
            left_out,
            shared,
            sink,
            links: HashMap::new(),
            mounts: HashSet::new(),
            mount: None,
            entry: Entry::new(Vec::new(), Kind::File),
            full: Vec::new(),
            buffer: DirBuffer::default(),
            owners: Owners::new()?,
        })
    }

    pub(super) fn store(mut self) -> Result<()> {
        self.members()?;
        self.owners.report(self.shared)
    }

    fn members(&mut self) -> Result<()> {
        let stat = self.volume.handle.stat().context("look at", self.volume.path)?;
        self.mount = stat.mount;
        let root = self.volume.handle.duplicate().context("open", self.volume.path)?;
        if self.volume.kind == VolumeType::File {
            return self.file(b"", root, &stat);
        }
        self.mounts = mounts_below(&self.volume.real_path).context("find the mounts in", self.volume.path)?;
        self.directory(b"", &root, &stat)?;

        let kept = space::names_in_root(&root).context("list", self.volume.path)?;
        let mut names = DirNames::default();
        names.read(&root, &mut self.buffer).context("list", self.volume.path)?;
        names.retain(|name| {
            kept.binary_search_by(|kept| kept.as_slice().cmp(name)).is_ok()
                && !self.volume.strays.iter().any(|stray| stray == name)
        });
        self.below(Descent::new(root), names)
    }

    /// Stores everything below the root, whose names are `names`.
    fn below(&mut self, mut descent: Descent, names: DirNames) -> Result<()> {
        let mut pending = vec![names];
        let mut spare = Vec::new();
        // The path of the directory, which ends with a slash unless it is the root, and that of what is in
        // it.
        let mut directory_len = 0;
        let mut path = Vec::new();
        while let Some(names) = pending.last_mut() {
            path.truncate(directory_len);
            let Some((name, kind)) = names.take() else {
                spare.extend(pending.pop());
                if let Some(left) = descent.leave() {
                    directory_len -= left.len() + 1;
                }
                continue;
            };
            self.shared.check_cancel()?;
            path.extend_from_slice(name);
            let here =
                descent.here().map_err(|source| self.failed("open", &path[..directory_len], source))?;
            if let Some((handle, stat)) = self.node(here, name, kind, &path)? {
                descent.enter_open(name, stat.id, handle);
                path.push(b'/');
                directory_len = path.len();
                let mut below = spare.pop().unwrap_or_default();
                let handle = descent.here().map_err(|source| self.failed("open", &path, source))?;
                match below.read(handle, &mut self.buffer) {
                    Ok(()) => pending.push(below),
                    // It was removed after it was opened.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        self.warn(&path[..directory_len - 1], EMPTIED)?;
                        pending.push(DirNames::default());
                    }
                    Err(source) => return Err(self.failed("list", &path[..directory_len - 1], source)),
                }
            }
        }
        Ok(())
    }

    /// Stores `name`, which was listed as a `kind`; returns it when it is a directory that is to be entered.
    fn node(
        &mut self,
        here: &Handle,
        name: &[u8],
        kind: Option<FileKind>,
        path: &[u8],
    ) -> Result<Option<(Handle, Stat)>> {
        let kind = match kind {
            // A mount hides what was listed.
            Some(kind) if !self.mounts.contains(path) => kind,
            _ => match self.listed(here, name, path)? {
                Some(kind) => kind,
                None => return Ok(None),
            },
        };
        if self.config.exclude.excludes(path, kind == FileKind::Directory) {
            return Ok(None);
        }
        if kind == FileKind::Socket {
            self.left_out(path, "left out, because it is a socket");
            return Ok(None);
        }
        if self.refers_unopened(here, name, kind, path)? {
            return Ok(None);
        }
        let (handle, stat) = match self.open(here, name, path, kind)? {
            Opened::Handle(handle, stat) => (handle, stat),
            Opened::Changed(reason) => {
                self.warn(path, reason)?;
                return Ok(None);
            }
        };
        if self.left_out.contains(&stat.id) {
            self.left_out(path, "left out, because this run uses it");
            return Ok(None);
        }
        if stat.kind == FileKind::Directory {
            if !self.refers(path, &handle, &stat)? {
                self.directory(path, &handle, &stat)?;
            }
            return Ok(Some((handle, stat)));
        }
        if self.is_further_link(path, &stat)? {
            return Ok(None);
        }
        if !self.refers(path, &handle, &stat)? {
            match stat.kind {
                FileKind::File => self.file(path, handle, &stat)?,
                _ => self.special(path, &handle, &stat)?,
            }
        }
        if stat.nlink > 1 {
            let first = FirstName { name: self.archive_name(path), born: stat.born, more: stat.nlink - 1 };
            self.links.insert(stat.id, first);
        }
        Ok(None)
    }

    /// What a name is whose kind the listing did not have, unless it is gone or dealt with because it is a
    /// mount.
    fn listed(&mut self, here: &Handle, name: &[u8], path: &[u8]) -> Result<Option<FileKind>> {
        let stat = match here.stat_name(name) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.warn(path, VANISHED)?;
                return Ok(None);
            }
            Err(source) => return Err(self.failed("look at", path, source)),
        };
        let is_directory = stat.kind == FileKind::Directory;
        if self.is_mount(path, &stat) {
            if self.left_out.contains(&stat.id) {
                self.left_out(path, "left out, because this run uses it");
            } else if !self.config.exclude.excludes(path, is_directory) {
                self.mount_point(path, &stat)?;
            }
            return Ok(None);
        }
        Ok(Some(stat.kind))
    }

    fn open(&self, here: &Handle, name: &[u8], path: &[u8], kind: FileKind) -> Result<Opened> {
        let opened = match kind {
            FileKind::File => here.file(name),
            FileKind::Directory => here.directory(name),
            _ => here.node(name),
        };
        let handle = match opened {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Changed(VANISHED)),
            // It became a symbolic link, or something that is no directory, or a FIFO or device without
            // another end.
            Err(error) if has_errno(&error, &[Errno::ELOOP, Errno::ENOTDIR, Errno::ENXIO]) => {
                return Ok(Opened::Changed(REPLACED));
            }
            // Or a device, which may not be opened here.
            Err(_) if here.stat_name(name).is_ok_and(|now| now.kind != kind) => {
                return Ok(Opened::Changed(REPLACED));
            }
            Err(source) => return Err(self.failed("open", path, source)),
        };
        let stat = handle.stat().map_err(|source| self.failed("look at", path, source))?;
        if stat.kind != kind || self.is_mount(path, &stat) {
            return Ok(Opened::Changed(REPLACED));
        }
        Ok(Opened::Handle(handle, stat))
    }

    fn directory(&mut self, path: &[u8], handle: &Handle, stat: &Stat) -> Result<()> {
        self.describe(path, Kind::Directory, stat);
        self.read_xattrs(path, handle)?;
        self.put(path, stat)
    }

    fn file(&mut self, path: &[u8], handle: Handle, stat: &Stat) -> Result<()> {
        self.describe(path, Kind::File, stat);
        self.entry.size = stat.size;
        self.read_xattrs(path, &handle)?;
        join_into(&mut self.full, self.volume.path.as_bytes(), path);
        let source = SourceFile::new(handle, stat, &self.full)?;
        self.sink.file(&mut self.entry, source, stat, &self.full)?;
        self.shared.run.observer.member(&self.full);
        Ok(())
    }

    /// Whether the snapshot before has the same of a file; then it is referred to, and not even opened.
    fn refers_unopened(&mut self, here: &Handle, name: &[u8], kind: FileKind, path: &[u8]) -> Result<bool> {
        if !self.sink.may_refer() || kind == FileKind::Directory || self.owners.must_look() {
            return Ok(false);
        }
        // Whatever else is the matter is seen when it is opened.
        let Ok(stat) = here.stat_name(name) else { return Ok(false) };
        let is_plain = stat.kind == kind && stat.nlink < 2 && !self.is_mount(path, &stat);
        if !is_plain || self.left_out.contains(&stat.id) {
            return Ok(false);
        }
        self.refer(path, kind_of(kind), &stat, &[])
    }

    /// The same of what is open.
    fn refers(&mut self, path: &[u8], handle: &Handle, stat: &Stat) -> Result<bool> {
        if !self.sink.may_refer() || !self.refer(path, kind_of(stat.kind), stat, &[])? {
            return Ok(false);
        }
        if self.owners.must_look() {
            self.describe(path, kind_of(stat.kind), stat);
            self.read_xattrs(path, handle)?;
        }
        Ok(true)
    }

    fn refer(&mut self, path: &[u8], kind: Kind, stat: &Stat, link: &[u8]) -> Result<bool> {
        join_into(&mut self.full, self.volume.path.as_bytes(), path);
        let refers = self.sink.refer(path, &self.full, kind, stat, link)?;
        if refers {
            self.shared.run.observer.member(&self.full);
        }
        Ok(refers)
    }

    /// A symbolic link, FIFO or device.
    fn special(&mut self, path: &[u8], handle: &Handle, stat: &Stat) -> Result<()> {
        let kind = kind_of(stat.kind);
        self.describe(path, kind, stat);
        if kind == Kind::Symlink {
            let target = handle.link_target();
            self.entry.link = target.map_err(|source| self.failed("read the link", path, source))?;
        }
        self.read_xattrs(path, handle)?;
        self.put(path, stat)
    }

    /// Whether this file was stored under another name; if so, this one is stored as a link to it.
    fn is_further_link(&mut self, path: &[u8], stat: &Stat) -> Result<bool> {
        if stat.nlink < 2 {
            return Ok(false);
        }
        let first = self.links.get_mut(&stat.id).filter(|first| first.born == stat.born);
        let Some(first) = first else { return Ok(false) };
        first.more = first.more.saturating_sub(1);
        let is_last = first.more == 0;
        let name = first.name.clone();
        if !self.refer(path, Kind::HardLink, stat, &name)? {
            self.describe(path, Kind::HardLink, stat);
            self.entry.link = name;
            self.put(path, stat)?;
        }
        if is_last {
            self.links.remove(&stat.id);
        }
        Ok(true)
    }

    fn is_mount(&self, path: &[u8], stat: &Stat) -> bool {
        self.mounts.contains(path)
            || (self.mount.is_some() && stat.mount.is_some() && stat.mount != self.mount)
    }

    /// A mount point is empty here, and no member at all when it is a volume itself: extracted by another
    /// program, it would empty that one.
    fn mount_point(&mut self, path: &[u8], stat: &Stat) -> Result<()> {
        let real = join(&self.volume.real_path, path);
        if self.volumes.iter().any(|volume| volume.real_path == real) {
            return Ok(());
        }
        let kind = match stat.kind {
            FileKind::Directory => Kind::Directory,
            FileKind::File => Kind::File,
            _ => return self.warn(path, "it is a mount and neither a directory nor a file: it is left out"),
        };
        self.describe(path, kind, stat);
        self.put(path, stat)?;
        self.warn(path, "it is a mount of its own and stored empty: name it in `volumes` to back it up")
    }

    fn read_xattrs(&mut self, path: &[u8], handle: &Handle) -> Result<()> {
        let mut unreadable = Vec::new();
        let read = read_xattrs(&mut self.entry, handle, |name, error| {
            unreadable.push(format!(
                "its extended attribute {} cannot be read and is left out: {}",
                Shown::from(name),
                reason(&error)
            ));
        });
        read.map_err(|source| self.failed("read the extended attributes of", path, source))?;
        self.owners.look(&self.entry, handle, || join(self.volume.path.as_bytes(), path));
        unreadable.into_iter().try_for_each(|reason| self.warn(path, reason))
    }

    /// Begins the next entry.
    fn describe(&mut self, path: &[u8], kind: Kind, stat: &Stat) {
        join_into(&mut self.entry.name, &self.name, path);
        describe(&mut self.entry, kind, stat);
    }

    /// Stores the entry, which has no data.
    fn put(&mut self, path: &[u8], stat: &Stat) -> Result<()> {
        join_into(&mut self.full, self.volume.path.as_bytes(), path);
        self.sink.entry(&self.entry, stat, &self.full)?;
        self.shared.run.observer.member(&self.full);
        Ok(())
    }

    fn warn(&self, path: &[u8], reason: impl Into<String>) -> Result<()> {
        self.shared.warn(&self.full_path(path), reason)
    }

    fn left_out(&self, path: &[u8], reason: &str) {
        self.shared.run.observer.note(&format!("{}: {reason}", Shown::from(&self.full_path(path))));
    }

    fn failed(&self, action: &'static str, path: &[u8], source: io::Error) -> Error {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        Error::Io { action, path: Shown::from(&self.full_path(path)), source }
    }

    fn archive_name(&self, path: &[u8]) -> Vec<u8> {
        join(&self.name, path)
    }

    fn full_path(&self, path: &[u8]) -> Vec<u8> {
        join(self.volume.path.as_bytes(), path)
    }
}

fn kind_of(kind: FileKind) -> Kind {
    match kind {
        FileKind::File => Kind::File,
        FileKind::Directory => Kind::Directory,
        FileKind::Symlink => Kind::Symlink,
        FileKind::CharDevice => Kind::CharDevice,
        FileKind::BlockDevice => Kind::BlockDevice,
        FileKind::Fifo | FileKind::Socket => Kind::Fifo,
    }
}

fn mounts_below(root: &[u8]) -> io::Result<HashSet<Vec<u8>>> {
    let points = mounts::mount_points()?;
    Ok(mounts::below(root, &points).into_iter().map(<[u8]>::to_vec).collect())
}
