//! One entry of the index: what it says of a member, and its bytes. An entry is told as its difference
//! from the one before it, so that most have some thirty bytes; what comes first in a chunk differs from
//! nothing.

use std::cmp::Ordering;
use std::ops::Range;

use crate::archive::BLOCK;
use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::snapshot::index::varint::{Taker, push, push_bytes, push_signed};
use crate::snapshot::layout::order;
use crate::time::Time;

/// The types of members, by the number that they have in an entry.
const KINDS: [Kind; 7] = [
    Kind::File,
    Kind::Directory,
    Kind::Symlink,
    Kind::HardLink,
    Kind::Fifo,
    Kind::CharDevice,
    Kind::BlockDevice,
];
/// In an entry's first byte: the three bits with its type; its content's checksum closes it; mode, owner
/// and group are those of the entry before; it is the first of another volume; its member lies in an earlier
/// snapshot.
const KIND: u8 = 0b111;
const LATE: u8 = 1 << 3;
const SAME_OWNER: u8 = 1 << 4;
const NEXT_VOLUME: u8 = 1 << 5;
const REFERENCE: u8 = 1 << 6;
/// What is wrong with a first entry that differs from one before.
const TOLD_BY_NONE: &str = "its first entry is told by another";

/// What the index says of a member of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry<'a> {
    /// Which volume it belongs to, in their order.
    pub(crate) volume: u64,
    /// The path inside it.
    pub(crate) path: &'a [u8],
    pub(crate) kind: Kind,
    /// Where it begins, in bytes from `.snapshot-begin`; 0 of a reference.
    pub(crate) offset: u64,
    /// Of a reference: how many bytes before `.snapshot-begin` its member begins, in an earlier snapshot; else 0.
    pub(crate) back: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Of a file, holes included; 0 of all else.
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    /// When its attributes changed last, and its inode: no header has these.
    pub(crate) ctime: Time,
    pub(crate) inode: u64,
    /// As in its header.
    pub(crate) link: &'a [u8],
    pub(crate) device: (u32, u32),
    /// The BLAKE3 of its stored data, where that does not stand in its header.
    pub(crate) late: Option<[u8; 32]>,
}

impl IndexEntry<'_> {
    /// Whether its member lies in an earlier snapshot.
    pub(crate) fn is_reference(&self) -> bool {
        self.back > 0
    }

    /// Whether it says the same as the header of the member, which lies at `path` in its volume.
    pub(crate) fn is_of(&self, head: &Head, volume: usize, path: &[u8]) -> bool {
        let of_place = self.volume == volume as u64 && self.path == path && self.kind == head.kind;
        let of_owner = (self.mode, self.uid, self.gid) == (head.mode, head.uid, head.gid);
        let of_content = (self.size, self.mtime) == (head.stored.size, head.mtime);
        let has_link = matches!(self.kind, Kind::Symlink | Kind::HardLink);
        let of_target = self.device == head.device && (!has_link || self.link == head.link);
        of_place && of_owner && of_content && of_target
    }
}

/// What an entry is told by.
#[derive(Debug, Clone, Default)]
struct Before {
    volume: u64,
    path: Vec<u8>,
    /// Of the last member of this snapshot, and of the last reference.
    blocks: u64,
    back: u64,
    owner: (u32, u64, u64),
    mtime: i64,
    inode: u64,
    any: bool,
}

/// Writes the entries of one chunk, one after the other.
#[derive(Debug, Default)]
pub(super) struct EntryEncoder(Before);

impl EntryEncoder {
    /// Appends `entry`. Where it has a late checksum, that is the last 32 bytes.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, entry: &IndexEntry) {
        let before = &mut self.0;
        let owner = (entry.mode, entry.uid, entry.gid);
        let is_next = !before.any || entry.volume != before.volume;
        let kind = (0..).zip(KINDS).find(|(_, kind)| *kind == entry.kind).map_or(KIND, |(number, _)| number);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(
            kind | flag(entry.late.is_some(), LATE)
                | flag(before.any && owner == before.owner, SAME_OWNER)
                | flag(is_next, NEXT_VOLUME)
                | flag(entry.is_reference(), REFERENCE),
        );
        if is_next {
            push(out, entry.volume);
            before.path.clear();
        }
        let shared = before.path.iter().zip(entry.path).take_while(|(a, b)| a == b).count();
        push(out, shared as u64);
        push_bytes(out, &entry.path[shared..]);
        if entry.is_reference() {
            let back = entry.back / BLOCK;
            push_signed(out, before.back.wrapping_sub(back).cast_signed());
            before.back = back;
        } else {
            let blocks = entry.offset / BLOCK;
            push(out, blocks - before.blocks);
            before.blocks = blocks;
        }
        if !before.any || owner != before.owner {
            push(out, u64::from(entry.mode));
            push(out, entry.uid);
            push(out, entry.gid);
        }
        push_signed(out, entry.mtime.secs.wrapping_sub(before.mtime));
        push(out, u64::from(entry.mtime.nanos));
        push_signed(out, entry.ctime.secs.wrapping_sub(entry.mtime.secs));
        push(out, u64::from(entry.ctime.nanos));
        push_signed(out, entry.inode.wrapping_sub(before.inode).cast_signed());
        match entry.kind {
            Kind::File => push(out, entry.size),
            Kind::Symlink | Kind::HardLink => push_bytes(out, entry.link),
            Kind::CharDevice | Kind::BlockDevice => {
                push(out, u64::from(entry.device.0));
                push(out, u64::from(entry.device.1));
            }
            _ => {}
        }
        out.extend(entry.late.iter().flatten());
        before.path.truncate(shared);
        before.path.extend_from_slice(&entry.path[shared..]);
        before.volume = entry.volume;
        (before.owner, before.mtime, before.inode, before.any) = (owner, entry.mtime.secs, entry.inode, true);
    }
}

/// Reads the entries of one chunk, one after the other, and holds them to their order.
#[derive(Debug)]
pub(super) struct EntryDecoder {
    bytes: Vec<u8>,
    /// Where the entries begin, and where the next one does.
    opening: usize,
    position: usize,
    before: Before,
    rest: EntryRest,
}

/// How many entries a chunk has: of members of its snapshot, and all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EntryCount {
    pub(super) own: u64,
    pub(super) all: u64,
}

/// What of an entry no other one is told by.
#[derive(Debug, Clone)]
struct EntryRest {
    is_reference: bool,
    kind: Kind,
    mtime_nanos: u32,
    ctime: Time,
    size: u64,
    /// Where the link stands in the chunk.
    link: Range<usize>,
    device: (u32, u32),
    late: Option<[u8; 32]>,
}

impl EntryDecoder {
    /// Of the entries that begin at `opening` in `bytes`; it stands before the first of them.
    pub(super) fn new(bytes: Vec<u8>, opening: usize) -> Self {
        let (kind, ctime, link) = (Kind::File, Time::default(), 0..0);
        let (is_reference, device, late) = (false, (0, 0), None);
        let rest = EntryRest { is_reference, kind, mtime_nanos: 0, ctime, size: 0, link, device, late };
        EntryDecoder { bytes, opening, position: opening, before: Before::default(), rest }
    }

    /// Goes back to before the first entry.
    pub(super) fn rewind(&mut self) {
        (self.position, self.before) = (self.opening, Before::default());
    }

    /// Whether it stands at the last entry, or there is none.
    pub(super) fn is_last(&self) -> bool {
        self.position >= self.bytes.len()
    }

    /// Where the member of this snapshot begins that it stands at or came by last; 0 before the first.
    pub(super) fn offset(&self) -> u64 {
        self.before.blocks * BLOCK
    }

    /// Whether it stands at a reference.
    pub(super) fn is_at_reference(&self) -> bool {
        self.before.any && self.rest.is_reference
    }

    /// Goes on to the next entry, where there is one.
    ///
    /// # Errors
    /// What is malformed.
    pub(super) fn step(&mut self) -> Result<(), &'static str> {
        let mut taker = Taker(self.bytes.get(self.position..).unwrap_or_default());
        let flags = taker.byte()?;
        let kind = KINDS.get(usize::from(flags & KIND)).copied();
        let kind = kind.filter(|_| flags & !(KIND | LATE | SAME_OWNER | NEXT_VOLUME | REFERENCE) == 0);
        let kind = kind.ok_or("it has an entry of an unknown type")?;
        place(&mut taker, flags, &mut self.before)?;
        let before = &mut self.before;
        if flags & SAME_OWNER == 0 {
            before.owner = (taker.small()?, taker.number()?, taker.number()?);
        } else if !before.any {
            return Err(TOLD_BY_NONE);
        }
        before.mtime = before.mtime.wrapping_add(taker.signed()?);
        let mtime_nanos = nanos(&mut taker)?;
        let ctime = Time { secs: before.mtime.wrapping_add(taker.signed()?), nanos: nanos(&mut taker)? };
        before.inode = before.inode.wrapping_add(taker.signed()?.cast_unsigned());
        let (mut size, mut link, mut device) = (0, 0..0, (0, 0));
        match kind {
            Kind::File => size = taker.number()?,
            Kind::Symlink | Kind::HardLink => {
                let length = taker.bytes()?.len();
                let end = self.bytes.len() - taker.0.len();
                link = end - length..end;
            }
            Kind::CharDevice | Kind::BlockDevice => device = (taker.small()?, taker.small()?),
            _ => {}
        }
        let late = if flags & LATE == 0 { None } else { Some(taker.array()?) };
        before.any = true;
        self.position = self.bytes.len() - taker.0.len();
        let is_reference = flags & REFERENCE != 0;
        self.rest = EntryRest { is_reference, kind, mtime_nanos, ctime, size, link, device, late };
        Ok(())
    }

    /// How many entries there are from where it stands, that one included.
    ///
    /// # Errors
    /// What is malformed.
    pub(super) fn count(mut self) -> Result<EntryCount, &'static str> {
        let mut count = EntryCount::default();
        loop {
            count.all += u64::from(self.before.any);
            count.own += u64::from(self.before.any && !self.rest.is_reference);
            if self.is_last() {
                return Ok(count);
            }
            self.step()?;
        }
    }

    /// The entry that it stands at; before the first there is none.
    pub(super) fn entry(&self) -> Option<IndexEntry<'_>> {
        let Before { volume, path, back, owner: (mode, uid, gid), mtime, inode, .. } = &self.before;
        let EntryRest { is_reference, kind, mtime_nanos, ctime, size, link, device, late } = &self.rest;
        let (offset, back) = if *is_reference { (0, back * BLOCK) } else { (self.offset(), 0) };
        self.before.any.then(|| IndexEntry {
            volume: *volume,
            path,
            kind: *kind,
            offset,
            back,
            mode: *mode,
            uid: *uid,
            gid: *gid,
            size: *size,
            mtime: Time { secs: *mtime, nanos: *mtime_nanos },
            ctime: *ctime,
            inode: *inode,
            link: &self.bytes[link.clone()],
            device: *device,
            late: *late,
        })
    }
}

/// Volume, path and offset of an entry, which must come behind those of the one before.
fn place(taker: &mut Taker, flags: u8, before: &mut Before) -> Result<(), &'static str> {
    const ORDER: &str = "its entries are not in their order";
    let is_next = flags & NEXT_VOLUME != 0;
    if is_next {
        let volume = taker.number()?;
        if before.any && volume <= before.volume {
            return Err(ORDER);
        }
        before.volume = volume;
        before.path.clear();
    } else if !before.any {
        return Err(TOLD_BY_NONE);
    }
    let shared = usize::try_from(taker.number()?).ok().filter(|&shared| shared <= before.path.len());
    let shared = shared.ok_or("it has a name that is told by no other")?;
    let rest = taker.bytes()?;
    // What follows the shared part decides.
    if !is_next && order(&before.path[shared..], rest) != Ordering::Less {
        return Err(ORDER);
    }
    before.path.truncate(shared);
    before.path.extend_from_slice(rest);
    if flags & REFERENCE != 0 {
        let back = before.back.wrapping_sub(taker.signed()?.cast_unsigned());
        let back = Some(back).filter(|back| (1..u64::MAX / BLOCK).contains(back));
        before.back = back.ok_or("it refers to where no earlier snapshot can be")?;
        return Ok(());
    }
    let blocks = taker.number()?;
    if blocks == 0 {
        return Err(ORDER);
    }
    before.blocks =
        before.blocks.checked_add(blocks).filter(|blocks| *blocks < u64::MAX / BLOCK).ok_or(ORDER)?;
    Ok(())
}

fn nanos(taker: &mut Taker) -> Result<u32, &'static str> {
    Some(taker.small()?).filter(|nanos| *nanos < 1_000_000_000).ok_or("it has a time that is none")
}
