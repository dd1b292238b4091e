//! Whether volumes that a power cut left are the old ones or the new ones: once the next command has run.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::archives::backup_to;
use super::disk::Disk;
use super::support::Picture;
use crate::config::Config;
use crate::observer::{Cancel, Observer, Run};
use crate::staging;
use crate::{Error, RestoreOptions, backup, restore};

/// Volumes, an archive with a snapshot of what they were once, and a restore of that.
pub(super) struct Restore {
    /// Empty but for what is below it.
    pub(super) place: PathBuf,
    /// The only directory that the restore changes.
    pub(super) root: PathBuf,
    pub(super) config: Config,
    /// A file in the first volume that is in use, and stays.
    pub(super) pinned: Option<&'static str>,
    pub(super) options: RestoreOptions,
    /// Where the volumes are restored to, and what is there before and after.
    pub(super) targets: Vec<PathBuf>,
    pub(super) old: Vec<Picture>,
    pub(super) new: Vec<Picture>,
}

/// Checks trees, each different one once.
pub(super) struct Checker<'a> {
    of: &'a Restore,
    seen: HashSet<blake3::Hash>,
    pub(super) checked: usize,
    /// How many of them the next backup refused.
    pub(super) refused: usize,
    /// How many were the old ones after an interrupted restore, and how many the new ones.
    pub(super) old: usize,
    pub(super) new: usize,
}

/// Stops a run at its first member: whatever the restore puts right at its beginning is done then, and no
/// more.
struct Stops(Cancel);

impl Observer for Stops {
    fn member(&self, _name: &[u8]) {
        self.0.stop();
    }
}

/// The time of the root is lost in the moments between a change of its entries and the call that puts the
/// time back.
fn without_root_time(picture: &Picture) -> Picture {
    let mut picture = picture.clone();
    if let Some(root) = picture.entries.get_mut(&b""[..]) {
        root.mtime = (0, 0);
    }
    picture
}

impl<'a> Checker<'a> {
    pub(super) fn new(of: &'a Restore) -> Self {
        Checker { of, seen: HashSet::new(), checked: 0, refused: 0, old: 0, new: 0 }
    }

    /// Checks a tree, unless there was the same before. `done` says that the restore had said that it is
    /// done.
    pub(super) fn check(&mut self, disk: &Disk, done: bool) -> Result<(), String> {
        let mut hasher = blake3::Hasher::new();
        let hash = hasher.update(disk.hash().as_bytes()).update(&[u8::from(done)]).finalize();
        if !self.seen.insert(hash) {
            return Ok(());
        }
        self.checked += 1;
        disk.make(&self.of.root);
        let marked = |target: &PathBuf| target.join(".snapshotter-staging/swapping").exists();
        let marked: Vec<bool> = self.of.targets.iter().map(marked).collect();
        // Only with all of the volume does its root get a time from the snapshot.
        let root_time = match self.of.options.paths.first() {
            Some(_) => vec![marked[0] && !self.of.old[0].entries.is_empty()],
            None => vec![true; marked.len()],
        };
        self.backup(done)?;
        self.stopped_restore(done, &marked)?;
        restore(&self.of.config, &self.of.options, &Run::default())
            .map_err(|error| format!("the next restore: {error}"))?;
        self.compare(&self.of.targets, false, &root_time)
            .map_err(|why| format!("the next restore: {why}"))?;
        let all = walkdir::WalkDir::new(&self.of.root).into_iter().map(|entry| entry.unwrap().into_path());
        let strays: Vec<_> = all.filter(|path| path.to_string_lossy().contains(staging::NAME)).collect();
        if !strays.is_empty() {
            return Err(format!("the next restore left {strays:?}"));
        }
        let refused = self.refused;
        self.backup(true)?;
        if self.refused > refused { Err("a backup after the restore refuses".to_owned()) } else { Ok(()) }
    }

    /// A backup refuses, or stores the old volumes or the new ones.
    fn backup(&mut self, only_new: bool) -> Result<(), String> {
        if self.of.options.into.is_some() {
            return Ok(());
        }
        let archive = self.of.place.join("copy.tar");
        fs::copy(self.of.options.archive.path(), &archive).unwrap();
        match backup(&self.of.config, &backup_to(&archive), &Run::default()) {
            Ok(_) => {}
            Err(error) if error.to_string().contains("interrupted") && !only_new => {
                self.refused += 1;
                return Ok(());
            }
            Err(error) => return Err(format!("the next backup: {error}")),
        }
        let into = self.of.place.join("into");
        let options =
            RestoreOptions { archive: archive.into(), into: Some(into.clone()), ..RestoreOptions::default() };
        restore(&self.of.config, &options, &Run::default())
            .map_err(|why| format!("what was stored: {why}"))?;
        let stored = |target: &PathBuf| into.join(target.strip_prefix("/").unwrap());
        let stored: Vec<_> = self.of.targets.iter().map(stored).collect();
        if let (Some(in_use), true) = (&self.of.pinned, into.exists()) {
            // It is left out of a backup.
            let (from, to) = (self.of.targets[0].join(in_use), stored[0].join(in_use));
            let time =
                filetime::FileTime::from_last_modification_time(&fs::metadata(to.parent().unwrap()).unwrap());
            fs::copy(&from, &to).unwrap();
            let from_time = fs::metadata(from).unwrap();
            let from_time = filetime::FileTime::from_last_modification_time(&from_time);
            filetime::set_file_mtime(&to, from_time).unwrap();
            filetime::set_file_mtime(to.parent().unwrap(), time).unwrap();
        }
        let same =
            self.compare(&stored, !only_new, &[false; 3]).map_err(|why| format!("what was stored: {why}"));
        fs::remove_dir_all(into).unwrap();
        same.map(drop)
    }

    /// A restore that is stopped puts the volumes right and then changes nothing.
    fn stopped_restore(&mut self, done: bool, marked: &[bool]) -> Result<(), String> {
        let cancel = Cancel::default();
        let stops = Stops(cancel.clone());
        let run = Run { cancel, ..Run::new(&stops) };
        match restore(&self.of.config, &self.of.options, &run) {
            // It may have been too far.
            Ok(_) | Err(Error::Stopped { .. } | Error::Incomplete { .. }) => {}
            Err(error) => return Err(format!("a restore that is stopped: {error}")),
        }
        if self.of.options.in_place {
            return self.backup(false);
        }
        let old = self
            .compare(&self.of.targets, !done, marked)
            .map_err(|why| format!("after a restore that is stopped: {why}"))?;
        *(if old { &mut self.old } else { &mut self.new }) += 1;
        Ok(())
    }

    /// Each must be the new one, or with `or_old` the old one; whether one was. `root_time` says of which the
    /// root must have its time again.
    fn compare(&self, found: &[PathBuf], or_old: bool, root_time: &[bool]) -> Result<bool, String> {
        let mut any_old = false;
        for (index, found) in found.iter().enumerate() {
            let found = picture(found);
            let differences = |expected: &Picture| {
                if root_time[index] {
                    expected.differences(&found)
                } else {
                    without_root_time(expected).differences(&without_root_time(&found))
                }
            };
            let (old, new) = (differences(&self.of.old[index]), differences(&self.of.new[index]));
            if new.is_empty() {
                continue;
            }
            if or_old && self.of.old[index].entries.is_empty() && found.entries.len() <= 1 {
                // Where nothing was, an empty directory is as good.
                any_old = true;
                continue;
            }
            if !or_old || !old.is_empty() {
                return Err(format!("not the old one: {old:?}; not the new one: {new:?}"));
            }
            any_old = true;
        }
        Ok(any_old)
    }
}

/// What is at a path, which may be nothing.
pub(super) fn picture(path: &Path) -> Picture {
    if path.symlink_metadata().is_ok() {
        Picture::of(path)
    } else {
        Picture { entries: std::collections::BTreeMap::new() }
    }
}
