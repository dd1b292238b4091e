//! Where a database's client programs run: here, or in the database's own container.

mod call;
mod local;

use std::io;
use std::pin::Pin;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

pub use call::{Argument, Call};
pub use local::Local;

/// Something that runs programs.
#[async_trait]
pub trait Place: Send + Sync {
    /// Starts a program. Dropping what is returned kills it, or makes it end by closing its streams.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] says that there is no such program, and nothing else.
    async fn start(&self, call: &Call) -> io::Result<Running>;

    /// Where that is, after a program's name: `on this machine`.
    fn name(&self) -> String;
}

/// A program that runs. Its three parts are to be worked at together, since a program stops whose pipes are
/// full.
pub struct Running {
    /// What it reads, if [`Call::reads`] said that it does.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// What it writes.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Ends when the program has. It reads the program's stderr, so it must be polled before that.
    pub end: Pin<Box<dyn Future<Output = io::Result<End>> + Send>>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Its exit code; `None` if a signal killed it.
    pub code: Option<i32>,
    /// The last of what it wrote to stderr, at most [`End::TAIL`] bytes.
    pub stderr: Vec<u8>,
}

impl End {
    /// How much of stderr is kept.
    pub const TAIL: usize = 4096;
}
