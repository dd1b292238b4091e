//! What a user namespace hides (`user_namespaces(7)`): an id that is not mapped in it is shown as the
//! overflow id, 65534 as a rule, which may be mapped as well and then somebody's own. Asking changes nothing.

use std::io;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::error::{Error, Hint};
use crate::fs::Handle;

/// How many ids there are: all 32-bit numbers but the last, which means none.
const ALL: u64 = u32::MAX as u64;
/// `CAP_DAC_OVERRIDE` in a mask of capabilities.
const DAC_OVERRIDE: u64 = 1 << 1;
/// `CAP_CHOWN`.
const CHOWN: u64 = 1;

/// Whether an owner is as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Real,
    /// At least one of its two ids stands for one that is not mapped.
    Unmapped,
    /// It may be either.
    Unsure,
}

/// The user namespace that this process runs in.
#[derive(Debug)]
pub(crate) struct Namespace {
    uids: Ids,
    gids: Ids,
    /// Permissions do not bind this process, as far as ids are mapped.
    overrides: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct IdRange {
    first: u64,
    count: u64,
}

/// The user ids or the group ids of a namespace.
#[derive(Debug, PartialEq, Eq)]
struct Ids {
    mapped: Vec<IdRange>,
    overflow: u32,
}

/// Which owners this process can give to files: with the privilege all that are mapped, else its own groups to
/// its own files (chown(2)).
#[derive(Debug)]
pub(crate) struct Giver {
    namespace: Namespace,
    chowns: bool,
    uid: u32,
    groups: Vec<u32>,
}

impl Giver {
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let (uid, gid) = crate::fs::handle::process_owner();
        let mut groups = groups(&status);
        groups.push(gid);
        let namespace = Namespace::of_this_process()?;
        Ok(Giver { namespace, chowns: effective(&status) & CHOWN != 0, uid, groups })
    }

    /// The owner that a file of `now` gets when it is to be that of `uid` and `gid`, each as far as possible.
    pub(crate) fn give(&self, now: (u32, u32), (uid, gid): (u32, u32)) -> (u32, u32) {
        let any = |ids: &Ids, id: u32| self.chowns && ids.maps(id);
        let own_group = now.0 == self.uid && self.groups.contains(&gid);
        let uid = if any(&self.namespace.uids, uid) { uid } else { now.0 };
        let gid = if own_group || any(&self.namespace.gids, gid) { gid } else { now.1 };
        (uid, gid)
    }
}

/// Whether a permission that root does not have is missing because of the user namespace it is root of.
pub(crate) fn is_confined() -> bool {
    Namespace::of_this_process().is_ok_and(|here| here.confines())
}

/// The same error, with the hint that only this user namespace closes what it is about, where that is so.
pub(crate) fn explain(error: Error) -> Error {
    let closed = error.hint() == Some(Hint::AccessDenied) && is_confined();
    error.with_hint(closed.then_some(Hint::ClosedInNamespace))
}

impl Namespace {
    pub(crate) fn of_this_process() -> io::Result<Self> {
        Ok(Namespace {
            uids: Ids::read("/proc/self/uid_map", "/proc/sys/kernel/overflowuid")?,
            gids: Ids::read("/proc/self/gid_map", "/proc/sys/kernel/overflowgid")?,
            overrides: effective(&std::fs::read_to_string("/proc/self/status")?) & DAC_OVERRIDE != 0,
        })
    }

    /// Whether every id is mapped, as it is outside of user namespaces.
    pub(crate) fn is_whole(&self) -> bool {
        self.uids.is_whole() && self.gids.is_whole()
    }

    /// Whether nothing but the namespace can keep this process from a file: it has the privilege, for ids
    /// that are mapped.
    pub(crate) fn confines(&self) -> bool {
        !self.is_whole() && self.overrides
    }

    /// Whether both ids are mapped.
    pub(crate) fn maps(&self, uid: u32, gid: u32) -> bool {
        self.uids.maps(uid) && self.gids.maps(gid)
    }

    /// Whether this process has the privilege that shows the owner of most files (`CAP_DAC_OVERRIDE`).
    pub(crate) fn sees_owners(&self) -> bool {
        self.overrides
    }

    /// Whether `uid` and `gid`, which the system shows as the owner of a file with this mode, are its own.
    pub(crate) fn owner(&self, handle: &Handle, uid: u32, gid: u32, mode: u32) -> Owner {
        match (self.uids.shows(uid), self.gids.shows(gid)) {
            (Owner::Real, Owner::Real) => Owner::Real,
            (Owner::Unmapped, _) | (_, Owner::Unmapped) => Owner::Unmapped,
            _ if self.overrides => by_permission(handle, mode),
            _ => Owner::Unsure,
        }
    }
}

/// `CAP_DAC_OVERRIDE` counts only for files whose owner and group are mapped (`capable_wrt_inode_uidgid` in
/// the kernel's fs/namei.c). So whoever has it and may still not write to a file looks at an unmapped owner;
/// who may, looks at a mapped one, unless the mode lets others write as well. Writing is only asked about.
fn by_permission(handle: &Handle, mode: u32) -> Owner {
    use rustix::io::Errno;
    match accessat(CWD, handle.proc_path(), Access::WRITE_OK, AtFlags::EACCESS) {
        Err(Errno::ACCESS) => Owner::Unmapped,
        // A mount that is read-only is looked at last.
        Ok(()) | Err(Errno::ROFS) if mode & 0o022 == 0 => Owner::Real,
        _ => Owner::Unsure,
    }
}

impl Ids {
    fn read(map: &str, overflow: &str) -> io::Result<Self> {
        let map = match std::fs::read_to_string(map) {
            Ok(map) => map,
            // A kernel without user namespaces.
            Err(error) if error.kind() == io::ErrorKind::NotFound => format!("0 0 {ALL}"),
            Err(error) => return Err(error),
        };
        let overflow = std::fs::read_to_string(Path::new(overflow))?;
        Self::parse(&map, &overflow).ok_or_else(|| io::Error::other("an id map of a form that is not known"))
    }

    fn parse(map: &str, overflow: &str) -> Option<Self> {
        let mut mapped = Vec::new();
        for line in map.lines() {
            let mut fields = line.split_whitespace();
            let (first, _outside, count) = (fields.next()?, fields.next()?, fields.next()?);
            mapped.push(IdRange { first: first.parse().ok()?, count: count.parse().ok()? });
        }
        Some(Ids { mapped, overflow: overflow.trim().parse().ok()? })
    }

    fn is_whole(&self) -> bool {
        self.mapped.iter().map(|range| range.count).sum::<u64>() >= ALL
    }

    fn maps(&self, id: u32) -> bool {
        self.mapped.iter().any(|range| (range.first..range.first + range.count).contains(&u64::from(id)))
    }

    /// What an id that the system shows can be.
    fn shows(&self, id: u32) -> Owner {
        if id != self.overflow || self.is_whole() {
            Owner::Real
        } else if self.maps(id) {
            Owner::Unsure
        } else {
            Owner::Unmapped
        }
    }
}

/// The groups that the text of `/proc/self/status` lists beside the first.
fn groups(status: &str) -> Vec<u32> {
    let listed = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    listed.split_whitespace().filter_map(|group| group.parse().ok()).collect()
}

/// The effective capabilities in the text of `/proc/self/status`.
fn effective(status: &str) -> u64 {
    let found = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    found.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(map: &str) -> Ids {
        Ids::parse(map, "65534\n").unwrap()
    }

    #[test]
    fn an_overflow_id_is_what_the_map_lets_it_be() {
        let whole = ids("         0          0 4294967295\n");
        let remapped = ids("0 200000 65536\n");
        let single = ids("0 1000 1\n");
        let in_parts = ids("0 200000 65534\n65534 5 4294901761\n");
        for ids in [&whole, &in_parts] {
            assert!(ids.is_whole());
            assert_eq!(ids.shows(65534), Owner::Real);
        }
        assert_eq!(remapped.shows(65534), Owner::Unsure);
        assert_eq!(single.shows(65534), Owner::Unmapped);
        for ids in [&remapped, &single] {
            assert!(!ids.is_whole());
            assert_eq!(ids.shows(0), Owner::Real);
        }
    }

    #[test]
    fn the_ends_of_ranges_are_mapped() {
        let map = ids("0 1000 1\n10 200000 5\n");
        let mapped: Vec<u32> = (0..20).filter(|&id| map.maps(id)).collect();
        assert_eq!(mapped, [0, 10, 11, 12, 13, 14]);
        assert!(!map.maps(u32::MAX));
        assert!(!ids("").maps(0));
    }

    #[test]
    fn another_overflow_id_is_followed() {
        let ids = Ids::parse("0 200000 65536", "70000").unwrap();
        assert_eq!((ids.shows(65534), ids.shows(70000)), (Owner::Real, Owner::Unmapped));
    }

    #[test]
    fn an_owner_is_given_as_far_as_that_is_possible() {
        let namespace = || Namespace { uids: ids("0 1000 10\n"), gids: ids("0 1000 5\n"), overrides: false };
        let root = Giver { namespace: namespace(), chowns: true, uid: 0, groups: vec![0] };
        assert_eq!(root.give((0, 0), (9, 4)), (9, 4));
        assert_eq!(root.give((0, 0), (10, 4)), (0, 4));
        assert_eq!(root.give((0, 0), (9, 5)), (9, 0));
        let user = Giver { namespace: namespace(), chowns: false, uid: 7, groups: groups("Groups:\t3 4 \n") };
        assert_eq!(user.give((7, 7), (8, 4)), (7, 4));
        assert_eq!(user.give((7, 7), (7, 2)), (7, 7));
        assert_eq!(user.give((8, 8), (7, 4)), (8, 8), "another's file");
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for map in ["0 1", "a b c", "0 0 -1"] {
            assert_eq!(Ids::parse(map, "65534"), None, "{map}");
        }
    }

    #[test]
    fn effective_capabilities_are_found() {
        assert_eq!(
            effective("CapPrm:\t0000000000000001\nCapEff:\t00000000a80425fb\nCapBnd:\t0\n"),
            0xa804_25fb
        );
        assert_eq!(effective("Name:\tx\n"), 0);
    }
}
