//! Which containers are brought to rest, and which of them cannot be: settled before anything is touched.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::container::{Container, Mount, Status};
use crate::compose::{self, Membership};
use crate::error::{Error, Result};
use crate::helper;
use crate::hold::order;
use crate::hold::way::Way;
use crate::lease::{Entry, Manner};
use crate::obstacle::Obstacle;

/// What is to rest, in the order in which it does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Those of one wave rest together.
    pub(crate) waves: Vec<Vec<Planned>>,
}

/// A container that is to rest.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) container: Container,
    pub(crate) entry: Entry,
}

impl Plan {
    /// For those of the containers with the ids `wanted` that may write, each in its manner; what is paused
    /// or does not run stays as it is. To stop a container whose namespaces others share stops these with it,
    /// in whatever manner they were wanted: they would not find them again.
    /// `containers` are all that the engine has, `in_memory` the names of volumes that are empty when nobody
    /// uses them.
    ///
    /// # Errors
    /// When one of them must not be brought to rest in its manner.
    pub fn new(
        containers: &[Container],
        in_memory: &BTreeSet<String>,
        wanted: &BTreeMap<String, Manner>,
        way: &Way,
    ) -> Result<Self> {
        let depths = order::depths(containers);
        let stopped = with_sharers(containers, wanted)?;
        let mut waves: BTreeMap<u32, Vec<Planned>> = BTreeMap::new();
        for container in containers {
            let stops = stopped.contains(container.id.as_str()).then_some(Manner::Stop);
            let Some(manner) = stops.or_else(|| wanted.get(&container.id).copied()) else { continue };
            if !container.state.status.may_write() {
                continue;
            }
            let helper = container.label(helper::LABEL).map(|_| Obstacle::Helper);
            let obstacle = way.obstacle(container).or(helper).or_else(|| match manner {
                Manner::Stop => obstacle(container, containers, in_memory),
                Manner::Pause => None,
            });
            if let Some(obstacle) = obstacle {
                return Err(Error::Obstacle { container: container.name().to_owned(), obstacle });
            }
            let depth = depths.get(container.id.as_str()).copied().unwrap_or(0);
            let entry = Entry {
                id: container.id.clone(),
                name: container.name().to_owned(),
                compose: Membership::of(&container.config.labels),
                manner,
                restart: container.host_config.restart_policy.clone(),
                depth,
                patience: match manner {
                    Manner::Stop => container.stop_patience().map(|patience| patience.as_secs()),
                    Manner::Pause => Some(0),
                },
                asked: None,
            };
            waves.entry(depth).or_default().push(Planned { container: container.clone(), entry });
        }
        Ok(Plan { waves: waves.into_values().rev().collect() })
    }

    /// Whether nothing has to rest.
    pub fn is_empty(&self) -> bool {
        self.waves.is_empty()
    }

    /// The names of what is to rest, in that order.
    pub fn names(&self) -> Vec<&str> {
        self.waves.iter().flatten().map(|planned| planned.container.name()).collect()
    }

    /// How each of them rests, by id.
    pub fn manners(&self) -> BTreeMap<String, Manner> {
        self.waves.iter().flatten().map(|planned| (planned.entry.id.clone(), planned.entry.manner)).collect()
    }

    /// What the lease says.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.waves.iter().flatten().map(|planned| planned.entry.clone()).collect()
    }
}

/// The ids that are wanted stopped, and of what shares a namespace with a running one of them, or with one
/// that does.
fn with_sharers<'a>(
    containers: &'a [Container],
    wanted: &'a BTreeMap<String, Manner>,
) -> Result<BTreeSet<&'a str>> {
    let stopped = wanted.iter().filter(|&(_, &manner)| manner == Manner::Stop);
    let mut chosen: BTreeSet<&str> = stopped.map(|(id, _)| id.as_str()).collect();
    loop {
        let before = chosen.len();
        for sharer in containers {
            let owner = containers.iter().find(|owner| {
                let shares =
                    |mode: &str| order::shared_with(mode).is_some_and(|name| order::is_meant(owner, name));
                chosen.contains(owner.id.as_str())
                    && owner.state.status.may_write()
                    && order::namespaces(sharer).into_iter().any(shares)
            });
            let Some(owner) = owner else { continue };
            if sharer.state.status == Status::Paused {
                let obstacle = Obstacle::PausedSharer(sharer.name().to_owned());
                return Err(Error::Obstacle { container: owner.name().to_owned(), obstacle });
            }
            chosen.insert(&sharer.id);
        }
        if chosen.len() == before {
            return Ok(chosen);
        }
    }
}

/// Why `container` must not be stopped, if it must not.
fn obstacle(container: &Container, all: &[Container], in_memory: &BTreeSet<String>) -> Option<Obstacle> {
    let member = Membership::of(&container.config.labels);
    let memory = |mount: &&Mount| mount.kind == "volume" && in_memory.contains(&mount.name);
    if container.host_config.auto_remove {
        return Some(Obstacle::AutoRemove);
    }
    if let Some(service) = container.label("com.docker.swarm.service.name") {
        return Some(Obstacle::Swarm(service.to_owned()));
    }
    if let Some(member) = &member {
        if member.one_off {
            return Some(Obstacle::OneOff);
        }
        if all.iter().any(|other| awaits_end(other, member)) {
            return Some(Obstacle::OneShot);
        }
    }
    container.mounts.iter().find(memory).map(|mount| Obstacle::Memory(mount.name.clone()))
}

/// Whether `other` starts only when the service of `member` has done its work.
fn awaits_end(other: &Container, member: &Membership) -> bool {
    Membership::of(&other.config.labels).is_some_and(|of| of.project == member.project)
        && compose::dependencies(&other.config.labels)
            .iter()
            .any(|dependency| dependency.completes && dependency.service == member.service)
}

#[cfg(test)]
mod tests;
