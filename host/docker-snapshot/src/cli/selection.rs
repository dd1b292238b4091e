//! Which places a command is about: by pattern, label and project.

use anyhow::Context;
use clap::Args;
use glob::Pattern;
use snapshotter_engine::discover::Storage;

#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Only volumes, keys of the compose file, and paths that match one of these patterns (`*`, `?`, `[a-z]`)
    #[arg(value_name = "PATTERN", value_parser = pattern)]
    patterns: Vec<Pattern>,
    /// But not those that match this pattern; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    exclude: Vec<Pattern>,
    /// Only volumes with this label; may be repeated, and all must be there
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Only what belongs to this compose project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| format!("{} at byte {}", error.msg, error.pos))
}

impl Selection {
    /// What of `storages` is meant, in the same order.
    ///
    /// # Errors
    /// When a project or a pattern names nothing: that is a mistake, or what was meant is gone.
    pub(crate) fn choose(&self, mut storages: Vec<Storage>) -> anyhow::Result<Vec<Storage>> {
        if let Some(project) = &self.project {
            storages.retain(|storage| storage.project.as_ref() == Some(project));
            anyhow::ensure!(
                !storages.is_empty(),
                "cannot list the project {project}: no volume and no mount belongs to it: see `docker compose \
                 ls --all`"
            );
        }
        for pattern in &self.patterns {
            storages
                .iter()
                .find(|storage| names(pattern, storage))
                .with_context(|| format!("cannot find {pattern}: no volume and no mount has such a name"))?;
        }
        storages.retain(|storage| self.includes(storage));
        Ok(storages)
    }

    fn includes(&self, storage: &Storage) -> bool {
        (self.patterns.is_empty() || self.patterns.iter().any(|pattern| names(pattern, storage)))
            && !self.exclude.iter().any(|pattern| names(pattern, storage))
            && self.label.iter().all(|wanted| has_label(storage, wanted))
    }
}

/// Whether a pattern means this place: by its name, or by its key in the compose file.
fn names(pattern: &Pattern, storage: &Storage) -> bool {
    pattern.matches(&storage.name) || storage.key.as_ref().is_some_and(|key| pattern.matches(key))
}

fn has_label(storage: &Storage, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => storage.labels.get(key).is_some_and(|found| found == value),
        None => storage.labels.contains_key(wanted),
    }
}
