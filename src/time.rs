//! A point in time as filesystems and pax archives keep it: whole seconds and nanoseconds.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Seconds and nanoseconds since 1970-01-01T00:00:00Z. `nanos` always counts forward, so half a second before
/// 1970 is −1 s and 500,000,000 ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded towards the past.
    pub secs: i64,
    /// Nanoseconds on top, below 1,000,000,000.
    pub nanos: u32,
}

impl Time {
    /// The clock's.
    pub fn now() -> Self {
        let now = Timestamp::now();
        // The clock stands after 1970, so both parts are positive.
        Time { secs: now.as_second(), nanos: now.subsec_nanosecond().unsigned_abs() }
    }

    /// A decimal number as pax writes it (POSIX, "pax Extended Header File Times"): sign and magnitude,
    /// trailing zeros dropped, so `-1.5` is one and a half seconds before 1970.
    pub fn to_pax(self) -> String {
        let total = i128::from(self.secs) * 1_000_000_000 + i128::from(self.nanos);
        let sign = if total < 0 { "-" } else { "" };
        let magnitude = total.unsigned_abs();
        let (secs, nanos) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
        if nanos == 0 {
            return format!("{sign}{secs}");
        }
        format!("{sign}{secs}.{nanos:09}").trim_end_matches('0').to_owned()
    }

    /// Reads what [`Time::to_pax`] and others write; digits beyond nanoseconds are dropped.
    pub fn from_pax(text: &str) -> Option<Self> {
        let (negative, magnitude) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (secs, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
        if secs.is_empty() || !secs.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        // One more than the largest `i64` fits: the most negative time has that magnitude.
        let secs = i128::from(secs.parse::<u64>().ok()?);
        let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
        let nanos = digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
        let (secs, nanos) = match (negative, nanos) {
            (false, nanos) => (secs, nanos),
            (true, 0) => (-secs, 0),
            (true, nanos) => (-secs - 1, 1_000_000_000 - nanos),
        };
        Some(Time { secs: secs.try_into().ok()?, nanos })
    }

    /// `2026-11-20T16:03:00Z`, UTC, whole seconds; beyond the calendar's years the seconds as a number.
    pub fn to_rfc3339(self) -> String {
        match Timestamp::from_second(self.secs) {
            Ok(timestamp) => timestamp.to_string(),
            Err(_) => self.to_pax(),
        }
    }

    /// The same with nanoseconds, where there are any.
    pub fn to_rfc3339_exact(self) -> String {
        let text = self.to_rfc3339();
        match text.strip_suffix('Z') {
            Some(date) if self.nanos > 0 => format!("{date}.{:09}Z", self.nanos),
            _ => text,
        }
    }

    /// Reads what [`Time::to_rfc3339_exact`] writes.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let Ok(timestamp) = text.parse::<Timestamp>() else { return Time::from_pax(text) };
        let nanos = timestamp.as_nanosecond();
        let (secs, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        Some(Time { secs: secs.try_into().ok()?, nanos: nanos.try_into().ok()? })
    }

    /// So much earlier.
    pub(crate) fn before(self, by: Duration) -> Self {
        let (secs, nanos) = (i64::try_from(by.as_secs()).unwrap_or(i64::MAX), by.subsec_nanos());
        let (borrowed, nanos) = match self.nanos.checked_sub(nanos) {
            Some(nanos) => (0, nanos),
            None => (1, self.nanos + 1_000_000_000 - nanos),
        };
        Time { secs: self.secs.saturating_sub(secs).saturating_sub(borrowed), nanos }
    }

    /// Without its nanoseconds.
    pub(crate) fn whole(self) -> Self {
        Time { nanos: 0, ..self }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.to_rfc3339_exact().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Time::from_rfc3339(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is no time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_time_borrows_a_second() {
        let time = |secs, nanos| Time { secs, nanos };
        let before = |time: Time, millis| time.before(Duration::from_millis(millis));
        assert_eq!(before(time(5, 0), 2000), time(3, 0));
        assert_eq!(before(time(5, 100), 20), time(4, 980_000_100));
        assert_eq!(before(time(5, 20_000_000), 20), time(5, 0));
        assert_eq!(time(i64::MIN, 0).before(Duration::MAX).secs, i64::MIN);
    }

    #[test]
    fn pax_times_are_sign_and_magnitude() {
        for (secs, nanos, text) in [
            (0, 0, "0"),
            (1, 500_000_000, "1.5"),
            (-2, 500_000_000, "-1.5"),
            (-1, 999_999_999, "-0.000000001"),
            (-1, 0, "-1"),
            (i64::MAX, 1, "9223372036854775807.000000001"),
            (i64::MIN, 0, "-9223372036854775808"),
            (i64::MIN, 1, "-9223372036854775807.999999999"),
            (1_700_000_000, 123_456_780, "1700000000.12345678"),
        ] {
            let time = Time { secs, nanos };
            assert_eq!(time.to_pax(), text);
            assert_eq!(Time::from_pax(text), Some(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "-",
            "+1",
            " 1",
            "1e3",
            "1.5.2",
            "9223372036854775808",
            "-9223372036854775808.5",
            "1.x",
            "--1",
            ".5",
        ] {
            assert_eq!(Time::from_pax(text), None, "{text}");
        }
        assert_eq!(Time::from_pax("1."), Some(Time { secs: 1, nanos: 0 }));
        assert_eq!(Time::from_pax("1.0000000019"), Some(Time { secs: 1, nanos: 1 }));
    }

    #[test]
    fn dates_are_utc_and_survive_any_year() {
        assert_eq!(Time { secs: -1, nanos: 5 }.to_rfc3339(), "1969-12-31T23:59:59Z");
        assert_eq!(Time { secs: i64::MAX, nanos: 0 }.to_rfc3339(), "9223372036854775807");
        let time = Time { secs: 1_795_190_580, nanos: 5_000_000 };
        assert_eq!(time.to_rfc3339_exact(), "2026-11-20T16:03:00.005000000Z");
        for (secs, nanos) in [(-1, 5), (1_795_190_580, 5_000_000), (i64::MAX, 1), (i64::MIN, 0)] {
            let time = Time { secs, nanos };
            assert_eq!(Time::from_rfc3339(&time.to_rfc3339_exact()), Some(time));
        }
    }
}
