//! The parts of `--json` that several commands share. Names go through [`json`], and so every byte of them can be had
//! back.

use serde::Serialize;
use snapshotter::Problem;
use snapshotter::name::json;
use snapshotter::observer::Warning;

/// A warning.
#[derive(Debug, Serialize)]
pub(crate) struct JsonWarning {
    path: String,
    reason: String,
}

impl JsonWarning {
    /// From a path that is escaped already, as a snapshot keeps it.
    pub(crate) fn escaped(path: &str, reason: &str) -> Self {
        JsonWarning { path: path.to_owned(), reason: reason.to_owned() }
    }
}

impl From<&Warning> for JsonWarning {
    fn from(warning: &Warning) -> Self {
        JsonWarning { path: json(&warning.path), reason: warning.reason.clone() }
    }
}

/// Something that is wrong in an archive.
#[derive(Debug, Serialize)]
pub(crate) struct JsonProblem {
    offset: u64,
    reason: String,
}

impl From<&Problem> for JsonProblem {
    fn from(problem: &Problem) -> Self {
        JsonProblem { offset: problem.offset, reason: problem.reason.clone() }
    }
}

/// Each of `items` in its JSON form.
pub(crate) fn all<'a, T: 'a, J: From<&'a T>>(items: &'a [T]) -> Vec<J> {
    items.iter().map(J::from).collect()
}
