//! A value as it was written, and where: so that each message can say which variable or key it is about. It
//! is shown nowhere, since it may be a secret.

use std::fmt;
use std::time::Duration;

use anyhow::anyhow;
use secrecy::{ExposeSecret, SecretString};

/// A value, and what it is called in messages.
#[derive(Clone)]
pub(crate) struct Value {
    text: SecretString,
    /// The variable, or the key and its file.
    origin: String,
}

impl Value {
    pub(crate) fn new(text: String, origin: impl Into<String>) -> Self {
        Value { text: text.into(), origin: origin.into() }
    }

    /// The value itself: never into a message.
    pub(crate) fn text(&self) -> &str {
        self.text.expose_secret()
    }

    /// What messages call it.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The value as a secret.
    pub(crate) fn secret(&self) -> SecretString {
        self.text.clone()
    }

    /// That it cannot be used, and what would be.
    pub(crate) fn unfit(&self, why: impl fmt::Display) -> anyhow::Error {
        anyhow!("cannot use {}: {why}", self.origin)
    }

    /// Yes or no.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn flag(&self) -> anyhow::Result<bool> {
        match self.text().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(self.unfit("it is neither true nor false")),
        }
    }

    /// A whole number up to `most`.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn number(&self, most: u32) -> anyhow::Result<u32> {
        match self.text().trim().parse() {
            Ok(number) if number <= most => Ok(number),
            _ => Err(self.unfit(format!("it is no whole number from 0 to {most}"))),
        }
    }

    /// Seconds, or a number with `s`, `m`, `h` behind it.
    ///
    /// # Errors
    /// When it is no such time, or longer than a day.
    pub(crate) fn duration(&self) -> anyhow::Result<Duration> {
        let text = self.text().trim();
        let (digits, unit) = match text.char_indices().last() {
            Some((at, 's')) => (&text[..at], 1),
            Some((at, 'm')) => (&text[..at], 60),
            Some((at, 'h')) => (&text[..at], 3600),
            _ => (text, 1),
        };
        match digits.parse::<u32>().ok().and_then(|number| number.checked_mul(unit)) {
            Some(seconds) if seconds <= 24 * 3600 => Ok(Duration::from_secs(seconds.into())),
            _ => Err(self.unfit("it is no time up to a day: write seconds, or 90s, 10m, 2h")),
        }
    }

    /// One of `known`.
    ///
    /// # Errors
    /// When it is none of them.
    pub(crate) fn one_of<T: Copy>(&self, known: &[(&str, T)]) -> anyhow::Result<T> {
        let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(self.text().trim()));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            self.unfit(format!("it is none of {}", names.join(", ")))
        })
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Value({})", self.origin)
    }
}
