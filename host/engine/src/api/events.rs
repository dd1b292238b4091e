//! What happens in an engine while volumes are read. Docker remembers the last 256 events of all kinds, and a
//! busy engine has so many healthchecks in half a minute; so events are heard as they come, and the engine is
//! asked at the end for those that are still on their way.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use snapshotter::time::Time;
use tokio::task::JoinHandle;

use crate::api::client::{Call, Following};
use crate::api::engine::Engine;
use crate::api::nullable::or_default;
use crate::api::query::encode;
use crate::error::{Error, Result};

/// Something by which a volume may have got another writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A container was started, or let go on.
    Started {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
    },
    /// A volume was mounted for writing. Docker alone says so, and says it for `docker cp` too.
    Mounted {
        /// The volume's name.
        volume: String,
        /// The id of the container that has it.
        id: String,
    },
}

/// Hears what happens, from when it was made.
#[derive(Debug)]
pub struct Watch<'a> {
    engine: &'a Engine,
    /// By the engine's clock.
    since: Time,
    begun: Instant,
    heard: Heard,
    /// Ends when nothing more can be heard, and says why.
    hearing: JoinHandle<Result<()>>,
}

type Heard = Arc<Mutex<Vec<Happening>>>;

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(rename = "Action", default)]
    action: String,
    #[serde(rename = "Actor", default)]
    actor: Actor,
}

#[derive(Debug, Default, Deserialize)]
struct Actor {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "Attributes", default, deserialize_with = "or_default")]
    attributes: BTreeMap<String, String>,
}

const FILTERS: &str = r#"{"type":["container","volume"],"event":["start","unpause","mount"]}"#;
const ACTION: &str = "ask what is started meanwhile";
/// How long an engine may take to begin.
const BEGIN: Duration = Duration::from_secs(30);

impl Engine {
    /// Watches from now on, by the engine's clock.
    ///
    /// # Errors
    /// When the engine does not let anybody.
    pub async fn watch(&self) -> Result<Watch<'_>> {
        let since = self.now().await?;
        let begun = Instant::now();
        let path = format!("/events?since={}&filters={}", stamp(nanos(since)), encode(FILTERS));
        let events = self.client.follow(&Call::get(ACTION, path).within(BEGIN)).await?;
        let heard = Heard::default();
        let hearing = tokio::spawn(hear(events, Arc::clone(&heard)));
        Ok(Watch { engine: self, since, begun, heard, hearing })
    }
}

impl Watch<'_> {
    /// All that has happened until now. Something may be there twice.
    ///
    /// # Errors
    /// When something may be missing.
    pub async fn until_now(mut self) -> Result<Vec<Happening>> {
        let since = nanos(self.since);
        let until = since + i128::try_from(self.begun.elapsed().as_nanos()).unwrap_or_default();
        // Podman follows what comes unless it is told not to.
        let path = format!(
            "/events?since={}&until={}&stream=false&filters={}",
            stamp(since),
            stamp(until),
            encode(FILTERS)
        );
        let answer = self.engine.client.call(&Call::get(ACTION, path)).await?;
        let asked = serde_json::Deserializer::from_slice(answer.body()).into_iter::<Event>();
        let asked: Vec<_> = asked.collect::<Result<_, _>>().map_err(not_understood)?;
        if self.hearing.is_finished() {
            let ended = || io::Error::other("the engine has ended the stream of its events");
            let why = (&mut self.hearing).await.unwrap_or_else(|error| Err(broken(io::Error::other(error))));
            return Err(why.err().unwrap_or_else(|| broken(ended())));
        }
        let mut all = self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.extend(asked.into_iter().filter_map(Event::happening));
        Ok(all)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

async fn hear(mut events: Following, heard: Heard) -> Result<()> {
    while let Some(line) = events.line().await.map_err(broken)? {
        let event: Event = serde_json::from_slice(&line).map_err(not_understood)?;
        heard.lock().unwrap_or_else(PoisonError::into_inner).extend(event.happening());
    }
    Ok(())
}

impl Event {
    fn happening(self) -> Option<Happening> {
        let Actor { id, mut attributes } = self.actor;
        if self.kind == "container" {
            // Podman mounts containers as well.
            let started = matches!(self.action.as_str(), "start" | "unpause");
            return started
                .then(|| Happening::Started { id, name: attributes.remove("name").unwrap_or_default() });
        }
        let writes = attributes.get("read/write").is_none_or(|value| value != "false");
        let container = attributes.remove("container").unwrap_or_default();
        writes.then_some(Happening::Mounted { volume: id, id: container })
    }
}

fn broken(source: io::Error) -> Error {
    Error::Broken { action: ACTION.to_owned(), source }
}

fn not_understood(source: serde_json::Error) -> Error {
    Error::Answer { action: ACTION.to_owned(), source }
}

fn nanos(time: Time) -> i128 {
    i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos)
}

/// A time as engines take it.
fn stamp(nanos: i128) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_starts_and_what_is_mounted_for_writing_is_understood() {
        let understood = |text: &str| serde_json::from_str::<Event>(text).unwrap().happening();
        // As Docker 20.10 says them.
        let start = r#"{"status":"start","id":"c1","from":"app","Type":"container","Action":"start",
            "Actor":{"ID":"c1","Attributes":{"image":"app","name":"web"}},"scope":"local","time":1}"#;
        assert_eq!(
            understood(start),
            Some(Happening::Started { id: "c1".to_owned(), name: "web".to_owned() })
        );
        let mount = |writes: &str| {
            format!(
                r#"{{"Type":"volume","Action":"mount","Actor":{{"ID":"data","Attributes":{{"container":"c1",
                "destination":"/d","driver":"local","propagation":"","read/write":"{writes}"}}}}}}"#
            )
        };
        let mounted = Happening::Mounted { volume: "data".to_owned(), id: "c1".to_owned() };
        assert_eq!(understood(&mount("true")), Some(mounted));
        assert_eq!(understood(&mount("false")), None);
        let mounted = r#"{"Type":"container","Action":"mount","Actor":{"ID":"c1","Attributes":null}}"#;
        assert_eq!(understood(mounted), None);
    }
}
