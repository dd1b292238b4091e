//! A folder of a `WebDAV` server (RFC 4918).
//!
//! Servers keep half of a PUT that breaks off, under its name, and heed no condition on it. So an object is put
//! to a temporary name, its size is looked at, and it is given its name by a MOVE that is told not to replace.

mod answers;
mod request;

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::sync::Mutex as AsyncMutex;
use url::Url;

use super::address::Address;
use super::content::Content;
use super::draft::{draft, is_draft};
use super::error::{Action, Cause, Error, Result};
use super::limits::{Attempts, Limits};
use super::name::Name;
use super::settings::Settings;
use super::{Absent, LEFT_FOR_DEAD, Leftover, Listing, Object, Promises, Store};
use answers::Entry;
use request::{Asker, Failure, method};

/// How deep folders are looked into: no name of ours has more parts.
const DEEPEST: usize = 16;
/// The largest object that is read as a whole where a server gives no parts.
const SMALL: u64 = 8 << 20;

/// A folder of a server as a store.
#[derive(Debug)]
pub(crate) struct Webdav {
    asker: Asker,
    /// Ends with a slash.
    base: Url,
    address: String,
    limits: Limits,
    /// Folders that are there for sure.
    made: Mutex<HashSet<String>>,
}

impl Webdav {
    pub(crate) fn open(
        address: &Address,
        url: &Url,
        user: Option<&str>,
        settings: &Settings,
        limits: Limits,
    ) -> Result<Self> {
        let asker = Asker::new(user, settings, limits)?;
        Ok(Webdav { asker, base: url.clone(), address: address.to_string(), limits, made: Mutex::default() })
    }

    /// The URL of `path`, which is relative to the store.
    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/').filter(|part| !part.is_empty()));
        }
        url
    }

    /// The URL of the folder `path`.
    fn folder(&self, path: &str) -> Url {
        let mut url = self.url(path);
        let path = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    fn what(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// What is at `path`.
    async fn look(&self, path: &str) -> Result<Entry, Failure> {
        let entries = self.asker.properties(&self.url(path), "0").await?;
        entries.into_iter().next().filter(|entry| !entry.folder).ok_or(Failure::Status(StatusCode::NOT_FOUND))
    }

    /// Whether there is something at `path`.
    async fn is_there(&self, path: &str) -> Result<bool, Failure> {
        match self.asker.properties(&self.url(path), "0").await {
            Ok(_) => Ok(true),
            Err(Failure::Status(StatusCode::NOT_FOUND)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Makes the folder `path`, and what leads to it, up to the root of the server.
    async fn make(&self, path: &str) -> Result<(), Failure> {
        if self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(path) {
            return Ok(());
        }
        let mut url = self.folder(path);
        let mut missing = Vec::new();
        loop {
            match self.asker.ask(&method("MKCOL"), &url, &[]).await?.status {
                // Made, or there already.
                StatusCode::CREATED | StatusCode::METHOD_NOT_ALLOWED | StatusCode::OK => {
                    match missing.pop() {
                        Some(child) => url = child,
                        None => break,
                    }
                }
                StatusCode::CONFLICT | StatusCode::NOT_FOUND
                    if missing.len() < 2 * DEEPEST && url.path() != "/" =>
                {
                    missing.push(url.clone());
                    if let Ok(mut segments) = url.path_segments_mut() {
                        segments.pop_if_empty().pop().push("");
                    }
                }
                status => return Err(Failure::Status(status)),
            }
        }
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        Ok(())
    }

    /// Puts `content` at the temporary `path`; gives the bytes that were sent.
    async fn send(&self, path: &str, content: Content, what: &str) -> Result<u64> {
        let content = Arc::new(AsyncMutex::new(content));
        let mut attempts = Attempts::new(&self.limits);
        loop {
            let broken = Arc::new(Mutex::new(None::<io::Error>));
            let sent = self.asker.put(&self.url(path), content.clone(), broken.clone()).await;
            if let Some(error) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Err(Error::content(what, error));
            }
            let mut content = content.lock().await;
            let failure = match sent {
                Ok(status) if status.is_success() => return Ok(content.given()),
                Ok(status) => Failure::Status(status),
                Err(failure) => failure,
            };
            if !failure.may_pass() || !content.rewind() || !attempts.again().await {
                return Err(failure.at(Action::Put, what));
            }
        }
    }

    /// Gives the object its name.
    async fn publish(&self, draft: &str, name: &Name, sent: u64, what: &str) -> Result<Object> {
        let failed = |failure: Failure| failure.at(Action::Put, what);
        let stored = self.look(draft).await.map_err(failed)?;
        if stored.size != Some(sent) {
            let cause = Cause::Size { sent, stored: stored.size.unwrap_or(0) };
            return Err(Error::plain(Action::Put, what, cause));
        }
        // Before a server that knows no `Overwrite`, and to say so early.
        if self.is_there(name.as_str()).await.map_err(failed)? {
            return Err(Error::plain(Action::Put, what, Cause::Exists));
        }
        self.rename(draft, name, what).await?;
        let entry = self.look(name.as_str()).await.map_err(failed)?;
        match entry.size {
            Some(size) if size == sent => Ok(object(name.clone(), size, entry)),
            size => Err(Error::plain(Action::Put, what, Cause::Size { sent, stored: size.unwrap_or(0) })),
        }
    }

    /// Moves the draft to the name, which replaces nothing.
    async fn rename(&self, draft: &str, name: &Name, what: &str) -> Result<()> {
        let to = self.url(name.as_str());
        let headers = [("destination", to.as_str()), ("overwrite", "F")];
        let mut attempts = Attempts::new(&self.limits);
        loop {
            let moved = self.asker.once(&method("MOVE"), &self.url(draft), &headers).await;
            let failure = match moved.map(|answer| answer.status) {
                Ok(status) if status.is_success() => return Ok(()),
                Ok(StatusCode::PRECONDITION_FAILED) => {
                    return Err(Error::plain(Action::Put, what, Cause::Exists));
                }
                Ok(status) => Failure::Status(status),
                Err(failure) => failure,
            };
            // It may have been done all the same, and the answer lost: then the draft is gone. Or somebody else
            // moves something there: rclone's server then says that it is locked.
            match (self.is_there(draft).await, self.is_there(name.as_str()).await) {
                (Ok(false), Ok(true)) => return Ok(()),
                (Ok(true), Ok(true)) => return Err(Error::plain(Action::Put, what, Cause::Exists)),
                (Ok(true), Ok(false)) => {}
                _ => return Err(Error::said(Action::Put, what, Cause::Unclear, failure.to_string())),
            }
            let locked = matches!(failure, Failure::Status(StatusCode::LOCKED));
            if !(failure.may_pass() || locked) || !attempts.again().await {
                return Err(failure.at(Action::Put, what));
            }
        }
    }

    /// Tells `found` each file below the folder `path`, by its path from the store.
    async fn walk(&self, path: &str, found: &mut (dyn FnMut(&str, Entry) + Send)) -> Result<(), Failure> {
        let mut folders = vec![path.trim_matches('/').to_owned()];
        while let Some(folder) = folders.pop() {
            let base = self.folder(&folder);
            let entries = match self.asker.properties(&base, "1").await {
                // A folder that is not there is empty; a store that is not there is not.
                Err(Failure::Status(StatusCode::NOT_FOUND)) if !folder.is_empty() => continue,
                entries => entries?,
            };
            for entry in entries {
                let Some(last) = answers::last(&base, &entry.href) else { continue };
                let path = if folder.is_empty() { last } else { format!("{folder}/{last}") };
                if !entry.folder {
                    found(&path, entry);
                } else if path.split('/').count() <= DEEPEST {
                    folders.push(path);
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Webdav {
    fn address(&self) -> &str {
        &self.address
    }

    fn promises(&self) -> Promises {
        Promises { absent: Absent::Asked, durable: false, private: self.base.scheme() == "https" }
    }

    async fn put(&self, name: &Name, content: Content) -> Result<Object> {
        let what = self.what(name.as_str());
        let failed = |failure: Failure| failure.at(Action::Put, &what);
        if self.is_there(name.as_str()).await.map_err(failed)? {
            return Err(Error::plain(Action::Put, what, Cause::Exists));
        }
        self.make(name.folder()).await.map_err(failed)?;
        let draft = [name.folder(), &draft()].join("/").trim_start_matches('/').to_owned();
        let guard = Draft { asker: self.asker.clone(), url: Some(self.url(&draft)) };
        let stored = match self.send(&draft, content, &what).await {
            Ok(sent) => self.publish(&draft, name, sent, &what).await,
            Err(error) => Err(error),
        };
        guard.end(matches!(&stored, Ok(_) | Err(Error::Store { cause: Cause::Unclear, .. }))).await;
        stored
    }

    async fn get(&self, object: &Object, range: Range<u64>) -> Result<Bytes> {
        let what = self.what(object.name.as_str());
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let bytes = format!("bytes={}-{}", range.start, range.end - 1);
        let limit = (range.end - range.start).max(SMALL.min(object.size));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let url = self.url(object.name.as_str());
        let answer = self.asker.read(&url, &[("range", &bytes)], limit).await;
        let answer = answer.map_err(|failure| failure.at(Action::Get, &what))?;
        let changed = || Error::plain(Action::Get, &what, Cause::Changed);
        if object.tag.is_some() && answer.tag.is_some() && answer.tag != object.tag {
            return Err(changed());
        }
        let whole = answer.status == StatusCode::OK && answer.body.len() as u64 == object.size;
        let body = match answer.status {
            StatusCode::PARTIAL_CONTENT if answer.range == Some((range.clone(), object.size)) => answer.body,
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => return Err(changed()),
            StatusCode::OK if whole => match (usize::try_from(range.start), usize::try_from(range.end)) {
                (Ok(from), Ok(to)) if to <= answer.body.len() => answer.body.slice(from..to),
                _ => return Err(changed()),
            },
            StatusCode::OK => {
                let words = "the server gives no parts of a file, only all of it";
                return Err(Error::said(Action::Get, what, Cause::Other, words));
            }
            status => return Err(Failure::Status(status).at(Action::Get, what)),
        };
        if body.len() as u64 == range.end - range.start { Ok(body) } else { Err(changed()) }
    }

    async fn head(&self, name: &Name) -> Result<Object> {
        let what = self.what(name.as_str());
        let entry = self.look(name.as_str()).await.map_err(|failure| failure.at(Action::Head, &what))?;
        match entry.size {
            Some(size) => Ok(object(name.clone(), size, entry)),
            None => {
                Err(Error::said(Action::Head, what, Cause::Other, "the server does not say how long it is"))
            }
        }
    }

    async fn list(&self, folder: &str) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut found = |path: &str, entry: Entry| match (path.parse::<Name>(), entry.size) {
            (Ok(name), Some(size)) => listing.objects.push(object(name, size, entry)),
            _ if is_draft(path) => {}
            _ => listing.foreign += 1,
        };
        let walked = self.walk(folder, &mut found).await;
        walked.map_err(|failure| failure.at(Action::List, self.what(folder.trim_matches('/'))))?;
        listing.objects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    async fn delete(&self, name: &Name) -> Result<()> {
        let what = self.what(name.as_str());
        self.asker.remove(&self.url(name.as_str())).await.map_err(|failure| failure.at(Action::Delete, what))
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let mut leftovers = Vec::new();
        let mut found = |path: &str, entry: Entry| {
            let age = entry.modified.and_then(|time| SystemTime::now().duration_since(time).ok());
            if is_draft(path) && age.is_some_and(|age| age > LEFT_FOR_DEAD) {
                leftovers.push(Leftover {
                    id: path.to_owned(),
                    name: None,
                    size: entry.size,
                    since: entry.modified,
                });
            }
        };
        let walked = self.walk("", &mut found).await;
        walked.map_err(|failure| failure.at(Action::Leftovers, &self.address))?;
        Ok(leftovers)
    }

    async fn clear(&self, leftover: &Leftover) -> Result<()> {
        let what = self.what(&leftover.id);
        if !is_draft(&leftover.id) || leftover.id.split('/').any(|part| part == "..") {
            return Err(Error::said(Action::Delete, what, Cause::Other, "it is not what a killed run left"));
        }
        self.asker.remove(&self.url(&leftover.id)).await.map_err(|failure| failure.at(Action::Delete, what))
    }
}

/// A temporary name on the server. What is dropped is removed, if there is still somebody to do it.
struct Draft {
    asker: Asker,
    url: Option<Url>,
}

impl Draft {
    /// Removes it, unless it has got its name.
    async fn end(mut self, stored: bool) {
        if let Some(url) = self.url.take().filter(|_| !stored) {
            // What cannot be removed is found as a leftover.
            let _ = self.asker.once(&Method::DELETE, &url, &[]).await;
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let (Some(url), Ok(runtime)) = (self.url.take(), tokio::runtime::Handle::try_current()) {
            let asker = self.asker.clone();
            runtime.spawn(async move { asker.once(&Method::DELETE, &url, &[]).await.map(drop) });
        }
    }
}

fn object(name: Name, size: u64, entry: Entry) -> Object {
    Object { name, size, tag: entry.tag, modified: entry.modified }
}
