//! Opens a stream of bytes to an engine, whatever its address is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::connect::endpoint::Endpoint;
use crate::connect::ssh::{self, Said};
use crate::connect::tls;
use crate::error::Result;

/// How long a host may take to answer at all. ssh has the same limit in its arguments.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes to and from an engine.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens streams to one engine.
#[derive(Debug)]
pub(crate) struct Dialer {
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
}

impl Dialer {
    /// For the engine at `endpoint`; certificates are read now.
    ///
    /// # Errors
    /// When TLS is asked for and cannot be set up.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self> {
        let tls = match &endpoint {
            Endpoint::Tcp { tls: Some(tls), .. } => Some(tls::configuration(tls)?),
            _ => None,
        };
        Ok(Dialer { endpoint, tls })
    }

    /// Opens one. Where ssh is run, what it says comes with it.
    ///
    /// # Errors
    /// When nothing answers.
    pub(crate) async fn open(&self) -> io::Result<(Box<dyn Stream>, Said)> {
        let mut said = Said::default();
        let stream: Box<dyn Stream> = match &self.endpoint {
            Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Endpoint::Tcp { host, port, .. } => {
                let stream = in_time(TcpStream::connect((host.as_str(), *port))).await?;
                stream.set_nodelay(true)?;
                match &self.tls {
                    Some(tls) => Box::new(in_time(tls::encrypt(stream, host, Arc::clone(tls))).await?),
                    None => Box::new(stream),
                }
            }
            Endpoint::Ssh { user, host, port, socket } => {
                let (pipes, speaker) =
                    ssh::start(&ssh::arguments(user.as_deref(), host, *port, socket.as_deref()))?;
                said = speaker;
                Box::new(pipes)
            }
        };
        Ok((stream, said))
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
