//! The close of a snapshot, and what its members are held against by it.

use crate::archive::checksum::Cover;
use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::member::Stored;
use crate::archive::open::Reader;
use crate::error::Result;
use crate::snapshot::digest::Digest;
use crate::snapshot::manifest::Manifest;
use crate::snapshot::{MAX_CLOSING_FILE, SNAPSHOT_JSON, Snapshot, under};

/// What is wrong with a member of another program in a snapshot of ours.
pub(crate) const NO_CHECKSUM: &str = "a member without a checksum inside a snapshot";

/// Reads the close of a snapshot.
///
/// # Errors
/// [`Error::Damaged`](crate::Error::Damaged) when it is not sound.
pub(crate) fn read_manifest(reader: &Reader, member: &Head) -> Result<Manifest> {
    let damaged = |reason| reader.damaged(member.stored.start, reason);
    if member.stored.length > MAX_CLOSING_FILE {
        return Err(damaged("snapshot.json is too long".to_owned()));
    }
    let text = Content::new(reader, member.data()).read_all()?;
    let manifest = Manifest::decode(&text).map_err(damaged)?;
    if !manifest.is_later() && member.name != under(&manifest.prefix, SNAPSHOT_JSON) {
        return Err(damaged("snapshot.json has another prefix than it says".to_owned()));
    }
    Ok(manifest)
}

/// The members of a snapshot that were met.
#[derive(Debug)]
pub(crate) struct Census {
    start: u64,
    members: u64,
    digest: Digest,
    /// The first that has no checksum, or closes a snapshot.
    stray: Option<u64>,
}

impl Census {
    /// The snapshot begins at `start`, and nothing but its `.snapshot-begin` was met.
    pub(crate) fn begun(start: u64) -> Self {
        Census { start, members: 1, digest: Digest::default(), stray: None }
    }

    /// Counts the member at `offset`, with its checksum.
    pub(crate) fn add(&mut self, offset: u64, checksum: &[u8; 32]) {
        self.members += 1;
        self.digest.add(offset - self.start, checksum);
    }

    /// Counts a member up to the close.
    pub(crate) fn member(&mut self, stored: &Stored) {
        match stored.checksum {
            _ if stored.start == self.start => {}
            Some(checksum) if checksum.cover != Cover::Close => self.add(stored.start, &checksum.digest),
            _ => drop(self.stray.get_or_insert(stored.start)),
        }
    }

    /// Fails where `snapshot` was not held against its close yet, and these are not the members that this says.
    pub(crate) fn check_of(&self, reader: &Reader, snapshot: &Snapshot) -> Result<()> {
        let Some((members, digest)) = &snapshot.closed_with else { return Ok(()) };
        match self.stray {
            Some(at) => Err(reader.damaged(at, NO_CHECKSUM)),
            None => self.check(reader, snapshot.close, (*members, snapshot.close - snapshot.start, digest)),
        }
    }

    /// Fails unless these are the members, in as many bytes, and with the digest, that the close at `close` says.
    pub(crate) fn check(&self, reader: &Reader, close: u64, written: (u64, u64, &str)) -> Result<()> {
        let (bytes, digest) = (close - self.start, self.digest.to_hex());
        if written == (self.members, bytes, digest.as_str()) {
            return Ok(());
        }
        let reason = format!(
            "the snapshot's members are not those that it was closed with ({} members in {bytes} bytes, and {} in {} \
             were written)",
            self.members, written.0, written.1
        );
        Err(reader.damaged(close, reason))
    }
}
