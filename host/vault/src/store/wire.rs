//! HTTP for all stores that speak it: one client with the limits that they share.
//!
//! A time limit for a whole request would cut off every transfer that takes longer, so there is none: what is
//! limited is the time in which nothing moves, in either direction. Redirects are not followed, since what is
//! signed for one server means nothing to another, and a password is for one alone.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_RANGE, HeaderValue, IF_NONE_MATCH};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use tokio::time::{Instant, sleep_until, timeout};

use super::limits::{Limits, Pace};

/// How long an idle connection is kept: less than the minute after which many servers close it.
const KEPT: Duration = Duration::from_secs(20);

/// What S3 is sent with each object and part.
const CHECKSUM: &str = "x-amz-checksum-sha256";
/// No server explains itself at greater length.
const LONGEST_ERROR: usize = 64 << 10;

/// The client. Copies share connections and the limit of bandwidth.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    client: reqwest::Client,
    idle: Duration,
    pace: Arc<Pace>,
    /// Whether an S3 upload in parts is to be completed only where nothing is.
    conditional: Arc<AtomicBool>,
    /// Whether the server has asked for an MD5 of what it is sent.
    md5: Arc<AtomicBool>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct WireError {
    pub(crate) kind: HttpErrorKind,
    words: String,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for WireError {}

impl From<WireError> for HttpError {
    fn from(error: WireError) -> Self {
        HttpError::new(error.kind, error)
    }
}

impl Wire {
    pub(crate) fn new(limits: &Limits) -> io::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .connect_timeout(limits.connect)
            .pool_idle_timeout(KEPT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("docker-snapshot/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(io::Error::other)?;
        Ok(Wire {
            client,
            idle: limits.idle,
            pace: Arc::new(Pace::new(limits.bandwidth)),
            conditional: Arc::new(AtomicBool::new(false)),
            md5: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Whether an S3 upload in parts is completed only where nothing is. That is no setting of
    /// `object_store`'s, and the header needs no signature.
    pub(crate) fn set_conditional(&self, conditional: bool) {
        self.conditional.store(conditional, Ordering::Relaxed);
    }

    pub(crate) fn conditional(&self) -> bool {
        self.conditional.load(Ordering::Relaxed)
    }

    /// Sends `request`, and gives the answer as soon as its headers are there.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Result<Response<Answer>, WireError>
    where
        B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static,
    {
        let watch = Arc::new(Watch::default());
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse().map_err(|_| WireError {
            kind: HttpErrorKind::Unknown,
            words: "the address is no URL".to_owned(),
        })?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        if !body.is_end_stream() {
            *request.body_mut() = Some(reqwest::Body::wrap(paced(body, self.pace.clone(), watch.clone())));
        }
        let answer = watch.guard(self.idle, self.client.execute(request)).await;
        let answer = answer.ok_or_else(|| silent(self.idle))?.map_err(|error| wire_error(&error))?;
        let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        Ok(Response::from_parts(parts, Answer { body, idle: self.idle }))
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    body: reqwest::Body,
    idle: Duration,
}

impl Answer {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, WireError>> {
        loop {
            let frame = timeout(self.idle, self.body.frame()).await;
            return match frame {
                Err(_) => Some(Err(silent(self.idle))),
                Ok(None) => None,
                Ok(Some(Err(error))) => Some(Err(wire_error(&error))),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Some(Ok(data)),
                    Err(_) => continue,
                },
            };
        }
    }

    /// All of it, but no more than `limit` bytes.
    pub(crate) async fn all(mut self, limit: usize) -> Result<Bytes, WireError> {
        let mut all = Vec::new();
        while let Some(data) = self.next().await {
            all.extend_from_slice(&data?);
            if all.len() > limit {
                let words = format!("the server's answer has more than {limit} bytes");
                return Err(WireError { kind: HttpErrorKind::Decode, words });
            }
        }
        Ok(all.into())
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let completes = request.method() == Method::POST
            && request.uri().query().is_some_and(|query| query.contains("uploadId="));
        if completes && self.conditional() {
            request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let has_checksum = request.method() == Method::PUT && request.headers().contains_key(CHECKSUM);
        if has_checksum && self.md5.load(Ordering::Relaxed) {
            add_md5(&mut request).await?;
        } else if has_checksum {
            return self.send_or_add_md5(request).await;
        }
        Ok(response(self.send(request).await?))
    }
}

impl Wire {
    /// Sends it; and again with its MD5, if the server asks for that. Where objects are locked, some are content
    /// with nothing else.
    async fn send_or_add_md5(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut again = request.clone();
        let answer = self.send(request).await?;
        if answer.status() != StatusCode::BAD_REQUEST {
            return Ok(response(answer));
        }
        let (parts, body) = answer.into_parts();
        let words = body.all(LONGEST_ERROR).await?;
        if !String::from_utf8_lossy(&words).contains("Content-MD5") {
            return Ok(Response::from_parts(parts, words.into()));
        }
        self.md5.store(true, Ordering::Relaxed);
        add_md5(&mut again).await?;
        Ok(response(self.send(again).await?))
    }
}

/// Adds a header that needs no signature.
async fn add_md5(request: &mut HttpRequest) -> Result<(), HttpError> {
    let mut sum = md5::Context::new();
    let mut body = request.body().clone();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            sum.consume(&data);
        }
    }
    let text = BASE64_STANDARD.encode(sum.finalize().0);
    let value =
        HeaderValue::from_str(&text).map_err(|error| HttpError::new(HttpErrorKind::Request, error))?;
    request.headers_mut().insert("content-md5", value);
    Ok(())
}

/// An answer as `object_store` takes it.
fn response(answer: Response<Answer>) -> HttpResponse {
    let (mut parts, answer) = answer.into_parts();
    // rclone's server gives the part that was asked for, but with the status of the whole.
    if parts.status == StatusCode::OK && parts.headers.contains_key(CONTENT_RANGE) {
        parts.status = StatusCode::PARTIAL_CONTENT;
    }
    let frames = stream::unfold(answer, |mut answer| async move {
        let data = answer.next().await?;
        Some((data.map(Frame::data).map_err(HttpError::from), answer))
    });
    Response::from_parts(parts, HttpResponseBody::new(StreamBody::new(frames.fuse())))
}

impl HttpConnector for Wire {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// When something moved last.
#[derive(Debug)]
struct Watch(Mutex<Instant>);

impl Default for Watch {
    fn default() -> Self {
        Watch(Mutex::new(Instant::now()))
    }
}

impl Watch {
    fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// What `work` gives; `None` if nothing moved for so long.
    async fn guard<T>(&self, idle: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + idle;
            tokio::select! {
                done = &mut work => return Some(done),
                () = sleep_until(until) => {}
            }
            if Instant::now() >= *self.0.lock().unwrap_or_else(PoisonError::into_inner) + idle {
                return None;
            }
        }
    }
}

/// `body`, no faster than the pace allows; what moves is seen by the watch.
fn paced<B>(
    body: B,
    pace: Arc<Pace>,
    watch: Arc<Watch>,
) -> impl Body<Data = Bytes, Error = B::Error> + Send + Sync
where
    B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
    B::Error: Send + Sync + 'static,
{
    let frames = stream::unfold((body, pace, watch), |(mut body, pace, watch)| async move {
        watch.touch();
        let frame = poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await?;
        if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
            pace.take(data.len(), || watch.touch()).await;
        }
        watch.touch();
        Some((frame, (body, pace, watch)))
    });
    // hyper asks once more after the end.
    StreamBody::new(frames.fuse())
}

fn silent(idle: Duration) -> WireError {
    let words = format!("the server was silent for {} seconds", idle.as_secs());
    WireError { kind: HttpErrorKind::Timeout, words }
}

/// What to say of `error`, without its URL, and whether trying again may help.
fn wire_error(error: &reqwest::Error) -> WireError {
    let mut deepest: &dyn std::error::Error = error;
    let mut certificate = false;
    while let Some(source) = deepest.source() {
        deepest = source;
        certificate |= deepest.is::<rustls::Error>();
    }
    let mut words = deepest.to_string();
    // Words of the C libraries: the name is wrong, and stays wrong.
    let nameless = ["Name or service not known", "Name does not resolve", "No address associated"]
        .iter()
        .any(|known| words.contains(known));
    let kind = if certificate || nameless {
        HttpErrorKind::Unknown
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else {
        HttpErrorKind::Interrupted
    };
    if error.is_timeout() {
        "the server does not answer".clone_into(&mut words);
    }
    WireError { kind, words }
}

/// TLS by ring, with the authorities of the system, or of the file that `SSL_CERT_FILE` names. It is read once.
///
/// # Errors
/// When ring cannot speak what is usual, which does not happen.
pub fn tls() -> io::Result<rustls::ClientConfig> {
    static TLS: OnceLock<rustls::ClientConfig> = OnceLock::new();
    if let Some(tls) = TLS.get() {
        return Ok(tls.clone());
    }
    let mut roots = rustls::RootCertStore::empty();
    // Without any, each connection says that it trusts nobody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TLS.get_or_init(|| tls).clone())
}
