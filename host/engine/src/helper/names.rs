//! What a helper calls its paths, and what its user calls them. The core says `/volumes/0/a/b`; the user
//! knows a volume, so it is said as `docker cp` would name it: `data:/a/b`.

use crate::helper::spec::Spec;

/// Puts names in the place of paths.
#[derive(Debug)]
pub(super) struct Names {
    /// Where it is in the helper, and what it is called; longer paths first.
    known: Vec<(String, String)>,
}

impl Names {
    pub(super) fn of(spec: &Spec) -> Self {
        let mut known: Vec<_> =
            spec.mounts.iter().map(|mount| (mount.target.clone(), mount.source.called())).collect();
        known.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Names { known }
    }

    /// `path` as its user would name it.
    pub(super) fn path(&self, path: &[u8]) -> Vec<u8> {
        for (target, called) in &self.known {
            let Some(rest) = path.strip_prefix(target.as_bytes()) else { continue };
            if rest.is_empty() || rest[0] == b'/' {
                return self::joined(called, rest);
            }
        }
        path.to_owned()
    }

    /// `text` with every path in it so.
    pub(super) fn text(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = None;
        while let Some(first) = rest.chars().next() {
            let begins = before.is_none_or(|before: char| !is_of_path(before) && before != '/');
            let found = self.known.iter().find(|(target, _)| {
                let next = rest.strip_prefix(target.as_str()).map(|rest| rest.chars().next());
                next.is_some_and(|next| next.is_none_or(|next| !is_of_path(next)))
            });
            if let Some((target, called)) = found.filter(|_| begins) {
                rest = &rest[target.len()..];
                let tail: &[u8] = if rest.starts_with('/') { b"/" } else { b"" };
                shown.push_str(&String::from_utf8_lossy(&joined(called, tail)));
                rest = rest.strip_prefix('/').unwrap_or(rest);
                before = Some('/');
            } else {
                shown.push(first);
                before = Some(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        shown
    }
}

/// What is called `called`, and `rest` of a path in it.
fn joined(called: &str, rest: &[u8]) -> Vec<u8> {
    let rest = if rest.is_empty() && called.ends_with(':') { b"/" } else { rest };
    [called.as_bytes(), rest].concat()
}

/// Whether a name may go on with it.
fn is_of_path(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::spec::Mount;

    fn names() -> Names {
        let mut spec = Spec::new(["list"], &[]);
        spec.mounts = vec![
            Mount::read("data", "/volumes/1"),
            Mount::read("other", "/volumes/10"),
            Mount::directory("/srv/backups", "/destination"),
        ];
        Names::of(&spec)
    }

    #[test]
    fn paths_are_named_by_volume() {
        for (path, shown) in [
            ("/volumes/1/a/b", "data:/a/b"),
            ("/volumes/1", "data:/"),
            ("/volumes/10/a", "other:/a"),
            ("/volumes/100/a", "/volumes/100/a"),
            ("/destination/x.tar", "/srv/backups/x.tar"),
            ("/destination", "/srv/backups"),
            ("/etc", "/etc"),
        ] {
            assert_eq!(names().path(path.as_bytes()), shown.as_bytes());
        }
    }

    #[test]
    fn text_is_left_as_it_is_but_for_paths() {
        for (text, shown) in [
            ("cannot read /volumes/1/a b: denied", "cannot read data:/a b: denied"),
            ("/volumes/1: is empty", "data:/: is empty"),
            ("between /volumes/10 and /volumes/1", "between other:/ and data:/"),
            ("data/volumes/1/x /x/volumes/1", "data/volumes/1/x /x/volumes/1"),
            ("`/destination/x.tar` is full", "`/srv/backups/x.tar` is full"),
            ("/volumes/1.old, /volumes/1é", "/volumes/1.old, /volumes/1é"),
            ("", ""),
        ] {
            assert_eq!(names().text(text), shown);
        }
    }
}
