//! Owners that a user namespace hides from a backup: the archive gets the overflow id in their place. There is
//! one warning a volume for that, since it often holds for all of its files.

use crate::archive::entry::Entry;
use crate::backup::shared::BackupRun;
use crate::error::{Context, Result};
use crate::fs::ids::{Namespace, Owner};
use crate::fs::{Handle, acl};
use crate::name::Shown;
use crate::warning::Tally;

const OF: &str = " of this volume";

/// The files of one volume whose owners may not be what they seem.
#[derive(Debug)]
pub(super) struct Owners {
    /// `None` where every id is mapped, and there is nothing to ask.
    namespace: Option<Namespace>,
    unmapped: Tally,
    unsure: Tally,
}

impl Owners {
    pub(super) fn new() -> Result<Self> {
        let namespace = Namespace::of_this_process().context("look for a user namespace in", "/proc")?;
        let namespace = (!namespace.is_whole()).then_some(namespace);
        Ok(Owners { namespace, unmapped: Tally::default(), unsure: Tally::default() })
    }

    /// Whether files must be opened to tell their owners.
    pub(super) fn must_look(&self) -> bool {
        self.namespace.is_some()
    }

    /// Looks at one file, whose `entry` has its owner, mode and ACLs; `full` gives its path.
    pub(super) fn look(&mut self, entry: &Entry, handle: &Handle, full: impl FnOnce() -> Vec<u8>) {
        let Some(namespace) = &self.namespace else { return };
        let id = |id: u64| u32::try_from(id).unwrap_or(u32::MAX);
        let acls = [&entry.acl_access, &entry.acl_default];
        let owner = if acls.into_iter().flatten().any(|text| acl::names_nobody(text)) {
            Owner::Unmapped
        } else {
            namespace.owner(handle, id(entry.uid), id(entry.gid), entry.mode)
        };
        match owner {
            Owner::Real => {}
            Owner::Unmapped => self.unmapped.count(full),
            Owner::Unsure => self.unsure.count(full),
        }
    }

    /// Says what was found.
    pub(super) fn report(&self, shared: &BackupRun) -> Result<()> {
        let Some(namespace) = &self.namespace else { return Ok(()) };
        if !self.unmapped.is_empty() {
            let reason = format!(
                "{} an owner, a group or an ACL that this user namespace does not map, and the snapshot has the id \
                 that the system shows instead: change the owner on the host, or back up and restore in \
                 the host's user namespace",
                self.unmapped.these("has", "have", OF),
            );
            shared.warn(self.unmapped.first(), reason)?;
        }
        if !self.unsure.is_empty() {
            let reason = format!(
                "{} stored with an owner or group that may stand for one that this user namespace does not map",
                self.unsure.these("is", "are", OF),
            );
            if namespace.sees_owners() {
                shared.run.observer.note(&format!("{}: {reason}", Shown::from(self.unsure.first())));
            } else {
                let reason = format!("{reason}: grant CAP_DAC_OVERRIDE, by which it can be told");
                shared.warn(self.unsure.first(), reason)?;
            }
        }
        Ok(())
    }
}
