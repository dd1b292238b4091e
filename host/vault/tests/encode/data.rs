//! What tests encode, and for whom.

use std::io::{Read as _, Write as _};

use age::secrecy::ExposeSecret as _;
use snapshotter_vault::encode::{
    Compression, Decoder, Encoder, Encoding, KeySource, Keys, Passphrase, Result, Seal, Summary,
    age as age_format, openpgp,
};

/// Each compression.
pub(crate) const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::ZSTD, Compression::GZIP];

/// Random numbers that are the same in each run. <https://prng.di.unimi.it/splitmix64.c>
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next().to_le_bytes()).flatten().take(count).collect()
    }
}

/// Stretches of text, pages, zeros and random bytes.
pub(crate) fn mixed(seed: u64, size: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut data = Vec::with_capacity(size + 300_000);
    while data.len() < size {
        let count = 1000 + random.below(300_000);
        match random.below(4) {
            0 => data.extend(
                (0..count / 20).flat_map(|_| format!("line {:014x}\n", random.next() >> 30).into_bytes()),
            ),
            1 => data.extend((0..count).map(|n| u8::try_from(n / 64 % 251).unwrap())),
            2 => data.resize(data.len() + count, 0),
            _ => data.extend(random.bytes(count)),
        }
    }
    data.truncate(size);
    data
}

/// A passphrase as it would be read from a file.
pub(crate) fn passphrase(text: &str) -> Passphrase {
    let (_directory, source) = file(text);
    source.passphrase().unwrap()
}

/// A seal of each encryption, with what opens it.
pub(crate) fn seals() -> Vec<(Seal, Keys)> {
    let identity = age::x25519::Identity::generate();
    let mut recipients = age_format::Recipients::new();
    recipients.add(&identity.to_public().to_string()).unwrap();
    let mut age_keys = Keys::new();
    let (_directory, source) = file(identity.to_string().expose_secret());
    age_keys.add_age_identities(&source).unwrap();

    let mut openpgp = openpgp::Recipients::new();
    openpgp.set_passphrase(passphrase("correct horse battery staple"));
    let mut openpgp_keys = Keys::new();
    openpgp_keys.set_passphrase(passphrase("correct horse battery staple"));

    vec![(Seal::None, Keys::new()), (Seal::Age(recipients), age_keys), (Seal::OpenPgp(openpgp), openpgp_keys)]
}

/// A file with this content, which is removed with the first value.
pub(crate) fn file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, KeySource) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, content).unwrap();
    (directory, KeySource::File(path))
}

pub(crate) fn encode(data: &[u8], compression: Compression, seal: &Seal) -> (Vec<u8>, Summary) {
    let mut encoder = Encoder::new(Vec::new(), compression, seal).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn decode(
    encoded: &[u8],
    encoding: Encoding,
    keys: &Keys,
) -> Result<Vec<u8>, (Vec<u8>, std::io::Error)> {
    let mut out = Vec::new();
    let decoder = Decoder::new(std::io::Cursor::new(encoded.to_vec()), encoding, keys);
    let mut decoder = decoder.map_err(|error| (Vec::new(), error.into()))?;
    match decoder.read_to_end(&mut out) {
        Ok(_) => {
            assert!(decoder.is_complete());
            Ok(out)
        }
        Err(error) => {
            assert!(decoder.read(&mut [0]).is_err(), "a decoder that has failed goes on");
            Err((out, error))
        }
    }
}
