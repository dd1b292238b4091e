//! Threads that do one kind of work on block after block, whose results are taken in the order of the blocks.
//! Whoever hands blocks over keeps the results in a bounded queue, and that bounds the memory.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// More threads than this would outrun what encrypts and hashes, which is one.
const MOST: usize = 6;

/// How many threads work on blocks unless a number is given: one a processor, at most six.
pub(super) fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(MOST)
}

/// How many results may wait: as many as keep all threads busy while one result is being used.
pub(super) fn waiting(threads: usize) -> usize {
    threads + 1
}

/// The threads. They end when this is dropped, after what they were handed.
#[derive(Debug)]
pub(super) struct Crew<I, O> {
    jobs: Sender<(I, SyncSender<O>)>,
}

/// A result that may not be there yet.
#[derive(Debug)]
pub(super) struct Pending<O>(Receiver<O>);

impl<I: Send + 'static, O: Send + 'static> Crew<I, O> {
    /// Starts `threads` threads; each gets a worker of its own from `worker`.
    pub(super) fn start<W>(threads: usize, worker: impl Fn() -> W) -> Self
    where
        W: FnMut(I) -> O + Send + 'static,
    {
        let (jobs, queue) = channel::<(I, SyncSender<O>)>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads.max(1) {
            let (queue, mut work) = (Arc::clone(&queue), worker());
            thread::spawn(move || {
                while let Some((input, result)) = next(&queue) {
                    // Nobody waits for it when a run was given up.
                    let _ = result.send(work(input));
                }
            });
        }
        Self { jobs }
    }

    /// Hands a block over.
    pub(super) fn hand(&self, input: I) -> Pending<O> {
        let (sender, result) = sync_channel(1);
        // Where no thread is left, the result never comes, and its receiver says so.
        let _ = self.jobs.send((input, sender));
        Pending(result)
    }
}

impl<O> Pending<O> {
    /// Waits for it; `None` if the thread that had it is gone.
    pub(super) fn wait(self) -> Option<O> {
        self.0.recv().ok()
    }
}

fn next<J>(queue: &Mutex<Receiver<J>>) -> Option<J> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_taken_in_the_order_of_the_blocks() {
        let crew = Crew::start(4, || {
            |n: u64| {
                thread::sleep(std::time::Duration::from_micros(n * 7919 % 500));
                n * n
            }
        });
        let pending: Vec<_> = (0..200).map(|n| crew.hand(n)).collect();
        drop(crew);
        assert!(pending.into_iter().map(Pending::wait).eq((0..200).map(|n| Some(n * n))));
    }
}
