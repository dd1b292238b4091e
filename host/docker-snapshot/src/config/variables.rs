//! Values by name: those of the environment, each also as `…_FILE`, which names a file that holds it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use anyhow::{Context, bail, ensure};

use crate::config::names::{self, CONFIG, PREFIX};
use crate::config::value::Value;

/// What a value in a file may have at most, in bytes.
const LONGEST: u64 = 64 << 10;
/// How the name of a variable ends that names a file.
const FILE: &str = "_FILE";

/// Values by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    values: BTreeMap<String, Value>,
    /// Of those that came from a file, which.
    files: BTreeMap<String, String>,
}

impl Variables {
    /// Those of this process.
    ///
    /// # Errors
    /// As [`Variables::new`].
    pub(crate) fn of_the_environment() -> anyhow::Result<Self> {
        let all = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            (name.starts_with(PREFIX) || name == "TZ").then_some((name, value))
        });
        let text = |(name, value): (String, std::ffi::OsString)| {
            let value = value.into_string();
            value
                .map(|value| (name.clone(), value))
                .map_err(|_| anyhow::anyhow!("cannot use {name}: it is not text in UTF-8: write it in UTF-8"))
        };
        Self::new(all.map(text).collect::<anyhow::Result<Vec<_>>>()?)
    }

    /// Of these. What is empty counts as not set.
    ///
    /// # Errors
    /// When one is unknown, set in two ways, or its file cannot be read.
    pub(crate) fn new(all: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let mut variables = Variables::default();
        let set: BTreeMap<_, _> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        for (name, value) in &set {
            let Some(short) = name.strip_prefix(PREFIX) else {
                variables.values.insert(name.clone(), Value::new(value.clone(), name.as_str()));
                continue;
            };
            if is_known(short) {
                variables.values.insert(name.clone(), Value::new(value.clone(), name.as_str()));
            } else if let Some(plain) =
                short.strip_suffix(FILE).filter(|plain| names::OF_A_JOB.contains(plain))
            {
                let plain = format!("{PREFIX}{plain}");
                ensure!(
                    !set.contains_key(&plain),
                    "cannot use {name}: {plain} is set as well: unset one of them"
                );
                let text = content(value).with_context(|| format!("cannot use {name}"))?;
                variables.files.insert(plain.clone(), value.clone());
                variables.values.insert(plain, Value::new(text, name.as_str()));
            } else {
                bail!("cannot use {name}: {}", unknown(short, PREFIX));
            }
        }
        Ok(variables)
    }

    /// What `name` is set to.
    pub(crate) fn text(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The file that the value of `name` came from.
    pub(crate) fn file(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    /// These with `name` as in a file of jobs. Its other form no longer counts.
    pub(crate) fn set(&mut self, name: &str, value: Value, file: Option<String>) {
        self.values.insert(name.to_owned(), value);
        match file {
            Some(file) => self.files.insert(name.to_owned(), file),
            None => self.files.remove(name),
        };
    }
}

/// Whether a job, or the program, reads this.
fn is_known(short: &str) -> bool {
    names::OF_A_JOB.contains(&short) || CONFIG.strip_prefix(PREFIX) == Some(short)
}

/// That `short` is unknown, and what may have been meant; `before` is what stands in front of names.
pub(crate) fn unknown(short: &str, before: &str) -> String {
    match names::near(short) {
        Some(near) => format!("there is no such setting: perhaps {before}{near} was meant"),
        None => "there is no such setting: see docs/sidecar.md for those that there are".to_owned(),
    }
}

/// The text of a file, without one newline at its end.
pub(crate) fn content(path: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| path.to_owned())?;
    file.take(LONGEST + 1).read_to_string(&mut text).with_context(|| path.to_owned())?;
    ensure!(text.len() as u64 <= LONGEST, "{path} has more than 64 KiB, which is no setting");
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    ensure!(!text.is_empty(), "{path} is empty");
    Ok(text.to_owned())
}
