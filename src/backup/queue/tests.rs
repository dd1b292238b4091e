//! Every order in which a few threads can come by, state by state and without
//! threads: nobody waits for nothing.

use std::collections::HashSet;

use super::*;

/// A job with so many steps, each with a piece; the last has two. What comes next of it goes to `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Job {
    at: u64,
    steps: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct TestPiece(u64);

type TestQueue = WorkQueue<Job, TestPiece>;

impl Located for Job {
    fn at(&self) -> u64 {
        self.at
    }
    fn len(&self) -> u64 {
        0
    }
}

impl Located for TestPiece {
    fn at(&self) -> u64 {
        self.0
    }
    fn len(&self) -> u64 {
        1
    }
}

/// Jobs with so many steps, one behind the other.
fn in_a_row(steps: &[u8]) -> Vec<Job> {
    let mut next = 0;
    let job = |&steps: &u8| {
        let at = next;
        next += u64::from(steps) + 1;
        Job { at, steps }
    };
    steps.iter().map(job).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Thread {
    /// The walking thread, which will push its next job some time.
    Walking,
    /// About to ask what is next.
    Awake(Until),
    Busy(Until, Work<Job, TestPiece>),
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
    /// Where pieces are written in their order: where the next one goes.
    written: Option<u64>,
}

impl World {
    fn new(case: Case, in_order: bool) -> World {
        let (jobs, helpers, max_jobs, max_pieces) = case;
        let written = in_order.then_some(0);
        let helpers = std::iter::repeat_n(Thread::Awake(Until::Ended), helpers);
        let threads = [Thread::Walking].into_iter().chain(helpers).collect();
        World { queue: WorkQueue::new(max_jobs, max_pieces, written), jobs: in_a_row(jobs), threads, written }
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
                            Work::Write(_) => world.queue.wrote(),
                            Work::Read(Job { at, steps: 1 }) => {
                                world.queue.read([TestPiece(at), TestPiece(at + 1)], None)
                            }
                            Work::Read(Job { at, steps }) => {
                                let rest = Job { at: at + 1, steps: steps - 1 };
                                world.queue.read([TestPiece(at)], Some(rest))
                            }
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
                if let (Work::Write(piece), Some(next)) = (step, &mut self.written) {
                    assert_eq!(piece.at(), *next);
                    *next += 1;
                }
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
type Case = (&'static [u8], usize, usize, usize);

const CASES: [Case; 7] = [
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
    for case in CASES {
        for in_order in [false, true] {
            let world = World::new(case, in_order);
            let explored = explore(world, Forgotten::Nothing);
            states += explored.unwrap_or_else(|why| panic!("{case:?} {in_order}: {why}"));
        }
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
        let found: Vec<_> =
            CASES.iter().filter_map(|&case| explore(World::new(case, false), forgotten).err()).collect();
        assert!(found.contains(&expected), "{forgotten:?}: {found:?}");
    }
}

#[test]
fn the_rest_of_a_job_goes_before_the_jobs_after_it() {
    let mut queue = TestQueue::new(4, 1, None);
    let (a, rest, b) = (Job { at: 0, steps: 2 }, Job { at: 1, steps: 1 }, Job { at: 3, steps: 1 });
    assert_eq!([queue.push(a), queue.push(b)], [Wake::One, Wake::One]);
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Read(a), Wake::One));
    assert_eq!(queue.read([TestPiece(0)], Some(rest)), Wake::One);
    // Writing goes before reading, and one thread writes.
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Write(TestPiece(0)), Wake::One));
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Read(rest), Wake::One));
    assert_eq!(queue.read([TestPiece(1)], None), Wake::One);
    // As many pieces wait as may: nothing more is read until one is written.
    assert_eq!(queue.next(Until::Ended), Next::Wait);
    assert_eq!(queue.wrote(), Wake::One);
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Write(TestPiece(1)), Wake::One));
}

#[test]
fn in_a_stream_what_comes_next_is_read_whatever_waits() {
    let mut queue = TestQueue::new(4, 1, Some(0));
    let (a, rest, b) = (Job { at: 0, steps: 2 }, Job { at: 1, steps: 1 }, Job { at: 3, steps: 1 });
    let _ = (queue.push(a), queue.push(b));
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Read(a), Wake::One));
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Read(b), Wake::Nobody));
    // It comes first, and is done last.
    let _ = queue.read([TestPiece(3)], None);
    assert_eq!(queue.next(Until::Ended), Next::Wait);
    let _ = queue.read([TestPiece(0)], Some(rest));
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Write(TestPiece(0)), Wake::One));
    // One piece waits already, and this is read even so.
    assert_eq!(queue.next(Until::Ended), Next::Do(Work::Read(rest), Wake::Nobody));
}
