//! References that lead where none may, with right checksums around them: refused, and nothing comes of them.

use super::*;
use crate::hostile::craft::{self, Member, field};

/// Reads numbers of an index.
struct Numbers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Numbers<'_> {
    fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.bytes[self.at];
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::try_from(self.number()).unwrap();
        self.at += length;
        self.bytes[self.at - length..self.at].to_vec()
    }
}

/// A reference of a chunk: its path, and where its number stands.
struct Reference {
    path: Vec<u8>,
    field: std::ops::Range<usize>,
    /// In blocks before the snapshot's beginning.
    back: u64,
}

fn references(chunk: &[u8]) -> Vec<Reference> {
    let mut numbers = Numbers { bytes: chunk, at: 9 };
    numbers.number();
    let (mut found, mut path, mut back) = (Vec::new(), Vec::new(), 0u64);
    while numbers.at < chunk.len() {
        let flags = chunk[numbers.at];
        numbers.at += 1;
        if flags & 32 != 0 {
            numbers.number();
            path.clear();
        }
        path.truncate(usize::try_from(numbers.number()).unwrap());
        path.extend(numbers.bytes());
        let from = numbers.at;
        let number = numbers.number();
        if flags & 64 != 0 {
            back = back.wrapping_sub((number >> 1) ^ (number & 1).wrapping_neg());
            found.push(Reference { path: path.clone(), field: from..numbers.at, back });
        }
        let more = if flags & 16 == 0 { 3 } else { 0 } + 5;
        for _ in 0..more {
            numbers.number();
        }
        match flags & 7 {
            0 => _ = numbers.number(),
            2 | 3 => drop(numbers.bytes()),
            _ => {}
        }
    }
    found
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap());
}

/// The chunk with the reference at `path` leading elsewhere, and all others where they did.
fn redirected(chunk: &[u8], path: &str, to: u64) -> Vec<u8> {
    let (mut out, mut from, mut before) = (Vec::new(), 0, 0u64);
    for reference in references(chunk) {
        let back = if reference.path == path.as_bytes() { to } else { reference.back };
        out.extend_from_slice(&chunk[from..reference.field.start]);
        let less = before.wrapping_sub(back).cast_signed();
        put_number(&mut out, ((less << 1) ^ (less >> 63)).cast_unsigned());
        (from, before) = (reference.field.end, back);
    }
    out.extend_from_slice(&chunk[from..]);
    out
}

/// An archive that is taken apart, and where its members begin.
struct Apart {
    members: Vec<Member>,
    tail: Vec<u8>,
    starts: Vec<u64>,
}

impl Apart {
    fn of(archive: &[u8]) -> Self {
        let (members, tail) = craft::parse(archive);
        let length = |members: &[Member]| craft::write(members, &[]).len() as u64;
        let starts = (0..members.len()).map(|at| length(&members[..at])).collect();
        Apart { members, tail, starts }
    }

    /// The members of this name.
    fn named(&self, name: &str) -> Vec<usize> {
        let names = |at: &usize| {
            let block = &self.members[*at].block;
            let end = block[..100].iter().position(|byte| *byte == 0).unwrap_or(100);
            block[..end].ends_with(name.as_bytes())
        };
        (0..self.members.len()).filter(names).collect()
    }

    /// With other data in a member. It must not need another number of blocks.
    fn with(&self, at: usize, data: Vec<u8>) -> Vec<u8> {
        let mut members = self.members.clone();
        assert_eq!(members[at].data.len().div_ceil(512), data.len().div_ceil(512));
        craft::put(&mut members[at].block[field::SIZE], format!("{:011o}\0", data.len()).as_bytes());
        members[at].data = data;
        craft::write(&members, &self.tail)
    }
}

/// Two prefixes with the same volume, and of the second one a snapshot that refers to the one before it. In
/// `z inner` there is a copy of the member of `m`.
fn archive(s: &Sandbox) -> Nights<'_> {
    let volume = Tree::at(s.path("vol/a")).file("k", "k").file("m", pattern(600)).file("n", "n").done();
    let mut nights = Nights::of(s, volume);
    nights.config = config("wea", &[&nights.volume]);
    nights.backup();
    nights.config = config("web", &[&nights.volume]);
    nights.backup();
    let apart = Apart::of(&fs::read(s.archive()).unwrap());
    let at = apart.named("a/m")[1];
    let copy = craft::write(&apart.members[at..=at], &[]);
    fs::write(nights.path("z inner"), copy).unwrap();
    nights.options.incremental = false;
    nights.options.index = true;
    nights.backup();
    nights.options.incremental = true;
    assert_eq!(nights.backup().references, 4);
    nights.assert_all_but_first();
    nights
}

/// The ID changes with what is changed.
fn newest(nights: &Nights) -> RestoreOptions {
    RestoreOptions { snapshot: None, ..nights.restore_options(3) }
}

impl Nights<'_> {
    fn assert_all_but_first(&self) {
        let number = self.taken.len() - 1;
        let found = self.restored(self.restore_options(number)).unwrap();
        assert_eq!(self.taken[number].1.differences(&found), [""; 0]);
    }
}

#[test]
fn references_that_lead_elsewhere_are_refused() {
    sandboxed(|s| {
        let nights = archive(s);
        let apart = Apart::of(&fs::read(s.archive()).unwrap());
        let begin = apart.starts[apart.named(".snapshot-begin")[3]];
        let index = apart.named("snapshot.index");
        let chunk = index[index.len() - 2];
        let data = &apart.members[chunk].data;
        let back = |at: u64| (begin - at) / 512;
        let place = |name: &str, number: usize| back(apart.starts[apart.named(name)[number]]);
        assert_eq!(references(data)[1].back, place("a/m", 2));
        let inner = apart.named("z inner")[0];
        let content = apart.starts[inner] + 3 * 512;
        for (what, to, why) in [
            ("another file", place("a/n", 2), "another one is there"),
            ("one that comes before", place("a/k", 2), "no member begins there"),
            ("the same file of another prefix", place("a/m", 0), "in no snapshot that it says it needs"),
            ("one of a snapshot that is not named", place("a/m", 1), "in no snapshot that it says it needs"),
            ("content", back(content), "no member begins there"),
            ("the middle of a member", place("a/m", 2) - 1, "no member begins there"),
            ("a beginning", back(apart.starts[apart.named(".snapshot-begin")[2]]), "no member begins there"),
            ("a close", place("web/snapshot.json", 1), "in no snapshot that it says it needs"),
            ("the block before", 1, "in no snapshot that it says it needs"),
            ("before the archive", begin / 512 + 1, "before the archive's beginning"),
            ("far out", u64::MAX / 512 - 1, "before the archive's beginning"),
            ("nowhere", 0, "where no earlier snapshot can be"),
            ("forwards", 0u64.wrapping_sub(2), "where no earlier snapshot can be"),
        ] {
            fs::write(s.archive(), apart.with(chunk, redirected(data, "m", to))).unwrap();
            let error = nights.refused(newest(&nights));
            assert!(error.contains(why), "{what}: {error}");
            let verified = verify(&nights.list_options(), &Watch::default()).unwrap();
            assert!(!verified.snapshots[3].ok && verified.snapshots[2].ok, "{what}: {:?}", verified.problems);
            assert!(verified.problems.iter().any(|problem| problem.reason.contains(why)), "{what}");
            // Of one path, what is there is looked at.
            let path = RestoreOptions { paths: vec![nights.path("m").into()], ..newest(&nights) };
            match nights.restored(path) {
                Ok(found) => {
                    assert_eq!(what, "content");
                    assert!(found.has("m"));
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            let skipping = RestoreOptions { skip_damaged: true, ..newest(&nights) };
            if let Ok(found) = nights.restored(skipping) {
                let whole = &nights.taken[3].1;
                let part = whole.part(|name| name != b"m" || found.has("m"));
                let found = found.part(|name| !name.is_empty());
                assert_eq!(
                    part.part(|name| !name.is_empty() && found.has(std::str::from_utf8(name).unwrap()))
                        .differences(&found),
                    [""; 0],
                    "{what}"
                );
            }
            // A further backup takes nothing on trust that leads outside.
            let _ = backup(&nights.config, &nights.options, &Watch::default());
        }
    });
}

#[test]
fn what_is_said_to_be_needed_must_be_that_snapshot() {
    sandboxed(|s| {
        let nights = archive(s);
        let apart = Apart::of(&fs::read(s.archive()).unwrap());
        let close = *apart.named("web/snapshot.json").last().unwrap();
        let json = String::from_utf8(apart.members[close].data.clone()).unwrap();
        let ids: Vec<&str> = nights.taken.iter().map(|(id, _)| id.as_str()).collect();
        let begins: Vec<u64> =
            apart.named(".snapshot-begin").into_iter().map(|at| apart.starts[at]).collect();
        let back = format!("\"back\": {}", begins[3] - begins[2]);
        assert!(json.contains(&back) && json.contains(ids[2]));
        for (what, text) in [
            ("another ID", json.replace(ids[2], ids[1])),
            ("the one before", json.replace(&back, &format!("\"back\": {}", begins[3] - begins[1]))),
            (
                "that of another prefix",
                json.replace(&back, &format!("\"back\": {}", begins[3])).replace(ids[2], ids[0]),
            ),
            ("itself", json.replace(&back, "\"back\": 0")),
            ("none", json.replace(&back, "\"back\": 18446744073709551615")),
            ("what is no snapshot", json.replace(&back, "\"back\": 512")),
        ] {
            assert_ne!(json, text);
            fs::write(s.archive(), apart.with(close, text.into_bytes())).unwrap();
            let error = nights.refused(newest(&nights));
            assert!(error.contains("needs"), "{what}: {error}");
            assert!(!verify(&nights.list_options(), &Watch::default()).unwrap().ok, "{what}");
        }
    });
}

#[test]
fn an_index_that_lies_restores_what_is_right_or_nothing() {
    sandboxed(|s| {
        let nights = archive(s);
        let apart = Apart::of(&fs::read(s.archive()).unwrap());
        let index = apart.named("snapshot.index");
        let (mut same, mut refused) = (0, 0);
        for &part in &index[index.len() - 2..] {
            for bit in 0..apart.members[part].data.len() * 8 {
                let mut data = apart.members[part].data.clone();
                data[bit / 8] ^= 1 << (bit % 8);
                fs::write(s.archive(), apart.with(part, data)).unwrap();
                match nights.restored(newest(&nights)) {
                    Ok(found) => {
                        assert_eq!(nights.taken[3].1.differences(&found), [""; 0], "bit {bit} of {part}");
                        same += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(same > 20 && refused > 200, "{same} and {refused}");
    });
}
