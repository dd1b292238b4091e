//! What a run says while it goes on, and how it ends.

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::Hint;
use crate::observer::Phase;
use crate::report::backed_up::BackupReport;
use crate::snapshot::catalog::Problem;
use crate::warning::Warning;

/// One line that `snapshotter --events json` writes to stderr.
///
/// ```
/// use snapshotter::report::{Event, Phase};
///
/// let event: Event = serde_json::from_str(r#"{"event":"begin","phase":"restoring","bytes":4096}"#)?;
/// assert_eq!(event, Event::Begin { phase: Phase::Restoring, bytes: Some(4096) });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Event {
    /// A phase begins; the one before has ended.
    Begin {
        /// What the run is busy with now.
        phase: Phase,
        /// How many bytes it will handle, where that is known.
        bytes: Option<u64>,
    },
    /// What was handled since the phase began. The last one of a phase has all of it.
    Progress {
        /// How many members.
        files: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// With `--verbose`: a member was stored, restored or checked.
    Member {
        /// Its name in the archive, or its path.
        #[serde(with = "crate::name::serial")]
        name: Vec<u8>,
    },
    /// Something was not done as asked, or not kept.
    Warning(Warning),
    /// Something worth a line, and in order.
    Note {
        /// What.
        text: String,
    },
    /// `verify` found something wrong.
    Problem(Problem),
    /// With `--json`, what a backup did whose archive went to stdout.
    Report(Box<BackupReport>),
    /// The run is over. This is the last event, and each run has one.
    End(End),
    /// An event that a later version writes.
    #[serde(other)]
    Unknown,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Whether all was done, so that the exit code is 0.
    pub ok: bool,
    /// The program's exit code.
    pub exit_code: u8,
    /// What went wrong, unless all was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// What was being done, to what, and why it failed: one line.
    pub message: String,
    /// What to do about it, where that is known: as data, for a program that has words of its own. `None` too
    /// where a later version wrote a hint that this one does not know.
    #[serde(default, deserialize_with = "known")]
    pub hint: Option<Hint>,
    /// The same in words, which name the flags of the program and of `docker run`.
    pub advice: Option<String>,
}

fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Hint>, D::Error> {
    let hint = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(hint).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_later_versions_write_is_read_as_far_as_it_is_known() {
        let read = |text: &str| serde_json::from_str::<Event>(text).unwrap();
        assert_eq!(read(r#"{"event":"moon","phase":"full"}"#), Event::Unknown);
        let failed = |hint: &str| {
            let Event::End(end) = read(&format!(
                r#"{{"event":"end","ok":false,"exit_code":1,"error":{{"message":"m","hint":{hint},"advice":null}}}}"#
            )) else {
                panic!("another event")
            };
            end.error.unwrap().hint
        };
        assert_eq!(failed(r#"{"hint":"make-room"}"#), Some(Hint::MakeRoom));
        assert_eq!((failed(r#"{"hint":"make-cheese"}"#), failed("null")), (None, None));
    }
}
