//! Changes that keep an archive one: fields, records and members are exchanged for what has broken other
//! readers, and then all checksums are made right again. Bytes changed at random hardly ever get past a
//! header's checksum.

use super::craft::{self, Body, Extension, Member, field, put};

const NAMES: [&[u8]; 26] = [
    b"..",
    b".",
    b"/",
    b"",
    b"a",
    b"a/..",
    b"../outside/precious",
    b"/srv/outside/precious",
    b"w/srv/v",
    b"w/srv/v/",
    b"w/srv/v/a",
    b"w/srv/v/d/",
    b"w/srv/v/d/f",
    b"w/srv/v/l",
    b"w/srv/v/l/precious",
    b"w/srv/v/../outside/precious",
    b"w/srv/v//a",
    b"w/srv/v/./a",
    b"w/srv/f",
    b"w/snapshot.json",
    b"w/volumes-data.yml",
    b".snapshot-begin",
    b"w/srv/v/.snapshotter-staging",
    b"w/srv/v/a\0b",
    b"../../outside",
    b"w/srv/v/\xff\n",
];

const KEYS: [&[u8]; 22] = [
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"mtime",
    b"comment",
    b"GNU.sparse.major",
    b"GNU.sparse.minor",
    b"GNU.sparse.name",
    b"GNU.sparse.realsize",
    b"GNU.sparse.size",
    b"GNU.sparse.map",
    b"SCHILY.acl.access",
    b"SCHILY.acl.default",
    b"SCHILY.xattr.user.a",
    b"SCHILY.xattr.trusted.a",
    b"SCHILY.xattr.security.capability",
    b"SCHILY.xattr.system.posix_acl_access",
    b"hdrcharset",
    b"atime",
    b"SCHILY.xattr.",
];

const VALUES: [&[u8]; 24] = [
    b"",
    b"0",
    b"1",
    b"512",
    b"513",
    b"-1",
    b"4294967295",
    b"4294967294",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1.5",
    b"-1.5",
    b"1e9",
    b"\0",
    b"user::rwx,group::r-x,other::r-x",
    b"user::rwx,user:0:rwx,group::r-x,mask::rwx,other::r-x",
    b"user:x",
    b"BINARY",
    b"9223372036854775807.999999999",
    b"0,10,20,10",
    b"1099511627776",
    b"-9223372036854775808",
];

const SIZES: [&[u8]; 12] = [
    b"00000000000\0",
    b"00000000001\0",
    b"00000001000\0",
    b"00000001001\0",
    b"77777777777\0",
    b"           \0",
    b"-0000000001\0",
    b"\x80\0\0\0\0\0\0\0\0\0\x02\0",
    b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
    b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xfe\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
];

const MAPS: [&[u8]; 10] = [
    b"1\n0\n512\n",
    b"2\n0\n512\n1024\n0\n",
    b"2\n0\n10\n5\n10\n",
    b"1\n18446744073709551615\n1\n",
    b"0\n",
    b"99999999\n0\n0\n",
    b"1\n9223372036854775807\n0\n",
    b"2\n1048576\n512\n2097152\n0\n",
    b"\n",
    b"3\n0\n0\n0\n0\n0\n0\n",
];

const FLAGS: &[u8] = b"0123456670SxgLKXZ\0\xffDMVN";

/// Numbers from a seed (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }

    fn of<'a>(&mut self, many: &[&'a [u8]]) -> &'a [u8] {
        many[self.below(many.len())]
    }

    /// One of the lists' words, or one put together.
    fn word(&mut self) -> Vec<u8> {
        match self.below(8) {
            0..4 => self.of(&NAMES).to_vec(),
            4..6 => self.of(&VALUES).to_vec(),
            6 => [self.of(&NAMES), b"/", self.of(&NAMES)].concat(),
            _ => self.of(&NAMES).repeat(1 + self.below(80)),
        }
    }
}

/// Changes an archive a little, and writes it with right checksums.
pub(crate) fn archive(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let (mut members, mut tail) = craft::parse(bytes);
    for _ in 0..=dice.below(3) {
        if members.is_empty() {
            members.push(Member::ours(b'0', b"w/srv/v/a", b"a"));
        }
        let at = dice.below(members.len());
        match dice.below(12) {
            0 => {
                let copy = members[at].clone();
                members.insert(dice.below(members.len() + 1), copy);
            }
            1 if members.len() > 1 => drop(members.remove(at)),
            2 => {
                let other = dice.below(members.len());
                members.swap(at, other);
            }
            3 => {
                let (flag, name) = (FLAGS[dice.below(12)], dice.word());
                let new = Member::ours(flag, &name, &[]).link(&dice.word());
                members.insert(at, new);
            }
            4 => tail = [&[0; 1024][..], &[0; 1536], b"x"][dice.below(3)].to_vec(),
            5 => data(&mut members[at], &mut dice),
            6 => extension(&mut members[at], &mut dice),
            _ => member(&mut members[at], &mut dice),
        }
    }
    craft::write(&members, &tail)
}

fn member(member: &mut Member, dice: &mut Dice) {
    let block = &mut member.block;
    match dice.below(10) {
        0 => put(&mut block[field::NAME], &dice.word()),
        1 => put(&mut block[field::LINK], &dice.word()),
        2 => put(&mut block[field::PREFIX], &dice.word()),
        3 => put(&mut block[field::SIZE], dice.of(&SIZES)),
        4 => block[field::FLAG] = FLAGS[dice.below(FLAGS.len())],
        5 => {
            let fields = [field::MODE, field::UID, field::GID, field::MTIME, field::MAJOR];
            let range = fields[dice.below(fields.len())].clone();
            let value = dice.of(&SIZES);
            put(&mut block[range], &value[value.len() - 8..]);
        }
        _ => {
            if let Some(Extension { body: Body::Records(records), .. }) = member.extensions.last_mut() {
                let value = if dice.below(2) == 0 { dice.of(&VALUES).to_vec() } else { dice.word() };
                match dice.below(3) {
                    0 if records.len() > 1 => drop(records.remove(dice.below(records.len()))),
                    1 if !records.is_empty() => {
                        let at = dice.below(records.len());
                        records[at].1 = value;
                    }
                    // In front of the checksum, or behind it.
                    _ => {
                        let at = records.len().saturating_sub(usize::from(dice.below(8) > 0));
                        records.insert(at, (dice.of(&KEYS).to_vec(), value));
                    }
                }
            }
        }
    }
}

fn extension(member: &mut Member, dice: &mut Dice) {
    let at = dice.below(member.extensions.len() + 1);
    let key = String::from_utf8_lossy(dice.of(&KEYS)).into_owned();
    let value = dice.word();
    let new = match dice.below(5) {
        0 => Extension::long(b'L', &value),
        1 => Extension::long(b'K', &value),
        2 => Extension::pax(b'g', &[(&key, &value)]),
        3 => Extension::pax(b'x', &[(&key, &value)]),
        _ if at < member.extensions.len() => {
            drop(member.extensions.remove(at));
            return;
        }
        _ => Extension::pax(b'X', &[(&key, &value)]),
    };
    member.extensions.insert(at, new);
}

/// Changes the data: a map of holes, or a word of the closing files.
fn data(member: &mut Member, dice: &mut Dice) {
    let is_text = member.data.len() > 40
        && member.data.iter().take(40).all(|byte| byte.is_ascii_graphic() || b" \n".contains(byte));
    if is_text && dice.below(4) > 0 {
        let is_end = |byte: &u8| b"\":,\n{}[] ".contains(byte);
        let ends: Vec<usize> = (0..member.data.len()).filter(|&at| is_end(&member.data[at])).collect();
        if ends.len() > 1 {
            let at = dice.below(ends.len() - 1);
            let word = String::from_utf8_lossy(&dice.word()).into_owned().into_bytes();
            member.data.splice(ends[at] + 1..ends[at + 1], word);
        }
    } else {
        let mut map = dice.of(&MAPS).to_vec();
        map.resize(512, 0);
        map.extend(vec![b's'; [0, 10, 20, 512, 1024][dice.below(5)]]);
        member.data = map;
    }
    let size = format!("{:011o}\0", member.data.len());
    put(&mut member.block[field::SIZE], size.as_bytes());
}
