//! What is done to an archive, and how a file's name says so: `.tar`, `.tar.zst` or `.tar.gz`, then nothing,
//! `.age` or `.gpg`.

/// How an archive is compressed. The default is zstd at level 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Zstandard in independent frames, with a seek table.
    Zstd {
        /// 1 (fast) to 19 (small).
        level: i32,
    },
    /// gzip in independent members.
    Gzip {
        /// 1 (fast) to 12 (small), as libdeflate has them; its 5 is as small as the 6 of `gzip`.
        level: i32,
    },
}

impl Compression {
    /// zstd at the level that `zstd` has unless it is told another.
    pub const ZSTD: Self = Self::Zstd { level: 3 };
    /// gzip at the level whose files are as small as those that `gzip` writes unless it is told another.
    pub const GZIP: Self = Self::Gzip { level: 5 };

    /// What it adds to a name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Zstd { .. } => ".zst",
            Self::Gzip { .. } => ".gz",
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::ZSTD
    }
}

/// How an archive is encrypted. For whom, or by which passphrase, is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encryption {
    /// Not at all.
    #[default]
    None,
    /// As `age` does: <https://age-encryption.org/v1>.
    Age,
    /// As `gpg` does: RFC 4880, which GnuPG 2.2 reads.
    OpenPgp,
}

impl Encryption {
    /// What it adds to a name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Age => ".age",
            Self::OpenPgp => ".gpg",
        }
    }
}

/// What is done to an archive, in this order: compressed, then encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Encoding {
    /// How it is compressed.
    pub compression: Compression,
    /// How it is encrypted.
    pub encryption: Encryption,
}

impl Encoding {
    /// What the end of a file's name says, such as `.tar.zst.age`; `None` if that is no archive's. Levels are
    /// the usual ones: a name does not say them, and what reads needs none.
    pub fn from_name(name: &str) -> Option<Self> {
        let (rest, encryption) = cut(name, &[Encryption::Age, Encryption::OpenPgp], Encryption::suffix);
        let (rest, compression) = cut(rest, &[Compression::ZSTD, Compression::GZIP], Compression::suffix);
        let stem = rest.strip_suffix(".tar")?;
        let named = !stem.is_empty() && !stem.ends_with('/');
        named.then(|| Self {
            compression: compression.unwrap_or(Compression::None),
            encryption: encryption.unwrap_or(Encryption::None),
        })
    }

    /// How the name of such a file ends: `.tar.zst.age`.
    pub fn suffix(self) -> String {
        format!(".tar{}{}", self.compression.suffix(), self.encryption.suffix())
    }
}

/// `name` without the suffix of one of `kinds`, and which one that was.
fn cut<'a, K: Copy>(name: &'a str, kinds: &[K], suffix: fn(K) -> &'static str) -> (&'a str, Option<K>) {
    kinds
        .iter()
        .find_map(|kind| Some((name.strip_suffix(suffix(*kind))?, Some(*kind))))
        .unwrap_or((name, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_was_done_and_is_made_from_it() {
        for compression in [Compression::None, Compression::ZSTD, Compression::GZIP] {
            for encryption in [Encryption::None, Encryption::Age, Encryption::OpenPgp] {
                let encoding = Encoding { compression, encryption };
                let name = format!("data/2026-01-31T03-00-00Z{}", encoding.suffix());
                assert_eq!(Encoding::from_name(&name), Some(encoding), "{name}");
            }
        }
        assert_eq!(Encoding::default().suffix(), ".tar.zst");
    }

    #[test]
    fn other_names_are_no_archives() {
        for name in
            ["", ".tar", "a/.tar.zst", "a.zst", "a.tar.age.zst", "a.tar.zst.gpg.age", "a.tar.xz", "a.json"]
        {
            assert_eq!(Encoding::from_name(name), None, "{name}");
        }
    }
}
