//! Where encoded archives lie: a directory, a bucket, a server.
//!
//! A [`Store`] holds objects under [`Name`]s. What is stored is complete or not there at all, and never
//! replaces what is there. [`Address`] says which store, [`Settings`] with which credentials, [`open`] makes it.

mod address;
mod bucket;
mod content;
mod directory;
mod draft;
mod error;
mod limits;
mod name;
mod reader;
mod settings;
mod several;
mod sftp;
mod webdav;
mod wire;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

pub use address::{Address, Bucket, Cloud, Sftp};
pub use content::{Content, Length, PipeWriter};
pub use error::{Action, Cause, Error, Result};
pub use limits::Limits;
pub use name::Name;
pub use reader::Reader;
pub use settings::Settings;
pub use several::put_all;
pub use wire::tls;

/// What a store has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The name.
    pub name: Name,
    /// Its length in bytes.
    pub size: u64,
    /// What changes when the content does, where the store has such a thing: never to be compared between stores.
    pub tag: Option<String>,
    /// When it was stored, by the store's clock.
    pub modified: Option<SystemTime>,
}

/// All that a store has under a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// In the order of their names.
    pub objects: Vec<Object>,
    /// Names that are nobody's of ours, since no [`Name`] can be made of them. They are only counted.
    pub foreign: u64,
}

/// What a killed run has left in a store: nothing of it is under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What the store calls it.
    pub id: String,
    /// The name that it was to have, where that is known.
    pub name: Option<String>,
    /// Its length in bytes, where that is known.
    pub size: Option<u64>,
    /// When it was begun.
    pub since: Option<SystemTime>,
}

/// What can be relied on, so that documentation and messages promise no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promises {
    /// How it is kept from happening that something is replaced.
    pub absent: Absent,
    /// Whether what is stored has reached the disk when [`Store::put`] returns. Services say so of themselves.
    pub durable: bool,
    /// Whether nobody on the way can read or change what is sent.
    pub private: bool,
}

/// How a store keeps from replacing what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The store itself refuses, however many write at once.
    Refused,
    /// The store is asked to refuse. Not every server of this protocol does; those that do not are looked at
    /// before and after.
    Asked,
    /// It is looked before, which two who write at the same moment can both do.
    Looked,
}

/// Where encoded archives lie.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// The address, as messages show it.
    fn address(&self) -> &str;

    /// What can be relied on.
    fn promises(&self) -> Promises;

    /// Stores `content` under `name`, which must not be taken: as a whole, or not at all.
    ///
    /// # Errors
    ///
    /// [`Cause::Exists`] when the name is taken, [`Cause::Content`] when `content` breaks off. After any error
    /// but [`Cause::Unclear`] nothing of it is under the name.
    async fn put(&self, name: &Name, content: Content) -> Result<Object>;

    /// The bytes `range` of an object, all of them. The range is within the object, and fits into memory.
    ///
    /// # Errors
    ///
    /// [`Cause::Changed`] when the object is not any more the one that was looked at.
    async fn get(&self, object: &Object, range: Range<u64>) -> Result<Bytes>;

    /// What there is under `name`.
    ///
    /// # Errors
    ///
    /// [`Cause::Missing`] when there is nothing.
    async fn head(&self, name: &Name) -> Result<Object>;

    /// All objects whose names lie in the folder `folder`, at any depth; all that there are where it is empty.
    /// A folder that is not there is empty.
    async fn list(&self, folder: &str) -> Result<Listing>;

    /// Removes what is under `name`.
    ///
    /// # Errors
    ///
    /// [`Cause::Missing`] when there is nothing, where the store tells.
    async fn delete(&self, name: &Name) -> Result<()>;

    /// What runs that were killed have left. What a live run is about is not listed where that can be told, and
    /// is by its age where it cannot.
    async fn leftovers(&self) -> Result<Vec<Leftover>>;

    /// Removes what a killed run has left.
    async fn clear(&self, leftover: &Leftover) -> Result<()>;
}

/// How old a leftover must be where it cannot be told whether a live run is about it: longer than a run takes.
pub const LEFT_FOR_DEAD: Duration = Duration::from_hours(48);

/// The store at `address`, with credentials from `settings`. Nothing is sent to it yet.
///
/// # Errors
///
/// When settings are missing or wrong.
pub fn open(address: &Address, settings: &Settings, limits: Limits) -> Result<Arc<dyn Store>> {
    Ok(match address {
        Address::Directory(path) => Arc::new(directory::Directory::new(path.clone())),
        Address::Bucket(bucket) => Arc::new(bucket::Bucket::open(address, bucket, settings, limits)?),
        Address::Sftp(server) => Arc::new(sftp::Sftp::open(address, server, settings, limits)?),
        Address::Webdav { url, user } => {
            Arc::new(webdav::Webdav::open(address, url, user.as_deref(), settings, limits)?)
        }
    })
}
