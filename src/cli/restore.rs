//! `snapshotter restore`: puts a snapshot back.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use snapshotter::config::{Config, Exclude, Need};
use snapshotter::name::Shown;
use snapshotter::report::{ChangeKind, LeftOut, RestoreReport, Skipped};
use snapshotter::time::Time;
use snapshotter::{OwnerMapping, RestoreOptions, Strip, TarSource};

use crate::cli::output::{Output, print_json};
use crate::cli::session::Session;
use crate::cli::units::{bytes, count, duration, moment, number, remarks};

/// Shown below the command's help.
pub(crate) const EXAMPLE: &str = "\
Examples:
  docker run --rm --volumes-from busy_lewin \\
    -v $PWD/backup.tar:/backup.tar -v $PWD/config.yml:/config.yml snapshotter restore
  snapshotter restore --archive backup.tar --prefix volumes/web \\
    --into /tmp/look --path /srv/web/index.html
  zcat volume.tar.gz | snapshotter restore --from-tar - --into /tmp/look";

/// The arguments of `restore`.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Args)]
pub(crate) struct RestoreCommand {
    /// The snapshot to restore instead of the newest: its ID, or the first four digits or more
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Restore below this directory, volume /a/b to DIR/a/b; it need not exist
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// With --into: restore this file or directory alone, given by its absolute path in the container; may be
    /// repeated
    #[arg(long = "path", value_name = "PATH", requires = "into")]
    paths: Vec<OsString>,
    /// Restore a tar that another program made instead of a snapshot: FILE, or `-` for standard input, to the one
    /// volume, or with --into to DIR itself, which must be empty or missing
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["snapshot", "paths", "skip_damaged", "prefix", "keep_excluded", "skip_read_only"]
    )]
    from_tar: Option<PathBuf>,
    /// With --from-tar: cut this many leading directories off the names, which must be the same for all; or
    /// the directory itself, and leave out what lies elsewhere
    #[arg(long, requires = "from_tar", value_name = "N|DIR", default_value = "0", hide_default_value = true)]
    strip: Strip,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Clear each volume before it is filled, where there is no room for two copies: a failure then leaves it
    /// torn
    #[arg(long, conflicts_with = "into")]
    in_place: bool,
    /// Empty a volume that holds something, where the snapshot has nothing in it
    #[arg(long)]
    allow_empty: bool,
    /// Leave alone what the snapshot's excludes match, instead of removing it with all that the snapshot lacks
    #[arg(long)]
    keep_excluded: bool,
    /// Leave volumes alone that are mounted read-only (`:ro`)
    #[arg(long, conflicts_with = "into")]
    skip_read_only: bool,
    /// Set the owners that can be set, and go on where one cannot be: a warning says of how many files
    #[arg(long)]
    no_owner: bool,
    /// Give what belongs to user and group FROM to TO, for a move between hosts; with a `u` or `g` before FROM
    /// users or groups alone; may be repeated
    #[arg(long, value_name = "FROM:TO")]
    map_owner: Vec<OwnerMapping>,
    /// With --into, where there is nothing yet: restore what is sound of a damaged snapshot, list what is
    /// left out, and exit with 3 if that is anything
    #[arg(long, requires = "into", conflicts_with = "in_place")]
    skip_damaged: bool,
}

/// What is missing after a restore that left out what is damaged: it is neither done nor failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Loss(String);

impl RestoreCommand {
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<()> {
        if self.from_tar.is_some() && self.into.is_some() && session.names_volumes() {
            anyhow::bail!("--volume and --into are two places for one tar: give one of them");
        }
        let need = if self.into.is_some() { Need::VolumesOrAll } else { Need::Volumes };
        let config = match (&self.from_tar, &self.into) {
            (None, _) => session.config(need, true, Vec::new())?,
            (Some(_), None) => session.config_of_volumes()?,
            (Some(_), Some(_)) => Config::from_parts("", [""; 0], Exclude::default(), Need::VolumesOrAll)?,
        };
        let from_tar = self.from_tar.map(|file| TarSource {
            file: Some(file).filter(|file| file.as_os_str() != "-"),
            strip: self.strip,
        });
        let options = RestoreOptions {
            from_tar,
            archive: session.archive(),
            snapshot: self.snapshot,
            into: self.into,
            paths: self.paths,
            dry_run: self.dry_run,
            in_place: self.in_place,
            allow_empty: self.allow_empty,
            keep_excluded: self.keep_excluded,
            skip_read_only: self.skip_read_only,
            no_owner: self.no_owner,
            map_owner: self.map_owner,
            skip_damaged: self.skip_damaged,
            lock_timeout: session.lock_timeout(),
        };
        let report = session.watch(|run| snapshotter::restore(&config, &options, run))?;
        let printed =
            if session.json() { print_json(&report) } else { print(&report, &options, session.quiet()) };
        printed.with_context(|| {
            let done = if report.dry_run { "nothing was changed" } else { "the restore is complete" };
            format!("{done}, but that cannot be reported")
        })?;
        match report.skipped.as_ref().and_then(loss) {
            Some(loss) => Err(loss.into()),
            None => Ok(()),
        }
    }
}

/// What is said in the end of what is missing, if that is anything.
fn loss(skipped: &Skipped) -> Option<Loss> {
    let left_out = skipped.left_out.len() as u64;
    if left_out == 0 {
        return None;
    }
    let missing = match skipped.missing {
        Some(entries) => format!("{} missing", are(&count(entries, "entry", "entries"))),
        None => "how many entries are missing is not known".to_owned(),
    };
    let listed = are(&count(left_out, "place", "places"));
    Some(Loss(format!("the snapshot is damaged: {missing}; {listed} listed as left out")))
}

fn are(counted: &str) -> String {
    let verb = if counted.starts_with("1 ") { "is" } else { "are" };
    format!("{counted} {verb}")
}

/// What became of a damaged snapshot.
fn skipped_lines(skipped: &Skipped) -> Vec<String> {
    let mut lines = Vec::new();
    for LeftOut { offset, name, reason } in &skipped.left_out {
        let name = name.as_ref().map(|name| format!("{}: ", Shown::from(name))).unwrap_or_default();
        lines.push(format!("left out: offset {offset}: {name}{reason}"));
    }
    for path in &skipped.made {
        lines.push(format!("made without its owner, mode and time: {}", Shown::from(path)));
    }
    if skipped.found > 0 {
        lines.push(format!(
            "found by searching: {} whose checksum holds; one may be the content of a file that was an \
             archive itself",
            count(skipped.found, "entry", "entries")
        ));
    }
    if skipped.unchecked > 0 {
        lines.push(format!(
            "restored without a checksum: {}; damage to their content would not have been noticed",
            count(skipped.unchecked, "entry", "entries")
        ));
    }
    lines
}

fn print(report: &RestoreReport, options: &RestoreOptions, quiet: bool) -> snapshotter::Result<()> {
    let mut output = Output::stdout();
    for change in &report.changes {
        output.line(format_args!("{} {}", verb(change.kind), Shown::from(&change.path)))?;
    }
    for line in report.skipped.iter().flat_map(skipped_lines) {
        output.line(line)?;
    }
    if !quiet {
        output.line(summary(report, options.into.as_deref(), &options.paths))?;
    }
    output.finish()
}

fn verb(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Create => "create",
        ChangeKind::Replace => "replace",
        ChangeKind::Update => "update",
        ChangeKind::Remove => "remove",
    }
}

fn summary(report: &RestoreReport, into: Option<&Path>, paths: &[OsString]) -> String {
    let mut what = match paths {
        [] => count(report.volumes.len() as u64, "volume", "volumes"),
        [path] => Shown::from(path.as_bytes()).to_string(),
        paths => count(paths.len() as u64, "path", "paths"),
    };
    // Writing to a String cannot fail.
    if !report.prefix.is_empty() {
        let _ = write!(what, " of {}", Shown::from(report.prefix.as_str()));
    }
    match &report.tar {
        // Where it went is all that is to be said of the volume.
        Some(tar) => {
            what = Shown::from(tar.as_str()).to_string();
            if into.is_none() {
                let targets = report.volumes.iter().map(|volume| Shown::from(&volume.target).to_string());
                let _ = write!(what, " to {}", targets.collect::<Vec<_>>().join(", "));
            }
        }
        None => drop(write!(what, " from {}", report.id)),
    }
    // The closing files of a damaged one may be lost, and its time with them.
    if report.created != Time::default() {
        let _ = write!(what, " of {} UTC", moment(report.created));
    }
    if let Some(into) = into {
        let _ = write!(what, " into {}", Shown::from(into));
    }
    if report.dry_run {
        let changes = |kind| {
            let of_kind = report.changes.iter().filter(|change| change.kind == kind).count();
            format!("{} {}", verb(kind), number(of_kind as u64))
        };
        let mut kinds = vec![ChangeKind::Create, ChangeKind::Replace, ChangeKind::Remove];
        if report.changes.iter().any(|change| change.kind == ChangeKind::Update) {
            kinds.push(ChangeKind::Update);
        }
        let changes: Vec<String> = kinds.into_iter().map(changes).collect();
        return format!("would restore {what}: {}; nothing was changed", changes.join(", "));
    }
    format!(
        "restored {what}: {}, {} in {}, {}",
        count(report.entries, "entry", "entries"),
        bytes(report.size),
        duration(report.elapsed),
        match &report.tar {
            Some(_) => {
                format!("{}; unchecked, as a tar has no checksums", remarks(report.warning_count, 0))
            }
            None => remarks(report.warning_count, report.unhashed),
        }
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use snapshotter::report::{Change, RestoredVolume, VolumeType};

    use super::*;

    fn report(changes: Vec<Change>) -> RestoreReport {
        let volume =
            RestoredVolume { path: "/a".to_owned(), target: b"/o\xff/a".to_vec(), kind: VolumeType::File };
        RestoreReport {
            tar: None,
            id: "1a2b3c4d".to_owned(),
            prefix: "p".to_owned(),
            created: Time { secs: 1_795_190_580, nanos: 0 },
            volumes: vec![volume],
            read_only: Vec::new(),
            entries: 1,
            size: 5,
            unhashed: 5,
            warning_count: 0,
            warnings: Vec::new(),
            dry_run: !changes.is_empty(),
            changes,
            skipped: None,
            elapsed: Duration::from_secs(2),
        }
    }

    #[test]
    fn the_summary_names_the_snapshot_its_time_and_where_it_went() {
        let expected = "restored 1 volume of p from 1a2b3c4d of 2026-11-20 16:03:00 UTC into o: 1 entry, 5 \
            bytes in 2.0 s, 0 warnings; 5 bytes carry no content checksum";
        assert_eq!(summary(&report(Vec::new()), Some(Path::new("o")), &[]), expected);
        let [one, two] = [vec!["/a/b\n".into()], vec!["/a/b".into(), "/a/c".into()]]
            .map(|paths: Vec<OsString>| summary(&report(Vec::new()), None, &paths));
        assert!(one.starts_with("restored /a/b\\x0a of p from "), "{one}");
        assert!(two.starts_with("restored 2 paths of p from "), "{two}");
    }

    #[test]
    fn a_dry_run_says_what_would_change_and_that_nothing_did() {
        let changes = vec![
            Change { kind: ChangeKind::Remove, path: b"/a".to_vec() },
            Change { kind: ChangeKind::Remove, path: b"/b\xff".to_vec() },
        ];
        let report = report(changes);
        let line = summary(&report, None, &[]);
        assert!(line.starts_with("would restore 1 volume of p from 1a2b3c4d of "), "{line}");
        assert!(line.ends_with(": create 0, replace 0, remove 2; nothing was changed"), "{line}");
        let text = serde_json::to_value(&report).unwrap();
        assert_eq!(text["changes"][1], serde_json::json!({"change": "remove", "path": "/b\\xff"}));
        assert_eq!(text["volumes"][0]["target"], "/o\\xff/a");
    }
}
