//! OpenPGP's encryption, by the crate `pgp`, in the form that GnuPG 2.2 reads: SEIPD version 1, AES-256, and for a
//! passphrase an iterated S2K of SHA-256. Nothing is compressed inside, as by `gpg -z 0`.
//!
//! Such a file has one checksum, at its very end. Before that was checked nothing of its text may be used, so a
//! decoder keeps the *encrypted* bytes in a file without a name, checks them, and then decrypts them again: no
//! plain text is on any disk, and none is handed out unchecked.

mod decrypt;
mod packets;
mod recipients;

pub(super) use decrypt::OpenPgpReader;
pub use recipients::Recipients;
pub(super) use recipients::secret_keys;
