//! What is strange about a backup that was made without an error: it is empty, or much smaller than the one
//! before. A volume that was not mounted, or a database that was dropped, looks just like that.

use std::collections::BTreeMap;

/// Less than this is no loss that could be told from the usual coming and going, in bytes.
const SMALL: u64 = 64 << 10;

/// The parts of a backup, and the bytes of each.
pub(crate) type Sizes = BTreeMap<String, u64>;

/// What is strange about a backup of these `sizes`, when the one before had those of `before`.
pub(crate) fn strange(sizes: &Sizes, files: u64, before: Option<&Sizes>) -> Vec<String> {
    let mut strange = Vec::new();
    if files == 0 {
        strange.push("it is empty: there is neither a file nor a database in it".to_owned());
    }
    for (part, &then) in before.into_iter().flatten() {
        // What is not wanted any longer is not missed.
        let Some(&now) = sizes.get(part) else { continue };
        if now < then / 2 && then - now > SMALL {
            strange.push(format!("{part} has {now} bytes, and had {then} the last time"));
        }
    }
    strange
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(all: &[(&str, u64)]) -> Sizes {
        all.iter().map(|(part, size)| ((*part).to_owned(), *size)).collect()
    }

    #[test]
    fn a_part_that_has_shrunk_to_less_than_half_is_strange_among_large_ones_too() {
        let before = sizes(&[("files", 10 << 30), ("app", 1 << 20), ("tiny", 1000), ("gone", 1 << 20)]);
        let now = sizes(&[("files", 10 << 30), ("app", 1 << 10), ("tiny", 1)]);
        let strange = strange(&now, 3, Some(&before));
        assert_eq!(strange, ["app has 1024 bytes, and had 1048576 the last time"]);
    }

    #[test]
    fn half_is_not_strange_and_neither_is_the_first_backup() {
        let before = sizes(&[("app", 1 << 20)]);
        assert!(strange(&sizes(&[("app", 1 << 19)]), 1, Some(&before)).is_empty());
        assert!(strange(&sizes(&[("app", 1)]), 1, None).is_empty());
        assert_eq!(strange(&sizes(&[("app", 0)]), 0, None).len(), 1);
    }
}
