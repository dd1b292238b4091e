//! Reading at an offset: the right bytes, few requests, and never a wrong byte.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use snapshotter_vault::encode::{Compression, Encryption, Error, Keys, ReadAt, Seal, SeekableDecoder};

use super::data::{Random, encode, mixed, seals};

/// A store that counts.
#[derive(Clone)]
struct Counted(Arc<Vec<u8>>, Arc<AtomicU64>, Arc<AtomicU64>);

impl Counted {
    fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes), Arc::default(), Arc::default())
    }

    /// Requests and bytes since the last call.
    fn take(&self) -> (u64, u64) {
        (self.1.swap(0, Relaxed), self.2.swap(0, Relaxed))
    }
}

impl ReadAt for Counted {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.as_slice().len() as u64)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.0.read_at(out, offset)?;
        self.1.fetch_add(1, Relaxed);
        self.2.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}

/// Those pairs that can be read so.
fn seekable() -> impl Iterator<Item = (Compression, Seal, Keys)> {
    let seals = || seals().into_iter().filter(|(seal, _)| seal.encryption() != Encryption::OpenPgp);
    [Compression::None, Compression::ZSTD]
        .into_iter()
        .flat_map(move |compression| seals().map(move |(seal, keys)| (compression, seal, keys)))
}

#[test]
fn any_stretch_is_read_as_it_went_in() {
    let mut random = Random(20);
    for size in [0, 1, 65_536, 65_536 * 3, 14_000_000] {
        let data = mixed(21, size);
        for (compression, seal, keys) in seekable() {
            let (encoded, _) = encode(&data, compression, &seal);
            let decoder = SeekableDecoder::open(encoded, seal.encoding(compression), &keys).unwrap();
            assert_eq!(decoder.len().unwrap(), size as u64);
            for round in 0..60 {
                let offset = random.below(size + 10);
                let mut out = vec![0; random.below([10, 70_000, 9_000_000][round % 3])];
                let count = decoder.read_at(&mut out, offset as u64).unwrap();
                assert_eq!(count, out.len().min(size.saturating_sub(offset)));
                assert!(
                    out[..count] == data[offset.min(size)..offset.min(size) + count],
                    "{count} bytes at {offset}"
                );
            }
        }
    }
}

#[test]
fn one_file_costs_few_requests() {
    let data = mixed(22, 60_000_000);
    for (compression, seal, keys) in seekable() {
        let (encoded, _) = encode(&data, compression, &seal);
        let store = Counted::new(encoded);
        let decoder = SeekableDecoder::open(store.clone(), seal.encoding(compression), &keys).unwrap();
        let (requests, bytes) = store.take();
        assert!(requests <= 2 && bytes <= 420_000, "open: {requests} requests, {bytes} bytes");
        // A file that lies in one frame, read in small parts.
        let mut out = vec![0; 1 << 20];
        for part in out.chunks_mut(if compression == Compression::None { 1 << 20 } else { 4096 }).enumerate()
        {
            decoder.read_at(part.1, 13_000_000 + 4096 * part.0 as u64).unwrap();
        }
        assert!(out == data[13_000_000..13_000_000 + (1 << 20)]);
        let (requests, bytes) = store.take();
        assert!(requests <= 2 && bytes <= 9 << 20, "read: {requests} requests, {bytes} bytes");
        // What spans frames is fetched at once.
        let mut out = vec![0; 8_000_000];
        decoder.read_at(&mut out, 30_000_000).unwrap();
        assert!(store.take().0 <= 2);
    }
}

#[test]
fn a_changed_byte_is_found_and_a_cut_file_is_not_opened() {
    let mut random = Random(23);
    let data = mixed(24, 10_000_000);
    for (compression, seal, keys) in seekable().filter(|(compression, seal, _)| {
        *compression != Compression::None || seal.encryption() != Encryption::None
    }) {
        let encoding = seal.encoding(compression);
        let (encoded, _) = encode(&data, compression, &seal);
        for _ in 0..40 {
            let mut changed = encoded.clone();
            let at = random.below(changed.len());
            changed[at] ^= 1 << random.below(8);
            let Ok(decoder) = SeekableDecoder::open(changed, encoding, &keys) else { continue };
            for offset in (0..data.len()).step_by(900_000) {
                let mut out = [0; 5000];
                if let Ok(count) = decoder.read_at(&mut out, offset as u64) {
                    let right = data.get(offset..offset + count).is_some_and(|right| right == &out[..count]);
                    assert!(right, "{encoding:?}: a flipped bit at {at} gave wrong bytes at {offset}");
                }
            }
        }
        for cut in [1, 9, 17, 65_552, encoded.len() / 2, encoded.len()] {
            let cut = encoded[..encoded.len() - cut].to_vec();
            let opened = SeekableDecoder::open(cut, encoding, &keys);
            assert!(opened.is_err(), "{encoding:?}");
        }
    }
}

#[test]
fn a_seek_table_that_lies_is_refused() {
    let data = mixed(25, 9_000_000);
    let (encoded, _) = encode(&data, Compression::ZSTD, &Seal::None);
    let encoding = Seal::None.encoding(Compression::ZSTD);
    let end = encoded.len();
    // Each entry has twelve bytes: six frames, and nine bytes behind them. The last four of the last entry mean nothing.
    for at in end - 9 - 6 * 12 - 8..end {
        for value in [0, 0xff, encoded[at] ^ 1] {
            let mut changed = encoded.clone();
            changed[at] = value;
            let Ok(decoder) = SeekableDecoder::open(changed, encoding, &Keys::new()) else { continue };
            let mut out = vec![0; data.len()];
            if let Ok(count) = decoder.read_at(&mut out, 0) {
                assert!(
                    out[..count] == data[..count] && count == data.len(),
                    "byte {at} of the table as {value}"
                );
            }
        }
    }
}

#[test]
fn a_source_that_lies_about_its_length_or_fails_is_an_error() {
    struct Liar(Vec<u8>, i64);
    impl ReadAt for Liar {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.as_slice().len() as u64).map(|length| length.saturating_add_signed(self.1))
        }

        fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
            // In small parts, as a network may.
            let part = out.len().min(1000);
            self.0.read_at(&mut out[..part], offset)
        }
    }
    let data = mixed(26, 6_000_000);
    for (compression, seal, keys) in seekable() {
        let (encoded, _) = encode(&data, compression, &seal);
        let open = |by| SeekableDecoder::open(Liar(encoded.clone(), by), seal.encoding(compression), &keys);
        let mut out = vec![0; 100_000];
        assert_eq!(open(0).unwrap().read_at(&mut out, 5_000_000).unwrap(), 100_000);
        assert!(out == data[5_000_000..5_100_000]);
        if seal.encoding(compression).suffix() != ".tar" {
            assert!(open(-1).is_err());
        }
        assert!(open(1).is_err() || open(1).unwrap().read_at(&mut out, 5_950_000).is_err());
    }
}

#[test]
fn what_cannot_be_read_at_an_offset_says_so() {
    let data = mixed(27, 100_000);
    for (seal, keys) in seals() {
        for compression in [Compression::ZSTD, Compression::GZIP] {
            let (encoded, _) = encode(&data, compression, &seal);
            let opened = SeekableDecoder::open(encoded, seal.encoding(compression), &keys);
            let possible = compression == Compression::ZSTD && seal.encryption() != Encryption::OpenPgp;
            assert!(possible == opened.is_ok());
            assert!(possible || matches!(opened, Err(Error::Unsupported { .. })));
        }
    }
}
