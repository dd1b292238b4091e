//! What a command is handed: the common flags, and what follows from them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use snapshotter::config::{Config, Exclude, Named, Need, Overrides};
use snapshotter::name::Shown;
use snapshotter::observer::{Cancel, Run};
use snapshotter::report::{BackupReport, Event, Problem};
use snapshotter::{Archive, DEFAULT_CONFIG, ListOptions, Result, SnapshotFilter};

use crate::cli::flags::{Flags, VolumeFlags};
use crate::cli::problems;
use crate::cli::progress::ProgressDisplay;
use crate::cli::stderr::{EventFormat, object, say};

/// The flags that stand for what a configuration has.
const NAMED: Named = Named { prefix: "--prefix", volumes: "--volume", exclude: "--exclude" };

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    flags: Flags,
    volumes: Vec<String>,
    cancel: Cancel,
}

impl Session {
    pub(crate) fn new(flags: Flags, volumes: VolumeFlags, cancel: Cancel) -> Self {
        Session { flags, volumes: volumes.volumes, cancel }
    }

    /// Whether the result is printed as JSON.
    pub(crate) fn json(&self) -> bool {
        self.flags.json
    }

    /// Whether a line that only says that all is done is left out.
    pub(crate) fn quiet(&self) -> bool {
        self.flags.quiet
    }

    /// Where the archive is that is appended to.
    pub(crate) fn archive_path(&self) -> PathBuf {
        self.flags.archive().to_owned()
    }

    /// The archive that is read; `-` is standard input.
    pub(crate) fn archive(&self) -> Archive {
        let path = self.flags.archive();
        if path.as_os_str() == "-" { Archive::stdin() } else { path.into() }
    }

    /// Whether that is standard input or output.
    pub(crate) fn archive_is_stream(&self) -> bool {
        self.flags.archive_is_stream()
    }

    /// Writes a report as JSON to stderr, on a line of its own.
    pub(crate) fn report_beside(&self, report: BackupReport) {
        match self.flags.events {
            EventFormat::Text => object(&report),
            EventFormat::Json => EventFormat::Json.write(&Event::Report(Box::new(report))),
        }
    }

    /// How long to wait for other runs.
    pub(crate) fn lock_timeout(&self) -> Duration {
        Duration::from_secs(self.flags.lock_timeout)
    }

    /// For the commands that only read the archive.
    ///
    /// # Errors
    /// When a prefix or a volume is none.
    pub(crate) fn list_options(&self) -> Result<ListOptions> {
        let prefix = self.flags.prefix.clone();
        let volumes = self.volumes.clone();
        // They are compared as a configuration would have them.
        let asked_for = prefix.clone().unwrap_or_default();
        let config = Config::from_parts(asked_for, volumes, Exclude::default(), Need::VolumesOrAll)?;
        let filter = SnapshotFilter {
            id: None,
            prefix: prefix.map(|_| config.prefix),
            volumes: config.volumes.iter().map(|volume| volume.path().to_owned()).collect(),
        };
        Ok(ListOptions { archive: self.archive(), filter, lock_timeout: self.lock_timeout() })
    }

    /// Whether volumes were named on the command line.
    pub(crate) fn names_volumes(&self) -> bool {
        !self.volumes.is_empty()
    }

    /// The configuration, and patterns to `exclude` beside its own. With `moved`, a volume may be given with the
    /// path that it has in the snapshot.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(crate) fn config(&self, need: Need, moved: bool, exclude: Vec<String>) -> Result<Config> {
        let path = self.flags.config().unwrap_or(Path::new(DEFAULT_CONFIG));
        let (prefix, volumes) = (self.flags.prefix.clone(), self.volumes.clone());
        let overrides = Overrides { prefix, volumes, exclude, moved, named: NAMED };
        Config::load(path, self.flags.config().is_some(), &overrides, need)
    }

    /// The configuration for what has no prefix: of one, only the volumes are of use, and none is needed where
    /// volumes are named.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(crate) fn config_of_volumes(&self) -> Result<Config> {
        let path = self.flags.config().unwrap_or(Path::new(DEFAULT_CONFIG));
        let (prefix, volumes) = (Some(String::new()), self.volumes.clone());
        let overrides = Overrides { prefix, volumes, named: NAMED, ..Overrides::default() };
        Config::load(path, self.flags.config().is_some(), &overrides, Need::Volumes)
    }

    /// Does `work` while its progress, notes and warnings are shown. The bar is gone when this returns.
    ///
    /// # Errors
    /// Those of `work`.
    pub(crate) fn watch<T>(&self, work: impl FnOnce(&Run) -> Result<T>) -> Result<T> {
        let flags = &self.flags;
        let progress = ProgressDisplay::new(flags.events, flags.verbose, flags.quiet, flags.no_progress);
        work(&Run { observer: &progress, cancel: self.cancel.clone(), strict: flags.strict })
    }

    /// Reports something that is wrong in `archive`.
    pub(crate) fn problem(&self, archive: &Shown, problem: &Problem) {
        match self.flags.events {
            EventFormat::Text => say(&problems::line(archive, problem)),
            EventFormat::Json => EventFormat::Json.write(&Event::Problem(problem.clone())),
        }
    }

    /// Fails once a signal came, for what is done outside the library.
    ///
    /// # Errors
    /// [`snapshotter::Error::Stopped`].
    pub(crate) fn check_signals(&self) -> Result<()> {
        self.cancel.check("nothing was changed")
    }
}
