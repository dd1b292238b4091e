//! A directory of a server, through SFTP, spoken by this program itself: an image of one file has no `ssh`.
//!
//! An object is put to a temporary name, synced, and given its name by a second link, which the server's kernel
//! refuses where something is. Where a server makes no links, by a rename, after a look.

mod failure;
mod known;
mod login;
mod protocol;
mod session;
mod upload;

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::sync::Mutex as AsyncMutex;

use super::address::{self, Address};
use super::content::Content;
use super::draft::is_draft;
use super::error::{Action, Cause, Error, Result};
use super::limits::{Attempts, Limits, Pace};
use super::name::Name;
use super::settings::Settings;
use super::{Absent, LEFT_FOR_DEAD, Leftover, Listing, Object, Promises, Store};
use failure::Failure;
use login::Login;
use protocol::{Attributes, END_OF_FILE, FAILURE, FOR_READING};
use session::{Pending, Session};
use upload::{Upload, look};

/// How deep folders are looked into: no name of ours has more parts.
const DEEPEST: usize = 16;
/// What a server lists beyond this is not believed.
const MOST_NAMES: usize = 2_000_000;
/// Bytes of one object that are asked for at once.
const AT_ONCE: usize = 2 << 20;

/// A directory of a server as a store.
#[derive(Debug)]
pub(crate) struct Sftp {
    server: Arc<Server>,
}

/// The server, and the one connection to it.
#[derive(Debug)]
struct Server {
    login: Login,
    /// Without a slash at its end.
    directory: String,
    address: String,
    limits: Limits,
    pace: Pace,
    session: AsyncMutex<Option<Arc<Session>>>,
    /// Folders that are there for sure.
    made: Mutex<HashSet<String>>,
    /// What the server can do, once a session was there.
    links: AtomicBool,
    syncs: AtomicBool,
    /// Whether it said that it makes links, and did not.
    links_in_vain: AtomicBool,
}

impl Sftp {
    pub(crate) fn open(
        address: &Address,
        server: &address::Sftp,
        settings: &Settings,
        limits: Limits,
    ) -> Result<Self> {
        let server = Server {
            login: Login::new(server, settings, limits)?,
            directory: server.directory.trim_end_matches('/').to_owned(),
            address: address.to_string(),
            limits,
            pace: Pace::new(limits.bandwidth),
            session: AsyncMutex::default(),
            made: Mutex::default(),
            links: AtomicBool::new(false),
            syncs: AtomicBool::new(false),
            links_in_vain: AtomicBool::new(false),
        };
        Ok(Sftp { server: Arc::new(server) })
    }
}

impl Server {
    /// The path of `name` on the server.
    fn path(&self, name: &str) -> String {
        let name = name.trim_matches('/');
        if name.is_empty() { self.directory.clone() } else { format!("{}/{name}", self.directory) }
    }

    fn what(&self, name: &str) -> String {
        let name = name.trim_matches('/');
        if name.is_empty() { self.address.clone() } else { format!("{}/{name}", self.address) }
    }

    /// The conversation with the server: the one that there is, or a new one.
    async fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut kept = self.session.lock().await;
        if let Some(session) = kept.as_ref().filter(|session| !session.is_over()) {
            return Ok(session.clone());
        }
        *kept = None;
        let session = Arc::new(self.login.connect().await?);
        self.links.store(session.links(), Ordering::Relaxed);
        self.syncs.store(session.syncs(), Ordering::Relaxed);
        *kept = Some(session.clone());
        Ok(session)
    }

    /// Does `work`, over another connection again if one is lost.
    async fn with<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        action: Action,
        what: &str,
        work: impl Fn(Arc<Session>) -> F,
    ) -> Result<T> {
        let mut attempts = Attempts::new(&self.limits);
        loop {
            let done = match self.session().await {
                Ok(session) => work(session).await,
                Err(failure) => Err(failure),
            };
            match done {
                Err(failure) if failure.may_pass() && attempts.again().await => {}
                done => return done.map_err(|failure| failure.at(action, what)),
            }
        }
    }

    /// Makes the folder that holds `path`, and what leads to it.
    async fn make_folder_of(self: &Arc<Self>, path: &str, what: &str) -> Result<()> {
        let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) else {
            return Ok(());
        };
        if self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(folder) {
            return Ok(());
        }
        let make = |session| make_folder(self.clone(), session, folder.to_owned());
        self.with(Action::Put, what, make).await?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
        Ok(())
    }

    /// Syncs the folder that holds `path`, where the server can. Where it cannot, nothing more is promised.
    async fn sync_folder_of(&self, session: &Session, path: &str) -> Result<(), Failure> {
        if !session.syncs() {
            return Ok(());
        }
        let folder = match path.rsplit_once('/') {
            Some(("", _)) => "/",
            Some((folder, _)) => folder,
            None => ".",
        };
        match session.sync_folder(folder).await {
            Err(failure) if failure.may_pass() => Err(failure),
            synced => {
                self.syncs.fetch_and(synced.is_ok(), Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// All that is in `folder`, at any depth, by its path from the store.
    async fn walk(&self, session: &Session, folder: &str) -> Result<Vec<(String, Attributes)>, Failure> {
        let mut files = Vec::new();
        let mut folders = VecDeque::from([folder.trim_matches('/').to_owned()]);
        while let Some(folder) = folders.pop_front() {
            let mut found = |name: &Bytes, attributes: Attributes| {
                // A name that is not UTF-8 is nobody's of ours, and is shown as one that cannot be a name.
                let last = std::str::from_utf8(name).map_or("\0", |name| name);
                let path = if folder.is_empty() { last.to_owned() } else { format!("{folder}/{last}") };
                // A server may say that a folder has a name with a slash in it.
                if attributes.is_folder() && !last.contains(['/', '\0']) && path.split('/').count() <= DEEPEST
                {
                    folders.push_back(path);
                } else if attributes.is_file() {
                    files.push((path, attributes));
                }
                files.len() + folders.len() < MOST_NAMES
            };
            match session.names(&self.path(&folder), &mut found).await {
                // A folder that is not there is empty; a store that is not there is not.
                Err(failure) if failure.is_missing() && !folder.is_empty() => {}
                listed => listed?,
            }
            if files.len() + folders.len() >= MOST_NAMES {
                return Err(Failure::Odd(format!("there are more than {MOST_NAMES} files")));
            }
        }
        Ok(files)
    }
}

#[async_trait]
impl Store for Sftp {
    fn address(&self) -> &str {
        &self.server.address
    }

    fn promises(&self) -> Promises {
        let server = &self.server;
        let links = server.links.load(Ordering::Relaxed) && !server.links_in_vain.load(Ordering::Relaxed);
        Promises {
            absent: if links { Absent::Refused } else { Absent::Looked },
            durable: self.server.syncs.load(Ordering::Relaxed),
            private: true,
        }
    }

    async fn put(&self, name: &Name, content: Content) -> Result<Object> {
        Upload::new(&self.server, name).run(content).await
    }

    async fn get(&self, object: &Object, range: Range<u64>) -> Result<Bytes> {
        let what = self.server.what(object.name.as_str());
        let path = self.server.path(object.name.as_str());
        let work = |session| get(session, path.clone(), object.clone(), range.clone());
        let read = self.server.with(Action::Get, &what, work).await?;
        read.ok_or_else(|| Error::plain(Action::Get, what, Cause::Changed))
    }

    async fn head(&self, name: &Name) -> Result<Object> {
        let what = self.server.what(name.as_str());
        let path = self.server.path(name.as_str());
        let found = self.server.with(Action::Head, &what, |session| look(session, path.clone())).await?;
        match found {
            None => Err(Error::plain(Action::Head, what, Cause::Missing)),
            Some(found) if !found.is_file() || found.size.is_none() => {
                Err(Error::said(Action::Head, what, Cause::Other, "it is not a regular file"))
            }
            Some(found) => Ok(self::object(name.clone(), found)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Listing> {
        let work = |session: Arc<Session>| async move { self.server.walk(&session, folder).await };
        let found = self.server.with(Action::List, &self.server.what(folder), work).await?;
        let mut listing = Listing::default();
        for (path, attributes) in found.into_iter().filter(|(path, _)| !is_draft(path)) {
            match path.parse::<Name>() {
                Ok(name) if attributes.size.is_some() => listing.objects.push(object(name, attributes)),
                _ => listing.foreign += 1,
            }
        }
        listing.objects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    async fn delete(&self, name: &Name) -> Result<()> {
        let path = self.server.path(name.as_str());
        let first = AtomicBool::new(true);
        let work = |session: Arc<Session>| {
            let (path, is_first) = (path.clone(), first.swap(false, Ordering::Relaxed));
            async move {
                match session.remove(&path).await {
                    // The answer to a first attempt may have been lost.
                    Err(failure) if failure.is_missing() && !is_first => {}
                    removed => removed?,
                }
                self.server.sync_folder_of(&session, &path).await
            }
        };
        self.server.with(Action::Delete, &self.server.what(name.as_str()), work).await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let work = |session: Arc<Session>| async move { self.server.walk(&session, "").await };
        let found = self.server.with(Action::Leftovers, &self.server.address, work).await?;
        let drafts = found.into_iter().filter(|(path, _)| is_draft(path)).map(|(path, attributes)| {
            Leftover { id: path, name: None, size: attributes.size, since: time(attributes) }
        });
        let is_old = |draft: &Leftover| {
            let age = draft.since.and_then(|since| SystemTime::now().duration_since(since).ok());
            age.is_some_and(|age| age > LEFT_FOR_DEAD)
        };
        Ok(drafts.filter(is_old).collect())
    }

    async fn clear(&self, leftover: &Leftover) -> Result<()> {
        let what = self.server.what(&leftover.id);
        let odd = |part: &str| part.is_empty() || part == "." || part == "..";
        if !is_draft(&leftover.id) || leftover.id.split('/').any(odd) {
            return Err(Error::said(Action::Delete, what, Cause::Other, "it is not what a killed run left"));
        }
        let path = self.server.path(&leftover.id);
        let work = |session: Arc<Session>| {
            let path = path.clone();
            async move { session.remove(&path).await }
        };
        self.server.with(Action::Delete, &what, work).await
    }
}

/// Makes `folder`, and what leads to it.
async fn make_folder(server: Arc<Server>, session: Arc<Session>, folder: String) -> Result<(), Failure> {
    let mut missing = Vec::new();
    let mut path = folder.as_str();
    loop {
        match session.follow(path).await {
            Ok(found) if found.is_folder() => break,
            Ok(_) => return Err(Failure::Odd(format!("{path} on the server is not a folder"))),
            Err(failure) if !failure.is_missing() => return Err(failure),
            Err(_) => missing.push(path),
        }
        match path.rsplit_once('/') {
            Some((parent, _)) if !parent.is_empty() => path = parent,
            _ => break,
        }
    }
    while let Some(path) = missing.pop() {
        match session.make_folder(path).await {
            // Another run may have made it meanwhile.
            Err(Failure::Status { code: FAILURE, .. }) if session.follow(path).await?.is_folder() => {}
            made => made?,
        }
        server.sync_folder_of(&session, path).await?;
    }
    Ok(())
}

/// The bytes `range` of `wanted`; `None` if it is not the file that it was.
async fn get(
    session: Arc<Session>,
    path: String,
    wanted: Object,
    range: Range<u64>,
) -> Result<Option<Bytes>, Failure> {
    let found = session.look(&path).await?;
    if !found.is_file() || object(wanted.name.clone(), found) != wanted || range.end > wanted.size {
        return Ok(None);
    }
    if range.is_empty() {
        return Ok(Some(Bytes::new()));
    }
    let handle = session.open(&path, FOR_READING).await?;
    let read = read(&session, &handle, range).await;
    let after = session.look_at(&handle).await?;
    session.close(&handle).await?;
    Ok(read?.filter(|_| object(wanted.name.clone(), after) == wanted))
}

/// The bytes `range` of a file that is open; `None` if it ends before.
async fn read(session: &Session, handle: &Bytes, range: Range<u64>) -> Result<Option<Bytes>, Failure> {
    let size = session.read_size();
    let mut bytes = BytesMut::new();
    let mut underway: VecDeque<(usize, Pending)> = VecDeque::new();
    let mut asked = range.start;
    loop {
        while asked < range.end && underway.len() * size < AT_ONCE {
            let length = usize::try_from(range.end - asked).unwrap_or(usize::MAX).min(size);
            let number = u32::try_from(length).unwrap_or(u32::MAX);
            underway.push_back((length, session.read(handle, asked, number).await?));
            asked += length as u64;
        }
        let Some((length, pending)) = underway.pop_front() else { return Ok(Some(bytes.freeze())) };
        let data = match pending.answer().await?.data() {
            Err(Failure::Status { code: END_OF_FILE, .. }) => return Ok(None),
            data => data?,
        };
        if data.is_empty() || data.len() > length {
            return Err(Failure::Odd(format!("{length} bytes were asked for, and {} came", data.len())));
        }
        bytes.extend_from_slice(&data);
        // A server may give less than it was asked for: what is missing is asked for next, and the rest again.
        if data.len() < length {
            underway.clear();
            asked = range.start + bytes.len() as u64;
        }
    }
}

fn time(attributes: Attributes) -> Option<SystemTime> {
    attributes.modified.map(|modified| SystemTime::UNIX_EPOCH + Duration::from_secs(modified.into()))
}

fn object(name: Name, attributes: Attributes) -> Object {
    let size = attributes.size.unwrap_or(0);
    let tag = attributes.modified.map(|modified| format!("{modified:x}-{size:x}"));
    Object { name, size, tag, modified: time(attributes) }
}
