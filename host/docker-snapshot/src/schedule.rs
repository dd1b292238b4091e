//! When a job runs: five fields of cron in a time zone. Nothing here asks for the time or waits.
//!
//! croner finds occurrences as Vixie cron does: what falls into the hour that is left out in spring comes when
//! that is over, and what falls into the hour that comes twice in autumn comes once, unless it comes every
//! hour. What is left to do here is what becomes of occurrences that were missed, and of clocks that are set.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// A clock that is set back by less than this does not make anything run a second time.
const CORRECTION: TimeDelta = TimeDelta::hours(1);

/// When a job runs.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    text: String,
    cron: Cron,
    zone: Tz,
    /// By how much a run may come later, at random, so that many machines do not come at once.
    jitter: Duration,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Run now, for the occurrence at this time: it is here, or was missed. However many were missed, they
    /// are made up once.
    Now(DateTime<Utc>),
    /// Nothing before this time.
    At(DateTime<Utc>),
}

impl Schedule {
    /// Reads an expression.
    ///
    /// # Errors
    /// Why it is none, or that it never comes.
    pub(crate) fn parse(text: &str, zone: Tz, jitter: Duration) -> Result<Self, String> {
        let text = text.trim();
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| {
            format!("{text:?} is no schedule: {error}: write five fields, as in 0 2 * * *, or @daily")
        })?;
        let schedule = Schedule { text: text.to_owned(), cron, zone, jitter };
        // Each date comes within the 400 years of the calendar, the rarest within eight.
        if schedule.next(DateTime::UNIX_EPOCH).is_none() {
            return Err(format!("{text:?} never comes: no month has such a day"));
        }
        Ok(schedule)
    }

    /// The first occurrence after `time`.
    pub(crate) fn next(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut from = time.with_timezone(&self.zone);
        // Where a clock is set back, an answer could lie in the past.
        for _ in 0..4 {
            let next = self.cron.find_next_occurrence(&from, false).ok()?.with_timezone(&Utc);
            if next > time {
                return Some(next);
            }
            from = (from.with_timezone(&Utc) + TimeDelta::minutes(30)).with_timezone(&self.zone);
        }
        None
    }

    /// What is to be done at `now`, when all up to `settled` is settled.
    pub(crate) fn due(&self, settled: DateTime<Utc>, now: DateTime<Utc>) -> Due {
        // A clock that was years ahead must not keep all these years free of backups.
        let settled = if settled > now + CORRECTION { now } else { settled };
        match self.next(settled) {
            Some(next) if next <= now => Due::Now(next),
            Some(next) => Due::At(next),
            // The end of the calendar.
            None => Due::At(DateTime::<Utc>::MAX_UTC),
        }
    }

    /// By how much the run for the occurrence at `time` is put off. Another machine has another value.
    pub(crate) fn delay(&self) -> Duration {
        let most = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        // Seeded at random by the standard library.
        let chance = RandomState::new().hash_one(0);
        Duration::from_millis(if most == 0 { 0 } else { chance % most })
    }

    /// Until when a backup must be there, if the last one was made at `last`: what comes next, and as much
    /// time again as a run may take.
    pub(crate) fn overdue_after(&self, last: DateTime<Utc>, took: Duration) -> DateTime<Utc> {
        let grace = self.jitter + took.saturating_mul(2).max(Duration::from_hours(1));
        let grace = TimeDelta::from_std(grace).unwrap_or(TimeDelta::MAX);
        let next = self.next(last).unwrap_or(DateTime::<Utc>::MAX_UTC);
        next.checked_add_signed(grace).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} ({})", self.text, self.zone)
    }
}

/// The time zone that `TZ` names.
///
/// # Errors
/// When there is none of that name.
pub(crate) fn zone(name: Option<&str>) -> anyhow::Result<Tz> {
    let Some(name) = name.map(|name| name.trim_start_matches(':')) else { return Ok(Tz::UTC) };
    name.parse().map_err(|_| {
        anyhow::anyhow!("cannot use TZ: there is no time zone {name:?}: name one as in Europe/Berlin, or UTC")
    })
}

#[cfg(test)]
mod tests;
