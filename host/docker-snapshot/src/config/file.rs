//! A YAML file with several jobs. Its keys are the names of the variables, small and without `BACKUP_`:
//!
//! ```yaml
//! defaults:
//!   local_path: /backups-local
//! jobs:
//!   - name: shop
//!     schedule: "0 2 * * *"
//!     dirs: [/data:app-data]
//! ```
//!
//! What a job does not say is said by `defaults`, and what these do not say by the environment.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_yaml::{Mapping, Value as Yaml};

use crate::config::names::{self, PREFIX};
use crate::config::value::Value;
use crate::config::variables::{self, Variables};

/// The settings of each job in the file at `path`.
///
/// # Errors
/// When it cannot be read, or says what cannot be.
pub(crate) fn read(path: &Path, environment: &Variables) -> anyhow::Result<Vec<Variables>> {
    let shown = path.display().to_string();
    let failed = || format!("cannot use {shown}");
    let text = std::fs::read_to_string(path).with_context(failed)?;
    let Yaml::Mapping(document) = serde_yaml::from_str(&text).with_context(failed)? else {
        bail!("cannot use {shown}: it has no `jobs`: see docs/sidecar.md for what it looks like");
    };
    let (mut defaults, mut jobs) = (Mapping::new(), Vec::new());
    for (key, value) in document {
        match (key.as_str(), value) {
            (Some("defaults"), Yaml::Mapping(mapping)) => defaults = mapping,
            (Some("jobs"), Yaml::Sequence(sequence)) => jobs = sequence,
            (Some(key @ ("defaults" | "jobs")), _) => {
                bail!("cannot use {shown}: `{key}` is no {}", if key == "jobs" { "list" } else { "mapping" })
            }
            _ => bail!("cannot use {shown}: only `defaults` and `jobs` may stand at its top"),
        }
    }
    ensure!(!jobs.is_empty(), "cannot use {shown}: `jobs` is empty or missing: list at least one");
    ensure!(
        environment.text("BACKUP_NAME").is_none(),
        "cannot use {shown}: BACKUP_NAME is set as well, which names a single job: unset it"
    );
    let mut common = environment.clone();
    fill(&mut common, &defaults, &format!("`defaults` in {shown}"))?;
    let jobs = jobs.into_iter().enumerate().map(|(at, job)| {
        let place = format!("job {} in {shown}", at + 1);
        let Yaml::Mapping(job) = job else { bail!("cannot use {place}: it is no mapping") };
        let mut variables = common.clone();
        fill(&mut variables, &job, &place)?;
        Ok(variables)
    });
    jobs.collect()
}

/// Puts what `mapping` says in place of what `variables` have.
fn fill(variables: &mut Variables, mapping: &Mapping, place: &str) -> anyhow::Result<()> {
    for (key, value) in mapping {
        let Some(key) = key.as_str() else { bail!("cannot use {place}: a key is no text") };
        let origin = format!("`{key}` of {place}");
        if key == "timezone" {
            variables.set("TZ", Value::new(text(value, &origin)?, origin), None);
            continue;
        }
        let short = key.to_ascii_uppercase();
        if names::OF_A_JOB.contains(&short.as_str()) && key == key.to_ascii_lowercase() {
            let name = format!("{PREFIX}{short}");
            ensure!(
                name != names::KEY,
                "cannot use {origin}: a secret does not belong there: put it into a file, and write \
                 `encryption_key_file`"
            );
            variables.set(&name, Value::new(text(value, &origin)?, origin), None);
        } else if let Some(plain) = short.strip_suffix("_FILE").filter(|name| names::OF_A_JOB.contains(name))
        {
            let path = text(value, &origin)?;
            let content = variables::content(&path).with_context(|| format!("cannot use {origin}"))?;
            variables.set(&format!("{PREFIX}{plain}"), Value::new(content, origin), Some(path));
        } else {
            bail!("cannot use {origin}: {}", variables::unknown(&short, "").to_lowercase());
        }
    }
    Ok(())
}

/// A text, number or flag; a list becomes lines.
fn text(value: &Yaml, origin: &str) -> anyhow::Result<String> {
    match value {
        Yaml::String(text) => Ok(text.clone()),
        Yaml::Number(number) => Ok(number.to_string()),
        Yaml::Bool(flag) => Ok(flag.to_string()),
        Yaml::Sequence(list) => {
            let lines = list.iter().map(|item| match item {
                Yaml::Sequence(_) => bail!("cannot use {origin}: there is a list in it"),
                item => text(item, origin),
            });
            Ok(lines.collect::<anyhow::Result<Vec<_>>>()?.join("\n"))
        }
        Yaml::Null => bail!("cannot use {origin}: it is empty: leave it out"),
        _ => bail!("cannot use {origin}: it is neither a text nor a list"),
    }
}
