//! SHA-256 of short texts: the Go program named volumes by it. Nothing's safety rests on it.

/// The first 32 bits of the fractional parts of the roots of the first primes: of the square roots of 8, and of the cube
/// roots of 64.
fn constants() -> ([u32; 8], [u32; 64]) {
    let is_prime = |n: &u128| (2..*n).all(|d| !n.is_multiple_of(d));
    let primes: Vec<u128> = (2..312).filter(is_prime).collect();
    // The largest whole number whose power is not above that of the prime, shifted to have 32 bits of fraction.
    let root = |prime: u128, power: u32| {
        let (mut low, mut high) = (0_u128, 1 << 37);
        while low + 1 < high {
            let middle = u128::midpoint(low, high);
            if middle.pow(power) <= prime << (32 * power) { low = middle } else { high = middle }
        }
        u32::try_from(low & u128::from(u32::MAX)).unwrap_or_default()
    };
    (std::array::from_fn(|at| root(primes[at], 2)), std::array::from_fn(|at| root(primes[at], 3)))
}

/// In lowercase hex.
pub(crate) fn hex(text: &[u8]) -> String {
    let (mut state, keys) = constants();
    let mut padded = [text, &[0x80]].concat();
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((text.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 64];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, &byte| word << 8 | u32::from(byte));
        }
        for at in 16..64 {
            let (a, b) = (words[at - 15], words[at - 2]);
            let a = a.rotate_right(7) ^ a.rotate_right(18) ^ a >> 3;
            let b = b.rotate_right(17) ^ b.rotate_right(19) ^ b >> 10;
            words[at] = words[at - 16].wrapping_add(a).wrapping_add(words[at - 7]).wrapping_add(b);
        }
        let mixed = words.iter().zip(keys).fold(state, round);
        state = std::array::from_fn(|at| state[at].wrapping_add(mixed[at]));
    }
    let digits = state.iter().flat_map(|word| (0..8).rev().map(move |at| word >> (4 * at) & 15));
    digits.filter_map(|digit| char::from_digit(digit, 16)).collect()
}

#[expect(clippy::many_single_char_names, reason = "they are called so")]
fn round([a, b, c, d, e, f, g, h]: [u32; 8], (word, key): (&u32, u32)) -> [u32; 8] {
    let up = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
    let choice = (e & f) ^ (!e & g);
    let first = h.wrapping_add(up).wrapping_add(choice).wrapping_add(key).wrapping_add(*word);
    let down = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
    let majority = (a & b) ^ (a & c) ^ (b & c);
    [first.wrapping_add(down.wrapping_add(majority)), a, b, c, d.wrapping_add(first), e, f, g]
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn it_is_what_everybody_computes() {
        assert_eq!(hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let long = hex(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq");
        assert_eq!(long, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    }
}
