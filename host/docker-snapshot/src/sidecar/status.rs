//! How the backups of a job are, for whoever looks: the page, and metrics.

use chrono::{DateTime, Utc};

use crate::config::{Config, Job};
use crate::sidecar::serve::overdue;
use crate::sidecar::state::{Record, Room, instant};

/// How one job is.
#[derive(Debug)]
pub(crate) struct Status<'a> {
    pub(crate) job: &'a Job,
    pub(crate) record: Record,
    pub(crate) next: Option<DateTime<Utc>>,
    pub(crate) health: Health,
}

/// Whether a job's backups can be relied on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// The last run went well.
    Good,
    /// None has run yet.
    New,
    /// Why not.
    Bad(Vec<String>),
}

/// How all jobs are at `now`.
pub(crate) fn of<'a>(config: &'a Config, state: &std::path::Path, now: DateTime<Utc>) -> Vec<Status<'a>> {
    let one = |job: &'a Job| {
        let record = Room::new(state, &job.name).record();
        Status::new(job, record, now)
    };
    config.jobs.iter().map(one).collect()
}

impl<'a> Status<'a> {
    fn new(job: &'a Job, record: Record, now: DateTime<Utc>) -> Self {
        let mut problems: Vec<_> = record.last.iter().flat_map(|ran| ran.problems.iter().cloned()).collect();
        problems.extend(job.schedule.as_ref().and_then(|schedule| overdue(schedule, &record, now)));
        let health = match &record.last {
            _ if !problems.is_empty() => Health::Bad(problems),
            None => Health::New,
            Some(_) => Health::Good,
        };
        let since = record.settled.map_or(now, instant);
        let next = job.schedule.as_ref().and_then(|schedule| schedule.next(since.max(now)));
        Status { job, record, next, health }
    }
}
