//! What both targets share: the thread that may write nowhere but in its scratch filesystem, and the mutator.

use std::backtrace::Backtrace;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use crate::confine::Scratch;
use crate::mutate;

type Work = fn(&Scratch, &[u8]);

/// The way to the thread, and back: whether there was no panic.
struct Line {
    to: Sender<(Vec<u8>, Work)>,
    from: Receiver<bool>,
}

/// Runs `work` in a thread of its own mount namespace, and waits for it. Ends the process if there can be
/// none.
pub(crate) fn confined(data: &[u8], work: Work) {
    static LINE: OnceLock<Mutex<Line>> = OnceLock::new();
    let line = LINE.get_or_init(|| Mutex::new(start())).lock().unwrap();
    line.to.send((data.to_vec(), work)).unwrap();
    if line.from.recv() != Ok(true) {
        // Here, since there the fuzzer could not write down what led to it.
        std::process::abort();
    }
}

fn start() -> Line {
    std::panic::set_hook(Box::new(|info| eprintln!("{info}\n{}", Backtrace::force_capture())));
    let ((to, work), (done, from)) = (channel::<(Vec<u8>, Work)>(), channel());
    thread::spawn(move || {
        SigSet::from_iter([Signal::SIGALRM, Signal::SIGINT, Signal::SIGTERM]).thread_block().unwrap();
        let scratch = Scratch::enter();
        let mut count = 0u32;
        for (data, run) in work {
            let ran = catch_unwind(AssertUnwindSafe(|| run(&scratch, &data)));
            count += 1;
            if count % 1000 == 1 {
                Scratch::assert_confined();
            }
            done.send(ran.is_ok()).unwrap();
        }
    });
    Line { to, from }
}

/// Mostly changes that keep an archive one; now and then any bytes, whose checksums are made right or not.
pub(crate) fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = mutate::Dice(u64::from(seed));
    let (size, new) = match dice.below(8) {
        0 => return libfuzzer_sys::fuzzer_mutate(data, size, max_size),
        1 | 2 => {
            let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
            let (members, tail) = crate::craft::parse(&data[..size]);
            (size, crate::craft::write(&members, &tail))
        }
        _ => (size, mutate::archive(&data[..size], u64::from(seed))),
    };
    if new.len() > max_size {
        return size;
    }
    data[..new.len()].copy_from_slice(&new);
    new.len()
}
