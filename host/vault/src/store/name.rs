//! Names in a store. A store may be an enemy's: what it lists becomes a path of this machine at the latest
//! when it is restored, so a name that could lead out of a directory is never made.

use std::fmt;
use std::str::FromStr;

use super::error::{Error, Result};

/// The longest name, in bytes: S3's limit for a key, of which a prefix takes a part.
const LONGEST: usize = 900;
/// The longest part between slashes, in bytes: what a file's name can have, less what a temporary name adds.
const LONGEST_PART: usize = 200;

/// A name in a store: parts joined by `/`, none of them empty, `.` or `..`, none beginning with a dot, and
/// without control characters. What begins with a dot is temporary, see `directory`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes before the last slash; empty without one.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// What comes after the last slash.
    pub fn last(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, last)| last)
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match problem(name) {
            Some(problem) => Err(Error::Name { name: name.to_owned(), problem }),
            None => Ok(Name(name.to_owned())),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn problem(name: &str) -> Option<&'static str> {
    if name.len() > LONGEST {
        return Some("it is too long");
    }
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return Some("it has a control character or a backslash");
    }
    name.split('/').find_map(|part| match part {
        "" => Some("a part of it is empty"),
        part if part.starts_with('.') => Some("a part of it begins with a dot"),
        part if part.len() > LONGEST_PART => Some("a part of it is too long"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_its_store() {
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/./b", ".hidden", "a\0b", "a\nb",
            "a\\b",
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(201).parse::<Name>().is_err());
        for good in
            ["a", "a/b.tar.zst", "pgdata/2026-01-02T03-04-05Z__spec-0011aabb.tar.zst", "ü/ß", "a b", "a..b"]
        {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn folder_and_last_make_the_name() {
        let name: Name = "a/b/c".parse().unwrap();
        assert_eq!((name.folder(), name.last()), ("a/b", "c"));
        let name: Name = "c".parse().unwrap();
        assert_eq!((name.folder(), name.last()), ("", "c"));
    }
}
