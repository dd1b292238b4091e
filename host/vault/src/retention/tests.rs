use chrono::{FixedOffset, TimeDelta};

use super::*;

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

fn candidate(name: &str, time: Option<DateTime<Utc>>, state: State) -> Candidate {
    Candidate { group: "app".to_owned(), name: name.to_owned(), time, state }
}

fn good(text: &str) -> Candidate {
    candidate(text, Some(time(text)), State::Good)
}

fn kept<'a>(policy: Policy, candidates: &'a [Candidate], now: &str) -> Vec<&'a str> {
    let verdicts = policy.judge(candidates, time(now), &Utc);
    verdicts
        .iter()
        .filter(|verdict| verdict.is_kept())
        .map(|verdict| verdict.candidate.name.as_str())
        .collect()
}

const NOW: &str = "2026-03-15T12:00:00Z";

#[test]
fn the_newest_of_each_period_is_kept() {
    let candidates: Vec<_> = [
        "2024-12-31T23:00:00Z",
        "2025-06-01T00:00:00Z",
        "2026-01-31T10:00:00Z",
        "2026-02-27T10:00:00Z",
        "2026-02-28T10:00:00Z",
        "2026-03-08T10:00:00Z", // a Sunday
        "2026-03-09T10:00:00Z", // a Monday
        "2026-03-14T08:00:00Z",
        "2026-03-14T09:00:00Z",
        "2026-03-15T09:00:00Z",
    ]
    .into_iter()
    .map(good)
    .collect();
    let keep = |policy| kept(policy, &candidates, NOW);
    assert_eq!(
        keep(Policy { last: 2, ..Policy::default() }),
        ["2026-03-14T09:00:00Z", "2026-03-15T09:00:00Z"]
    );
    assert_eq!(
        keep(Policy { daily: 3, ..Policy::default() }),
        ["2026-03-09T10:00:00Z", "2026-03-14T09:00:00Z", "2026-03-15T09:00:00Z"]
    );
    assert_eq!(
        keep(Policy { weekly: 3, ..Policy::default() }),
        ["2026-02-28T10:00:00Z", "2026-03-08T10:00:00Z", "2026-03-15T09:00:00Z"]
    );
    assert_eq!(
        keep(Policy { monthly: 3, ..Policy::default() }),
        ["2026-01-31T10:00:00Z", "2026-02-28T10:00:00Z", "2026-03-15T09:00:00Z"]
    );
    assert_eq!(
        keep(Policy { yearly: 9, ..Policy::default() }),
        ["2024-12-31T23:00:00Z", "2025-06-01T00:00:00Z", "2026-03-15T09:00:00Z"]
    );
    assert_eq!(
        keep(Policy { within: Some(Duration::from_hours(28)), ..Policy::default() }),
        ["2026-03-14T08:00:00Z", "2026-03-14T09:00:00Z", "2026-03-15T09:00:00Z"]
    );
}

#[test]
fn days_begin_where_the_user_is() {
    let candidates =
        [good("2026-03-13T22:30:00Z"), good("2026-03-13T23:30:00Z"), good("2026-03-14T12:00:00Z")];
    let policy = Policy { daily: 2, ..Policy::default() };
    let names = |offset: i32| {
        let zone = FixedOffset::east_opt(offset).unwrap();
        let verdicts = policy.judge(&candidates, time(NOW), &zone);
        verdicts
            .into_iter()
            .filter(Verdict::is_kept)
            .map(|verdict| verdict.candidate.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(0), ["2026-03-13T23:30:00Z", "2026-03-14T12:00:00Z"]);
    assert_eq!(names(3600), ["2026-03-13T22:30:00Z", "2026-03-14T12:00:00Z"]);
}

#[test]
fn a_policy_that_asks_for_nothing_forgets_nothing() {
    assert_eq!(
        kept(Policy::default(), &[good("2001-01-01T00:00:00Z"), good("2002-01-01T00:00:00Z")], NOW).len(),
        2
    );
}

#[test]
fn the_newest_good_and_the_last_verified_stay() {
    let old =
        candidate("old", Some(time("2020-01-01T00:00:00Z")), State::Verified(time("2026-03-01T00:00:00Z")));
    let newer =
        candidate("newer", Some(time("2021-01-01T00:00:00Z")), State::Verified(time("2021-01-02T00:00:00Z")));
    let newest = candidate("newest", Some(time("2022-01-01T00:00:00Z")), State::Good);
    let damaged = candidate("damaged", Some(time("2026-03-15T00:00:00Z")), State::Damaged);
    let unreadable = candidate("unreadable", Some(time("2019-01-01T00:00:00Z")), State::Unreadable);
    let plain = candidate("plain", Some(time("2020-06-01T00:00:00Z")), State::Good);
    let all = [old, newer, newest, damaged, unreadable, plain];
    let policy = Policy { within: Some(Duration::from_hours(1)), ..Policy::default() };
    assert_eq!(kept(policy, &all, NOW), ["old", "newer", "newest", "unreadable"]);
    // A damaged one takes no good one's place.
    assert!(kept(Policy { last: 1, ..policy }, &all, NOW).contains(&"newest"));
}

#[test]
fn groups_are_judged_by_themselves() {
    let mut other = good("2020-01-01T00:00:00Z");
    other.group = "other".to_owned();
    let all = [good("2026-03-15T00:00:00Z"), good("2026-03-14T00:00:00Z"), other];
    assert_eq!(
        kept(Policy { last: 1, ..Policy::default() }, &all, NOW),
        ["2026-03-15T00:00:00Z", "2020-01-01T00:00:00Z"]
    );
}

#[test]
fn a_clock_that_jumps_loses_nothing() {
    let before = [good("2026-03-13T00:00:00Z"), good("2026-03-14T00:00:00Z"), good("2026-03-15T00:00:00Z")];
    let policy = Policy { last: 1, within: Some(Duration::from_hours(24 * 7)), ..Policy::default() };
    // The clock goes back: all of it is in the future.
    assert_eq!(kept(policy, &before, "2001-01-01T00:00:00Z").len(), 3);
    // One was made while the clock was ahead. It does not take the place of a real one.
    let ahead = [good("2030-01-01T00:00:00Z"), good("2026-03-14T00:00:00Z"), good("2020-01-01T00:00:00Z")];
    assert_eq!(
        kept(Policy { last: 1, ..Policy::default() }, &ahead, NOW),
        ["2030-01-01T00:00:00Z", "2026-03-14T00:00:00Z"]
    );
    // What has no time stays.
    assert_eq!(kept(policy, &[candidate("x", None, State::Good)], NOW), ["x"]);
}

/// A generator of numbers that is the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn candidates(&mut self) -> Vec<Candidate> {
        let count = self.below(40);
        (0..count)
            .map(|index| {
                let minutes = i64::try_from(self.below(60 * 24 * 800)).unwrap() - 60 * 24 * 20;
                let made = time(NOW) - TimeDelta::minutes(minutes);
                let state = match self.below(8) {
                    0 => State::Damaged,
                    1 => State::Unreadable,
                    2 | 3 => State::Verified(time(NOW) - TimeDelta::minutes(minutes / 2)),
                    _ => State::Good,
                };
                let group = ["a", "b"][usize::try_from(self.below(2)).unwrap()].to_owned();
                let made = (self.below(20) > 0).then_some(made);
                Candidate { group, name: format!("{index:03}"), time: made, state }
            })
            .collect()
    }

    fn policy(&mut self) -> Policy {
        let mut number = || usize::try_from(self.below(6)).unwrap();
        let (last, hourly, daily, weekly, monthly, yearly) =
            (number(), number(), number(), number(), number(), number());
        let within = (self.below(3) == 0).then(|| Duration::from_hours(self.below(2000)));
        Policy { last, hourly, daily, weekly, monthly, yearly, within }
    }
}

#[test]
fn whatever_is_asked_for_nothing_is_lost_that_must_stay() {
    let mut numbers = Numbers(7);
    let now = time(NOW);
    for _ in 0..4000 {
        let (candidates, policy) = (numbers.candidates(), numbers.policy());
        let verdicts = policy.judge(&candidates, now, &Utc);
        for group in ["a", "b"] {
            let of_group = || verdicts.iter().filter(|verdict| verdict.candidate.group == group);
            let past = |verdict: &&Verdict<'_>| verdict.candidate.time.is_some_and(|time| time <= now);
            // The newest good one, and at least as many as the last are to be.
            let newest = of_group()
                .filter(past)
                .filter(|verdict| is_good(verdict.candidate))
                .max_by_key(|v| v.candidate.time);
            assert!(newest.is_none_or(Verdict::is_kept));
            let good = of_group().filter(past).filter(|verdict| is_good(verdict.candidate)).count();
            let good_kept = of_group().filter(past).filter(|v| is_good(v.candidate) && v.is_kept()).count();
            assert!(good_kept >= good.min(policy.last), "{policy:?}");
            if policy.yearly > 0 || policy.last > 0 {
                assert!(good_kept > 0 || good == 0);
            }
            // One that was verified, if there was one.
            let verified = |verdict: &&Verdict<'_>| matches!(verdict.candidate.state, State::Verified(_));
            assert!(of_group().all(|v| !verified(&v)) || of_group().any(|v| verified(&v) && v.is_kept()));
        }
        for verdict in &verdicts {
            let doubtful = verdict.candidate.state == State::Unreadable
                || verdict.candidate.time.is_none_or(|time| time > now)
                || policy.is_empty();
            assert!(!doubtful || verdict.is_kept());
        }
        // To forget and judge again forgets nothing more.
        let left: Vec<Candidate> = verdicts
            .iter()
            .filter(|verdict| verdict.is_kept())
            .map(|verdict| verdict.candidate.clone())
            .collect();
        assert!(policy.judge(&left, now, &Utc).iter().all(Verdict::is_kept), "{policy:?} {left:?}");
        // The order in which they are listed changes nothing.
        let mut reversed: Vec<Candidate> = candidates.clone();
        reversed.reverse();
        let names = |verdicts: &[Verdict<'_>]| -> BTreeSet<String> {
            verdicts.iter().filter(|v| v.is_kept()).map(|v| v.candidate.name.clone()).collect()
        };
        assert_eq!(names(&policy.judge(&reversed, now, &Utc)), names(&verdicts));
    }
}
