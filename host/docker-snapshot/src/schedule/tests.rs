use super::*;

fn schedule(text: &str, zone: &str) -> Schedule {
    Schedule::parse(text, zone.parse().unwrap(), Duration::ZERO).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

/// The occurrences after `from`, as clocks in that place show them.
fn following(text: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = schedule(text, "Europe/Berlin");
    let mut time = at(from);
    let mut next = || {
        time = schedule.next(time).unwrap();
        time.with_timezone(&schedule.zone).format("%m-%d %H:%M%:::z").to_string()
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn what_falls_into_the_hour_that_is_left_out_comes_once_when_it_is_over() {
    let days = ["03-28 02:30+01", "03-29 03:00+02", "03-30 02:30+02"];
    assert_eq!(following("30 2 * * *", "2026-03-28T00:00:00Z", 3), days);
    let hours = ["03-29 01:00+01", "03-29 03:00+02", "03-29 04:00+02"];
    assert_eq!(following("0 * * * *", "2026-03-28T23:30:00Z", 3), hours);
}

#[test]
fn what_falls_into_the_hour_that_comes_twice_comes_once_unless_it_comes_every_hour() {
    let days = ["10-24 02:30+02", "10-25 02:30+02", "10-26 02:30+01"];
    assert_eq!(following("30 2 * * *", "2026-10-23T12:00:00Z", 3), days);
    let hours = ["10-25 01:00+02", "10-25 02:00+02", "10-25 02:00+01", "10-25 03:00+01"];
    assert_eq!(following("0 * * * *", "2026-10-24T22:30:00Z", 4), hours);
}

#[test]
fn nothing_that_comes_next_is_past_in_any_minute_of_the_night_in_which_clocks_are_set_back() {
    for text in ["30 2 * * *", "*/30 * * * *", "* * * * *", "15 2 * * *", "0 */2 * * *", "@daily", "@hourly"]
    {
        let schedule = schedule(text, "Europe/Berlin");
        for minute in 0..300 {
            let now = at("2026-10-24T22:00:00Z") + TimeDelta::minutes(minute) + TimeDelta::seconds(7);
            assert!(schedule.next(now).unwrap() > now, "{text} at {now}");
        }
    }
}

#[test]
fn the_forms_of_cron_are_understood() {
    let cases = [
        ("@daily", "2026-05-05T10:00:00Z", "2026-05-06T00:00:00Z"),
        ("0 6 L * *", "2026-02-05T10:00:00Z", "2026-02-28T06:00:00Z"),
        ("0 3 * * 0", "2026-11-25T10:00:00Z", "2026-11-29T03:00:00Z"),
        ("0 3 * * 7", "2026-11-25T10:00:00Z", "2026-11-29T03:00:00Z"),
        ("0 3 * jan-mar mon-fri", "2026-11-25T10:00:00Z", "2027-01-01T03:00:00Z"),
        ("*/15 * * * *", "2026-11-25T10:01:00Z", "2026-11-25T10:15:00Z"),
        ("0 0 29 2 *", "2026-11-25T10:01:00Z", "2028-02-29T00:00:00Z"),
        // A day of the month and a day of the week: either.
        ("0 0 13 * 5", "2026-11-25T10:01:00Z", "2026-11-27T00:00:00Z"),
    ];
    for (text, from, next) in cases {
        assert_eq!(schedule(text, "UTC").next(at(from)), Some(at(next)), "{text}");
    }
}

#[test]
fn what_never_comes_or_is_no_expression_is_refused() {
    for text in ["0 0 30 2 *", "0 0 31 4 *", "", "daily", "61 * * * *", "0 0 2 * * *", "@reboot", "0 2 * *"] {
        assert!(Schedule::parse(text, Tz::UTC, Duration::ZERO).is_err(), "{text}");
    }
}

#[test]
fn what_was_missed_is_made_up_once() {
    let schedule = schedule("0 2 * * *", "UTC");
    let now = at("2026-11-25T10:00:00Z");
    assert_eq!(schedule.due(at("2026-11-20T02:00:00Z"), now), Due::Now(at("2026-11-21T02:00:00Z")));
    // That run settles all up to now.
    assert_eq!(schedule.due(now, now), Due::At(at("2026-11-26T02:00:00Z")));
}

#[test]
fn a_clock_that_is_set_back_neither_repeats_a_run_nor_stops_all_of_them() {
    let schedule = schedule("0 2 * * *", "UTC");
    let settled = at("2026-11-25T02:00:00Z");
    // Corrected by seconds, just after the run.
    let now = at("2026-11-25T01:59:58Z");
    assert_eq!(schedule.due(settled, now), Due::At(at("2026-11-26T02:00:00Z")));
    // It was wrong by a year.
    let now = at("2025-11-25T01:00:00Z");
    assert_eq!(schedule.due(settled, now), Due::At(at("2025-11-25T02:00:00Z")));
}

#[test]
fn jitter_stays_within_its_limit() {
    let schedule = Schedule::parse("@daily", Tz::UTC, Duration::from_mins(1)).unwrap();
    let delays: Vec<_> = (0..50).map(|_| schedule.delay()).collect();
    assert!(delays.iter().all(|delay| *delay < Duration::from_mins(1)), "{delays:?}");
    assert!(delays.iter().any(|delay| *delay != delays[0]), "{delays:?}");
}

#[test]
fn a_backup_is_overdue_when_the_next_one_should_have_been_there() {
    let schedule = schedule("0 2 * * *", "UTC");
    let last = at("2026-11-24T02:00:00Z");
    assert_eq!(schedule.overdue_after(last, Duration::from_mins(1)), at("2026-11-25T03:00:00Z"));
    assert_eq!(schedule.overdue_after(last, Duration::from_hours(2)), at("2026-11-25T06:00:00Z"));
}

#[test]
fn a_time_zone_that_is_none_is_refused() {
    assert_eq!(zone(Some(":America/New_York")).unwrap(), Tz::America__New_York);
    assert_eq!(zone(None).unwrap(), Tz::UTC);
    assert!(zone(Some("Europe/Nowhere")).unwrap_err().to_string().contains("Europe/Nowhere"));
}
