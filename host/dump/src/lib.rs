//! Databases, one file each: [`dump`] writes it, [`check`] reads all of it, [`restore`] brings it back.
//!
//! A live database's files are no backup: what is copied while a server writes does not fit together. So
//! the database's own client programs do the work, in a [`Place`] that can run them: this machine
//! ([`place::Local`]), or the container of the server, where they are never older than the server is.
//! `SQLite` has no server and is linked in.
//!
//! The crate knows neither engines nor stores.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests"))]

pub mod connection;
pub mod database;
pub mod error;
pub mod mongo;
pub mod mysql;
pub mod place;
pub mod postgres;
pub mod recognise;
pub mod redis;
mod run;
pub mod source;
mod sql;
pub mod sqlite;
mod version;

pub use connection::{Connection, Host};
pub use database::{Database, Dumped, Kind, Restore, Restored, check, dump, fits, restore};
pub use error::{Error, Result};
pub use place::Place;
pub use source::Source;
