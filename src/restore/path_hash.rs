//! A path in as few bytes as tell it apart from all others: there may be many.

/// 16 bytes of its BLAKE3.
pub(super) type PathHash = [u8; 16];

pub(super) fn path_hash(path: &[u8]) -> PathHash {
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::hash(path).as_bytes()[..16]);
    hash
}
