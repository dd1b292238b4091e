//! From members to files, below one directory. Nothing is ever resolved by a path: each name is opened in its
//! directory's handle, without following links, so no archive can lead outside.

use std::collections::HashSet;

use nix::errno::Errno;

use crate::archive::content::Content;
use crate::archive::entry::{Kind, Sparse};
use crate::archive::open::Reader;
use crate::archive::walk::Member;
use crate::error::{Context, Error, Result, reason};
use crate::fs::handle::{join, parent_and_name};
use crate::fs::xattrs::is;
use crate::fs::{Descent, Handle, Kind as FileKind, StoreFile};
use crate::name::Shown;
use crate::observer::Run;
use crate::restore::metadata::Metadata;
use crate::restore::pins::Pins;
use crate::snapshot::manifest::Warnings;

/// How much is read from the archive at once, in bytes.
const PART: usize = 1 << 20;

pub(super) const BAD_LINK: &str = "a link to anything but an earlier file of the same volume";

/// Restores the members of one volume, in their order.
pub(super) struct Extractor<'a> {
    descent: Descent,
    /// Where the other name of the last hard link lies.
    originals: Descent,
    /// The directories from the root down to here, whose metadata is set when they are left.
    open: Vec<Directory>,
    /// The volume's path, for messages.
    volume: Vec<u8>,
    no_owner: bool,
    /// What is there already and stays; empty when the directory is a fresh one.
    pins: Pins,
    /// Members that could not be made for want of privilege.
    skipped: HashSet<Vec<u8>>,
    buffer: Vec<u8>,
    run: &'a Run<'a>,
}

struct Directory {
    path: Vec<u8>,
    metadata: Metadata,
    fresh: bool,
}

/// A hard link's source, as a path inside the volume.
pub(super) type LinkSource<'a> = Option<&'a [u8]>;

impl<'a> Extractor<'a> {
    /// Extracts below `root`, a directory that is empty but for `pins`.
    pub(super) fn new(
        root: &Handle,
        volume: &[u8],
        no_owner: bool,
        pins: Pins,
        run: &'a Run<'a>,
    ) -> Result<Self> {
        let descent = || root.duplicate().map(Descent::new).context("open", volume);
        Ok(Extractor {
            descent: descent()?,
            originals: descent()?,
            open: Vec::new(),
            volume: volume.to_vec(),
            no_owner,
            pins,
            skipped: HashSet::new(),
            buffer: vec![0; PART],
            run,
        })
    }

    /// Restores one member at `path` inside the volume and checks it.
    pub(super) fn member(
        &mut self,
        path: &[u8],
        member: &Member,
        link_source: LinkSource,
        reader: &Reader,
        header: &[u8],
        warnings: &mut Warnings,
    ) -> Result<()> {
        self.run.cancel.check("the volumes are as they were")?;
        let content = Content::new(reader, member, header);
        check_path(path).map_err(|reason| content.damaged(reason))?;
        let name = self.go_to_parent(path, &content, warnings)?;
        if self.pins.holds(path) {
            return content.check(&mut self.buffer, |_| Ok(()));
        }
        let made = match member.entry.kind {
            Kind::Directory => self.directory(name, path, member, content),
            Kind::File => self.file(name, path, member, content, warnings),
            Kind::HardLink => self.hard_link(name, path, link_source, content, warnings),
            Kind::Symlink | Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => {
                self.special(name, path, member, content, warnings)
            }
            Kind::Other(flag) => {
                Err(content.damaged(&format!("a member of type {flag:#04x}, which no volume has")))
            }
        };
        made.map_err(|error| blame(error, reader, member))?;
        self.run.observer.member(&self.full(path));
        Ok(())
    }

    /// Leaves all directories and sets their metadata, the root's last.
    pub(super) fn finish(mut self, warnings: &mut Warnings) -> Result<()> {
        while !self.open.is_empty() {
            self.leave(warnings)?;
        }
        Ok(())
    }

    /// Makes the directory that `path` lies in the current one; returns the last name of `path`.
    fn go_to_parent<'p>(
        &mut self,
        path: &'p [u8],
        content: &Content,
        warnings: &mut Warnings,
    ) -> Result<&'p [u8]> {
        let (parent, name) = parent_and_name(path);
        if path.is_empty() {
            return if self.open.is_empty() {
                Ok(name)
            } else {
                Err(content.damaged("the volume's root a second time"))
            };
        }
        while let Some(here) = self.open.last() {
            if here.path == parent {
                return Ok(name);
            }
            self.leave(warnings)?;
        }
        Err(content.damaged("a member that does not follow the directory that it lies in"))
    }

    fn leave(&mut self, warnings: &mut Warnings) -> Result<()> {
        let Some(directory) = self.open.pop() else { return Ok(()) };
        let full = self.full(&directory.path);
        let handle = self.descent.here().context("open", &full)?;
        directory
            .metadata
            .apply(handle, directory.fresh, &full, &mut |reason| warnings.warn(self.run, &full, reason))?;
        self.descent.leave();
        Ok(())
    }

    fn directory(&mut self, name: &[u8], path: &[u8], member: &Member, content: Content) -> Result<()> {
        let full = self.full(path);
        content.finish()?;
        let metadata = Metadata::of_entry(&member.entry, self.no_owner, &full)?;
        let stays = path.is_empty() || self.pins.leads(path);
        if !path.is_empty() {
            let here = self.descent.here().context("open", &full)?;
            match here.make_directory(name, 0o700) {
                Err(error) if stays && is(&error, Errno::EEXIST) => {}
                made => made.context("create", &full)?,
            }
            self.descent.enter(name).context("open", &full)?;
        }
        self.open.push(Directory { path: path.to_vec(), metadata, fresh: !stays });
        Ok(())
    }

    fn file(
        &mut self,
        name: &[u8],
        path: &[u8],
        member: &Member,
        content: Content,
        warnings: &mut Warnings,
    ) -> Result<()> {
        let full = self.full(path);
        let metadata = Metadata::of_entry(&member.entry, self.no_owner, &full)?;
        let here = self.descent.here().context("open", &full)?;
        let file = StoreFile::new(here.create_file(name).context("create", &full)?);
        write_content(&file, false, member, content, &full, &mut self.buffer, self.run)?;
        metadata.apply(file.handle(), true, &full, &mut |reason| warnings.warn(self.run, &full, reason))
    }

    fn hard_link(
        &mut self,
        name: &[u8],
        path: &[u8],
        source: LinkSource,
        content: Content,
        warnings: &mut Warnings,
    ) -> Result<()> {
        let full = self.full(path);
        let source = source.filter(|source| !source.is_empty()).ok_or_else(|| content.damaged(BAD_LINK))?;
        check_path(source).map_err(|reason| content.damaged(reason))?;
        if self.skipped.contains(source) {
            self.skipped.insert(path.to_vec());
            return self.warn(path, "left out, as the file that it is a further name of", warnings);
        }
        let (parent, original) = parent_and_name(source);
        let from = self.originals.go_to(parent).context("find the other name of", &full)?;
        let found = from.find(original).context("look at", &full)?;
        if found.is_none_or(|found| found.kind == FileKind::Directory) || self.pins.holds(source) {
            return Err(content.damaged(BAD_LINK));
        }
        content.finish()?;
        let here = self.descent.here().context("open", &full)?;
        here.make_hard_link(name, from, original).context("link", &full)
    }

    fn special(
        &mut self,
        name: &[u8],
        path: &[u8],
        member: &Member,
        content: Content,
        warnings: &mut Warnings,
    ) -> Result<()> {
        let full = self.full(path);
        let entry = &member.entry;
        content.finish()?;
        let metadata = Metadata::of_entry(entry, self.no_owner, &full)?;
        let here = self.descent.here().context("open", &full)?;
        let made = match entry.kind {
            Kind::Symlink => here.make_symlink(name, &entry.link),
            Kind::CharDevice => here.make_node(name, FileKind::CharDevice, entry.device),
            Kind::BlockDevice => here.make_node(name, FileKind::BlockDevice, entry.device),
            _ => here.make_node(name, FileKind::Fifo, (0, 0)),
        };
        match made {
            Err(error) if is(&error, Errno::EPERM) && entry.kind != Kind::Symlink => {
                self.skipped.insert(path.to_vec());
                let reason = "left out, because making it is not permitted (a device needs CAP_MKNOD)";
                return self.warn(path, reason, warnings);
            }
            made => made.context("create", &full)?,
        }
        let node = here.node(name).context("open", &full)?;
        metadata.apply(&node, true, &full, &mut |reason| warnings.warn(self.run, &full, reason))
    }

    fn warn(&self, path: &[u8], reason: &str, warnings: &mut Warnings) -> Result<()> {
        warnings.warn(self.run, &self.full(path), reason)
    }

    fn full(&self, path: &[u8]) -> Vec<u8> {
        join(&self.volume, path)
    }
}

/// A name that is there already, or one that leads through something that is no directory: in a directory that was
/// empty before, that is the archive's fault.
fn blame(error: Error, reader: &Reader, member: &Member) -> Error {
    const ITS_FAULT: [Errno; 5] =
        [Errno::EEXIST, Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP, Errno::ENAMETOOLONG];
    match error {
        Error::Io { source, .. } if ITS_FAULT.iter().any(|&errno| is(&source, errno)) => Error::Damaged {
            archive: reader.name().clone(),
            offset: member.start,
            reason: format!("{} cannot be made: {}", Shown::from(&member.entry.name), reason(&source)),
        },
        other => other,
    }
}

/// A path inside a volume may not lead anywhere else.
pub(super) fn check_path(path: &[u8]) -> Result<(), &'static str> {
    if path.is_empty() {
        return Ok(());
    }
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" => return Err("a name with an empty part"),
            b"." | b".." => return Err("a name that leads out of its directory"),
            name if name.contains(&0) => return Err("a name with a zero byte"),
            _ => {}
        }
    }
    Ok(())
}

/// Writes a file member's content into `file`, holes as holes, and checks it. `over` says that the file is not
/// empty, and is overwritten. It then has the right length.
pub(super) fn write_content(
    file: &StoreFile,
    over: bool,
    member: &Member,
    mut content: Content,
    path: &[u8],
    buffer: &mut [u8],
    run: &Run,
) -> Result<()> {
    let size = member.entry.size;
    let extents = match &member.entry.sparse {
        None => vec![(0, size)],
        Some(Sparse::Map(_)) => content.map()?.extents().to_vec(),
        Some(Sparse::Foreign) => {
            return Err(content.damaged("a sparse format that this program does not extract"));
        }
    };
    let mut end = 0;
    for (offset, length) in extents {
        if over {
            file.punch(end, offset - end).context("make a hole in", path)?;
        }
        let mut done = 0;
        while done < length {
            run.cancel.check("the volumes are as they were")?;
            let most = usize::try_from(length - done).unwrap_or(usize::MAX);
            let count = content.read(buffer, most)?;
            if count == 0 {
                return Err(content.damaged("its data is cut off"));
            }
            file.write_at(&buffer[..count], offset + done).context("write", path)?;
            done += count as u64;
            run.observer.bytes(count as u64);
        }
        end = offset + length;
    }
    content.finish()?;
    file.truncate(size).context("set the size of", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in [&b".."[..], b"a/../b", b"a//b", b"/a", b"a/", b"./a", b"a/.", b"a\0b"] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        for path in [&b""[..], b"a", b"a/b", b"...", b"a/..b", b"\xff"] {
            assert!(check_path(path).is_ok(), "{path:?}");
        }
    }
}
