//! The sidecar's commands: `run`, `serve`, `health`, `config check`, `list-backups` and `restore-backup`; the
//! last two and `run` also under the names that they have in the image, in `/backup-scripts`.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::Utc;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use snapshotter_engine::lease::State;

use crate::cli::connection::block_on;
use crate::cli::progress::Progress;
use crate::cli::{output, recover, size};
use crate::config::{Config, Job};
use crate::job::interrupt::Interrupt;
use crate::job::tell::{Notice, Tell};
use crate::sidecar::backups::{self, Found};
use crate::sidecar::listen::listen;
use crate::sidecar::restore::{How, Ready};
use crate::sidecar::serve::{run_and_tell, serve, summary};
use crate::sidecar::state::Room;
use crate::sidecar::status::{self, Health};
use crate::sidecar::{dumps, services};

/// How long somebody has to change their mind where nobody can be asked.
const WARNING: Duration = Duration::from_secs(10);

/// Which job is meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The job, where the configuration has several
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Show how backups are at this address: `/`, `/metrics` and `/health`. Who can reach it can read it
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreBackup {
    /// The backup's time as in its name: 2026-01-31-030000; `latest` is the newest
    #[arg(value_name = "TIMESTAMP")]
    timestamp: String,
    #[command(flatten)]
    which: Which,
    /// Put all of it below this directory, and change nothing else
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Stop nothing, whoever uses what is restored
    #[arg(long)]
    leave_services: bool,
    /// End the connections of those that use a database
    #[arg(long)]
    terminate: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration, and show what would be done
    Check,
}

/// The command line that a name of this program stands for: those of the image's `/backup-scripts`.
pub(crate) fn of_its_name(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.first().map(PathBuf::from).unwrap_or_default();
    let command = match name.file_name().and_then(|name| name.to_str()) {
        Some("backup-now.sh" | "backup.sh") => "run",
        Some("list-backups.sh") => "list-backups",
        Some("restore.sh") => "restore-backup",
        _ => return arguments,
    };
    arguments.insert(1, command.into());
    arguments
}

/// Lets go on what a run that was killed has left stopped.
async fn recovered(state: &State) -> anyhow::Result<()> {
    if state.leases()?.is_empty() {
        return Ok(());
    }
    recover::before(&services::engine().await?, state).await
}

/// `run`.
///
/// # Errors
/// When there is no backup, or something is wrong with it.
pub(crate) fn run(which: &Which, json: bool) -> anyhow::Result<()> {
    let config = Config::load()?;
    let (job, state) = (config.job(which.job.as_deref())?, State::usual()?);
    let outcome = block_on(async {
        let stop = Interrupt::listen().context("cannot listen for signals")?;
        recovered(&state).await?;
        let progress = Progress::new();
        run_and_tell(job, &state, &stop, &|notice| progress.show(notice)).await
    })?;
    if json {
        output::print_json(&json!({
            "job": job.name, "good": outcome.is_good(), "run": outcome.ran, "warnings": outcome.warnings,
            "stored": outcome.stored, "forgotten": outcome.forgotten,
        }))?;
    } else if outcome.ran.file.is_some() {
        summary(&outcome).lines().try_for_each(|line| output::print_line(output::one_line(line)))?;
    }
    if outcome.is_good() {
        return Ok(());
    }
    say_all(&outcome.ran.problems);
    Err(output::Told.into())
}

fn say_all(problems: &[String]) {
    for problem in problems {
        output::say(problem);
    }
}

/// `serve`.
///
/// # Errors
/// When the configuration cannot be used.
pub(crate) fn serve_jobs(serving: &Serve) -> anyhow::Result<()> {
    let config = Config::load()?;
    let state = State::usual()?;
    block_on(async {
        let stop = Interrupt::listen().context("cannot listen for signals")?;
        recovered(&state).await?;
        let progress = Progress::new();
        let tell: Tell<'_> = &|notice| progress.show(notice);
        for job in &config.jobs {
            services::needed(job).await?;
            dumps::fit(job, tell).await?;
        }
        let Some(address) = serving.listen else { return serve(&config, &state, &stop, tell).await };
        let listening = listen(address, &config, &state).await?;
        tokio::select! {
            served = serve(&config, &state, &stop, tell) => served,
            () = listening => Ok(()),
        }
    })
}

/// `health`.
///
/// # Errors
/// When a job's last run went wrong, or its backup is overdue.
pub(crate) fn health(json: bool) -> anyhow::Result<()> {
    let (config, state) = (Config::load()?, State::usual()?);
    let mut problems = Vec::new();
    for status in status::of(&config, state.directory(), Utc::now()) {
        if let Health::Bad(why) = status.health {
            problems.extend(why.into_iter().map(|why| format!("{}: {why}", status.job.name)));
        }
    }
    if json {
        output::print_json(&json!({ "healthy": problems.is_empty(), "problems": problems }))?;
    } else if problems.is_empty() {
        output::print_line("healthy")?;
    }
    if problems.is_empty() {
        return Ok(());
    }
    say_all(&problems);
    Err(output::Told.into())
}

/// What `config check` shows of a job.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    schedule: Option<String>,
    next: Option<String>,
    directories_and_files: Vec<String>,
    databases: Vec<String>,
    exclude: Vec<String>,
    stops: Vec<String>,
    places: Vec<String>,
    compression: String,
    encryption: &'static str,
    keeps: String,
    tells: Vec<&'static str>,
}

/// `config check`.
///
/// # Errors
/// When something in the configuration cannot be used.
pub(crate) fn check(json: bool) -> anyhow::Result<()> {
    let config = Config::load()?;
    let mut jobs = Vec::new();
    for job in &config.jobs {
        // What is refused when a backup begins is refused here as well.
        job.sealing.seal()?;
        crate::sidecar::run::stores(job)?;
        snapshotter::config::Exclude::parse(job.exclude.iter().map(String::as_str))?;
        jobs.push(shown(job));
    }
    if json {
        let file = config.file.as_ref().map(|file| file.display().to_string());
        return output::print_json(&json!({ "file": file, "jobs": jobs }));
    }
    for job in &jobs {
        let list = |all: &[String]| if all.is_empty() { "nothing".to_owned() } else { all.join(", ") };
        let lines = [
            format!("job          {}", job.name),
            format!("schedule     {}", job.schedule.as_deref().unwrap_or("none: it is run by hand")),
            format!("next run     {}", job.next.as_deref().unwrap_or("none")),
            format!("files        {}", list(&job.directories_and_files)),
            format!("databases    {}", list(&job.databases)),
            format!("leaves out   {}", list(&job.exclude)),
            format!("stops        {}", list(&job.stops)),
            format!("stores to    {}", list(&job.places)),
            format!("compression  {}", job.compression),
            format!("encryption   {}", job.encryption),
            format!("keeps        {}", job.keeps),
            format!(
                "tells        {}",
                if job.tells.is_empty() { "nobody".to_owned() } else { job.tells.join(", ") }
            ),
        ];
        lines.iter().try_for_each(|line| output::print_line(output::one_line(line)))?;
    }
    Ok(())
}

fn shown(job: &Job) -> Shown {
    let next = job.schedule.as_ref().and_then(|schedule| schedule.next(Utc::now()));
    let alarms = &job.alarms;
    let tells = [
        (alarms.start.is_some(), "webhook at the start"),
        (alarms.success.is_some(), "webhook of success"),
        (alarms.failure.is_some(), "webhook of failure"),
        (alarms.mail.is_some(), "mail"),
        (!alarms.command.is_empty(), "command"),
    ];
    Shown {
        name: job.name.clone(),
        schedule: job.schedule.as_ref().map(ToString::to_string),
        next: next.map(|next| next.with_timezone(&job.zone).to_rfc3339()),
        directories_and_files: job.sources.iter().map(|s| format!("{} ({})", s.path, s.name)).collect(),
        databases: job.databases.iter().map(|named| named.database.to_string()).collect(),
        exclude: job.exclude.clone(),
        stops: job.stop.clone(),
        places: job.places.iter().map(|place| place.address.to_string()).collect(),
        compression: format!("{:?}", job.compression).to_lowercase(),
        encryption: job.sealing.word(),
        keeps: keeps(&job.retention),
        tells: tells.into_iter().filter_map(|(is_told, who)| is_told.then_some(who)).collect(),
    }
}

fn keeps(policy: &snapshotter_vault::retention::Policy) -> String {
    let numbers = [
        (policy.last, "last"),
        (policy.daily, "daily"),
        (policy.weekly, "weekly"),
        (policy.monthly, "monthly"),
        (policy.yearly, "yearly"),
    ];
    let mut parts: Vec<_> = numbers
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    parts.extend(policy.within.map(|within| format!("all of {} days", within.as_secs() / 86400)));
    if parts.is_empty() { "all".to_owned() } else { parts.join(", ") }
}

/// `list-backups`.
///
/// # Errors
/// When no store can be looked into.
pub(crate) fn list(which: &Which, json: bool) -> anyhow::Result<()> {
    let config = Config::load()?;
    let job = config.job(which.job.as_deref())?;
    let (all, problems) = block_on(backups::find(job))?;
    for problem in &problems {
        output::say(&format!("warning: {problem}"));
    }
    if json {
        let backups: Vec<_> = all
            .iter()
            .map(|found| {
                json!({
                    "timestamp": found.stamp, "time": found.backup.time.map(|time| time.to_rfc3339()),
                    "file": found.backup.object.name.to_string(), "store": found.store.address(),
                    "bytes": found.backup.object.size,
                })
            })
            .collect();
        return output::print_json(&json!({ "job": job.name, "backups": backups, "problems": problems }));
    }
    if all.is_empty() {
        return output::print_line(format!("no backups of {}", job.name));
    }
    for Found { store, backup, stamp } in &all {
        let line = format!(
            "{stamp}  {:>9}  {}/{}",
            size::bytes(backup.object.size),
            store.address(),
            backup.object.name
        );
        output::print_line(output::one_line(&line))?;
    }
    Ok(())
}

impl RestoreBackup {
    /// Restores.
    ///
    /// # Errors
    /// When it is not all restored.
    pub(crate) fn run(&self, json: bool) -> anyhow::Result<()> {
        let config = Config::load()?;
        let (job, state) = (config.job(self.which.job.as_deref())?, State::usual()?);
        let done = block_on(async {
            let stop = Interrupt::listen().context("cannot listen for signals")?;
            recovered(&state).await?;
            let progress = Progress::new();
            self.restore(job, &state, &stop, &|notice| progress.show(notice)).await
        })?;
        if json {
            return output::print_json(&json!({ "job": job.name, "restored": done }));
        }
        done.iter().try_for_each(|what| output::print_line(output::one_line(&format!("restored {what}"))))
    }

    async fn restore(
        &self,
        job: &Job,
        state: &State,
        stop: &Interrupt,
        tell: Tell<'_>,
    ) -> anyhow::Result<Vec<String>> {
        let room = Room::new(state.directory(), &job.name);
        let _turn = room.turn()?;
        let found = backups::choose(job, &self.timestamp).await?;
        let ready = Ready::of(job, state, &found, stop, tell).await?;
        if let Some(into) = &self.into {
            ready.into(into, stop).await?;
            return Ok(vec![format!("all to {}", into.display())]);
        }
        for left in &ready.left {
            tell(&Notice::Warning(&format!(
                "{left} is in the backup and not in the configuration: it is left out"
            )));
        }
        if !self.yes {
            agreed(&ready.words(), &found.stamp, stop).await?;
        }
        let how = How { leave_services: self.leave_services, terminate: self.terminate };
        ready.place(job, state, how, stop, tell).await
    }
}

/// Asks on a terminal; elsewhere waits, as the scripts before this program did.
async fn agreed(words: &[String], stamp: &str, stop: &Interrupt) -> anyhow::Result<()> {
    output::say(&format!("this replaces what is in {} by the backup of {stamp}", words.join(", ")));
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        output::say(&format!("it begins in {} s: press Ctrl-C to keep what is there", WARNING.as_secs()));
        tokio::select! {
            () = tokio::time::sleep(WARNING) => {}
            () = stop.wait() => {}
        }
        return stop.check("nothing was changed");
    }
    let _ = write!(io::stderr(), "Go on? Type yes: ");
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    let answer = tokio::select! {
        answer = answer => answer?.context("cannot read the answer")?,
        () = stop.wait() => String::new(),
    };
    if answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    bail!("cannot restore: the answer was not yes: nothing was changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(path: &str) -> Option<String> {
        of_its_name(vec![path.into()]).get(1).map(|command| command.to_string_lossy().into_owned())
    }

    #[test]
    fn the_scripts_of_the_documents_are_commands() {
        assert_eq!(first("/backup-scripts/backup-now.sh").as_deref(), Some("run"));
        assert_eq!(first("/backup-scripts/list-backups.sh").as_deref(), Some("list-backups"));
        assert_eq!(first("/backup-scripts/restore.sh").as_deref(), Some("restore-backup"));
        assert_eq!(first("/docker-snapshot"), None);
    }
}
