//! Where a dump is read from: more than once, since what it needs is looked at before it is restored.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::io::AsyncRead;

/// A dump's bytes.
pub type Bytes = Box<dyn AsyncRead + Send + Unpin>;

/// A dump that can be read from its beginning as often as needed.
#[async_trait]
pub trait Source: Send + Sync {
    /// The dump's bytes, from the first on.
    async fn open(&self) -> io::Result<Bytes>;
}

#[async_trait]
impl Source for PathBuf {
    async fn open(&self) -> io::Result<Bytes> {
        Ok(Box::new(tokio::fs::File::open(self).await?))
    }
}

#[async_trait]
impl Source for &Path {
    async fn open(&self) -> io::Result<Bytes> {
        Ok(Box::new(tokio::fs::File::open(self).await?))
    }
}
