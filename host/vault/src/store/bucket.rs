//! Buckets of object stores, through `object_store`: S3 and all that speaks it, Azure Blob Storage, Google
//! Cloud Storage.
//!
//! An object is there when its upload is completed, and not before; that is the services' promise. Not to
//! replace what is there is asked of them with a condition, which not every server that speaks S3 heeds: so it
//! is looked before as well. Each upload carries a number of its own, by which a repetition that meets its own
//! first success is told from a name that somebody else has taken.

mod clouds;
mod parts;
mod profile;
mod unfinished;
mod upload;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Attribute, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::address::{self, Cloud};
use super::content::Content;
use super::error::{Action, Cause, Error, Result};
use super::limits::Limits;
use super::name::Name;
use super::settings::Settings;
use super::wire::Wire;
use super::{Absent, Leftover, Listing, Object, Promises, Store};

/// What an upload's own number is called in the metadata of an object. Azure takes letters and digits alone.
const MARK: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("snapshotterput"));

/// A bucket as a store.
#[derive(Debug)]
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    address: String,
    cloud: Cloud,
    private: bool,
    wire: Wire,
    limits: Limits,
    /// Lists uploads that were never completed, where that can be done.
    unfinished: Option<unfinished::Unfinished>,
}

impl Bucket {
    pub(crate) fn open(
        address: &address::Address,
        bucket: &address::Bucket,
        settings: &Settings,
        limits: Limits,
    ) -> Result<Self> {
        let wire =
            Wire::new(&limits).map_err(|error| Error::io(Action::Connect, address.to_string(), error))?;
        let made = clouds::open(bucket, settings, &limits, &wire)?;
        let prefix = Path::parse(&bucket.prefix).map_err(|error| Error::Address {
            address: address.to_string(),
            problem: error.to_string(),
            advice: "use another prefix".to_owned(),
        })?;
        Ok(Bucket {
            store: made.store,
            prefix,
            address: address.to_string(),
            cloud: bucket.cloud,
            private: made.private,
            wire,
            limits,
            unfinished: made.unfinished,
        })
    }

    fn path(&self, name: &Name) -> Path {
        let prefix = self.prefix.as_ref();
        let path = if prefix.is_empty() { name.to_string() } else { format!("{prefix}/{name}") };
        // A `Name` has nothing that a path must not have.
        Path::parse(&path).unwrap_or_else(|_| Path::from(path))
    }

    fn what(&self, name: &Name) -> String {
        format!("{}/{name}", self.address)
    }

    /// What there is at `path`, and the number of the upload that made it.
    async fn look(&self, path: &Path) -> object_store::Result<(ObjectMeta, Option<String>)> {
        let found = self.store.get_opts(path, GetOptions { head: true, ..GetOptions::default() }).await?;
        let mark = found.attributes.get(&MARK).map(|mark| mark.as_ref().to_owned());
        Ok((found.meta, mark))
    }

    /// The name of `path`, if it is one of ours.
    fn name(&self, path: &Path) -> Option<Name> {
        let prefix = self.prefix.as_ref();
        let rest = path.as_ref().strip_prefix(prefix)?;
        let rest = if prefix.is_empty() { rest } else { rest.strip_prefix('/')? };
        rest.parse().ok()
    }
}

#[async_trait]
impl Store for Bucket {
    fn address(&self) -> &str {
        &self.address
    }

    fn promises(&self) -> Promises {
        let absent = match self.cloud {
            Cloud::S3 if self.wire.conditional() => Absent::Asked,
            _ => Absent::Looked,
        };
        Promises { absent, durable: true, private: self.private }
    }

    async fn put(&self, name: &Name, content: Content) -> Result<Object> {
        upload::Upload::new(self, name).run(content).await
    }

    async fn get(&self, object: &Object, range: Range<u64>) -> Result<Bytes> {
        let what = self.what(&object.name);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_match: object.tag.clone(),
            ..GetOptions::default()
        };
        let fail = |error: object_store::Error| match error {
            object_store::Error::Precondition { .. } => Error::plain(Action::Get, &what, Cause::Changed),
            error => failed(Action::Get, &what, &error),
        };
        let found = self.store.get_opts(&self.path(&object.name), options).await.map_err(fail)?;
        // Not every server heeds the condition.
        let same = found.meta.size == object.size
            && (object.tag.is_none() || tag(found.meta.e_tag.clone()) == object.tag);
        if !same || found.range != range {
            return Err(Error::plain(Action::Get, what, Cause::Changed));
        }
        let bytes = found.bytes().await.map_err(fail)?;
        if bytes.len() as u64 != range.end - range.start {
            let problem =
                format!("{} bytes were asked for, and {} came", range.end - range.start, bytes.len());
            return Err(Error::said(Action::Get, what, Cause::Other, problem));
        }
        Ok(bytes)
    }

    async fn head(&self, name: &Name) -> Result<Object> {
        let found = self.look(&self.path(name)).await;
        let (meta, _) = found.map_err(|error| failed(Action::Head, self.what(name), &error))?;
        Ok(object(name.clone(), meta))
    }

    async fn list(&self, folder: &str) -> Result<Listing> {
        let folder = folder.trim_matches('/');
        let within = match (self.prefix.as_ref(), folder) {
            (prefix, "") => Path::parse(prefix),
            ("", folder) => Path::parse(folder),
            (prefix, folder) => Path::parse(format!("{prefix}/{folder}")),
        };
        let what = format!("{}/{folder}", self.address);
        let within =
            within.map_err(|error| Error::said(Action::List, &what, Cause::Other, error.to_string()))?;
        let mut listing = Listing::default();
        let mut found = self.store.list(Some(&within));
        while let Some(meta) = found.next().await {
            let meta = meta.map_err(|error| failed(Action::List, &what, &error))?;
            match self.name(&meta.location) {
                Some(name) => listing.objects.push(object(name, meta)),
                None => listing.foreign += 1,
            }
        }
        listing.objects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    async fn delete(&self, name: &Name) -> Result<()> {
        let deleted = self.store.delete(&self.path(name)).await;
        deleted.map_err(|error| failed(Action::Delete, self.what(name), &error))
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        match &self.unfinished {
            Some(unfinished) => unfinished
                .list(self.prefix.as_ref())
                .await
                .map_err(|words| Error::said(Action::Leftovers, &self.address, Cause::Other, words)),
            None => Ok(Vec::new()),
        }
    }

    async fn clear(&self, leftover: &Leftover) -> Result<()> {
        let what = format!("{} ({})", self.address, leftover.id);
        match (&self.unfinished, &leftover.name) {
            (Some(unfinished), Some(key)) => unfinished
                .abort(key, &leftover.id)
                .await
                .map_err(|words| Error::said(Action::Delete, what, Cause::Other, words)),
            _ => Err(Error::plain(Action::Delete, what, Cause::Missing)),
        }
    }
}

fn object(name: Name, meta: ObjectMeta) -> Object {
    Object { name, size: meta.size, tag: tag(meta.e_tag), modified: Some(meta.last_modified.into()) }
}

/// A tag as HTTP has it: rclone's server leaves the quotes out of its listings.
fn tag(tag: Option<String>) -> Option<String> {
    tag.filter(|tag| !tag.is_empty()).map(|tag| if tag.ends_with('"') { tag } else { format!("\"{tag}\"") })
}

/// What `error` is in words of ours.
fn failed(action: Action, what: impl Into<String>, error: &object_store::Error) -> Error {
    let words = words(error);
    let cause = match error {
        object_store::Error::NotFound { .. } => Cause::Missing,
        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => Cause::Exists,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            Cause::Denied
        }
        _ if is_full(&words) => Cause::Full,
        // Listing tells no kinds apart.
        _ if words.starts_with("404") => Cause::Missing,
        _ if words.starts_with("403") || words.starts_with("401") => Cause::Denied,
        _ => Cause::Other,
    };
    match cause {
        // A bucket that is not there is to be told from an object that is not.
        Cause::Missing if !words.contains("NoSuchBucket") => Error::plain(action, what, cause),
        Cause::Exists => Error::plain(action, what, cause),
        cause => Error::said(action, what, cause, words),
    }
}

/// What the innermost error says: those around it repeat it, with the URL, which may have a signature in it.
fn words(error: &object_store::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let text = deepest.to_string();
    let between = |from: &str, to: &str| {
        let (_, rest) = text.split_once(from)?;
        rest.split_once(to).map(|(found, _)| found.trim().to_owned())
    };
    // An answer in XML: its code and message say it.
    let status = between("status code: ", ":");
    let words = match (status, between("<Code>", "</Code>"), between("<Message>", "</Message>")) {
        (Some(status), Some(code), Some(message)) => format!("{status}, {code}: {message}"),
        (Some(status), Some(code), None) => format!("{status}, {code}"),
        _ => text.clone(),
    };
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// Whether a server says that it has no room: codes of `MinIO`, of Ceph, of `SeaweedFS`, and the status of HTTP.
fn is_full(words: &str) -> bool {
    ["507", "XMinioStorageFull", "QuotaExceeded", "EntityTooLarge", "InsufficientStorage", "no space left"]
        .iter()
        .any(|known| words.contains(known))
}
