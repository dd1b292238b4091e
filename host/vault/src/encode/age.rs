//! age's encryption, by the crate `age`: <https://age-encryption.org/v1>. Keys in its own forms: X25519, ssh, and a
//! passphrase, whose work factor is fixed, since one that is measured would be refused on a slower machine.

use std::io::{self, BufRead, Chain, Cursor, Read};
use std::sync::Arc;

use age::stream::StreamReader;
use age::{DecryptError, Decryptor, Encryptor, Identity, scrypt, ssh, x25519};

use super::error::{Error, Result};
use super::input::Input;
use super::seal::Keys;
use super::secret::{KeySource, Passphrase};

/// What writes an age file.
pub(super) type AgeEncryptor = Encryptor;

/// Of a passphrase, as a power of two; `age` has the same. It takes 256 MiB of memory, and about a second.
const WORK_FACTOR: u8 = 18;
/// More than this, 1 GiB, is not spent on a file.
const MOST_WORK: u8 = 20;
/// A header with more than this is not read. A hundred recipients take some 10 KiB.
const MOST_HEADER: usize = 64 << 10;
/// How a file begins.
const BEGIN: &[u8] = b"age-encryption.org/v1\n";
/// What follows the header.
const NONCE: usize = 16;
const NAME: &str = "age";

/// For whom an archive is encrypted: any number of keys, or one passphrase.
#[derive(Debug, Clone, Default)]
pub struct Recipients {
    keys: Vec<Key>,
    passphrase: Option<Passphrase>,
}

#[derive(Debug, Clone)]
enum Key {
    X25519(x25519::Recipient),
    Ssh(Arc<ssh::Recipient>),
}

impl Recipients {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One passphrase, and nobody else: age allows no recipient beside it.
    pub fn passphrase(passphrase: Passphrase) -> Self {
        Self { keys: Vec::new(), passphrase: Some(passphrase) }
    }

    /// Adds a public key: `age1…`, `ssh-ed25519 …` or `ssh-rsa …`.
    pub fn add(&mut self, key: &str) -> Result<()> {
        // It is not repeated: it may be a secret one that was taken for its public half.
        let from = "what was given".to_owned();
        let key = Key::read(key).map_err(|problem| Error::KeyUnfit { what: "a recipient", from, problem })?;
        self.keys.push(key);
        Ok(())
    }

    /// Adds the public keys of a file with one a line, empty lines, and comments that begin with `#`.
    pub fn add_all(&mut self, source: &KeySource) -> Result<()> {
        let what = "recipients";
        let text = source.text(what)?;
        let before = self.keys.len();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = Key::read(line)
                .map_err(|problem| source.unfit(what, format!("line {}: {problem}", number + 1)))?;
            self.keys.push(key);
        }
        if self.keys.len() == before {
            return Err(source.unfit(what, "it has no public key"));
        }
        Ok(())
    }

    pub(super) fn encryptor(&self) -> Result<Encryptor> {
        let failed = |_| Error::NoRecipient { encryption: NAME };
        if let Some(passphrase) = &self.passphrase {
            let mut recipient = scrypt::Recipient::new(passphrase.secret.clone());
            recipient.set_work_factor(WORK_FACTOR);
            return Encryptor::with_recipients(std::iter::once(&recipient as _)).map_err(failed);
        }
        Encryptor::with_recipients(self.keys.iter().map(Key::recipient)).map_err(failed)
    }
}

impl Key {
    fn read(text: &str) -> Result<Self, String> {
        if text.trim() != text {
            return Err("there is white space around it".to_owned());
        }
        if text.starts_with("age1") {
            let key =
                text.parse().map_err(|problem: &str| format!("it is no X25519 key of age ({problem})"))?;
            return Ok(Self::X25519(key));
        }
        match text.parse::<ssh::Recipient>() {
            Ok(key) => Ok(Self::Ssh(Arc::new(key))),
            Err(ssh::ParseRecipientKeyError::RsaModulusTooSmall) => {
                Err("an RSA key below 2048 bits".to_owned())
            }
            Err(ssh::ParseRecipientKeyError::RsaModulusTooLarge) => {
                Err("an RSA key above 4096 bits".to_owned())
            }
            Err(_) => Err("it is none of age1…, ssh-ed25519 … and ssh-rsa …".to_owned()),
        }
    }

    fn recipient(&self) -> &dyn age::Recipient {
        match self {
            Self::X25519(key) => key,
            Self::Ssh(key) => key.as_ref(),
        }
    }
}

/// What a file of identities or of a private key of ssh holds.
pub(super) fn identities(source: &KeySource) -> Result<Vec<Box<dyn Identity + Send + Sync>>> {
    let what = "an identity of age";
    let text = source.text(what)?;
    if text.starts_with("-----BEGIN AGE ENCRYPTED") || text.starts_with("age-encryption.org/") {
        return Err(source.unfit(what, "it is encrypted itself; `age -d` makes a plain one of it"));
    }
    if text.starts_with("-----BEGIN ") {
        return match ssh::Identity::from_buffer(text.as_bytes(), None) {
            Ok(key @ ssh::Identity::Unencrypted(_)) => Ok(vec![Box::new(key)]),
            Ok(ssh::Identity::Encrypted(_)) => {
                Err(source.unfit(what, "the ssh key has a passphrase; `ssh-keygen -p` takes it off a copy"))
            }
            Ok(ssh::Identity::Unsupported(_)) => {
                Err(source.unfit(what, "age knows ssh keys of ed25519 and RSA only"))
            }
            Err(_) => Err(source.unfit(what, "it is no private key of ssh")),
        };
    }
    let mut identities: Vec<Box<dyn Identity + Send + Sync>> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The line is not repeated: it is secret.
        let key = line.parse::<x25519::Identity>();
        let key =
            key.map_err(|_| source.unfit(what, format!("line {} is no secret key of age", number + 1)))?;
        identities.push(Box::new(key));
    }
    if identities.is_empty() {
        return Err(source.unfit(what, "it has no line that begins with AGE-SECRET-KEY-"));
    }
    Ok(identities)
}

/// A file that is being decrypted from its beginning.
pub(super) struct AgeReader<R>(StreamReader<Chain<Cursor<Vec<u8>>, Input<R>>>);

impl<R: Read> AgeReader<R> {
    /// Reads the header, and takes the one key that fits.
    pub(super) fn open(mut input: Input<R>, keys: &Keys) -> Result<Self> {
        let length = header_length(input.peek(MOST_HEADER)?)?;
        let mut header = Vec::new();
        if !input.append(&mut header, length as u64)? {
            return Err(Error::damaged("it is cut off"));
        }
        Ok(Self(decrypt(Cursor::new(header).chain(input), keys)?))
    }
}

impl<R: Read> Read for AgeReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out).map_err(chunk_error)
    }
}

/// The length of header and nonce at the beginning of a file.
pub(super) fn payload_start(beginning: &[u8]) -> Result<usize> {
    Ok(header_length(beginning)? + NONCE)
}

/// Decrypts what a reader at the beginning of a file reads.
pub(super) fn decrypt<R: BufRead>(reader: R, keys: &Keys) -> Result<StreamReader<R>> {
    let decryptor = Decryptor::new_buffered(reader).map_err(header_error)?;
    if decryptor.is_scrypt() {
        let Some(passphrase) = &keys.passphrase else {
            return Err(Error::NoKey { encryption: "age and a passphrase", needed: "passphrase" });
        };
        let mut identity = scrypt::Identity::new(passphrase.secret.clone());
        identity.set_max_work_factor(MOST_WORK);
        return decryptor.decrypt(std::iter::once(&identity as _)).map_err(header_error);
    }
    if keys.identities.is_empty() {
        return Err(Error::NoKey { encryption: NAME, needed: "identity" });
    }
    let identities = keys.identities.iter().map(|identity| identity.as_ref() as &dyn Identity);
    decryptor.decrypt(identities).map_err(header_error)
}

/// What went wrong in a chunk, or in what it was read from.
pub(super) fn chunk_error(error: io::Error) -> io::Error {
    match Error::of(error, "read the encoded archive") {
        Error::System { source, .. }
            if matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            Error::damaged("an encrypted chunk was changed, or it is cut off or goes on behind its end")
                .into()
        }
        error => error.into(),
    }
}

fn header_length(beginning: &[u8]) -> Result<usize> {
    if beginning.starts_with(b"-----BEGIN AGE") {
        return Err(Error::unsupported("it is armored, as `age -a` writes it"));
    }
    let known = beginning.len().min(BEGIN.len());
    if beginning.is_empty() || beginning[..known] != BEGIN[..known] {
        return Err(Error::damaged("it is no file of age, version 1"));
    }
    let mac = beginning.windows(5).position(|bytes| bytes == b"\n--- ").map(|at| at + 1);
    let end = mac.and_then(|mac| Some(mac + beginning[mac..].iter().position(|byte| *byte == b'\n')? + 1));
    end.ok_or_else(|| {
        if beginning.len() < MOST_HEADER {
            Error::damaged("it is cut off in its header")
        } else {
            Error::unsupported("its header has more than 64 KiB")
        }
    })
}

fn header_error(error: DecryptError) -> Error {
    match error {
        DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::damaged("it is cut off")
        }
        DecryptError::Io(error) => Error::of(error, "read the encoded archive"),
        DecryptError::ExcessiveWork { required, .. } => Error::unsupported(format!(
            "its passphrase has work factor {required}, and {MOST_WORK} is allowed"
        )),
        DecryptError::InvalidHeader | DecryptError::InvalidMac => Error::damaged("its header was changed"),
        DecryptError::UnknownFormat => Error::unsupported("it is of a version of age that is not known here"),
        _ => Error::WrongKey,
    }
}
