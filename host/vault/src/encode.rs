//! An archive as it lies in a store: compressed, then encrypted. Nothing here is a format of our own, so that
//! `zstd`, `gzip`, `age`, `gpg` and `tar` bring a backup back without this program (docs/vault.md).
//!
//! [`Encoding`] is what a file's name says of it.

mod encoding;

pub use encoding::{Compression, Encoding, Encryption};
