//! Names in a tar of another program, as paths below where it is restored to: `./a`, `/a` and `a//.` are all
//! `a`, and leading directories may be cut off.

use std::borrow::Cow;
use std::convert::Infallible;
use std::str::FromStr;

/// What is cut off the names of a tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strip {
    /// So many leading directories, which must be the same for all members.
    Leading(usize),
    /// This directory, and all that lies elsewhere is left out.
    Directory(String),
}

impl Default for Strip {
    fn default() -> Self {
        Strip::Leading(0)
    }
}

impl FromStr for Strip {
    type Err = Infallible;

    /// A number, or a directory; `./1` is a directory.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        Ok(match text.parse() {
            Ok(number) if is_number => Strip::Leading(number),
            _ => Strip::Directory(text.to_owned()),
        })
    }
}

impl Strip {
    /// The path that `name` stands for; `None` where it lies above what is cut off, or outside. One that leads
    /// up is returned whole, to be refused.
    pub(crate) fn path<'a>(&self, name: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let tidy = tidy(name);
        if leads_up(&tidy) {
            return Some(tidy);
        }
        let cut = self.head_len(&tidy)?;
        let behind = |path: &[u8]| cut + usize::from(cut > 0 && path.get(cut) == Some(&b'/'));
        Some(match tidy {
            Cow::Borrowed(path) => Cow::Borrowed(&path[behind(path)..]),
            Cow::Owned(path) => Cow::Owned(path[behind(&path)..].to_vec()),
        })
    }

    /// The leading directories that are cut off `name`; empty where there are none.
    pub(crate) fn head<'a>(&self, name: &'a [u8]) -> Cow<'a, [u8]> {
        let tidy = tidy(name);
        let cut = self.head_len(&tidy).unwrap_or(0);
        match tidy {
            Cow::Borrowed(path) => Cow::Borrowed(&path[..cut]),
            Cow::Owned(path) => Cow::Owned(path[..cut].to_vec()),
        }
    }

    /// How much of a tidy path is cut off, without the slash behind it.
    fn head_len(&self, path: &[u8]) -> Option<usize> {
        match self {
            Strip::Leading(0) => Some(0),
            Strip::Leading(count) => {
                let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
                ends.chain([path.len()].into_iter().filter(|_| !path.is_empty())).nth(count - 1)
            }
            Strip::Directory(directory) => {
                let directory = tidy(directory.as_bytes());
                let rest = path.strip_prefix(directory.as_ref())?;
                let is_inside = directory.is_empty() || matches!(rest, [] | [b'/', ..]);
                is_inside.then_some(directory.len())
            }
        }
    }
}

fn leads_up(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|part| part == b"..")
}

/// A name without the parts that lead nowhere.
fn tidy(name: &[u8]) -> Cow<'_, [u8]> {
    let mut rest = name;
    while let [b'/', tail @ ..] | [b'.', b'/', tail @ ..] = rest {
        rest = tail;
    }
    if rest == b"." {
        rest = &[];
    }
    let is_idle = |part: &&[u8]| matches!(**part, [] | [b'.']);
    if rest.is_empty() || !rest.split(|&byte| byte == b'/').any(|part| is_idle(&part)) {
        return Cow::Borrowed(rest);
    }
    let parts: Vec<&[u8]> = rest.split(|&byte| byte == b'/').filter(|part| !is_idle(part)).collect();
    Cow::Owned(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tidied_and_cut() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("0", "a/b", Some("a/b")),
            ("0", "./", Some("")),
            ("0", ".", Some("")),
            ("0", "", Some("")),
            ("0", "././/a", Some("a")),
            ("0", "/a/b", Some("a/b")),
            ("0", "a//b/./c/.", Some("a/b/c")),
            ("0", ".a/..b", Some(".a/..b")),
            ("0", "a/../b", Some("a/../b")),
            ("1", "a/b/c", Some("b/c")),
            ("1", "a/", Some("")),
            ("1", "./a", Some("")),
            ("1", "./", None),
            ("1", "../b", Some("../b")),
            ("2", "a/b", Some("")),
            ("2", "a", None),
            ("2", "/a/./b//c", Some("c")),
            ("18446744073709551615", "a/b", None),
            ("backup/app", "backup/app/x", Some("x")),
            ("/backup/app/", "./backup/app", Some("")),
            ("backup/app", "backup/app2/x", None),
            ("backup/app", "backup", None),
            ("./1", "1/x", Some("x")),
            (".", "a", Some("a")),
        ];
        for (strip, name, expected) in cases {
            let strip: Strip = strip.parse().unwrap();
            let path = strip.path(name.as_bytes());
            assert_eq!(path.as_deref(), expected.map(str::as_bytes), "{strip:?} {name}");
        }
        assert_eq!(*Strip::Leading(2).head(b"./a//b/c"), *b"a/b");
        assert_eq!(*Strip::Leading(2).head(b"a"), *b"");
    }
}
