//! Which volume of a snapshot a member belongs to.

/// The archive names of a snapshot's volumes.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    names: Vec<Vec<u8>>,
    /// Names come from the Go program, which may have put `/` or `./` in front of them.
    go: bool,
}

/// A place in a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// Which volume, in the configuration's order.
    pub(crate) volume: usize,
    /// The path inside it; empty for the volume itself.
    pub(crate) path: &'a [u8],
}

impl Layout {
    /// `names` are the volumes' names in the archive, in their order.
    pub(crate) fn new(names: Vec<Vec<u8>>) -> Self {
        Layout { names, go: false }
    }

    pub(crate) fn of_go(names: Vec<Vec<u8>>) -> Self {
        Layout { names, go: true }
    }

    pub(crate) fn is_go(&self) -> bool {
        self.go
    }

    /// Where `name` belongs: to the volume with the longest name that it lies under.
    pub(crate) fn locate<'a>(&self, name: &'a [u8]) -> Option<Place<'a>> {
        let name = if self.go { strip(name) } else { name };
        let inside = |(volume, of): (usize, &Vec<u8>)| {
            let rest = name.strip_prefix(of.as_slice())?;
            match rest {
                [] => Some((of.len(), Place { volume, path: rest })),
                [b'/', path @ ..] => Some((of.len(), Place { volume, path })),
                _ => None,
            }
        };
        self.names
            .iter()
            .enumerate()
            .filter_map(inside)
            .max_by_key(|(length, _)| *length)
            .map(|(_, place)| place)
    }
}

/// A name without `/` and `./` in front.
pub(crate) fn strip(mut name: &[u8]) -> &[u8] {
    while let [b'/', rest @ ..] | [b'.', b'/', rest @ ..] = name {
        name = rest;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_belongs_to_the_volume_with_the_longest_name() {
        let names = [&b"p/a"[..], b"p/a/b", b"p/ab"].map(<[u8]>::to_vec).to_vec();
        let layout = Layout::new(names.clone());
        let at = |name: &'static [u8]| layout.locate(name).map(|place| (place.volume, place.path));
        assert_eq!(at(b"p/a"), Some((0, &b""[..])));
        assert_eq!(at(b"p/a/bc"), Some((0, &b"bc"[..])));
        assert_eq!(at(b"p/a/b/c"), Some((1, &b"c"[..])));
        assert_eq!(at(b"p/ab/c"), Some((2, &b"c"[..])));
        assert_eq!(at(b"p/abc"), None);
        assert_eq!(at(b"./p/a"), None);
        let go = Layout::of_go(names);
        assert_eq!(go.locate(b".//./p/a/x"), Some(Place { volume: 0, path: b"x" }));
    }
}
