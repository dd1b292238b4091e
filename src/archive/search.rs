//! Finding members again after a place where the walk cannot go on. A block counts as the beginning of a
//! member only if it is one of ours and its checksum holds: anything else may be a file's content. A sound
//! member may be that too, if the file is an archive itself; the caller must judge that.

use std::sync::Arc;

use crate::archive::content::Content;
use crate::archive::encode::PAX_NAME;
use crate::archive::open::Reader;
use crate::archive::ustar::{Block, Parsed, flag, is_header};
use crate::archive::walk::{MAX_HEADER, Step, Walk};
use crate::archive::{BLOCK, BLOCK_LEN};
use crate::error::{Error, Result};
use crate::observer::Run;

/// How much is read at once, in bytes.
const PIECE: usize = 1 << 20;
/// A quarter of what an archive of any length may cost in vain, in bytes.
const MIN_BUDGET: u64 = 64 << 20;

/// At most this many names of what is lost are reported for one place.
const MAX_NAMES: usize = 1000;
/// The same for the whole archive.
const MAX_ALL_NAMES: usize = 100_000;

pub(crate) struct Search<'r> {
    reader: Arc<Reader>,
    run: &'r Run<'r>,
    /// How many bytes may still be read for members whose checksums do not hold. There may be many, and each
    /// may claim to be long.
    budget: u64,
    /// How many names may still be reported.
    names: usize,
    /// What was read of the archive last, and from where on.
    piece: Vec<u8>,
    start: u64,
}

/// What a search met.
#[derive(Debug, Default)]
pub(crate) struct Hit {
    /// The offset of a sound member, if there is one.
    pub(crate) at: Option<u64>,
    /// Names in headers before that.
    pub(crate) names: Vec<LostName>,
}

/// A name in a header that may be damaged, or a file's content: it may be any.
#[derive(Debug, Clone)]
pub(crate) struct LostName {
    /// Offset of the header block.
    pub(crate) at: u64,
    pub(crate) name: Vec<u8>,
}

impl<'r> Search<'r> {
    pub(crate) fn new(reader: &Arc<Reader>, run: &'r Run<'r>) -> Self {
        let budget = reader.len().max(MIN_BUDGET).saturating_mul(4);
        Search { reader: Arc::clone(reader), run, budget, names: MAX_ALL_NAMES, piece: Vec::new(), start: 0 }
    }

    /// Looks after the block at `from`, which was no member, for a sound one, or for the block `begin`.
    pub(crate) fn after(&mut self, from: u64, begin: &Block) -> Result<Hit> {
        let mut hit = Hit::default();
        let mut at = from;
        while let Some(block) = self.block(at)? {
            if at > from && (block == *begin || (may_begin(&block) && self.holds(at)?)) {
                hit.at = Some(at);
                break;
            }
            if hit.names.len() < self.names.min(MAX_NAMES) && block != *begin {
                hit.names.extend(name_in(&block).map(|name| LostName { at, name }));
            }
            at += BLOCK;
        }
        self.names -= hit.names.len();
        Ok(hit)
    }

    /// Whether the member at `at`, or the one that follows global headers there, has a checksum that holds.
    /// When too much was read in vain, the answer is always no.
    pub(crate) fn holds(&mut self, at: u64) -> Result<bool> {
        let Some(block) = self.block(at)? else { return Ok(false) };
        let claimed = Parsed::new(&block).size().unwrap_or(u64::MAX);
        if claimed > MAX_HEADER || !self.pay(claimed + 2 * BLOCK) {
            return Ok(false);
        }
        let mut walk = Walk::new(Arc::clone(&self.reader), at);
        let found = match walk.step() {
            Ok(Step::Member(head)) if head.stored.checksum.is_some() => head,
            Ok(_) | Err(Error::Damaged { .. }) => return Ok(false),
            Err(other) => return Err(other),
        };
        let cost = if found.stored.is_hashed() { found.stored.length } else { 0 };
        if !self.pay(cost) {
            return Ok(false);
        }
        let run = self.run;
        let checked = Content::new(&self.reader, found.data());
        match checked.check(&mut vec![0; PIECE.min(64 << 10)], |_| run.cancel.check("nothing was changed")) {
            Ok(()) => {
                // It is sound, and so it was not read in vain.
                self.budget = self.budget.saturating_add(claimed).saturating_add(cost + 2 * BLOCK);
                Ok(true)
            }
            Err(Error::Damaged { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Takes `bytes` off the budget, if they are at most half of it: so one header that claims much does not
    /// use it up for all that is sound after it.
    fn pay(&mut self, bytes: u64) -> bool {
        let is_small = bytes <= self.budget / 2;
        self.budget -= if is_small { bytes } else { 0 };
        is_small
    }

    /// The block at `at`, if the archive has all of it.
    fn block(&mut self, at: u64) -> Result<Option<Block>> {
        let inside = |start: u64| at.checked_sub(start).and_then(|skip| usize::try_from(skip).ok());
        if let Some(block) = inside(self.start).and_then(|skip| self.piece.get(skip..)?.first_chunk()) {
            return Ok(Some(*block));
        }
        self.run.cancel.check("nothing was changed")?;
        self.piece.resize(PIECE, 0);
        let filled = self.reader.read(&mut self.piece, at)?;
        self.piece.truncate(filled);
        self.start = at;
        Ok(self.piece.first_chunk::<BLOCK_LEN>().copied())
    }
}

/// Whether a member of ours may begin with this block.
fn may_begin(block: &Block) -> bool {
    block[156] == flag::PAX && Parsed::new(block).name() == (None, PAX_NAME) && is_header(block)
}

/// The name in what looks like a member's own header block, sound or not.
fn name_in(block: &Block) -> Option<Vec<u8>> {
    let parsed = Parsed::new(block);
    if block[257..262] != *b"ustar" || matches!(parsed.flag(), flag::PAX | flag::PAX_GLOBAL) {
        return None;
    }
    let (prefix, name) = parsed.name();
    let joined = prefix.map_or_else(|| name.to_vec(), |prefix| [prefix, name].join(&b'/'));
    // As a sparse file's name is not stored.
    let parts = joined.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"GNUSparseFile.0"));
    Some(parts.collect::<Vec<_>>().join(&b'/')).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::checksum::{Cover, seal};
    use crate::archive::encode::encode;
    use crate::archive::entry::{Entry, Kind};
    use crate::archive::open::Access;
    use crate::archive::ustar::HeaderFields;

    #[test]
    fn many_headers_that_claim_much_cost_no_more_than_the_budget() {
        let claims =
            HeaderFields { name: PAX_NAME, flag: flag::PAX, size: 1 << 20, ..HeaderFields::default() }
                .encode()
                .repeat(8000);
        with_search(&claims, |search| {
            let hit = search.after(0, &[1; BLOCK_LEN]).unwrap();
            assert_eq!((hit.at, hit.names.len()), (None, 0));
            // Half of what is left would not do for one more.
            assert!(search.budget < 3 << 20, "{}", search.budget);
        });
    }

    fn with_search<T>(bytes: &[u8], then: impl FnOnce(&mut Search) -> T) -> T {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let (reader, run) = (Reader::open(file.path(), Access::Read).unwrap(), Run::default());
        then(&mut Search::new(&reader, &run))
    }

    /// The header blocks of a file of so many bytes, whose checksum covers `data` alone.
    fn header(stored: u64, data: &[u8]) -> Vec<u8> {
        let entry = Entry::new(b"file".to_vec(), Kind::File);
        let mut bytes = Vec::new();
        let encoded = encode(&mut bytes, &entry, stored, Cover::Full, |needed| needed).unwrap();
        let digest = blake3::Hasher::new().update(&bytes).update(data).finalize();
        seal(&mut bytes, encoded.digits_at, digest);
        bytes
    }

    #[test]
    fn one_header_that_claims_what_is_left_does_not_end_the_search() {
        let (sound, length) = (header(4, b"data"), 1 << 20);
        let claims = header(length as u64, b"");
        let mut bytes = [&[1; BLOCK_LEN], &claims[..], &sound, b"data"].concat();
        let expected = (BLOCK_LEN + claims.len()) as u64;
        bytes.resize(length + BLOCK_LEN + claims.len(), 0);
        with_search(&bytes, |search| {
            // What its header blocks cost, and its data.
            search.budget = (claims.len() + length) as u64;
            assert_eq!(search.after(0, &[1; BLOCK_LEN]).unwrap().at, Some(expected));
        });
    }

    #[test]
    fn names_are_reported_up_to_a_limit_for_one_place_and_for_all() {
        let name = HeaderFields { name: b"name", flag: flag::FILE, ..HeaderFields::default() }.encode();
        with_search(&name.repeat(MAX_NAMES + 1), |search| {
            let mut told = || search.after(0, &[1; BLOCK_LEN]).unwrap().names.len();
            for _ in 0..MAX_ALL_NAMES / MAX_NAMES {
                assert_eq!(told(), MAX_NAMES);
            }
            assert_eq!(told(), 0);
        });
    }
}
