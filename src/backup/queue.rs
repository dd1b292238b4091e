//! Which thread of a backup does what next: what the threads share, without the threads and without their
//! lock.
//!
//! Jobs are read, each in one step or several, and become pieces; pieces are written, one at a time. A thread
//! that comes by says what it is there for ([`Until`]): the walking thread for room for one more job, and in
//! the end for all to be written; its helpers for the end of the run. It is given a step to take, or waits.
//!
//! All three kinds of waiters wait for one condition variable, and most wakes go to a single thread,
//! whichever it is. That is enough:
//!
//! - *While somebody waits and a step could be taken, another thread is awake that comes by at once.* A step
//!   becomes possible when a job is pushed, which wakes one, or when a step is done, and whoever did it comes
//!   by itself. Whoever takes a step and leaves another one wakes one. A thread that is woken and goes away
//!   without a step leaves none (all is done, or the run has failed), or it has found room and pushes, which
//!   wakes one.
//! - *While anything is left, a thread is at work or a step can be taken.* Pieces wait only for the piece
//!   that is being written, and jobs only for pieces. In a stream, where pieces are written in the order of
//!   their offsets, they wait for one that comes before them: the job that it comes of is being read, or it
//!   is the first of those that wait, and is read whatever else is waiting.
//! - *When nothing is left, all are woken*, and again when the walk ends. This is what those wait for who
//!   wait for the end, and whoever waits for room has it then at the latest. (It is mostly woken long before
//!   that, as each step that is done wakes one more.)
//!
//! The tests hold these three sentences against every order in which a few threads can come by.

use std::collections::VecDeque;

/// What a thread is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Until {
    /// One more job can be pushed, or the run has failed.
    Room,
    /// All that was pushed is written, or the run has failed.
    Written,
    /// The walk has ended, and nothing is left.
    Ended,
}

/// What a thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<J, P> {
    /// What it was there for has come.
    Over,
    /// This, when it has woken others.
    Do(Work<J, P>, Wake),
    /// Wait until it is woken, and ask again.
    Wait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work<J, P> {
    Read(J),
    Write(P),
}

/// Which of the waiting threads are to be woken.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    Nobody,
    One,
    All,
}

/// What has its place in the archive.
pub(super) trait Located {
    /// Where it begins, or what comes of it next.
    fn at(&self) -> u64;
    /// How many bytes it has, where that is known.
    fn len(&self) -> u64;
}

/// The state: what is to be done, and what is being done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct WorkQueue<J, P> {
    jobs: VecDeque<J>,
    pieces: VecDeque<P>,
    /// A thread is writing.
    writing: bool,
    /// How many threads are reading.
    reading: usize,
    /// The walk has ended.
    closed: bool,
    stopped: bool,
    /// How many jobs wait at most, before the walking thread takes part in doing them.
    max_jobs: usize,
    /// How many pieces wait when nothing more is read.
    max_pieces: usize,
    /// Where pieces are written in the order of their offsets: the offset of the next one.
    in_order: Option<u64>,
}

impl<J: Located, P: Located> WorkQueue<J, P> {
    /// With `in_order` pieces are written in the order of their offsets, from that one on.
    pub(super) fn new(max_jobs: usize, max_pieces: usize, in_order: Option<u64>) -> Self {
        WorkQueue {
            jobs: VecDeque::new(),
            pieces: VecDeque::new(),
            writing: false,
            reading: 0,
            closed: false,
            stopped: false,
            max_jobs,
            max_pieces,
            in_order,
        }
    }

    pub(super) fn next(&mut self, until: Until) -> Next<J, P> {
        let over = match until {
            Until::Room => self.stopped || self.jobs.len() < self.max_jobs,
            Until::Written => self.is_idle(),
            Until::Ended => self.closed && self.is_idle(),
        };
        if over {
            return Next::Over;
        }
        match self.take() {
            Some(step) => Next::Do(step, if self.has_step() { Wake::One } else { Wake::Nobody }),
            None => Next::Wait,
        }
    }

    /// Adds a job, for which there is room.
    pub(super) fn push(&mut self, job: J) -> Wake {
        self.jobs.push_back(job);
        Wake::One
    }

    /// The piece that was being written is.
    pub(super) fn wrote(&mut self) -> Wake {
        self.writing = false;
        self.after_step()
    }

    /// A step of a job is done: `pieces` come of it, and `rest` is left of it.
    pub(super) fn read(&mut self, pieces: impl IntoIterator<Item = P>, rest: Option<J>) -> Wake {
        self.reading = self.reading.saturating_sub(1);
        if !self.stopped {
            self.pieces.extend(pieces);
            // Before those that come after it: files are finished, and closed, in their order.
            if let Some(rest) = rest {
                let place = self.jobs.iter().take_while(|job| job.at() < rest.at()).count();
                self.jobs.insert(place, rest);
            }
        }
        self.after_step()
    }

    /// Nothing that was not begun is done any more.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.jobs.clear();
        self.pieces.clear();
    }

    /// No more will come. If anything is left, the walk has failed, and it is not done.
    pub(super) fn close(&mut self) -> Wake {
        self.closed = true;
        self.stop();
        Wake::All
    }

    /// A thread is gone in the middle of a step, and nobody is to wait for it.
    pub(super) fn abort(&mut self) -> Wake {
        (self.reading, self.writing) = (0, false);
        self.close()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn take(&mut self) -> Option<Work<J, P>> {
        if let Some(piece) = self.next_piece().and_then(|place| self.pieces.remove(place)) {
            self.writing = true;
            if let Some(next) = &mut self.in_order {
                *next += piece.len();
            }
            return Some(Work::Write(piece));
        }
        if self.may_read()
            && let Some(job) = self.jobs.pop_front()
        {
            self.reading += 1;
            return Some(Work::Read(job));
        }
        None
    }

    fn has_step(&self) -> bool {
        self.next_piece().is_some() || self.may_read()
    }

    /// Which piece can be written now.
    fn next_piece(&self) -> Option<usize> {
        match self.in_order {
            _ if self.writing => None,
            None => (!self.pieces.is_empty()).then_some(0),
            Some(next) => self.pieces.iter().position(|piece| piece.at() == next),
        }
    }

    /// Whether a job can be read now.
    fn may_read(&self) -> bool {
        let first = self.jobs.front();
        first.is_some_and(|job| self.pieces.len() < self.max_pieces || self.in_order == Some(job.at()))
    }

    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.pieces.is_empty() && !self.writing && self.reading == 0
    }

    fn after_step(&self) -> Wake {
        if self.is_idle() { Wake::All } else { Wake::One }
    }
}

#[cfg(test)]
mod tests;
