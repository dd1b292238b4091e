//! `snapshotter verify`: reads the whole archive, and says what was checked, what could not be, and what is
//! wrong.

use anyhow::bail;
use clap::Args;
use snapshotter::name::Shown;
use snapshotter::report::{Tail, Verification, Verified};

use crate::cli::output::{Output, print_json};
use crate::cli::problems::{self, out_of_order, tail_line};
use crate::cli::session::Session;
use crate::cli::units::{bytes, count, duration, number, of_others};

/// Shown below the command's help.
pub(crate) const EXAMPLE: &str = "\
Examples:
  docker run --rm -v $PWD/backup.tar:/backup.tar:ro snapshotter verify
  snapshotter verify --archive backup.tar
  snapshotter verify --archive backup.tar --prefix volumes/web --volume /srv/web";

/// The arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyCommand {
    /// Check this snapshot alone: its ID, or the first four digits or more
    pub(crate) id: Option<String>,
}

impl VerifyCommand {
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<()> {
        let mut options = session.list_options()?;
        options.filter.id = self.id;
        let found = session.watch(|run| snapshotter::verify(&options, run))?;
        if session.json() {
            print_json(&found)?;
        } else if !session.quiet() {
            let mut output = Output::stdout();
            for line in lines(&found) {
                output.line(line)?;
            }
            output.finish()?;
        }
        if found.ok {
            return Ok(());
        }
        let archive = Shown::from(&*found.archive);
        for problem in &found.problems {
            session.problem(&archive, problem);
        }
        bail!(verdict(&found))
    }
}

fn verdict(found: &Verification) -> String {
    let whole = found.snapshots.iter().filter(|snapshot| snapshot.ok).count();
    let refused = found.snapshots.iter().filter(|snapshot| snapshot.refused.is_some()).count() as u64;
    if found.problems.is_empty() && whole == found.snapshots.len() {
        return format!(
            "{}: nothing is damaged, but only a newer version can vouch for {}",
            Shown::from(&*found.archive),
            count(refused, "snapshot", "snapshots")
        );
    }
    let damaged = match (found.snapshots.len() - whole) as u64 {
        0 => String::new(),
        damaged => format!(", {}", count(damaged, "damaged snapshot", "damaged snapshots")),
    };
    let found_problems = count(found.problems.len() as u64, "problem", "problems");
    // What follows the end is not to be cut off when there are snapshots in it.
    let has_snapshot_after = |at| found.snapshots.iter().any(|snapshot| snapshot.offset >= at);
    let tail = match found.tail {
        Tail::Foreign(at) if has_snapshot_after(at) => Tail::Nothing,
        tail => tail,
    };
    let way_out = problems::way_out(&found.problems, tail, whole > 0);
    let archive = Shown::from(&*found.archive);
    format!("{archive} is not sound: {found_problems}{damaged}: {way_out}")
}

fn lines(found: &Verification) -> Vec<String> {
    let mut lines: Vec<String> = found.snapshots.iter().flat_map(snapshot_lines).collect();
    let entries: u64 = found.snapshots.iter().map(|snapshot| snapshot.sound).fold(0, u64::saturating_add);
    lines.push(format!(
        "verified {}: {}, {}, {} checked in {}",
        Shown::from(&*found.archive),
        of_others(found.snapshots.len() as u64, found.others),
        count(entries, "entry", "entries"),
        bytes(found.bytes()),
        duration(found.elapsed),
    ));
    let unchecked = not_checked(found);
    if !unchecked.is_empty() {
        lines.push(format!("not checked: {}", unchecked.join("; ")));
    }
    lines.extend(tail_line(found.tail));
    lines
}

fn snapshot_lines(snapshot: &Verified) -> Vec<String> {
    let prefix = if snapshot.prefix.is_empty() { "\"\"" } else { snapshot.prefix.as_str() };
    let mut lines = vec![format!(
        "{:7}  {}  {}: {}, {} checked",
        match (snapshot.ok, &snapshot.refused) {
            (false, _) => "DAMAGED",
            (true, Some(_)) => "UNKNOWN",
            (true, None) => "ok",
        },
        snapshot.id,
        Shown::from(prefix),
        if snapshot.ok { all(snapshot.sound) } else { sound(snapshot.sound, snapshot.entries) },
        bytes(snapshot.checked),
    )];
    lines.extend(snapshot.refused.as_ref().map(|reason| format!("{:9}{reason}", "")));
    lines.extend(snapshot.older_than.as_ref().map(|later| format!("{:9}{}", "", out_of_order(later))));
    for volume in snapshot.volumes.iter().filter(|_| !snapshot.ok) {
        let sound = sound(volume.sound, volume.entries);
        lines.push(format!("{:9}{}: {sound}", "", Shown::from(volume.path.as_str())));
    }
    lines
}

fn all(entries: u64) -> String {
    count(entries, "entry", "entries")
}

/// How many entries are left.
fn sound(sound: u64, entries: Option<u64>) -> String {
    match entries {
        Some(entries) => format!("{} of {} sound", number(sound), all(entries)),
        None => format!("{} sound, and how many there were is lost", all(sound)),
    }
}

fn not_checked(found: &Verification) -> Vec<String> {
    let unhashed: u64 = found.snapshots.iter().map(|snapshot| snapshot.unhashed).sum();
    // One of ours has a checksum at least over its close.
    let without = found.snapshots.iter().filter(|snapshot| snapshot.checked == 0).count() as u64;
    let mut parts = Vec::new();
    if unhashed > 0 {
        parts.push(format!("{} of content without a checksum", bytes(unhashed)));
    }
    if without > 0 {
        let snapshots = count(without, "snapshot", "snapshots");
        parts
            .push(format!("names and attributes in {snapshots} of the Go program, which makes no checksums"));
    }
    if found.foreign > 0 {
        parts.push(count(found.foreign, "foreign member", "foreign members"));
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use snapshotter::report::{Problem, VerifiedVolume};

    use super::*;

    fn found() -> Verification {
        let snapshot = |id: &str, ok, checked, unhashed| Verified {
            id: id.to_owned(),
            prefix: "p".to_owned(),
            ok,
            refused: None,
            older_than: None,
            offset: 512,
            entries: Some(12),
            sound: if ok { 12 } else { 11 },
            volumes: vec![VerifiedVolume { path: "/v".to_owned(), entries: None, sound: 11 }],
            checked,
            unhashed,
        };
        Verification {
            archive: "/backup.tar".into(),
            ok: true,
            snapshots: vec![snapshot("1a2b3c4d", true, 1 << 20, 2048), snapshot("99999999", true, 0, 0)],
            others: 0,
            foreign: 3,
            tail: Tail::Remains(1536),
            problems: Vec::new(),
            elapsed: Duration::from_millis(400),
        }
    }

    #[test]
    fn what_was_checked_and_what_could_not_be_is_said() {
        assert_eq!(
            lines(&found()),
            [
                "ok       1a2b3c4d  p: 12 entries, 1.0 MiB checked",
                "ok       99999999  p: 12 entries, 0 bytes checked",
                "verified /backup.tar: 2 snapshots, 24 entries, 1.0 MiB checked in 0.4 s",
                "not checked: 2.0 KiB of content without a checksum; names and attributes in 1 snapshot of \
                 the Go program, which makes no checksums; 3 foreign members",
                "1.5 KiB left behind the end by a killed backup: the next backup cuts them",
            ]
        );
    }

    #[test]
    fn damage_is_named_counted_and_makes_the_archive_unsound() {
        let mut found = found();
        (found.ok, found.snapshots[0].ok) = (false, false);
        found.problems.push(Problem { offset: 512, reason: "r".to_owned() });
        found.snapshots[0].sound = 11;
        assert_eq!(
            lines(&found)[..2],
            [
                "DAMAGED  1a2b3c4d  p: 11 of 12 entries sound, 1.0 MiB checked",
                "         /v: 11 entries sound, and how many there were is lost"
            ]
        );
        let verdict = verdict(&found);
        assert!(
            verdict.starts_with("/backup.tar is not sound: 1 problem, 1 damaged snapshot: keep it"),
            "{verdict}"
        );
        let text = serde_json::to_value(&found).unwrap();
        assert_eq!((&text["ok"], &text["remains"]), (&false.into(), &1536.into()));
    }
}
