//! The digest of a snapshot: a sum over its members that needs neither their order nor memory for them.

/// The sum modulo 2^256 of `BLAKE3(offset ‖ checksum)` over members, each hash taken as a little-endian
/// number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Digest([u64; 4]);

impl Digest {
    /// Adds a member with this checksum, `offset` bytes from the snapshot's start.
    pub(crate) fn add(&mut self, offset: u64, checksum: &[u8; 32]) {
        self.merge(&Self::of_member(offset, checksum));
    }

    /// Takes away a member that was added.
    pub(crate) fn remove(&mut self, offset: u64, checksum: &[u8; 32]) {
        let mut borrow = false;
        for (limb, less) in self.0.iter_mut().zip(Self::of_member(offset, checksum).0) {
            (*limb, borrow) = limb.borrowing_sub(less, borrow);
        }
    }

    fn of_member(offset: u64, checksum: &[u8; 32]) -> Self {
        // Millions of members are added, and so little is hashed fastest at once.
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&offset.to_le_bytes());
        bytes[8..].copy_from_slice(checksum);
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(blake3::hash(&bytes).as_bytes().as_chunks::<8>().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        Digest(limbs)
    }

    /// Adds all members that were added to `other`.
    pub(crate) fn merge(&mut self, other: &Digest) {
        let mut carry = false;
        for (limb, more) in self.0.iter_mut().zip(other.0) {
            (*limb, carry) = limb.carrying_add(more, carry);
        }
    }

    /// The 32 bytes of the sum, little endian, as hex digits.
    pub(crate) fn to_hex(self) -> String {
        let mut bytes = [0; 32];
        for (bytes, limb) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *bytes = limb.to_le_bytes();
        }
        blake3::Hash::from_bytes(bytes).to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_needs_no_order_but_tells_offsets_apart() {
        let members: Vec<(u64, [u8; 32])> = (0..50).map(|i| (u64::from(i) * 512, [i; 32])).collect();
        let sum = |members: &[(u64, [u8; 32])]| {
            let mut digest = Digest::default();
            for (offset, checksum) in members {
                digest.add(*offset, checksum);
            }
            digest
        };
        let reversed: Vec<_> = members.iter().rev().copied().collect();
        assert_eq!(sum(&members), sum(&reversed));
        let mut swapped = members.clone();
        (swapped[3].1, swapped[4].1) = (members[4].1, members[3].1);
        assert_ne!(sum(&members), sum(&swapped));
        assert_ne!(sum(&members), sum(&members[1..]));
        let mut less = sum(&members);
        less.remove(members[0].0, &members[0].1);
        assert_eq!(less, sum(&members[1..]));
    }

    #[test]
    fn one_member_is_its_hash_and_carries_run_through() {
        let mut digest = Digest::default();
        digest.add(512, &[7; 32]);
        let hash = blake3::hash(&[&512u64.to_le_bytes()[..], &[7; 32]].concat());
        assert_eq!(digest.to_hex(), hash.to_hex().to_string());
        let mut full = Digest([u64::MAX; 4]);
        full.add(512, &[7; 32]);
        let mut expected = Digest::default();
        expected.add(512, &[7; 32]);
        // 2^256 − 1 plus a hash is the hash minus one.
        expected.0[0] -= 1;
        assert_eq!(full, expected);
        full.remove(512, &[7; 32]);
        assert_eq!(full, Digest([u64::MAX; 4]));
    }
}
