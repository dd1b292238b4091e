//! What rests while a job works, by the lease of the engine: whatever happens, it runs again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use snapshotter_dump::{Database, Host};
use snapshotter_engine::api::Engine;
use snapshotter_engine::api::container::{Container, Status};
use snapshotter_engine::compose::Membership;
use snapshotter_engine::connect::find::Choice;
use snapshotter_engine::discover::discover;
use snapshotter_engine::hold::{Plan, Way};
use snapshotter_engine::lease::Manner;

use crate::config::Job;
use crate::job::names::near;

/// The engine, where one is to be had.
///
/// # Errors
/// When it cannot be connected to.
pub(crate) async fn engine() -> anyhow::Result<Engine> {
    let found = Choice::from_environment(None).find()?;
    Ok(Engine::connect(&found).await?)
}

/// Whether there is a socket or an address to try.
pub(crate) fn has_engine() -> bool {
    std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty())
        || std::path::Path::new("/var/run/docker.sock").exists()
}

/// Who rests while `job` backs up.
///
/// # Errors
/// When one of the services is not there, or must not be stopped.
pub(crate) async fn for_backup(engine: &Engine, job: &Job) -> anyhow::Result<Plan> {
    let there = discover(engine, false).await?;
    let ids = job.stop.iter().map(|name| meant(name, &there.containers));
    let ids: Vec<_> = ids.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect();
    let wanted = ids.into_iter().map(|id| (id, Manner::Stop)).collect();
    let way = Way::of_this_process(engine.address());
    Ok(Plan::new(&there.containers, &there.in_memory(), &wanted, &way)?)
}

/// Who rests while `job` is restored: what is to rest for a backup, and all of this project, but for this
/// container, and the servers whose databases are restored.
///
/// # Errors
/// As [`for_backup`].
pub(crate) async fn for_restore(engine: &Engine, job: &Job) -> anyhow::Result<Plan> {
    let there = discover(engine, false).await?;
    let mut wanted = BTreeMap::new();
    for name in &job.stop {
        wanted.extend(meant(name, &there.containers)?.into_iter().map(|id| (id, Manner::Stop)));
    }
    let own = own(&there.containers);
    let hosts: BTreeSet<&str> = job.databases.iter().filter_map(|named| host(&named.database)).collect();
    if let Some(project) = own.and_then(project) {
        let others = there.containers.iter().filter(|container| {
            self::project(container).as_ref() == Some(&project)
                && own.is_none_or(|own| own.id != container.id)
                && !is_called(container, &hosts)
                && Membership::of(&container.config.labels).is_some_and(|member| !member.one_off)
        });
        wanted.extend(others.map(|container| (container.id.clone(), Manner::Stop)));
    }
    let way = Way::of_this_process(engine.address());
    Ok(Plan::new(&there.containers, &there.in_memory(), &wanted, &way)?)
}

/// Those of `names` that do not run.
///
/// # Errors
/// When the engine does not answer.
pub(crate) async fn ended(engine: &Engine, names: &[String]) -> anyhow::Result<Vec<String>> {
    let all = engine.containers().await?;
    let ended = all.iter().filter(|container| {
        names.iter().any(|name| name == container.name())
            && !matches!(container.state.status, Status::Running | Status::Paused)
    });
    Ok(ended.map(|container| container.name().to_owned()).collect())
}

/// The containers that `name` names: a container of that name, or those of a service, in this container's
/// own project if there is one there.
fn meant(name: &str, all: &[Container]) -> anyhow::Result<Vec<String>> {
    if let Some(container) = all.iter().find(|container| container.name() == name) {
        return Ok(vec![container.id.clone()]);
    }
    let service = |container: &&Container| {
        Membership::of(&container.config.labels)
            .is_some_and(|member| member.service == name && !member.one_off)
    };
    let mut found: Vec<_> = all.iter().filter(service).collect();
    if let Some(project) = own(all).and_then(project)
        && found.iter().any(|container| self::project(container).as_ref() == Some(&project))
    {
        found.retain(|container| self::project(container).as_ref() == Some(&project));
    }
    let projects: BTreeSet<_> = found.iter().filter_map(|container| self::project(container)).collect();
    if projects.len() > 1 {
        let projects = projects.into_iter().collect::<Vec<_>>().join(" and ");
        bail!("cannot stop {name}: {projects} have a service of that name: give the container's name");
    }
    if found.is_empty() {
        let names = all.iter().map(Container::name);
        let near = near(name, names).map(|near| format!(": perhaps {near} was meant")).unwrap_or_default();
        bail!("cannot stop {name}: there is no container or service of that name{near}");
    }
    Ok(found.into_iter().map(|container| container.id.clone()).collect())
}

/// The container that this program runs in.
fn own(all: &[Container]) -> Option<&Container> {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let hostname = hostname.trim();
    all.iter()
        .find(|container| container.config.hostname == hostname && container.state.status == Status::Running)
}

fn project(container: &Container) -> Option<String> {
    Membership::of(&container.config.labels).map(|member| member.project)
}

/// The server of a database.
fn host(database: &Database) -> Option<&str> {
    match database {
        Database::Postgres(at) | Database::Mysql(at) | Database::Redis(at) | Database::Mongo(at) => {
            match &at.host {
                Host::Tcp { host, .. } => Some(host),
                _ => None,
            }
        }
        Database::Sqlite(_) => None,
    }
}

/// Whether others reach `container` under one of `hosts`.
fn is_called(container: &Container, hosts: &BTreeSet<&str>) -> bool {
    let service = Membership::of(&container.config.labels).map(|member| member.service);
    let networks = container.network_settings.networks.values();
    let mut names = networks.flat_map(|network| network.aliases.iter().chain([&network.address]));
    hosts.contains(container.name())
        || hosts.contains(container.config.hostname.as_str())
        || service.is_some_and(|service| hosts.contains(service.as_str()))
        || names.any(|name| hosts.contains(name.as_str()))
}

/// The engine that a job needs which stops something; none where it does not.
///
/// # Errors
/// When there is none.
pub(crate) async fn needed(job: &Job) -> anyhow::Result<Option<Engine>> {
    if job.stop.is_empty() {
        return Ok(None);
    }
    let engine = engine().await;
    engine.map(Some).context(
        "cannot stop what BACKUP_STOP_SERVICES names: mount /var/run/docker.sock into this container, or \
         unset it",
    )
}
