//! Who restored files belong to: the owners that the snapshot has, or those that they are mapped to, and how many
//! files did not get theirs.

use std::collections::HashMap;
use std::str::FromStr;

use crate::error::Error;
use crate::fs::acl;
use crate::name::Shown;

/// One of the snapshot's ids, and what it becomes: `1000:2000` for a user's and a group's, `u1000:2000` for a
/// user's and `g1000:2000` for a group's alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerMapping {
    users: bool,
    groups: bool,
    from: u32,
    to: u32,
}

/// What becomes of the snapshot's owners.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnerRules {
    users: HashMap<u32, u32>,
    groups: HashMap<u32, u32>,
    /// One that may not be set is counted, and no error.
    pub(super) may_lack: bool,
}

/// What is to be said of a file that did not get all that the snapshot has.
#[derive(Debug)]
pub(super) enum Remark {
    /// In these words.
    Said(String),
    /// It did not get its owner or group. That is said once, for all such files.
    Unowned,
}

impl From<String> for Remark {
    fn from(reason: String) -> Self {
        Remark::Said(reason)
    }
}

impl FromStr for OwnerMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "it must be FROM:TO, two ids from 0 to 4294967294, with `u` or `g` before the first \
                            one to map users or groups alone";
        let (users, groups, ids) = match text.as_bytes().first() {
            Some(b'u') => (true, false, &text[1..]),
            Some(b'g') => (false, true, &text[1..]),
            _ => (true, true, text),
        };
        let (from, to) = ids.split_once(':').ok_or(FORM)?;
        Ok(OwnerMapping { users, groups, from: id(from).ok_or(FORM)?, to: id(to).ok_or(FORM)? })
    }
}

/// An id in digits and nothing else. The highest number means none.
fn id(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&id| is_number && id != u32::MAX)
}

impl OwnerRules {
    /// Refuses an id that is mapped twice: which of the two is meant?
    pub(super) fn new(may_lack: bool, mappings: &[OwnerMapping]) -> Result<Self, Error> {
        let mut owners = OwnerRules { may_lack, ..OwnerRules::default() };
        for &OwnerMapping { users, groups, from, to } in mappings {
            let twice = users && owners.users.insert(from, to).is_some()
                || groups && owners.groups.insert(from, to).is_some();
            if twice {
                let reason = format!("{from} is mapped twice");
                return Err(Error::Config { origin: Shown::from("map_owner"), line: None, reason });
            }
        }
        Ok(owners)
    }

    /// The owner to set for one of the archive; `None` for one that cannot be.
    pub(super) fn owner(&self, uid: u64, gid: u64) -> Option<(u32, u32)> {
        // The system takes the highest number for "leave it".
        let id = |id: u64| u32::try_from(id).ok().filter(|&id| id != u32::MAX);
        Some((mapped(&self.users, id(uid)?), mapped(&self.groups, id(gid)?)))
    }

    /// The kernel's form of an ACL of the archive; `None` for one that is malformed.
    pub(super) fn acl(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut raw = acl::from_text(text)?;
        self.map_acl(&mut raw);
        Some(raw)
    }

    /// A `security.capability` of a user namespace names the user that is root there (capabilities(7), "Version
    /// 3"): they belong to nobody else.
    pub(super) fn map_capabilities(&self, raw: &mut [u8]) {
        const REVISION: u32 = 0xff00_0000;
        let Some((head, rest)) = raw.split_first_chunk_mut::<4>() else { return };
        let is_third = u32::from_le_bytes(*head) & REVISION == 0x0300_0000;
        // Behind the head stand two pairs of masks, and then the id.
        if let ([_, _, _, _, id], []) = rest.as_chunks_mut::<4>()
            && is_third
        {
            *id = mapped(&self.users, u32::from_le_bytes(*id)).to_le_bytes();
        }
    }

    /// The same for one in the kernel's form.
    pub(super) fn map_acl(&self, raw: &mut [u8]) {
        acl::map_ids(raw, |id| mapped(&self.users, id), |id| mapped(&self.groups, id));
    }
}

fn mapped(map: &HashMap<u32, u32>, id: u32) -> u32 {
    // Most restores map none.
    if map.is_empty() { id } else { *map.get(&id).unwrap_or(&id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(texts: &[&str]) -> Result<OwnerRules, Error> {
        let mappings: Vec<OwnerMapping> = texts.iter().map(|text| text.parse().unwrap()).collect();
        OwnerRules::new(false, &mappings)
    }

    #[test]
    fn ids_are_mapped_once_and_only_those_that_are_named() {
        let owners = owners(&["1000:2000", "2000:3000", "u5:6", "g5:7", "g0:4294967294"]).unwrap();
        assert_eq!(owners.owner(1000, 1000), Some((2000, 2000)));
        assert_eq!(owners.owner(5, 5), Some((6, 7)));
        assert_eq!(owners.owner(0, 0), Some((0, 4_294_967_294)));
        assert_eq!(owners.owner(3000, 1), Some((3000, 1)));
        for impossible in [u64::from(u32::MAX), 1 << 32, (1 << 32) + 1000, u64::MAX] {
            assert_eq!(owners.owner(impossible, 0), None);
            assert_eq!(owners.owner(0, impossible), None);
        }
    }

    #[test]
    fn acls_name_the_mapped_ids_and_their_other_entries_stay() {
        let raw =
            owners(&["5:6", "g7:8"]).unwrap().acl(b"user::rwx,user:5:r--,user:7:r--,group::r-x,group:7:-w-");
        let text = "user::rwx,user:6:r--,user:7:r--,group::r-x,group:8:-w-";
        assert_eq!(acl::to_text(&raw.unwrap()).as_deref(), Some(text));
        assert_eq!(OwnerRules::default().acl(b"user:x:rwx"), None);
    }

    #[test]
    fn the_root_of_a_namespace_in_capabilities_is_mapped_and_nothing_else_of_them() {
        let owners = owners(&["u5:6", "g7:8"]).unwrap();
        let capabilities = |revision: u8, id: &[u8]| [&[1, 0, 0, revision], &[5; 16][..], id].concat();
        for (revision, id, expected) in [
            (3, &[5, 0, 0, 0][..], &[6, 0, 0, 0][..]),
            (3, &[7, 0, 0, 0], &[7, 0, 0, 0]),
            (3, &[5, 5, 0, 0], &[5, 5, 0, 0]),
            (2, &[5, 0, 0, 0], &[5, 0, 0, 0]),
            (2, &[], &[]),
            (3, &[], &[]),
            (3, &[5, 0, 0, 0, 0], &[5, 0, 0, 0, 0]),
        ] {
            let mut raw = capabilities(revision, id);
            owners.map_capabilities(&mut raw);
            assert_eq!(raw, capabilities(revision, expected));
        }
        owners.map_capabilities(&mut [1, 0, 0]);
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for text in [
            "",
            ":",
            "1",
            "1:",
            ":1",
            "1:2:3",
            "u:",
            "u1",
            "x1:2",
            "ug1:2",
            "U1:2",
            "+1:2",
            "1:+2",
            "-1:2",
            " 1:2",
            "1: 2",
            "0x1:2",
            "1.0:2",
            "root:0",
            "4294967295:0",
            "0:4294967295",
            "4294967296:0",
            "0:18446744073709551616",
            "1:2,3:4",
            "ü1:2",
            "u1:u2",
            "1\0:2",
            "٣:1",
        ] {
            assert!(text.parse::<OwnerMapping>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_id_that_is_mapped_twice_is_refused() {
        for twice in
            [&["1:2", "1:3"][..], &["1:2", "1:2"], &["1:2", "u1:3"], &["g1:2", "1:3"], &["u1:2", "u01:2"]]
        {
            assert!(owners(twice).unwrap_err().to_string().contains("1 is mapped twice"), "{twice:?}");
        }
        owners(&["u1:2", "g1:3", "2:1", "3:2"]).unwrap();
    }
}
