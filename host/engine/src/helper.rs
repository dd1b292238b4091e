//! Helpers: containers in which the core works on volumes. `docker-snapshot` never touches a volume itself:
//! the engine may be on another machine, and what is in volumes is not to be trusted. A helper has what its
//! task needs and nothing else: the volumes, by name and each at a flat path of its own, no network, no
//! writable root, few capabilities. It is removed whatever happens, by the run that made it or by the next
//! one.

mod core;
mod elf;
mod image;
mod listen;
mod names;
mod run;
mod spec;
mod sweep;
mod tar;
mod workshop;

pub use self::core::CORE_VARIABLE;
pub use listen::Told;
pub use run::{Collected, Finished, Prepared};
pub use spec::{BACKUP, Mount, RESTORE, Source, Spec};
pub use sweep::{Swept, sweep};
pub use workshop::Helpers;

pub use crate::transfer::Streams;

/// The label of every helper; its value says whose it is.
pub const LABEL: &str = "snapshotter.helper";
