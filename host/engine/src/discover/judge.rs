//! Which dangers there are in a place. Each has a reason that says how it is known and what it leads to.

use std::collections::BTreeSet;

use crate::discover::danger::{Danger, DangerKind};
use crate::discover::storage::{Storage, StorageKind};

/// What may happen to the data of `storage`.
pub(crate) fn dangers(storage: &Storage) -> Vec<Danger> {
    let mut dangers = Vec::new();
    let mut add = |kind, reason: String| dangers.push(Danger { kind, reason });
    if storage.kind == StorageKind::Anonymous {
        add(
            DangerKind::Anonymous,
            "nobody named it: `docker rm -v` removes it, and a container made anew gets another".to_owned(),
        );
    }
    if storage.is_volume() && storage.users.is_empty() {
        add(DangerKind::Dangling, "no container uses it: `docker volume prune` may remove it".to_owned());
    }
    if storage.is_volume_in_memory() {
        add(DangerKind::Memory, "it is in memory: when its containers stop, it is empty".to_owned());
    }
    // What is in memory cannot be read from outside its container, whoever writes there.
    if storage.kind != StorageKind::Tmpfs {
        let writers = storage.users.iter().filter(|user| user.writable && user.state.may_write());
        let writers: BTreeSet<_> = writers.map(|user| user.container.as_str()).collect();
        let kind = if writers.len() > 1 { DangerKind::Writers } else { DangerKind::Writer };
        if !writers.is_empty() {
            let names = writers.into_iter().collect::<Vec<_>>().join(", ");
            add(kind, format!("may be written while it is read, by {names}"));
        }
    }
    if let Some((container, sign)) = storage.databases.first() {
        add(DangerKind::Database, format!("{container} seems to be a running database, by its {sign}"));
    }
    dangers
}
