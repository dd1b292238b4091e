//! Puts right what runs that were killed have left: removes their helpers, and then starts again what they
//! have stopped. A helper may still be restoring a volume, and its users must not run meanwhile.

use crate::api::Engine;
use crate::error::{Error, Result};
use crate::helper::{Swept, sweep};
use crate::hold::event::Observer;
use crate::hold::resume::{self, Resumed};
use crate::lease::{EngineName, Lease, State, Taken};

/// What was found in the leases of a machine.
#[derive(Debug, Default)]
pub struct Recovered {
    /// What had to run again, and does.
    pub resumed: Vec<Resumed>,
    /// What does not, and why. Its lease is kept.
    pub failed: Vec<(String, Error)>,
    /// The live processes that hold a lease: what they stopped is theirs to start.
    pub held: Vec<String>,
    /// The addresses of other engines that containers are stopped in. Their leases are kept.
    pub elsewhere: Vec<String>,
    /// Leases that cannot be read.
    pub unreadable: Vec<Error>,
    /// What became of helpers.
    pub helpers: Swept,
}

impl Recovered {
    /// Whether nothing is left but what live processes hold.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
            && self.elsewhere.is_empty()
            && self.unreadable.is_empty()
            && self.helpers.failed.is_empty()
    }

    /// One error for all that had to run and does not.
    pub fn failure(failed: Vec<(String, Error)>) -> Option<Error> {
        resume::failure(failed)
    }
}

/// Removes the helpers of dead processes, and lets all go on that leases in `state` name and `engine` has,
/// unless their holder lives.
///
/// # Errors
/// When the leases cannot be listed, the engine does not say which one it is, or a helper does not
/// end: nothing is started then.
pub async fn recover(engine: &Engine, state: &State, observer: Observer<'_>) -> Result<Recovered> {
    let mut recovered = Recovered { helpers: sweep(engine, state).await?, ..Recovered::default() };
    let leases = state.leases()?;
    if leases.is_empty() {
        return Ok(recovered);
    }
    let this = EngineName { address: engine.address().to_string(), id: engine.id().await? };
    for name in leases {
        match state.take(&name) {
            Ok(Taken::Ours(lease)) => {
                if is_of(engine, &this, &lease).await? {
                    let release = resume::all(engine, lease, observer).await;
                    recovered.resumed.extend(release.resumed);
                    recovered.failed.extend(release.failed);
                } else {
                    recovered.elsewhere.push(lease.engine().address.clone());
                }
            }
            Ok(Taken::Held { holder }) => recovered.held.push(holder),
            Ok(Taken::Gone) => {}
            Err(error) => recovered.unreadable.push(error),
        }
    }
    Ok(recovered)
}

/// Whether the containers of `lease` are those of `engine`, which calls itself `this`. An engine that has lost the file
/// with its name makes up another, and one can be reached by several addresses; but no two containers have one id.
async fn is_of(engine: &Engine, this: &EngineName, lease: &Lease) -> Result<bool> {
    if lease.record().engine.is_same(this) {
        return Ok(true);
    }
    for entry in &lease.record().entries {
        if engine.container(&entry.id).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
