//! What is done with an input: it is decoded from its beginning, and at offsets, and what both give must be the same.
//! Its first byte says how it is encoded. An error is an answer like any other; a panic is none.

use std::io::{Cursor, Read};
use std::sync::OnceLock;

use snapshotter_vault::encode::{
    Compression, Decoder, Encoding, Encryption, KeySource, Keys, ReadAt, SeekableDecoder,
};

/// More than this is not read of an input: it may be a bomb.
const MOST: usize = 48 << 20;
/// A key that protects nothing but seeds.
pub(crate) const IDENTITY: &str =
    "AGE-SECRET-KEY-10V44JU6LJ65VKAPADTT2M6K29PHCCKCJ4EQRP0CCWZJUFC64F6PSY8PY7K";
pub(crate) const PASSPHRASE: &str = "seeds";

/// How an input with this first byte is encoded.
pub(crate) const ENCODINGS: [Encoding; 7] = [
    of(Compression::ZSTD, Encryption::None),
    of(Compression::GZIP, Encryption::None),
    of(Compression::ZSTD, Encryption::Age),
    of(Compression::None, Encryption::Age),
    of(Compression::ZSTD, Encryption::OpenPgp),
    of(Compression::GZIP, Encryption::OpenPgp),
    of(Compression::None, Encryption::None),
];

const fn of(compression: Compression, encryption: Encryption) -> Encoding {
    Encoding { compression, encryption }
}

/// Decodes `input` both ways.
pub(crate) fn both_ways(input: &[u8]) {
    let Some((first, file)) = input.split_first() else { return };
    let encoding = ENCODINGS[usize::from(*first) % ENCODINGS.len()];
    let (front, complete) = from_the_front(file, encoding);
    let Some(offsets) = at_offsets(file, encoding, front.len(), complete) else { return };
    let common = front.len().min(offsets.len());
    assert!(front[..common] == offsets[..common], "{encoding:?}: two ways, two contents");
}

/// What comes before the end or the error, and whether it was the end.
fn from_the_front(file: &[u8], encoding: Encoding) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let Ok(decoder) = Decoder::new(Cursor::new(file.to_vec()), encoding, keys()) else {
        return (out, false);
    };
    let mut decoder = decoder.take(MOST as u64);
    let read = decoder.read_to_end(&mut out);
    let complete = decoder.get_ref().is_complete();
    // Nothing is complete that has failed.
    assert!(read.is_ok() || !complete, "{encoding:?}: an error behind the end");
    (out, complete)
}

/// What can be read at offsets; `None` where it cannot.
fn at_offsets(file: &[u8], encoding: Encoding, front: usize, complete: bool) -> Option<Vec<u8>> {
    let decoder = SeekableDecoder::open(file.to_vec(), encoding, keys()).ok()?;
    let length = usize::try_from(decoder.len().ok()?).ok()?;
    assert!(!complete || front == length, "{encoding:?}: {front} bytes and {length} bytes");
    let mut out = vec![0; length.min(MOST)];
    // From the back, so that no frame is met in order.
    for (number, piece) in out.chunks_mut(1_000_003).enumerate().collect::<Vec<_>>().into_iter().rev() {
        let count = decoder.read_at(piece, number as u64 * 1_000_003).ok()?;
        assert!(count == piece.len(), "{encoding:?}: {count} bytes where there are more");
    }
    Some(out)
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            let path = directory.path().join("key");
            std::fs::write(&path, text).unwrap();
            KeySource::File(path)
        };
        let mut keys = Keys::new();
        keys.add_age_identities(&file(IDENTITY)).unwrap();
        keys.set_passphrase(file(PASSPHRASE).passphrase().unwrap());
        keys
    })
}
