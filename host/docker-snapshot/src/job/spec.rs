//! What a volume is made from, in short: by its hash one sees whether a volume is still made as it was.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use snapshotter_engine::api::volume::Volume;

/// How many digits of the hash a name has.
const DIGITS: usize = 8;

/// The hash of what `volume` is made from, as Dockform takes it: the first 8 hexadecimal digits of the
/// SHA-256 of `driver=D|opts=k=v;k=v|labels=k=v;k=v`, keys sorted.
pub(crate) fn hash(volume: &Volume) -> String {
    digits(&form(volume))
}

/// The hash of several volumes: that of all their forms, each with its name before it and on a line of its
/// own.
pub(crate) fn hash_of_several<'a>(volumes: impl Iterator<Item = &'a Volume>) -> String {
    let mut lines: Vec<_> = volumes.map(|volume| format!("{}:{}\n", volume.name, form(volume))).collect();
    lines.sort();
    digits(&lines.concat())
}

fn form(volume: &Volume) -> String {
    format!("driver={}|opts={}|labels={}", volume.driver, pairs(&volume.options), pairs(&volume.labels))
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";")
}

fn digits(text: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(text));
    digits.truncate(DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str, options: &[(&str, &str)], labels: &[(&str, &str)]) -> Volume {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        let (options, labels) = (map(options), map(labels));
        let driver = "local".to_owned();
        Volume { name: name.to_owned(), driver, options, labels, created_at: String::new() }
    }

    #[test]
    fn a_volume_has_the_form_and_the_hash_that_dockform_gives_it() {
        let volume = volume("data", &[("type", "none"), ("o", "bind")], &[("b", "2"), ("a", "1")]);
        assert_eq!(form(&volume), "driver=local|opts=o=bind;type=none|labels=a=1;b=2");
        assert_eq!(
            hash(&self::volume("data", &[], &[])),
            &hex::encode(Sha256::digest("driver=local|opts=|labels="))[..8]
        );
    }

    #[test]
    fn several_have_one_hash_in_any_order() {
        let (a, b) = (volume("a", &[], &[]), volume("b", &[], &[("x", "y")]));
        let hash = hash_of_several([&a, &b].into_iter());
        assert_eq!(hash, hash_of_several([&b, &a].into_iter()));
        assert_ne!(hash, hash_of_several([&a].into_iter()));
        assert_eq!(hash.len(), 8);
    }
}
