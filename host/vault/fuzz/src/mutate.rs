//! Changes to an input: bytes where it hurts most, and then the checksum of the seek table, without which nothing
//! behind it would be reached.

/// Random numbers that are the same for the same seed. <https://prng.di.unimi.it/splitmix64.c>
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
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }
}

/// Changes a few things.
pub(crate) fn change(file: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if file.is_empty() {
            return;
        }
        let near = [40, 200, file.len()][random.below(3)].min(file.len());
        let at = if random.below(2) == 0 { file.len() - 1 - random.below(near) } else { random.below(near) };
        match random.below(7) {
            0 => file[at] ^= 1 << random.below(8),
            1 => file.truncate(at),
            2 => {
                let end = file.len().min(at + random.below(100));
                file.drain(at..end);
            }
            3 => {
                let more: Vec<u8> = (0..random.below(50)).map(|_| random.next().to_le_bytes()[0]).collect();
                file.splice(at..at, more);
            }
            // A stretch again, or elsewhere: whole frames and entries of the table among others.
            4 => {
                let stretch = file[at..file.len().min(at + random.below(400))].to_vec();
                let to = random.below(file.len());
                file.splice(to..to, stretch);
            }
            5 => number(file, at, random),
            _ => file[at] = [0, 0xff, 0x7f, 0x80][random.below(4)],
        }
    }
}

/// Sets four bytes to a number that readers get wrong.
fn number(file: &mut [u8], at: usize, random: &mut Random) {
    let numbers = [0, 1, 8, 1 << 20, 4 << 20, (4 << 20) + 1, 1 << 24, 1 << 31, u32::MAX - 8, u32::MAX];
    let bytes = numbers[random.below(numbers.len())].to_le_bytes();
    for (place, byte) in file[at..].iter_mut().zip(bytes) {
        *place = byte;
    }
}

/// Gives the seek table at the end, if there is one, the checksum that it should have.
pub(crate) fn repair(file: &mut [u8]) {
    const SUM: &[u8] = b"BLAKE3 of the seek table\n";
    let Some([a, b, c, d, 0x80, 0xb1, 0xea, 0x92, 0x8f]) = file.last_chunk::<9>() else { return };
    let entries = (u32::from_le_bytes([*a, *b, *c, *d]) as usize).saturating_mul(12);
    // Behind them nine bytes, and eight in front of them. The last entry is the checksum's own.
    let Some(start) = file.len().checked_sub(entries.saturating_add(9)).filter(|_| entries >= 12) else {
        return;
    };
    let end = file.len() - 9 - 12;
    let sum = *blake3::hash(&file[start..end]).as_bytes();
    let Some(place) = start.checked_sub(8 + sum.len()).filter(|place| file[..*place].ends_with(SUM)) else {
        return;
    };
    file[place..place + sum.len()].copy_from_slice(&sum);
}
