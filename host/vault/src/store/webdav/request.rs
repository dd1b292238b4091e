//! Requests to a `WebDAV` server: who asks, when to ask again, and what an answer means.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use object_store::client::HttpErrorKind;
use secrecy::ExposeSecret;
use tokio::sync::Mutex as AsyncMutex;
use url::Url;

use super::answers::{self, Entry};
use crate::store::content::{Content, Length};
use crate::store::error::{Action, Cause, Error, Result as StoreResult};
use crate::store::limits::{Attempts, Limits};
use crate::store::settings::Settings;
use crate::store::wire::{Wire, WireError};

/// The longest description of a folder: some hundred thousand files.
const LONGEST: usize = 128 << 20;
/// What is asked of each file.
const PROPERTIES: &str = r#"<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/><D:getcontentlength/><D:getetag/><D:getlastmodified/></D:prop></D:propfind>"#;

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    wire: Wire,
    /// Sensitive: it is not shown.
    authorization: Option<HeaderValue>,
    limits: Limits,
}

/// An answer, all of it.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) tag: Option<String>,
    pub(super) range: Option<(Range<u64>, u64)>,
    pub(super) body: Bytes,
}

/// Why nothing came of a request.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said so.
    Status(StatusCode),
    /// There was no answer.
    Wire(WireError),
    /// The answer is not understood.
    Answer(String),
}

impl Asker {
    pub(super) fn new(user: Option<&str>, settings: &Settings, limits: Limits) -> StoreResult<Self> {
        let wire = Wire::new(&limits).map_err(|error| Error::io(Action::Connect, "WebDAV", error))?;
        let wrong = |setting: &str, problem: &str| Error::Setting {
            setting: setting.to_owned(),
            problem: problem.to_owned(),
        };
        let user = user.map(str::to_owned).or_else(|| settings.text("WEBDAV_USERNAME"));
        let password = settings.secret("WEBDAV_PASSWORD")?;
        let token = settings.secret("WEBDAV_TOKEN")?;
        let text = match (user, password, token) {
            (Some(_), Some(_), Some(_)) => {
                return Err(wrong("WEBDAV_TOKEN", "WEBDAV_PASSWORD is set as well"));
            }
            (_, _, Some(token)) => Some(format!("Bearer {}", token.expose_secret())),
            (Some(user), Some(password), None) => {
                let both = format!("{user}:{}", password.expose_secret());
                Some(format!("Basic {}", BASE64_STANDARD.encode(both)))
            }
            (Some(_), None, None) => return Err(wrong("WEBDAV_PASSWORD", "it is not set, but a user is")),
            (None, Some(_), None) => {
                return Err(wrong("WEBDAV_USERNAME", "it is not set, but a password is"));
            }
            (None, None, None) => None,
        };
        let header = |text: String| {
            let mut header = HeaderValue::try_from(text)
                .map_err(|_| wrong("WEBDAV_TOKEN", "it has a character that no header can have"))?;
            header.set_sensitive(true);
            Ok(header)
        };
        Ok(Asker { wire, authorization: text.map(header).transpose()?, limits })
    }

    /// The properties of what is at `url`; with those of its children where `depth` is 1.
    pub(super) async fn properties(&self, url: &Url, depth: &str) -> Result<Vec<Entry>, Failure> {
        let mut attempts = Attempts::new(&self.limits);
        loop {
            let headers = [("depth", depth), ("content-type", "application/xml")];
            let answer = self.request(&method("PROPFIND"), url, &headers, PROPERTIES.into(), LONGEST).await;
            let failure = match answer {
                Ok(answer) if answer.status == StatusCode::MULTI_STATUS => {
                    let text = String::from_utf8_lossy(&answer.body);
                    return answers::entries(&text).map_err(Failure::Answer);
                }
                Ok(answer) => Failure::Status(answer.status),
                Err(failure) => failure,
            };
            if !failure.may_pass() || !attempts.again().await {
                return Err(failure);
            }
        }
    }

    /// Asks for something that may be asked for again.
    pub(super) async fn ask(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(&str, &str)],
    ) -> Result<Answered, Failure> {
        let mut attempts = Attempts::new(&self.limits);
        loop {
            let failure = match self.once(method, url, headers).await {
                Ok(answer) if !Failure::Status(answer.status).may_pass() => return Ok(answer),
                Ok(answer) => Failure::Status(answer.status),
                Err(failure) => failure,
            };
            if !failure.may_pass() || !attempts.again().await {
                return Err(failure);
            }
        }
    }

    /// Asks for something once.
    pub(super) async fn once(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(&str, &str)],
    ) -> Result<Answered, Failure> {
        self.request(method, url, headers, Bytes::new(), LONGEST).await
    }

    /// Reads, again where that may help, an answer of at most `limit` bytes.
    pub(super) async fn read(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        limit: usize,
    ) -> Result<Answered, Failure> {
        let mut attempts = Attempts::new(&self.limits);
        loop {
            let failure = match self.request(&Method::GET, url, headers, Bytes::new(), limit).await {
                Ok(answer) if !Failure::Status(answer.status).may_pass() => return Ok(answer),
                Ok(answer) => Failure::Status(answer.status),
                Err(failure) => failure,
            };
            if !failure.may_pass() || !attempts.again().await {
                return Err(failure);
            }
        }
    }

    pub(super) async fn remove(&self, url: &Url) -> Result<(), Failure> {
        match self.ask(&Method::DELETE, url, &[]).await?.status {
            status if status.is_success() => Ok(()),
            status => Err(Failure::Status(status)),
        }
    }

    /// Puts `content`, once. Why it broke off is left in `broken`.
    pub(super) async fn put(
        &self,
        url: &Url,
        content: Arc<AsyncMutex<Content>>,
        broken: Arc<Mutex<Option<io::Error>>>,
    ) -> Result<StatusCode, Failure> {
        let length = content.lock().await.length();
        let pieces = stream::unfold((content, broken, false), |(content, broken, ended)| async move {
            if ended {
                return None;
            }
            let next = content.lock().await.next().await;
            match next {
                Ok(piece) => piece.map(|piece| (Ok(Frame::data(piece)), (content, broken, false))),
                Err(error) => {
                    let told = io::Error::from(error.kind());
                    *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    Some((Err(told), (content, broken, true)))
                }
            }
        });
        let mut request = self.prepare(&Method::PUT, url, &[])?.body(StreamBody::new(Box::pin(pieces)));
        if let (Ok(request), Length::Exact(length)) = (&mut request, length) {
            request.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        let answer = self.wire.send(request.map_err(|error| Failure::Answer(error.to_string()))?).await?;
        let status = answer.status();
        // Some servers answer before they have it all.
        answer.into_body().all(LONGEST).await?;
        Ok(status)
    }

    async fn request(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: Bytes,
        limit: usize,
    ) -> Result<Answered, Failure> {
        let request = self.prepare(method, url, headers)?.body(Full::new(body));
        let answer = self.wire.send(request.map_err(|error| Failure::Answer(error.to_string()))?).await?;
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let tag = header(ETAG).map(str::to_owned);
        let range = header(CONTENT_RANGE).and_then(answers::range);
        let status = answer.status();
        // What is said about a failure has nothing to do with what was asked for.
        let limit = if status.is_success() { limit } else { LONGEST };
        Ok(Answered { status, tag, range, body: answer.into_body().all(limit).await? })
    }

    fn prepare(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(&str, &str)],
    ) -> Result<http::request::Builder, Failure> {
        let mut request = Request::builder().method(method).uri(url.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let (Some(headers), Some(authorization)) = (request.headers_mut(), &self.authorization) {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        match request.headers_ref() {
            Some(_) => Ok(request),
            None => Err(Failure::Answer("the name cannot be sent".to_owned())),
        }
    }
}

impl Failure {
    /// Whether asking again may help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Failure::Status(status) => matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Failure::Wire(error) => {
                matches!(
                    error.kind,
                    HttpErrorKind::Connect | HttpErrorKind::Timeout | HttpErrorKind::Interrupted
                )
            }
            Failure::Answer(_) => false,
        }
    }

    /// The error that it is of `action` at `what`.
    pub(super) fn at(self, action: Action, what: impl Into<String>) -> Error {
        let cause = match &self {
            Failure::Status(status) => match status.as_u16() {
                401 | 403 => Cause::Denied,
                404 => Cause::Missing,
                413 | 507 => Cause::Full,
                _ => Cause::Other,
            },
            _ => Cause::Other,
        };
        match cause {
            Cause::Missing => Error::plain(action, what, cause),
            cause => Error::said(action, what, cause, self.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status(status) if status.is_redirection() => {
                write!(f, "the server answers {status}: its folder is at another address")
            }
            Failure::Status(status) => write!(f, "the server answers {status}"),
            Failure::Wire(error) => error.fmt(f),
            Failure::Answer(problem) => write!(f, "the server's answer is not understood: {problem}"),
        }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Failure::Wire(error)
    }
}

/// A method of `WebDAV`'s.
pub(super) fn method(name: &'static str) -> Method {
    Method::from_bytes(name.as_bytes()).unwrap_or_default()
}
