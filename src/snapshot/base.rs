//! The earlier snapshots that have members of a later one, which that refers to instead of storing them again.

use serde::{Deserialize, Serialize};

/// Such a snapshot, as `snapshot.json` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BaseItem {
    /// Its ID.
    pub(crate) id: String,
    /// How many bytes its `.snapshot-begin` lies before that of the snapshot that needs it.
    pub(crate) back: u64,
}

/// Such a snapshot, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) id: String,
    /// Offset of its first member.
    pub(crate) start: u64,
    /// Offset of its `snapshot.json`; as long as that was not looked for, its start.
    pub(crate) close: u64,
    /// How many members it was closed with, and their digest, where these were not held against its members yet.
    pub(crate) closed_with: Option<(u64, String)>,
}

impl Base {
    /// `None` where that would be outside of the archive.
    pub(crate) fn of(item: BaseItem, start: u64) -> Option<Self> {
        let at = start.checked_sub(item.back).filter(|&at| at < start)?;
        Some(Base { id: item.id, start: at, close: at, closed_with: None })
    }

    /// Whether it was found.
    pub(crate) fn is_there(&self) -> bool {
        self.close > self.start
    }

    /// Whether a member may begin at `offset`.
    pub(crate) fn has(&self, offset: u64) -> bool {
        (self.start..self.close).contains(&offset)
    }
}
