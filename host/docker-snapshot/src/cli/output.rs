//! What is written where: results to stdout, all else to stderr, each line in one write so that lines of
//! several programs never mix.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Context;
use clap::builder::StyledStr;
use serde::Serialize;

/// Prints `value` as the one JSON object of a command.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_line(serde_json::to_string(value).context("cannot write JSON")?)
}

/// Prints lines of a command's result. That nobody reads them any longer is no error: `volumes | head`.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print_line(line: impl Display) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Says `text` to the user, on stderr.
pub(crate) fn say(text: &str) {
    to_stderr(&format!("docker-snapshot: {}\n", one_line(text)));
}

/// Shows the help of a command line that asked for nothing.
pub(crate) fn help(help: &StyledStr) {
    to_stderr(&if io::stderr().is_terminal() { help.ansi().to_string() } else { help.to_string() });
}

/// A failure of which all has been said.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
pub(crate) struct Told;

/// `text` with every control character escaped: names come from outside, and a terminal obeys what it is
/// sent.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Writes to stderr. There is nobody to tell when that fails.
fn to_stderr(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_never_sent_what_a_name_has_in_it() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc\u{7f}\u{9b}é"), "a\\u{1b}[2Jb\\nc\\u{7f}\\u{9b}é");
    }
}
