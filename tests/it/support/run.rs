//! A command that ran: what it said, how it ended, how long it took.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing in these tests takes so long unless it hangs, on a machine with much else to do either.
pub(crate) const HANGS: Duration = Duration::from_mins(10);

pub(crate) struct Run {
    shown: String,
    output: Output,
    pub(crate) took: Duration,
}

impl Run {
    /// Runs a command to its end; one that hangs is killed.
    pub(crate) fn of(command: Command) -> Run {
        let shown = format!("{command:?}");
        let start = Instant::now();
        let output = assert_cmd::Command::from_std(command).timeout(HANGS).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
        Run { shown, output, took: start.elapsed() }
    }

    /// A command that was started before, and has ended.
    pub(crate) fn ended(shown: &str, output: Output) -> Run {
        Run { shown: shown.to_owned(), output, took: Duration::ZERO }
    }

    /// The exit code; none after a signal.
    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Its result, which must be the only thing on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.output.stdout)
            .unwrap_or_else(|error| panic!("stdout is no JSON: {error}\n{self}"))
    }

    /// The lines on stderr that are no warnings.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let lines = self.stderr();
        lines.lines().filter(|line| !line.contains("warning: ")).map(str::to_owned).collect()
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Run {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Run {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// It did what it was asked to, and complained of nothing but lines with one of these words.
    #[track_caller]
    pub(crate) fn silent_but_for(self, words: &[&str]) -> Run {
        let run = self.ok();
        let stderr = run.stderr();
        let rest: Vec<_> =
            stderr.lines().filter(|line| !words.iter().any(|word| line.contains(word))).collect();
        assert!(rest.is_empty(), "{run}");
        run
    }

    #[track_caller]
    pub(crate) fn silent(self) -> Run {
        self.silent_but_for(&[])
    }

    /// Says each of these words on stderr.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Run {
        for word in words {
            assert!(self.stderr().contains(word), "stderr does not say {word:?}\n{self}");
        }
        self
    }

    /// Prints each of these words on stdout.
    #[track_caller]
    pub(crate) fn prints(self, words: &[&str]) -> Run {
        for word in words {
            assert!(self.stdout().contains(word), "stdout does not have {word:?}\n{self}");
        }
        self
    }

    /// Says none of these words on stderr.
    #[track_caller]
    pub(crate) fn says_not(self, words: &[&str]) -> Run {
        for word in words {
            assert!(!self.stderr().contains(word), "stderr says {word:?}\n{self}");
        }
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stdout: String = self.stdout().chars().take(4000).collect();
        write!(
            f,
            "{}\n{} after {:?}\n--- stdout\n{stdout}\n--- stderr\n{}",
            self.shown,
            self.output.status,
            self.took,
            self.stderr()
        )
    }
}
