//! Metrics in Prometheus' text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>. Names of
//! jobs have no letter that would have to be escaped.

use std::fmt::Write;

use crate::sidecar::status::{Health, Status};

/// A name, its type and meaning, and its value for a job; none where there is nothing yet.
type Metric = (&'static str, &'static str, fn(&Status<'_>) -> Option<f64>);

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
const METRICS: &[Metric] = &[
    ("backup_healthy", "1 if the last run went well and nothing is overdue", |status| {
        Some(if matches!(status.health, Health::Bad(_)) { 0.0 } else { 1.0 })
    }),
    ("backup_last_run_timestamp_seconds", "When the last run began", |status| {
        status.record.last.as_ref().map(|ran| ran.begun.secs as f64)
    }),
    ("backup_last_success_timestamp_seconds", "When the last run began that went well", |status| {
        status.record.last_success.as_ref().map(|ran| ran.begun.secs as f64)
    }),
    ("backup_last_run_seconds", "How long the last run took", |status| {
        status.record.last.as_ref().map(|ran| ran.seconds)
    }),
    ("backup_last_success_bytes", "Size of the last good backup as it is stored", |status| {
        status.record.last_success.as_ref().map(|ran| ran.bytes as f64)
    }),
    ("backup_last_success_content_bytes", "Size of the files in the last good backup", |status| {
        status.record.last_success.as_ref().map(|ran| ran.size as f64)
    }),
    ("backup_next_run_timestamp_seconds", "When the next run begins", |status| {
        status.next.map(|next| next.timestamp() as f64)
    }),
];

/// All of them.
pub(crate) fn text(all: &[Status<'_>]) -> String {
    let mut text = String::new();
    for (name, help, value) in METRICS {
        let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} gauge");
        for status in all {
            if let Some(value) = value(status) {
                let _ = writeln!(text, "{name}{{job_name=\"{}\"}} {value}", status.job.name);
            }
        }
    }
    text
}
