//! `snapshot.json`, the close of a snapshot: what was taken, when, by which version, how much, with which
//! warnings.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::name::Shown;
use crate::observer::{Run, Warning};
use crate::snapshot::base::BaseItem;
use crate::volume::VolumeType;

/// The format of a snapshot that needs nothing of its reader: what this program writes.
pub(crate) const FORMAT: u32 = 1;
/// The newest format that this program knows. It is the first one, with `needs`, and has another number
/// because version 1.0.0 of this program refuses every number but 1, and does not know `needs`.
pub(crate) const NEWEST_FORMAT: u32 = 2;
/// The needs of a snapshot that has an index, and of one in which content has its checksum there.
pub(crate) const NEEDS_INDEX: &str = "index";
pub(crate) const NEEDS_LATE: &str = "late-checksums";
/// And of one that has members in earlier snapshots alone.
pub(crate) const NEEDS_REFERENCES: &str = "references";
/// What this program can do of that which a snapshot may need.
const KNOWN_NEEDS: [&str; 3] = [NEEDS_INDEX, NEEDS_LATE, NEEDS_REFERENCES];
/// How many needs are named at most.
const MAX_SHOWN: usize = 5;
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

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// What a program must know to restore the snapshot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) needs: Vec<String>,
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
    /// Whether the caches of the volumes' filesystems were written to disk after `created`, and before a file was read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) settled: bool,
    /// Where the last part of its index begins, in bytes from `.snapshot-begin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<u64>,
    /// The earlier snapshots that have members of it, in the archive's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) bases: Vec<BaseItem>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Strings and numbers only: this cannot fail.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Of a format that this program does not know, only what says which snapshot it is.
    ///
    /// # Errors
    /// The reason, when it is malformed.
    pub(crate) fn decode(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Opening {
            format: u32,
            #[serde(default)]
            program: String,
            #[serde(default)]
            created: String,
            #[serde(default)]
            prefix: String,
        }
        let malformed = |error| format!("snapshot.json is malformed: {error}");
        let Opening { format, program, created, prefix } = serde_json::from_slice(text).map_err(malformed)?;
        match format {
            0 => Err("snapshot.json is malformed: its format is 0".to_owned()),
            1..=NEWEST_FORMAT => serde_json::from_slice(text).map_err(malformed),
            _ => Ok(Manifest { format, program, created, prefix, ..Manifest::default() }),
        }
    }

    /// Whether its format is one that this program does not know.
    pub(crate) fn is_later(&self) -> bool {
        self.format > NEWEST_FORMAT
    }

    /// Whether it needs `what`.
    pub(crate) fn needs(&self, what: &str) -> bool {
        self.needs.iter().any(|need| need == what)
    }

    /// Why this program must not restore the snapshot.
    pub(crate) fn refusal(&self) -> Option<String> {
        let is_unknown = |need: &&String| !KNOWN_NEEDS.contains(&need.as_str());
        let unknown: Vec<String> = self.needs.iter().filter(is_unknown).map(|need| quoted(need)).collect();
        let what = match unknown.as_slice() {
            _ if self.is_later() => {
                format!("it has format {}, and this program knows 1 to {NEWEST_FORMAT}", self.format)
            }
            [] => return None,
            unknown => {
                let shown = &unknown[..unknown.len().min(MAX_SHOWN)];
                format!("it needs {}, which this program does not know", shown.join(" and "))
            }
        };
        let writer = match self.program.as_str() {
            "" => String::new(),
            program => format!("{}, which wrote it, or ", Shown::from(program)),
        };
        Some(format!("{what}: use {writer}a newer version"))
    }
}

fn quoted(need: &str) -> String {
    format!("\"{}\"", Shown::from(need))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(more: &str) -> Result<Manifest, String> {
        let text = format!(
            r#"{{"program": "snapshotter 9.1.0", "created": "2030-01-02T03:04:05Z", "prefix": "p", "volumes": [],
            "members": 3, "bytes": 4, "entries": 5, "size": 6, "unhashed": 7, "warning_count": 0, "digest": "d",
            {more}}}"#
        );
        Manifest::decode(text.as_bytes())
    }

    #[test]
    fn what_a_snapshot_needs_is_refused_by_name() {
        for (more, expected) in [
            (r#""format": 1"#, None),
            (r#""format": 2"#, None),
            (r#""format": 2, "needs": []"#, None),
            (r#""format": 1, "digests": {"x": [1]}, "volume": 7"#, None),
            (r#""format": 2, "needs": ["index", "late-checksums", "references"]"#, None),
            (r#""format": 2, "needs": ["pruned"]"#, Some(r#"it needs "pruned", which"#)),
            (r#""format": 1, "needs": ["a\u001b", "b"]"#, Some(r#"it needs "a\x1b" and "b", which"#)),
            (r#""format": 3, "needs": ["a"]"#, Some("it has format 3, and this program knows 1 to 2: use")),
        ] {
            let manifest = decode(more).unwrap();
            let refusal = manifest.refusal();
            match expected {
                None => assert_eq!((refusal, manifest.digest.as_str()), (None, "d"), "{more}"),
                Some(expected) => {
                    let refusal = refusal.unwrap();
                    assert!(refusal.starts_with(expected), "{more}: {refusal}");
                    let way_out = "use snapshotter 9.1.0, which wrote it, or a newer version";
                    assert!(refusal.ends_with(way_out), "{more}: {refusal}");
                }
            }
        }
    }

    #[test]
    fn of_a_later_format_no_field_must_be_there() {
        let manifest = Manifest::decode(br#"{"format": 3, "volumes": "elsewhere", "members": {}}"#).unwrap();
        assert!(manifest.is_later() && manifest.volumes.is_empty());
        assert!(manifest.refusal().unwrap().ends_with("1 to 2: use a newer version"));
    }

    #[test]
    fn what_is_no_manifest_is_malformed() {
        for more in [r#""format": 0"#, r#""format": -1"#, r#""format": 1.5"#, r#""format": 2, "needs": 3"#] {
            assert!(decode(more).unwrap_err().starts_with("snapshot.json is malformed"), "{more}");
        }
        assert!(decode(r#""note": "no format""#).is_err());
    }

    #[test]
    fn a_snapshot_without_needs_is_written_as_ever() {
        let text = String::from_utf8(Manifest { format: FORMAT, ..Manifest::default() }.encode()).unwrap();
        assert!(text.starts_with("{\n  \"format\": 1,\n  \"program\"") && !text.contains("needs"), "{text}");
    }
}
