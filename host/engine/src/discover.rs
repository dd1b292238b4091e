//! What there is to take snapshots of: every place where a container keeps data, who uses it, and what is in
//! danger there. Names and memberships are those of what runs, read from labels and mounts, never from
//! compose files.

mod danger;
mod database;
mod judge;
mod storage;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::Engine;
use crate::api::container::{Container, Mount};
use crate::api::volume::Volume;
use crate::error::Result;

pub use crate::discover::danger::{Danger, DangerKind};
pub use crate::discover::storage::{Storage, StorageKind, StorageUser};

/// What an engine had at one time.
#[derive(Debug)]
pub struct Inventory {
    /// All containers.
    pub containers: Vec<Container>,
    /// Where they keep data, and volumes that nobody uses.
    pub storages: Vec<Storage>,
}

impl Inventory {
    /// The names of the volumes in memory, which are empty after their last container has stopped.
    pub fn in_memory(&self) -> BTreeSet<String> {
        let memory = self.storages.iter().filter(|storage| storage.is_volume_in_memory());
        memory.map(|storage| storage.name.clone()).collect()
    }
}

/// Everything on `engine` that may hold data; with `measure` also how much is in each volume.
///
/// # Errors
/// When the engine does not say.
pub async fn discover(engine: &Engine, measure: bool) -> Result<Inventory> {
    let volumes = engine.volumes().await?;
    let containers = engine.containers().await?;
    let sizes = if measure { engine.volume_sizes().await? } else { BTreeMap::new() };
    let storages = inventory(&volumes, &containers, &sizes);
    Ok(Inventory { containers, storages })
}

/// Puts together what the engine said. A volume that was made after the volumes were listed is known by its
/// mount alone, and is in the next listing.
fn inventory(volumes: &[Volume], containers: &[Container], sizes: &BTreeMap<String, u64>) -> Vec<Storage> {
    let mut all: BTreeMap<(StorageKey, String), Storage> = volumes
        .iter()
        .map(|volume| {
            let bytes = sizes.get(&volume.name).copied();
            ((StorageKey::Volume, volume.name.clone()), Storage::of_volume(volume, bytes))
        })
        .collect();
    for container in containers {
        for mount in &container.mounts {
            let Some((key, kind, name)) = place(container, mount) else { continue };
            let used = all.entry((key, name)).or_insert_with_key(|(_, name)| {
                Storage::new(kind, if kind == StorageKind::Tmpfs { &mount.destination } else { name })
            });
            used.users.push(StorageUser::new(container, &mount.destination, mount.writable));
            used.databases.extend(database::of(container, mount));
        }
        for path in container.host_config.tmpfs.keys() {
            let name = format!("{} {path}", container.id);
            let memory = all.entry((StorageKey::Memory, name));
            let memory = memory.or_insert_with(|| Storage::new(StorageKind::Tmpfs, path));
            memory.users.push(StorageUser::new(container, path, true));
        }
    }
    let mut all: Vec<_> = all.into_values().map(finish).collect();
    all.sort_by(|a, b| a.order().cmp(&b.order()));
    all
}

/// What tells places apart: volumes by name, binds by source, and what is in memory by container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StorageKey {
    Volume,
    Bind,
    Memory,
}

fn place(container: &Container, mount: &Mount) -> Option<(StorageKey, StorageKind, String)> {
    Some(match mount.kind.as_str() {
        "volume" if !mount.name.is_empty() => {
            (StorageKey::Volume, StorageKind::of_name(&mount.name), mount.name.clone())
        }
        "bind" => (StorageKey::Bind, StorageKind::Bind, mount.source.clone()),
        "tmpfs" => {
            (StorageKey::Memory, StorageKind::Tmpfs, format!("{} {}", container.id, mount.destination))
        }
        // An image, a pipe, a cluster volume that is not there: nothing that is kept here.
        _ => return None,
    })
}

/// Says what follows from all that use `storage`.
fn finish(mut storage: Storage) -> Storage {
    storage.users.sort_by(|a, b| (&a.container, &a.path).cmp(&(&b.container, &b.path)));
    storage.project = storage.project.take().or_else(|| storage.common_project());
    storage.dangers = judge::dangers(&storage);
    storage
}

#[cfg(test)]
mod tests;
