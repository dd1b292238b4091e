//! How the engine is found and reached: as the docker CLI does it, from the same flags, variables and files.

pub mod context;
pub mod endpoint;
pub mod find;
pub(crate) mod ssh;
pub(crate) mod stream;
pub(crate) mod tls;
