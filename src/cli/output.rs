//! The result of a command, on its way to stdout. All else goes to [`stderr`](super::stderr).

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use serde::Serialize;
use snapshotter::name::Shown;
use snapshotter::{Error, Result};

/// A result. When nobody reads it any longer, it is dropped: `list | head` is no error.
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

#[cfg(test)]
mod tests {
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
}
