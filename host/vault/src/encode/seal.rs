//! For whom an archive is encrypted, and with what it is decrypted.

use age::Identity;
use pgp::composed::SignedSecretKey;

use super::age as age_format;
use super::encoding::Encryption;
use super::error::Result;
use super::openpgp;
use super::secret::{KeySource, Passphrase};

/// How an encoder encrypts. For recipients, only public keys need be where backups are made.
#[derive(Debug, Clone, Default)]
pub enum Seal {
    /// Not at all.
    #[default]
    None,
    /// As `age` does.
    Age(age_format::Recipients),
    /// As `gpg` does.
    OpenPgp(openpgp::Recipients),
}

impl Seal {
    /// Which encryption that is.
    pub fn encryption(&self) -> Encryption {
        match self {
            Self::None => Encryption::None,
            Self::Age(_) => Encryption::Age,
            Self::OpenPgp(_) => Encryption::OpenPgp,
        }
    }
}

/// What a decoder may decrypt with. It shows none of it.
#[derive(Default)]
pub struct Keys {
    pub(super) identities: Vec<Box<dyn Identity + Send + Sync>>,
    pub(super) passphrase: Option<Passphrase>,
    pub(super) openpgp: Vec<SignedSecretKey>,
    pub(super) unlock: Option<Passphrase>,
}

impl Keys {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the passphrase of an archive, of age's or OpenPGP's encryption.
    pub fn set_passphrase(&mut self, passphrase: Passphrase) {
        self.passphrase = Some(passphrase);
    }

    /// Takes the identities of a file that `age-keygen` made, or a private key of ssh.
    pub fn add_age_identities(&mut self, source: &KeySource) -> Result<()> {
        self.identities.extend(age_format::identities(source)?);
        Ok(())
    }

    /// Takes secret keys as `gpg --export-secret-keys` writes them, with or without `--armor`.
    pub fn add_openpgp_keys(&mut self, source: &KeySource) -> Result<()> {
        self.openpgp.extend(openpgp::secret_keys(source)?);
        Ok(())
    }

    /// Takes the passphrase that protects the secret keys themselves.
    pub fn set_key_passphrase(&mut self, passphrase: Passphrase) {
        self.unlock = Some(passphrase);
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Keys")
            .field("identities", &self.identities.len())
            .field("passphrase", &self.passphrase.is_some())
            .field("openpgp", &self.openpgp.len())
            .finish_non_exhaustive()
    }
}
