//! ACLs between the form that the kernel keeps (`posix_acl_xattr.h`: version 2, then tag, permissions and id
//! of each entry, little endian) and the text with numeric ids that tar archives carry in `SCHILY.acl.*`
//! (`user::rwx,user:1000:r--,…`).

use std::fmt::Write as _;

const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The text form of the kernel's; `None` for what is no such ACL.
pub(crate) fn to_text(raw: &[u8]) -> Option<String> {
    let (version, entries) = raw.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 {
        return None;
    }
    let mut text = String::new();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let permissions = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        if !text.is_empty() {
            text.push(',');
        }
        match tag {
            USER_OBJ => text.push_str("user::"),
            USER => write!(text, "user:{id}:").ok()?,
            GROUP_OBJ => text.push_str("group::"),
            GROUP => write!(text, "group:{id}:").ok()?,
            MASK => text.push_str("mask::"),
            OTHER => text.push_str("other::"),
            _ => return None,
        }
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            text.push(if permissions & bit != 0 { letter } else { '-' });
        }
    }
    Some(text)
}

/// The kernel's form of the text's; `None` for what is no such text.
pub(crate) fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries = Vec::new();
    // Other programs end each entry with a newline, or write a name and put the number behind it.
    for entry in text.trim_end_matches('\n').split([',', '\n']) {
        let mut fields = entry.split(':');
        let (tag, id, permissions) = (fields.next()?, fields.next()?, fields.next()?);
        let id = match fields.next() {
            Some(number) if !id.is_empty() => number,
            Some(_) => return None,
            None => id,
        };
        if fields.next().is_some() {
            return None;
        }
        let tag = match (tag, id.is_empty()) {
            ("user", true) => USER_OBJ,
            ("user", false) => USER,
            ("group", true) => GROUP_OBJ,
            ("group", false) => GROUP,
            ("mask", true) => MASK,
            ("other", true) => OTHER,
            _ => return None,
        };
        let id = if id.is_empty() { NO_ID } else { id.parse().ok()? };
        entries.push((tag, id, bits(permissions)?));
    }
    // The kernel takes them in this order only, and others write their base entries first.
    entries.sort_unstable();
    let mut raw = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        raw.extend_from_slice(&tag.to_le_bytes());
        raw.extend_from_slice(&permissions.to_le_bytes());
        raw.extend_from_slice(&id.to_le_bytes());
    }
    Some(raw)
}

/// Gives the users and groups that an ACL of the kernel's form names other ids.
pub(crate) fn map_ids(raw: &mut [u8], user: impl Fn(u32) -> u32, group: impl Fn(u32) -> u32) {
    for entry in raw.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let mapped = match u16::from_le_bytes([entry[0], entry[1]]) {
            USER => user(id),
            GROUP => group(id),
            _ => continue,
        };
        entry[4..8].copy_from_slice(&mapped.to_le_bytes());
    }
}

/// Whether the text has a user or group by the number that stands for none: what the kernel shows of one that
/// is not mapped in this user namespace.
pub(crate) fn names_nobody(text: &[u8]) -> bool {
    let mut fields = text.split(|&byte| byte == b':' || byte == b',');
    fields.any(|field| field == NO_ID.to_string().as_bytes())
}

fn bits(letters: &str) -> Option<u16> {
    let letters = <[u8; 3]>::try_from(letters.as_bytes()).ok()?;
    let mut bits = 0;
    for (letter, set, bit) in [(letters[0], b'r', 4), (letters[1], b'w', 2), (letters[2], b'x', 1)] {
        match letter {
            b'-' => {}
            letter if letter == set => bits |= bit,
            _ => return None,
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acls_survive_both_ways() {
        let text = "user::rwx,user:4294967294:r--,group::r-x,group:0:-w-,mask::rwx,other::---";
        let raw = from_text(text.as_bytes()).unwrap();
        assert_eq!(raw.len(), 4 + 6 * 8);
        assert_eq!(&raw[..12], b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff");
        assert_eq!(to_text(&raw).as_deref(), Some(text));
    }

    #[test]
    fn acls_of_other_programs_are_read() {
        let ours = from_text(b"user::rw-,user:1000:r--,group::r--,mask::r--,other::---");
        for text in [
            "user::rw-,user:bob:r--:1000,group::r--,mask::r--,other::---",
            "user::rw-,group::r--,other::---,user:bob:r--:1000,mask::r--",
            "user::rw-\nuser:1000:r--\ngroup::r--\nmask::r--\nother::---\n",
        ] {
            assert_eq!(from_text(text.as_bytes()), ours, "{text}");
        }
        assert!(ours.is_some() && from_text(b"user::rwx:5").is_none());
    }

    #[test]
    fn the_number_of_nobody_is_noticed() {
        assert!(names_nobody(b"user::rwx,user:1:r--,group:4294967295:r-x,mask::rwx"));
        assert!(!names_nobody(b"user::rwx,user:42949672950:r--,group:4294967294:r-x"));
    }

    #[test]
    fn what_is_no_acl_is_refused() {
        for text in
            ["", "user::rw", "user::rwxx", "user:bob:rwx", "mask:1:rwx", "user::xwr", "user::rwx,", "a::rwx"]
        {
            assert_eq!(from_text(text.as_bytes()), None, "{text}");
        }
        for raw in [&b""[..], b"\x01\0\0\0", b"\x02\0\0\0\x01\0", b"\x02\0\0\0\x40\0\x07\0\xff\xff\xff\xff"] {
            assert_eq!(to_text(raw), None);
        }
    }
}
