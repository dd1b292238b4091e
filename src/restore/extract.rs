//! From members to files, below one directory. Nothing is ever resolved by a path: each name is opened in its
//! directory's handle, without following links, so no archive can lead outside.

use std::collections::HashSet;
use std::sync::Arc;

use nix::errno::Errno;

use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::archive::walk::{Step, Walk};
use crate::error::{Context, Error, Result};
use crate::fs::handle::{join, parent_and_name};
use crate::fs::{Descent, FileKind, Handle, OpenedWay, has_errno};
use crate::name::Shown;
use crate::restore::batch::{NewFile, PerVolume, blame};
use crate::restore::crew::{Crew, Left};
use crate::restore::job::Job;
use crate::restore::metadata::Metadata;
use crate::restore::owners::OwnerRules;
use crate::restore::pins::{Fate, Pins};
use crate::restore::rules::{BAD_LINK, IN_NO_DIRECTORY, Order, Way, check_member};
use crate::volume::VolumeType;

/// How much of attributes is kept for a directory until it is left, in bytes.
const KEPT: usize = 1 << 10;

/// Restores the members of one volume, in their order. Files are left to a [`Crew`].
pub(super) struct Extractor {
    descent: Descent,
    /// Where the other name of the last hard link lies.
    originals: Descent,
    order: Order<Directory, Vec<LateDirectory>>,
    volume: Arc<PerVolume>,
    owners: Arc<OwnerRules>,
    /// What is there already and stays; empty when the directory is a fresh one.
    pins: Pins,
    /// Members that could not be made for want of privilege.
    skipped: HashSet<Vec<u8>>,
    /// The permissions of directories that have no member.
    made_mode: u32,
    /// In any order: those that had none so far.
    made: HashSet<Vec<u8>>,
}

/// A directory on the way to here, whose metadata is set when it is left.
struct Directory {
    /// `None` when it is to be read again: a tree may be deep, and attributes may be large.
    metadata: Option<Metadata>,
    /// The offset of its member.
    start: u64,
    fresh: bool,
}

/// A directory whose metadata is set in the end, as members come in any order.
struct LateDirectory {
    /// The offset of its member.
    start: u64,
    path: Vec<u8>,
}

impl Extractor {
    /// Extracts below `root`, a directory that is empty but for `pins`.
    pub(super) fn new(root: &Handle, volume: &[u8], owners: Arc<OwnerRules>, pins: Pins) -> Result<Self> {
        let descent = || root.duplicate().map(Descent::new).context("open", volume);
        Ok(Extractor {
            descent: descent()?,
            originals: descent()?,
            order: Order::Tree(Way::default()),
            volume: PerVolume::new(volume),
            owners,
            pins,
            skipped: HashSet::new(),
            made_mode: 0o700,
            made: HashSet::new(),
        })
    }

    /// Takes members in any order where those of the job come so, as when some are missing, and their
    /// directories with them. Another program's tar may have had none: they are then open to all, as any tar
    /// makes them.
    pub(super) fn in_order_of(self, job: &Job) -> Self {
        if !job.survey.any_order {
            return self;
        }
        let is_whole = !job.snapshot.is_partial() || job.snapshot.strip.is_some();
        let made_mode = if is_whole { 0o755 } else { self.made_mode };
        Extractor { order: Order::Any(Vec::new()), made_mode, ..self }
    }

    /// Restores one member at `path` inside the volume and checks it, or hands it over to `crew`. `source` is
    /// what a hard link is another name of, as a path inside the volume.
    pub(super) fn member(
        &mut self,
        path: &[u8],
        member: &Head,
        source: Option<&[u8]>,
        crew: &mut Crew,
    ) -> Result<()> {
        let reader = Arc::clone(crew.reader());
        let item = Item { path, member, reader: &reader };
        check_member(VolumeType::Dir, path, member, source).map_err(|reason| item.damaged(&reason))?;
        let name = self.go_to_parent(&item, crew)?;
        if self.pins.fate(path, None) == Fate::Stays {
            let metadata = Metadata::of_head(member, &self.owners, || self.full(path))?;
            return crew.file(NewFile {
                volume: &self.volume,
                directory: None,
                path,
                head: member,
                metadata,
            });
        }
        let made = match member.kind {
            Kind::Directory => self.directory(name, &item),
            Kind::File => {
                let metadata = Metadata::of_head(member, &self.owners, || self.full(path))?;
                let here = self.descent.share();
                let here = here.map_err(|error| failed("open", &self.volume, path, error))?;
                let volume = &self.volume;
                return crew.file(NewFile { volume, directory: Some(here), path, head: member, metadata });
            }
            Kind::HardLink => self.hard_link(name, &item, source.unwrap_or_default(), crew),
            _ => self.special(name, &item, crew),
        };
        made.map_err(|error| blame(error, &reader, member.stored.start, member.name))?;
        crew.made(&self.volume, path)
    }

    /// Leaves all directories, the root last.
    pub(super) fn finish(&mut self, crew: &mut Crew) -> Result<()> {
        while self.leave(crew)? {}
        let Order::Any(directories) = &mut self.order else { return Ok(()) };
        let mut directories = std::mem::take(directories);
        crew.settle()?;
        if let Some(first) = self.made.iter().min() {
            let count = self.made.len();
            let reason = format!(
                "made with mode 0755, as directories that hold something have no member of their own: {count}, \
                 this is the first"
            );
            crew.remark(&self.full(first), reason.into())?;
        }
        // What lies in a directory comes before it: its permissions may close it.
        directories.sort_by(|a, b| b.path.cmp(&a.path));
        for LateDirectory { start, path } in directories {
            let full = self.full(&path);
            let metadata = self.read_again(start, &full, crew)?;
            let handle = self.descent.go_to(&path).context("open", &full)?;
            metadata.apply(handle, false, &full, &mut |remark| crew.remark(&full, remark))?;
        }
        Ok(())
    }

    /// The metadata of the member at `start`, whose full path is `path`.
    fn read_again(&self, start: u64, path: &[u8], crew: &Crew) -> Result<Metadata> {
        match Walk::new(Arc::clone(crew.reader()), start).step()? {
            Step::Member(member) => Metadata::of_head(&member, &self.owners, || path.to_vec()),
            Step::End(_) => Err(crew.reader().shrunk(start)),
        }
    }

    /// Makes the directory that a member lies in the current one; returns the last name of its path.
    fn go_to_parent<'p>(&mut self, item: &Item<'p>, crew: &mut Crew) -> Result<&'p [u8]> {
        if let Order::Any(_) = self.order {
            return self.make_parents(item);
        }
        while let Order::Tree(way) = &self.order
            && !way.leads_to(item.path).map_err(|reason| item.damaged(reason))?
        {
            self.leave(crew)?;
        }
        Ok(parent_and_name(item.path).1)
    }

    /// Goes to the directory of a member when some directories have no member, or were left: those that are
    /// missing are made.
    fn make_parents<'p>(&mut self, item: &Item<'p>) -> Result<&'p [u8]> {
        let (parent, name) = parent_and_name(item.path);
        let full = self.full(item.path);
        match self.descent.go_to(parent) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if has_errno(&error, &[Errno::ENOTDIR, Errno::ELOOP]) => {
                return Err(item.damaged(IN_NO_DIRECTORY));
            }
            gone => return gone.context("open", &full).map(|_| name),
        }
        self.descent.go_to(b"").context("open", &full)?;
        let mut at = Vec::new();
        for directory in parent.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let here = self.descent.here().context("open", &full)?;
            at = join(&at, directory);
            let is_new = match here.make_directory(directory, 0o700) {
                Err(error) if has_errno(&error, &[Errno::EEXIST]) => false,
                made => made.map(|()| true).context("create", &full)?,
            };
            self.descent.enter(directory).context("open", &full)?;
            if is_new && self.made_mode != 0o700 {
                let here = self.descent.here().context("open", &full)?;
                here.set_mode(self.made_mode).context("set the mode of", &full)?;
                self.made.insert(at.clone());
            }
        }
        Ok(name)
    }

    /// Leaves the last directory; returns whether there was one.
    fn leave(&mut self, crew: &mut Crew) -> Result<bool> {
        let Order::Tree(way) = &mut self.order else { return Ok(false) };
        let path = join(&self.volume.path, way.path());
        let Some(Directory { metadata, start, fresh }) = way.leave() else { return Ok(false) };
        let is_heavy = metadata.is_none();
        let metadata = match metadata {
            Some(metadata) => metadata,
            None => self.read_again(start, &path, crew)?,
        };
        let handle = Arc::clone(self.descent.share().context("open", &path)?);
        self.descent.leave();
        crew.leave(Left { handle, metadata, fresh, path })?;
        if is_heavy {
            crew.settle()?;
        }
        Ok(true)
    }

    fn directory(&mut self, name: &[u8], item: &Item) -> Result<()> {
        let (path, full) = (item.path, self.full(item.path));
        item.check()?;
        let metadata = Metadata::of_head(item.member, &self.owners, || full.clone())?;
        let stays = self.pins.fate(path, None) != Fate::Exchanged || matches!(self.order, Order::Any(_));
        if !path.is_empty() {
            let here = self.descent.here().context("open", &full)?;
            match here.make_directory(name, 0o700) {
                Err(error) if stays && has_errno(&error, &[Errno::EEXIST]) => {}
                made => made.context("create", &full)?,
            }
            if stays {
                self.enter_own(name).context("open", &full)?;
            } else {
                self.descent.enter(name).context("open", &full)?;
            }
        }
        if stays {
            // What is made in it must not inherit one.
            let here = self.descent.here().context("open", &full)?;
            here.remove_acls().context("remove the ACLs of", &full)?;
        }
        let start = item.member.stored.start;
        match &mut self.order {
            Order::Any(directories) => {
                self.made.remove(path);
                directories.push(LateDirectory { start, path: path.to_vec() });
            }
            Order::Tree(way) => {
                let weight: usize =
                    metadata.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
                let metadata = Some(metadata).filter(|_| weight <= KEPT);
                way.enter(path, Directory { metadata, start, fresh: !stays });
            }
        }
        Ok(())
    }

    /// Enters a directory that was there, and may be closed to its owner: it gets its mode when it is left.
    fn enter_own(&mut self, name: &[u8]) -> std::io::Result<()> {
        let handle = self.descent.here()?.own_directory(name)?;
        handle.ajar()?.stay();
        let id = handle.stat()?.id;
        self.descent.enter_open(name, id, handle);
        Ok(())
    }

    fn hard_link(&mut self, name: &[u8], item: &Item, source: &[u8], crew: &mut Crew) -> Result<()> {
        let full = self.full(item.path);
        if self.skipped.contains(source) {
            self.skipped.insert(item.path.to_vec());
            let reason = "left out, as the file that it is a further name of".to_owned();
            return crew.remark(&full, reason.into());
        }
        let mut found = self.originals.find(source);
        if matches!(found, Ok(None)) || found.as_ref().is_err_and(is_closed) {
            // It may be with a worker still, and so may what would close its directory.
            crew.settle()?;
            found = self.originals.find(source);
        }
        let closed = if found.as_ref().is_err_and(is_closed) {
            let way = OpenedWay::open(self.originals.root(), parent_and_name(source).0);
            let way = way.context("find the other name of", &full)?;
            found = self.originals.find(source);
            Some(way)
        } else {
            None
        };
        let found = found.context("find the other name of", &full)?;
        if found.is_none_or(|found| found.kind == FileKind::Directory) || self.pins.holds(source) {
            return Err(item.damaged(BAD_LINK));
        }
        item.check()?;
        let (parent, original) = parent_and_name(source);
        let from = self.originals.go_to(parent).context("find the other name of", &full)?;
        let here = self.descent.here().context("open", &full)?;
        here.make_hard_link(name, from, original).context("link", &full)?;
        drop(closed);
        Ok(())
    }

    fn special(&mut self, name: &[u8], item: &Item, crew: &mut Crew) -> Result<()> {
        let (member, full) = (item.member, self.full(item.path));
        item.check()?;
        let metadata = Metadata::of_head(member, &self.owners, || full.clone())?;
        let here = self.descent.here().context("open", &full)?;
        let made = match member.kind {
            Kind::Symlink => here.make_symlink(name, member.link),
            Kind::CharDevice => here.make_node(name, FileKind::CharDevice, member.device),
            Kind::BlockDevice => here.make_node(name, FileKind::BlockDevice, member.device),
            _ => here.make_node(name, FileKind::Fifo, (0, 0)),
        };
        match made {
            Err(error) if has_errno(&error, &[Errno::EPERM]) && member.kind != Kind::Symlink => {
                self.skipped.insert(item.path.to_vec());
                let reason =
                    "left out, because making it is not permitted (a device needs CAP_MKNOD)".to_owned();
                return crew.remark(&full, reason.into());
            }
            made => made.context("create", &full)?,
        }
        let node = here.node(name).context("open", &full)?;
        metadata.apply(&node, true, &full, &mut |remark| crew.remark(&full, remark))
    }

    fn full(&self, path: &[u8]) -> Vec<u8> {
        join(&self.volume.path, path)
    }
}

/// A member, and where it goes.
struct Item<'a> {
    path: &'a [u8],
    member: &'a Head<'a>,
    reader: &'a Reader,
}

impl Item<'_> {
    fn damaged(&self, reason: &str) -> Error {
        self.member.data().damaged(self.reader, reason)
    }

    /// Checks a member without data.
    fn check(&self) -> Result<()> {
        Content::new(self.reader, self.member.data()).finish()
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    has_errno(error, &[Errno::EACCES])
}

fn failed(action: &'static str, volume: &PerVolume, path: &[u8], source: std::io::Error) -> Error {
    Error::Io { action, path: Shown::from(&join(&volume.path, path)), source }
}
