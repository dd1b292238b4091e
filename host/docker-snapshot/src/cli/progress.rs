//! Shows what a job tells: lines for what is worth one, and how far it is. On a terminal that is one line
//! that changes, elsewhere a line every ten seconds.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use snapshotter::report::Event;
use snapshotter_engine::hold;
use snapshotter_engine::lease::Manner;

use crate::cli::{output, recover, size};
use crate::job::tell::Notice;

/// How often a line is written where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(10);

/// What is shown.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    step: RefCell<String>,
    bytes: Cell<u64>,
    last: Cell<Instant>,
}

impl Progress {
    /// On stderr.
    pub(crate) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg} {bytes} ({bytes_per_sec})");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        Progress { bar, step: RefCell::default(), bytes: Cell::new(0), last: Cell::new(Instant::now()) }
    }

    /// Shows `notice`.
    pub(crate) fn show(&self, notice: &Notice<'_>) {
        match notice {
            Notice::Note(text) => self.say(text),
            Notice::Warning(text) => self.say(&format!("warning: {text}")),
            Notice::Hold(event) => self.hold(event),
            Notice::Core(Event::Warning(warning)) => self.say(&format!("warning: {warning}")),
            Notice::Core(Event::Note { text }) => self.say(text),
            Notice::Core(Event::Progress { bytes, .. }) => self.bytes(*bytes),
            Notice::Core(_) => {}
            Notice::Step(step) => self.step(step),
            Notice::Bytes(more) => self.bytes(self.bytes.get() + more),
            Notice::Done => self.done(),
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::say(text)),
            None => output::say(text),
        }
    }

    fn hold(&self, event: &hold::Event<'_>) {
        match event {
            hold::Event::Holding(name, Manner::Stop) => self.say(&format!("stopping {name}")),
            hold::Event::Holding(name, Manner::Pause) => self.say(&format!("pausing {name}")),
            hold::Event::Killed(name) => self.say(&format!(
                "warning: {name} did not end in the time that it has to stop, and was killed: what it had \
                 not \
                 written is not in the snapshot"
            )),
            hold::Event::Resumed(name) => self.say(&format!("{name} runs again")),
            event => match &self.bar {
                Some(bar) => bar.suspend(|| recover::tell(event)),
                None => recover::tell(event),
            },
        }
    }

    fn step(&self, step: &str) {
        step.clone_into(&mut self.step.borrow_mut());
        self.bytes.set(0);
        self.last.set(Instant::now());
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_message(step.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    fn bytes(&self, bytes: u64) {
        self.bytes.set(bytes);
        match &self.bar {
            Some(bar) => bar.set_position(bytes),
            None if self.last.get().elapsed() >= INTERVAL => {
                self.last.set(Instant::now());
                output::say(&format!("{}: {}", self.step.borrow(), size::bytes(bytes)));
            }
            None => {}
        }
    }

    fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
