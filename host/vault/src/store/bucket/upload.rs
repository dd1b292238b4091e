//! One upload: in one request if it is small, else in parts, of which several are on their way at a time.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Attributes, Error as StoreError, MultipartUpload, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};
use tokio::task::JoinSet;

use super::parts::Parts;
use super::{Bucket, MARK, failed, object, words};
use crate::store::Object;
use crate::store::address::Cloud;
use crate::store::content::Content;
use crate::store::error::{Action, Cause, Error, Result};
use crate::store::limits::{Attempts, token};
use crate::store::name::Name;
use object_store::ObjectStore;

/// An upload under way.
pub(super) struct Upload<'a> {
    bucket: &'a Bucket,
    name: &'a Name,
    path: Path,
    what: String,
    mark: String,
}

/// Whose an object is.
enum Owner {
    /// It is of this upload.
    Ours(Object),
    /// It is somebody else's, or there is no telling.
    Others,
    /// There is none.
    Nobody,
    /// The store does not say: a credential that can only write may not look.
    Untold(StoreError),
}

impl<'a> Upload<'a> {
    pub(super) fn new(bucket: &'a Bucket, name: &'a Name) -> Self {
        Upload { path: bucket.path(name), what: bucket.what(name), bucket, name, mark: token() }
    }

    pub(super) async fn run(&self, content: Content) -> Result<Object> {
        match self.owner().await {
            Owner::Nobody | Owner::Untold(StoreError::PermissionDenied { .. }) => {}
            Owner::Ours(_) | Owner::Others => return Err(self.plain(Cause::Exists)),
            Owner::Untold(error) => return Err(self.failed(&error)),
        }
        let parts = Parts::of(content.length());
        let mut pieces = Pieces { content, rest: Bytes::new(), ended: false };
        let first = self.fill(&mut pieces, parts, 0).await?;
        let tag = if pieces.ended {
            self.put(first).await?
        } else {
            self.put_parts(first, &mut pieces, parts).await?
        };
        self.check(pieces.content.given(), tag).await
    }

    /// The part `index`.
    async fn fill(&self, pieces: &mut Pieces, parts: Parts, index: u64) -> Result<PutPayload> {
        let Some(size) = parts.size(index) else {
            let words = "it is longer than was expected: it needs more parts than an upload can have";
            return Err(Error::said(Action::Put, &self.what, Cause::Other, words));
        };
        pieces.take(size).await.map_err(|error| Error::content(&self.what, error))
    }

    /// Stores all of it in one request; gives its tag.
    async fn put(&self, payload: PutPayload) -> Result<Option<String>> {
        let mut attempts = Attempts::new(&self.bucket.limits);
        loop {
            let conditional = self.bucket.cloud != Cloud::S3 || self.bucket.wire.conditional();
            let mode = if conditional { PutMode::Create } else { PutMode::Overwrite };
            let options = PutOptions { mode, attributes: self.attributes(), ..PutOptions::default() };
            let error = match self.bucket.store.put_opts(&self.path, payload.clone(), options).await {
                Ok(put) => return Ok(put.e_tag),
                Err(error) => error,
            };
            if conditional && self.bucket.cloud == Cloud::S3 && words(&error).contains("501") {
                // It does not know the condition. It was looked before, and is from now on.
                self.bucket.wire.set_conditional(false);
                continue;
            }
            if is_taken(&error) && attempts.are_none() && matches!(self.owner().await, Owner::Untold(_)) {
                return Err(self.plain(Cause::Exists));
            }
            let Some(error) = self.refused(error).await? else { return Ok(None) };
            if is_final(&error) || !attempts.again().await {
                return Err(self.failed(&error));
            }
        }
    }

    /// What became of a request that failed with `error`: nothing, if it is stored all the same; the error, if
    /// it is not.
    async fn refused(&self, error: StoreError) -> Result<Option<StoreError>> {
        match self.owner().await {
            Owner::Ours(_) => Ok(None),
            Owner::Others => Err(self.plain(Cause::Exists)),
            Owner::Nobody => Ok(Some(error)),
            // What was refused is not there, whether it can be looked at or not.
            Owner::Untold(_) if is_final(&error) => Ok(Some(error)),
            Owner::Untold(_) => Err(Error::said(Action::Put, &self.what, Cause::Unclear, words(&error))),
        }
    }

    /// Stores it in parts; gives its tag. After an error nothing of it is left.
    async fn put_parts(
        &self,
        first: PutPayload,
        pieces: &mut Pieces,
        parts: Parts,
    ) -> Result<Option<String>> {
        let options = PutMultipartOptions { attributes: self.attributes(), ..PutMultipartOptions::default() };
        let begun = self.bucket.store.put_multipart_opts(&self.path, options).await;
        let mut multipart = Multipart(Some(begun.map_err(|error| self.failed(&error))?));
        let done = self.send(&mut multipart, first, pieces, parts).await;
        let completed = match done {
            Ok(()) => self.complete(&mut multipart).await,
            Err(error) => Err(error),
        };
        match completed {
            // What is completed is not to be aborted: its number is not known any more.
            Ok(_) | Err(Error::Store { cause: Cause::Unclear, .. }) => drop(multipart.0.take()),
            Err(_) => multipart.abort().await,
        }
        completed
    }

    async fn send(
        &self,
        multipart: &mut Multipart,
        first: PutPayload,
        pieces: &mut Pieces,
        parts: Parts,
    ) -> Result<()> {
        let Some(upload) = &mut multipart.0 else { return Ok(()) };
        let mut underway = JoinSet::new();
        let mut part = first;
        for index in 1.. {
            if underway.len() >= parts.at_a_time() {
                self.joined(underway.join_next().await)?;
            }
            underway.spawn(upload.put_part(part));
            if pieces.ended {
                break;
            }
            while parts.alone(index) && !underway.is_empty() {
                self.joined(underway.join_next().await)?;
            }
            part = self.fill(pieces, parts, index).await?;
        }
        while let Some(joined) = underway.join_next().await {
            self.joined(Some(joined))?;
        }
        Ok(())
    }

    fn joined(&self, joined: Option<Result<object_store::Result<()>, tokio::task::JoinError>>) -> Result<()> {
        match joined {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(self.failed(&error)),
            Some(Err(error)) => Err(Error::said(Action::Put, &self.what, Cause::Other, error.to_string())),
        }
    }

    async fn complete(&self, multipart: &mut Multipart) -> Result<Option<String>> {
        let Some(upload) = &mut multipart.0 else { return Ok(None) };
        // Where no condition is heeded, an object that came meanwhile would be replaced.
        if !matches!(self.owner().await, Owner::Nobody | Owner::Untold(StoreError::PermissionDenied { .. })) {
            return Err(self.plain(Cause::Exists));
        }
        match upload.complete().await {
            Ok(put) => Ok(put.e_tag),
            Err(error) => match self.refused(error).await? {
                None => Ok(None),
                Some(error) => Err(self.failed(&error)),
            },
        }
    }

    /// What is stored, as the store sees it: it must have as many bytes as were sent.
    async fn check(&self, sent: u64, tag: Option<String>) -> Result<Object> {
        let stored = match self.owner().await {
            Owner::Ours(object) => object,
            Owner::Untold(StoreError::PermissionDenied { .. }) => {
                return Ok(Object {
                    name: self.name.clone(),
                    size: sent,
                    tag: super::tag(tag),
                    modified: None,
                });
            }
            Owner::Untold(error) => {
                return Err(Error::said(Action::Put, &self.what, Cause::Unclear, words(&error)));
            }
            Owner::Nobody => return Err(self.plain(Cause::Size { sent, stored: 0 })),
            // A store that keeps no metadata; or two wrote at once, where no condition is heeded.
            Owner::Others => match self.bucket.look(&self.path).await {
                Ok((meta, None)) if meta.size == sent && (tag.is_none() || meta.e_tag == tag) => {
                    object(self.name.clone(), meta)
                }
                _ => return Err(self.plain(Cause::Exists)),
            },
        };
        if stored.size == sent {
            return Ok(stored);
        }
        let cause = Cause::Size { sent, stored: stored.size };
        // It has our number: it is this upload's, and nobody must take it for a backup.
        match object_store::ObjectStoreExt::delete(&*self.bucket.store, &self.path).await {
            Ok(()) => Err(self.plain(cause)),
            Err(error) => {
                let words = format!("it could not be removed either ({}): remove it", words(&error));
                Err(Error::said(Action::Put, &self.what, cause, words))
            }
        }
    }

    async fn owner(&self) -> Owner {
        match self.bucket.look(&self.path).await {
            Ok((meta, Some(mark))) if mark == self.mark => Owner::Ours(object(self.name.clone(), meta)),
            Ok(_) => Owner::Others,
            Err(StoreError::NotFound { .. }) => Owner::Nobody,
            Err(error) => Owner::Untold(error),
        }
    }

    fn attributes(&self) -> Attributes {
        Attributes::from_iter([(MARK, self.mark.clone())])
    }

    fn failed(&self, error: &StoreError) -> Error {
        failed(Action::Put, &self.what, error)
    }

    fn plain(&self, cause: Cause) -> Error {
        Error::plain(Action::Put, &self.what, cause)
    }
}

/// Whether the store says that the name is taken.
fn is_taken(error: &StoreError) -> bool {
    matches!(error, StoreError::AlreadyExists { .. } | StoreError::Precondition { .. })
}

/// Whether the store has decided, so that asking again changes nothing.
fn is_final(error: &StoreError) -> bool {
    match error {
        StoreError::NotFound { .. }
        | StoreError::PermissionDenied { .. }
        | StoreError::Unauthenticated { .. }
        | StoreError::NotSupported { .. }
        | StoreError::NotImplemented { .. } => true,
        // A conflict with another writer, who may yet fail.
        error if is_taken(error) => false,
        error => {
            ["status code: 4", "507"].iter().any(|known| words(error).contains(known))
                || words(error).starts_with('4')
        }
    }
}

/// An upload in parts. What is dropped is aborted, or its parts would lie in the bucket, and be paid for.
struct Multipart(Option<Box<dyn MultipartUpload>>);

impl Multipart {
    async fn abort(&mut self) {
        if let Some(mut upload) = self.0.take() {
            // What cannot be aborted is found as a leftover.
            let _ = upload.abort().await;
        }
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if let (Some(mut upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { upload.abort().await });
        }
    }
}

/// A content in parts of given sizes.
struct Pieces {
    content: Content,
    rest: Bytes,
    ended: bool,
}

impl Pieces {
    /// The next `size` bytes, fewer at the end. Then `ended` is set, with the last that there is.
    async fn take(&mut self, size: usize) -> std::io::Result<PutPayload> {
        let mut pieces = Vec::new();
        let mut missing = size;
        loop {
            if self.rest.is_empty() {
                match self.content.next().await? {
                    Some(piece) => self.rest = piece,
                    None => self.ended = true,
                }
            }
            // Whether this is the last part is known when there is something for another one, or the end.
            if self.ended || missing == 0 {
                return Ok(pieces.into_iter().collect());
            }
            let piece = self.rest.split_to(self.rest.len().min(missing));
            missing -= piece.len();
            pieces.push(piece);
        }
    }
}
