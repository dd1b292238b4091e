//! What the commands do, put together from the engine, the vault and the core's library: which volumes, who
//! rests meanwhile, where the archive goes, and what stands beside it.

mod checked;
pub(crate) mod contents;
pub(crate) mod create;
pub(crate) mod depot;
pub(crate) mod description;
pub(crate) mod file;
pub(crate) mod flat;
pub(crate) mod forget;
pub(crate) mod found;
mod grade;
pub(crate) mod interrupt;
pub(crate) mod local;
pub(crate) mod names;
mod offset;
pub(crate) mod passport;
pub(crate) mod place;
mod reading;
pub(crate) mod rebuild;
pub(crate) mod restore;
pub(crate) mod selection;
pub(crate) mod shelf;
mod ship;
mod spec;
pub(crate) mod stopping;
pub(crate) mod tell;
pub(crate) mod verify;
