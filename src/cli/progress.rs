//! What is shown while a run goes on: a bar on a terminal, a line every ten seconds elsewhere. The library calls this
//! for each member and each buffer, from several threads, so that a call only adds to a counter; a thread of its own
//! looks at the counters and draws, also while one long call is under way.

mod meter;

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use snapshotter::name::Shown;
use snapshotter::observer::{Observer, Phase, Warning};

use crate::cli::output::{say, to_stderr};
use crate::cli::progress::meter::Meter;

const BAR_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows progress, notes and warnings on stderr. When it is dropped the bar is gone.
#[derive(Debug)]
pub(crate) struct Progress {
    style: Style,
    verbose: bool,
    quiet: bool,
    counters: Arc<Counters>,
    drawing: Mutex<Option<Drawing>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Nothing,
    Lines,
    Bar,
}

#[derive(Debug, Default)]
struct Counters {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    pub(crate) fn new(verbose: bool, quiet: bool, no_progress: bool) -> Self {
        let style = if quiet || no_progress {
            Style::Nothing
        } else if io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            && !verbose
        {
            Style::Bar
        } else {
            // Names that rush by leave no place for a bar.
            Style::Lines
        };
        Progress { style, verbose, quiet, counters: Arc::default(), drawing: Mutex::default() }
    }

    /// Does `write` where no bar is in the way.
    fn above(&self, write: impl FnOnce()) {
        match &*self.drawing() {
            Some(Drawing { bar: Some(bar), .. }) => bar.suspend(write),
            _ => write(),
        }
    }

    fn drawing(&self) -> MutexGuard<'_, Option<Drawing>> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Progress {
    fn warning(&self, warning: &Warning) {
        self.above(|| say(&format!("warning: {warning}")));
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            self.above(|| say(text));
        }
    }

    fn begin(&self, phase: Phase, bytes: Option<u64>) {
        if self.style == Style::Nothing {
            return;
        }
        let mut drawing = self.drawing();
        // The former phase's thread ends before the counters start anew.
        drop(drawing.take());
        self.counters.files.store(0, Ordering::Relaxed);
        self.counters.bytes.store(0, Ordering::Relaxed);
        *drawing = Drawing::start(self.style, Meter::new(phase, bytes), Arc::clone(&self.counters));
    }

    fn member(&self, name: &[u8]) {
        self.counters.files.fetch_add(1, Ordering::Relaxed);
        if self.verbose {
            self.above(|| to_stderr(&format!("{}\n", Shown::from(name))));
        }
    }

    fn bytes(&self, count: u64) {
        self.counters.bytes.fetch_add(count, Ordering::Relaxed);
    }
}

/// The thread that draws. Dropping this ends it, and takes the bar away.
#[derive(Debug)]
struct Drawing {
    bar: Option<ProgressBar>,
    /// Its end is what ends the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drawing {
    /// `None` when there is no thread to be had: the work goes on without.
    fn start(style: Style, mut meter: Meter, counters: Arc<Counters>) -> Option<Self> {
        let bar = (style == Style::Bar).then(|| new_bar(&meter));
        let (stop, stopped) = mpsc::channel();
        let drawn = bar.clone();
        let draw = move || {
            let started = Instant::now();
            let every = if drawn.is_some() { BAR_EVERY } else { LINE_EVERY };
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let files = counters.files.load(Ordering::Relaxed);
                let bytes = counters.bytes.load(Ordering::Relaxed);
                let text = meter.read(started.elapsed().as_secs_f64(), files, bytes);
                match &drawn {
                    Some(bar) => {
                        bar.set_message(text);
                        bar.set_position(bytes);
                    }
                    None => say(&text),
                }
            }
        };
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(draw).ok()?;
        Some(Drawing { bar, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to return, and if it panicked the work goes on without it.
            let _ = thread.join();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(meter: &Meter) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(meter.total(), ProgressDrawTarget::stderr());
    let bar = bar.with_message(meter.doing());
    // The message says all; where the terminal is narrow, its end is cut off.
    let template = if meter.total().is_some() { "{bar:10} {wide_msg}" } else { "{spinner} {wide_msg}" };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_across_threads_and_start_anew_with_a_phase() {
        let progress = Progress { style: Style::Lines, ..Progress::new(false, true, true) };
        progress.begin(Phase::Restoring, Some(8));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| progress.bytes(2)));
            }
        });
        assert_eq!(progress.counters.bytes.load(Ordering::Relaxed), 8000);
        progress.begin(Phase::Verifying, None);
        assert_eq!(progress.counters.bytes.load(Ordering::Relaxed), 0);
    }
}
