//! Files that are made to take memory or time. Each is read in a process of its own, whose peak of memory is the
//! kernel's word, and comes from a generator: what is handed in is not in memory.

use std::io::{self, Cursor, Read, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use snapshotter_vault::encode::{
    Compression, Decoder, Encoding, Encryption, Keys, ReadAt, Result, SeekableDecoder,
};

use super::data::{file, passphrase};

/// What reading anything may take, the test's own program included.
const ENOUGH: u64 = 96 << 20;
const SLOW: Duration = Duration::from_mins(2);
const CHILD: &str = "SNAPSHOTTER_TEST_HOSTILE";

const ZSTD: Encoding = Encoding { compression: Compression::ZSTD, encryption: Encryption::None };
const GZIP: Encoding = Encoding { compression: Compression::GZIP, encryption: Encryption::None };

/// What is to come of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is what it claims, however much that is.
    Read(u64),
    /// It is refused, when no more than so much was handed out.
    Refused(u64),
}
use Fate::{Read as Whole, Refused};

/// Something to read, and what comes of it with how much memory.
type Case = (&'static str, fn() -> (u64, Result<(), String>), Fate, u64);

const CASES: &[Case] = &[
    ("two GiB of zeros in one frame", zeros, Whole(2 << 30), ENOUGH),
    ("the same, cut off", zeros_cut, Refused(2 << 30), ENOUGH),
    ("the same with the largest window", zeros_wide, Whole(2 << 30), ENOUGH + (130 << 20)),
    ("frames of 4 MiB in a hundred bytes each", many_frames, Whole(2 << 30), ENOUGH),
    ("frames that hold more than they say", frames_that_lie, Refused(0), ENOUGH),
    ("a window of gigabytes", wide, Refused(0), ENOUGH),
    ("skippable frames without end", skippable, Whole(4 << 20), ENOUGH),
    ("the same, behind a promise of a table", skippable_promised, Refused(0), ENOUGH),
    ("a skippable frame of 4 GiB that is cut off", skippable_large, Refused(4 << 20), ENOUGH),
    ("frames of nothing but empty blocks", empty_blocks, Refused(0), ENOUGH),
    ("a gzip member of 1 GiB in 1 MiB", gzip_zeros, Whole(1 << 30), ENOUGH),
    ("a gzip header without end", gzip_header, Refused(0), ENOUGH),
    ("an age header without end", age_header, Refused(0), ENOUGH),
    ("an OpenPGP file that claims gigabytes", openpgp_lengths, Refused(0), ENOUGH),
    ("an OpenPGP file of 256 MiB in 1 MiB", openpgp_zeros, Whole(256 << 20), ENOUGH),
    ("a seek table that claims more than there is", table_claims, Refused(0), ENOUGH),
    ("a seek table of sixteen million frames", table_long, Refused(0), ENOUGH),
    ("a seek table with a frame of 4 GiB", table_large_frame, Refused(0), ENOUGH),
    (
        "a seek table of a million frames that are not there",
        table_of_nothing,
        Refused(0),
        ENOUGH + (80 << 20),
    ),
];

#[test]
fn whatever_a_file_claims_memory_and_time_are_bounded() {
    for (name, _, fate, memory) in CASES {
        let since = Instant::now();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hostile::child_that_reads_it", "--nocapture"])
            .env(CHILD, name)
            .output()
            .unwrap();
        let took = since.elapsed();
        let text = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success(), "{name}: {:?} {text} {}", child.status, stderr(&child.stderr));
        let line = text.lines().find_map(|line| line.split_once("REPORT ")).expect("a report").1;
        let mut words = line.splitn(3, ' ');
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let (peak, out) = (number(), number());
        let problem = words.next().unwrap_or_default();
        println!("{name}: {} MiB, {took:?}, {out} bytes, {problem:?}", peak >> 20);
        match fate {
            Whole(size) => assert!(out == *size && problem.is_empty(), "{name}: {out} {problem}"),
            Refused(most) => assert!(out <= *most && !problem.is_empty(), "{name}: {out} bytes"),
        }
        assert!(peak <= *memory, "{name} took {} MiB", peak >> 20);
        assert!(took < SLOW, "{name} took {took:?}");
    }
}

fn stderr(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Not a test: what the test above starts.
#[test]
fn child_that_reads_it() {
    let Ok(name) = std::env::var(CHILD) else { return };
    let (_, work, ..) = CASES.iter().find(|(known, ..)| *known == name).unwrap();
    let (out, result) = work();
    println!("\nREPORT {} {out} {}", super::damage::peak_memory(), result.err().unwrap_or_default());
}

/// Bytes, then others again and again, then an end.
struct Repeat {
    head: Cursor<Vec<u8>>,
    body: Vec<u8>,
    at: usize,
    times: u64,
    end: Cursor<Vec<u8>>,
}

fn repeat(head: &[u8], body: &[u8], times: u64, end: &[u8]) -> Repeat {
    // Many at once, so that the generator is not what takes the time.
    let mut many = 1;
    while many * body.len() < 65_536 && times.is_multiple_of(many as u64 * 2) {
        many *= 2;
    }
    Repeat {
        head: Cursor::new(head.to_vec()),
        body: body.repeat(many),
        at: 0,
        times: times / many as u64,
        end: Cursor::new(end.to_vec()),
    }
}

impl Read for Repeat {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.head.read(out)? {
            0 if self.times > 0 => {
                let count = (&self.body[self.at..]).read(out)?;
                self.at += count;
                if self.at == self.body.len() {
                    (self.at, self.times) = (0, self.times - 1);
                }
                Ok(count)
            }
            0 => self.end.read(out),
            count => Ok(count),
        }
    }
}

/// Reads all of it; gives how many bytes came, and why no more.
fn all(reader: impl Read + Send + 'static, encoding: Encoding, keys: &Keys) -> (u64, Result<(), String>) {
    let mut decoder = match Decoder::new(reader, encoding, keys) {
        Ok(decoder) => decoder,
        Err(error) => return (0, Err(error.to_string())),
    };
    let (mut out, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return (out, Ok(())),
            Ok(count) => out += count as u64,
            Err(error) => return (out, Err(error.to_string())),
        }
    }
}

/// A block of `size` zeros, in four bytes.
fn zeros_block(size: u32, last: bool) -> [u8; 4] {
    let [a, b, c, _] = (size << 3 | 1 << 1 | u32::from(last)).to_le_bytes();
    [a, b, c, 0]
}

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BLOCK: u32 = 128 << 10;

/// One frame of zeros that does not say how many they are, with a window of this descriptor.
fn zeros_in(window: u8, last: bool) -> (u64, Result<(), String>) {
    let head = [&MAGIC[..], &[0, window]].concat();
    // The last block is an empty raw one.
    let end: &[u8] = if last { &[1, 0, 0] } else { &[] };
    all(repeat(&head, &zeros_block(BLOCK, false), 1 << 14, end), ZSTD, &Keys::new())
}

fn zeros() -> (u64, Result<(), String>) {
    zeros_in(0x58, true)
}

fn zeros_cut() -> (u64, Result<(), String>) {
    zeros_in(0x58, false)
}

fn zeros_wide() -> (u64, Result<(), String>) {
    zeros_in(17 << 3, true)
}

fn wide() -> (u64, Result<(), String>) {
    zeros_in(0xff, true)
}

/// A frame that says that it has 4 MiB of content, and has so many blocks of zeros.
fn frame(blocks: usize) -> Vec<u8> {
    let mut frame = [&MAGIC[..], &[0xa0], &(4_u32 << 20).to_le_bytes()].concat();
    for n in 1..=blocks {
        frame.extend(zeros_block(BLOCK, n == blocks));
    }
    frame
}

fn many_frames() -> (u64, Result<(), String>) {
    all(repeat(&[], &frame(32), 512, &[]), ZSTD, &Keys::new())
}

fn frames_that_lie() -> (u64, Result<(), String>) {
    all(repeat(&[], &frame(64), 512, &[]), ZSTD, &Keys::new())
}

fn skippable_of(magic: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    [&[magic, 0x2a, 0x4d, 0x18][..], &length.to_le_bytes(), content].concat()
}

fn skippable() -> (u64, Result<(), String>) {
    all(repeat(&frame(32), &skippable_of(0x50, &[]), 1 << 23, &[]), ZSTD, &Keys::new())
}

fn skippable_promised() -> (u64, Result<(), String>) {
    let mark = skippable_of(0x53, b"ends with a seek table\n");
    all(repeat(&mark, &skippable_of(0x50, &[]), 1 << 23, &[]), ZSTD, &Keys::new())
}

fn skippable_large() -> (u64, Result<(), String>) {
    let head = [&frame(32)[..], &[0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff]].concat();
    all(repeat(&head, &[0; 1024], 1 << 20, &[]), ZSTD, &Keys::new())
}

/// More empty blocks than a frame that is held may have, in each of many frames.
fn empty_blocks() -> (u64, Result<(), String>) {
    let mut frame = [&MAGIC[..], &[0x20, 0]].concat();
    frame.extend([0, 0, 0].repeat(22_000));
    frame.extend([1, 0, 0]);
    all(repeat(&[], &frame, 4096, &[]), ZSTD, &Keys::new())
}

fn gzip_zeros() -> (u64, Result<(), String>) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..1 << 10 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    all(Cursor::new(encoder.finish().unwrap()), GZIP, &Keys::new())
}

fn gzip_header() -> (u64, Result<(), String>) {
    all(repeat(&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3], b"name", 1 << 26, &[]), GZIP, &Keys::new())
}

fn age_header() -> (u64, Result<(), String>) {
    let encoding = Encoding { encryption: Encryption::Age, ..ZSTD };
    let line = b"-> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc\nEmECAEcKN+n/Vs9SbWiV+Hu0r+E8R77DdWYyd83nw7U\n";
    let (_directory, identity) =
        file("AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ0ZYKP4");
    let mut keys = Keys::new();
    // A key that is none is no matter: the header is too long for any.
    let _ = keys.add_age_identities(&identity);
    all(repeat(b"age-encryption.org/v1\n", line, 1 << 20, &[]), encoding, &keys)
}

fn openpgp_keys() -> Keys {
    let mut keys = Keys::new();
    keys.set_passphrase(passphrase("correct horse"));
    keys
}

fn openpgp_lengths() -> (u64, Result<(), String>) {
    let encoding = Encoding { compression: Compression::None, encryption: Encryption::OpenPgp };
    // A packet of a key, and one of data that goes on for 2^30 bytes and then some.
    let head = [0xc3, 0xff, 0xff, 0xff, 0xff, 0xff];
    let (_, key) = all(repeat(&head, &[0; 1024], 1 << 15, &[]), encoding, &openpgp_keys());
    assert!(key.unwrap_err().contains("too large"));
    all(repeat(&[0xd2, 0xfe, 1], &[0; 1024], 1 << 15, &[]), encoding, &openpgp_keys())
}

fn openpgp_zeros() -> (u64, Result<(), String>) {
    let encoding = Encoding { compression: Compression::None, encryption: Encryption::OpenPgp };
    let directory = tempfile::tempdir().unwrap();
    let (phrase, out) = (directory.path().join("phrase"), directory.path().join("bomb.gpg"));
    std::fs::write(&phrase, "correct horse").unwrap();
    let script = format!(
        "head -c 256M /dev/zero | gpg --homedir {home} --batch --quiet --pinentry-mode loopback \
         --passphrase-file {phrase} --s2k-digest-algo SHA256 --compress-algo zlib -z 9 -o {out} -c",
        home = directory.path().display(),
        phrase = phrase.display(),
        out = out.display()
    );
    let made = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made.stderr));
    all(std::fs::File::open(out).unwrap(), encoding, &openpgp_keys())
}

/// A file of zeros with something in its end.
struct Sparse {
    length: u64,
    end: Vec<u8>,
}

impl ReadAt for Sparse {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = out.len().min(usize::try_from(self.length.saturating_sub(offset)).unwrap());
        let from = self.length - self.end.len() as u64;
        for (byte, at) in out[..count].iter_mut().zip(offset..) {
            *byte = at.checked_sub(from).map_or(0, |at| self.end[usize::try_from(at).unwrap()]);
        }
        Ok(count)
    }
}

/// A file whose table says that it has `count` frames of such sizes, with the right checksum.
fn with_table(compressed: u32, content: u32, count: u32) -> Sparse {
    let entry = [compressed.to_le_bytes(), content.to_le_bytes(), [0; 4]].concat();
    let entries = entry.repeat(count as usize);
    let sum = [b"BLAKE3 of the seek table\n", &blake3::hash(&entries).as_bytes()[..]].concat();
    let sum = skippable_of(0x54, &sum);
    let own =
        [u32::try_from(sum.len()).unwrap().to_le_bytes(), [0; 4], 0x51d8_e999_u32.to_le_bytes()].concat();
    let foot = [&(count + 1).to_le_bytes()[..], &[0x80], &0x8f92_eab1_u32.to_le_bytes()].concat();
    let table = skippable_of(0x5e, &[entries, own, foot].concat());
    let end = [sum, table].concat();
    Sparse { length: u64::from(compressed) * u64::from(count) + end.len() as u64, end }
}

fn seek(source: Sparse) -> (u64, Result<(), String>) {
    let read = SeekableDecoder::open(source, ZSTD, &Keys::new()).map_err(|error| error.to_string());
    let read = read.and_then(|decoder| {
        let count = decoder.read_at(&mut [0; 10], decoder.len().unwrap() / 2);
        count.map_err(|error| error.to_string())
    });
    (read.as_ref().map_or(0, |count| *count as u64), read.map(drop))
}

fn table_claims() -> (u64, Result<(), String>) {
    let foot = [&(1_u32 << 24).to_le_bytes()[..], &[0x80], &0x8f92_eab1_u32.to_le_bytes()].concat();
    let (_, small) = seek(Sparse { length: 1 << 20, end: foot.clone() });
    assert!(small.is_err());
    seek(Sparse { length: 1 << 40, end: foot })
}

fn table_long() -> (u64, Result<(), String>) {
    let foot = [&(3_u32 << 20).to_le_bytes()[..], &[0x80], &0x8f92_eab1_u32.to_le_bytes()].concat();
    seek(Sparse { length: 1 << 40, end: foot })
}

fn table_large_frame() -> (u64, Result<(), String>) {
    seek(with_table(u32::MAX, 4 << 20, 3))
}

fn table_of_nothing() -> (u64, Result<(), String>) {
    seek(with_table(100, 4 << 20, 1 << 20))
}
