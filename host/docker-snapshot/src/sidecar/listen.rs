//! Answers `GET` for the page, metrics and health. It is read-only, and knows no more of HTTP than that: who
//! sends anything else, too much or too slowly is not answered.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use snapshotter_engine::lease::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::sidecar::status::{self, Health};
use crate::sidecar::{metrics, page};

/// The longest head of a request, in bytes.
const LONGEST: usize = 8 << 10;
/// How long a client may take for a request and its answer. They are served one after the other.
const PATIENCE: Duration = Duration::from_secs(3);

/// Listens at `address`; what is returned answers until it is dropped.
///
/// # Errors
/// When it cannot be listened there.
pub(crate) async fn listen<'a>(
    address: SocketAddr,
    config: &'a Config,
    state: &'a State,
) -> anyhow::Result<impl Future<Output = ()> + 'a> {
    let listener = TcpListener::bind(address).await;
    let listener =
        listener.with_context(|| format!("cannot listen at {address}: give another to --listen"))?;
    Ok(async move {
        loop {
            match listener.accept().await {
                // A client that goes away has its reasons.
                Ok((stream, _)) => drop(timeout(PATIENCE, converse(stream, config, state)).await),
                // Out of files, for a moment.
                Err(_) => sleep(PATIENCE).await,
            }
        }
    })
}

async fn converse(mut stream: TcpStream, config: &Config, state: &State) -> std::io::Result<()> {
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut piece).await?;
        if count == 0 || head.len() > LONGEST {
            return Ok(());
        }
        head.extend_from_slice(&piece[..count]);
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, kind, body) = answer(method, path.split('?').next().unwrap_or_default(), config, state);
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

fn answer(method: &str, path: &str, config: &Config, state: &State) -> (&'static str, &'static str, String) {
    if !matches!(method, "GET" | "HEAD") {
        return ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned());
    }
    let now = Utc::now();
    let all = status::of(config, state.directory(), now);
    match path {
        "/" => ("200 OK", "text/html", page::html(&all, now)),
        "/metrics" => ("200 OK", "text/plain; version=0.0.4", metrics::text(&all)),
        "/health" if all.iter().any(|status| matches!(status.health, Health::Bad(_))) => {
            ("503 Service Unavailable", "text/plain", "not good\n".to_owned())
        }
        "/health" => ("200 OK", "text/plain", "good\n".to_owned()),
        _ => ("404 Not Found", "text/plain", "there is /, /metrics and /health\n".to_owned()),
    }
}
