//! What is shown while a run goes on: a bar on a terminal, a line every ten seconds elsewhere, and with
//! `--events json` a few events a second. The library calls this for each member and each buffer, from
//! several threads, so a call only adds to a counter; a thread of its own looks at the counters and draws,
//! also while one long call is under way.

mod meter;

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use snapshotter::observer::{Observer, Phase, Warning};
use snapshotter::report::Event;

use crate::cli::progress::meter::Meter;
use crate::cli::stderr::{EventFormat, say};

const BAR_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(10);
const EVENT_EVERY: Duration = Duration::from_millis(150);

/// Shows progress, notes and warnings on stderr. When it is dropped the bar is gone.
#[derive(Debug)]
pub(crate) struct ProgressDisplay {
    style: Style,
    events: EventFormat,
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
    Events,
}

impl Style {
    fn every(self) -> Duration {
        match self {
            Style::Bar => BAR_EVERY,
            Style::Nothing | Style::Lines => LINE_EVERY,
            Style::Events => EVENT_EVERY,
        }
    }
}

#[derive(Debug, Default)]
struct Counters {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    /// Members and bytes.
    fn read(&self) -> (u64, u64) {
        (self.files.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl ProgressDisplay {
    pub(crate) fn new(events: EventFormat, verbose: bool, quiet: bool, no_progress: bool) -> Self {
        let style = if quiet || no_progress {
            Style::Nothing
        } else if events == EventFormat::Json {
            Style::Events
        } else if io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            && !verbose
        {
            Style::Bar
        } else {
            // Names that rush by leave no place for a bar.
            Style::Lines
        };
        ProgressDisplay { style, events, verbose, quiet, counters: Arc::default(), drawing: Mutex::default() }
    }

    /// Writes `event` where no bar is in the way.
    fn write(&self, event: &Event) {
        match &*self.drawing() {
            Some(Drawing { bar: Some(bar), .. }) => bar.suspend(|| self.events.write(event)),
            _ => self.events.write(event),
        }
    }

    fn drawing(&self) -> MutexGuard<'_, Option<Drawing>> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for ProgressDisplay {
    fn warning(&self, warning: &Warning) {
        self.write(&Event::Warning(warning.clone()));
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            self.write(&Event::Note { text: text.to_owned() });
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
        if self.style == Style::Events {
            self.events.write(&Event::Begin { phase, bytes });
        }
        *drawing = Some(Drawing::start(self.style, Meter::new(phase, bytes), Arc::clone(&self.counters)));
    }

    fn member(&self, name: &[u8]) {
        self.counters.files.fetch_add(1, Ordering::Relaxed);
        if self.verbose {
            self.write(&Event::Member { name: name.to_vec() });
        }
    }

    fn bytes(&self, count: u64) {
        self.counters.bytes.fetch_add(count, Ordering::Relaxed);
    }
}

/// What draws one phase: a thread. Dropping this ends it, takes the bar away, and writes the last event of
/// progress.
#[derive(Debug)]
struct Drawing {
    style: Style,
    bar: Option<ProgressBar>,
    counters: Arc<Counters>,
    /// Its end is what ends the thread.
    stop: Option<mpsc::Sender<()>>,
    /// `None` when there is no thread to be had: the work goes on without.
    thread: Option<JoinHandle<()>>,
}

impl Drawing {
    fn start(style: Style, mut meter: Meter, counters: Arc<Counters>) -> Self {
        let bar = (style == Style::Bar).then(|| new_bar(&meter));
        let (stop, stopped) = mpsc::channel();
        let (drawn, counted) = (bar.clone(), Arc::clone(&counters));
        let draw = move || {
            let started = Instant::now();
            let mut last = (0, 0);
            while stopped.recv_timeout(style.every()) == Err(RecvTimeoutError::Timeout) {
                let now @ (files, bytes) = counted.read();
                if style == Style::Events {
                    if now != last {
                        write_progress(now);
                    }
                    last = now;
                    continue;
                }
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
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(draw).ok();
        Drawing { style, bar, counters, stop: Some(stop), thread }
    }
}

fn write_progress((files, bytes): (u64, u64)) {
    EventFormat::Json.write(&Event::Progress { files, bytes });
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
        if self.style == Style::Events {
            write_progress(self.counters.read());
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
        let progress = ProgressDisplay {
            style: Style::Lines,
            ..ProgressDisplay::new(EventFormat::Text, false, true, true)
        };
        progress.begin(Phase::Restoring, Some(8));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| progress.bytes(2)));
            }
        });
        assert_eq!(progress.counters.read(), (0, 8000));
        progress.begin(Phase::Verifying, None);
        assert_eq!(progress.counters.read(), (0, 0));
    }
}
