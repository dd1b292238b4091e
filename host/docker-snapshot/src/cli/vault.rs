//! Flags of commands that encrypt, decrypt, or reach stores. Keys come from files, variables and Docker's
//! secrets, and never from the command line itself, but for public ones.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use clap::Args;
use snapshotter_vault::encode::{KeySource, Keys, Passphrase, Seal, age, openpgp};
use snapshotter_vault::store::{Limits, Settings};

use crate::cli::output;
use crate::job::depot::Depot;

/// For whom archives are encrypted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Encryption")]
pub(crate) struct Sealing {
    /// Encrypt for this public key of age or ssh; may be repeated
    #[arg(long = "age-recipient", value_name = "KEY")]
    age_recipients: Vec<String>,
    /// Encrypt for the public keys in this file, one a line; may be repeated
    #[arg(long = "age-recipients-file", value_name = "FILE", value_parser = source)]
    age_files: Vec<KeySource>,
    /// Encrypt for the OpenPGP key in this file, as `gpg --export` writes it; may be repeated
    #[arg(long = "gpg-recipient", value_name = "FILE", value_parser = source)]
    gpg_recipients: Vec<KeySource>,
    /// Encrypt with OpenPGP and the passphrase in this file; env:NAME and secret:NAME name a variable and one
    /// of Docker's secrets, here and for all files with keys
    #[arg(long, value_name = "FILE", value_parser = source)]
    gpg_passphrase_file: Option<KeySource>,
}

/// With what archives are decrypted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Decryption")]
pub(crate) struct Opening {
    /// Decrypt with the identities in this file, as `age-keygen` writes them, or with a private key of ssh; may be
    /// repeated
    #[arg(long = "age-identity", value_name = "FILE", value_parser = source)]
    age_identities: Vec<KeySource>,
    /// Decrypt with the passphrase in this file; env:NAME and secret:NAME name a variable and one of Docker's
    /// secrets, here and for all files with keys
    #[arg(long, value_name = "FILE", value_parser = source)]
    gpg_passphrase_file: Option<KeySource>,
    /// Decrypt with the secret key in this file, as `gpg --export-secret-keys` writes it; may be repeated
    #[arg(long = "gpg-key", value_name = "FILE", value_parser = source)]
    gpg_keys: Vec<KeySource>,
    /// The passphrase that protects such keys is in this file
    #[arg(long, value_name = "FILE", value_parser = source)]
    gpg_key_passphrase_file: Option<KeySource>,
}

/// How stores are reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Stores")]
pub(crate) struct Reach {
    /// Send no more than so many bytes a second to each store; K, M and G are units of 1024
    #[arg(long, value_name = "RATE", value_parser = rate)]
    bandwidth: Option<NonZeroU64>,
}

impl Sealing {
    /// Reads the keys.
    ///
    /// # Errors
    /// When one cannot be read or is none, or both age and OpenPGP are asked for.
    pub(crate) fn seal(&self) -> anyhow::Result<Seal> {
        let with_age = !self.age_recipients.is_empty() || !self.age_files.is_empty();
        let with_gpg = !self.gpg_recipients.is_empty() || self.gpg_passphrase_file.is_some();
        ensure!(
            !(with_age && with_gpg),
            "cannot encrypt with age and OpenPGP at once: give keys of one of them"
        );
        if with_age {
            let mut recipients = age::Recipients::new();
            self.age_recipients.iter().try_for_each(|key| recipients.add(key))?;
            self.age_files.iter().try_for_each(|file| recipients.add_all(file))?;
            return Ok(Seal::Age(recipients));
        }
        if with_gpg {
            let mut recipients = openpgp::Recipients::new();
            self.gpg_recipients.iter().try_for_each(|file| recipients.add_keys(file))?;
            if let Some(file) = &self.gpg_passphrase_file {
                recipients.set_passphrase(passphrase(file)?);
            }
            return Ok(Seal::OpenPgp(recipients));
        }
        Ok(Seal::None)
    }
}

impl Opening {
    /// Reads the keys.
    ///
    /// # Errors
    /// When one cannot be read or is none.
    pub(crate) fn keys(&self) -> anyhow::Result<Arc<Keys>> {
        let mut keys = Keys::new();
        self.age_identities.iter().try_for_each(|file| keys.add_age_identities(file))?;
        self.gpg_keys.iter().try_for_each(|file| keys.add_openpgp_keys(file))?;
        if let Some(file) = &self.gpg_passphrase_file {
            keys.set_passphrase(passphrase(file)?);
        }
        if let Some(file) = &self.gpg_key_passphrase_file {
            keys.set_key_passphrase(passphrase(file)?);
        }
        Ok(Arc::new(keys))
    }
}

/// The store that `text` names, with credentials from the environment.
///
/// # Errors
/// When it is no address, or a setting is missing.
pub(crate) fn depot(text: &str) -> anyhow::Result<Depot> {
    Depot::open(text, &Settings::environment(), Limits::default())
}

impl Reach {
    /// The output that `text` names.
    ///
    /// # Errors
    /// As [`depot`].
    pub(crate) fn open(&self, text: &str) -> anyhow::Result<Depot> {
        let limits = Limits { bandwidth: self.bandwidth, ..Limits::default() };
        Depot::open(text, &Settings::environment(), limits)?.for_output()
    }
}

/// The passphrase in `file`; what may surprise about it is said.
fn passphrase(file: &KeySource) -> anyhow::Result<Passphrase> {
    let passphrase = file.passphrase()?;
    if let Some(remark) = passphrase.remark() {
        output::say(&format!("warning: the passphrase in {}: {remark}", file.name()));
    }
    Ok(passphrase)
}

/// Where a key is: `env:NAME`, `secret:NAME`, or a path.
#[expect(clippy::unnecessary_wraps, reason = "clap wants it")]
fn source(text: &str) -> Result<KeySource, String> {
    Ok(match text.split_once(':') {
        Some(("env", name)) => KeySource::Variable(name.to_owned()),
        Some(("secret", name)) if !name.contains('/') => KeySource::DockerSecret(name.to_owned()),
        _ => KeySource::File(PathBuf::from(text)),
    })
}

/// Bytes a second: `500K`, `10M`.
fn rate(text: &str) -> Result<NonZeroU64, String> {
    let shift = match text.chars().last().map(|unit| unit.to_ascii_uppercase()) {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        _ => 0,
    };
    let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
    let rate = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    rate.and_then(NonZeroU64::new).ok_or_else(|| "give bytes a second, as in 500K or 10M".to_owned())
}
