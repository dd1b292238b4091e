//! What a lease says.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::api::container::RestartPolicy;
use crate::compose::Membership;

/// The form of the file. One that is not known is not touched.
pub(crate) const VERSION: u32 = 1;

/// All of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The form of the file.
    pub version: u32,
    /// Whose containers they are.
    pub engine: EngineName,
    /// What must run again, in the order in which it was held.
    pub entries: Vec<Entry>,
}

/// Which engine it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineName {
    /// Where it listened.
    pub address: String,
    /// Its own name for itself, where it has one.
    pub id: Option<String>,
}

/// A container that must run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The engine's name for it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it stands in a compose project: compose may make it anew meanwhile, under another id.
    pub compose: Option<Membership>,
    /// How it was brought to rest.
    pub manner: Manner,
    /// The restart policy that it had.
    pub restart: RestartPolicy,
    /// How long the chain of what it depends on is: it starts after all that have less.
    pub depth: u32,
    /// How many seconds the engine may take to bring it to rest; none where it waits for ever.
    pub patience: Option<u64>,
    /// When it was asked to rest, in seconds of Unix time: it may be on its way for as long as that.
    pub asked: Option<u64>,
}

/// How containers are brought to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manner {
    /// They are stopped, and have written all that they meant to.
    Stop,
    /// They are frozen, and their files are as a crash would leave them.
    Pause,
}

impl Record {
    /// A new one.
    pub fn new(engine: EngineName, entries: Vec<Entry>) -> Self {
        Record { version: VERSION, engine, entries }
    }
}

impl Entry {
    /// How long ago it was asked to rest. A clock that went back meanwhile counts as now.
    pub(crate) fn since_asked(&self) -> Option<Duration> {
        self.asked.map(|asked| Duration::from_secs(unix_time().saturating_sub(asked)))
    }
}

impl EngineName {
    /// Whether both are one engine: by name where both have one, since an engine can have several addresses.
    pub fn is_same(&self, other: &EngineName) -> bool {
        match (&self.id, &other.id) {
            (Some(a), Some(b)) => a == b,
            _ => self.address == other.address,
        }
    }
}

/// Seconds of Unix time.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
