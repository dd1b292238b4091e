//! The members by which snapshots can be told, where the walk meets them.

use std::ops::Range;

use crate::archive::checksum::Cover;
use crate::archive::content::Content;
use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::error::{Error, Result};
use crate::snapshot::close::read_manifest;
use crate::snapshot::manifest::Manifest;
use crate::snapshot::volumes_data::{self, VolumeItem};
use crate::snapshot::{MAX_CLOSING_FILE, VOLUMES_DATA};
use crate::time::Time;
use crate::volume::id;

/// Something by which a snapshot can be told, and its offset.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at: u64,
    pub(super) sign: Sign,
}

#[derive(Debug)]
pub(super) enum Sign {
    /// A `.snapshot-begin`.
    Begin,
    Close(Box<Close>),
    List(List),
    /// The first member after a beginning, a close or a gap.
    Name(Vec<u8>),
}

/// A sound `snapshot.json`.
#[derive(Debug)]
pub(super) struct Close {
    pub(super) range: Range<u64>,
    pub(super) digest: [u8; 32],
    pub(super) manifest: Manifest,
}

impl Close {
    /// Where its snapshot began, if nothing was put in or cut out since.
    pub(super) fn begin(&self) -> Option<u64> {
        self.range.start.checked_sub(self.manifest.bytes).filter(|_| !self.manifest.is_later())
    }
}

/// A sound `volumes-data.yml`.
#[derive(Debug)]
pub(super) struct List {
    pub(super) name: Vec<u8>,
    pub(super) items: Vec<VolumeItem>,
    pub(super) mtime: Time,
}

impl Mark {
    pub(super) fn is_begin(&self) -> bool {
        matches!(self.sign, Sign::Begin)
    }

    /// The member as a close or a list, if it is a sound one.
    pub(super) fn of_closing_file(reader: &Reader, head: &Head) -> Result<Option<Self>> {
        let stored = &head.stored;
        let closes = stored.checksum.filter(|checksum| checksum.cover == Cover::Close);
        let sign = match closes {
            Some(checksum) => sound(read_manifest(reader, head))?.map(|manifest| {
                let range = stored.start..stored.end();
                Sign::Close(Box::new(Close { range, digest: checksum.digest, manifest }))
            }),
            None => sound(read_list(reader, head))?.flatten().map(Sign::List),
        };
        Ok(sign.map(|sign| Mark { at: stored.start, sign }))
    }
}

/// `None` for what is damaged.
fn sound<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Damaged { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// A list of volumes of ours, if the member is one.
fn read_list(reader: &Reader, head: &Head) -> Result<Option<List>> {
    let prefix = head.name.strip_suffix(VOLUMES_DATA.as_bytes());
    let stored = &head.stored;
    let may_be_one = matches!(prefix, Some([] | [.., b'/']))
        && stored.checksum.is_some_and(|checksum| checksum.cover == Cover::Full)
        && head.kind == Kind::File
        && stored.sparse.is_none()
        && stored.length <= MAX_CLOSING_FILE;
    if !may_be_one {
        return Ok(None);
    }
    let text = Content::new(reader, head.data()).read_all()?;
    let items = volumes_data::decode(&text).unwrap_or_default();
    let is_ours = !items.is_empty()
        && items.iter().all(|item| item.target.starts_with('/') && item.id == id(&item.target));
    Ok(is_ours.then(|| List { name: head.name.to_vec(), items, mtime: head.mtime }))
}
