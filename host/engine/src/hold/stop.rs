//! Brings the containers of a plan to rest.

use futures_util::future::join_all;

use crate::api::Engine;
use crate::api::container::{RestartPolicy, Status};
use crate::error::{Error, Result};
use crate::hold::event::{Event, Observer};
use crate::hold::plan::{Plan, Planned};
use crate::hold::resume::{self, Resumed};
use crate::lease::{EngineName, Lease, Manner, Record, State};

/// How an engine ends what did not end in time.
const KILLED: i64 = 128 + 9;

/// Containers at rest. They go on by [`Held::release`]; without it they stay at rest, and the lease on disk
/// says so.
#[derive(Debug)]
#[must_use = "containers stay at rest until they are released"]
pub struct Held<'a> {
    engine: &'a Engine,
    lease: Option<Lease>,
}

/// Brings to rest what `plan` says. The lease is on disk before the first container is touched. When one of
/// them cannot be brought to rest, all go on again.
///
/// # Errors
/// When the lease cannot be written, and when a container does not come to rest. Should one not go on either,
/// the error is that, and says so.
pub async fn hold<'a>(
    engine: &'a Engine,
    state: &State,
    plan: Plan,
    observer: Observer<'_>,
) -> Result<Held<'a>> {
    if plan.is_empty() {
        return Ok(Held { engine, lease: None });
    }
    let name = EngineName { address: engine.address().to_string(), id: engine.id().await? };
    let mut lease = state.claim(Record::new(name, plan.entries()))?;
    observer(&Event::Recorded);
    for wave in &plan.waves {
        let ids: Vec<_> = wave.iter().map(|planned| planned.entry.id.clone()).collect();
        if let Err(error) = lease.ask(&ids) {
            return Err(go_on(engine, lease, error, observer).await);
        }
        let results = join_all(wave.iter().map(|planned| rest(engine, planned, observer))).await;
        let ended = wave.iter().zip(&results).filter(|(_, result)| matches!(result, Ok(Rest::EndedItself)));
        let ended: Vec<_> = ended.map(|(planned, _)| planned.entry.id.clone()).collect();
        let settled = if ended.is_empty() { Ok(()) } else { lease.settle(&ended) };
        let failure = results.into_iter().find_map(Result::err).or(settled.err());
        if let Some(error) = failure {
            return Err(go_on(engine, lease, error, observer).await);
        }
    }
    let lease = Some(lease).filter(|lease| !lease.record().entries.is_empty());
    Ok(Held { engine, lease })
}

impl Held<'_> {
    /// The names of the containers at rest, in the order in which they came to it.
    pub fn names(&self) -> Vec<&str> {
        let entries = self.lease.iter().flat_map(|lease| &lease.record().entries);
        entries.map(|entry| entry.name.as_str()).collect()
    }

    /// Lets all of them go on, in the order of what they depend on.
    ///
    /// # Errors
    /// When some of them do not. The lease keeps these.
    pub async fn release(self, observer: Observer<'_>) -> Result<Vec<Resumed>> {
        match self.lease {
            Some(lease) => resume::all(self.engine, lease, observer).await.into_result(),
            None => Ok(Vec::new()),
        }
    }
}

/// Whether a container came to rest, or had ended by itself.
enum Rest {
    Held,
    EndedItself,
}

async fn rest(engine: &Engine, planned: &Planned, observer: Observer<'_>) -> Result<Rest> {
    let (container, entry) = (&planned.container, &planned.entry);
    let name = container.name();
    match entry.manner {
        Manner::Pause => {
            observer(&Event::Holding(name, Manner::Pause));
            engine.pause(container).await?;
        }
        Manner::Stop => {
            // An engine that is restarted meanwhile would start it.
            if !entry.restart.is_never() && engine.changes_restart_policies() {
                engine.set_restart_policy(container, &RestartPolicy::never()).await?;
                observer(&Event::PolicyTaken(name));
            }
            observer(&Event::Holding(name, Manner::Stop));
            let ran = engine.stop(container).await?;
            if !ran && entry.restart.is_never() {
                observer(&Event::EndedItself(name));
                return Ok(Rest::EndedItself);
            }
            let now = engine.container(&container.id).await?;
            let now = now.ok_or_else(|| Error::Gone { container: name.to_owned() })?;
            if !matches!(now.state.status, Status::Exited | Status::Created | Status::Dead) {
                return Err(Error::RunsAgain { container: name.to_owned() });
            }
            if now.state.exit_code == KILLED {
                observer(&Event::Killed(name));
            }
        }
    }
    observer(&Event::Held(name));
    Ok(Rest::Held)
}

/// Lets all go on after `error`, which is returned unless something worse happens.
async fn go_on(engine: &Engine, lease: Lease, error: Error, observer: Observer<'_>) -> Error {
    match resume::all(engine, lease, observer).await.into_result() {
        Ok(_) => error,
        Err(worse) => {
            observer(&Event::Failed(&error));
            worse
        }
    }
}
