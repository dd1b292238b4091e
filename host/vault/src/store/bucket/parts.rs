//! How large the parts of an upload are. S3 takes at most 10,000, of at least 5 MiB; R2 wants all but the last
//! to be equal. So the size follows from the length that is expected, and grows only where that was wrong.

use crate::store::content::Length;

const MIB: u64 = 1 << 20;
/// The least: small enough to hold several at a time.
const LEAST: u64 = 8 * MIB;
/// Without an expected length: 140 GiB in equal parts.
const UNKNOWN: u64 = 16 * MIB;
/// The most that is held in memory for a part.
const MOST: u64 = 512 * MIB;
/// Parts that an upload can have.
const COUNT: u64 = 10_000;
/// Parts of the expected size; the others are for what exceeds the expectation.
const EQUAL: u64 = 9_000;
/// Parts after which the size doubles from there on.
const STEP: u64 = 100;
/// Bytes that are on their way at a time, and parts.
const UNDERWAY: (u64, u64) = (32 * MIB, 4);
/// Bytes of parts that are held in memory, unless one part has more.
const HELD: u64 = 64 * MIB;

/// The sizes of parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    size: u64,
    exact: bool,
}

impl Parts {
    pub(crate) fn of(length: Length) -> Self {
        let (size, exact) = match length {
            Length::Exact(length) => (length.div_ceil(COUNT), true),
            Length::About(length) => (length.div_ceil(EQUAL), false),
            Length::Unknown => (UNKNOWN, false),
        };
        Parts { size: size.max(LEAST).next_multiple_of(MIB), exact }
    }

    /// The bytes of part `index`, from 0; `None` where there can be no such part.
    pub(crate) fn size(self, index: u64) -> Option<usize> {
        let size = match index {
            COUNT.. => return None,
            EQUAL.. if !self.exact => {
                let doubled = self.size.saturating_mul(2 << ((index - EQUAL) / STEP));
                doubled.min(self.size.max(MOST))
            }
            _ => self.size,
        };
        usize::try_from(size).ok()
    }

    /// How many parts are sent at a time.
    pub(crate) fn at_a_time(self) -> usize {
        usize::try_from((UNDERWAY.0 / self.size).clamp(1, UNDERWAY.1)).unwrap_or(1)
    }

    /// Whether a part `index` is only filled when nothing is on its way, since two would take too much memory.
    pub(crate) fn alone(self, index: u64) -> bool {
        self.size(index).is_some_and(|size| 2 * size as u64 > HELD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(parts: Parts) -> u64 {
        (0..COUNT).map(|index| parts.size(index).unwrap() as u64).sum()
    }

    #[test]
    fn parts_are_equal_where_the_length_is_known_and_enough_for_it() {
        for length in [0, 1, 5 * MIB, 78_000 * MIB, 80_000 * MIB, 1 << 40, 5 << 40] {
            for said in [Length::Exact(length), Length::About(length)] {
                let parts = Parts::of(said);
                assert!(sum(parts) >= length, "{said:?}");
                let needed = length.div_ceil(parts.size(0).unwrap() as u64);
                assert!((0..needed).all(|index| parts.size(index) == parts.size(0)), "{said:?}");
                assert!(parts.size(0).unwrap() as u64 >= 5 * MIB);
                assert_eq!(parts.size(COUNT), None);
            }
        }
    }

    #[test]
    fn what_exceeds_the_expectation_still_fits() {
        assert!(sum(Parts::of(Length::Unknown)) > 450 << 30);
        assert!(sum(Parts::of(Length::About(1 << 30))) > 250 << 30);
        // The sizes never fall: all but the last part must have 5 MiB.
        let parts = Parts::of(Length::Unknown);
        assert!((1..COUNT).all(|index| parts.size(index) >= parts.size(index - 1)));
    }

    #[test]
    fn memory_is_bounded() {
        for length in [
            Length::Unknown,
            Length::Exact(1 << 30),
            Length::Exact(300 << 30),
            Length::Exact(600 << 30),
            Length::About(500 << 30),
        ] {
            let parts = Parts::of(length);
            // Those on their way, and the one that is being filled.
            let held = |index| if parts.alone(index) { 1 } else { parts.at_a_time() as u64 + 1 };
            assert!(held(0) * parts.size(0).unwrap() as u64 <= HELD, "{length:?}");
        }
        // What exceeds every expectation goes in larger parts, one by one.
        let parts = Parts::of(Length::Unknown);
        assert!((0..COUNT).all(|index| parts.size(index).unwrap() as u64 <= MOST));
        assert!(
            (EQUAL..COUNT).all(|index| parts.alone(index) == (parts.size(index).unwrap() as u64 > 32 * MIB))
        );
        // The largest object that S3 takes: one part of it.
        let parts = Parts::of(Length::Exact(5 << 40));
        assert!(parts.alone(0) && parts.size(0).unwrap() as u64 <= 525 * MIB);
    }
}
