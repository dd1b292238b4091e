//! What a restore would change, found out from metadata: content of the same size and time counts as the
//! same. What stays and what is exchanged is decided by [`Pins::fate`], as in the restore itself, and whether
//! a file has all that a member says by the [`Metadata`] that the restore would give it.

use std::collections::{HashMap, HashSet};
use std::io;

use nix::errno::Errno;

use crate::archive::entry::Kind;
use crate::error::{Context, Hint, Result};
use crate::fs::handle::{join, parent_and_name, path as as_path, process_owner};
use crate::fs::ids::Giver;
use crate::fs::{Descent, FileId, FileKind, Handle, Stat, has_errno, space};
use crate::report::{Change, ChangeKind};
use crate::restore::job::Job;
use crate::restore::metadata::Metadata;
use crate::restore::only::{Only, is_asked_for};
use crate::restore::pins::{Fate, Pins};
use crate::restore::removal;
use crate::restore::survey::{FoundMember, walk};
use crate::restore::target;
use crate::restore::wanted::Wanted;
use crate::staging;
use crate::volume::VolumeType;

pub(super) fn changes(job: &Job) -> Result<Vec<Change>> {
    find(job).map_err(|error| {
        // A restore lets the owner in, which would be a change.
        let is_closed = error.system().is_some_and(|system| has_errno(system, &[Errno::EACCES]));
        let hint = is_closed.then_some(Hint::DryRunOpensNothing);
        error.with_hint(hint)
    })
}

fn find(job: &Job) -> Result<Vec<Change>> {
    let mut volumes: Vec<Present> =
        job.wanted.iter().map(|wanted| Present::open(job, wanted)).collect::<Result<_>>()?;
    let giver = Giver::of_this_process().context("read", "/proc/self/status")?;
    let mut changes = Vec::new();
    walk(job.reader, job.snapshot, job.wanted, |found| {
        if is_asked_for(found.path, job.wanted[found.wanted].only.as_ref()) {
            changes.extend(volumes[found.wanted].member(job, &giver, &found)?);
        }
        Ok(())
    })?;
    for volume in volumes.iter_mut().filter(|volume| volume.kind == VolumeType::Dir) {
        volume.removals(&mut changes).context("list", volume.target)?;
        volume.unlinked(&mut changes);
    }
    Ok(changes)
}

/// A file with several names, of those that are there now.
struct Linked {
    /// The first of them that is a file of the snapshot.
    first: Option<FirstOfFile>,
    /// How many of its names were come by: each has its own line if it is not the same file in the snapshot.
    names: u64,
    nlink: u64,
}

/// Which of a file's names is the first, and where that was come by: with only a part of a volume restored, a
/// further name stands for one that lies outside.
struct FirstOfFile {
    name: Vec<u8>,
    at: Vec<u8>,
}

/// What is in a volume's place now.
struct Present<'a> {
    target: &'a [u8],
    kind: VolumeType,
    only: Option<&'a Only>,
    root: Option<Descent>,
    pins: Pins,
    /// The paths that the snapshot has.
    seen: HashSet<Vec<u8>>,
    /// Files that have several names now.
    linked: HashMap<FileId, Linked>,
}

impl<'a> Present<'a> {
    fn open(job: &Job, wanted: &'a Wanted) -> Result<Self> {
        let target = wanted.target.as_slice();
        let root = open(target).context("open", target)?;
        let pins = match (wanted.kind, &root) {
            (VolumeType::Dir, Some(root)) => {
                let found = staging::find_in(root, &wanted.place)?;
                staging::refuse_interrupted(&found, "compare", &wanted.place)?;
                let nested = target::nested_in(&wanted.path, job.snapshot);
                let mut pins =
                    Pins::find(root, &job.in_use(), nested).context("look for mounts in", target)?;
                removal::settle(job, wanted, root, &mut pins)?;
                pins
            }
            _ => Pins::default(),
        };
        Ok(Present {
            target,
            kind: wanted.kind,
            only: wanted.only.as_ref(),
            root: root.map(Descent::new),
            pins,
            seen: HashSet::new(),
            linked: HashMap::new(),
        })
    }

    /// What becomes of the path of a member that is asked for.
    fn member(&mut self, job: &Job, giver: &Giver, found: &FoundMember) -> Result<Option<Change>> {
        let fate = self.pins.fate(found.path, self.only);
        if fate == Fate::Stays {
            return Ok(None);
        }
        let full = join(self.target, found.path);
        self.seen.insert(found.path.to_vec());
        let kind = match self.find(found.path).context("look at", &full)? {
            None => ChangeKind::Create,
            Some(now) => {
                self.count_name(&now.stat().context("look at", &full)?);
                let mut wanted = Metadata::of_head(found.member, &job.owners, || full.clone())?;
                if let (true, Some(owner)) = (wanted.may_lack_owner, wanted.owner) {
                    let before = self.owner_before(job, found.path, &now).context("look at", &full)?;
                    wanted = wanted.under(giver.give(before, owner));
                }
                let keeps_its_own = fate == Fate::Opened { on_the_way: true };
                let is_it = self.is_it(job, found, &now).and_then(|is_it| {
                    // The attributes of a file with several names stand at the first.
                    let is_link = found.member.kind == Kind::HardLink;
                    Ok(is_it && (keeps_its_own || wanted.is_of(&now, !is_link)?))
                });
                if is_it.context("look at", &full)? {
                    return Ok(None);
                }
                let is_directory = found.member.kind == Kind::Directory;
                let stays_one =
                    is_directory && now.stat().context("look at", &full)?.kind == FileKind::Directory;
                if stays_one { ChangeKind::Update } else { ChangeKind::Replace }
            }
        };
        Ok(Some(Change { kind, path: full }))
    }

    /// Whose a file is before it gets its owner: what is made anew is this process's.
    fn owner_before(&self, job: &Job, path: &[u8], now: &Handle) -> io::Result<(u32, u32)> {
        let is_kept = match self.kind {
            VolumeType::Dir => self.pins.fate(path, self.only) != Fate::Exchanged,
            VolumeType::File => job.options.into.is_none(),
        };
        if !is_kept {
            return Ok(process_owner());
        }
        let stat = now.stat()?;
        Ok((stat.uid, stat.gid))
    }

    /// What is at `path`, itself and not what it links to.
    fn find(&mut self, path: &[u8]) -> io::Result<Option<Handle>> {
        let Some(descent) = &mut self.root else { return Ok(None) };
        if path.is_empty() {
            return descent.root().duplicate().map(Some);
        }
        let (parent, name) = parent_and_name(path);
        match descent.go_to(parent).and_then(|parent| parent.node(name)) {
            // It is missing, or what it should lie in is no directory.
            Err(error) if has_errno(&error, &[Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP]) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Whether `now` is what the member says, its metadata aside.
    fn is_it(&mut self, job: &Job, found: &FoundMember, now: &Handle) -> io::Result<bool> {
        let (member, stat) = (found.member, now.stat()?);
        Ok(match member.kind {
            Kind::File => {
                // Another file of the snapshot must not be the same one now.
                stat.kind == FileKind::File
                    && stat.size == member.stored.size
                    && (stat.nlink == 1 || self.first_name(&stat, found.path, found.path))
            }
            Kind::HardLink => {
                let source = found.source.unwrap_or_default();
                // Of one that lies outside of the path that is restored, the first becomes the file.
                if job.survey.volumes[found.wanted].sources.contains_key(source)
                    && self.seen.insert(source.to_vec())
                {
                    self.first_name(&stat, source, found.path);
                }
                let first = self.linked.get(&stat.id).and_then(|linked| linked.first.as_ref());
                stat.kind != FileKind::Directory && first.is_some_and(|first| first.name == source)
            }
            Kind::Directory => stat.kind == FileKind::Directory,
            Kind::Symlink => stat.kind == FileKind::Symlink && now.link_target()? == member.link,
            Kind::Fifo => stat.kind == FileKind::Fifo,
            Kind::CharDevice => stat.kind == FileKind::CharDevice && stat.device == member.device,
            Kind::BlockDevice => stat.kind == FileKind::BlockDevice && stat.device == member.device,
            Kind::Other(_) => false,
        })
    }

    /// Comes by one of several names of a file.
    fn count_name(&mut self, stat: &Stat) {
        if stat.nlink > 1 && stat.kind != FileKind::Directory {
            self.linked(stat).names += 1;
        }
    }

    fn linked(&mut self, stat: &Stat) -> &mut Linked {
        let unknown = || Linked { first: None, names: 0, nlink: stat.nlink };
        self.linked.entry(stat.id).or_insert_with(unknown)
    }

    /// Whether `name` is the first of the file's names that is a file of the snapshot.
    fn first_name(&mut self, stat: &Stat, name: &[u8], at: &[u8]) -> bool {
        let first = || FirstOfFile { name: name.to_vec(), at: at.to_vec() };
        self.linked(stat).first.get_or_insert_with(first).name == name
    }

    /// Files with a name that stays, or lies elsewhere, and is that of another file after the restore.
    fn unlinked(&self, changes: &mut Vec<Change>) {
        let parted = self.linked.values().filter(|linked| linked.names < linked.nlink);
        let firsts = parted.filter_map(|linked| linked.first.as_ref());
        let mut parted: Vec<Vec<u8>> = firsts.map(|first| join(self.target, &first.at)).collect();
        if parted.is_empty() {
            return;
        }
        parted.sort_unstable();
        let known: HashSet<&[u8]> = changes.iter().map(|change| change.path.as_slice()).collect();
        parted.retain(|path| !known.contains(path.as_slice()));
        changes.extend(parted.into_iter().map(|path| Change { kind: ChangeKind::Replace, path }));
    }

    /// What is there and not in the snapshot; of a directory that goes, only itself.
    fn removals(&mut self, changes: &mut Vec<Change>) -> io::Result<()> {
        let Some(descent) = &mut self.root else { return Ok(()) };
        let root = descent.go_to(b"")?;
        let mut names = space::names_in_root(root)?;
        let ours: Vec<Vec<u8>> =
            staging::find(root)?.iter().map(|found| staging::name(found.index)).collect();
        names.retain(|name| !ours.contains(name));
        names.reverse();
        let mut pending = vec![Pending { names, goes: false }];
        while let Some(Pending { names, goes }) = pending.last_mut() {
            let (Some(name), goes) = (names.pop(), *goes) else {
                pending.pop();
                descent.leave();
                continue;
            };
            let mut at = Vec::new();
            descent.names().chain([name.as_slice()]).for_each(|part| at = join(&at, part));
            let fate = self.pins.fate(&at, self.only);
            let goes_now = goes || fate == Fate::Exchanged && !self.seen.contains(&at);
            if fate == Fate::Stays {
                continue;
            }
            if goes_now && !goes {
                changes.push(Change { kind: ChangeKind::Remove, path: join(self.target, &at) });
            }
            if goes_now && self.linked.is_empty() {
                continue;
            }
            let stat = descent.here()?.stat_name(&name)?;
            if stat.kind == FileKind::Directory {
                match descent.enter(&name) {
                    // Whose names are in it may not be known, and it goes in any case.
                    Err(error) if goes_now && has_errno(&error, &[Errno::EACCES]) => continue,
                    entered => entered?,
                }
                let mut names = descent.here()?.names()?;
                names.reverse();
                pending.push(Pending { names, goes: goes_now });
            } else if let Some(linked) = self.linked.get_mut(&stat.id).filter(|_| goes_now) {
                linked.names += 1;
            }
        }
        Ok(())
    }
}

/// What is still to be looked at in a directory.
struct Pending {
    names: Vec<Vec<u8>>,
    /// The directory is not in the snapshot, and is only looked into for names of files that are.
    goes: bool,
}

fn open(target: &[u8]) -> io::Result<Option<Handle>> {
    match Handle::open_path(as_path(target)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => {
            let opened = opened?;
            if opened.stat()?.kind == FileKind::Directory {
                return Handle::open_directory(as_path(target)).map(Some);
            }
            Ok(Some(opened))
        }
    }
}
