//! Every order in which a few threads can come by, state by state and without
//! threads: nobody waits for nothing.

use std::collections::HashSet;

use super::*;

/// How many steps a job has, each with a piece; the last has two.
type Job = u8;
type TestQueue = WorkQueue<Job, ()>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Thread {
    /// The walking thread, which will push its next job some time.
    Walking,
    /// About to ask what is next.
    Awake(Until),
    Busy(Until, Work<Job, ()>),
    Waiting(Until),
    Gone,
}

/// Where a wake can be forgotten, to see that it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forgotten {
    Nothing,
    AfterPush,
    AfterTake,
    WhenIdle,
    WhenClosed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    queue: TestQueue,
    /// What the walking thread, the first, will push.
    jobs: Vec<Job>,
    threads: Vec<Thread>,
}

impl World {
    fn new(jobs: &[Job], helpers: usize, max_jobs: usize, max_pieces: usize) -> World {
        let helpers = std::iter::repeat_n(Thread::Awake(Until::Ended), helpers);
        let threads = [Thread::Walking].into_iter().chain(helpers).collect();
        World { queue: WorkQueue::new(max_jobs, max_pieces), jobs: jobs.to_vec(), threads }
    }

    /// All that this can become when `wake` is done: one for each thread that may be the one.
    fn woken(self, wake: Wake) -> Vec<World> {
        let waiting: Vec<usize> =
            (0..self.threads.len()).filter(|&at| matches!(self.threads[at], Thread::Waiting(_))).collect();
        let wake_up = |mut world: World, at: usize| {
            if let Thread::Waiting(until) = world.threads[at] {
                world.threads[at] = Thread::Awake(until);
            }
            world
        };
        match wake {
            Wake::One if !waiting.is_empty() => {
                waiting.into_iter().map(|at| wake_up(self.clone(), at)).collect()
            }
            Wake::All => vec![waiting.into_iter().fold(self, wake_up)],
            _ => vec![self],
        }
    }

    /// All that this can become when the thread `at` goes on.
    fn after(&self, at: usize, forgotten: Forgotten) -> Vec<World> {
        let unless = |this: Forgotten, wake: Wake| if forgotten == this { Wake::Nobody } else { wake };
        let mut world = self.clone();
        match self.threads[at] {
            Thread::Waiting(_) | Thread::Gone => vec![],
            Thread::Walking => {
                world.come_by(at, if self.jobs.is_empty() { Until::Written } else { Until::Room }, forgotten)
            }
            Thread::Awake(until) => world.come_by(at, until, forgotten),
            Thread::Busy(until, step) => {
                world.threads[at] = Thread::Awake(until);
                let mut failed = world.clone();
                failed.queue.stop();
                [world, failed]
                    .into_iter()
                    .flat_map(|mut world| {
                        let wake = match step {
                            Work::Write(()) => world.queue.wrote(),
                            Work::Read(1) => world.queue.read([(), ()], None),
                            Work::Read(steps) => world.queue.read([()], Some(steps - 1)),
                        };
                        let wake = if wake == Wake::All { unless(Forgotten::WhenIdle, wake) } else { wake };
                        world.woken(wake)
                    })
                    .collect()
            }
        }
    }

    fn come_by(&mut self, at: usize, until: Until, forgotten: Forgotten) -> Vec<World> {
        let unless = |this: Forgotten, wake: Wake| if forgotten == this { Wake::Nobody } else { wake };
        let wake = match self.queue.next(until) {
            Next::Wait => {
                self.threads[at] = Thread::Waiting(until);
                Wake::Nobody
            }
            Next::Do(step, wake) => {
                self.threads[at] = Thread::Busy(until, step);
                unless(Forgotten::AfterTake, wake)
            }
            Next::Over if until == Until::Room && !self.queue.is_stopped() => {
                self.threads[at] = Thread::Walking;
                let wake = self.queue.push(self.jobs.remove(0));
                unless(Forgotten::AfterPush, wake)
            }
            Next::Over if until == Until::Ended => {
                self.threads[at] = Thread::Gone;
                Wake::Nobody
            }
            Next::Over => {
                self.threads[at] = Thread::Gone;
                let wake = self.queue.close();
                unless(Forgotten::WhenClosed, wake)
            }
        };
        self.clone().woken(wake)
    }

    /// What must hold at any time; the walking thread does not count as one that comes by at once.
    fn check(&self) -> Result<(), &'static str> {
        let any = |holds: fn(&Thread) -> bool| self.threads.iter().any(holds);
        let is_busy = any(|thread| matches!(thread, Thread::Busy(..)));
        let waits = any(|thread| matches!(thread, Thread::Waiting(_)));
        if waits && self.queue.has_step() && !any(|thread| matches!(thread, Thread::Awake(_))) {
            return Err("a step waits for a thread");
        }
        if !self.queue.is_idle() && !is_busy && !self.queue.has_step() {
            return Err("what is left waits for nothing");
        }
        Ok(())
    }
}

/// Goes through all that can become of `world`; returns how many states there are.
fn explore(world: World, forgotten: Forgotten) -> Result<usize, &'static str> {
    let mut seen = HashSet::new();
    let mut pending = vec![world];
    while let Some(mut world) = pending.pop() {
        // Helpers are alike.
        world.threads[1..].sort_unstable();
        if !seen.insert(world.clone()) {
            continue;
        }
        world.check()?;
        let next: Vec<World> = (0..world.threads.len()).flat_map(|at| world.after(at, forgotten)).collect();
        if next.is_empty() && world.threads.iter().any(|thread| *thread != Thread::Gone) {
            return Err("all wait for each other");
        }
        pending.extend(next);
    }
    Ok(seen.len())
}

/// Jobs, helpers, and the two limits.
const CASES: [(&[Job], usize, usize, usize); 7] = [
    (&[1, 2, 1], 0, 1, 1),
    (&[], 2, 1, 1),
    (&[1, 1, 1, 1], 2, 1, 1),
    (&[3, 1, 2, 1], 2, 2, 2),
    (&[1, 1, 2, 1, 1], 3, 2, 2),
    (&[2, 2, 1], 4, 1, 3),
    (&[1, 2, 1, 1, 2, 1], 2, 4, 3),
];

#[test]
fn one_wake_is_enough_for_all_kinds_of_waiters() {
    let mut states = 0;
    for (jobs, helpers, max_jobs, max_pieces) in CASES {
        let world = World::new(jobs, helpers, max_jobs, max_pieces);
        states +=
            explore(world, Forgotten::Nothing).unwrap_or_else(|why| panic!("{jobs:?} {helpers}: {why}"));
    }
    assert!(states > 10_000, "{states}");
}

#[test]
fn a_wake_that_is_forgotten_is_missed() {
    for (forgotten, expected) in [
        (Forgotten::AfterPush, "a step waits for a thread"),
        (Forgotten::AfterTake, "a step waits for a thread"),
        (Forgotten::WhenIdle, "all wait for each other"),
        (Forgotten::WhenClosed, "all wait for each other"),
    ] {
        let found: Vec<_> = CASES
            .iter()
            .filter_map(|&(jobs, helpers, max_jobs, max_pieces)| {
                explore(World::new(jobs, helpers, max_jobs, max_pieces), forgotten).err()
            })
            .collect();
        assert!(found.contains(&expected), "{forgotten:?}: {found:?}");
    }
}

#[test]
fn the_rest_of_a_job_goes_before_the_jobs_after_it() {
    let mut queue: WorkQueue<&str, u8> = WorkQueue::new(4, 1);
    assert_eq!([queue.push("a"), queue.push("b")], [Wake::One, Wake::One]);
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Read("a"), Wake::One));
    assert_eq!(queue.read([1], Some("rest of a")), Wake::One);
    // Writing goes before reading, and one thread writes.
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Write(1), Wake::One));
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Read("rest of a"), Wake::One));
    assert_eq!(queue.read([2], None), Wake::One);
    // As many pieces wait as may: nothing more is read until one is written.
    assert_eq!(queue.next(Until::Ended), Next::Wait);
    assert_eq!(queue.wrote(), Wake::One);
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Write(2), Wake::One));
}
