//! Whether an archive that a power cut left is the old one or the new one: to other programs, to this one,
//! and to the next backup and restore.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::readers;
use super::support::Picture;
use crate::config::{Config, Exclude, Need};
use crate::observer::Run;
use crate::{BackupOptions, ListOptions, RestoreOptions, Tail, backup, list, restore, verify};

/// So many are handed to the other programs at once, unless they have so many bytes before that.
const BATCH: usize = 50;
const BATCH_BYTES: usize = 64 << 20;

/// What is in an archive.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    ids: Vec<String>,
    foreign: u64,
}

/// An archive that may be found.
struct Known {
    content: Content,
    /// What the other programs say of it.
    said: Vec<String>,
}

/// Checks archives, each different one once.
pub(super) struct Checker {
    place: PathBuf,
    volume: PathBuf,
    picture: Picture,
    config: Config,
    /// The old one, and the new one if there is to be one.
    known: Vec<Known>,
    /// The next backup may say that something else follows the archive. Readers may not notice anything.
    pub(super) may_refuse: bool,
    /// How the next backup is done.
    pub(super) options: fn(&Path) -> BackupOptions,
    /// Ask the other programs too.
    pub(super) ask_others: bool,
    seen: HashSet<blake3::Hash>,
    batch: Vec<(PathBuf, usize)>,
    pub(super) checked: usize,
}

/// How a volume of this path is configured.
pub(super) fn config(volume: &Path) -> Config {
    Config::from_parts("p", [volume.to_str().unwrap()], Exclude::default(), Need::Volumes).unwrap()
}

pub(super) fn backup_to(archive: &Path) -> BackupOptions {
    BackupOptions { archive: archive.to_owned(), ..BackupOptions::default() }
}

/// The same, by reference to the snapshot before. What changed must be older than some ticks of the clock.
pub(super) fn incremental_to(archive: &Path) -> BackupOptions {
    let clock_margin = Duration::from_millis(15);
    BackupOptions { incremental: true, clock_margin, ..backup_to(archive) }
}

impl Checker {
    /// `place` is an empty directory; `known` are the archives that may be found.
    pub(super) fn new(place: &Path, volume: &Path, known: &[&[u8]]) -> Checker {
        fs::create_dir_all(place).unwrap();
        let known = known.iter().map(|bytes| {
            let path = place.join("known.tar");
            fs::write(&path, bytes).unwrap();
            let content = content(&path).unwrap();
            Known { content, said: readers::read(&[path]).remove(0) }
        });
        Checker {
            place: place.to_owned(),
            volume: volume.to_owned(),
            picture: Picture::of(volume),
            config: config(volume),
            known: known.collect(),
            may_refuse: false,
            options: backup_to,
            ask_others: true,
            seen: HashSet::new(),
            batch: Vec::new(),
            checked: 0,
        }
    }

    /// Checks an archive, unless there was the same before. `new` says that it must be the new one.
    pub(super) fn check(&mut self, archive: &[u8], new: bool) -> Result<(), String> {
        let mut hasher = blake3::Hasher::new();
        let hash = hasher.update(archive).update(&[u8::from(new)]).finalize();
        if !self.seen.insert(hash) {
            return Ok(());
        }
        self.checked += 1;
        let path = self.place.join(format!("{}.tar", self.batch.len()));
        fs::write(&path, archive).unwrap();
        let found = content(&path)?;
        let which = self.known.iter().position(|known| known.content == found);
        let which = which.ok_or_else(|| format!("it is neither the old nor the new archive: {found:?}"))?;
        if new && which + 1 < self.known.len() {
            return Err("the backup was complete, and is not there".to_owned());
        }
        self.batch.push((path, which));
        if self.batch.len() >= BATCH.min(1 + BATCH_BYTES / archive.len()) { self.finish() } else { Ok(()) }
    }

    /// Checks what was gathered for the other programs, and what only the next commands tell.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        let batch = std::mem::take(&mut self.batch);
        if self.ask_others && !batch.is_empty() {
            let paths: Vec<_> = batch.iter().map(|(path, _)| path).collect();
            for (said, (path, which)) in readers::read(&paths).iter().zip(&batch) {
                for (said, known) in said.iter().zip(&self.known[*which].said) {
                    if said != known {
                        return Err(format!("{}: {said}\ninstead of\n{known}", path.display()));
                    }
                }
            }
        }
        batch.iter().try_for_each(|(path, which)| self.next(path, *which))
    }

    /// The next backup and restore.
    fn next(&self, archive: &Path, which: usize) -> Result<(), String> {
        let run = Run::default();
        let report = match backup(&self.config, &(self.options)(archive), &run) {
            Err(error) if self.may_refuse && error.to_string().contains("something else follows") => {
                return Ok(());
            }
            report => report.map_err(|error| format!("the next backup: {error}"))?,
        };
        let mut expected = self.known[which].content.ids.clone();
        expected.push(report.id.clone());
        let found = content(archive)?;
        if found.ids != expected {
            return Err(format!("after the next backup: {found:?}"));
        }
        let into = self.place.join("into");
        let options =
            RestoreOptions { archive: archive.into(), into: Some(into.clone()), ..RestoreOptions::default() };
        restore(&self.config, &options, &run).map_err(|error| format!("the next restore: {error}"))?;
        let restored = into.join(self.volume.strip_prefix("/").unwrap());
        let differences = self.picture.differences(&Picture::of(restored));
        fs::remove_dir_all(into).unwrap();
        if differences.is_empty() { Ok(()) } else { Err(format!("the next restore: {differences:?}")) }
    }
}

/// What this program finds in an archive, if nothing is wrong with it.
fn content(archive: &Path) -> Result<Content, String> {
    let options = ListOptions { archive: archive.into(), ..ListOptions::default() };
    let listing = list(&options, &Run::default()).map_err(|error| format!("list: {error}"))?;
    let verified = verify(&options, &Run::default()).map_err(|error| format!("verify: {error}"))?;
    let problems: Vec<_> = listing.problems.iter().chain(&verified.problems).collect();
    // Where something else follows, `verify` looks through that too.
    let end = listing.end.filter(|_| matches!(verified.tail, Tail::Foreign(_)));
    let is_tail = |offset| end.is_some_and(|end| end <= offset);
    let snapshots = || verified.snapshots.iter().filter(|one| !is_tail(one.offset));
    if problems.iter().any(|problem| !is_tail(problem.offset)) || !snapshots().all(|one| one.ok) {
        return Err(format!("verify: {problems:?}"));
    }
    let ids: Vec<_> = listing.snapshots.iter().map(|snapshot| snapshot.id.clone()).collect();
    if ids != snapshots().map(|snapshot| snapshot.id.clone()).collect::<Vec<_>>() {
        return Err("list and verify differ".to_owned());
    }
    Ok(Content { ids, foreign: verified.foreign })
}
