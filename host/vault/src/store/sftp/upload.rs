//! One upload: to a temporary name, synced, and then given its own name in a way that replaces nothing.
//!
//! What the server has not confirmed is kept, so that an upload goes on where it was when a connection broke,
//! even if what is stored comes through a pipe and is there once.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::super::Object;
use super::super::content::Content;
use super::super::draft::draft;
use super::super::error::{Action, Cause, Error, Result};
use super::super::limits::Attempts;
use super::super::name::Name;
use super::failure::Failure;
use super::protocol::FOR_WRITING;
use super::session::{Pending, Session};
use super::{Server, object};

/// Bytes that may be on their way: what a fast line holds while an answer comes from afar.
const WINDOW: usize = 4 << 20;
/// How far the time of a file is set apart, in seconds, to see whether another name is one of the same file.
const APART: u32 = 7;

/// An upload under way.
pub(super) struct Upload<'a> {
    server: &'a Arc<Server>,
    name: &'a Name,
    what: String,
    path: String,
    draft: Draft,
}

/// A file of the server's that is open, and what was sent to it and is not confirmed.
struct Sending {
    session: Arc<Session>,
    handle: Bytes,
    unconfirmed: BTreeMap<u64, Bytes>,
    underway: FuturesUnordered<Answering>,
    offset: u64,
}

type Answering = std::pin::Pin<Box<dyn Future<Output = (u64, Result<(), Failure>)> + Send>>;

impl<'a> Upload<'a> {
    pub(super) fn new(server: &'a Arc<Server>, name: &'a Name) -> Self {
        let path = server.path(name.as_str());
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let draft = Draft {
            server: server.clone(),
            path: format!("{folder}/{}", draft()),
            is_there: false,
            open: None,
        };
        Upload { server, name, what: server.what(name.as_str()), path, draft }
    }

    pub(super) async fn run(mut self, mut content: Content) -> Result<Object> {
        match self.server.with(Action::Put, &self.what, |session| look(session, self.path.clone())).await? {
            Some(_) => return Err(self.plain(Cause::Exists)),
            None => self.server.make_folder_of(&self.path, &self.what).await?,
        }
        let stored = match self.send(&mut content).await {
            Ok(sent) => self.publish(sent).await,
            Err(error) => Err(error),
        };
        match &stored {
            // What became of it must not be touched before somebody has looked.
            Err(Error::Store { cause: Cause::Unclear, .. }) => self.draft.is_there = false,
            _ => self.draft.end().await,
        }
        stored
    }

    /// Sends all of it; gives its length.
    async fn send(&mut self, content: &mut Content) -> Result<u64> {
        let mut sending = self.begin().await?;
        let mut ended = false;
        let mut attempts = Attempts::new(&self.server.limits);
        while !(ended && sending.unconfirmed.is_empty()) {
            let has_room = sending.unconfirmed.values().map(Bytes::len).sum::<usize>() < WINDOW;
            let sent = tokio::select! {
                biased;
                Some((offset, answer)) = sending.underway.next() => answer.map(|()| {
                    sending.unconfirmed.remove(&offset);
                    attempts = Attempts::new(&self.server.limits);
                }),
                piece = content.next(), if !ended && has_room => {
                    if let Some(piece) = piece.map_err(|error| Error::content(&self.what, error))? {
                        self.server.pace.take(piece.len(), || {}).await;
                        sending.send(piece).await
                    } else {
                        ended = true;
                        Ok(())
                    }
                }
            };
            if let Err(failure) = sent {
                self.go_on(&mut sending, failure, &mut attempts).await?;
            }
        }
        self.settle(sending.offset).await
    }

    /// Makes the draft.
    async fn begin(&mut self) -> Result<Sending> {
        let path = self.draft.path.clone();
        self.draft.is_there = true;
        let made = |session: Arc<Session>| {
            let path = path.clone();
            async move {
                let made = session.create(&path).await;
                match made {
                    // Made by an attempt whose answer was lost: nobody else has this name.
                    Err(Failure::Status { .. }) if look(session.clone(), path.clone()).await?.is_some() => {
                        session.open(&path, FOR_WRITING).await
                    }
                    made => made,
                }
                .map(|handle| (session, handle))
            }
        };
        let (session, handle) = self.server.with(Action::Put, &self.what, made).await?;
        self.draft.open = Some((session.clone(), handle.clone()));
        Ok(Sending {
            session,
            handle,
            unconfirmed: BTreeMap::new(),
            underway: FuturesUnordered::new(),
            offset: 0,
        })
    }

    /// After `failure`: goes on over another connection where that helps.
    async fn go_on(
        &mut self,
        sending: &mut Sending,
        failure: Failure,
        attempts: &mut Attempts,
    ) -> Result<()> {
        let mut failure = failure;
        loop {
            if !failure.may_pass() || !attempts.again().await {
                return Err(self.failed(&sending.session, failure).await);
            }
            failure = match self.resume(sending).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
        }
    }

    async fn resume(&mut self, sending: &mut Sending) -> Result<(), Failure> {
        let session = self.server.session().await?;
        let handle = session.open(&self.draft.path, FOR_WRITING).await?;
        let has = session.look_at(&handle).await?.size.unwrap_or(0);
        let confirmed = sending.unconfirmed.keys().next().copied().unwrap_or(sending.offset);
        // A server that was switched off may have forgotten what it had confirmed.
        if has < confirmed {
            return Err(Failure::Odd(format!("the server had {confirmed} bytes, and now has {has} of them")));
        }
        self.draft.open = Some((session.clone(), handle.clone()));
        (sending.session, sending.handle, sending.underway) = (session, handle, FuturesUnordered::new());
        for (offset, piece) in sending.unconfirmed.clone() {
            sending.write(offset, piece).await?;
        }
        Ok(())
    }

    /// Brings all of it to the server's disk; gives its length.
    async fn settle(&mut self, length: u64) -> Result<u64> {
        let path = self.draft.path.clone();
        // The file is open on the connection that it was sent over, as long as that lasts.
        let first = Arc::new(Mutex::new(self.draft.open.take()));
        let settled = |session: Arc<Session>| {
            let (path, first) = (path.clone(), first.clone());
            async move {
                let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                let (session, handle) = if let Some(first) = first {
                    first
                } else {
                    let handle = session.open(&path, FOR_WRITING).await?;
                    (session, handle)
                };
                if session.syncs() {
                    session.sync(&handle).await?;
                }
                let size = session.look_at(&handle).await?.size;
                session.close(&handle).await?;
                Ok(size.unwrap_or(0))
            }
        };
        let stored = match self.server.with(Action::Put, &self.what, settled).await {
            Err(Error::Store { cause: Cause::Other, source, .. }) if self.is_full().await => {
                return Err(Error::Store {
                    action: Action::Put,
                    what: self.what.clone(),
                    cause: Cause::Full,
                    source,
                });
            }
            stored => stored?,
        };
        if stored == length { Ok(length) } else { Err(self.plain(Cause::Size { sent: length, stored })) }
    }

    /// Gives the draft its name.
    async fn publish(&mut self, length: u64) -> Result<Object> {
        let mut attempts = Attempts::new(&self.server.limits);
        loop {
            let failure = match self.name_it(length, attempts.are_none()).await {
                Ok(named) => {
                    let object = named.ok_or_else(|| self.plain(Cause::Exists))?;
                    return Ok(object);
                }
                Err(failure) => failure,
            };
            if !failure.may_pass() {
                return Err(failure.at(Action::Put, &self.what));
            }
            if !attempts.again().await {
                let words = format!("{} ({})", self.draft.path, failure.at(Action::Put, "it"));
                return Err(Error::said(Action::Put, &self.what, Cause::Unclear, words));
            }
        }
    }

    /// Gives the draft its name, or sees that it has got it by an attempt whose answer was lost. `None` if
    /// somebody else has the name.
    async fn name_it(&mut self, length: u64, is_first: bool) -> Result<Option<Object>, Failure> {
        let session = self.server.session().await?;
        let (draft, path) = (self.draft.path.clone(), self.path.clone());
        if !is_first && look(session.clone(), draft.clone()).await?.is_none() {
            // A rename that was done. What is there now is it, unless it was replaced since.
            self.draft.is_there = false;
            let found = look(session, path).await?;
            let ours = found.filter(|found| found.size == Some(length));
            return Ok(ours.map(|found| object(self.name.clone(), found)));
        }
        let named = if session.links() { session.link(&draft, &path).await } else { Ok(()) };
        match named {
            Ok(()) if session.links() => remove(&session, &draft).await?,
            // Servers tell a name that is taken in no way of its own.
            _ => match look(session.clone(), path.clone()).await? {
                Some(_) if is_first => return Ok(None),
                Some(_) if !self.is_same(&session).await? => return Ok(None),
                Some(_) => remove(&session, &draft).await?,
                // No second links on that file system, or none on that server.
                None => {
                    self.server.links_in_vain.store(true, Ordering::Relaxed);
                    match session.rename(&draft, &path).await {
                        Err(Failure::Status { .. })
                            if look(session.clone(), path.clone()).await?.is_some() =>
                        {
                            return Ok(None);
                        }
                        renamed => renamed?,
                    }
                }
            },
        }
        self.draft.is_there = false;
        self.server.sync_folder_of(&session, &path).await?;
        let found = session.look(&path).await?;
        Ok((found.size == Some(length)).then(|| object(self.name.clone(), found)))
    }

    /// Whether draft and name are one file: then what is changed of the one is changed of the other.
    async fn is_same(&self, session: &Arc<Session>) -> Result<bool, Failure> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        for time in [now - APART, now] {
            session.touch(&self.draft.path, time).await?;
            if session.look(&self.path).await?.modified != Some(time) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether there is no room. Servers say "failure" of it, as of anything.
    async fn is_full(&self) -> bool {
        match self.server.session().await {
            Ok(session) => session.is_full(&self.draft.path).await,
            Err(_) => false,
        }
    }

    async fn failed(&self, session: &Session, failure: Failure) -> Error {
        match failure {
            Failure::Status { words, .. } if session.is_full(&self.draft.path).await => {
                Error::said(Action::Put, &self.what, Cause::Full, format!("the server says {words:?}"))
            }
            failure => failure.at(Action::Put, &self.what),
        }
    }

    fn plain(&self, cause: Cause) -> Error {
        Error::plain(Action::Put, &self.what, cause)
    }
}

impl Sending {
    /// Sends a piece, in as many writes as it takes.
    async fn send(&mut self, mut piece: Bytes) -> Result<(), Failure> {
        let mut pieces = Vec::new();
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(self.session.write_size()));
            let length = part.len() as u64;
            // Noted before anything is sent: what is noted is sent again if the connection is lost.
            self.unconfirmed.insert(self.offset, part.clone());
            pieces.push((self.offset, part));
            self.offset += length;
        }
        for (offset, part) in pieces {
            self.write(offset, part).await?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u64, piece: Bytes) -> Result<(), Failure> {
        let pending: Pending = self.session.write(&self.handle, offset, piece).await?;
        let done = async move { (offset, pending.answer().await.and_then(super::protocol::Answer::done)) };
        self.underway.push(Box::pin(done));
        Ok(())
    }
}

/// Removes the temporary name of what has its own one. One that stays is a leftover.
async fn remove(session: &Session, draft: &str) -> Result<(), Failure> {
    match session.remove(draft).await {
        Err(failure) if failure.may_pass() => Err(failure),
        _ => Ok(()),
    }
}

/// What is at `path`, if anything.
pub(super) async fn look(
    session: Arc<Session>,
    path: String,
) -> Result<Option<super::protocol::Attributes>, Failure> {
    match session.look(&path).await {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.is_missing() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A temporary name on the server. What is dropped is removed, if there is still somebody to do it.
struct Draft {
    server: Arc<Server>,
    path: String,
    is_there: bool,
    /// As long as it is open. What is removed and still open takes up room.
    open: Option<(Arc<Session>, Bytes)>,
}

impl Draft {
    /// Removes what is left of it.
    async fn end(&mut self) {
        if let Some((session, handle)) = self.open.take() {
            let _ = session.close(&handle).await;
        }
        if std::mem::take(&mut self.is_there)
            && let Ok(session) = self.server.session().await
        {
            // What cannot be removed is found as a leftover.
            let _ = session.remove(&self.path).await;
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.is_there, tokio::runtime::Handle::try_current()) {
            let (server, path) = (self.server.clone(), self.path.clone());
            let mut draft = Draft { server, path, is_there: true, open: self.open.take() };
            runtime.spawn(async move { draft.end().await });
        }
    }
}
