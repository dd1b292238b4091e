//! The records of a pax extended header (POSIX, "pax Extended Header"): `LENGTH KEY=VALUE\n`, where LENGTH
//! counts all of it. They are read by their length and not by their newlines, since a value may hold any
//! byte.

use std::io::Write;

use crate::time::Time;

/// One record of an extended header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Where the value begins, in bytes from the start of the records.
    pub(crate) value_at: usize,
}

/// Appends one record.
pub(crate) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    push_parts(records, key, &[value]);
}

/// Appends one record whose value is `parts`, one behind the other.
pub(crate) fn push_parts(records: &mut Vec<u8>, key: &[u8], parts: &[&[u8]]) {
    let length = record_len(key.len() + parts.iter().map(|part| part.len()).sum::<usize>());
    push_decimal(records, length as u64);
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    for part in parts {
        records.extend_from_slice(part);
    }
    records.push(b'\n');
}

/// Appends a record with a time: sign and magnitude, as [`Time::to_pax`] has it.
pub(crate) fn push_time(records: &mut Vec<u8>, key: &[u8], time: Time) {
    // All but times before 1970, which are rare.
    if let Ok(secs) = u64::try_from(time.secs) {
        let mut text = [0; 32];
        let length = {
            let mut rest: &mut [u8] = &mut text;
            let room = rest.len();
            // It has at most 30 bytes.
            let _ = match time.nanos {
                0 => write!(rest, "{secs}"),
                nanos => write!(rest, "{secs}.{nanos:09}"),
            };
            room - rest.len()
        };
        let zeros = match time.nanos {
            0 => 0,
            _ => text[..length].iter().rev().take_while(|&&byte| byte == b'0').count(),
        };
        return push(records, key, &text[..length - zeros]);
    }
    push(records, key, time.to_pax().as_bytes());
}

/// Appends a record that says nothing and is `length` bytes long, which is 0 or at least a block.
pub(crate) fn push_filler(records: &mut Vec<u8>, length: usize) {
    if length == 0 {
        return;
    }
    let start = records.len();
    push_decimal(records, length as u64);
    records.extend_from_slice(b" comment=");
    records.resize(start + length - 1, b' ');
    records.push(b'\n');
}

/// The length of a record whose key and value have `content` bytes.
pub(crate) fn record_len(content: usize) -> usize {
    // The space, the equals sign and the newline; then the digits, whose number depends on themselves.
    let fixed = content + 3;
    let mut length = fixed + 1;
    while length != fixed + digits(length) {
        length = fixed + digits(length);
    }
    length
}

/// Appends a number in decimal.
pub(crate) fn push_decimal(text: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b"0123456789"[usize::try_from(rest % 10).unwrap_or(0)];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[start..]);
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// The records in `data`, one after the other; the first malformed one ends them with `Err`.
pub(crate) fn records(data: &[u8]) -> impl Iterator<Item = Result<Record<'_>, &'static str>> {
    let mut position = 0;
    std::iter::from_fn(move || {
        if position >= data.len() {
            return None;
        }
        let record = record(data, position);
        position = match record {
            Ok((_, next)) => next,
            Err(_) => data.len(),
        };
        Some(record.map(|(record, _)| record))
    })
}

/// The record at `start`, and where the next one begins.
fn record(data: &[u8], start: usize) -> Result<(Record<'_>, usize), &'static str> {
    let rest = &data[start..];
    let space = rest.iter().take(20).position(|&byte| byte == b' ').ok_or("a pax record without a length")?;
    let length = std::str::from_utf8(&rest[..space])
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse::<usize>().ok())
        .ok_or("a pax record without a length")?;
    if length <= space + 1 || length > rest.len() {
        return Err("a pax record that is longer than its header");
    }
    let body = &rest[space + 1..length];
    let Some((b'\n', body)) = body.split_last() else {
        return Err("a pax record that does not end in a newline");
    };
    let equals = body.iter().position(|&byte| byte == b'=').ok_or("a pax record without a value")?;
    if equals == 0 {
        return Err("a pax record without a key");
    }
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    Ok((Record { key, value, value_at: start + space + 1 + equals + 1 }, start + length))
}

/// The key of an attribute's record: `%` and `=` in its name are `%25` and `%3D`.
pub(crate) fn xattr_key(name: &[u8]) -> Vec<u8> {
    let mut key = XATTR.to_vec();
    for &byte in name {
        match byte {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            byte => key.push(byte),
        }
    }
    key
}

/// What the keys of attributes begin with.
pub(crate) const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the keys of attributes begin with that libarchive writes, once more or alone.
pub(crate) const LIBARCHIVE_XATTR: &[u8] = b"LIBARCHIVE.xattr.";

/// Name and value of an attribute of libarchive's: the name is percent-encoded, the value is base64, which may
/// lack its closing `=`.
pub(crate) fn libarchive_xattr(record: &Record) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut name = Vec::new();
    let mut rest = record.key.strip_prefix(LIBARCHIVE_XATTR)?;
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        (name, rest) = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => (pushed(name, 16 * hex(high)? + hex(low)?), tail),
            (b'%', _) => return None,
            _ => (pushed(name, byte), tail),
        };
    }
    Some((name, base64(record.value)?))
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(end / 4 * 3 + 2), 0, 0_u32);
    for byte in &text[..end] {
        let digit = DIGITS.iter().position(|digit| digit == byte)?;
        held = held << 6 | u32::try_from(digit).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

/// The name behind [`XATTR`] in a key. Other `%`s stand for themselves.
pub(crate) fn xattr_name(encoded: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, tail)) = rest.split_first() {
        (name, rest) = match rest {
            [b'%', b'2', b'5', tail @ ..] => (pushed(name, b'%'), tail),
            [b'%', b'3', b'D', tail @ ..] => (pushed(name, b'='), tail),
            _ => (pushed(name, byte), tail),
        };
    }
    name
}

fn pushed(mut name: Vec<u8>, byte: u8) -> Vec<u8> {
    name.push(byte);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_text() {
        for secs in [i64::MIN, -2, -1, 0, 1, 10, 1_700_000_000, i64::MAX] {
            for nanos in [0, 1, 10, 100_000_000, 123_456_780, 999_999_999] {
                let time = Time { secs, nanos };
                let mut records = Vec::new();
                push_time(&mut records, b"mtime", time);
                let value = self::records(&records).next().unwrap().unwrap().value;
                assert_eq!(value, time.to_pax().as_bytes());
            }
        }
    }

    #[test]
    fn lengths_count_their_own_digits() {
        for size in (0..1100).chain([9_980, 9_990, 99_980, 99_999]) {
            let mut data = Vec::new();
            push(&mut data, b"k", &vec![b'\n'; size]);
            push(&mut data, b"second", b"a=b");
            let found: Vec<_> = records(&data).map(Result::unwrap).collect();
            assert_eq!(found[0].value.len(), size);
            assert_eq!(&data[found[1].value_at..][..3], b"a=b");
            assert_eq!((found[1].key, found.len()), (&b"second"[..], 2));
        }
    }

    #[test]
    fn malformed_records_are_errors_and_end_the_list() {
        let many = [
            &b"x"[..],
            b"5 a=b",
            b"6 a=bX",
            b"0 a=b\n",
            b"2 \n",
            b"99 a=b\n",
            b"5 ab\n",
            b"5 =b\n",
            b"-6 a=b\n",
            b"+6 a=b\n",
            b"99999999999999999999999 a=b\n",
            b"\0\0\0\0",
        ];
        for data in many {
            let found: Vec<_> = records(data).collect();
            assert!(found.len() == 1 && found[0].is_err(), "{data:?}: {found:?}");
        }
    }

    #[test]
    fn attributes_of_libarchive_are_decoded() {
        for (key, value, expected) in [
            ("user.a", "aGVsbG8", Some(("user.a", "hello"))),
            ("user.a%3D%25b", "aGVsbG8=", Some(("user.a=%b", "hello"))),
            ("user.a", "", Some(("user.a", ""))),
            ("user.a", "AGE/Pw", Some(("user.a", "\0a??"))),
            ("user.a%3", "aGVsbG8", None),
            ("user.a%zz", "aGVsbG8", None),
            ("user.a", "aG!s", None),
        ] {
            let key = [LIBARCHIVE_XATTR, key.as_bytes()].concat();
            let record = Record { key: &key, value: value.as_bytes(), value_at: 0 };
            let expected =
                expected.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            assert_eq!(libarchive_xattr(&record), expected, "{value}");
        }
    }

    #[test]
    fn attribute_names_survive_both_ways() {
        for name in [&b"user.a=b"[..], b"user.100%", b"user.%3D", b"user.%25", b"user.\xff%=", b"user.plain"]
        {
            let key = xattr_key(name);
            assert!(!key.contains(&b'='));
            assert_eq!(xattr_name(key.strip_prefix(XATTR).unwrap()), name);
        }
    }
}
