//! Runs jobs when their schedules say so, one at a time, and tells who is to be told. Between runs it looks
//! at the clock once a minute, since clocks are set.

use std::time::Duration;

use chrono::{DateTime, Utc};
use snapshotter::time::Time;
use snapshotter_engine::lease::State;

use crate::alarm::{self, Message, Occasion};
use crate::config::{Config, Job};
use crate::job::interrupt::Interrupt;
use crate::job::tell::{Notice, Tell};
use crate::schedule::{Due, Schedule};
use crate::sidecar::run::{Outcome, run};
use crate::sidecar::state::{Ran, Record, Room, instant, seconds};

/// The longest that is slept without a look at the clock.
const LOOK: Duration = Duration::from_mins(1);

/// A job, and until when all is settled.
struct Watched<'a> {
    job: &'a Job,
    schedule: &'a Schedule,
    room: Room,
    settled: DateTime<Utc>,
    /// By how much the next run is put off, drawn once for each.
    delay: Duration,
}

/// Serves until a signal comes.
///
/// # Errors
/// When nothing can be kept of what is known.
pub(crate) async fn serve(
    config: &Config,
    state: &State,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<()> {
    let mut watched = Vec::new();
    for job in &config.jobs {
        let Some(schedule) = &job.schedule else {
            tell(&Notice::Note(&format!("{} is run by hand alone: it has no schedule", job.name)));
            continue;
        };
        let room = Room::new(state.directory(), &job.name);
        let mut record = room.record();
        // Cleans up after a run that was killed, unless one goes on.
        drop(room.turn());
        // The first time there is nothing that could have been missed.
        let settled = *record.settled.get_or_insert_with(Time::now);
        room.keep(&record)?;
        let settled = instant(settled);
        watched.push(Watched { job, schedule, room, settled, delay: schedule.delay() });
    }
    for one in &watched {
        one.announce(Utc::now(), tell);
    }
    while stop.check("").is_ok() {
        let now = Utc::now();
        let mut sleep = LOOK;
        for one in &mut watched {
            one.check_overdue(now, tell).await?;
            if let Some(wait) = one.due(now) {
                sleep = sleep.min(wait);
            } else {
                one.run(state, stop, tell).await?;
                sleep = Duration::ZERO;
            }
            if stop.check("").is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(sleep) => {}
            () = stop.wait() => {}
        }
    }
    Ok(())
}

impl Watched<'_> {
    /// How long to wait; `None` when it is time.
    fn due(&self, now: DateTime<Utc>) -> Option<Duration> {
        let at = match self.schedule.due(self.settled, now) {
            Due::Now(at) | Due::At(at) => at,
        };
        let at = at.checked_add_signed(chrono::TimeDelta::from_std(self.delay).unwrap_or_default());
        let wait = (at.unwrap_or(DateTime::<Utc>::MAX_UTC) - now).to_std();
        wait.ok().filter(|wait| !wait.is_zero())
    }

    async fn run(&mut self, state: &State, stop: &Interrupt, tell: Tell<'_>) -> anyhow::Result<()> {
        let begun = Utc::now();
        let outcome = run_and_tell(self.job, state, stop, tell).await;
        // It is settled whether it went well or not: what failed is told, and tried again when it comes next.
        self.settled = self.settled.max(begun).min(Utc::now());
        self.delay = self.schedule.delay();
        let mut record = self.room.record();
        record.settled = Some(seconds(self.settled));
        self.room.keep(&record)?;
        if let Err(error) = outcome {
            tell(&Notice::Warning(&crate::words::message(&error)));
        }
        self.announce(Utc::now(), tell);
        Ok(())
    }

    fn announce(&self, now: DateTime<Utc>, tell: Tell<'_>) {
        let Due::At(next) = self.schedule.due(self.settled, now) else { return };
        let next = next.with_timezone(&self.job.zone).format("%Y-%m-%d %H:%M:%S %Z");
        tell(&Notice::Note(&format!("{} runs next at {next}", self.job.name)));
    }

    /// Tells once that there has been no good backup for too long.
    async fn check_overdue(&self, now: DateTime<Utc>, tell: Tell<'_>) -> anyhow::Result<()> {
        let mut record = self.room.record();
        let Some(why) = overdue(self.schedule, &record, now).filter(|_| !record.told_overdue) else {
            return Ok(());
        };
        record.told_overdue = true;
        self.room.keep(&record)?;
        let message = failure(self.job, &[why]);
        tell(&Notice::Warning(&message.subject));
        warn(&alarm::tell(&self.job.alarms, &message).await, tell);
        Ok(())
    }
}

/// That the newest good backup is older than the schedule allows; nothing where all is well.
pub(crate) fn overdue(schedule: &Schedule, record: &Record, now: DateTime<Utc>) -> Option<String> {
    let took = |ran: &Ran| Duration::try_from_secs_f64(ran.seconds).unwrap_or_default();
    let (since, took, words) = match (&record.last_success, record.settled) {
        (Some(good), _) => (
            instant(good.begun),
            took(good),
            format!("the last good backup is of {}", good.begun.to_rfc3339()),
        ),
        (None, Some(settled)) => (instant(settled), Duration::ZERO, "there is no good backup yet".to_owned()),
        (None, None) => return None,
    };
    let until = schedule.overdue_after(since, took);
    (now > until).then(|| format!("a backup is overdue: {words}"))
}

/// Runs a job, and tells who is to be told.
///
/// # Errors
/// As [`run`].
pub(crate) async fn run_and_tell(
    job: &Job,
    state: &State,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<Outcome> {
    let room = Room::new(state.directory(), &job.name);
    // Who has no turn tells nobody, and keeps no record: the run that goes on does.
    let turn = room.turn()?;
    if job.alarms.start.is_some() {
        let subject = format!("{}: the backup begins", job.name);
        let message =
            Message { job: job.name.clone(), occasion: Occasion::Start, text: subject.clone(), subject };
        warn(&alarm::tell(&job.alarms, &message).await, tell);
    }
    let outcome = run(job, state, &turn, stop, tell).await;
    let message = match &outcome {
        Ok(outcome) if outcome.is_good() => success(job, outcome),
        Ok(outcome) => failure(job, &outcome.ran.problems),
        Err(error) => failure(job, &[crate::words::message(error)]),
    };
    warn(&alarm::tell(&job.alarms, &message).await, tell);
    outcome
}

fn warn(problems: &[String], tell: Tell<'_>) {
    for problem in problems {
        tell(&Notice::Warning(problem));
    }
}

fn success(job: &Job, outcome: &Outcome) -> Message {
    let subject = format!("{}: the backup was made", job.name);
    let text = format!("{subject}\n\n{}", summary(outcome));
    Message { job: job.name.clone(), occasion: Occasion::Success, subject, text }
}

fn failure(job: &Job, problems: &[String]) -> Message {
    let subject = format!("{}: the backup failed", job.name);
    let text = format!("{subject}\n\n{}\n", problems.join("\n"));
    Message { job: job.name.clone(), occasion: Occasion::Failure, subject, text }
}

/// What was done, for people.
pub(crate) fn summary(outcome: &Outcome) -> String {
    let ran = &outcome.ran;
    let mut lines = vec![
        format!("made at    {} (UTC)", ran.begun.to_rfc3339()),
        format!("files      {} bytes", ran.size),
        format!("backup     {} bytes", ran.bytes),
        format!("took       {:.1} s", ran.seconds),
    ];
    lines.extend(outcome.stored.iter().map(|place| format!("stored     {place}")));
    lines.extend(outcome.forgotten.iter().map(|place| format!("removed    {place}")));
    if outcome.warnings > 0 {
        lines.push(format!("warnings   {}", outcome.warnings));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time::from_rfc3339(text).unwrap()
    }

    #[test]
    fn what_is_older_than_its_schedule_is_overdue() {
        let schedule = Schedule::parse("0 2 * * *", chrono_tz::Tz::UTC, Duration::ZERO).unwrap();
        let ran = Ran {
            begun: at("2026-11-24T02:00:00Z"),
            seconds: 60.0,
            problems: Vec::new(),
            file: None,
            size: 0,
            bytes: 0,
        };
        let record = Record { last_success: Some(ran), ..Record::default() };
        let at = |text| instant(at(text));
        assert_eq!(overdue(&schedule, &record, at("2026-11-25T02:59:00Z")), None);
        assert!(overdue(&schedule, &record, at("2026-11-25T03:01:00Z")).unwrap().contains("2026-11-24"));
        let never = Record { settled: Some(self::at("2026-11-24T12:00:00Z")), ..Record::default() };
        assert_eq!(overdue(&schedule, &never, at("2026-11-25T02:30:00Z")), None);
        assert!(
            overdue(&schedule, &never, at("2026-11-25T03:01:00Z")).unwrap().contains("no good backup yet")
        );
        assert_eq!(overdue(&schedule, &Record::default(), at("2026-11-25T03:01:00Z")), None);
    }
}
