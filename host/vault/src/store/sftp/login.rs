//! Connecting to an SSH server: that it is the right one, and that it lets us in. Keys come from files, never from
//! an agent, which a container has none of.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{
    Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key,
};
use russh::{MethodKind, MethodSet, Preferred, SshId};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::address::Sftp;
use super::super::error::{Error, Result};
use super::super::limits::Limits;
use super::super::settings::Settings;
use super::failure::Failure;
use super::known::Known;
use super::session::Session;

/// The keys that are tried where none is set, in the folder `.ssh` of the home.
const KEYS: &[&str] = &["id_ed25519", "id_ecdsa", "id_rsa"];
/// How often a server may ask for more before it is given up.
const ROUNDS: usize = 8;

/// Who logs in where, and by what.
pub(super) struct Login {
    host: String,
    port: u16,
    user: String,
    keys: Vec<Arc<PrivateKey>>,
    password: Option<SecretString>,
    settings: Settings,
    limits: Limits,
}

/// Shows nothing secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).field("host", &self.host).finish_non_exhaustive()
    }
}

impl Login {
    /// With user, keys and password from the settings.
    pub(super) fn new(address: &Sftp, settings: &Settings, limits: Limits) -> Result<Self> {
        let setting = |setting: &str, problem: &str| Error::Setting {
            setting: setting.to_owned(),
            problem: problem.to_owned(),
        };
        let user = address.user.clone().or_else(|| settings.text("SFTP_USERNAME"));
        let user = user.ok_or_else(|| {
            setting(
                "SFTP_USERNAME",
                "it is not set, and the address names no user: write sftp://USER@HOST/PATH",
            )
        })?;
        let password = settings.secret("SFTP_PASSWORD")?;
        let mut keys: Vec<_> = key(settings)?.into_iter().collect();
        if keys.is_empty() && password.is_none() {
            keys = usual(settings);
        }
        if keys.is_empty() && password.is_none() {
            return Err(setting(
                "SFTP_KEY_FILE",
                "it is not set, nor is SFTP_PASSWORD or SFTP_PASSWORD_FILE, and there is no key in ~/.ssh that \
                 can be used: set one of them",
            ));
        }
        let (host, port) = (address.host.clone(), address.port);
        Ok(Login { host, port, user, keys, password, settings: settings.clone(), limits })
    }

    /// A new conversation with the server.
    pub(super) async fn connect(&self) -> Result<Session, Failure> {
        let known = Known::of(&self.host, self.port, &self.settings)
            .map_err(|error| Failure::Refused(format!("the known hosts cannot be read: {error}")))?;
        let stream = timeout(self.limits.connect, TcpStream::connect((self.host.as_str(), self.port))).await;
        let stream = match stream {
            Ok(stream) => {
                stream.map_err(|error| Failure::Lost(format!("there is no connection: {error}")))?
            }
            Err(_) => return Err(Failure::Lost("the server does not answer".to_owned())),
        };
        let _ = stream.set_nodelay(true);
        let config = Arc::new(self.config(&known));
        let refused = Arc::new(Mutex::new(None));
        let checking = Checking { known, refused: refused.clone() };
        let connected = self.within(client::connect_stream(config, stream, checking)).await;
        let mut handle = connected.map_err(|failure| {
            match refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(words) => Failure::Refused(words),
                None => failure,
            }
        })?;
        self.log_in(&mut handle).await?;
        let channel = self.within(handle.channel_open_session()).await?;
        self.within(channel.request_subsystem(false, "sftp")).await?;
        Session::begin(channel, Box::new(handle), self.limits.idle).await
    }

    fn config(&self, known: &Known) -> client::Config {
        let plain: Vec<Algorithm> = Preferred::DEFAULT
            .key
            .iter()
            .filter(|key| **key != Algorithm::Rsa { hash: None })
            .cloned()
            .collect();
        client::Config {
            client_id: SshId::Standard(concat!("SSH-2.0-docker_snapshot_", env!("CARGO_PKG_VERSION")).into()),
            preferred: Preferred { key: known.preferred(&plain).into(), ..Preferred::DEFAULT },
            // While a large file is synced nothing else shows that the server is alive.
            keepalive_interval: Some((self.limits.idle / 3).max(Duration::from_secs(1))),
            keepalive_max: 3,
            ..client::Config::default()
        }
    }

    /// What comes of `work` before the server has been silent for too long.
    async fn within<T>(&self, work: impl Future<Output = Result<T, russh::Error>>) -> Result<T, Failure> {
        match timeout(self.limits.idle, work).await {
            Ok(done) => done.map_err(|error| failure(&error)),
            Err(_) => Err(Failure::Lost("the server does not answer".to_owned())),
        }
    }

    async fn log_in(&self, handle: &mut Handle<Checking>) -> Result<(), Failure> {
        let mut offered = None;
        for key in &self.keys {
            let hash = self.within(handle.best_supported_rsa_hash()).await?;
            let hash = hash.unwrap_or(Some(HashAlg::Sha256));
            let key = PrivateKeyWithHashAlg::new(key.clone(), hash);
            match self.within(handle.authenticate_publickey(&self.user, key)).await? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => offered = Some(remaining_methods),
            }
        }
        if let Some(password) = &self.password {
            let method = self.within(handle.authenticate_password(&self.user, password.expose_secret()));
            match method.await? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => offered = Some(remaining_methods),
            }
            // Many servers ask for a password in their own words instead.
            let asks = |methods: &MethodSet| methods.contains(&MethodKind::KeyboardInteractive);
            if offered.as_ref().is_some_and(asks) && self.answer(handle, password).await? {
                return Ok(());
            }
        }
        let offered = offered.map(|methods| methods.iter().map(String::from).collect::<Vec<_>>().join(", "));
        Err(Failure::Refused(format!(
            "the server does not let {} in by {}; it offers {}",
            self.user,
            if self.password.is_some() { "this password" } else { "this key" },
            offered.filter(|offered| !offered.is_empty()).unwrap_or_else(|| "nothing else".to_owned())
        )))
    }

    /// Answers the server's questions, if they are for a password.
    async fn answer(&self, handle: &mut Handle<Checking>, password: &SecretString) -> Result<bool, Failure> {
        let begun = handle.authenticate_keyboard_interactive_start(&self.user, None);
        let mut asked = self.within(begun).await?;
        for _ in 0..ROUNDS {
            let prompts = match asked {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
            };
            // What is to be seen while it is typed is no password.
            if prompts.len() > 1 || prompts.iter().any(|prompt| prompt.echo) {
                return Ok(false);
            }
            let answers = prompts.iter().map(|_| password.expose_secret().to_owned()).collect();
            asked = self.within(handle.authenticate_keyboard_interactive_respond(answers)).await?;
        }
        Ok(false)
    }
}

/// Looks at the server's key.
struct Checking {
    known: Known,
    refused: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Checking {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let checked = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.known.check(key),
            PublicKeyOrCertificate::Certificate(_) => {
                Err("the server shows a certificate, and not a key".to_owned())
            }
        };
        let good = checked.is_ok();
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = checked.err();
        Ok(good)
    }
}

fn failure(error: &russh::Error) -> Failure {
    match error {
        russh::Error::NoCommonAlgo { .. } => {
            Failure::Refused(format!("the server and this program have no algorithm in common: {error}"))
        }
        error => Failure::Lost(format!("the connection is lost: {error}")),
    }
}

/// The key that the settings name.
fn key(settings: &Settings) -> Result<Option<Arc<PrivateKey>>> {
    let Some(text) = settings.secret("SFTP_KEY")? else { return Ok(None) };
    let passphrase = settings.secret("SFTP_KEY_PASSPHRASE")?;
    let phrase = passphrase.as_ref().map(ExposeSecret::expose_secret);
    let name = if settings.text("SFTP_KEY").is_some() { "SFTP_KEY" } else { "SFTP_KEY_FILE" };
    let key = decode_secret_key(&format!("{}\n", text.expose_secret()), phrase);
    let problem = |error: russh::keys::Error| match error {
        russh::keys::Error::KeyIsEncrypted => {
            "it has a passphrase: set SFTP_KEY_PASSPHRASE_FILE, or take a key without one".to_owned()
        }
        _ if phrase.is_some() => format!("it is no private key, or has another passphrase ({error})"),
        _ => format!("it is no private key of ssh ({error})"),
    };
    let key = key.map_err(|error| Error::Setting { setting: name.to_owned(), problem: problem(error) })?;
    Ok(Some(Arc::new(key)))
}

/// The keys of the user who runs this, as far as they can be used without being asked for anything.
fn usual(settings: &Settings) -> Vec<Arc<PrivateKey>> {
    let Some(home) = settings.path("HOME") else { return Vec::new() };
    let paths = KEYS.iter().map(|name| -> PathBuf { home.join(".ssh").join(name) });
    let texts = paths.filter_map(|path| fs::read_to_string(path).ok().map(SecretString::from));
    texts.filter_map(|text| decode_secret_key(text.expose_secret(), None).ok().map(Arc::new)).collect()
}
