//! Any history of changes, backups, restores, other programs' appends, kills and damage can be gone back to, to each of
//! its snapshots.
//!
//! `SNAPSHOTTER_HISTORIES` is how many are tried, a few hundred unless it is set, and `SNAPSHOTTER_SEED` which ones. A
//! history runs in memory and in this process, where nothing else can be written, so that there may be many.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::support::{need, sandboxed};
use step::{Step, step};
use world::World;

mod appends;
mod change;
mod damage;
mod step;
mod world;

const LONGEST: usize = 25;

fn number(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).map_or(otherwise, |number| number.parse().unwrap())
}

/// How often what was done.
#[derive(Default)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }
}

/// One step a line, as it stands in this test.
fn shown(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |mut lines, step| {
        let _ = writeln!(lines, "  {step:?}");
        lines
    })
}

#[test]
fn each_snapshot_of_any_history_comes_back() {
    if !["tar", "bsdtar", "python3"].into_iter().all(need) {
        return;
    }
    let histories = number("SNAPSHOTTER_HISTORIES", 250);
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number("SNAPSHOTTER_SEED", 1).to_le_bytes());
    let config = Config { cases: histories, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    sandboxed(|s| {
        // Nothing need be synced. What others are run in is now below it.
        std::env::set_current_dir(s.tmpfs("", "size=256m")).unwrap();
        let counts = RefCell::new(Counts::default());
        let result = runner.run(&vec(step(), 1..=LONGEST), |steps| {
            World::new(s, &counts).live(&steps);
            Ok(())
        });
        let _ = writeln!(std::io::stdout(), "{histories} histories: {:?}", counts.borrow().0);
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, steps)) => panic!("{why}\nin the history\n{}", shown(&steps)),
            Err(TestError::Abort(why)) => panic!("{why}"),
        }
    });
}
