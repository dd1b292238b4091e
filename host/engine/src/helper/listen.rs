//! What the core says while it works: one event a line on its errors. What is no event was said by whoever
//! came before it, or by a core that fell: its last lines are kept for the message.

use std::cell::RefCell;

use snapshotter::report::{End, Event, Warning};

use crate::helper::names::Names;

/// The longest line that may be an event: a report has a thousand warnings with paths. Longer ones are passed
/// over.
const LINE: usize = 16 << 20;
/// What follows the last snapshot of an archive: two blocks of zeros (docs/format.md).
const ARCHIVE_END: u64 = 1024;
/// How much is kept of what is no event.
const SAID: usize = 2048;

/// What is told while a helper is made, works and goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told<'a> {
    /// The container with this name was made.
    Made(&'a str),
    /// It is about to be started, and what it says will be heard.
    Attached,
    /// It works.
    Started,
    /// The core says this; paths in it are named by volume.
    Core(&'a Event),
    /// It has ended.
    Ended,
    /// The container was removed.
    Removed,
    /// The container with this name could not be removed. `docker snapshot recover` does it.
    Left(&'a str, &'a crate::Error),
}

/// Hears what is told.
pub(super) type Observer<'a> = &'a dyn Fn(&Told<'_>);

/// Takes the lines apart.
pub(super) struct Listener<'a> {
    names: &'a Names,
    observer: Observer<'a>,
    heard: RefCell<Heard>,
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    line: Vec<u8>,
    said: Vec<u8>,
    /// How the run ended, where the core said so.
    pub(super) end: Option<End>,
    /// How long the archive is that the core has written to its output, where it has.
    pub(super) archive: Option<u64>,
}

impl<'a> Listener<'a> {
    pub(super) fn new(names: &'a Names, observer: Observer<'a>) -> Self {
        Listener { names, observer, heard: RefCell::default() }
    }

    pub(super) fn hear(&self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let line = {
                let mut heard = self.heard.borrow_mut();
                if heard.line.len() < LINE {
                    heard.line.extend_from_slice(&piece[..piece.len().min(LINE)]);
                }
                if !piece.ends_with(b"\n") {
                    continue;
                }
                std::mem::take(&mut heard.line)
            };
            self.line(&line);
        }
    }

    /// All that was heard, when nothing more comes.
    pub(super) fn finish(self) -> Heard {
        let mut heard = self.heard.into_inner();
        let line = std::mem::take(&mut heard.line);
        heard.keep(&line);
        heard
    }

    fn line(&self, line: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Event>(line) else {
            return self.heard.borrow_mut().keep(line);
        };
        let event = self.renamed(event);
        match &event {
            Event::End(end) => self.heard.borrow_mut().end = Some(end.clone()),
            Event::Report(report) => self.heard.borrow_mut().archive = Some(report.bytes + ARCHIVE_END),
            _ => {}
        }
        (self.observer)(&Told::Core(&event));
    }

    fn renamed(&self, event: Event) -> Event {
        match event {
            Event::Warning(Warning { path, reason }) => {
                Event::Warning(Warning { path: self.names.path(&path), reason: self.names.text(&reason) })
            }
            Event::Note { text } => Event::Note { text: self.names.text(&text) },
            Event::End(mut end) => {
                if let Some(error) = &mut end.error {
                    error.message = self.names.text(&error.message);
                    error.advice = error.advice.take().map(|advice| self.names.text(&advice));
                }
                Event::End(end)
            }
            other => other,
        }
    }
}

impl Heard {
    fn keep(&mut self, line: &[u8]) {
        self.said.extend_from_slice(line);
        let surplus = self.said.len().saturating_sub(SAID);
        self.said.drain(..surplus);
    }

    /// What was said last that is no event. A command line that is refused says what is wrong before it says
    /// what is right.
    pub(super) fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.said);
        let mut lines = text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        let last = lines.clone().next();
        lines.find(|line| line.starts_with("error:")).or(last).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::spec::{Mount, Spec};

    #[test]
    fn events_are_told_however_they_are_cut_and_the_rest_is_kept() {
        let mut spec = Spec::new(["backup"], &[]);
        spec.mounts.push(Mount::read("data", "/volumes/0"));
        let names = Names::of(&spec);
        let stream = b"exec failed\n{\"event\":\"warning\",\"path\":\"/volumes/0/a\",\"reason\":\"it is a socket\"}\n\
            {\"event\":\"end\",\"ok\":false,\"exit_code\":1,\"error\":{\"message\":\"cannot read /volumes/0/b\",\
            \"hint\":null,\"advice\":null}}\npanicked at";
        for length in 1..=stream.len() {
            let told = RefCell::new(Vec::new());
            let observer = |event: &Told<'_>| told.borrow_mut().push(format!("{event:?}"));
            let listener = Listener::new(&names, &observer);
            stream.chunks(length).for_each(|piece| listener.hear(piece));
            let heard = listener.finish();
            let end = heard.end.as_ref().unwrap();
            assert_eq!(end.error.as_ref().unwrap().message, "cannot read data:/b");
            assert_eq!(heard.last_line().unwrap(), "panicked at");
            assert_eq!(told.borrow().len(), 2);
        }
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_memory() {
        let spec = Spec::new(["backup"], &[]);
        let names = Names::of(&spec);
        let listener = Listener::new(&names, &|_| {});
        for _ in 0..400 {
            listener.hear(&vec![b'x'; 100_000]);
        }
        assert!(listener.heard.borrow().line.len() <= 2 * LINE);
        listener.hear(b"\n{\"event\":\"end\",\"ok\":true,\"exit_code\":0}\n");
        let heard = listener.finish();
        assert!(heard.end.is_some() && heard.said.len() <= SAID);
    }
}
