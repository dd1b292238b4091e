//! How long to wait for a store, how often to ask again, and how fast to send.

use std::num::NonZeroU64;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What is sent at once after a pause, at most, in seconds of the allowed rate.
const BURST: Duration = Duration::from_millis(250);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// How patient to be with a store.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a connection to be made.
    pub connect: Duration,
    /// Without a byte going either way. Not for a whole transfer, which may take days.
    pub idle: Duration,
    /// For one request and all its repetitions, from the first failure on.
    pub retry: Duration,
    /// Bytes a second that are sent, at most; as fast as it goes if not given.
    pub bandwidth: Option<NonZeroU64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(10),
            idle: Duration::from_mins(2),
            retry: Duration::from_mins(3),
            bandwidth: None,
        }
    }
}

/// Holds all that is sent to a store to a number of bytes a second.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Option<NonZeroU64>,
    /// When what was sent so far would have been sent at that rate.
    due: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(rate: Option<NonZeroU64>) -> Self {
        Pace { rate, due: Mutex::new(None) }
    }

    /// Waits until `bytes` more may be sent, and tells `waits` now and then that it does.
    pub(crate) async fn take(&self, bytes: usize, waits: impl Fn()) {
        let Some(rate) = self.rate else { return };
        let until = {
            let now = Instant::now();
            let mut due = self.due.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let from = due.map_or(now, |due| due.max(now.checked_sub(BURST).unwrap_or(now)));
            let until = from + Duration::from_nanos(nanos(bytes as u64, rate.get()));
            *due = Some(until);
            until
        };
        while Instant::now() < until {
            sleep_until(until.min(Instant::now() + Duration::from_secs(1))).await;
            waits();
        }
    }
}

/// The nanoseconds that `bytes` take at `rate` bytes a second.
fn nanos(bytes: u64, rate: u64) -> u64 {
    u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(rate)).unwrap_or(u64::MAX / 4)
}

/// Attempts at one thing: pauses that grow, with chance in them so that many do not come back at once, until
/// the time is up.
#[derive(Debug)]
pub(crate) struct Attempts {
    budget: Duration,
    since: Option<Instant>,
    pause: Duration,
}

impl Attempts {
    pub(crate) fn new(limits: &Limits) -> Self {
        Attempts { budget: limits.retry, since: None, pause: Duration::from_millis(200) }
    }

    /// Whether there was no other attempt than the first.
    pub(crate) fn are_none(&self) -> bool {
        self.since.is_none()
    }

    /// Waits before another attempt; false when the time is up.
    pub(crate) async fn again(&mut self) -> bool {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let pause = self.pause.mul_f64(0.5 + chance() / 2.0);
        if now + pause > since + self.budget {
            return false;
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        sleep_until(now + pause).await;
        true
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    f64::from(u32::from_le_bytes(random())) / f64::from(u32::MAX)
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The kernel's generator fails only where its arguments are wrong.
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    debug_assert_eq!(filled, Ok(N));
    bytes
}

/// 16 hexadecimal digits that nobody can guess.
pub(crate) fn token() -> String {
    format!("{:016x}", u64::from_le_bytes(random()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_keeps_to_the_rate_and_does_not_make_up_for_pauses() {
        let pace = Pace::new(NonZeroU64::new(1000));
        let start = Instant::now();
        for _ in 0..10 {
            pace.take(500, || {}).await;
        }
        assert_eq!(start.elapsed().as_secs(), 5);
        tokio::time::sleep(Duration::from_secs(100)).await;
        let start = Instant::now();
        for _ in 0..10 {
            pace.take(500, || {}).await;
        }
        assert!(start.elapsed() >= Duration::from_millis(4700), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_within_their_budget() {
        let limits = Limits { retry: Duration::from_mins(1), ..Limits::default() };
        let start = Instant::now();
        let mut attempts = Attempts::new(&limits);
        let mut count = 0;
        while attempts.again().await {
            count += 1;
        }
        assert!((5..30).contains(&count), "{count}");
        assert!(start.elapsed() <= Duration::from_mins(1));
    }
}
