//! A conversation with an SFTP server: many requests are on their way at once, and each waits for its own
//! answer. A connection on which nothing comes for too long, while something is waited for, is given up.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep};

use super::failure::Failure;
use super::protocol::{
    Answer, Attributes, CLOSE, END_OF_FILE, EXTENDED, FOR_READING, FOR_WRITING, FSTAT, INIT, LSTAT, MKDIR,
    NEW, OPEN, OPENDIR, Packet, READ, READDIR, REMOVE, RENAME, SETSTAT, STAT, WRITE,
};

/// The largest packet that is taken: more than any server sends, and than was ever asked for.
const LONGEST: usize = 512 << 10;
/// The bytes in one write or read that every server must take.
const CERTAIN: u64 = 32 << 10;
/// And that are asked for of servers that take more.
const WANTED: u64 = 128 << 10;
/// How much longer than anything else a sync may take: all of a large file may still be in the server's memory.
const SYNC_PATIENCE: u32 = 30;

/// The extensions that are used: <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL>.
const LINK: &str = "hardlink@openssh.com";
const SYNC: &str = "fsync@openssh.com";
const LIMITS: &str = "limits@openssh.com";
const ROOM: &str = "statvfs@openssh.com";

/// A conversation. When it is dropped, the connection is closed.
pub(super) struct Session {
    to: mpsc::Sender<(Bytes, Option<Bytes>)>,
    shared: Arc<Shared>,
    next: AtomicU32,
    idle: Duration,
    extensions: Vec<String>,
    write_size: usize,
    read_size: usize,
    /// Whatever the conversation runs over, kept as long as it does.
    _under: Box<dyn Send + Sync>,
    tasks: Vec<JoinHandle<()>>,
}

/// What requests and the task that hears the server share.
struct Shared {
    state: Mutex<State>,
}

struct State {
    /// Requests without an answer; `None` when the connection is gone.
    waiting: Option<HashMap<u32, Waiting>>,
    heard: Instant,
    end: String,
}

struct Waiting {
    to: oneshot::Sender<Answer>,
    since: Instant,
    patience: Duration,
}

/// An answer that is to come. One that is dropped is not waited for.
pub(super) struct Pending {
    from: oneshot::Receiver<Answer>,
    shared: Arc<Shared>,
}

impl Pending {
    pub(super) async fn answer(self) -> Result<Answer, Failure> {
        self.from.await.map_err(|_| self.shared.lost())
    }
}

impl Shared {
    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the connection up: whoever waits is told.
    fn end(&self, why: &str) {
        let mut state = self.locked();
        if state.waiting.take().is_some() {
            why.clone_into(&mut state.end);
        }
    }

    fn lost(&self) -> Failure {
        Failure::Lost(self.locked().end.clone())
    }

    fn is_over(&self) -> bool {
        self.locked().waiting.is_none()
    }

    /// Notes that an answer is waited for; false when the connection is gone.
    fn expect(&self, id: u32, waiting: Waiting) -> bool {
        let mut state = self.locked();
        let Some(all) = &mut state.waiting else { return false };
        all.insert(id, waiting);
        true
    }

    /// Gives an answer to whoever waits for it.
    fn hear(&self, id: u32, answer: Answer) {
        let mut state = self.locked();
        state.heard = Instant::now();
        if let Some(waiting) = state.waiting.as_mut().and_then(|waiting| waiting.remove(&id)) {
            // Whoever asked may have gone.
            let _ = waiting.to.send(answer);
        }
    }

    /// Whether something was waited for longer than it may.
    fn is_overdue(&self) -> bool {
        let state = self.locked();
        let heard = state.heard;
        let overdue = |waiting: &Waiting| waiting.since.max(heard).elapsed() > waiting.patience;
        state.waiting.as_ref().is_some_and(|all| all.values().any(overdue))
    }
}

impl Session {
    /// Begins to speak SFTP on a channel on which the server does.
    pub(super) async fn begin(
        channel: Channel<Msg>,
        under: Box<dyn Send + Sync>,
        idle: Duration,
    ) -> Result<Self, Failure> {
        let state = State { waiting: Some(HashMap::new()), heard: Instant::now(), end: String::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let (reading, writing) = channel.split();
        let (to, from) = mpsc::channel(2);
        let speaking = tokio::spawn(speak(writing, from, shared.clone()));
        let watching = tokio::spawn(watch(shared.clone(), idle, speaking.abort_handle()));
        let tasks = vec![tokio::spawn(hear(reading, shared.clone())), speaking, watching];
        let mut session = Session {
            to,
            shared,
            next: AtomicU32::new(1),
            idle,
            extensions: Vec::new(),
            write_size: usize::try_from(CERTAIN).unwrap_or(usize::MAX),
            read_size: usize::try_from(CERTAIN).unwrap_or(usize::MAX),
            _under: under,
            tasks,
        };
        // The server's answer has its version where others have a number.
        let version = 3;
        let answer = session.send(version, Packet::new(INIT, version), session.idle).await?;
        session.extensions = answer.answer().await?.extensions()?;
        if session.has(LIMITS) {
            session.learn_limits().await?;
        }
        Ok(session)
    }

    async fn learn_limits(&mut self) -> Result<(), Failure> {
        let limits = self.ask(EXTENDED, |packet| packet.string(LIMITS)).await?.numbers(4)?;
        let size = |limit: Option<&u64>| {
            let limit = limit.copied().filter(|limit| *limit > 0).unwrap_or(WANTED);
            usize::try_from(limit.clamp(1024, WANTED)).unwrap_or(usize::MAX)
        };
        (self.read_size, self.write_size) = (size(limits.get(1)), size(limits.get(2)));
        Ok(())
    }

    fn has(&self, extension: &str) -> bool {
        self.extensions.iter().any(|known| known == extension)
    }

    /// Whether the server makes second links, which replace nothing.
    pub(super) fn links(&self) -> bool {
        self.has(LINK)
    }

    /// Whether the server syncs files when it is asked.
    pub(super) fn syncs(&self) -> bool {
        self.has(SYNC)
    }

    /// Whether the connection is gone.
    pub(super) fn is_over(&self) -> bool {
        self.shared.is_over()
    }

    /// The bytes that one write may have.
    pub(super) fn write_size(&self) -> usize {
        self.write_size
    }

    /// The bytes that one read may ask for.
    pub(super) fn read_size(&self) -> usize {
        self.read_size
    }

    /// Sends a packet; its answer comes later. Waits only until it can be sent.
    async fn send(&self, id: u32, packet: Packet, patience: Duration) -> Result<Pending, Failure> {
        let (to, from) = oneshot::channel();
        let waiting = Waiting { to, since: Instant::now(), patience };
        if !self.shared.expect(id, waiting) || self.to.send(packet.finish()).await.is_err() {
            return Err(self.shared.lost());
        }
        Ok(Pending { from, shared: self.shared.clone() })
    }

    async fn begin_to_ask(
        &self,
        kind: u8,
        patience: Duration,
        fields: impl FnOnce(Packet) -> Packet,
    ) -> Result<Pending, Failure> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.send(id, fields(Packet::new(kind, id)), patience).await
    }

    async fn ask(&self, kind: u8, fields: impl FnOnce(Packet) -> Packet) -> Result<Answer, Failure> {
        self.begin_to_ask(kind, self.idle, fields).await?.answer().await
    }

    /// Makes a file that is its owner's alone, and must not be there.
    pub(super) async fn create(&self, path: &str) -> Result<Bytes, Failure> {
        let flags = FOR_WRITING | NEW;
        self.ask(OPEN, |packet| packet.string(path).number(flags).mode(0o600)).await?.handle()
    }

    /// Opens what is there.
    pub(super) async fn open(&self, path: &str, flags: u32) -> Result<Bytes, Failure> {
        self.ask(OPEN, |packet| packet.string(path).number(flags).number(0)).await?.handle()
    }

    pub(super) async fn close(&self, handle: &Bytes) -> Result<(), Failure> {
        self.ask(CLOSE, |packet| packet.string(handle)).await?.done()
    }

    /// Sends bytes of a file; the answer is to be waited for.
    pub(super) async fn write(&self, handle: &Bytes, offset: u64, data: Bytes) -> Result<Pending, Failure> {
        self.begin_to_ask(WRITE, self.idle, |packet| packet.string(handle).long(offset).data(data)).await
    }

    /// Asks for bytes of a file; the answer is to be waited for.
    pub(super) async fn read(&self, handle: &Bytes, offset: u64, size: u32) -> Result<Pending, Failure> {
        self.begin_to_ask(READ, self.idle, |packet| packet.string(handle).long(offset).number(size)).await
    }

    /// What is at `path`, and not where a link leads.
    pub(super) async fn look(&self, path: &str) -> Result<Attributes, Failure> {
        self.ask(LSTAT, |packet| packet.string(path)).await?.attributes()
    }

    /// What is at `path`, or where a link there leads.
    pub(super) async fn follow(&self, path: &str) -> Result<Attributes, Failure> {
        self.ask(STAT, |packet| packet.string(path)).await?.attributes()
    }

    pub(super) async fn look_at(&self, handle: &Bytes) -> Result<Attributes, Failure> {
        self.ask(FSTAT, |packet| packet.string(handle)).await?.attributes()
    }

    /// Sets both times, in seconds.
    pub(super) async fn touch(&self, path: &str, time: u32) -> Result<(), Failure> {
        self.ask(SETSTAT, |packet| packet.string(path).times(time)).await?.done()
    }

    pub(super) async fn make_folder(&self, path: &str) -> Result<(), Failure> {
        self.ask(MKDIR, |packet| packet.string(path).mode(0o700)).await?.done()
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), Failure> {
        self.ask(REMOVE, |packet| packet.string(path)).await?.done()
    }

    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        self.ask(RENAME, |packet| packet.string(from).string(to)).await?.done()
    }

    /// Gives a file a second name.
    pub(super) async fn link(&self, from: &str, to: &str) -> Result<(), Failure> {
        self.ask(EXTENDED, |packet| packet.string(LINK).string(from).string(to)).await?.done()
    }

    /// Returns when all of a file has reached the server's disk.
    pub(super) async fn sync(&self, handle: &Bytes) -> Result<(), Failure> {
        let fields = |packet: Packet| packet.string(SYNC).string(handle);
        self.begin_to_ask(EXTENDED, self.idle * SYNC_PATIENCE, fields).await?.answer().await?.done()
    }

    /// Syncs the folder `path`, where the server can: OpenSSH's opens folders as it opens files.
    pub(super) async fn sync_folder(&self, path: &str) -> Result<(), Failure> {
        let handle = self.open(path, FOR_READING).await?;
        let synced = self.sync(&handle).await;
        self.close(&handle).await?;
        synced
    }

    /// Whether the file system of `path` has no room, as far as the server tells.
    pub(super) async fn is_full(&self, path: &str) -> bool {
        if !self.has(ROOM) {
            return false;
        }
        let room = self.ask(EXTENDED, |packet| packet.string(ROOM).string(path)).await;
        // Sizes of a block and a piece, blocks, blocks that are free, and those of them that are for us.
        let numbers = room.and_then(|room| room.numbers(5)).unwrap_or_default();
        numbers.get(4).is_some_and(|free| free.saturating_mul(numbers[1]) < WANTED)
    }

    /// What is in the folder `path`, without `.` and `..`, told piece by piece. `false` from `found` ends it.
    pub(super) async fn names(
        &self,
        path: &str,
        found: &mut (dyn FnMut(&Bytes, Attributes) -> bool + Send),
    ) -> Result<(), Failure> {
        let handle = self.ask(OPENDIR, |packet| packet.string(path)).await?.handle()?;
        let mut goes_on = true;
        while goes_on {
            match self.ask(READDIR, |packet| packet.string(&handle)).await?.names() {
                Ok(names) => {
                    let names = names.iter().filter(|(name, _)| !matches!(&name[..], b"." | b".."));
                    goes_on = names.into_iter().all(|(name, attributes)| found(name, *attributes));
                }
                Err(Failure::Status { code: END_OF_FILE, .. }) => break,
                Err(failure) => return Err(failure),
            }
        }
        self.close(&handle).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("extensions", &self.extensions).finish_non_exhaustive()
    }
}

/// Takes what the server sends apart into answers, until there is no more.
async fn hear(mut channel: ChannelReadHalf, shared: Arc<Shared>) {
    let mut buffer = BytesMut::new();
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => buffer.extend_from_slice(&data),
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => {
                return shared.end("the server has closed the connection");
            }
            Some(_) => continue,
        }
        while let Some(length) = buffer.get(..4).map(|mut length| length.get_u32()) {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > LONGEST {
                return shared.end("the server does not speak SFTP: does its login print something?");
            }
            if buffer.len() < 4 + length {
                break;
            }
            buffer.advance(4);
            match Answer::read(buffer.split_to(length).freeze()) {
                Some((id, answer)) => shared.hear(id, answer),
                None => return shared.end("the server does not speak SFTP"),
            }
        }
        if shared.is_over() {
            return;
        }
    }
}

/// Sends what is to be sent.
async fn speak(
    channel: ChannelWriteHalf<Msg>,
    mut from: mpsc::Receiver<(Bytes, Option<Bytes>)>,
    shared: Arc<Shared>,
) {
    while let Some((head, data)) = from.recv().await {
        for bytes in std::iter::once(head).chain(data) {
            if let Err(error) = channel.data_bytes(bytes).await {
                return shared.end(&format!("the connection is lost: {error}"));
            }
        }
    }
}

/// Gives the connection up when something is overdue. Then nobody is to wait any more for it to be sent.
async fn watch(shared: Arc<Shared>, idle: Duration, speaking: AbortHandle) {
    while !shared.is_over() {
        sleep((idle / 8).min(Duration::from_secs(1))).await;
        if shared.is_overdue() {
            shared.end("the server has not answered for too long");
        }
    }
    speaking.abort();
}
