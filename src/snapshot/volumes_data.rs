//! `volumes-data.yml`: the list of volumes that the Go program looks for, in ours and in its own snapshots.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::volume::{self, VolumeType};
use crate::yaml::{hostile, quoted};

/// One volume of the list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct VolumeItem {
    /// Where its members are, under the prefix.
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: VolumeType,
    /// The absolute path of the volume.
    pub(crate) target: String,
}

/// The list as YAML that the Go program's parser takes: strings in double quotes, no surrogate escapes.
pub(crate) fn encode<'a>(volumes: impl IntoIterator<Item = (&'a str, VolumeType)>) -> Vec<u8> {
    let mut text = String::new();
    for (path, kind) in volumes {
        let (id, kind, target) = (quoted(volume::id(path)), quoted(kind.short_name()), quoted(path));
        // Writing to a string cannot fail.
        let _ = write!(text, "- id: {id}\n  type: {kind}\n  target: {target}\n");
    }
    text.into_bytes()
}

/// # Errors
/// The reason, when it is no such list.
pub(crate) fn decode(text: &[u8]) -> Result<Vec<VolumeItem>, String> {
    let malformed = |reason: &str| format!("volumes-data.yml is malformed: {reason}");
    let text = std::str::from_utf8(text).map_err(|_| malformed("it is not UTF-8"))?;
    match hostile(text) {
        Some((_, reason)) => Err(malformed(reason)),
        None => serde_yaml::from_str(text).map_err(|error| malformed(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_survives_the_list() {
        let paths = [
            "/home/v",
            "/a \"b\" \\c",
            "/\u{7f}\u{85}\u{2028}\u{feff}\u{fffe}\u{ffff}\t\n",
            "/x: y # z",
            "/😀/é",
            "/- a",
        ];
        let encoded = encode(paths.iter().map(|path| (*path, VolumeType::File)));
        let decoded = decode(&encoded).unwrap();
        assert_eq!(decoded.iter().map(|item| item.target.as_str()).collect::<Vec<_>>(), paths);
        assert_eq!(decoded[0].id, "home/v");
    }
    #[test]
    fn a_hostile_list_is_refused_at_once() {
        let start = std::time::Instant::now();
        assert!(decode("[".repeat(1 << 20).as_bytes()).is_err());
        assert!(decode(b"- id: \xff\n").is_err());
        assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
    }
}
