//! Numbers in the fields of a header: octal text, or base-256 where that does not fit (GNU tar manual, "Basic
//! Tar Format": first bit set, two's complement, big endian).

/// Fills `field` with `value`: octal digits and a NUL, or base-256.
pub(crate) fn put(field: &mut [u8], value: i128) {
    let digits = field.len() - 1;
    // Three bits a digit; a field has at most eleven digits.
    if value >= 0 && value < 1 << (3 * digits) {
        let mut rest = value;
        field[digits] = 0;
        for digit in field[..digits].iter_mut().rev() {
            *digit = b"01234567"[usize::try_from(rest & 7).unwrap_or(0)];
            rest >>= 3;
        }
        return;
    }
    let bytes = value.to_be_bytes();
    field.copy_from_slice(&bytes[bytes.len() - field.len()..]);
    field[0] = if value < 0 { 0xff } else { 0x80 };
}

/// Reads a field that [`put`] or another program has filled; `None` for what is no number.
pub(crate) fn get(field: &[u8]) -> Option<i128> {
    digits(field).or_else(|| get_any(field))
}

/// What nearly every field is: octal digits up to a NUL or the field's end.
fn digits(field: &[u8]) -> Option<i128> {
    let length = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    // 21 digits are 63 bits.
    if length == 0 || length > 21 {
        return None;
    }
    let mut value = 0u64;
    for &byte in &field[..length] {
        let digit = byte.wrapping_sub(b'0');
        if digit > 7 {
            return None;
        }
        value = (value << 3) | u64::from(digit);
    }
    Some(i128::from(value))
}

fn get_any(field: &[u8]) -> Option<i128> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The sign is the second bit; what does not fit an i128 fits no use either.
        let start = if first & 0x40 != 0 { i128::from(first) - 256 } else { i128::from(first & 0x3f) };
        return rest.iter().try_fold(start, |sum, &byte| Some(sum.checked_mul(256)? + i128::from(byte)));
    }
    let text = field.split(|&byte| byte == 0).next().unwrap_or(&[]).trim_ascii();
    if text.is_empty() {
        return Some(0);
    }
    text.iter().try_fold(0i128, |sum, &byte| match byte {
        b'0'..=b'7' => Some((sum << 3) | i128::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways<const LEN: usize>(value: i128) -> [u8; LEN] {
        let mut field = [0; LEN];
        put(&mut field, value);
        assert_eq!(get(&field), Some(value), "{value}");
        field
    }

    #[test]
    fn numbers_are_octal_as_long_as_they_fit() {
        assert_eq!(&both_ways::<8>(0o644), b"0000644\0");
        assert_eq!(&both_ways::<8>((1 << 21) - 1), b"7777777\0");
        assert_eq!(&both_ways::<12>((8 << 30) - 1), b"77777777777\0");
    }

    #[test]
    fn what_does_not_fit_octal_is_base_256() {
        assert_eq!(&both_ways::<8>(1 << 21), b"\x80\0\0\0\0\x20\0\0");
        assert_eq!(&both_ways::<8>(4_294_967_294), b"\x80\0\0\0\xff\xff\xff\xfe");
        assert_eq!(&both_ways::<12>(8 << 30), b"\x80\0\0\0\0\0\0\x02\0\0\0\0");
        assert_eq!(&both_ways::<12>(-2), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe");
        both_ways::<12>(i128::from(i64::MIN));
        both_ways::<12>(i128::from(i64::MAX));
    }

    #[test]
    fn other_programs_numbers_are_read() {
        assert_eq!(get(b"   644 \0"), Some(0o644));
        assert_eq!(get(b"644\0junk"), Some(0o644));
        assert_eq!(get(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(get(b"        "), Some(0));
        assert_eq!(get(b"77777777"), Some((1 << 24) - 1));
        for field in [b"00008000", b"-0000001", b"64 4\0\0\0\0", b"0x000000"] {
            assert_eq!(get(field), None);
        }
    }
}
