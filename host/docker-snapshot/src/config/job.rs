//! One job: what is backed up, where it goes, when, and who is told.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};
use secrecy::SecretString;
use snapshotter_vault::encode::{self, Compression, KeySource, Keys, Seal, age, openpgp};
use snapshotter_vault::retention::Policy;
use snapshotter_vault::store::{Address, Settings};

use crate::config::databases::Named;
use crate::config::lists::{self, Kind, Source};
use crate::config::names::PREFIX;
use crate::config::parts::{alarms, compression, databases_of, places, retention, schedule_of, sealing};
use crate::config::value::Value;
use crate::config::variables::Variables;
use crate::schedule::{self, Schedule};

/// One job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) sources: Vec<Source>,
    pub(crate) databases: Vec<Named>,
    /// Patterns of what is not read.
    pub(crate) exclude: Vec<String>,
    /// Where backups go, at least one; the first is asked first when one is restored.
    pub(crate) places: Vec<Place>,
    pub(crate) compression: Compression,
    pub(crate) sealing: Sealing,
    /// Identities of age, to restore with.
    pub(crate) identity: Option<PathBuf>,
    /// When it runs; by hand alone where nothing is said.
    pub(crate) schedule: Option<Schedule>,
    pub(crate) zone: chrono_tz::Tz,
    pub(crate) retention: Policy,
    /// Containers or services that rest meanwhile.
    pub(crate) stop: Vec<String>,
    pub(crate) stop_wait: Duration,
    pub(crate) start_wait: Duration,
    pub(crate) alarms: Alarms,
    pub(crate) debug: bool,
}

/// A store, and the settings that it is opened with.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) address: Address,
    pub(crate) settings: Settings,
}

/// For whom backups are encrypted.
#[derive(Debug, Clone)]
pub(crate) enum Sealing {
    /// For nobody, which was asked for.
    None,
    /// For those who know a passphrase, as `gpg` does.
    Passphrase(KeySource),
    /// For recipients of `age`.
    Age(Vec<String>),
}

/// Who is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alarms {
    /// Addresses are secrets: who knows them can tell the same.
    pub(crate) start: Option<SecretString>,
    pub(crate) success: Option<SecretString>,
    pub(crate) failure: Option<SecretString>,
    pub(crate) mail: Option<Mail>,
    /// A program and its arguments.
    pub(crate) command: Vec<String>,
}

/// How mail is sent.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) to: Vec<String>,
    pub(crate) from: String,
    /// `smtp://user@host:587` (STARTTLS), `smtps://…` (TLS), `smtp+plain://…` (neither).
    pub(crate) server: String,
    pub(crate) password: Option<SecretString>,
    /// Of each run; of failures alone otherwise.
    pub(crate) always: bool,
}

impl Sealing {
    /// The seal itself.
    ///
    /// # Errors
    /// When the key is missing or none.
    pub(crate) fn seal(&self) -> encode::Result<Seal> {
        Ok(match self {
            Sealing::None => Seal::None,
            Sealing::Passphrase(source) => {
                let mut recipients = openpgp::Recipients::new();
                recipients.set_passphrase(source.passphrase()?);
                Seal::OpenPgp(recipients)
            }
            Sealing::Age(keys) => {
                let mut recipients = age::Recipients::new();
                keys.iter().try_for_each(|key| recipients.add(key))?;
                Seal::Age(recipients)
            }
        })
    }

    /// What it is called.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Sealing::None => "none",
            Sealing::Passphrase(_) => "gpg (passphrase)",
            Sealing::Age(_) => "age",
        }
    }
}

impl Job {
    /// Reads one.
    ///
    /// # Errors
    /// When a value is missing, cannot be used, or contradicts another.
    pub(crate) fn read(variables: &Variables) -> anyhow::Result<Self> {
        let get = |short: &str| variables.text(&format!("{PREFIX}{short}"));
        let Some(name) = get("NAME") else {
            bail!("cannot back up: BACKUP_NAME is not set: set it to what the backups are to be called");
        };
        if !lists::is_name(name.text()) {
            return Err(
                name.unfit("it becomes part of file names: use letters, digits, dot, dash, underscore")
            );
        }
        let list = |short, kind| get(short).map_or(Ok(Vec::new()), |value| lists::sources(value, kind));
        let mut sources = list("DIRS", Kind::Directory)?;
        sources.extend(list("FILES", Kind::File)?);
        lists::check(&sources)?;
        let databases = databases_of(&get)?;
        ensure!(
            !(sources.is_empty() && databases.is_empty()),
            "cannot back up {}: nothing is named that could be: set BACKUP_DIRS, BACKUP_FILES, \
             BACKUP_POSTGRES or another",
            name.text()
        );
        let zone = schedule::zone(variables.text("TZ").map(Value::text))?;
        let sealing = sealing(variables, &get)?;
        let words = |short| get(short).map(lists::words).unwrap_or_default();
        let wait = |short, usual| get(short).map_or(Ok(Duration::from_secs(usual)), Value::duration);
        let job = Job {
            name: name.text().to_owned(),
            sources,
            databases,
            exclude: words("EXCLUDE"),
            places: places(&get)?,
            compression: compression(&sealing, &get)?,
            sealing,
            identity: variables.file("BACKUP_AGE_IDENTITY").map(PathBuf::from),
            schedule: schedule_of(zone, &get)?,
            zone,
            retention: retention(&get)?,
            stop: words("STOP_SERVICES"),
            stop_wait: wait("STOP_WAIT", 2)?,
            start_wait: wait("START_WAIT", 3)?,
            alarms: alarms(&get)?,
            debug: get("DEBUG").map_or(Ok(false), Value::flag)?,
        };
        if let (Some(value), None) = (get("AGE_IDENTITY"), &job.identity) {
            return Err(value.unfit("a secret key does not belong there: set BACKUP_AGE_IDENTITY_FILE"));
        }
        Ok(job)
    }

    /// What its backups are read with.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub(crate) fn keys(&self) -> encode::Result<Keys> {
        let mut keys = Keys::new();
        if let Sealing::Passphrase(source) = &self.sealing {
            keys.set_passphrase(source.passphrase()?);
        }
        if let Some(identity) = &self.identity {
            keys.add_age_identities(&KeySource::File(identity.clone()))?;
        }
        Ok(keys)
    }
}
