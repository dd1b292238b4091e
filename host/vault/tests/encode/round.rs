//! What goes in comes out, and what is not finished does not.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};
use snapshotter_vault::encode::{Compression, Encoder, Error, Seal, age, openpgp};

use super::data::{COMPRESSIONS, decode, encode, mixed, seals};

#[test]
fn every_pair_of_compression_and_encryption_comes_back() {
    for (seal, keys) in seals() {
        for compression in COMPRESSIONS {
            for size in [0, 1, 65_536, 4 << 20, (4 << 20) + 1, 10_000_000] {
                let data = mixed(7, size);
                let (encoded, summary) = encode(&data, compression, &seal);
                let encoding = seal.encoding(compression);
                assert_eq!(summary.bytes_in, size as u64);
                assert_eq!(summary.bytes_out, encoded.len() as u64);
                assert_eq!(summary.sha256[..], Sha256::digest(&encoded)[..]);
                let decoded = decode(&encoded, encoding, &keys).map_err(|(_, error)| error).unwrap();
                assert!(decoded == data, "{encoding:?} of {size} bytes");
            }
        }
    }
}

#[test]
fn an_encoder_that_is_dropped_leaves_what_no_decoder_takes() {
    let data = mixed(8, 9_000_000);
    for (seal, keys) in seals() {
        for compression in COMPRESSIONS {
            let encoding = seal.encoding(compression);
            if encoding.suffix() == ".tar" {
                continue;
            }
            let out = Shared::default();
            let mut encoder = Encoder::new(out.clone(), compression, &seal).unwrap();
            encoder.write_all(&data).unwrap();
            drop(encoder);
            let written = out.0.lock().unwrap().clone();
            assert!(decode(&written, encoding, &keys).is_err(), "{encoding:?}");
        }
    }
}

#[test]
fn what_cannot_be_written_is_the_error_of_the_run() {
    for (seal, _) in seals() {
        for compression in COMPRESSIONS {
            for room in [0, 1000, 1_500_000] {
                let mut encoder = Encoder::new(Full(room), compression, &seal).unwrap();
                let written = encoder.write_all(&mixed(9, 8_000_000));
                let error = match written {
                    Ok(()) => encoder.finish().unwrap_err(),
                    Err(error) => error.downcast().unwrap(),
                };
                let Error::System { source, .. } = error else { panic!("{error:?}") };
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
            }
        }
    }
}

#[test]
fn levels_that_are_not_there_and_seals_for_nobody_are_refused() {
    let zstd = [0, 20, -1].map(|level| Compression::Zstd { level });
    for compression in zstd.into_iter().chain([0, 13].map(|level| Compression::Gzip { level })) {
        assert!(matches!(Encoder::new(Vec::new(), compression, &Seal::None), Err(Error::Level { .. })));
    }
    for seal in [Seal::Age(age::Recipients::new()), Seal::OpenPgp(openpgp::Recipients::new())] {
        assert!(matches!(Encoder::new(Vec::new(), Compression::ZSTD, &seal), Err(Error::NoRecipient { .. })));
    }
}

/// What was written can be seen after the encoder is gone.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk with so much room.
#[derive(Debug)]
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(self.0);
        self.0 -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
