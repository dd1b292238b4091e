//! The checksum of a member: BLAKE3 over its header blocks, with the 64 digits of the checksum itself as `0`,
//! and over its stored data. It stands in the member's last pax record, a `comment`, because other keys make
//! GNU tar print a warning for each member.

/// Digits of a checksum in its record.
pub(crate) const DIGITS: usize = 64;

/// What a member's checksum covers, and what it says of the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// The header blocks and the stored data.
    Full,
    /// The header blocks alone: the data was cloned, or hashing was switched off.
    Header,
    /// Header and data, and the member closes a snapshot.
    Close,
}

impl Cover {
    const ALL: [Cover; 3] = [Cover::Full, Cover::Header, Cover::Close];

    /// The part of the record's value before the digits.
    pub(crate) fn label(self) -> &'static [u8] {
        match self {
            Cover::Full => b"blake3:",
            Cover::Header => b"blake3-header:",
            Cover::Close => b"snapshot-blake3:",
        }
    }
}

/// A checksum as it stands in a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// What it covers.
    pub cover: Cover,
    /// The 32 bytes.
    pub digest: [u8; 32],
    /// Where its digits begin, in bytes from the member's first header block.
    pub(crate) digits_at: usize,
}

impl Checksum {
    /// Reads the value of a `comment` record that begins `value_at` bytes behind the member's start.
    pub(crate) fn parse(value: &[u8], value_at: usize) -> Option<Self> {
        let cover = Cover::ALL.into_iter().find(|cover| value.starts_with(cover.label()))?;
        let digits = value.strip_prefix(cover.label())?;
        let valid = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != DIGITS || !digits.iter().all(valid) {
            return None;
        }
        let digest = blake3::Hash::from_hex(digits).ok()?.into();
        Some(Checksum { cover, digest, digits_at: value_at + cover.label().len() })
    }

    /// Begins to hash a member with these header blocks; stored data is to follow unless only the header
    /// counts.
    pub(crate) fn hasher(&self, header: &[u8]) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header[..self.digits_at]);
        hasher.update(&[b'0'; DIGITS]);
        hasher.update(&header[self.digits_at + DIGITS..]);
        hasher
    }

    /// Whether stored data is part of it.
    pub(crate) fn covers_data(&self) -> bool {
        self.cover != Cover::Header
    }

    pub(crate) fn matches(&self, hasher: &blake3::Hasher) -> bool {
        *hasher.finalize().as_bytes() == self.digest
    }
}

/// Writes `digest` as the digits at `digits_at`.
pub(crate) fn seal(header: &mut [u8], digits_at: usize, digest: blake3::Hash) {
    header[digits_at..digits_at + DIGITS].copy_from_slice(digest.to_hex().as_bytes());
}
