//! Brings a backup back: databases first, each as a whole or not at all, then directories and files, all of
//! them or none. Before anything is changed, all of the backup has been read and found to be right.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use snapshotter::config::{Config, Named as Words, Need, Overrides};
use snapshotter::observer::{Cancel, Run};
use snapshotter::{ListOptions, RestoreOptions, list, restore};
use snapshotter_dump::place::Local;
use snapshotter_dump::{Database, check, restore as restore_dump};
use snapshotter_engine::api::Engine;
use snapshotter_engine::hold::{self, Plan, hold};
use snapshotter_engine::lease::State;

use crate::config::{Job, Kind};
use crate::job::interrupt::Interrupt;
use crate::job::tell::{self, Notice, Tell};
use crate::sidecar::backups::Found;
use crate::sidecar::dumps::{of_server, told};
use crate::sidecar::manifest::{DIRECTORY, Dump, Manifest};
use crate::sidecar::missing::Missing;
use crate::sidecar::services;
use crate::sidecar::state::Room;
use crate::sidecar::unpack::{self, Unpacked};

/// How it is done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    /// Nothing is stopped, whoever uses what is restored.
    pub(crate) leave_services: bool,
    /// Connections to a database that is restored are ended.
    pub(crate) terminate: bool,
}

/// A backup that was read and is whole, and what is to be done with it.
#[derive(Debug)]
pub(crate) struct Ready {
    unpacked: Unpacked,
    manifest: Manifest,
    prefix: String,
    /// The dumps, unpacked; the directory goes with this value.
    scratch: tempfile::TempDir,
    databases: Vec<(Dump, Database)>,
    /// Directories and files as `STORED=PATH`.
    paths: Vec<(String, String)>,
    /// What each of these paths is now.
    places: Vec<(PathBuf, Kind)>,
    /// What is in the backup and is configured nowhere now.
    pub(crate) left: Vec<String>,
}

impl Ready {
    /// Unpacks a backup, and finds out what belongs where.
    ///
    /// # Errors
    /// When it is not whole, or its keys are not there.
    pub(crate) async fn of(
        job: &Job,
        state: &State,
        found: &Found,
        stop: &Interrupt,
        tell: Tell<'_>,
    ) -> anyhow::Result<Self> {
        let room = Room::new(state.directory(), &job.name);
        let spool = room.spool()?;
        let unpacked = unpack::unpack(found, job.keys()?, spool, stop, tell).await?;
        let scratch = room.unpacked()?;
        let (prefix, manifest) = opened(&unpacked, scratch.path())?;
        let dumps = scratch.path().join("dumps");
        for dump in &manifest.dumps {
            let file = dumps.join(&dump.file);
            let checked = check(dump.kind.into(), &Local::default(), scratch.path(), &file).await;
            checked.map_err(|error| told(&error)).with_context(|| format!("cannot restore {}", dump.file))?;
        }
        let mut ready = Ready {
            unpacked,
            prefix,
            scratch,
            databases: Vec::new(),
            paths: Vec::new(),
            places: Vec::new(),
            left: Vec::new(),
            manifest,
        };
        ready.pair(job);
        Ok(ready)
    }

    /// Finds out where each part goes: where the configuration has what is called so.
    fn pair(&mut self, job: &Job) {
        for dump in &self.manifest.dumps {
            match target(job, dump) {
                Some(database) => self.databases.push((dump.clone(), database)),
                None => self.left.push(dump.file.clone()),
            }
        }
        for source in &self.manifest.sources {
            match job.sources.iter().find(|now| now.name == source.name && now.kind == source.kind) {
                Some(now) => {
                    self.paths.push((source.path.clone(), now.path.clone()));
                    self.places.push((PathBuf::from(&now.path), now.kind));
                }
                None => self.left.push(source.path.clone()),
            }
        }
    }

    /// What would be replaced, in words.
    pub(crate) fn words(&self) -> Vec<String> {
        let databases = self.databases.iter().map(|(_, database)| format!("database {database}"));
        databases.chain(self.paths.iter().map(|(_, path)| path.clone())).collect()
    }

    /// Puts all of it below `into`, which changes nothing else.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn into(self, into: &Path, stop: &Interrupt) -> anyhow::Result<()> {
        let paths = self.manifest.sources.iter().map(|source| source.path.clone());
        let mut pairs: Vec<_> = paths.map(|path| (path.clone(), path)).collect();
        pairs.push((dumps_path(&self.unpacked)?.1, "/dumps".to_owned()));
        self.volumes(pairs, Some(into.to_owned()), stop).await
    }

    /// Puts all of it into its place.
    ///
    /// # Errors
    /// When something cannot be restored; what had been restored before is said.
    pub(crate) async fn place(
        self,
        job: &Job,
        state: &State,
        how: How,
        stop: &Interrupt,
        tell: Tell<'_>,
    ) -> anyhow::Result<Vec<String>> {
        ensure!(
            !(self.databases.is_empty() && self.paths.is_empty()),
            "cannot restore it: nothing in it is configured here: add it to the configuration, or give --into"
        );
        self.possible()?;
        stop.check("nothing was changed")?;
        let missing = Missing::make(self.places.iter().map(|(path, kind)| (path.as_path(), *kind)))?;
        let done = self.rested(job, state, how, stop, tell).await?;
        missing.keep();
        Ok(done)
    }

    /// Puts all of it into its place, while who uses it rests.
    async fn rested(
        &self,
        job: &Job,
        state: &State,
        how: How,
        stop: &Interrupt,
        tell: Tell<'_>,
    ) -> anyhow::Result<Vec<String>> {
        let wanted = !how.leave_services && (services::has_engine() || !job.stop.is_empty());
        if !wanted {
            return self.all(how, stop, tell).await;
        }
        let engine: Engine = services::engine().await.context(
            "cannot stop what uses the data: mount /var/run/docker.sock into this container, or give \
             --leave-services",
        )?;
        let plan: Plan = services::for_restore(&engine, job).await?;
        let observer = |event: &hold::Event<'_>| tell(&Notice::Hold(event));
        let held = hold(&engine, state, plan, &observer).await?;
        let result = self.all(how, stop, tell).await;
        let (done, stays) = tell::released(tell, held, result).await?;
        match stays {
            None => Ok(done),
            Some(stays) => bail!("{}: all was restored", crate::words::whole(&stays)),
        }
    }

    /// Refuses what can be refused before anything is stopped.
    fn possible(&self) -> anyhow::Result<()> {
        for (dump, database) in &self.databases {
            if let Database::Redis(_) = database {
                bail!(
                    "cannot restore {database}: a Redis server takes no dump while it runs: give --into DIR, \
                     and put {} into its data directory while it is stopped",
                    dump.file
                );
            }
        }
        for (_, path) in &self.paths {
            // A file that is to be there again lies in a directory that must be there.
            let place = Path::new(path).ancestors().find(|place| place.exists()).unwrap_or(Path::new("/"));
            let flags = rustix::fs::statvfs(place).map(|stat| stat.f_flag);
            let read_only = flags.is_ok_and(|flags| flags.contains(rustix::fs::StatVfsMountFlags::RDONLY));
            ensure!(
                !read_only,
                "cannot restore {path}: it is mounted read-only: take :ro from its line in the compose file \
                 for the time of the restore"
            );
        }
        Ok(())
    }

    async fn all(&self, how: How, stop: &Interrupt, tell: Tell<'_>) -> anyhow::Result<Vec<String>> {
        let mut done = Vec::new();
        let so_far = |done: &[String]| match done {
            [] => "nothing was changed".to_owned(),
            done => format!("restored before: {}", done.join(", ")),
        };
        for (dump, database) in &self.databases {
            stop.check(&so_far(&done))?;
            tell(&Notice::Step(&format!("restoring {database}")));
            let file = self.scratch.path().join("dumps").join(&dump.file);
            let options = snapshotter_dump::Restore { terminate: how.terminate, ..Default::default() };
            let restored = restore_dump(database, &Local::default(), &file, &options).await;
            tell(&Notice::Done);
            match restored {
                Ok(restored) => {
                    for note in restored.notes {
                        tell(&Notice::Note(&format!("{database}: {note}")));
                    }
                }
                Err(snapshotter_dump::Error::InUse { database, users }) => bail!(
                    "cannot restore {database}: {users}: stop what uses it, or give --terminate: {}",
                    so_far(&done)
                ),
                Err(error) => bail!("{:#}: {}", told(&error), so_far(&done)),
            }
            done.push(format!("database {database}"));
        }
        if !self.paths.is_empty() {
            tell(&Notice::Step("restoring files"));
            let restored = self.volumes(self.paths.clone(), None, stop).await;
            tell(&Notice::Done);
            if let Err(error) = restored {
                bail!("{}: {}", crate::words::message(&error), so_far(&done));
            }
            done.extend(self.paths.iter().map(|(_, path)| path.clone()));
        }
        Ok(done)
    }

    /// Restores volumes of the archive by the core's library.
    async fn volumes(
        &self,
        pairs: Vec<(String, String)>,
        into: Option<PathBuf>,
        stop: &Interrupt,
    ) -> anyhow::Result<()> {
        let config = of_parts(&self.prefix, &pairs)?;
        let archive = self.unpacked.archive();
        let cancel = Cancel::default();
        let options = RestoreOptions { archive, into, ..RestoreOptions::default() };
        let cancelled = cancel.clone();
        let mut work = tokio::task::spawn_blocking(move || {
            let run = Run { cancel: cancelled, ..Run::default() };
            restore(&config, &options, &run)
        });
        let result = tokio::select! {
            result = &mut work => result,
            () = stop.wait() => {
                cancel.stop();
                work.await
            }
        };
        result.context("cannot restore")??;
        Ok(())
    }
}

/// The database that a dump belongs to now.
fn target(job: &Job, dump: &Dump) -> Option<Database> {
    if let Some(path) = &dump.path {
        let source = job.sources.iter().find(|source| source.name == dump.of);
        let named = job.databases.iter().find(|named| named.name == dump.of);
        return match (source, named) {
            (Some(source), _) => Some(Database::Sqlite(PathBuf::from(&source.path))),
            (None, Some(named)) => Some(named.database.clone()),
            (None, None) => job
                .sources
                .iter()
                .find(|source| source.path == *path)
                .map(|source| Database::Sqlite(PathBuf::from(&source.path))),
        };
    }
    let kind = dump.kind.into();
    let same = |named: &&crate::config::Named| named.database.kind() == kind;
    let named = job.databases.iter().find(|named| named.name == dump.of).filter(same).or_else(|| {
        // Its server may be called otherwise now.
        let mut all = job.databases.iter().filter(same);
        all.next().filter(|_| all.next().is_none())
    })?;
    Some(match &dump.database {
        Some(one) => of_server(&named.database, one),
        None => named.database.clone(),
    })
}

/// A configuration for the core, of volumes that may have had another path.
fn of_parts(prefix: &str, pairs: &[(String, String)]) -> anyhow::Result<Config> {
    let volumes = pairs.iter().map(|(stored, path)| format!("{stored}={path}")).collect();
    let prefix = Some(prefix.to_owned());
    let named = Words { volumes: "BACKUP_DIRS and BACKUP_FILES", ..Words::default() };
    let overrides = Overrides { prefix, volumes, moved: true, named, ..Overrides::default() };
    // There is no file: all is given.
    Ok(Config::load(Path::new("/proc/self/task/configuration"), false, &overrides, Need::Volumes)?)
}

/// The prefix of an archive, and the path in it of the directory with the dumps.
fn dumps_path(unpacked: &Unpacked) -> anyhow::Result<(String, String)> {
    let options = ListOptions { archive: unpacked.archive(), ..ListOptions::default() };
    let listing = list(&options, &Run::default())?;
    let last = listing.snapshots.last().context("cannot restore it: there is no snapshot in it")?;
    let dumps = last.volumes.iter().find(|volume| volume.path.ends_with(&format!("/{DIRECTORY}")));
    let dumps = dumps.context(
        "cannot restore it: it is no backup of this program's sidecar: take `docker snapshot restore` for it",
    )?;
    Ok((last.prefix.clone(), dumps.path.clone()))
}

/// Unpacks the dumps of an archive into `scratch`, and reads what it says of itself.
fn opened(unpacked: &Unpacked, scratch: &Path) -> anyhow::Result<(String, Manifest)> {
    let (prefix, path) = dumps_path(unpacked)?;
    let config = of_parts(&prefix, &[(path, "/dumps".to_owned())])?;
    let (archive, into) = (unpacked.archive(), Some(scratch.to_owned()));
    restore(&config, &RestoreOptions { archive, into, ..RestoreOptions::default() }, &Run::default())?;
    let manifest = Manifest::read(&scratch.join("dumps"))?;
    Ok((prefix, manifest))
}
