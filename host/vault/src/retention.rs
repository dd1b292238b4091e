//! Which backups are to be kept: pure functions of what there is, what is wanted and what time it is.
//!
//! In doubt a backup is kept. Never forgotten are the newest good one of each group, the last that was verified,
//! what cannot be read (nobody knows what it is), and what lies in the future: a clock that was wrong once
//! must not cost anything, neither then nor when it is right again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Datelike, TimeZone, Utc};

/// A backup, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What it belongs to: a project or volume. Each group is judged by itself.
    pub group: String,
    /// What it is called; no two of a group have the same.
    pub name: String,
    /// When it was made; `None` where nothing says so.
    pub time: Option<DateTime<Utc>>,
    /// What is known of it.
    pub state: State,
}

/// What is known of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is complete, as far as is known.
    Good,
    /// It was read and found to be right, last at this time.
    Verified(DateTime<Utc>),
    /// It is known to be damaged or incomplete.
    Damaged,
    /// It cannot be read, so nobody knows.
    Unreadable,
}

/// What is to be kept. Numbers count backups, one for each day, week, month or year that has one; the newest
/// of it is kept. Nothing that is kept by one rule counts less for another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest so many.
    pub last: usize,
    /// The newest of each of so many hours.
    pub hourly: usize,
    /// The newest of each of so many days.
    pub daily: usize,
    /// The newest of each of so many weeks, from Monday on (ISO 8601).
    pub weekly: usize,
    /// The newest of each of so many months.
    pub monthly: usize,
    /// The newest of each of so many years.
    pub yearly: usize,
    /// All that are not older.
    pub within: Option<Duration>,
}

/// Why a backup is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is among the last.
    Last,
    /// It is the newest of its hour.
    Hourly,
    /// It is the newest of its day.
    Daily,
    /// It is the newest of its week.
    Weekly,
    /// It is the newest of its month.
    Monthly,
    /// It is the newest of its year.
    Yearly,
    /// It is not older than is asked for.
    Within,
    /// It is the newest good one of its group.
    NewestGood,
    /// It is the last of its group that was verified.
    LastVerified,
    /// It cannot be read.
    Unreadable,
    /// It is damaged, but its group has no good one.
    NothingBetter,
    /// Nothing says when it was made.
    Timeless,
    /// By the clock of this machine it is not made yet.
    Future,
    /// The policy asks for nothing, so nothing is forgotten.
    NoPolicy,
}

/// What is to become of a backup: it is kept for these reasons, or forgotten if there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The backup.
    pub candidate: &'a Candidate,
    /// Why it is kept.
    pub reasons: BTreeSet<Reason>,
}

impl Verdict<'_> {
    /// Whether it is kept.
    pub fn is_kept(&self) -> bool {
        !self.reasons.is_empty()
    }
}

impl Policy {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Policy::default()
    }

    /// What is to become of each candidate, in the order given. Days begin at midnight in `zone`.
    pub fn judge<'a, Z: TimeZone>(
        &self,
        candidates: &'a [Candidate],
        now: DateTime<Utc>,
        zone: &Z,
    ) -> Vec<Verdict<'a>> {
        let mut verdicts: Vec<_> =
            candidates.iter().map(|candidate| Verdict { candidate, reasons: BTreeSet::new() }).collect();
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, candidate) in candidates.iter().enumerate() {
            groups.entry(&candidate.group).or_default().push(index);
        }
        for members in groups.into_values() {
            protect(&mut verdicts, &members, now);
            self.choose(&mut verdicts, &members, now, zone);
        }
        if self.is_empty() {
            for verdict in &mut verdicts {
                verdict.reasons.insert(Reason::NoPolicy);
            }
        }
        verdicts
    }

    /// Keeps what the numbers ask for. Only what is good and of the past counts: a damaged one in the place of
    /// a good one would cost that.
    fn choose<Z: TimeZone>(
        &self,
        verdicts: &mut [Verdict<'_>],
        members: &[usize],
        now: DateTime<Utc>,
        zone: &Z,
    ) {
        let mut newest_first: Vec<(DateTime<Utc>, usize)> = members
            .iter()
            .filter(|&&index| is_good(verdicts[index].candidate))
            .filter_map(|&index| Some((verdicts[index].candidate.time.filter(|time| *time <= now)?, index)))
            .collect();
        newest_first.sort_by(|a, b| {
            b.0.cmp(&a.0).then_with(|| verdicts[b.1].candidate.name.cmp(&verdicts[a.1].candidate.name))
        });
        for &(time, index) in &newest_first {
            let age = (now - time).to_std().unwrap_or_default();
            if self.within.is_some_and(|within| age <= within) {
                verdicts[index].reasons.insert(Reason::Within);
            }
        }
        for (count, reason, period) in [
            (self.last, Reason::Last, None),
            (self.hourly, Reason::Hourly, Some(hour as fn(&Local) -> Period)),
            (self.daily, Reason::Daily, Some(day)),
            (self.weekly, Reason::Weekly, Some(week)),
            (self.monthly, Reason::Monthly, Some(month)),
            (self.yearly, Reason::Yearly, Some(year)),
        ] {
            let mut kept = 0;
            let mut last = None;
            for &(time, index) in &newest_first {
                let local = time.with_timezone(zone).naive_local();
                // Where a clock is set back at night, an hour of the clock is two.
                let current = period.map(|period| period(&Local { local, utc: time }));
                if kept < count && (current.is_none() || current != last) {
                    last = current;
                    kept += 1;
                    verdicts[index].reasons.insert(reason);
                }
            }
        }
    }
}

/// A time as the clock on the wall shows it, and as it is.
struct Local {
    local: chrono::NaiveDateTime,
    utc: DateTime<Utc>,
}

/// A day, week, month, year or hour: equal for two times in the same one.
type Period = (i64, u32);

fn hour(time: &Local) -> Period {
    (time.utc.timestamp().div_euclid(3600), 0)
}

fn day(time: &Local) -> Period {
    (time.local.num_days_from_ce().into(), 0)
}

fn week(time: &Local) -> Period {
    let week = time.local.iso_week();
    (week.year().into(), week.week())
}

fn month(time: &Local) -> Period {
    (time.local.year().into(), time.local.month())
}

fn year(time: &Local) -> Period {
    (time.local.year().into(), 0)
}

fn is_good(candidate: &Candidate) -> bool {
    matches!(candidate.state, State::Good | State::Verified(_))
}

/// Keeps what no policy may cost.
fn protect(verdicts: &mut [Verdict<'_>], members: &[usize], now: DateTime<Utc>) {
    for &index in members {
        let verdict = &mut verdicts[index];
        match verdict.candidate.time {
            None => drop(verdict.reasons.insert(Reason::Timeless)),
            Some(time) if time > now => drop(verdict.reasons.insert(Reason::Future)),
            Some(_) => {}
        }
        if verdict.candidate.state == State::Unreadable {
            verdict.reasons.insert(Reason::Unreadable);
        }
    }
    if !members.iter().any(|&index| is_good(verdicts[index].candidate)) {
        for &index in members {
            verdicts[index].reasons.insert(Reason::NothingBetter);
        }
    }
    // Of those whose time is right, so that one from the future does not stand for all.
    let of_the_past = |candidate: &Candidate| candidate.time.is_some_and(|time| time <= now);
    let newest = members
        .iter()
        .filter(|&&index| is_good(verdicts[index].candidate) && of_the_past(verdicts[index].candidate))
        .max_by_key(|&&index| (verdicts[index].candidate.time, &verdicts[index].candidate.name));
    if let Some(&index) = newest {
        verdicts[index].reasons.insert(Reason::NewestGood);
    }
    // Both the one that was made last and the one that was looked at last: either can be meant.
    let verified = |index: &usize| match verdicts[*index].candidate.state {
        State::Verified(when) => Some((when, verdicts[*index].candidate.time, *index)),
        _ => None,
    };
    let checked = members.iter().filter_map(verified).max();
    let made = members.iter().filter_map(verified).max_by_key(|(when, time, index)| (*time, *when, *index));
    for (_, _, index) in checked.into_iter().chain(made) {
        verdicts[index].reasons.insert(Reason::LastVerified);
    }
}

#[cfg(test)]
mod tests;
