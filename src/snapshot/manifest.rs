//! `snapshot.json`, the close of a snapshot: what was taken, when, by which version, how much, with which warnings.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::observer::{Run, Warning};
use crate::volume::VolumeType;

/// The version of the format that this program writes and reads.
pub(crate) const FORMAT: u32 = 1;
/// How many warnings are kept in full, and how many bytes of them.
const MAX_WARNINGS: usize = 1000;
const MAX_WARNING_BYTES: usize = 1 << 20;

/// A volume of a snapshot, as `snapshot.json` and `--json` have it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotVolume {
    /// Its absolute path where it was backed up.
    pub path: String,
    /// What it was.
    #[serde(rename = "type")]
    pub kind: VolumeType,
    /// How many members it has.
    pub entries: u64,
    /// How many bytes its files have, holes included.
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) program: String,
    pub(crate) created: String,
    pub(crate) prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    pub(crate) volumes: Vec<SnapshotVolume>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exclude: Vec<String>,
    /// From `.snapshot-begin`, counted, to this member, not counted.
    pub(crate) members: u64,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) size: u64,
    pub(crate) unhashed: u64,
    pub(crate) warning_count: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<Warning>,
    pub(crate) digest: String,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Strings and numbers only: this cannot fail.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// # Errors
    /// The reason, when it is malformed or of a later format.
    pub(crate) fn decode(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let malformed = |error| format!("snapshot.json is malformed: {error}");
        let version: Version = serde_json::from_slice(text).map_err(malformed)?;
        if version.format != FORMAT {
            return Err(format!(
                "this snapshot has format {}, and this program knows {FORMAT}: use a newer one",
                version.format
            ));
        }
        serde_json::from_slice(text).map_err(malformed)
    }
}

/// The warnings of a run: all are counted, the first ones are kept.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    pub(crate) count: u64,
    pub(crate) kept: Vec<Warning>,
    bytes: usize,
}

impl Warnings {
    pub(crate) fn push(&mut self, warning: Warning) {
        self.count += 1;
        self.bytes += warning.path.len() + warning.reason.len();
        if self.kept.len() < MAX_WARNINGS && self.bytes <= MAX_WARNING_BYTES {
            self.kept.push(warning);
        }
    }

    /// Tells the observer and keeps the warning, or fails when strict.
    pub(crate) fn warn(&mut self, run: &Run, path: &[u8], reason: impl Into<String>) -> Result<()> {
        self.push(run.warn(path, reason)?);
        Ok(())
    }
}
