//! Removes the helpers of runs that were killed.

use std::time::Duration;

use crate::api::Engine;
use crate::error::{Error, Result};
use crate::helper::LABEL;
use crate::lease::{Fate, State};

/// How long the core has to put back what it has begun.
const GRACE: Duration = Duration::from_mins(1);

/// What was found.
#[derive(Debug, Default)]
pub struct Swept {
    /// The helpers that are removed.
    pub removed: Vec<String>,
    /// Those that have ended and cannot be removed.
    pub failed: Vec<(String, Error)>,
    /// Those of live processes.
    pub held: Vec<String>,
    /// Those of other machines, or of who keeps leases elsewhere: whether their owners live is not known
    /// here.
    pub elsewhere: Vec<String>,
}

/// Removes all helpers in `engine` whose owners, who use `state`, are dead. What still works is asked to end
/// first, so that it puts back what it has begun.
///
/// # Errors
/// When the engine does not say what there is, or one does not end: it may still write to a volume.
pub async fn sweep(engine: &Engine, state: &State) -> Result<Swept> {
    let mut swept = Swept::default();
    if !state.has_owned() {
        return Ok(swept);
    }
    for (id, label) in engine.labelled(LABEL).await? {
        let Some(container) = engine.container(&id).await? else { continue };
        let name = container.name().to_owned();
        match state.fate(&label)? {
            Fate::Lives(_) => swept.held.push(name),
            Fate::Elsewhere => swept.elsewhere.push(name),
            Fate::Dead => {
                if let Err(source) = engine.end(&id, GRACE).await
                    && !source.is_not_there()
                    && engine.container(&id).await?.is_some_and(|now| now.state.status.may_write())
                {
                    return Err(Error::StaysHelper { helper: name, source: Box::new(source) });
                }
                match engine.remove(&id).await {
                    Ok(()) => swept.removed.push(name),
                    Err(error) => swept.failed.push((name, error)),
                }
            }
        }
    }
    state.forget_dead_owners()?;
    Ok(swept)
}
