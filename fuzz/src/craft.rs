//! Archives taken apart into members and put together again with right checksums, so that a hostile member
//! gets past the first look at it. Shares no code with the program: what is wrong there must not be wrong
//! here too.

pub(crate) const BLOCK: usize = 512;
pub(crate) type Block = [u8; BLOCK];

/// One record of a pax header.
pub(crate) type Record = (Vec<u8>, Vec<u8>);

/// A header that stands in front of a member's own: `x`, `g`, `L` or `K`, and its data.
#[derive(Debug, Clone)]
pub(crate) struct Extension {
    pub(crate) block: Block,
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Records(Vec<Record>),
    Raw(Vec<u8>),
}

/// A member as it stands in an archive. The size fields stay as they are; checksums are made when it is
/// written.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) extensions: Vec<Extension>,
    pub(crate) block: Block,
    /// The blocks of an old GNU sparse map.
    pub(crate) more: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// Where the fields of a header block are.
pub(crate) mod field {
    use std::ops::Range;

    pub(crate) const NAME: Range<usize> = 0..100;
    pub(crate) const MODE: Range<usize> = 100..108;
    pub(crate) const UID: Range<usize> = 108..116;
    pub(crate) const GID: Range<usize> = 116..124;
    pub(crate) const SIZE: Range<usize> = 124..136;
    pub(crate) const MTIME: Range<usize> = 136..148;
    pub(crate) const FLAG: usize = 156;
    pub(crate) const LINK: Range<usize> = 157..257;
    pub(crate) const MAJOR: Range<usize> = 329..337;
    pub(crate) const PREFIX: Range<usize> = 345..500;
}

const LABELS: [&[u8]; 3] = [b"blake3:", b"blake3-header:", b"snapshot-blake3:"];
const DIGITS: usize = 64;
/// How the record begins by which a snapshot's first directory says where the snapshot closes.
const POINTER: &[u8] = b"snapshot-close:";

/// A ustar header block without its checksum.
pub(crate) fn block(flag: u8, name: &[u8], size: u64) -> Block {
    let mut block = [0; BLOCK];
    put(&mut block[field::NAME], name);
    block[field::MODE].copy_from_slice(b"0000755\0");
    for range in [field::UID, field::GID, field::MAJOR, 337..345] {
        block[range].copy_from_slice(b"0000000\0");
    }
    put(&mut block[field::SIZE], format!("{size:011o}\0").as_bytes());
    put(&mut block[field::MTIME], b"00000000000\0");
    block[field::FLAG] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block
}

/// Fills a field, as far as it goes.
pub(crate) fn put(field: &mut [u8], value: &[u8]) {
    field.fill(0);
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

impl Extension {
    pub(crate) fn pax(flag: u8, records: &[(&str, &[u8])]) -> Self {
        let records = records.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.to_vec())).collect();
        Extension { block: block(flag, b"PaxHeaders/snapshotter", 0), body: Body::Records(records) }
    }

    pub(crate) fn long(flag: u8, name: &[u8]) -> Self {
        let body = Body::Raw(name.to_vec());
        Extension { block: block(flag, b"././@LongLink", name.len() as u64), body }
    }

    fn data(&self) -> Vec<u8> {
        match &self.body {
            Body::Records(records) => records_of(records),
            Body::Raw(raw) => raw.clone(),
        }
    }

    fn blocks(&self) -> Vec<u8> {
        let (mut block, data) = (self.block, self.data());
        if matches!(self.body, Body::Records(_)) {
            put(&mut block[field::SIZE], format!("{:011o}\0", data.len()).as_bytes());
        }
        let mut bytes = summed(block).to_vec();
        bytes.extend(data);
        pad(&mut bytes);
        bytes
    }

    fn records(&self) -> Option<&Vec<Record>> {
        match &self.body {
            Body::Records(records) => Some(records),
            Body::Raw(_) => None,
        }
    }
}

impl Member {
    /// As other programs write it: without an extended header.
    pub(crate) fn plain(flag: u8, name: &[u8], data: &[u8]) -> Self {
        let block = block(flag, name, data.len() as u64);
        Member { extensions: Vec::new(), block, more: Vec::new(), data: data.to_vec() }
    }

    /// As this program writes it, with a checksum.
    pub(crate) fn ours(flag: u8, name: &[u8], data: &[u8]) -> Self {
        let records: [(&str, &[u8]); 2] =
            [("mtime", b"1"), ("comment", &[LABELS[0], &[b'0'; DIGITS]].concat())];
        let mut member = Member::plain(flag, name, data);
        member.extensions.push(Extension::pax(b'x', &records));
        member
    }

    pub(crate) fn link(mut self, target: &[u8]) -> Self {
        put(&mut self.block[field::LINK], target);
        self
    }

    /// A record in front of the checksum.
    pub(crate) fn record(mut self, key: &str, value: &[u8]) -> Self {
        if let Some(Extension { body: Body::Records(records), .. }) = self.extensions.last_mut() {
            let at = records.len().saturating_sub(1);
            records.insert(at, (key.as_bytes().to_vec(), value.to_vec()));
        }
        self
    }

    pub(crate) fn before(mut self, extension: Extension) -> Self {
        self.extensions.insert(0, extension);
        self
    }

    pub(crate) fn set(mut self, range: std::ops::Range<usize>, value: &[u8]) -> Self {
        put(&mut self.block[range], value);
        self
    }

    /// What its last record is a checksum of.
    fn label(&self) -> Option<&'static [u8]> {
        let (key, value) = self.extensions.iter().rev().find_map(Extension::records)?.last()?;
        let is_of = |label: &&&[u8]| value.starts_with(label) && value.len() == label.len() + DIGITS;
        LABELS.iter().find(is_of).copied().filter(|_| key == b"comment")
    }

    fn is_begin(&self) -> bool {
        self.extensions.is_empty() && self.block[field::NAME].starts_with(b".snapshot-begin\0")
    }

    /// Its header blocks, and where in them the digits of its checksum are.
    fn header(&self) -> (Vec<u8>, Option<usize>) {
        let mut bytes = Vec::new();
        let mut digits = None;
        for extension in &self.extensions {
            let data = extension.data();
            if extension.records().is_some() {
                digits = (bytes.len() + BLOCK + data.len()).checked_sub(1 + DIGITS);
            }
            bytes.extend(extension.blocks());
        }
        bytes.extend(summed(self.block));
        bytes.extend(&self.more);
        (bytes, digits.filter(|_| self.label().is_some()))
    }
}

/// A block with the right checksum.
pub(crate) fn summed(mut block: Block) -> Block {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}

fn records_of(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let fixed = key.len() + value.len() + 3;
        let mut length = fixed + 1;
        while length != fixed + length.to_string().len() {
            length = fixed + length.to_string().len();
        }
        bytes.extend(format!("{length} ").as_bytes());
        bytes.extend([key.as_slice(), b"=", value, b"\n"].concat());
    }
    bytes
}

/// The archive that consists of these members and then `tail`, with checksums of blocks, members and
/// snapshots.
pub(crate) fn write(members: &[Member], tail: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut snapshot: Option<(usize, u64, [u64; 4])> = None;
    for mut member in pointing(members) {
        // A global header belongs to no member.
        while member.extensions.first().is_some_and(|first| first.block[field::FLAG] == b'g') {
            archive.extend(member.extensions.remove(0).blocks());
        }
        let start = archive.len();
        let label = member.label();
        if let (Some(b"snapshot-blake3:"), Some((from, count, digest))) = (label, snapshot) {
            close(&mut member, count, (start - from) as u64, digest);
            snapshot = None;
        }
        let (mut header, digits) = member.header();
        if let (Some(label), Some(at)) = (label, digits) {
            header[at..at + DIGITS].fill(b'0');
            let mut hasher = blake3::Hasher::new();
            hasher.update(&header);
            if label != b"blake3-header:" {
                hasher.update(&member.data);
            }
            let checksum = hasher.finalize();
            header[at..at + DIGITS].copy_from_slice(checksum.to_hex().as_bytes());
            if let Some((from, count, digest)) = &mut snapshot {
                *count += 1;
                add(digest, (start - *from) as u64, checksum.as_bytes());
            }
        }
        if member.is_begin() {
            snapshot = Some((start, 1, [0; 4]));
        }
        archive.extend(header);
        archive.extend(&member.data);
        pad(&mut archive);
    }
    archive.extend(tail);
    archive
}

/// The same members, and the first directory of each snapshot says where that closes, as far as it did say
/// anything in the program's own form, with spaces behind it.
fn pointing(members: &[Member]) -> Vec<Member> {
    let mut members = members.to_vec();
    let mut position = 0;
    let (mut begin, mut pointer): (usize, Option<(usize, usize)>) = (0, None);
    for at in 0..members.len() {
        let member = &members[at];
        let length = (member.header().0.len() + member.data.len()).next_multiple_of(BLOCK);
        if member.is_begin() {
            (begin, pointer) = (position, None);
        } else if member.label() == Some(LABELS[2]) {
            if let Some((from, record)) = pointer.take()
                && let Some(Body::Records(records)) =
                    members[from].extensions.last_mut().map(|last| &mut last.body)
            {
                let (_, value): &mut Record = &mut records[record];
                let digits = format!("{:020}", position - begin);
                value[POINTER.len()..][..digits.len()].copy_from_slice(digits.as_bytes());
            }
        } else if let (None, Some(records)) = (pointer, member.extensions.last().and_then(Extension::records))
        {
            let is_pointer = |(_, value): &Record| {
                value.starts_with(POINTER) && value.len() > POINTER.len() + 20 && value.ends_with(b" ")
            };
            pointer = records.iter().position(is_pointer).map(|record| (at, record));
        }
        position += length;
    }
    members
}

fn add(sum: &mut [u64; 4], offset: u64, checksum: &[u8; 32]) {
    let hash = blake3::hash(&[&offset.to_le_bytes()[..], checksum].concat());
    let mut carry = false;
    for (limb, bytes) in sum.iter_mut().zip(hash.as_bytes().chunks(8)) {
        let bytes = bytes.try_into().unwrap_or_default();
        (*limb, carry) = limb.carrying_add(u64::from_le_bytes(bytes), carry);
    }
}

/// Makes `snapshot.json` say what was written.
fn close(member: &mut Member, count: u64, bytes: u64, digest: [u64; 4]) {
    let before = member.data.len();
    // The limbs are little endian, and so are the bytes.
    let hex: String = digest.map(|limb| format!("{:016x}", limb.swap_bytes())).concat();
    for (key, value) in [
        ("\"members\":", count.to_string()),
        ("\"bytes\":", bytes.to_string()),
        ("\"digest\":", format!("\"{hex}\"")),
    ] {
        replace(&mut member.data, key, &value);
    }
    if member.block[field::SIZE] == *format!("{before:011o}\0").as_bytes() {
        let size = format!("{:011o}\0", member.data.len());
        put(&mut member.block[field::SIZE], size.as_bytes());
    }
}

/// Replaces the number or string behind the first `key`.
fn replace(text: &mut Vec<u8>, key: &str, value: &str) {
    let Some(at) = text.windows(key.len()).position(|window| window == key.as_bytes()) else { return };
    let mut from = at + key.len();
    from += text[from..].iter().take_while(|byte| **byte == b' ').count();
    let inside = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'"';
    let to = from + text[from..].iter().take_while(inside).count();
    text.splice(from..to, value.bytes());
}

/// Takes an archive apart, as far as it can be: what is left is the tail.
pub(crate) fn parse(archive: &[u8]) -> (Vec<Member>, Vec<u8>) {
    let mut members = Vec::new();
    let mut position = 0;
    while let Some((member, length)) = member(&archive[position..]) {
        members.push(member);
        position += length;
    }
    (members, archive[position..].to_vec())
}

fn member(archive: &[u8]) -> Option<(Member, usize)> {
    let mut extensions = Vec::new();
    let mut position = 0;
    loop {
        let block: Block = *archive.get(position..)?.first_chunk()?;
        if block == [0; BLOCK] {
            return None;
        }
        position += BLOCK;
        let mut stored = number(&block[field::SIZE]);
        match block[field::FLAG] {
            b'x' | b'X' | b'g' | b'L' | b'K' => {
                let data = taken(archive, &mut position, stored);
                let is_pax = matches!(block[field::FLAG], b'x' | b'X' | b'g');
                let records = is_pax.then(|| records_in(data)).flatten();
                let body = records.map_or_else(|| Body::Raw(data.to_vec()), Body::Records);
                extensions.push(Extension { block, body });
                continue;
            }
            b'1'..=b'6' => stored = 0,
            _ => {}
        }
        let mut more = Vec::new();
        let mut goes_on = block[field::FLAG] == b'S' && block[482] != 0;
        while goes_on {
            let Some(next) = archive.get(position..position + BLOCK) else { break };
            more.extend(next);
            position += BLOCK;
            goes_on = next[504] != 0;
        }
        for extension in &extensions {
            if let Body::Records(records) = &extension.body
                && let Some((_, size)) = records.iter().rfind(|(key, _)| key == b"size")
                && let Some(size) = std::str::from_utf8(size).ok().and_then(|size| size.parse().ok())
                && stored > 0
            {
                stored = size;
            }
        }
        let data = taken(archive, &mut position, stored).to_vec();
        return Some((Member { extensions, block, more, data }, position));
    }
}

fn taken<'a>(archive: &'a [u8], position: &mut usize, length: u64) -> &'a [u8] {
    let rest = &archive[(*position).min(archive.len())..];
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
    *position = (*position + length.next_multiple_of(BLOCK)).min(archive.len());
    &rest[..length]
}

fn number(field: &[u8]) -> u64 {
    if field[0] & 0x80 != 0 {
        return field[field.len() - 8..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    }
    let digits = field.iter().filter(|byte| matches!(byte, b'0'..=b'7'));
    digits.fold(0u64, |sum, digit| (sum << 3) | u64::from(digit - b'0'))
}

fn records_in(mut data: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !data.is_empty() {
        let space = data.iter().take(20).position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
        let body = data.get(space + 1..length.checked_sub(1)?)?;
        let equals = body.iter().position(|&byte| byte == b'=')?;
        records.push((body[..equals].to_vec(), body[equals + 1..].to_vec()));
        data = data.get(length..)?;
    }
    Some(records)
}

/// A volume of a snapshot that is made by hand: its path, and whether it is a directory.
pub(crate) type Volume<'a> = (&'a str, bool);

/// An archive of this program: a snapshot of these volumes that has these members.
pub(crate) fn snapshot(prefix: &str, volumes: &[Volume], members: Vec<Member>) -> Vec<u8> {
    write(&snapshot_members(prefix, volumes, members), &[0; 2 * BLOCK])
}

pub(crate) fn snapshot_members(prefix: &str, volumes: &[Volume], members: Vec<Member>) -> Vec<Member> {
    let kind = |is_dir: bool| if is_dir { "dir" } else { "file" };
    let under = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    let item = |&(path, is_dir): &Volume| {
        format!("- id: \"{}\"\n  type: \"{}\"\n  target: \"{path}\"\n", &path[1..], kind(is_dir))
    };
    let list: String = volumes.iter().map(item).collect();
    let of_json = |&(path, is_dir): &Volume| {
        format!("{{\"path\": \"{path}\", \"type\": \"{}\", \"entries\": 1, \"size\": 0}}", kind(is_dir))
    };
    let volumes: Vec<String> = volumes.iter().map(of_json).collect();
    let manifest = format!(
        "{{\"format\": 1, \"program\": \"snapshotter 1.0.0\", \"created\": \"2026-01-01T00:00:00Z\", \
         \"prefix\": \"{prefix}\", \"volumes\": [{}], \"members\": 0, \"bytes\": 0, \"entries\": 1, \"size\": 0, \
         \"unhashed\": 0, \"warning_count\": 0, \"digest\": \"0\"}}",
        volumes.join(", ")
    );
    let mut begin = block(b'0', b".snapshot-begin", BLOCK as u64);
    begin[field::MODE].copy_from_slice(b"0000600\0");
    let begin = Member { extensions: Vec::new(), block: begin, more: Vec::new(), data: vec![0; BLOCK] };
    let mut all = vec![begin];
    all.extend(members);
    all.push(Member::ours(b'0', under("volumes-data.yml").as_bytes(), list.as_bytes()));
    let mut close = Member::ours(b'0', under("snapshot.json").as_bytes(), manifest.as_bytes());
    if let Some(Extension { body: Body::Records(records), .. }) = close.extensions.last_mut() {
        records.pop();
        records.push((b"comment".to_vec(), [LABELS[2], &[b'0'; DIGITS]].concat()));
    }
    all.push(close);
    all
}
