//! The engine's API: the few calls that are needed, in types of our own. By hand on hyper and not through a
//! library of bindings: docs/design.md says why.

mod client;
pub mod container;
mod containers;
mod contents;
pub mod creation;
mod engine;
pub mod events;
pub mod image;
mod nullable;
mod query;
pub mod version;
pub mod volume;

pub use engine::Engine;
