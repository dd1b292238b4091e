//! All that is written to stderr: what a run says while it goes on, and why it failed. With `--events json`
//! that is an [`Event`] a line, for programs; else it is words, for people. A line is one write, so that
//! those of several threads, or of several containers, never mix.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use clap::builder::StyledStr;
use serde::Serialize;
use snapshotter::Error;
use snapshotter::name::Shown;
use snapshotter::report::{End, Event, RunError};

use crate::cli::hints;

/// How events are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventFormat {
    /// As lines of text
    #[default]
    Text,
    /// As one JSON object a line, for programs
    Json,
}

impl EventFormat {
    /// Writes `event`. In words progress is drawn, and not written here; and a problem
    /// is written where the name of its archive is known.
    pub(crate) fn write(self, event: &Event) {
        if self == EventFormat::Json {
            return object(event);
        }
        match event {
            Event::Warning(warning) => say(&format!("warning: {warning}")),
            Event::Note { text } => say(text),
            Event::Member { name } => to_stderr(&format!("{}\n", Shown::from(name))),
            Event::End(End { error: Some(RunError { message, advice, .. }), .. }) => match advice {
                Some(advice) => say(&format!("{message}: {advice}")),
                None => say(message),
            },
            _ => {}
        }
    }
}

/// Writes `value` as JSON on a line of its own.
pub(crate) fn object(value: &impl Serialize) {
    // Strings and numbers only: this cannot fail.
    let line = serde_json::to_string(value).unwrap_or_default();
    to_stderr(&(line + "\n"));
}

/// Says `text` to the user.
pub(crate) fn say(text: &str) {
    to_stderr(&format!("snapshotter: {}\n", one_line(text)));
}

/// Shows the help of a command line that asked for nothing.
pub(crate) fn help(help: &StyledStr) {
    to_stderr(&if io::stderr().is_terminal() { help.ansi().to_string() } else { help.to_string() });
}

/// There is nobody to report to when this fails.
fn to_stderr(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The whole of an error: each message, the system's own words, and what to do about it.
pub(crate) fn describe(error: &anyhow::Error) -> RunError {
    let words = |link: &(dyn std::error::Error + 'static)| {
        link.downcast_ref().map_or_else(|| link.to_string(), snapshotter::error::reason)
    };
    let message = error.chain().map(words).collect::<Vec<_>>().join(": ");
    let hint = error.chain().find_map(|link| link.downcast_ref::<Error>()?.hint());
    let advice = hint.as_ref().map(|hint| hints::words(hint).into_owned());
    RunError { message: one_line(&message), hint, advice }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use snapshotter::Hint;

    use super::*;
    use crate::cli::output::failure;

    #[test]
    fn an_error_is_described_whole_and_its_system_number_is_not() {
        let full = || io::Error::from_raw_os_error(28);
        let error: anyhow::Result<()> = Err(failure(full())).context("the report is lost");
        let described = describe(&error.unwrap_err());
        assert_eq!(
            described.message,
            "the report is lost: cannot write to standard output: No space left on device"
        );
        assert_eq!(described.hint, Some(Hint::MakeRoom));
        assert_eq!(described.advice.as_deref(), Some("make room on that filesystem"));
        let error: anyhow::Result<()> = Err(full()).context("cannot handle signals");
        let described = describe(&error.unwrap_err());
        assert_eq!(described.message, "cannot handle signals: No space left on device");
        assert_eq!((described.hint, described.advice), (None, None));
    }

    #[test]
    fn what_is_said_stays_on_one_line_and_drives_no_terminal() {
        assert_eq!(one_line("a\nb\x1b[2J é"), "a b [2J é");
    }
}
