//! The records of a pax extended header (POSIX, "pax Extended Header"): `LENGTH KEY=VALUE\n`, where LENGTH counts
//! all of it. They are read by their length and not by their newlines, since a value may hold any byte.

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
    // The space, the equals sign and the newline; then the digits, whose number depends on themselves.
    let fixed = key.len() + value.len() + 3;
    let mut length = fixed + 1;
    while length != fixed + digits(length) {
        length = fixed + digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
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
    fn attribute_names_survive_both_ways() {
        for name in [&b"user.a=b"[..], b"user.100%", b"user.%3D", b"user.%25", b"user.\xff%=", b"user.plain"]
        {
            let key = xattr_key(name);
            assert!(!key.contains(&b'='));
            assert_eq!(xattr_name(key.strip_prefix(XATTR).unwrap()), name);
        }
    }
}
