//! Whatever happens to an encoded archive, reading it is an error, and what was handed out until then is right.

use std::io;

use snapshotter_vault::encode::{
    Compression, Encoding, Encryption, Error, Keys, ReadAt, Seal, SeekableDecoder,
};

use super::data::{COMPRESSIONS, Random, decode, encode, mixed, passphrase, seals};

/// What reads it must fail, having handed out nothing else than a beginning of `data`.
fn refused(encoded: &[u8], encoding: Encoding, keys: &Keys, data: &[u8], what: &str) -> io::Error {
    match decode(encoded, encoding, keys) {
        Ok(_) => panic!("{what}: {encoding:?} was read without an error"),
        Err((out, error)) => {
            assert!(data.starts_with(&out), "{what}: {encoding:?} gave wrong bytes");
            assert!(Error::inside(&error).is_some(), "{what}: {error:?}");
            error
        }
    }
}

/// Every pair but `.tar`, which shows no damage: the archive in it does.
fn each(size: usize, mut work: impl FnMut(&[u8], &[u8], Encoding, &Keys)) {
    let data = mixed(11, size);
    for (seal, keys) in seals() {
        for compression in COMPRESSIONS {
            let encoding = seal.encoding(compression);
            if encoding.suffix() != ".tar" {
                work(&encode(&data, compression, &seal).0, &data, encoding, &keys);
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_off_is_refused_wherever_it_was() {
    let mut random = Random(1);
    each(5_000_000, |encoded, data, encoding, keys| {
        let end = encoded.len();
        let chunks =
            (0..end).step_by(65_552).flat_map(|at| [at, at + 200, at + 216].map(|at| at.min(end - 1)));
        let ends = (1..60).map(|back| end - back);
        let somewhere = std::iter::repeat_with(|| random.below(end)).take(10);
        for at in chunks.step_by(11).chain(ends.step_by(3)).chain(somewhere).chain(0..20).collect::<Vec<_>>()
        {
            refused(&encoded[..at], encoding, keys, data, &format!("cut off at {at} of {end}"));
        }
    });
}

#[test]
fn a_file_of_ours_that_is_cut_off_between_two_frames_is_refused() {
    let data = mixed(12, 14_000_000);
    for (compression, magic) in [
        (Compression::ZSTD, &[0x28, 0xb5, 0x2f, 0xfd][..]),
        (Compression::ZSTD, &[0x5e, 0x2a, 0x4d, 0x18]),
        (Compression::GZIP, &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]),
    ] {
        let (encoded, _) = encode(&data, compression, &Seal::None);
        let encoding = Seal::None.encoding(compression);
        let borders =
            encoded.windows(magic.len()).enumerate().filter(|(_, bytes)| *bytes == magic).map(|(at, _)| at);
        let borders: Vec<_> = borders.filter(|at| *at > 0).collect();
        assert!(!borders.is_empty());
        for at in borders {
            refused(
                &encoded[..at],
                encoding,
                &Keys::new(),
                &data,
                &format!("cut off before the frame at {at}"),
            );
        }
    }
}

#[test]
fn flipped_bits_are_found_before_they_are_handed_out() {
    let mut random = Random(2);
    each(6_000_000, |encoded, data, encoding, keys| {
        let mut encoded = encoded.to_vec();
        let end = encoded.len();
        let somewhere = std::iter::repeat_with(|| random.below(end)).take(20);
        for at in somewhere.chain([20, 100, end - 1, end - 10, end - 20]).collect::<Vec<_>>() {
            let bit = 1 << (at % 8);
            encoded[at] ^= bit;
            match decode(&encoded, encoding, keys) {
                // Bits that mean nothing: in gzip's header, in what a skippable frame says to a reader.
                Ok(out) => {
                    assert!(out == data, "a flipped bit at {at} of {end}: {encoding:?} gave wrong bytes");
                    assert!(
                        encoding.encryption == Encryption::None,
                        "a flipped bit at {at} of {end} was not found"
                    );
                }
                Err((out, _)) => {
                    assert!(data.starts_with(&out), "at {at} of {end}: {encoding:?} gave wrong bytes");
                }
            }
            encoded[at] ^= bit;
        }
    });
}

#[test]
fn what_follows_the_end_is_refused() {
    each(5_000_000, |encoded, data, encoding, keys| {
        for more in [&b"x"[..], &[0; 600], encoded] {
            refused(&[encoded, more].concat(), encoding, keys, data, &format!("{} bytes more", more.len()));
        }
    });
}

#[test]
fn frames_that_are_missing_twice_or_in_another_order_are_found() {
    let data = mixed(13, 17_000_000);
    let (encoded, _) = encode(&data, Compression::ZSTD, &Seal::None);
    let starts: Vec<_> =
        (0..encoded.len() - 4).filter(|at| encoded[*at..].starts_with(&[0x28, 0xb5, 0x2f, 0xfd])).collect();
    assert_eq!(starts.len(), 6, "an empty frame, and five of 4 MiB");
    let part = |n: usize| &encoded[starts[n]..starts.get(n + 1).copied().unwrap_or(encoded.len())];
    for order in [&[0, 1, 2, 4, 5][..], &[0, 1, 2, 2, 3, 4, 5], &[0, 2, 1, 3, 4, 5], &[0, 1, 3, 5], &[0, 5]] {
        let other: Vec<u8> = order.iter().flat_map(|n| part(*n)).copied().collect();
        let encoding = Seal::None.encoding(Compression::ZSTD);
        match decode(&other, encoding, &Keys::new()) {
            Ok(_) => panic!("{order:?} was read"),
            Err((_, error)) => assert!(error.to_string().contains("seek table"), "{error}"),
        }
        let opened = SeekableDecoder::open(other, encoding, &Keys::new());
        assert!(opened.is_err() || fails(&opened), "{order:?}");
    }
}

/// Frames in another order may have the same sizes: then reading is what fails.
fn fails(opened: &Result<SeekableDecoder<Vec<u8>>, Error>) -> bool {
    opened.as_ref().is_ok_and(|decoder| (0..4).any(|n| decoder.read_at(&mut [0; 10], n << 22).is_err()))
}

#[test]
fn another_key_and_no_key_are_told_apart_from_damage() {
    let data = mixed(14, 100_000);
    for ((seal, _), (_, other)) in seals().into_iter().zip(seals()).skip(1) {
        let (encoded, _) = encode(&data, Compression::ZSTD, &seal);
        let encoding = seal.encoding(Compression::ZSTD);
        let error = refused(&encoded, encoding, &Keys::new(), &data, "no key");
        assert!(matches!(Error::inside(&error), Some(Error::NoKey { .. })), "{error:?}");
        let mut wrong = other;
        wrong.set_passphrase(passphrase("another"));
        let error = refused(&encoded, encoding, &wrong, &data, "another key");
        assert!(matches!(Error::inside(&error), Some(Error::WrongKey)), "{error:?}");
        for (_, keys) in seals().into_iter().take(1) {
            let wrong = Encoding { encryption: Encryption::None, ..encoding };
            refused(&encoded, wrong, &keys, &data, "taken for one that is not encrypted");
        }
    }
}

#[test]
fn bytes_that_are_nothing_are_refused() {
    let mut random = Random(3);
    for (seal, keys) in seals() {
        for compression in COMPRESSIONS {
            let encoding = seal.encoding(compression);
            if encoding.suffix() == ".tar" {
                continue;
            }
            for size in [0, 1, 3, 4, 17, 100, 70_000] {
                refused(&random.bytes(size), encoding, &keys, &[], &format!("{size} random bytes"));
            }
        }
    }
}

#[test]
fn a_frame_that_claims_a_window_of_gigabytes_is_refused_and_a_bomb_takes_no_memory() {
    let zstd = Seal::None.encoding(Compression::ZSTD);
    // A window of 3.75 TiB, and a content of 2^62 bytes.
    for head in [
        &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff][..],
        &[0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x40],
    ] {
        let error = refused(&[head, &[0; 100]].concat(), zstd, &Keys::new(), &[], "a large window");
        assert!(matches!(Error::inside(&error), Some(Error::Unsupported { .. })), "{error:?}");
    }
    // 64 GiB of zeros in blocks of 128 KiB that say so in four bytes, and are cut off.
    let block = (128_u32 << 10 << 3 | 1 << 1).to_le_bytes();
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    for _ in 0..1 << 12 {
        bomb.extend_from_slice(&[block[0], block[1], block[2], 0]);
    }
    let before = peak_memory();
    let mut decoder =
        snapshotter_vault::encode::Decoder::new(io::Cursor::new(bomb), zstd, &Keys::new()).unwrap();
    let error = io::copy(&mut decoder, &mut io::sink()).unwrap_err();
    assert!(matches!(Error::inside(&error), Some(Error::Damaged { .. })), "{error:?}");
    assert!(peak_memory() - before < 200 << 20, "other tests run beside this one, and none takes so much");
}

pub(crate) fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Changes that a generator makes: whatever they are, nothing panics, hangs or gives wrong bytes.
#[test]
fn random_changes_never_give_wrong_bytes() {
    let mut random = Random(4);
    let data = mixed(15, 300_000);
    for (seal, keys) in seals() {
        for compression in COMPRESSIONS {
            let encoding = seal.encoding(compression);
            if encoding.suffix() == ".tar" {
                continue;
            }
            let (encoded, _) = encode(&data, compression, &seal);
            for round in 0..60 {
                let mut changed = encoded.clone();
                for _ in 0..=random.below(4) {
                    change(&mut changed, &mut random);
                }
                match decode(&changed, encoding, &keys) {
                    Ok(out) => assert!(out == data, "{encoding:?}, round {round}"),
                    Err((out, _)) => assert!(data.starts_with(&out), "{encoding:?}, round {round}"),
                }
            }
        }
    }
}

fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    // Headers and tables are where it hurts most.
    let near = [40, bytes.len(), bytes.len()][random.below(3)].min(bytes.len());
    let at = if random.below(3) == 0 { bytes.len() - 1 - random.below(near) } else { random.below(near) };
    match random.below(5) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes.truncate(at),
        2 => {
            let end = bytes.len().min(at + random.below(100));
            bytes.drain(at..end);
        }
        3 => {
            let count = random.below(50);
            let more = random.bytes(count);
            bytes.splice(at..at, more);
        }
        _ => bytes[at] = [0, 0xff, 0x7f, 0x80][random.below(4)],
    }
}
