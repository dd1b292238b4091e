//! Decrypts an OpenPGP file in two passes over a local copy of its encrypted bytes.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use pgp::composed::{
    DecryptionOptions, Esk, Message, PlainSessionKey, TheRing, decrypt_session_key_with_password,
};
use pgp::packet::{PublicKeyEncryptedSessionKey, SymKeyEncryptedSessionKey};
use pgp::types::{DecryptionKey, EskType, Password, PkeskVersion, Seipdv1ReadMode, StringToKey};
use tempfile::SpooledTempFile;

use super::super::error::{Error, Result};
use super::super::seal::Keys;
use super::packets::{check, spool_error};

/// A file that is smaller is kept in memory.
const IN_MEMORY: usize = 8 << 20;
const BUFFER: usize = 64 << 10;
/// Packets of compressed data inside of each other. `gpg` makes one.
const MOST_NESTED: usize = 3;

/// The text of a file whose checksum has been checked.
pub(in super::super) struct OpenPgpReader {
    message: Message<'static>,
}

impl OpenPgpReader {
    /// Reads all of `reader`, keeps it in `directory`, and checks it with the key that fits.
    pub(in super::super) fn open(reader: &mut impl Read, keys: &Keys, directory: &Path) -> Result<Self> {
        let mut spool = tempfile::spooled_tempfile_in(IN_MEMORY, directory);
        let size = spool_in(reader, &mut spool)?;
        check(&mut spool, size)?;
        let session = session_key(&mut spool, keys)?;
        spool.seek(SeekFrom::Start(0)).map_err(spool_error)?;
        let ring = TheRing { session_keys: vec![session], decrypt_options: options(), ..TheRing::default() };
        let message = Message::from_bytes(BufReader::with_capacity(BUFFER, spool)).map_err(content_error)?;
        let (mut message, _) = message.decrypt_the_ring(ring, true).map_err(content_error)?;
        for _ in 0..MOST_NESTED {
            if message.is_compressed() {
                message = message.decompress().map_err(content_error)?;
            }
        }
        if !message.is_literal() && !message.is_signed() {
            return Err(Error::unsupported("it has something else inside than data"));
        }
        Ok(Self { message })
    }
}

impl Read for OpenPgpReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.message.read(out).map_err(|error| match Error::of(error, "decrypt") {
            Error::System { source, .. } => Error::damaged(format!("it does not decrypt ({source})")).into(),
            error => error.into(),
        })
    }
}

fn spool_in(reader: &mut impl Read, spool: &mut SpooledTempFile) -> Result<u64> {
    io::copy(reader, spool).map_err(spool_error)
}

/// The key of the file's text, of which its checksum has shown that it is the right one.
fn session_key(spool: &mut SpooledTempFile, keys: &Keys) -> Result<PlainSessionKey> {
    let candidates = candidates(spool, keys)?;
    let mut failure = Error::WrongKey;
    for (key, certain) in candidates {
        if checks(spool, &key)? {
            return Ok(key);
        }
        if certain {
            failure = Error::damaged("its checksum does not hold, though the key is the right one");
        }
    }
    Err(failure)
}

/// The session keys that `keys` give, and whether each is certainly the right one: a wrong passphrase gives a key,
/// too.
fn candidates(spool: &mut SpooledTempFile, keys: &Keys) -> Result<Vec<(PlainSessionKey, bool)>> {
    let Message::Encrypted { esk, .. } = message(spool)? else {
        return Err(Error::damaged("it is no encrypted file of OpenPGP"));
    };
    let mut found = Vec::new();
    let (mut by_passphrase, mut by_key) = (false, false);
    for esk in esk {
        match esk {
            Esk::SymKeyEncryptedSessionKey(packet) => {
                by_passphrase = true;
                found.extend(from_passphrase(&packet, keys)?.map(|key| (key, false)));
            }
            Esk::PublicKeyEncryptedSessionKey(packet) => {
                by_key = true;
                found.extend(from_secret_keys(&packet, keys).map(|key| (key, true)));
            }
        }
    }
    let usable = by_passphrase && keys.passphrase.is_some() || by_key && !keys.openpgp.is_empty();
    match (usable, by_key) {
        (true, _) => Ok(found),
        (false, true) => Err(Error::NoKey { encryption: "OpenPGP", needed: "secret key" }),
        (false, false) => Err(Error::NoKey { encryption: "OpenPGP", needed: "passphrase" }),
    }
}

fn from_passphrase(packet: &SymKeyEncryptedSessionKey, keys: &Keys) -> Result<Option<PlainSessionKey>> {
    // Argon2 takes as much memory as the file says.
    if let Some(StringToKey::Argon2 { t, m_enc, .. }) = packet.s2k()
        && (*m_enc > 16 || *t > 4)
    {
        return Err(Error::unsupported(
            "its passphrase takes more than 64 MiB or more than 4 passes of Argon2",
        ));
    }
    let Some(passphrase) = &keys.passphrase else { return Ok(None) };
    Ok(decrypt_session_key_with_password(packet, &Password::from(passphrase.expose())).ok())
}

fn from_secret_keys(packet: &PublicKeyEncryptedSessionKey, keys: &Keys) -> Option<PlainSessionKey> {
    let values = packet.values().ok()?;
    let kind = match packet.version() {
        PkeskVersion::V3 => EskType::V3_4,
        PkeskVersion::V6 => EskType::V6,
        PkeskVersion::Other(_) => return None,
    };
    let unlock = keys.unlock.as_ref().map_or_else(Password::empty, |unlock| Password::from(unlock.expose()));
    let decrypted = |key: &dyn DecryptionKey| key.decrypt(&unlock, values, kind).ok()?.ok();
    keys.openpgp.iter().find_map(|key| {
        let subkeys = key.secret_subkeys.iter().map(|subkey| &subkey.key);
        let mut subkeys = subkeys.filter(|subkey| packet.match_identity(subkey.public_key()));
        let primary = packet.match_identity(key.primary_key.public_key());
        subkeys
            .find_map(|subkey| decrypted(subkey))
            .or_else(|| primary.then(|| decrypted(&key.primary_key))?)
    })
}

/// Whether the file decrypts with `key` to something with its checksum. The text goes nowhere.
fn checks(spool: &mut SpooledTempFile, key: &PlainSessionKey) -> Result<bool> {
    let Message::Encrypted { mut edata, .. } = message(spool)? else { return Ok(false) };
    if edata.decrypt_with_options(key, options()).is_err() {
        return Ok(false);
    }
    match io::copy(&mut edata, &mut io::sink()) {
        Ok(_) => Ok(true),
        // Of the temporary file, and not of the text.
        Err(error) if error.raw_os_error().is_some() => Err(spool_error(error)),
        Err(_) => Ok(false),
    }
}

fn message(spool: &mut SpooledTempFile) -> Result<Message<'_>> {
    spool.seek(SeekFrom::Start(0)).map_err(spool_error)?;
    Message::from_bytes(BufReader::with_capacity(BUFFER, spool)).map_err(content_error)
}

fn options() -> DecryptionOptions {
    DecryptionOptions::new().enable_gnupg_aead().set_seipdv1_read_mode(Seipdv1ReadMode::Streaming)
}

fn content_error(error: pgp::errors::Error) -> Error {
    match error {
        pgp::errors::Error::IO { source, .. } if source.raw_os_error().is_some() => spool_error(source),
        error => Error::damaged(format!("it is no message of OpenPGP ({error})")),
    }
}
