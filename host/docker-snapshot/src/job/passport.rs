//! Looks up what goes into a passport: the containers that use the volumes, and where a project was made
//! from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use snapshotter_engine::Result;
use snapshotter_engine::api::Engine;
use snapshotter_engine::api::container::{Container, Mount};
use snapshotter_engine::compose::{self, Membership};
use snapshotter_engine::lease::Manner;

use crate::job::description::{ComposeFile, ComposePassport, ContainerPassport, MountPassport, SetKind};
use crate::job::selection::Set;

/// The containers that use the volumes of `set`.
///
/// # Errors
/// When the engine does not say what their images are.
pub(crate) async fn containers(
    engine: &Engine,
    set: &Set,
    all: &[Container],
    resting: &BTreeMap<String, Manner>,
) -> Result<Vec<ContainerPassport>> {
    let users: BTreeSet<_> =
        set.volumes.iter().flat_map(|volume| &volume.users).map(|user| user.id.as_str()).collect();
    let mut digests: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut passports = Vec::new();
    for container in all.iter().filter(|container| users.contains(container.id.as_str())) {
        let image = container.image_id.as_str();
        if !image.is_empty() && !digests.contains_key(image) {
            digests.insert(image, engine.image_digests(image).await?);
        }
        let member = Membership::of(&container.config.labels);
        passports.push(ContainerPassport {
            name: container.name().to_owned(),
            id: container.id.clone(),
            image: container.config.image.clone(),
            image_id: image.to_owned(),
            image_digests: digests.get(image).cloned().unwrap_or_default(),
            project: member.as_ref().map(|member| member.project.clone()),
            service: member.map(|member| member.service),
            state: container.state.status.word().to_owned(),
            rested: resting.get(&container.id).map(|&manner| word(manner).to_owned()),
            mounts: container.mounts.iter().map(mount).collect(),
        });
    }
    Ok(passports)
}

fn mount(mount: &Mount) -> MountPassport {
    let source = if mount.kind == "volume" { &mount.name } else { &mount.source };
    MountPassport {
        kind: mount.kind.clone(),
        source: source.clone(),
        target: mount.destination.clone(),
        writable: mount.writable,
    }
}

/// How a container rested.
fn word(manner: Manner) -> &'static str {
    match manner {
        Manner::Stop => "stopped",
        Manner::Pause => "paused",
    }
}

/// Where the project `set` was made from, as its containers say.
pub(crate) fn compose(set: &Set, all: &[Container]) -> Option<ComposePassport> {
    if set.kind != SetKind::Project {
        return None;
    }
    let labels = all.iter().map(|container| &container.config.labels);
    let mut of_project =
        labels.filter(|labels| Membership::of(labels).is_some_and(|member| member.project == set.name));
    let labels = of_project.next()?;
    let directory = compose::directory(labels)?;
    let files = compose::files(labels).into_iter().map(|path| ComposeFile {
        path: path.to_owned(),
        // Version 1 writes them as they were given.
        sha256: fs::read(Path::new(directory).join(path)).ok().map(|text| hex::encode(Sha256::digest(text))),
    });
    let (project, directory) = (set.name.clone(), directory.to_owned());
    Some(ComposePassport { project, directory, files: files.collect() })
}
