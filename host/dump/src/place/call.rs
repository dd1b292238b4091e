//! What is to be run. What is secret is neither an argument nor printed.

use secrecy::{ExposeSecret, SecretString};

/// A program, what it is given, and what it may read.
#[derive(Debug)]
pub struct Call {
    /// The program's name, looked for where it runs.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// Variables of its environment, beside those that the place has.
    pub environment: Vec<(String, SecretString)>,
    /// Whether it reads what we write to its stdin; otherwise stdin is empty.
    pub reads: bool,
    hidden: Vec<SecretString>,
}

/// An argument of a program.
#[derive(Debug)]
pub enum Argument {
    /// As it stands.
    Plain(String),
    /// `before` and the path of a file with `content`, which the program's user alone can read and which is
    /// gone when the program is.
    File {
        /// What comes before the path: `--defaults-extra-file=`.
        before: String,
        /// The file's content.
        content: SecretString,
    },
}

impl Call {
    /// `program` with these arguments.
    pub fn new<A: Into<String>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments = arguments.into_iter().map(|argument| Argument::Plain(argument.into())).collect();
        Call { program: program.into(), arguments, environment: Vec::new(), reads: false, hidden: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(Argument::Plain(argument.into()));
        self
    }

    /// Adds a file as an argument.
    #[must_use]
    pub fn file(mut self, before: &str, content: SecretString) -> Self {
        self.arguments.push(Argument::File { before: before.into(), content });
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// What the program may know and nobody else, if it should print it.
    #[must_use]
    pub fn hiding(mut self, secret: Option<&SecretString>) -> Self {
        self.hidden.extend(secret.cloned());
        self
    }

    /// The program reads stdin.
    #[must_use]
    pub fn reading(mut self) -> Self {
        self.reads = true;
        self
    }

    /// What a program said, without secrets and without what would move a terminal's cursor.
    pub(crate) fn redact(&self, said: &[u8]) -> String {
        let mut said = String::from_utf8_lossy(said).into_owned();
        for secret in self.hidden.iter().map(ExposeSecret::expose_secret).filter(|secret| !secret.is_empty())
        {
            said = said.replace(secret, "***");
        }
        let lines: Vec<_> = said.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join("; ").replace(char::is_control, " ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        let secret = SecretString::from("hunter2");
        let call = Call::new("x", ["-h"]).variable("PW", "hunter2").file("-f", secret.clone());
        let call = call.hiding(Some(&secret));
        assert!(!format!("{call:?}").contains("hunter2"), "{call:?}");
        assert_eq!(call.redact(b"bad password hunter2\x1b[2J\n\n ok \n"), "bad password *** [2J; ok");
    }
}
