//! Requests and answers. Connections are kept and used again, since one through ssh takes a second to make.
//! An answer may take as long as its [`Call`] says: a container may need minutes to stop, and whoever gives
//! up earlier than the engine does not know what happened.

use std::io::{self, ErrorKind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Collected, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, UPGRADE, USER_AGENT};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::api::version::ApiVersion;
use crate::connect::endpoint::Endpoint;
use crate::connect::ssh::Said;
use crate::connect::stream::Dialer;
use crate::error::{Error, Result};

/// How long an engine may take to look something up. It can be busy with other things.
const LOOKUP: Duration = Duration::from_mins(2);
/// How many connections are kept.
const KEPT: usize = 8;
/// More than any engine says at once.
const ANSWER: usize = 256 << 20;
/// More than any engine says on one line.
const LINE: usize = 1 << 20;

/// A request, and what it is for.
#[derive(Debug)]
pub(crate) struct Call {
    /// What is done by it, for messages: "list volumes".
    action: String,
    method: Method,
    path: String,
    body: Bytes,
    kind: &'static str,
    limit: Option<Duration>,
}

impl Call {
    /// A question.
    pub(crate) fn get(action: impl Into<String>, path: impl Into<String>) -> Self {
        Call {
            action: action.into(),
            method: Method::GET,
            path: path.into(),
            body: Bytes::new(),
            kind: "application/json",
            limit: Some(LOOKUP),
        }
    }

    /// An order.
    pub(crate) fn post(action: impl Into<String>, path: impl Into<String>) -> Self {
        Call { method: Method::POST, ..Call::get(action, path) }
    }

    /// An order to remove something.
    pub(crate) fn delete(action: impl Into<String>, path: impl Into<String>) -> Self {
        Call { method: Method::DELETE, ..Call::get(action, path) }
    }

    /// With `body` as JSON.
    pub(crate) fn with(mut self, body: &impl Serialize) -> Result<Self> {
        let text = serde_json::to_vec(body);
        self.body = text.map_err(|source| Error::Answer { action: self.action.clone(), source })?.into();
        Ok(self)
    }

    /// With `tar` as it is.
    pub(crate) fn with_tar(self, tar: Vec<u8>) -> Self {
        Call { body: tar.into(), kind: "application/x-tar", ..self }
    }

    /// The answer must begin and end within `limit`.
    pub(crate) fn within(self, limit: impl Into<Option<Duration>>) -> Self {
        Call { limit: limit.into(), ..self }
    }

    fn broken(&self, source: io::Error) -> Error {
        Error::Broken { action: self.action.clone(), source }
    }

    fn request(&self, prefix: &str, host: &str, upgrades: bool) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("{prefix}{}", self.path))
            .header(HOST, host)
            .header(USER_AGENT, concat!("docker-snapshot/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, self.kind)
            .header(CONTENT_LENGTH, self.body.len());
        if upgrades {
            request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "tcp");
        }
        request.body(Full::new(self.body.clone())).map_err(|error| self.broken(io::Error::other(error)))
    }
}

/// What an engine answered where it did not refuse.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status, such as 304 for a container that had stopped already.
    pub(crate) status: u16,
    body: Bytes,
}

impl Answer {
    /// The answer as it came.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The answer as what it should be.
    pub(crate) fn json<T: DeserializeOwned>(&self, action: &str) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|source| Error::Answer { action: action.to_owned(), source })
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// An answer that has no end.
#[derive(Debug)]
pub(crate) struct Following {
    /// It ends with its sender.
    _connection: (Sender, Said),
    body: Incoming,
    /// What has come of the next line.
    rest: Vec<u8>,
}

impl Following {
    /// The next line, when it has come; `None` when the engine has ended the answer.
    ///
    /// # Errors
    /// When the connection breaks, or what comes is no line.
    pub(crate) async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let rest = self.rest.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.rest, rest)));
            }
            if self.rest.len() > LINE {
                return Err(io::Error::other("a line is too long"));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(io::Error::other)?;
            self.rest.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        }
    }
}

/// Speaks to one engine.
#[derive(Debug)]
pub(crate) struct Client {
    dialer: Dialer,
    /// `/v1.41`, or nothing until a version is agreed on.
    prefix: String,
    /// What the header `Host` says: proxies in front of an engine may ask for it.
    host: String,
    idle: Mutex<Vec<(Sender, Said)>>,
}

impl Client {
    /// For the engine at `endpoint`. Nothing is connected yet.
    ///
    /// # Errors
    /// When certificates cannot be used.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self> {
        let host = match &endpoint {
            Endpoint::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Endpoint::Tcp { host, port, .. } => format!("{host}:{port}"),
            Endpoint::Unix(_) | Endpoint::Ssh { .. } => "docker".to_owned(),
        };
        Ok(Client { dialer: Dialer::new(endpoint)?, prefix: String::new(), host, idle: Mutex::default() })
    }

    /// Speaks `version` from now on.
    pub(crate) fn speak(&mut self, version: ApiVersion) {
        self.prefix = format!("/v{version}");
    }

    /// Makes a call, and reads the whole answer.
    ///
    /// # Errors
    /// When the engine does not answer in time, or refuses.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer> {
        let work = self.exchange(call);
        let answer = in_time(call, work).await?;
        if answer.status < 400 {
            return Ok(answer);
        }
        let message = refusal(&answer.body);
        Err(Error::Refused { action: call.action.clone(), status: answer.status, message })
    }

    /// Makes a call whose connection then carries bytes both ways; only their beginning must come in time.
    ///
    /// # Errors
    /// As [`Client::call`], and when the connection is not handed over: a proxy may not pass that on.
    pub(crate) async fn upgrade(&self, call: &Call) -> Result<Upgraded> {
        in_time(call, async {
            let request = call.request(&self.prefix, &self.host, true)?;
            let (mut sender, said) = self.open().await.map_err(|error| call.broken(error))?;
            let response = match sender.send_request(request).await {
                Ok(response) => response,
                Err(error) => return Err(call.broken(reason(error, &said).await)),
            };
            match response.status() {
                StatusCode::SWITCHING_PROTOCOLS => {
                    let upgraded = hyper::upgrade::on(response).await;
                    upgraded.map_err(|error| call.broken(io::Error::other(error)))
                }
                status if status.as_u16() < 400 => Err(call.broken(io::Error::other(
                    "the engine, or a proxy in front of it, does not hand the connection over",
                ))),
                _ => Err(refused(call, response).await),
            }
        })
        .await
    }

    /// Makes a call whose answer has no end; only its beginning must come in time.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub(crate) async fn follow(&self, call: &Call) -> Result<Following> {
        in_time(call, async {
            let (sender, said, response) = self.send(call).await?;
            if response.status().as_u16() >= 400 {
                return Err(refused(call, response).await);
            }
            let body = response.into_body();
            Ok(Following { _connection: (sender, said), body, rest: Vec::new() })
        })
        .await
    }

    /// Makes a call, and reads the answer as JSON.
    ///
    /// # Errors
    /// As [`Client::call`], and when the answer is another.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        self.call(call).await?.json(&call.action)
    }

    /// Makes a call, and reads at most `limit` bytes of the answer; the rest is not waited for.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub(crate) async fn head(&self, call: &Call, limit: usize) -> Result<Vec<u8>> {
        let (status, head) = in_time(call, async {
            let (_sender, _said, response) = self.send(call).await?;
            let status = response.status().as_u16();
            let mut body = response.into_body();
            let mut head = Vec::new();
            while head.len() < limit
                && let Some(frame) = body.frame().await
            {
                let frame = frame.map_err(|error| call.broken(io::Error::other(error)))?;
                head.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
            }
            Ok((status, head))
        })
        .await?;
        if status < 400 {
            return Ok(head);
        }
        Err(Error::Refused { action: call.action.clone(), status, message: refusal(&head) })
    }

    async fn exchange(&self, call: &Call) -> Result<Answer> {
        let (sender, said, response) = self.send(call).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER).collect().await.map_err(|error| {
            let long = error.is::<LengthLimitError>();
            call.broken(if long {
                io::Error::other("the answer is too long")
            } else {
                io::Error::other(error)
            })
        })?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push((sender, said));
        }
        Ok(Answer { status, body: body.to_bytes() })
    }

    /// A question goes over a connection that is there, where one is, and when that fails over another: the
    /// engine, or a proxy in front of it, may just have closed it. An order goes over a new one, since it
    /// must not be given twice: the second answer to a stop would say that the container had stopped by
    /// itself.
    async fn send(&self, call: &Call) -> Result<(Sender, Said, Response<Incoming>)> {
        let request = call.request(&self.prefix, &self.host, false)?;
        while call.method == Method::GET
            && let Some((mut sender, said)) = self.reusable()
        {
            if sender.ready().await.is_ok()
                && let Ok(response) = sender.send_request(request.clone()).await
            {
                return Ok((sender, said, response));
            }
        }
        let (mut sender, said) = self.open().await.map_err(|error| call.broken(error))?;
        match sender.send_request(request).await {
            Ok(response) => Ok((sender, said, response)),
            Err(error) => Err(call.broken(reason(error, &said).await)),
        }
    }

    fn reusable(&self) -> Option<(Sender, Said)> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn open(&self) -> io::Result<(Sender, Said)> {
        let (stream, said) = self.dialer.open().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Ends with its sender, and with an error that the sender reports.
        tokio::spawn(connection.with_upgrades());
        Ok((sender, said))
    }
}

/// What comes of `work`, within the time that `call` has.
async fn in_time<T>(call: &Call, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(limit) = call.limit else { return work.await };
    timeout(limit, work).await.unwrap_or_else(|_| {
        let late = format!("no answer came within {} seconds", limit.as_secs());
        Err(call.broken(io::Error::new(ErrorKind::TimedOut, late)))
    })
}

/// Why nothing came: in ssh's own words where it has any, else in those of the connection.
async fn reason(error: hyper::Error, said: &Said) -> io::Error {
    for _ in 0..20 {
        if let Some(line) = said.last_line() {
            return io::Error::other(format!("ssh says: {line}"));
        }
        if !said.is_listening() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    io::Error::other(error)
}

/// Why the engine refused.
async fn refused(call: &Call, response: Response<Incoming>) -> Error {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER).collect().await;
    let message = refusal(&body.map(Collected::to_bytes).unwrap_or_default());
    Error::Refused { action: call.action.clone(), status, message }
}

/// The engine's message: `{"message": "…"}`, or text where it is a proxy that speaks.
fn refusal(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    serde_json::from_slice(body).map_or_else(
        |_| String::from_utf8_lossy(body).trim().chars().take(500).collect(),
        |Message { message }| message.trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_words_are_kept_and_a_proxys_are_cut() {
        assert_eq!(refusal(br#"{"message":"No such volume: a\n"}"#), "No such volume: a");
        assert_eq!(refusal(b"403 Forbidden\n"), "403 Forbidden");
        assert_eq!(refusal(&[b'x'; 1000]).len(), 500);
    }

    #[test]
    fn an_engine_that_says_nothing_is_waited_for_as_long_as_the_call_says() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let client = Client::new(Endpoint::Unix(socket)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let call = Call::get("ask", "/version").within(Duration::from_millis(50));
        let Err(Error::Broken { source, .. }) = runtime.block_on(client.call(&call)) else {
            panic!("no answer")
        };
        assert_eq!(source.kind(), ErrorKind::TimedOut);
    }
}
