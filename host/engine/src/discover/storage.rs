//! One place where containers keep data.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::container::{Container, Status};
use crate::api::volume::Volume;
use crate::compose::{self, Membership};
use crate::discover::danger::Danger;

/// The label that engines since 23.0 put on a volume that nobody named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// A place where containers keep data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// What it is.
    pub kind: StorageKind,
    /// A volume's name, a bind's path on the engine's machine, or where a container has a piece of memory.
    pub name: String,
    /// The compose project that it belongs to: by its own label, or because all who use it are in that one.
    pub project: Option<String>,
    /// The name that the compose file has for it.
    pub key: Option<String>,
    /// Who keeps the volume.
    pub driver: Option<String>,
    /// What the driver was told when the volume was made.
    pub options: BTreeMap<String, String>,
    /// The volume's labels.
    pub labels: BTreeMap<String, String>,
    /// How much is in it, where that was asked for and the engine knows.
    pub bytes: Option<u64>,
    /// The containers that it is mounted into, running or not.
    pub users: Vec<StorageUser>,
    /// What may happen to its data.
    pub dangers: Vec<Danger>,
    /// Databases that run on it: container, and how it is known.
    #[serde(skip)]
    pub(crate) databases: Vec<(String, String)>,
}

/// What a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageKind {
    /// A volume that somebody named.
    Named,
    /// A volume that the engine named.
    Anonymous,
    /// A file or directory of the engine's machine.
    Bind,
    /// Memory of one container.
    Tmpfs,
}

impl StorageKind {
    /// The kind of a volume of which the name is known alone.
    pub(crate) fn of_name(name: &str) -> Self {
        let digits = name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if name.len() == 64 && digits { StorageKind::Anonymous } else { StorageKind::Named }
    }

    /// As a word.
    pub fn word(self) -> &'static str {
        match self {
            StorageKind::Named => "named",
            StorageKind::Anonymous => "anonymous",
            StorageKind::Bind => "bind",
            StorageKind::Tmpfs => "tmpfs",
        }
    }
}

/// A container that a place is mounted into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StorageUser {
    /// Its name.
    pub container: String,
    /// Its id.
    pub id: String,
    /// Its project and service.
    pub compose: Option<Membership>,
    /// What it is doing.
    pub state: Status,
    /// Where the place is in it.
    pub path: String,
    /// Whether it may write there.
    pub writable: bool,
}

impl StorageUser {
    pub(crate) fn new(container: &Container, path: &str, writable: bool) -> Self {
        StorageUser {
            container: container.name().to_owned(),
            id: container.id.clone(),
            compose: Membership::of(&container.config.labels),
            state: container.state.status,
            path: path.to_owned(),
            writable,
        }
    }
}

impl Storage {
    /// A place of which nothing more is known yet.
    pub fn new(kind: StorageKind, name: &str) -> Self {
        Storage {
            kind,
            name: name.to_owned(),
            project: None,
            key: None,
            driver: None,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            bytes: None,
            users: Vec::new(),
            dangers: Vec::new(),
            databases: Vec::new(),
        }
    }

    pub(crate) fn of_volume(volume: &Volume, bytes: Option<u64>) -> Self {
        let labelled = volume.labels.contains_key(ANONYMOUS);
        let kind = if labelled { StorageKind::Anonymous } else { StorageKind::of_name(&volume.name) };
        let (project, key) = compose::of_volume(&volume.labels);
        Storage {
            project,
            key,
            driver: Some(volume.driver.clone()),
            options: volume.options.clone(),
            labels: volume.labels.clone(),
            bytes,
            ..Storage::new(kind, &volume.name)
        }
    }

    /// Projects first, by name; in each, volumes by name before what is no volume.
    pub(crate) fn order(&self) -> (bool, Option<&str>, StorageKind, &str, Option<&str>) {
        let user = self.users.first().map(|user| user.container.as_str());
        (self.project.is_none(), self.project.as_deref(), self.kind, &self.name, user)
    }

    /// The project that all who use it are in.
    pub(crate) fn common_project(&self) -> Option<String> {
        let mut projects =
            self.users.iter().map(|user| user.compose.as_ref().map(|compose| &compose.project));
        let first = projects.next()??;
        projects.all(|project| project == Some(first)).then(|| first.clone())
    }

    /// Whether it is a volume, with a name that the engine knows.
    pub fn is_volume(&self) -> bool {
        matches!(self.kind, StorageKind::Named | StorageKind::Anonymous)
    }

    /// Whether it is a volume of memory: it is empty after its last container has stopped.
    pub fn is_volume_in_memory(&self) -> bool {
        self.is_volume()
            && self.options.get("type").is_some_and(|kind| matches!(kind.as_str(), "tmpfs" | "ramfs"))
    }
}
