//! Which volumes a command is about: what was asked for, held against what the engine has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use snapshotter_engine::api::container::Container;
use snapshotter_engine::compose::{self, Membership};
use snapshotter_engine::discover::{Storage, StorageKind};

use crate::job::description::SetKind;
use crate::job::names::{is_legal, near};

/// The label that keeps a volume out of what is taken as a whole: `snapshotter.enable=false`.
const ENABLE: &str = "snapshotter.enable";

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// Volumes by name, each for itself.
    Volumes(Vec<String>),
    /// The volumes of a compose project, by its name or its directory.
    Project(String),
    /// The volumes of a container.
    Container(String),
    /// Each project, and each volume that belongs to none.
    All,
}

/// What one archive holds.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) kind: SetKind,
    pub(crate) volumes: Vec<Storage>,
}

/// What is to be done, and what is worth saying about what is not.
#[derive(Debug)]
pub(crate) struct Sets {
    pub(crate) sets: Vec<Set>,
    pub(crate) notes: Vec<String>,
}

/// Finds what is wanted among what there is.
///
/// # Errors
/// When something of it is not there, or nothing is left of it.
pub(crate) fn select(
    wanted: &Wanted,
    storages: &[Storage],
    containers: &[Container],
) -> anyhow::Result<Sets> {
    let mut found = Sets { sets: Vec::new(), notes: Vec::new() };
    match wanted {
        Wanted::Volumes(names) => {
            let names: BTreeSet<_> = names.iter().collect();
            for name in names {
                let volume = volume(name, storages)?;
                found.add(name, SetKind::Volume, vec![volume])?;
            }
        }
        Wanted::Project(text) => {
            let project = project(text, storages, containers)?;
            let volumes = found.of_project(&project, storages, containers);
            if volumes.is_empty() {
                bail!(
                    "cannot make a snapshot of the project {project}: it has no volume: `docker snapshot \
                     volumes` shows what there is"
                );
            }
            found.add(&project, SetKind::Project, volumes)?;
        }
        Wanted::Container(name) => {
            let container = container(name, containers)?;
            let mounted = |storage: &&Storage| {
                storage.is_volume() && storage.users.iter().any(|user| user.id == container.id)
            };
            let volumes: Vec<_> = storages.iter().filter(mounted).cloned().collect();
            let name = container.name();
            ensure!(
                !volumes.is_empty(),
                "cannot make a snapshot of the container {name}: it has no volume: `docker snapshot volumes` \
                 shows what there is"
            );
            found.notes_on_binds(storages, |id| id == container.id);
            found.add(name, SetKind::Container, volumes)?;
        }
        Wanted::All => found.all(storages, containers)?,
    }
    Ok(found)
}

impl Sets {
    fn add(&mut self, name: &str, kind: SetKind, mut volumes: Vec<Storage>) -> anyhow::Result<()> {
        ensure!(is_legal(name), "cannot make a snapshot of {name}: that name cannot be a directory's");
        for volume in &volumes {
            let name = &volume.name;
            ensure!(is_legal(name), "cannot make a snapshot of {name}: that name cannot be a file's");
            let is_used = volume.users.iter().any(|user| {
                user.state.may_write() || user.state == snapshotter_engine::api::container::Status::Paused
            });
            ensure!(
                is_used || !volume.is_volume_in_memory(),
                "cannot make a snapshot of {name}: it is in memory, and empty while no container uses it: \
                 start \
                 one first"
            );
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        self.sets.push(Set { name: name.to_owned(), kind, volumes });
        Ok(())
    }

    /// The volumes that belong to `project`, and those that its containers use.
    fn of_project(&mut self, project: &str, storages: &[Storage], containers: &[Container]) -> Vec<Storage> {
        let member = |container: &&Container| {
            Membership::of(&container.config.labels).is_some_and(|member| member.project == project)
        };
        let members: BTreeSet<_> =
            containers.iter().filter(member).map(|container| container.id.as_str()).collect();
        let belongs = |storage: &&Storage| {
            storage.is_volume()
                && (storage.project.as_deref() == Some(project)
                    || storage.users.iter().any(|user| members.contains(user.id.as_str())))
        };
        self.notes_on_binds(storages, |id| members.contains(id));
        storages.iter().filter(belongs).filter(|storage| self.is_enabled(storage)).cloned().collect()
    }

    fn all(&mut self, storages: &[Storage], containers: &[Container]) -> anyhow::Result<()> {
        let projects: BTreeSet<_> = storages
            .iter()
            .filter(|storage| storage.is_volume())
            .filter_map(|storage| storage.project.as_deref())
            .collect();
        for project in projects {
            let volumes = self.of_project(project, storages, containers);
            if !volumes.is_empty() {
                self.add(project, SetKind::Project, volumes)?;
            }
        }
        let taken: BTreeSet<_> =
            self.sets.iter().flat_map(|set| &set.volumes).map(|volume| volume.name.clone()).collect();
        for storage in storages.iter().filter(|storage| storage.is_volume()) {
            if taken.contains(&storage.name) || storage.project.is_some() || !self.is_enabled(storage) {
                continue;
            }
            if storage.kind == StorageKind::Anonymous && storage.users.is_empty() {
                self.notes
                    .push(format!("left out: {}: nobody named it, and no container uses it", storage.name));
                continue;
            }
            self.add(&storage.name, SetKind::Volume, vec![storage.clone()])?;
        }
        ensure!(!self.sets.is_empty(), "cannot make a snapshot: there is no volume");
        Ok(())
    }

    fn is_enabled(&mut self, storage: &Storage) -> bool {
        let enabled = storage.labels.get(ENABLE).is_none_or(|value| !value.eq_ignore_ascii_case("false"));
        if !enabled {
            self.notes.push(format!("left out: {}: its label {ENABLE} says so", storage.name));
        }
        enabled
    }

    /// Says which directories of the engine's machine are used beside the volumes.
    fn notes_on_binds(&mut self, storages: &[Storage], uses: impl Fn(&str) -> bool) {
        let bind = |storage: &&Storage| {
            storage.kind == StorageKind::Bind
                && storage.users.iter().any(|user| user.writable && uses(&user.id))
        };
        let paths: Vec<_> = storages.iter().filter(bind).map(|storage| storage.name.as_str()).collect();
        if !paths.is_empty() {
            self.notes.push(format!("left out: what is mounted and is no volume: {}", paths.join(", ")));
        }
    }
}

/// The volume called `name`.
///
/// # Errors
/// When there is none.
fn volume(name: &str, storages: &[Storage]) -> anyhow::Result<Storage> {
    let volumes = || storages.iter().filter(|storage| storage.is_volume());
    if let Some(found) = volumes().find(|storage| storage.name == name) {
        return Ok(found.clone());
    }
    bail!(
        "cannot find the volume {name}: the engine has none of that name{}",
        meant(name, volumes().map(|storage| storage.name.as_str()))
    )
}

/// The container called `name`, or with the id that begins so.
fn container<'a>(name: &str, containers: &'a [Container]) -> anyhow::Result<&'a Container> {
    if let Some(found) = containers.iter().find(|container| container.name() == name) {
        return Ok(found);
    }
    let mut by_id = containers.iter().filter(|container| name.len() >= 4 && container.id.starts_with(name));
    if let (Some(found), None) = (by_id.next(), by_id.next()) {
        return Ok(found);
    }
    bail!(
        "cannot find the container {name}: the engine has none of that name{}",
        meant(name, containers.iter().map(Container::name))
    )
}

/// The name of the project that `text` names, or whose directory it is.
fn project(text: &str, storages: &[Storage], containers: &[Container]) -> anyhow::Result<String> {
    let is_path = text.contains('/') || matches!(text, "." | "..");
    let known: BTreeSet<String> = containers
        .iter()
        .filter_map(|container| Membership::of(&container.config.labels))
        .map(|member| member.project)
        .chain(
            storages
                .iter()
                .filter(|storage| storage.is_volume())
                .filter_map(|storage| storage.project.clone()),
        )
        .collect();
    if !is_path && known.contains(text) {
        return Ok(text.to_owned());
    }
    let Some(directory) = directory_at(text) else {
        bail!(
            "cannot find the project {text}: no container and no volume belongs to one of that name{}",
            meant(text, known.iter().map(String::as_str))
        )
    };
    let made_there = |container: &&Container| {
        compose::directory(&container.config.labels).is_some_and(|made| Path::new(made) == directory)
    };
    let found: BTreeSet<_> = containers
        .iter()
        .filter(made_there)
        .filter_map(|container| Membership::of(&container.config.labels))
        .map(|member| member.project)
        .collect();
    let directory = directory.display();
    match found.len() {
        1 => Ok(found.into_iter().next().unwrap_or_default()),
        0 => bail!(
            "cannot find the project of {directory}: no container was made from there: make them (`docker \
             compose create`), or give the project's name"
        ),
        _ => bail!(
            "cannot tell which project of {directory} is meant: give one of these names: {}",
            found.into_iter().collect::<Vec<_>>().join(", ")
        ),
    }
}

fn directory_at(text: &str) -> Option<PathBuf> {
    fs::canonicalize(text).ok().filter(|path| path.is_dir())
}

/// What to do where `wanted` is not among `names`.
pub(crate) fn meant<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    match near(wanted, names) {
        Some(near) => format!(": is {near} meant? `docker snapshot volumes` shows what there is"),
        None => ": `docker snapshot volumes` shows what there is".to_owned(),
    }
}
