//! Bytes to and from a container: many, slowly, and not to their end.

use std::fs;
use std::future::pending;
use std::io::{self, ErrorKind, Read, Write};
use std::thread::sleep;
use std::time::Duration;

use snapshotter_engine::helper::{Finished, Helpers, Streams};
use snapshotter_engine::lease::State;
use snapshotter_engine::{Error, Result};

use crate::driver::with_engine;
use crate::helper::{DONE, owners, shell};
use crate::sandbox::{image, is_podman};

/// A length that no buffer has.
const PERIOD: usize = 1_000_003;

/// Bytes that differ by where they are.
#[derive(Debug, Clone)]
struct Pattern {
    block: Vec<u8>,
    position: u64,
    length: u64,
    /// What happens at the end.
    fails: bool,
    /// How long the first write takes.
    delay: Duration,
}

impl Pattern {
    fn new(length: u64) -> Self {
        // A linear congruence, of which the upper bits are taken.
        let mut state = 1_u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        Pattern {
            block: (0..PERIOD).map(next).collect(),
            position: 0,
            length,
            fails: false,
            delay: Duration::ZERO,
        }
    }

    /// The next of them, at most `most`.
    fn next(&mut self, most: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.length - self.position).unwrap();
        if left == 0 && self.fails {
            return Err(io::Error::from(ErrorKind::StorageFull));
        }
        let at = usize::try_from(self.position).unwrap() % PERIOD;
        let length = most.min(PERIOD - at).min(left);
        self.position += length as u64;
        Ok(&self.block[at..at + length])
    }
}

impl Read for Pattern {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let next = self.next(to.len())?;
        to[..next.len()].copy_from_slice(next);
        Ok(next.len())
    }
}

impl Write for Pattern {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sleep(std::mem::take(&mut self.delay));
        let next = self.next(bytes.len())?;
        assert!(!next.is_empty() && bytes.starts_with(next), "another byte came");
        Ok(next.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends `input` through `script`.
fn through(script: &str, input: Option<Pattern>, output: Pattern) -> Result<Finished<Pattern>> {
    let state = tempfile::tempdir().unwrap();
    let mut spec = shell(script, Vec::new());
    spec.reads_input = input.is_some();
    let input = input.map(|input| Box::new(input) as Box<dyn Read + Send>);
    let finished = with_engine(async |engine| {
        let helpers = Helpers::new(&engine, &State::at(state.path()), Some(&image())).await.unwrap();
        let prepared = helpers.prepare(spec, &|_| {}).await.unwrap();
        prepared.run(Streams { input, output }, &|_| {}, pending()).await
    });
    assert!(!owners(state.path()));
    finished
}

/// The most memory that this process has had since this was last asked, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn gigabytes_go_there_and_back_in_little_memory_also_when_nobody_takes_them() {
    let length = if is_podman() { 256 << 20 } else { 2 << 30 };
    let output = Pattern { delay: Duration::from_secs(3), ..Pattern::new(length) };
    peak();
    let finished = through(&format!("cat; {DONE}"), Some(Pattern::new(length)), output).unwrap();
    let peak = peak();
    assert_eq!((finished.bytes, finished.output.position), (length, length));
    assert!(peak <= 64 << 10, "{peak} KiB");
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn inputs_of_any_length_end() {
    for length in [0, 1, 4095, 4096, 262_144, 262_145] {
        let finished = through(&format!("cat; {DONE}"), Some(Pattern::new(length)), Pattern::new(length));
        assert_eq!(finished.unwrap().bytes, length);
    }
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn whoever_takes_only_a_part_of_its_input_may() {
    let input = Pattern::new(64 << 20);
    let finished = through(&format!("head -c 1000; {DONE}"), Some(input), Pattern::new(1000));
    // Podman ends the whole stream, or resets it, when a container closes its input: what came is not believed
    // then.
    if !is_podman() || finished.is_ok() {
        assert_eq!(finished.unwrap().bytes, 1000);
    }
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn a_full_disk_on_this_side_ends_the_helper() {
    let output = Pattern { fails: true, ..Pattern::new(10 << 20) };
    let error =
        through("trap 'exit 0' TERM; cat & wait; cat", Some(Pattern::new(1 << 30)), output).unwrap_err();
    let Error::Output { source } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
}

#[test]
#[ignore = "needs a Docker Engine: make host-e2e"]
fn an_input_that_fails_is_no_end() {
    let input = Pattern { fails: true, ..Pattern::new(10 << 20) };
    let error = through(&format!("cat; {DONE}"), Some(input), Pattern::new(20 << 20)).unwrap_err();
    assert!(matches!(error, Error::Input { .. }), "{error}");
}
