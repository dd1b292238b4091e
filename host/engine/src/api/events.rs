//! What has happened in an engine.

use std::time::Duration;

use serde::Deserialize;
use snapshotter::time::Time;

use crate::api::client::Call;
use crate::api::engine::Engine;
use crate::api::query::encode;
use crate::error::{Error, Result};

/// A container that was started or let go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "Actor")]
    actor: Actor,
}

#[derive(Debug, Default, Deserialize)]
struct Actor {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "Attributes", default)]
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
struct Attributes {
    #[serde(default)]
    name: String,
}

/// Containers that are started, or let go on, only.
const FILTERS: &str = r#"{"type":["container"],"event":["start","unpause"]}"#;

impl Engine {
    /// The containers that were started, or let go on, from `since`, by the engine's clock, for as long as
    /// `elapsed`, as far as the engine remembers: Docker keeps the last 256 events of all kinds.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn started(&self, since: Time, elapsed: Duration) -> Result<Vec<Started>> {
        let filters = encode(FILTERS);
        let nanos = i128::from(since.secs) * 1_000_000_000 + i128::from(since.nanos);
        let until = nanos + i128::try_from(elapsed.as_nanos()).unwrap_or_default();
        let [since, until] =
            [nanos, until].map(|nanos| format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000));
        // Podman follows what comes unless it is told not to.
        let path = format!("/events?since={since}&until={until}&stream=false&filters={filters}");
        let action = "ask what was started meanwhile";
        let answer = self.client.call(&Call::get(action, path)).await?;
        let events = serde_json::Deserializer::from_slice(answer.body()).into_iter::<Event>();
        let started = events
            .map(|event| event.map(|Event { actor }| Started { id: actor.id, name: actor.attributes.name }));
        started
            .collect::<Result<_, _>>()
            .map_err(|source| Error::Answer { action: action.to_owned(), source })
    }
}
