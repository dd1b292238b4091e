//! Counts in words, for the bar and for the line every ten seconds.

use std::time::Duration;

use snapshotter::observer::Phase;

use crate::cli::units::{bytes, count, duration};

/// How far back the rate looks, in seconds.
const MEMORY: f64 = 3.0;

/// Turns counts into words, and remembers what it needs for the rate.
#[derive(Debug)]
pub(super) struct Meter {
    phase: Phase,
    doing: &'static str,
    total: Option<u64>,
    /// When it was read last, in seconds since the beginning, and what it was then.
    last: (f64, u64),
    /// In bytes a second.
    rate: Option<f64>,
}

impl Meter {
    pub(super) fn new(phase: Phase, total: Option<u64>) -> Self {
        let doing = match phase {
            Phase::BackingUp => "backing up",
            Phase::Restoring => "restoring",
            Phase::Verifying => "verifying",
            Phase::Syncing => "writing to disk",
        };
        Meter { phase, doing, total: total.filter(|&total| total > 0), last: (0.0, 0), rate: None }
    }

    /// What is being done.
    pub(super) fn doing(&self) -> &'static str {
        self.doing
    }

    /// How many bytes there are to handle, where that is known.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// After `now` seconds, with `files` and `done` bytes handled:
    /// `backing up: 12,345 files, 3.2 GiB, 240 MiB/s`.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive, and few of its digits are shown"
    )]
    pub(super) fn read(&mut self, now: f64, files: u64, done: u64) -> String {
        if self.phase == Phase::Syncing {
            // The system does not tell how far it is.
            return format!("{}: {}", self.doing, whole_seconds(now as u64));
        }
        let (before, had) = self.last;
        let span = now - before;
        if span > 0.0 {
            let current = done.saturating_sub(had) as f64 / span;
            let rate = self.rate.unwrap_or(current);
            self.rate = Some(rate + (current - rate) * (1.0 - (-span / MEMORY).exp()));
            self.last = (now, done);
        }
        let rate = self.rate.unwrap_or(0.0);
        let mut parts = vec![count(files, "file", "files"), bytes(done), format!("{}/s", bytes(rate as u64))];
        if let Some(total) = self.total {
            let percent = u128::from(done.min(total)) * 100 / u128::from(total);
            parts[1] = format!("{} of {} ({percent} %)", bytes(done), bytes(total));
            if rate >= 1.0 && done < total {
                parts.push(format!("{} left", whole_seconds(((total - done) as f64 / rate).ceil() as u64)));
            }
        }
        format!("{}: {}", self.doing, parts.join(", "))
    }
}

/// What is left is a guess: no tenths.
fn whole_seconds(seconds: u64) -> String {
    if seconds < 60 { format!("{seconds} s") } else { duration(Duration::from_secs(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn files_bytes_and_rate_are_shown() {
        let mut meter = Meter::new(Phase::BackingUp, None);
        assert_eq!(meter.read(10.0, 12_345, 2400 * MIB), "backing up: 12,345 files, 2.3 GiB, 240 MiB/s");
        let mut meter = Meter::new(Phase::Restoring, Some(400 * MIB));
        let text = meter.read(1.0, 1, 100 * MIB);
        assert_eq!(text, "restoring: 1 file, 100 MiB of 400 MiB (25 %), 100 MiB/s, 3 s left");
    }

    #[test]
    fn no_count_makes_it_stumble() {
        let mut meter = Meter::new(Phase::Verifying, Some(10));
        assert_eq!(meter.read(0.0, 0, 0), "verifying: 0 files, 0 bytes of 10 bytes (0 %), 0 bytes/s");
        assert!(meter.read(1.0, u64::MAX, u64::MAX).contains("(100 %)"));
        assert!(meter.read(0.5, 1, 5).contains("(50 %)"));
        assert!(!Meter::new(Phase::Verifying, Some(0)).read(1.0, 1, 1).contains('%'));
    }

    #[test]
    fn a_rate_follows_within_seconds_and_falls_when_nothing_moves() {
        let mut meter = Meter::new(Phase::BackingUp, None);
        meter.read(10.0, 0, 100 * MIB);
        meter.read(20.0, 0, 100 * MIB);
        assert!(meter.rate.unwrap() < 0.5 * 1_048_576.0);
    }
}
