//! Carries bytes to and from a container over one connection, in bounded memory and as fast as the slower
//! side. An end of the stream is no success: who cut it, the container or a proxy, is not to be seen here.

mod carry;
mod frames;
mod threads;

pub use carry::Streams;
pub(crate) use carry::{Carried, Hears, carry};
