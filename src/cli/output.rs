//! What is written where: results to stdout, all else to stderr, each line in one write so that lines of several
//! threads, or of several containers, never mix.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};

use clap::builder::StyledStr;
use serde::Serialize;
use snapshotter::name::Shown;
use snapshotter::{Error, Result};

use crate::cli::hints;

/// The result of a command on its way to stdout. When nobody reads it any longer, it is dropped: `list | head` is no
/// error.
#[derive(Debug)]
pub(crate) struct Output<W: Write> {
    to: W,
    closed: bool,
}

impl Output<BufWriter<StdoutLock<'static>>> {
    /// To stdout.
    pub(crate) fn stdout() -> Self {
        Output::new(BufWriter::new(io::stdout().lock()))
    }
}

impl<W: Write> Output<W> {
    pub(crate) fn new(to: W) -> Self {
        Output { to, closed: false }
    }

    /// Whether nobody reads any longer.
    pub(crate) fn closed(&self) -> bool {
        self.closed
    }

    /// Writes `line` and ends it.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn line(&mut self, line: impl Display) -> Result<()> {
        self.write(format!("{line}\n").as_bytes())
    }

    /// Writes `value` as JSON, on one line and without ending it.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(value).map_err(|error| failure(error.into()))?;
        self.write(&text)
    }

    /// Writes `bytes` as they are.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let written = self.to.write_all(bytes);
        self.check(written)
    }

    /// Sees to it that all is written.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let flushed = self.to.flush();
        self.check(flushed)
    }

    fn check(&mut self, result: io::Result<()>) -> Result<()> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other.map_err(failure),
        }
    }
}

/// stdout cannot be written.
pub(crate) fn failure(source: io::Error) -> Error {
    Error::Io { action: "write to", path: Shown::from("standard output"), source }
}

/// Prints `value` as the one JSON object of a command.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut output = Output::stdout();
    output.json(value)?;
    output.line("")?;
    output.finish()
}

/// Prints one line of a command's result.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print_line(line: impl Display) -> Result<()> {
    let mut output = Output::stdout();
    output.line(line)?;
    output.finish()
}

/// Says `text` to the user, on stderr.
pub(crate) fn say(text: &str) {
    to_stderr(&format!("snapshotter: {}\n", one_line(text)));
}

/// Shows the help of a command line that asked for nothing.
pub(crate) fn help(help: &StyledStr) {
    to_stderr(&if io::stderr().is_terminal() { help.ansi().to_string() } else { help.to_string() });
}

/// Writes to stderr. There is nobody to tell when that fails.
pub(crate) fn to_stderr(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The whole of an error, on one line: each message, the system's own words, then what to do about it.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let words = |link: &(dyn std::error::Error + 'static)| {
        link.downcast_ref().map_or_else(|| link.to_string(), snapshotter::error::reason)
    };
    let hint = error.chain().find_map(|link| link.downcast_ref::<Error>()?.hint());
    let links = error.chain().map(words).chain(hint.map(|hint| hints::words(&hint).into_owned()));
    links.collect::<Vec<_>>().join(": ")
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_and_any_other_failure_is() {
        let mut output = Output::new(Failing(ErrorKind::BrokenPipe));
        output.line("a").unwrap();
        assert!(output.closed());
        output.json(&1).unwrap();
        output.finish().unwrap();
        assert!(Output::new(Failing(ErrorKind::StorageFull)).line("a").is_err());
        assert!(Output::new(Failing(ErrorKind::StorageFull)).finish().is_err());
    }

    #[test]
    fn an_error_is_told_whole_and_its_system_number_is_not() {
        let full = || io::Error::from_raw_os_error(28);
        let error: anyhow::Result<()> = Err(failure(full())).context("the report is lost");
        let told = message(&error.unwrap_err());
        assert_eq!(
            told,
            "the report is lost: cannot write to standard output: No space left on device: make room on that filesystem"
        );
        let error: anyhow::Result<()> = Err(full()).context("cannot handle signals");
        assert_eq!(message(&error.unwrap_err()), "cannot handle signals: No space left on device");
    }

    #[test]
    fn what_is_said_stays_on_one_line_and_drives_no_terminal() {
        assert_eq!(one_line("a\nb\x1b[2J é"), "a b [2J é");
    }
}
