//! Where an index is.

use std::sync::Arc;

/// Where the index of a snapshot is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum IndexPlace {
    /// There is none.
    #[default]
    Nowhere,
    /// There is one, and it is lost.
    Lost,
    /// Its table lies at this offset of the archive.
    Table(u64),
    /// Of a damaged snapshot: the chunks that are left, by their offsets in the archive, and where the
    /// `.snapshot-begin` lies or lay that they count from.
    Chunks(u64, Arc<[u64]>),
}
