//! An archive as it lies in a store: compressed, then encrypted. Nothing here is a format of our own, so that
//! `zstd`, `gzip`, `age`, `gpg` and `tar` bring a backup back without this program (docs/vault.md).
//!
//! [`Encoding`] is what a file's name says of it. [`Encoder`] writes an encoded archive, for those whom a [`Seal`]
//! names; [`Decoder`] reads one from its beginning, with [`Keys`], and [`SeekableDecoder`] at any offset.

pub mod age;
mod buffers;
mod crew;
mod decoder;
mod encoder;
mod encoding;
mod error;
mod gzip;
mod input;
pub mod openpgp;
mod seal;
mod secret;
mod seek;
mod source;
mod summary;
mod zstd;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use encoding::{Compression, Encoding, Encryption};
pub use error::{Error, Result};
pub use seal::{Keys, Seal};
pub use secret::{KeySource, Passphrase};
pub use seek::SeekableDecoder;
pub use source::ReadAt;
pub use summary::Summary;
