//! Which paths inside a volume are restored where not all of it is asked for.

/// The paths inside one volume that alone are restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Only(Vec<Vec<u8>>);

impl Only {
    /// These paths, none of which is the volume itself.
    pub(super) fn new(paths: Vec<Vec<u8>>) -> Self {
        Only(paths)
    }

    pub(super) fn paths(&self) -> &[Vec<u8>] {
        &self.0
    }

    /// Whether `path` is one of these, or lies below one.
    pub(super) fn holds(&self, path: &[u8]) -> bool {
        self.0.iter().any(|only| is_inside(path, only))
    }

    /// Whether `path` is a directory on the way to one of these, and in none of them.
    pub(super) fn leads(&self, path: &[u8]) -> bool {
        !self.holds(path) && self.0.iter().any(|only| is_below(only, path))
    }
}

/// Whether `path` is restored when `only` is asked for: it, what is below it, and the directories that lead
/// to it.
pub(super) fn is_asked_for(path: &[u8], only: Option<&Only>) -> bool {
    only.is_none_or(|only| only.holds(path) || only.leads(path))
}

/// Whether `path` is `only`, or lies below it.
pub(super) fn is_inside(path: &[u8], only: &[u8]) -> bool {
    path == only || is_below(path, only)
}

/// Whether `path` lies below `directory`.
pub(super) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty() && !path.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_one_path_is_on_the_way_to_none() {
        let only = Only::new([&b"a/b"[..], b"a/b/c/d", b"e"].map(<[u8]>::to_vec).to_vec());
        for (path, holds, leads) in [
            (&b""[..], false, true),
            (b"a", false, true),
            (b"a/b", true, false),
            (b"a/b/c", true, false),
            (b"a/bc", false, false),
            (b"e/f", true, false),
            (b"f", false, false),
        ] {
            assert_eq!((only.holds(path), only.leads(path)), (holds, leads), "{}", path.escape_ascii());
            assert_eq!(is_asked_for(path, Some(&only)), holds || leads);
        }
        assert!(is_asked_for(b"f", None));
    }
}
