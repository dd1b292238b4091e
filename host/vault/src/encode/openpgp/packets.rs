//! The outer packets of an OpenPGP file: keys, then what is encrypted, then nothing. Looked at before anything else,
//! so that no packet's claimed length, no costly key derivation and no second message is met by surprise.
//! RFC 4880, section 4.2.

use std::io::{self, Read, Seek, SeekFrom};

use super::super::error::{Error, Result};

/// A file that is encrypted for more keys than this is not read.
const MOST_KEYS: usize = 64;
/// No packet of a key is larger.
const MOST_KEY: u64 = 16 << 10;

/// How long a packet's next part is, and whether it is the last.
struct Length {
    bytes: u64,
    last: bool,
}

/// Goes through all packets of `file` from its beginning, and back there.
pub(super) fn check(file: &mut (impl Read + Seek), size: u64) -> Result<()> {
    let mut keys = 0;
    let mut at = 0;
    loop {
        seek(file, at)?;
        let tag = byte(file)?;
        if tag & 0x80 == 0 {
            return Err(not_encrypted(tag));
        }
        let new = tag & 0x40 != 0;
        let kind = if new { tag & 0x3f } else { tag >> 2 & 0x0f };
        match kind {
            1 | 3 | 10 if keys < MOST_KEYS => keys += 1,
            1 | 3 | 10 => return Err(Error::unsupported("it is encrypted for more than 64 keys")),
            18 | 20 => return payload(file, size, tag),
            9 => {
                return Err(Error::unsupported(
                    "its encryption does not show changes, and it may not be what was stored",
                ));
            }
            _ => return Err(not_encrypted(tag)),
        }
        let length = length(file, new, tag)?;
        if !length.last || length.bytes > MOST_KEY {
            return Err(Error::unsupported("it has a packet of a key that is too large"));
        }
        at = position(file)? + length.bytes;
    }
}

/// What is encrypted must end where the file does.
fn payload(file: &mut (impl Read + Seek), size: u64, tag: u8) -> Result<()> {
    let new = tag & 0x40 != 0;
    loop {
        let length = length(file, new, tag)?;
        let end = position(file)?.checked_add(length.bytes).filter(|end| *end <= size);
        let end = end.ok_or_else(|| Error::damaged("it is cut off"))?;
        if length.last {
            if end != size {
                return Err(Error::damaged(format!("something follows its end, at byte {end}")));
            }
            return seek(file, 0);
        }
        seek(file, end)?;
    }
}

fn length(file: &mut impl Read, new: bool, tag: u8) -> Result<Length> {
    if !new {
        let bytes = match tag & 3 {
            0 => u64::from(byte(file)?),
            1 => number(file, 2)?,
            2 => number(file, 4)?,
            // It ends with the file, and would not show where it was cut off but for its checksum.
            _ => return Err(Error::unsupported("it has a packet without a length")),
        };
        return Ok(Length { bytes, last: true });
    }
    Ok(match u64::from(byte(file)?) {
        first @ 0..192 => Length { bytes: first, last: true },
        first @ 192..224 => Length { bytes: ((first - 192) << 8) + u64::from(byte(file)?) + 192, last: true },
        255 => Length { bytes: number(file, 4)?, last: true },
        first => Length { bytes: 1 << (first & 0x1f), last: false },
    })
}

fn number(file: &mut impl Read, bytes: usize) -> Result<u64> {
    (0..bytes).try_fold(0, |number, _| Ok(number << 8 | u64::from(byte(file)?)))
}

fn byte(file: &mut impl Read) -> Result<u8> {
    let mut byte = [0];
    match file.read_exact(&mut byte) {
        Ok(()) => Ok(byte[0]),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Error::damaged("it is cut off")),
        Err(error) => Err(spool_error(error)),
    }
}

fn seek(file: &mut impl Seek, at: u64) -> Result<()> {
    file.seek(SeekFrom::Start(at)).map(drop).map_err(spool_error)
}

fn position(file: &mut impl Seek) -> Result<u64> {
    file.stream_position().map_err(spool_error)
}

fn not_encrypted(first: u8) -> Error {
    if first == b'-' {
        Error::unsupported(
            "it is armored, as `gpg --armor` writes it; `gpg --dearmor` makes a binary file of it",
        )
    } else {
        Error::damaged("it is no encrypted file of OpenPGP")
    }
}

pub(super) fn spool_error(source: io::Error) -> Error {
    Error::of(source, "keep the encrypted file in a temporary one")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn checked(bytes: &[u8]) -> Result<()> {
        check(&mut Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn keys_then_one_payload_then_nothing() {
        // An old packet of a key, a new one, and a payload in two parts.
        let mut file = vec![0x8c, 2, 1, 1, 0xc3, 1, 7, 0xd2, 0xe1, 9, 9, 1, 5];
        assert!(checked(&file).is_ok());
        for end in 0..file.len() {
            assert!(checked(&file[..end]).is_err(), "{end}");
        }
        file.push(0);
        assert!(checked(&file).unwrap_err().to_string().contains("follows its end"));
    }

    #[test]
    fn what_is_not_protected_or_claims_too_much_is_refused() {
        for file in [
            &[0xc9, 1, 1][..],
            &[0xa7, 1, 1],
            &[0xcb, 1, 1],
            &[0xc3, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xc3, 0xe1, 1, 1, 1, 1],
            &[0xd2, 0xfe, 1],
            &[0xd2, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            b"-----BEGIN PGP MESSAGE-----\n",
            &[0xc3, 0].repeat(65),
        ] {
            assert!(checked(file).is_err(), "{file:x?}");
        }
    }
}
