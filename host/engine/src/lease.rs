//! The lease: the durable list of what was stopped and must run again. It is on disk before the first
//! container stops, and an entry leaves it only when its container runs again. Whatever kills the program,
//! the engine or the machine in between, whoever comes next knows what to start.

mod files;
mod held;
mod lock;
mod owner;
mod record;
mod state;

pub use held::Lease;
pub(crate) use owner::{Fate, Owner};
pub use record::{EngineName, Entry, Manner, Record};
pub use state::{State, Taken};
