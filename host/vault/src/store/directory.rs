//! A directory of this machine, or of another that is mounted here.
//!
//! An object is written to a temporary name beside its own, synced, and given its name by a rename that
//! replaces nothing; then the directory is synced. A run that is killed leaves the temporary file, which is
//! locked as long as a run is alive: what can be locked is a leftover.

mod files;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::content::Content;
use super::error::{Action, Cause, Error, Result};
use super::name::Name;
use super::{Absent, Leftover, Listing, Object, Promises, Store};
use files::Draft;

/// A directory as a store.
#[derive(Debug)]
pub(crate) struct Directory {
    root: Arc<Path>,
    address: String,
}

impl Directory {
    pub(crate) fn new(root: PathBuf) -> Self {
        Directory { address: root.display().to_string(), root: root.into() }
    }

    /// Does `work` where it holds nobody up; an error of it is one of `action` at `what`.
    async fn run<T: Send + 'static>(
        &self,
        action: Action,
        what: impl Into<String>,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let root = self.root.clone();
        let done = tokio::task::spawn_blocking(move || work(&root)).await.map_err(io::Error::other);
        done.and_then(|done| done).map_err(|error| Error::io(action, what, error))
    }

    /// The path of `name`, for messages.
    fn what(&self, name: &Name) -> String {
        self.root.join(name.as_str()).display().to_string()
    }
}

#[async_trait]
impl Store for Directory {
    fn address(&self) -> &str {
        &self.address
    }

    fn promises(&self) -> Promises {
        Promises { absent: Absent::Refused, durable: true, private: true }
    }

    async fn put(&self, name: &Name, mut content: Content) -> Result<Object> {
        let what = self.what(name);
        let begun = name.clone();
        let mut draft = self.run(Action::Put, &what, move |root| Draft::begin(root, &begun)).await?;
        loop {
            // A draft that is dropped removes its file.
            let Some(piece) = content.next().await.map_err(|error| Error::content(&what, error))? else {
                break;
            };
            draft = self
                .run(Action::Put, &what, move |_| {
                    draft.write(&piece)?;
                    Ok(draft)
                })
                .await?;
        }
        let name = name.clone();
        let metadata = self.run(Action::Put, &what, move |_| draft.publish()).await?;
        Ok(object(name, &metadata))
    }

    async fn get(&self, wanted: &Object, range: Range<u64>) -> Result<Bytes> {
        let what = self.what(&wanted.name);
        let (wanted, action) = (wanted.clone(), Action::Get);
        let read = self.run(action, &what, move |root| read(root, &wanted, range)).await?;
        read.ok_or_else(|| Error::plain(action, what, Cause::Changed))
    }

    async fn head(&self, name: &Name) -> Result<Object> {
        let wanted = name.clone();
        self.run(Action::Head, self.what(name), move |root| {
            let metadata = files::open(root, &wanted)?.metadata()?;
            Ok(object(wanted, &metadata))
        })
        .await
    }

    async fn list(&self, folder: &str) -> Result<Listing> {
        let folder = folder.trim_matches('/').to_owned();
        let what = self.root.join(&folder).display().to_string();
        self.run(Action::List, what, move |root| {
            let mut listing = Listing::default();
            files::walk(root, &folder, &mut |name, metadata| match name {
                Some(name) => listing.objects.push(object(name, metadata)),
                None => listing.foreign += 1,
            })?;
            listing.objects.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(listing)
        })
        .await
    }

    async fn delete(&self, name: &Name) -> Result<()> {
        let removed = name.clone();
        self.run(Action::Delete, self.what(name), move |root| files::remove(&root.join(removed.as_str())))
            .await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        self.run(Action::Leftovers, &self.address, files::leftovers).await
    }

    async fn clear(&self, leftover: &Leftover) -> Result<()> {
        let id = leftover.id.clone();
        self.run(Action::Delete, self.root.join(&id).display().to_string(), move |root| {
            files::clear(root, &id)
        })
        .await
    }
}

/// The bytes `range` of `wanted`; `None` if it is not the file that it was.
fn read(root: &Path, wanted: &Object, range: Range<u64>) -> io::Result<Option<Bytes>> {
    let file: File = files::open(root, &wanted.name)?;
    let is = object(wanted.name.clone(), &file.metadata()?);
    if is != *wanted || range.end > is.size || range.start > range.end {
        return Ok(None);
    }
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, range.start) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| Some(bytes.into())),
    }
}

fn object(name: Name, metadata: &std::fs::Metadata) -> Object {
    let tag = format!(
        "{:x}-{:x}.{:x}-{:x}",
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.len()
    );
    Object { name, size: metadata.len(), tag: Some(tag), modified: metadata.modified().ok() }
}
