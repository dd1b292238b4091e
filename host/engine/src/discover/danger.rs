//! What may happen to the data of a place, and how that is known.

use serde::Serialize;

/// Something that may happen to the data of a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Danger {
    /// What it is.
    pub kind: DangerKind,
    /// How it is known, and what it leads to.
    pub reason: String,
}

/// What may happen to data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DangerKind {
    /// A volume that nobody named is lost with its container.
    Anonymous,
    /// A volume that no container uses is lost when somebody tidies up.
    Dangling,
    /// A volume in memory is lost when its containers stop.
    Memory,
    /// A container may write while a snapshot is taken.
    Writer,
    /// Several containers may.
    Writers,
    /// A database runs on it: files of different moments do not fit together.
    Database,
}

impl DangerKind {
    /// As a word.
    pub fn word(self) -> &'static str {
        match self {
            DangerKind::Anonymous => "anonymous",
            DangerKind::Dangling => "dangling",
            DangerKind::Memory => "memory",
            DangerKind::Writer => "one writer",
            DangerKind::Writers => "several writers",
            DangerKind::Database => "database",
        }
    }
}
