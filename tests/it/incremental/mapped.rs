//! What is written through mapped memory, which sets a file's time only now and then.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Nights;
use crate::support::{Tree, need, sandboxed};

/// A process that has a file mapped, and writes to it as it is told.
struct Mapping(Child);

impl Mapping {
    fn of(path: &Path) -> Self {
        let script = "import mmap, sys\n\
            file = open(sys.argv[1], 'r+b')\n\
            memory = mmap.mmap(file.fileno(), 0)\n\
            for line in sys.stdin:\n    memory[0:1] = line[:1].encode()\n    print('done', flush=True)\n";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        Mapping(command.spawn().unwrap())
    }

    fn write(&mut self, byte: char) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{byte}").unwrap();
        let mut answer = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_written_to_a_page_that_was_dirty_when_it_was_read_is_stored_the_next_time() {
    if !need("python3") || !need("mkfs.ext4") {
        return;
    }
    sandboxed(|s| {
        let volume = Tree::at(s.filesystem("fs", "ext4", 64).join("vol")).file("a", [b'a'; 5000]).done();
        let mut nights = Nights::of(s, volume);
        let mut mapping = Mapping::of(&nights.path("a"));
        mapping.write('b');
        nights.backup();
        // Had nothing brought the page to disk, this would leave the file's times as they are.
        mapping.write('c');
        assert_eq!(fs::read(nights.path("a")).unwrap()[0], b'c');
        nights.backup();
        drop(mapping);
        nights.assert_all();
    });
}

#[test]
fn in_memory_where_that_cannot_be_seen_it_is_said() {
    sandboxed(|s| {
        let volume = Tree::at(s.tmpfs("memory", "size=4m").join("vol")).file("a", "a").done();
        let mut nights = Nights::of(s, volume);
        let (_, notes) = nights.noted_all();
        assert!(
            notes.iter().any(|note| note.contains("mapped memory") && note.contains("--full")),
            "{notes:?}"
        );
    });
}
