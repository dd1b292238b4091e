//! The names of files: `DIR/SET/2026-01-31T03-00-00Z__spec-0123abcd.tar.zst`, and `.json` beside it. The
//! form is Dockform's, so that its files and ours lie in one directory, and either is found.

use snapshotter::time::Time;

/// A file's name without what follows the first `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stem(String);

impl Stem {
    /// Of a set that was taken at `created`, of volumes with the hash `spec`.
    pub(crate) fn new(created: Time, spec: &str) -> Self {
        Stem(format!("{}__spec-{spec}", moment(created)))
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// `created` as names have it: `2026-01-31T03-00-00Z`.
fn moment(created: Time) -> String {
    Time { nanos: 0, ..created }.to_rfc3339().replace(':', "-")
}

/// The time that a file's name begins with, as RFC 3339 has it, if it begins with one.
pub(crate) fn time_of(name: &str) -> Option<String> {
    let moment = name.get(..20)?;
    let (date, time) = moment.split_once('T')?;
    let text = format!("{date}T{}", time.replace('-', ":"));
    let parsed = Time::from_rfc3339(&text).filter(|_| text.ends_with('Z'))?;
    (parsed.to_rfc3339() == text).then_some(text)
}

/// Whether `name` may be the name of a volume, a container or a project, and so that of a directory: engines
/// allow no more.
pub(crate) fn is_legal(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    name.len() <= 255
        && name.bytes().all(inner)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
}

/// The name in `names` that `wanted` is probably meant to be.
pub(crate) fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let contains = |name: &str| name.contains(wanted) || wanted.contains(name);
    names
        .map(|name| (distance(wanted, name), name))
        .filter(|&(distance, name)| distance * 3 <= wanted.chars().count() || contains(name))
        .min()
        .map(|(_, name)| name)
}

/// How many characters are to be put in, taken out or changed to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when_it_was_taken() {
        let time = Time::from_rfc3339("2026-11-29T14:05:06.5Z").unwrap();
        let stem = Stem::new(time, "0123abcd");
        assert_eq!(stem.as_str(), "2026-11-29T14-05-06Z__spec-0123abcd");
        assert_eq!(time_of(stem.as_str()).as_deref(), Some("2026-11-29T14:05:06Z"));
        for name in
            ["", "data.tar", "2026-13-29T14-05-06Z__spec-1.tar", "2026-11-29T14-05-06+", "ééééééééééééé"]
        {
            assert_eq!(time_of(name), None, "{name}");
        }
    }

    #[test]
    fn no_name_leads_elsewhere() {
        for name in ["a", "a_b.c-d", "0", "A..b", "_x"] {
            assert!(is_legal(name), "{name}");
        }
        for name in ["", ".", "..", "../a", "a/b", "-a", ".a", "a b", "é", "a\n"] {
            assert!(!is_legal(name), "{name}");
        }
    }

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        let names = || ["shop_data", "shop_cache", "wiki_data"].into_iter();
        assert_eq!(near("shop_dat", names()), Some("shop_data"));
        assert_eq!(near("shop-data", names()), Some("shop_data"));
        assert_eq!(near("cache", names()), Some("shop_cache"));
        assert_eq!(near("zzzzzz", names()), None);
    }
}
