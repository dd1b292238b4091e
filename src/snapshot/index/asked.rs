//! What of a snapshot is asked for, where not all of it is.

use std::collections::BTreeSet;

/// Which places are asked for, where not all are: trees with all that is in them, and single members; each
/// a volume and a path in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) trees: BTreeSet<(u64, Vec<u8>)>,
    pub(crate) members: BTreeSet<(u64, Vec<u8>)>,
}

impl Asked {
    /// Whether the member at `path` is asked for.
    pub(crate) fn has(&self, volume: u64, path: &[u8]) -> bool {
        let is_in = |(of, tree): &(u64, Vec<u8>)| *of == volume && is_inside(path, tree);
        self.trees.iter().any(is_in) || self.members.contains(&(volume, path.to_vec()))
    }
}

/// Whether `path` is `tree`, or lies in it.
pub(super) fn is_inside(path: &[u8], tree: &[u8]) -> bool {
    path.strip_prefix(tree).is_some_and(|rest| tree.is_empty() || matches!(rest, [] | [b'/', ..]))
}
