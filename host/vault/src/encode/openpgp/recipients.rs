//! For whom an OpenPGP file is encrypted, and keys in OpenPGP's form.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::SystemTime;

use pgp::composed::{
    Deserializable, EncryptionSeipdV1, MessageBuilder, SignedPublicKey, SignedPublicSubKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{PublicKey, Signature, SignatureType};
use pgp::types::{KeyDetails, Password, StringToKey, Tag, Timestamp};
use rand::RngCore;
use rand::rngs::OsRng;

use super::super::error::{Error, Result};
use super::super::secret::{KeySource, Passphrase};

/// The most that an S2K can be told to hash, 62 MiB: some 50 ms.
const S2K_COUNT: u8 = 255;

/// For whom an archive is encrypted: a passphrase, public keys, or both.
#[derive(Debug, Clone, Default)]
pub struct Recipients {
    passphrase: Option<Passphrase>,
    keys: Vec<Arc<SignedPublicSubKey>>,
}

impl Recipients {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whoever knows the passphrase.
    pub fn set_passphrase(&mut self, passphrase: Passphrase) {
        self.passphrase = Some(passphrase);
    }

    /// Adds each public key of a file, as `gpg --export` writes them, with or without `--armor`: its newest
    /// subkey that is there to encrypt, and has neither expired nor been revoked.
    pub fn add_keys(&mut self, source: &KeySource) -> Result<()> {
        let what = "a public key of OpenPGP";
        let bytes = source.bytes(what)?;
        let unfit = |error: pgp::errors::Error| source.unfit(what, error.to_string());
        let (keys, _) = SignedPublicKey::from_reader_many(&bytes[..]).map_err(unfit)?;
        let before = self.keys.len();
        for key in keys {
            let subkey =
                for_encryption(key.map_err(unfit)?).map_err(|problem| source.unfit(what, problem))?;
            self.keys.push(Arc::new(subkey));
        }
        if self.keys.len() == before {
            return Err(source.unfit(what, "it has none"));
        }
        Ok(())
    }

    /// This, unless there is nobody.
    pub(in super::super) fn checked(&self) -> Result<Self> {
        if self.passphrase.is_none() && self.keys.is_empty() {
            return Err(Error::NoRecipient { encryption: "OpenPGP" });
        }
        Ok(self.clone())
    }

    /// Encrypts all that `from` reads.
    pub(in super::super) fn encrypt(&self, from: &mut impl Read, to: &mut impl Write) -> Result<()> {
        let sealed = self.message(from).and_then(|message| message.to_writer(OsRng, to));
        sealed
            .map_err(|error| Error::System { action: "encrypt", source: io::Error::other(error.to_string()) })
    }

    fn message<R: Read>(
        &self,
        from: R,
    ) -> pgp::errors::Result<MessageBuilder<'static, R, EncryptionSeipdV1>> {
        let mut message =
            MessageBuilder::from_reader("", from).seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
        if let Some(passphrase) = &self.passphrase {
            let mut salt = [0; 8];
            OsRng.fill_bytes(&mut salt);
            let s2k =
                StringToKey::IteratedAndSalted { hash_alg: HashAlgorithm::Sha256, salt, count: S2K_COUNT };
            message.encrypt_with_password(s2k, &Password::from(passphrase.expose()))?;
        }
        for key in &self.keys {
            message.encrypt_to_key(OsRng, &key.key)?;
        }
        Ok(message)
    }
}

/// Secret keys as `gpg --export-secret-keys` writes them.
pub(in super::super) fn secret_keys(source: &KeySource) -> Result<Vec<SignedSecretKey>> {
    let what = "a secret key of OpenPGP";
    let bytes = source.bytes(what)?;
    // What the crate says of a secret key might show a part of it.
    let unfit = |_| source.unfit(what, "it is none, or a kind that is not known here");
    let (keys, _) = SignedSecretKey::from_reader_many(&bytes[..]).map_err(unfit)?;
    let keys = keys.collect::<pgp::errors::Result<Vec<_>>>().map_err(unfit)?;
    if keys.is_empty() {
        return Err(source.unfit(what, "it has none"));
    }
    Ok(keys)
}

/// The subkey of `key` that is to be encrypted for.
fn for_encryption(key: SignedPublicKey) -> Result<SignedPublicSubKey, &'static str> {
    let SignedPublicKey { primary_key, details, public_subkeys } = key;
    // A revocation that cannot be verified, such as one with SHA-1, is believed as well.
    if !details.revocation_signatures.is_empty() {
        return Err("it has been revoked");
    }
    let certified = details.users.iter().flat_map(|user| {
        let of_user = |signature: &&Signature| {
            signature.verify_certification(&primary_key, Tag::UserId, &user.id).is_ok()
        };
        user.signatures.iter().filter(of_user)
    });
    let direct = details.direct_signatures.iter().filter(|direct| direct.verify_key(&primary_key).is_ok());
    let newest = certified.chain(direct).max_by_key(|signature| signature.created());
    if newest.is_some_and(|newest| expired(&primary_key, newest)) {
        return Err("it has expired");
    }
    public_subkeys
        .into_iter()
        .filter_map(|subkey| Some((usable_since(&subkey, &primary_key)?, subkey)))
        .max_by_key(|(since, _)| *since)
        .map(|(_, subkey)| subkey)
        .ok_or("it has no subkey that is there to encrypt and has neither expired nor been revoked")
}

/// When a subkey was bound to its key, if it is there to encrypt, and has neither expired nor been revoked.
fn usable_since(subkey: &SignedPublicSubKey, primary: &PublicKey) -> Option<Timestamp> {
    if subkey.signatures.iter().any(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation)) {
        return None;
    }
    let bindings = subkey.signatures.iter().filter(|s| s.verify_subkey_binding(primary, &subkey.key).is_ok());
    let newest = bindings.max_by_key(|signature| signature.created())?;
    let flags = newest.key_flags();
    let fit = (flags.encrypt_storage() || flags.encrypt_comms()) && !expired(&subkey.key, newest);
    newest.created().filter(|_| fit)
}

fn expired(key: &impl KeyDetails, signature: &Signature) -> bool {
    let Some(lifetime) = signature.key_expiration_time().map(std::time::Duration::from) else { return false };
    !lifetime.is_zero() && SystemTime::from(key.created_at()) + lifetime < SystemTime::now()
}
