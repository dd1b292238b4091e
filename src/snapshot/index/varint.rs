//! Numbers of the index: seven bits a byte, the lowest first, with the eighth bit set on all bytes but
//! the last (LEB128). A signed number is folded first: 0, −1, 1, −2, … become 0, 1, 2, 3, ….

/// Appends `number`.
pub(super) fn push(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Appends a signed number.
pub(super) fn push_signed(out: &mut Vec<u8>, number: i64) {
    push(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Appends `bytes`, behind how many there are.
pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What is wrong with bytes that end too soon.
const CUT_OFF: &str = "it is cut off";

/// Takes bytes from the front, and never more than there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taker<'a>(pub(super) &'a [u8]);

impl<'a> Taker<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, &'static str> {
        let (&first, rest) = self.0.split_first().ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(first)
    }

    pub(super) fn number(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("it has a number that is too large")
    }

    pub(super) fn signed(&mut self) -> Result<i64, &'static str> {
        let folded = self.number()?;
        Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    /// A number of 32 bits.
    pub(super) fn small(&mut self) -> Result<u32, &'static str> {
        u32::try_from(self.number()?).map_err(|_| "it has a number that is too large")
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        let length = usize::try_from(self.number()?).map_err(|_| CUT_OFF)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], &'static str> {
        let (&taken, rest) = self.0.split_first_chunk().ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_cut_or_too_long_ones_do_not() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            push(&mut bytes, number);
            push_signed(&mut bytes, number.cast_signed());
            let mut taker = Taker(&bytes);
            assert_eq!((taker.number(), taker.signed()), (Ok(number), Ok(number.cast_signed())));
            assert!(taker.is_empty() && Taker(&bytes[..bytes.len() - 1]).number().is_ok());
        }
        for bytes in [
            &[][..],
            &[0x80],
            &[0xff; 9],
            &[0xff; 12],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
        ] {
            assert!(Taker(bytes).number().is_err(), "{bytes:?}");
        }
        assert_eq!((Taker(&[3, 1, 2]).bytes(), Taker(&[2, 1, 2]).bytes()), (Err(CUT_OFF), Ok(&[1, 2][..])));
    }

    #[test]
    fn signed_numbers_near_zero_are_short() {
        for number in [-64, -1, 0, 1, 63] {
            let mut bytes = Vec::new();
            push_signed(&mut bytes, number);
            assert_eq!((bytes.len(), Taker(&bytes).signed()), (1, Ok(number)));
        }
    }
}
