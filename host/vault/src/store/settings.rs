//! Where stores get what an address does not say: credentials above all, which never stand in an address or
//! on a command line, where every user of a machine can read them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use secrecy::SecretString;

use super::error::{Error, Result};

/// The longest file that a secret is taken from: keys of services have some kilobytes.
const LONGEST_SECRET: u64 = 64 << 10;

/// Variables by name: those of a table first, then those of the environment.
#[derive(Clone, Default)]
pub struct Settings {
    table: BTreeMap<String, String>,
    environment: bool,
}

impl Settings {
    /// The variables of the environment.
    pub fn environment() -> Self {
        Settings { table: BTreeMap::new(), environment: true }
    }

    /// The variables of a table alone, as tests and configuration files have them.
    pub fn table<K: Into<String>, V: Into<String>>(table: impl IntoIterator<Item = (K, V)>) -> Self {
        let table = table.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Settings { table, environment: false }
    }

    /// These with `name` set to `value`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.table.insert(name.to_owned(), value.into());
        self
    }

    /// The first of `names` that is set to something.
    pub fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.text(name))
    }

    /// What `name` is set to; `None` where that is nothing.
    pub fn text(&self, name: &str) -> Option<String> {
        let value = match self.table.get(name) {
            Some(value) => Some(value.clone()),
            None if self.environment => std::env::var(name).ok(),
            None => None,
        };
        value.filter(|value| !value.is_empty())
    }

    /// A file or directory by the variable `name`.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// The secret `name`, or what is in the file that `name_FILE` names: Docker's secrets are files. One
    /// newline at the end of a file is not part of the secret.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is empty or too long, or both are set.
    pub fn secret(&self, name: &str) -> Result<Option<SecretString>> {
        let file = format!("{name}_FILE");
        match (self.text(name), self.text(&file)) {
            (Some(_), Some(_)) => Err(Error::Setting {
                setting: file,
                problem: format!("{name} is set as well; unset one of them"),
            }),
            (Some(secret), None) => Ok(Some(secret.into())),
            (None, Some(path)) => {
                secret_of(&path).map(Some).map_err(|problem| Error::Setting { setting: file, problem })
            }
            (None, None) => Ok(None),
        }
    }
}

/// Shows names alone: a value may be a secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("table", &self.table.keys().collect::<Vec<_>>())
            .field("environment", &self.environment)
            .finish()
    }
}

/// The secret in the file `path`, or what is wrong with it.
fn secret_of(path: &str) -> Result<SecretString, String> {
    let length = fs::metadata(path).map_err(|error| format!("{path}: {error}"))?.len();
    if length > LONGEST_SECRET {
        return Err(format!("{path} has {length} bytes, which is no secret"));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(format!("{path} is empty"));
    }
    Ok(secret.to_owned().into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_comes_from_a_variable_or_a_file_and_never_from_both() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        let path = file.to_str().unwrap();
        for (text, secret) in
            [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" s \n\n", " s \n")]
        {
            fs::write(&file, text).unwrap();
            let found = Settings::table([("KEY_FILE", path)]).secret("KEY").unwrap().unwrap();
            assert_eq!(found.expose_secret(), secret);
        }
        assert!(Settings::table([("KEY_FILE", path), ("KEY", "x")]).secret("KEY").is_err());
        fs::write(&file, "\n").unwrap();
        assert!(Settings::table([("KEY_FILE", path)]).secret("KEY").is_err());
        assert!(Settings::table([("KEY", "")]).secret("KEY").unwrap().is_none());
    }

    #[test]
    fn settings_show_no_values() {
        let settings = Settings::table([("AWS_SECRET_ACCESS_KEY", "hunter2")]);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
