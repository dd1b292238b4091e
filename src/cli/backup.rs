//! `snapshotter backup`: appends one snapshot of the configured volumes.

use anyhow::Context;
use clap::{Args, ValueEnum};
use snapshotter::config::Need;
use snapshotter::name::Shown;
use snapshotter::report::BackupReport;
use snapshotter::{BackupOptions, ChecksumPolicy};

use crate::cli::output::{print_json, print_line};
use crate::cli::session::Session;
use crate::cli::stderr::say;
use crate::cli::units::{bytes, count, duration, remarks};

/// Shown below the command's help.
pub(crate) const EXAMPLE: &str = "\
Examples:
  docker run --rm --volumes-from busy_lewin \\
    -v $PWD/backup.tar:/backup.tar -v $PWD/config.yml:/config.yml snapshotter backup
  snapshotter backup --archive backup.tar --prefix volumes/web --volume /srv/web \\
    --note \"before 2.0\"
  snapshotter backup --archive - | zstd > backup.tar.zst";

/// The arguments of `backup`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct BackupCommand {
    /// Text to keep with the snapshot
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Leave out what of a volume matches this, as a line of a .gitignore would, beside what the configuration
    /// excludes; may be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Which content to hash
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    checksum: WhenToHash,
    /// Cut off what follows the archive's end, even when it may be another archive
    #[arg(long)]
    pub(crate) discard_tail: bool,
    /// Write an index too, by which `restore --path` finds files without looking at all others. Older
    /// versions of this program do not restore a snapshot that has one. A stream always has one
    #[arg(long)]
    index: bool,
    /// Store what changed since the snapshot before, and refer to that for the rest, as `incremental: true` in the
    /// configuration has it. Older versions of this program do not restore such a snapshot
    #[arg(long, conflicts_with = "full")]
    incremental: bool,
    /// Store all, whatever the configuration says
    #[arg(long)]
    full: bool,
}

/// [`ChecksumPolicy`] as an argument.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum WhenToHash {
    /// What is read anyway; what the filesystem clones is not
    #[default]
    Auto,
    /// All, so what is cloned is read too
    Always,
    /// None: damage to content goes unnoticed
    Never,
}

impl From<WhenToHash> for ChecksumPolicy {
    fn from(checksum: WhenToHash) -> Self {
        match checksum {
            WhenToHash::Auto => ChecksumPolicy::Auto,
            WhenToHash::Always => ChecksumPolicy::Always,
            WhenToHash::Never => ChecksumPolicy::Never,
        }
    }
}

impl BackupCommand {
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<()> {
        let config = session.config(Need::Volumes, false, self.exclude)?;
        let is_incremental = self.incremental || config.incremental == Some(true);
        let options = BackupOptions {
            archive: session.archive_path(),
            note: self.note,
            checksum: self.checksum.into(),
            // The next one may refer to this one.
            index: self.index || is_incremental,
            incremental: is_incremental && !self.full,
            full_every: config.full_every.unwrap_or(snapshotter::DEFAULT_FULL_EVERY),
            clock_margin: snapshotter::DEFAULT_CLOCK_MARGIN,
            discard_tail: self.discard_tail,
            lock_timeout: session.lock_timeout(),
        };
        if session.archive_is_stream() {
            // The archive goes to stdout, and so the report does not.
            let report = session.watch(|run| snapshotter::backup_to_stdout(&config, &options, run))?;
            if session.json() {
                session.report_beside(report);
            } else if !session.quiet() {
                say(&summary(&report));
            }
            return Ok(());
        }
        let report = session.watch(|run| snapshotter::backup(&config, &options, run))?;
        let printed = if session.json() {
            print_json(&report)
        } else if session.quiet() {
            Ok(())
        } else {
            print_line(summary(&report))
        };
        printed
            .with_context(|| format!("snapshot {} is in the archive, but that cannot be reported", report.id))
    }
}

fn summary(report: &BackupReport) -> String {
    let of = if report.prefix.is_empty() {
        String::new()
    } else {
        format!(" of {}", Shown::from(report.prefix.as_str()))
    };
    let before = match report.references {
        0 => String::new(),
        references => format!(" ({} as before)", count(references, "entry", "entries")),
    };
    format!(
        "backed up {}{of} as {}: {}{before}, {} ({} in the archive) in {}, {}",
        count(report.volumes.len() as u64, "volume", "volumes"),
        report.id,
        count(report.entries, "entry", "entries"),
        bytes(report.size),
        bytes(report.bytes),
        duration(report.elapsed),
        remarks(report.warning_count, report.unhashed),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use snapshotter::report::{SnapshotVolume, VolumeType};
    use snapshotter::time::Time;

    use super::*;

    fn report() -> BackupReport {
        let volume = SnapshotVolume {
            path: "/home/a\\b".to_owned(),
            kind: VolumeType::Dir,
            entries: 12,
            size: 3_565_158,
        };
        BackupReport {
            id: "1a2b3c4d".to_owned(),
            created: Time { secs: 1_795_190_580, nanos: 0 },
            prefix: "volumes/busy_lewin".to_owned(),
            volumes: vec![volume.clone(), volume],
            entries: 12,
            references: 0,
            size: 3_565_158,
            bytes: 5 << 20,
            unhashed: 0,
            note: None,
            exclude: Vec::new(),
            warning_count: 0,
            warnings: Vec::new(),
            elapsed: Duration::from_millis(412),
        }
    }

    #[test]
    fn the_summary_says_what_how_much_and_in_what_time() {
        let expected = "backed up 2 volumes of volumes/busy_lewin as 1a2b3c4d: 12 entries, 3.4 MiB (5.0 MiB \
            in the archive) in 0.4 s, 0 warnings";
        assert_eq!(summary(&report()), expected);
        let again = summary(&BackupReport { references: 11, ..report() });
        assert!(again.contains(": 12 entries (11 entries as before), 3.4 MiB"), "{again}");
        let bare = BackupReport { prefix: String::new(), unhashed: 1 << 20, warning_count: 1, ..report() };
        let line = summary(&bare);
        assert!(line.starts_with("backed up 2 volumes as 1a2b3c4d: "), "{line}");
        assert!(line.ends_with("1 warning; 1.0 MiB carry no content checksum"), "{line}");
    }

    #[test]
    fn json_leaves_what_is_text_anyhow_alone() {
        let text = serde_json::to_value(BackupReport { note: Some("a\\b".to_owned()), ..report() }).unwrap();
        assert_eq!(text["volumes"][0]["path"], "/home/a\\b");
        assert_eq!(text["volumes"][0]["type"], "dir");
        assert_eq!(text["note"], "a\\b");
        assert_eq!(text["time"], "2026-11-20T16:03:00Z");
        assert_eq!(text["seconds"], 0.412);
    }
}
