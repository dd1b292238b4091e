//! `snapshotter list`: the snapshots in an archive. With an ID, its members: see [`members`](super::members).

use std::fmt::Write as _;

use anyhow::bail;
use clap::Args;
use snapshotter::name::Shown;
use snapshotter::report::{ListedSnapshot, Listing};

use crate::cli::members;
use crate::cli::output::{Output, print_json};
use crate::cli::problems::{self, out_of_order, tail_line};
use crate::cli::session::Session;
use crate::cli::units::{bytes, count, moment, number, of_others, unhashed};

/// Shown below the command's help.
pub(crate) const EXAMPLE: &str = "\
Examples:
  docker run --rm -v $PWD/backup.tar:/backup.tar:ro snapshotter list
  snapshotter list --archive backup.tar --prefix volumes/web
  snapshotter list --archive backup.tar 1a2b3c4d";

/// How wide the column of prefixes gets at most; longer ones push the rest to the right.
const MAX_PREFIX: usize = 40;
/// How many patterns of what was excluded are shown.
const MAX_PATTERNS: usize = 10;

/// The arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListCommand {
    /// Show the members of this snapshot: its ID, or the first four digits or more
    pub(crate) id: Option<String>,
}

impl ListCommand {
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<()> {
        if let Some(id) = self.id {
            return members::print(&id, session);
        }
        let options = session.list_options()?;
        let listing = session.watch(|run| snapshotter::list(&options, run))?;
        if session.json() {
            print_json(&listing)?;
        } else {
            let mut output = Output::stdout();
            for line in lines(&listing) {
                output.line(line)?;
            }
            output.finish()?;
        }
        match trouble(&listing) {
            Some(trouble) => bail!(trouble),
            None => Ok(()),
        }
    }
}

/// The first problem, the way out, and how many more there are.
fn trouble(listing: &Listing) -> Option<String> {
    let (first, rest) = listing.problems.split_first()?;
    let way_out = problems::way_out(&listing.problems, listing.tail, !listing.snapshots.is_empty());
    let more = match rest.len() as u64 {
        0 => String::new(),
        more => {
            format!(" (and {}: `snapshotter verify` shows all)", count(more, "more problem", "more problems"))
        }
    };
    Some(format!("{}{more}: {way_out}", problems::line(&Shown::from(&*listing.archive), first)))
}

fn lines(listing: &Listing) -> Vec<String> {
    let mut lines = Vec::new();
    let prefixes: Vec<String> = listing.snapshots.iter().map(|snapshot| prefix(&snapshot.prefix)).collect();
    let width = prefixes.iter().map(|prefix| prefix.chars().count()).max().unwrap_or(0).clamp(6, MAX_PREFIX);
    if !listing.snapshots.is_empty() {
        lines.push(row("ID", "TIME (UTC)", "PREFIX", width, "ENTRIES", "SIZE"));
    }
    for (snapshot, prefix) in listing.snapshots.iter().zip(&prefixes) {
        let (entries, size) = (number(snapshot.entries), bytes(snapshot.size));
        lines.push(row(&snapshot.id, &moment(snapshot.created), prefix, width, &entries, &size));
        lines.extend(details(snapshot).into_iter().map(|detail| format!("{:10}{detail}", "")));
    }
    lines.push(total(listing));
    lines
}

fn row(id: &str, time: &str, prefix: &str, width: usize, entries: &str, size: &str) -> String {
    format!("{id:8}  {time:19}  {prefix:width$}  {entries:>9}  {size:>11}")
}

fn prefix(prefix: &str) -> String {
    if prefix.is_empty() { "\"\"".to_owned() } else { Shown::from(prefix).to_string() }
}

fn details(snapshot: &ListedSnapshot) -> Vec<String> {
    let mut details = Vec::new();
    for volume in &snapshot.volumes {
        details.push(format!(
            "{}: {}, {}, {}",
            Shown::from(volume.path.as_str()),
            volume.kind.name(),
            count(volume.entries, "entry", "entries"),
            bytes(volume.size),
        ));
    }
    if let Some(note) = &snapshot.note {
        details.push(format!("note: {}", Shown::from(note.as_str())));
    }
    if !snapshot.exclude.is_empty() {
        let shown = snapshot.exclude.iter().take(MAX_PATTERNS);
        let mut shown: Vec<String> = shown.map(|pattern| Shown::from(pattern.as_str()).to_string()).collect();
        let more = (snapshot.exclude.len() - shown.len()) as u64;
        shown.extend((more > 0).then(|| format!("and {} more", number(more))));
        details.push(format!("excluded: {}", shown.join(", ")));
    }
    if snapshot.warning_count > 0 {
        details.push(count(snapshot.warning_count, "warning", "warnings"));
    }
    if snapshot.is_go() {
        details.push("written by the Go program, which makes no checksums".to_owned());
    }
    if let Some((newest, others)) = snapshot.bases.split_last() {
        let newest = Shown::from(newest.as_str());
        let more = if others.is_empty() { String::new() } else { format!(" and {} earlier", others.len()) };
        details.push(format!("needs snapshot {newest}{more}, where the rest of it is stored"));
    }
    details.extend(unhashed(snapshot.unhashed));
    details.extend(snapshot.older_than.as_deref().map(out_of_order));
    details.extend(snapshot.refused.as_ref().map(|reason| format!("not for this program: {reason}")));
    details
}

fn total(listing: &Listing) -> String {
    let archive = Shown::from(&*listing.archive);
    let mut line = match listing.snapshots.len() as u64 {
        0 if listing.others == 0 => format!("no snapshots in {archive}"),
        found => format!("{} in {archive}", of_others(found, listing.others)),
    };
    // Writing to a String cannot fail.
    if listing.foreign > 0 {
        let _ = write!(line, ", {}", count(listing.foreign, "foreign member", "foreign members"));
    }
    if let Some(tail) = tail_line(listing.tail) {
        let _ = write!(line, ", {tail}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_below_their_heads_and_long_prefixes_are_not_cut() {
        let head = row("ID", "TIME (UTC)", "PREFIX", 6, "ENTRIES", "SIZE");
        let one = row("1a2b3c4d", "2026-11-20 16:03:00", "p", 6, "12", "3.4 MiB");
        assert_eq!(one, "1a2b3c4d  2026-11-20 16:03:00  p              12      3.4 MiB");
        assert_eq!(head.len(), one.len());
        assert!(row("1a2b3c4d", "", "volumes/busy", 6, "1", "1 byte").contains("volumes/busy  "));
    }

    #[test]
    fn an_empty_prefix_can_be_seen() {
        assert_eq!([prefix(""), prefix("a\nb")], ["\"\"", "a\\x0ab"]);
    }
}
