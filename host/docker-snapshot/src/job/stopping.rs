//! Which containers rest while volumes are read, and how: what can write to them, as `--stop` and each
//! container's label `snapshotter.stop` say. Who only reads goes on.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::ValueEnum;
use snapshotter_engine::api::container::Container;
use snapshotter_engine::discover::{Storage, StorageUser};
use snapshotter_engine::lease::Manner;

/// The label of a container that says how it rests.
pub(crate) const LABEL: &str = "snapshotter.stop";

/// How containers that can write are brought to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StopMode {
    /// As the label `snapshotter.stop` of each says (stop, pause or never); stopped where it says nothing
    Auto,
    /// All are stopped
    Stop,
    /// All are frozen: what is read is what a crash would leave
    Pause,
    /// None: what changes meanwhile is a mixture
    Never,
}

/// The containers that are to rest while `volumes` are read, by id.
///
/// # Errors
/// When a label is not understood.
pub(crate) fn writers(
    mode: StopMode,
    volumes: &[Storage],
    containers: &[Container],
) -> anyhow::Result<BTreeMap<String, Manner>> {
    let users = volumes.iter().flat_map(|volume| &volume.users);
    let mut wanted = BTreeMap::new();
    for user in users.filter(|user| user.writable && user.state.may_write()) {
        let manner = match mode {
            StopMode::Auto => of_label(user, containers)?,
            StopMode::Stop => Some(Manner::Stop),
            StopMode::Pause => Some(Manner::Pause),
            StopMode::Never => None,
        };
        if let Some(manner) = manner {
            wanted.insert(user.id.clone(), manner);
        }
    }
    Ok(wanted)
}

/// The containers that use `volumes` and run, in whatever way: they rest while what is under them is
/// exchanged.
pub(crate) fn users(volumes: &[Storage]) -> BTreeMap<String, Manner> {
    let users = volumes.iter().flat_map(|volume| &volume.users);
    let running = users.filter(|user| user.state.may_write());
    running.map(|user| (user.id.clone(), Manner::Stop)).collect()
}

fn of_label(user: &StorageUser, containers: &[Container]) -> anyhow::Result<Option<Manner>> {
    let container = containers.iter().find(|container| container.id == user.id);
    Ok(match container.and_then(|container| container.label(LABEL)) {
        None | Some("stop") => Some(Manner::Stop),
        Some("pause") => Some(Manner::Pause),
        Some("never") => None,
        Some(other) => bail!(
            "cannot tell how {} is to rest: its label {LABEL} is {other}: make it stop, pause or never, \
             or give \
             --stop",
            user.container
        ),
    })
}
