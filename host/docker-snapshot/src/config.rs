//! What the sidecar is to do: `BACKUP_*` variables, as its users have them in their `.env` files, or a YAML
//! file with several jobs, whose keys are the same names. All of it is read before anything is done, and what
//! is unknown or contradicts itself is refused.

mod databases;
mod file;
mod job;
mod lists;
mod names;
mod parts;
mod value;
mod variables;

pub(crate) use databases::Named;
pub(crate) use job::{Alarms, Job, Mail};
pub(crate) use lists::{Kind, Source};

use std::path::PathBuf;

use anyhow::{Context, ensure};

use crate::config::variables::Variables;

/// All jobs, in the order of the file.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) jobs: Vec<Job>,
    /// The file that they come from, where there is one.
    pub(crate) file: Option<PathBuf>,
}

impl Config {
    /// Reads the environment, and the file that `BACKUP_CONFIG` names.
    ///
    /// # Errors
    /// When something cannot be used; the message names the variable or key, and never shows a secret.
    pub(crate) fn load() -> anyhow::Result<Self> {
        Self::read(&Variables::of_the_environment()?)
    }

    fn read(variables: &Variables) -> anyhow::Result<Self> {
        let file = variables.text(names::CONFIG).map(|value| PathBuf::from(value.text()));
        let sets = match &file {
            Some(path) => file::read(path, variables)?,
            None => vec![variables.clone()],
        };
        let jobs = sets.iter().map(Job::read).collect::<anyhow::Result<Vec<_>>>()?;
        for (at, job) in jobs.iter().enumerate() {
            ensure!(
                jobs[..at].iter().all(|other| other.name != job.name),
                "cannot use {}: two jobs are called {}: give each a name of its own",
                file.as_deref().unwrap_or(std::path::Path::new("the configuration")).display(),
                job.name
            );
        }
        Ok(Config { jobs, file })
    }

    /// The job `name`; the only one where no name is given.
    ///
    /// # Errors
    /// When there is no such job, or several could be meant.
    pub(crate) fn job(&self, name: Option<&str>) -> anyhow::Result<&Job> {
        let known = || self.jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>().join(", ");
        match (name, &self.jobs[..]) {
            (None, [job]) => Ok(job),
            (None, _) => anyhow::bail!("cannot tell which job is meant: name one of {}", known()),
            (Some(name), jobs) => jobs
                .iter()
                .find(|job| job.name == name)
                .with_context(|| format!("cannot find the job {name}: there is {}", known())),
        }
    }
}

#[cfg(test)]
mod tests;
