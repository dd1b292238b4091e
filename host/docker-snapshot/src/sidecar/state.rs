//! What is known of a job from one run to the next, and where it works: `STATE/sidecar/JOB/`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use snapshotter::time::Time;

use crate::alarm::judge::Sizes;

/// What the names of directories begin with that restores unpack into.
const RESTORE: &str = "restore-";
/// How many runs are remembered.
const REMEMBERED: usize = 90;

/// What is known of a job.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// All that was to be done up to this time is settled.
    #[serde(default)]
    pub(crate) settled: Option<Time>,
    /// How the last run went.
    #[serde(default)]
    pub(crate) last: Option<Ran>,
    /// The last that went well.
    #[serde(default)]
    pub(crate) last_success: Option<Ran>,
    /// The sizes of the parts of the last backup that was made.
    #[serde(default)]
    pub(crate) sizes: Sizes,
    /// The last runs, the oldest first.
    #[serde(default)]
    pub(crate) history: Vec<Ran>,
    /// The backup that is overdue was told about, as long as there is no other.
    #[serde(default)]
    pub(crate) told_overdue: bool,
}

/// How a run went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) begun: Time,
    pub(crate) seconds: f64,
    /// Why there is no backup, or what is wrong with it.
    #[serde(default)]
    pub(crate) problems: Vec<String>,
    /// What was made, if anything was.
    #[serde(default)]
    pub(crate) file: Option<String>,
    /// Bytes of the files in it.
    #[serde(default)]
    pub(crate) size: u64,
    /// Bytes of the backup as it lies in a store.
    #[serde(default)]
    pub(crate) bytes: u64,
}

impl Record {
    /// Remembers a run.
    pub(crate) fn remember(&mut self, ran: Ran) {
        self.history.push(ran.clone());
        let many = self.history.len().saturating_sub(REMEMBERED);
        self.history.drain(..many);
        self.last = Some(ran);
    }
}

/// A time of the one kind as one of the other.
pub(crate) fn instant(time: Time) -> DateTime<Utc> {
    DateTime::from_timestamp(time.secs, time.nanos).unwrap_or_default()
}

/// The reverse, to the second.
pub(crate) fn seconds(time: DateTime<Utc>) -> Time {
    Time { secs: time.timestamp(), nanos: 0 }
}

/// Where a job keeps its record, and works.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    directory: PathBuf,
}

/// That nobody else runs the job.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: File,
}

impl Room {
    /// That of `job`, below the directory of all state. It is made when it is needed.
    pub(crate) fn new(state: &Path, job: &str) -> Self {
        Room { directory: state.join("sidecar").join(job) }
    }

    fn failed(&self) -> String {
        format!(
            "cannot work in {}: name another directory in DOCKER_SNAPSHOT_STATE_DIR, or mount a volume there",
            self.directory.display()
        )
    }

    fn make(&self) -> anyhow::Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.with_context(|| self.failed())
    }

    /// Waits for nobody: one run at a time.
    ///
    /// # Errors
    /// When another run goes on, or the directory cannot be used.
    pub(crate) fn turn(&self) -> anyhow::Result<Turn> {
        self.make()?;
        let mut options = OpenOptions::new();
        let lock =
            options.create(true).truncate(false).write(true).mode(0o600).open(self.directory.join("lock"));
        let lock = lock.with_context(|| self.failed())?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                self.clean();
                Ok(Turn { _lock: lock })
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                bail!("cannot begin: another run of this job goes on: wait until it has ended")
            }
            Err(error) => Err(error).with_context(|| self.failed()),
        }
    }

    /// Removes what a killed run has left: dumps are plain text.
    fn clean(&self) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let left = entries.filter(|entry| {
            let name = entry.file_name();
            name == super::manifest::DIRECTORY || name.as_encoded_bytes().starts_with(RESTORE.as_bytes())
        });
        for entry in left {
            // Whoever needs the place finds out that it is taken.
            let _ = fs::remove_dir_all(entry.path());
        }
    }

    /// A directory for what a restore unpacks, which goes with the value.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn unpacked(&self) -> anyhow::Result<tempfile::TempDir> {
        let made = tempfile::Builder::new().prefix(RESTORE).tempdir_in(self.spool()?);
        made.with_context(|| self.failed())
    }

    /// The directory for dumps, empty.
    ///
    /// # Errors
    /// When it cannot be made. Only who has the turn may ask.
    pub(crate) fn dumps(&self, _turn: &Turn) -> anyhow::Result<Scratch> {
        let path = self.directory.join(super::manifest::DIRECTORY);
        DirBuilder::new().mode(0o700).create(&path).with_context(|| self.failed())?;
        Ok(Scratch { path })
    }

    /// Where files without a name may be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn spool(&self) -> anyhow::Result<&Path> {
        self.make()?;
        Ok(&self.directory)
    }

    /// What is known; nothing before the first run, or where it cannot be read.
    pub(crate) fn record(&self) -> Record {
        let text = fs::read(self.directory.join("state.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps it: as a whole, or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn keep(&self, record: &Record) -> anyhow::Result<()> {
        self.make()?;
        let text = serde_json::to_vec_pretty(record).context("cannot write JSON")?;
        let written = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist(self.directory.join("state.json"))?;
            File::open(&self.directory)?.sync_all()
        };
        written().with_context(|| self.failed())
    }
}

/// A directory that goes with this value.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is removed by the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_at_a_time_and_what_is_kept_is_read() {
        let state = tempfile::tempdir().unwrap();
        let room = Room::new(state.path(), "shop");
        let turn = room.turn().unwrap();
        assert!(room.turn().unwrap_err().to_string().contains("another run"));
        assert!(Room::new(state.path(), "blog").turn().is_ok());
        let dumps = room.dumps(&turn).unwrap();
        fs::write(dumps.path().join("left"), "x").unwrap();
        let (path, unpacked) = (dumps.path().to_owned(), room.unpacked().unwrap().keep());
        std::mem::forget(dumps);
        drop(turn);
        let turn = room.turn().unwrap();
        assert!(!path.exists() && !unpacked.exists(), "what a killed run has left is gone");
        let dumps = room.dumps(&turn).unwrap();
        assert!(path.exists());
        drop(dumps);
        assert!(!path.exists());
        let record = Record { sizes: [("app".to_owned(), 7)].into(), ..Record::default() };
        room.keep(&record).unwrap();
        assert_eq!(room.record().sizes, record.sizes);
    }
}
