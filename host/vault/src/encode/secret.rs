//! Where keys and passphrases come from: files, variables of the environment, Docker secrets. Never the command
//! line, which every user of the machine can read.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::error::{Error, Result};

/// No file with keys is larger; a wrong path may lead to anything.
const MOST: u64 = 1 << 20;

/// A place that holds keys or a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// A variable of the environment, by its name.
    Variable(String),
    /// A Docker secret: `/run/secrets/NAME`.
    DockerSecret(String),
}

/// A passphrase. It is not shown, and not left in memory.
#[derive(Debug, Clone)]
pub struct Passphrase {
    pub(super) secret: SecretString,
    remark: Option<&'static str>,
}

impl KeySource {
    /// Reads a passphrase: the first line, without its end (`\n` or `\r\n`), and nothing else may follow it.
    pub fn passphrase(&self) -> Result<Passphrase> {
        let what = "a passphrase";
        let text = self.text(what)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let problem = if line.is_empty() {
            "it is empty"
        } else if line.contains(['\n', '\r', '\0']) {
            "it has more than one line"
        } else {
            return Ok(Passphrase { remark: remark(&text, line), secret: line.to_owned().into() });
        };
        Err(self.unfit(what, problem))
    }

    /// What the place is called in messages.
    pub fn name(&self) -> String {
        match self {
            Self::Variable(name) => format!("the variable {name}"),
            _ => self.path().display().to_string(),
        }
    }

    /// All of it, which must be UTF-8.
    pub(super) fn text(&self, what: &'static str) -> Result<Zeroizing<String>> {
        let bytes = self.bytes(what)?;
        match str::from_utf8(&bytes) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(self.unfit(what, "it is not text in UTF-8")),
        }
    }

    /// All of it.
    pub(super) fn bytes(&self, what: &'static str) -> Result<Zeroizing<Vec<u8>>> {
        let bytes = match self {
            Self::Variable(name) => env::var_os(name)
                .map(|value| Zeroizing::new(value.into_encoded_bytes()))
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is not set")),
            _ => read(&self.path()),
        };
        let bytes = bytes.map_err(|source| Error::KeyUnread { what, from: self.name(), source })?;
        if bytes.len() as u64 > MOST {
            return Err(self.unfit(what, "it is larger than 1 MiB"));
        }
        Ok(bytes)
    }

    pub(super) fn unfit(&self, what: &'static str, problem: impl Into<String>) -> Error {
        Error::KeyUnfit { what, from: self.name(), problem: problem.into() }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Variable(name) | Self::DockerSecret(name) => Path::new("/run/secrets").join(name),
        }
    }
}

impl Passphrase {
    /// What may surprise about it, for a warning.
    pub fn remark(&self) -> Option<&'static str> {
        self.remark
    }

    pub(super) fn expose(&self) -> &str {
        self.secret.expose_secret()
    }
}

/// At most one byte more than may be.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // The room is there beforehand, since a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(MOST).unwrap_or_default() + 64));
    fs::File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn remark(text: &str, line: &str) -> Option<&'static str> {
    if text.trim_end_matches('\n').ends_with('\r') {
        // gpg --passphrase-file takes the carriage return as part of the passphrase.
        Some("its line ends as on Windows: gpg would take the carriage return as a part of the passphrase")
    } else if line.trim() != line {
        Some("it begins or ends with white space, which is a part of the passphrase")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Passphrase> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, content).unwrap();
        KeySource::File(path).passphrase()
    }

    #[test]
    fn the_end_of_the_line_is_no_part_of_a_passphrase_and_other_white_space_is() {
        for (content, passphrase, remarked) in [
            ("correct horse", "correct horse", false),
            ("correct horse\n", "correct horse", false),
            ("correct horse\r\n", "correct horse", true),
            (" correct horse\n", " correct horse", true),
            ("correct horse \n", "correct horse ", true),
            ("pässwörter", "pässwörter", false),
        ] {
            let read = read(content.as_bytes()).unwrap();
            assert_eq!(read.expose(), passphrase, "{content:?}");
            assert_eq!(read.remark().is_some(), remarked, "{content:?}");
        }
    }

    #[test]
    fn what_is_no_passphrase_is_refused_and_not_shown() {
        for content in [
            &b""[..],
            b"\n",
            b"\r\n",
            b"two\nlines\n",
            b"hidden\rhidden",
            b"nul\0",
            b"caf\xe9",
            &vec![b'x'; 1 << 21],
        ] {
            let Err(error) = read(content) else { panic!("{content:?}") };
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
            assert!(matches!(error, Error::KeyUnfit { .. }), "{error:?}");
        }
    }

    #[test]
    fn a_passphrase_is_in_no_debug_output() {
        assert!(!format!("{:?}", read(b"hidden").unwrap()).contains("hidden"));
    }

    #[test]
    fn a_variable_and_a_secret_that_are_not_there_are_named() {
        let error = KeySource::Variable("VAULT_TEST_UNSET".to_owned()).passphrase().unwrap_err();
        assert!(error.to_string().contains("VAULT_TEST_UNSET"), "{error}");
        let error = KeySource::DockerSecret("vault-test".to_owned()).passphrase().unwrap_err();
        assert!(error.to_string().contains("/run/secrets/vault-test"), "{error}");
    }
}
