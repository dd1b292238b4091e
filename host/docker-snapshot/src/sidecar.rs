//! The sidecar: a job that is configured (`config`) is run once or on its schedule, and what it has made is
//! listed and brought back. It runs beside the application, so paths are those of its own container, and the
//! archive is written here, without a helper.

pub(crate) mod archive;
pub(crate) mod backups;
pub(crate) mod dumps;
pub(crate) mod forget;
pub(crate) mod listen;
pub(crate) mod manifest;
mod metrics;
mod missing;
mod page;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod services;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod unpack;
