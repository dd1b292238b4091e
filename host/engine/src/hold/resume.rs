//! Lets what a lease says go on. It may be done again and again: what runs is left alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::sleep;

use crate::api::Engine;
use crate::api::container::{Container, Healthcheck, Status};
use crate::compose::Membership;
use crate::error::{Error, Result};
use crate::hold::event::{Event, Observer};
use crate::lease::{Entry, Lease, Manner};

/// How long what depends on a container waits for its healthcheck at most. A database that mends itself takes its
/// time, but nothing may stay stopped for ever.
const HEALTH: Duration = Duration::from_mins(5);
/// What an engine may need beside the time that a container has to stop.
const DELAY: Duration = Duration::from_secs(5);
/// How long a container may take to stop that is never killed, and how long that is watched.
const ENDLESS: Duration = Duration::from_hours(1);
const WATCH: Duration = Duration::from_mins(1);
/// How often the engine is asked.
const POLL: Duration = Duration::from_millis(200);

/// A container that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resumed {
    /// Its name.
    pub container: String,
    /// What was found and done.
    pub outcome: Outcome,
}

/// What was found and done about a container that must run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It runs again.
    Started,
    /// It ran already: somebody else started it, or it had not been stopped yet.
    Running,
    /// Compose had made it anew, and that one runs.
    Replaced,
    /// It was removed, and nothing is in its place.
    Gone,
}

/// What came of a lease.
#[derive(Debug, Default)]
pub(crate) struct Release {
    pub(crate) resumed: Vec<Resumed>,
    pub(crate) failed: Vec<(String, Error)>,
}

impl Release {
    /// An error that names all that do not run.
    pub(crate) fn into_result(self) -> Result<Vec<Resumed>> {
        failure(self.failed).map_or(Ok(self.resumed), Err)
    }
}

/// One error for all that do not run.
pub(crate) fn failure(failed: Vec<(String, Error)>) -> Option<Error> {
    let (containers, mut errors): (Vec<_>, Vec<_>) = failed.into_iter().unzip();
    let source = (!errors.is_empty()).then(|| Box::new(errors.swap_remove(0)))?;
    Some(Error::StaysStopped { containers, source })
}

/// Lets all that `lease` names go on, what others depend on first. That one fails keeps none of the others
/// back.
pub(crate) async fn all(engine: &Engine, mut lease: Lease, observer: Observer<'_>) -> Release {
    let mut waves: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
    for entry in &lease.record().entries {
        waves.entry(entry.depth).or_default().push(entry.clone());
    }
    let mut release = Release::default();
    let mut to_wait_for = Vec::new();
    for wave in waves.into_values() {
        join_all(to_wait_for.drain(..).map(|container| healthy(engine, container, observer))).await;
        let results = join_all(wave.iter().map(|entry| one(engine, entry, observer))).await;
        let mut settled = Vec::new();
        for (entry, result) in wave.iter().zip(results) {
            match result {
                Ok((outcome, container)) => {
                    settled.push(entry);
                    to_wait_for.extend(container);
                    release.resumed.push(Resumed { container: entry.name.clone(), outcome });
                }
                Err(error) => {
                    observer(&Event::Failed(&error));
                    release.failed.push((entry.name.clone(), error));
                }
            }
        }
        settle(&mut lease, &settled, observer);
    }
    release
}

/// Takes what runs out of the lease. That this fails is no reason to leave others stopped.
fn settle(lease: &mut Lease, entries: &[&Entry], observer: Observer<'_>) {
    if entries.is_empty() {
        return;
    }
    let ids: Vec<_> = entries.iter().map(|entry| entry.id.clone()).collect();
    match lease.settle(&ids) {
        Ok(()) => entries.iter().for_each(|entry| observer(&Event::Settled(&entry.name))),
        Err(error) => observer(&Event::Failed(&error)),
    }
}

/// Lets one go on, and returns it where others may wait for its health.
async fn one(engine: &Engine, entry: &Entry, observer: Observer<'_>) -> Result<(Outcome, Option<Container>)> {
    let name = entry.name.as_str();
    let Some(container) = settled(engine, entry, observer).await? else {
        return replacement(engine, entry, observer).await;
    };
    let now = &container.host_config.restart_policy;
    let was_taken = entry.manner == Manner::Stop && !entry.restart.is_never() && now.is_never();
    if was_taken && engine.changes_restart_policies() {
        engine.set_restart_policy(&container, &entry.restart).await?;
        observer(&Event::PolicyGiven(name));
    }
    let outcome = match container.state.status {
        Status::Paused if entry.manner == Manner::Pause => {
            engine.unpause(&container).await?;
            Outcome::Started
        }
        // Somebody else has paused it, and so has started it before.
        Status::Running | Status::Restarting | Status::Paused | Status::Unknown => Outcome::Running,
        Status::Exited | Status::Created | Status::Removing | Status::Dead => {
            start(engine, &container, observer).await?;
            Outcome::Started
        }
    };
    observer(&Event::Resumed(name));
    Ok((outcome, Some(container)))
}

/// The container of `entry`, when no earlier request to rest can reach it any longer; `None` when it is gone.
/// An engine goes on stopping a container whose asker has died, and until then it looks as if it ran.
async fn settled(engine: &Engine, entry: &Entry, observer: Observer<'_>) -> Result<Option<Container>> {
    let mut told = false;
    loop {
        let found = engine.container(&entry.id).await?;
        let is_there =
            |container: &Container| !matches!(container.state.status, Status::Removing | Status::Dead);
        let Some(container) = found.filter(is_there) else { return Ok(None) };
        let Some(since) = entry.since_asked().filter(|_| container.state.status.may_write()) else {
            return Ok(Some(container));
        };
        let may_take = entry.patience.map_or(ENDLESS, Duration::from_secs) + DELAY;
        if since >= may_take {
            return Ok(Some(container));
        }
        if entry.patience.is_none() && since >= WATCH {
            return Err(Error::StillStopping { container: entry.name.clone() });
        }
        if !told {
            observer(&Event::Settling(&entry.name));
            told = true;
        }
        sleep(POLL).await;
    }
}

/// What compose has made in the place of a container that is gone.
async fn replacement(
    engine: &Engine,
    entry: &Entry,
    observer: Observer<'_>,
) -> Result<(Outcome, Option<Container>)> {
    let Some(member) = &entry.compose else { return Ok((Outcome::Gone, None)) };
    let all = engine.containers().await?;
    let same = |container: &&Container| Membership::of(&container.config.labels).as_ref() == Some(member);
    let Some(container) = all.iter().find(same) else { return Ok((Outcome::Gone, None)) };
    if matches!(container.state.status, Status::Exited | Status::Created) {
        start(engine, container, observer).await?;
    }
    observer(&Event::Resumed(container.name()));
    Ok((Outcome::Replaced, Some(container.clone())))
}

async fn start(engine: &Engine, container: &Container, observer: Observer<'_>) -> Result<()> {
    engine.start(container).await?;
    if let Some(now) = engine.container(&container.id).await?
        && now.state.status == Status::Exited
    {
        observer(&Event::Ended(container.name(), now.state.exit_code));
    }
    Ok(())
}

/// Waits until the container's healthcheck is content, for a time: what depends on it is started all the
/// same.
async fn healthy(engine: &Engine, container: Container, observer: Observer<'_>) {
    let name = container.name();
    let begin = Instant::now();
    let mut told = false;
    // Podman checks health by systemd alone: without it, no check ever says anything.
    let check = container.config.healthcheck.as_ref().map(Healthcheck::patience);
    let limit = check.map_or(HEALTH, |check| check.saturating_add(DELAY).min(HEALTH));
    while begin.elapsed() < limit {
        // Whatever keeps the engine from answering keeps it from starting what comes next as well, which is
        // told.
        let Ok(Some(now)) = engine.container(&container.id).await else { return };
        let runs = matches!(now.state.status, Status::Running | Status::Restarting);
        match now.state.health.as_ref().map(|health| health.status.as_str()) {
            Some("starting") if runs => {}
            Some("unhealthy") => break,
            _ => return,
        }
        if !told {
            observer(&Event::Waiting(name));
            told = true;
        }
        sleep(POLL).await;
    }
    observer(&Event::Unhealthy(name));
}
