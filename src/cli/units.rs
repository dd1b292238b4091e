//! Numbers, sizes and times as people read them.

use std::time::Duration;

use snapshotter::time::Time;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `12,345`.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 entry`, `12 entries`.
pub(crate) fn count(value: u64, one: &str, several: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { several })
}

/// `3 snapshots`, or `3 of 5 snapshots` where there are others.
pub(crate) fn of_others(value: u64, others: u64) -> String {
    match others {
        0 => count(value, "snapshot", "snapshots"),
        others => format!("{} of {}", number(value), count(value + others, "snapshot", "snapshots")),
    }
}

/// `512 bytes`, `3.4 MiB`, `240 MiB`.
#[expect(clippy::cast_precision_loss, reason = "at most four digits are shown")]
pub(crate) fn bytes(value: u64) -> String {
    if value < 1024 {
        return count(value, "byte", "bytes");
    }
    let mut shown = value as f64;
    let mut unit = "";
    for next in UNITS {
        // What would be rounded up to 1024 belongs to the next unit.
        if shown < 1023.5 {
            break;
        }
        shown /= 1024.0;
        unit = next;
    }
    if shown < 99.95 { format!("{shown:.1} {unit}") } else { format!("{shown:.0} {unit}") }
}

/// `4.0 GiB carry no content checksum`, where there are any.
pub(crate) fn unhashed(value: u64) -> Option<String> {
    let carry = if value == 1 { "carries" } else { "carry" };
    (value > 0).then(|| format!("{} {carry} no content checksum", bytes(value)))
}

/// How a run ends: `1 warning; 4.0 GiB carry no content checksum`.
pub(crate) fn remarks(warnings: u64, without_checksum: u64) -> String {
    let mut remarks = vec![count(warnings, "warning", "warnings")];
    remarks.extend(unhashed(without_checksum));
    remarks.join("; ")
}

/// `37 ms`, `0.4 s`, `3 min 20 s`, `2 h 3 min`.
pub(crate) fn duration(value: Duration) -> String {
    let seconds = value.as_secs_f64();
    if seconds < 0.0995 {
        return format!("{:.0} ms", seconds * 1000.0);
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    // Rounded to the unit that is shown last, before it is split.
    let seconds = value.as_secs() + u64::from(value.subsec_millis() >= 500);
    if seconds < 3600 {
        return format!("{} min {} s", seconds / 60, seconds % 60);
    }
    let minutes = (seconds + 30) / 60;
    format!("{} h {} min", number(minutes / 60), minutes % 60)
}

/// `2026-11-20 16:03:00`, in UTC.
pub(crate) fn moment(time: Time) -> String {
    let text = time.to_rfc3339();
    match text.strip_suffix('Z') {
        Some(date) => date.replacen('T', " ", 1),
        None => text,
    }
}

/// `2026-11-20 16:03`, in UTC.
pub(crate) fn minute(time: Time) -> String {
    let text = moment(time);
    match text.rsplit_once(':') {
        Some((minute, _)) => minute.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        for (value, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (u64::MAX, "18,446,744,073,709,551,615")]
        {
            assert_eq!(number(value), text);
        }
        assert_eq!([count(1, "entry", "entries"), count(0, "entry", "entries")], ["1 entry", "0 entries"]);
    }

    #[test]
    fn sizes_have_one_decimal_below_a_hundred_and_never_reach_1024() {
        for (value, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1,023 bytes"),
            (1024, "1.0 KiB"),
            (1_048_063, "1023 KiB"),
            (1_048_064, "1.0 MiB"),
            (1_048_575, "1.0 MiB"),
            (104_805_171, "99.9 MiB"),
            (104_805_900, "100 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(value), text, "{value}");
        }
    }

    #[test]
    fn durations_are_short_and_carry_over() {
        for (millis, text) in [
            (0, "0 ms"),
            (99, "99 ms"),
            (100, "0.1 s"),
            (59_949, "59.9 s"),
            (59_950, "1 min 0 s"),
            (200_000, "3 min 20 s"),
            (3_599_500, "1 h 0 min"),
            (7_380_000, "2 h 3 min"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text, "{millis}");
        }
    }

    #[test]
    fn times_keep_what_their_place_has_room_for() {
        let time = Time { secs: 1_795_190_580, nanos: 5_000_000 };
        assert_eq!(
            (moment(time).as_str(), minute(time).as_str()),
            ("2026-11-20 16:03:00", "2026-11-20 16:03")
        );
        let beyond = Time { secs: i64::MAX, nanos: 1 };
        assert_eq!(minute(beyond), "9223372036854775807.000000001");
    }
}
