//! The table of docs/reliability.md: which call, which error, and what came of it. It is written by a run of
//! everything, and every other run is held against it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use crate::support::tracer::How;

/// Where the table begins and ends.
const FROM: &str = "<!-- The table that `SNAPSHOTTER_FAULTS=all` writes. -->\n";
const TO: &str = "<!-- Its end. -->\n";
const HEAD: &str = "| call | error | backup | restore | restore --in-place |\n|---|---|---|---|---|\n";

/// By which of these the C library gets memory depends on where the heap begins.
const MEMORY: [&str; 3] = ["brk", "mmap", "mremap"];

/// What the commands made of an error, in words.
type Cells = [BTreeSet<String>; 3];

/// For each call and error.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<(String, String), Cells>);

impl Table {
    /// One more outcome, of a command by its number.
    pub(crate) fn add(&mut self, command: usize, call: &str, how: How, outcome: &str) {
        let (call, error) = match how {
            How::Fails(errno) => (call, format!("{errno:?}")),
            How::Short => (call, "less than asked for".to_owned()),
            How::Meets(signal) => ("any", signal.as_str().to_owned()),
            How::FailsFromHere(errno) => ("any, and all later ones", format!("{errno:?}")),
        };
        let names = if MEMORY.contains(&call) { &MEMORY } else { std::slice::from_ref(&call) };
        for name in names {
            let cells = self.0.entry(((*name).to_owned(), error.clone())).or_default();
            cells[command].insert(outcome.to_owned());
        }
    }

    /// The outcomes that the other table does not have. What is done may be so with a second call or without.
    pub(crate) fn unknown_to(&self, other: &Table) -> Vec<String> {
        let none = Cells::default();
        let mut all = Vec::new();
        for (key, cells) in &self.0 {
            for (command, (ours, theirs)) in cells.iter().zip(other.0.get(key).unwrap_or(&none)).enumerate() {
                let is_done = |outcome: &String| ["done", "retried"].contains(&outcome.as_str());
                let missing = ours.difference(theirs);
                let missing = missing.filter(|outcome| !is_done(outcome) || !theirs.iter().any(is_done));
                all.extend(missing.map(|outcome| format!("{key:?}, command {command}: {outcome}")));
            }
        }
        all
    }

    /// The one in the documentation.
    pub(crate) fn read() -> Table {
        let text = std::fs::read_to_string(page()).unwrap();
        let (_, behind) = text.split_once(FROM).unwrap();
        let rows = behind.split_once(TO).unwrap().0.strip_prefix(HEAD).unwrap();
        let mut table = Table::default();
        for row in rows.lines() {
            let fields: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [names, errors, outcomes @ ..] = fields.as_slice() else { panic!("{row}") };
            let cells: Cells = std::array::from_fn(|command| {
                let outcomes = outcomes[command].split(", ").filter(|outcome| *outcome != "–");
                outcomes.map(str::to_owned).collect()
            });
            for call in names.split("`, `").map(|call| call.trim_matches('`')) {
                for error in errors.split(", ") {
                    table.0.insert((call.to_owned(), error.to_owned()), cells.clone());
                }
            }
        }
        table
    }

    /// Puts this one into the documentation.
    pub(crate) fn write(&self) {
        let text = std::fs::read_to_string(page()).unwrap();
        let (before, behind) = text.split_once(FROM).unwrap();
        let (_, behind) = behind.split_once(TO).unwrap();
        std::fs::write(page(), format!("{before}{FROM}{HEAD}{}{TO}{behind}", self.rows())).unwrap();
    }

    /// Of a call the errors with the same outcomes stand in one row, and then the calls with the same of these.
    fn rows(&self) -> String {
        let mut errors: BTreeMap<(&str, &Cells), Vec<&str>> = BTreeMap::new();
        for ((call, error), cells) in &self.0 {
            errors.entry((call, cells)).or_default().push(error);
        }
        let mut calls: BTreeMap<(Vec<&str>, &Cells), Vec<&str>> = BTreeMap::new();
        for ((call, cells), errors) in errors {
            calls.entry((errors, cells)).or_default().push(call);
        }
        let mut rows: Vec<_> =
            calls.into_iter().map(|((errors, cells), calls)| (calls, errors, cells)).collect();
        rows.sort_unstable();
        let mut text = String::new();
        for (calls, errors, cells) in rows {
            let calls: Vec<_> = calls
                .iter()
                .map(|call| if call.starts_with("any") { (*call).to_owned() } else { format!("`{call}`") })
                .collect();
            write!(text, "| {} | {} |", calls.join(", "), errors.join(", ")).unwrap();
            for outcomes in cells {
                let outcomes: Vec<_> = outcomes.iter().map(String::as_str).collect();
                let outcomes = if outcomes.is_empty() { "–".to_owned() } else { outcomes.join(", ") };
                write!(text, " {outcomes} |").unwrap();
            }
            text.push('\n');
        }
        text
    }
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md")
}
