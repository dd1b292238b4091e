//! What can fail, one variant for each operation, and what a user can do about it. A message is lowercase and
//! never repeats its source; [`Error::advice`] comes after both. No message holds a password.

use std::io;
use std::path::PathBuf;

use crate::database::Kind;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address of a database that cannot be used. It is not shown, as it may hold a password.
    #[error("cannot use the database's address: {problem}")]
    Address {
        /// What is wrong with it.
        problem: String,
    },
    /// None of the programs that can do it is where they run.
    #[error("cannot find {} {place}", tried.join(" or "))]
    NoProgram {
        /// The programs, best first.
        tried: Vec<String>,
        /// Where they would run.
        place: String,
    },
    /// A program cannot be started.
    #[error("cannot run {program} {place}")]
    Start {
        /// The program.
        program: String,
        /// Where.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("cannot {action}: {program} {end}{}", ending(said))]
    Program {
        /// What was to be done.
        action: String,
        /// The program.
        program: String,
        /// How it ended: `exited with 1`.
        end: String,
        /// The end of its stderr.
        said: String,
    },
    /// A program that should answer at once did not.
    #[error("cannot {action}: {program} has not answered within {seconds} s")]
    NoAnswer {
        /// What was to be done.
        action: String,
        /// The program.
        program: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A program's answer makes no sense.
    #[error("cannot {action}: {program} answers {answer:?}")]
    Answer {
        /// What was to be done.
        action: String,
        /// The program.
        program: String,
        /// The beginning of what it wrote.
        answer: String,
    },
    /// The client is older than the server, or of another make.
    #[error("cannot use {client} with a server of {server}: {problem}")]
    Mismatch {
        /// The program and its version.
        client: String,
        /// The server's version.
        server: String,
        /// Why they do not go together.
        problem: &'static str,
    },
    /// The dump cannot be read.
    #[error("cannot read the dump")]
    Read(#[source] io::Error),
    /// What is dumped cannot be written.
    #[error("cannot write the dump")]
    Write(#[source] io::Error),
    /// A dump that is cut short, damaged, or none.
    #[error("the dump is not a whole {}: {problem}", kind.dump())]
    Damaged {
        /// What it was taken for.
        kind: Kind,
        /// What is wrong with it.
        problem: String,
    },
    /// A database that others use, where that is not allowed.
    #[error("cannot restore {database}: {users}")]
    InUse {
        /// The database.
        database: String,
        /// Who uses it.
        users: String,
    },
    /// A restore that is refused before anything is changed.
    #[error("cannot restore {database}: {problem}")]
    Refused {
        /// The database.
        database: String,
        /// Why.
        problem: String,
        /// What helps.
        advice: String,
    },
    /// A restore failed when it had begun to change what was, and that could not be undone.
    #[error("cannot put back {database} as it was: {problem}")]
    HalfWay {
        /// The database.
        database: String,
        /// What is where.
        problem: String,
        /// What failed first.
        #[source]
        source: Box<Error>,
    },
    /// A file or directory cannot be used.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was to be done.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `SQLite` failed.
    #[error("cannot {action} {}", path.display())]
    Sqlite {
        /// What was to be done.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl Error {
    /// What helps, where that is known.
    pub fn advice(&self) -> Option<&str> {
        match self {
            Error::NoProgram { .. } => {
                Some("run it in the database's own container, or install the database's client programs")
            }
            Error::Mismatch { .. } => Some(
                "run it in the database's own container, where client and server fit, or install the client \
                 of the server's version",
            ),
            Error::Damaged { .. } => Some("nothing was restored from it; take an older dump"),
            Error::InUse { .. } => Some("stop what uses it, or allow its connections to be ended"),
            Error::Refused { advice, .. } => Some(advice),
            Error::Sqlite { source, .. } => match source.sqlite_error_code()? {
                rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly => Some(
                    "SQLite must be able to write to its directory; if an application was killed while it \
                     wrote, start that once",
                ),
                rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt => {
                    Some("to restore it, move it away with its -wal and -journal files, and try again")
                }
                _ => None,
            },
            _ => None,
        }
    }
}

fn ending(said: &str) -> String {
    if said.is_empty() { " and said nothing".to_owned() } else { format!(": {said}") }
}
