//! What a run says while it goes on, and how it ends.

use serde::{Deserialize, Serialize};

use crate::observer::Phase;
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    pub error: Option<Failure>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done, to what, and why it failed: one line.
    pub message: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}
