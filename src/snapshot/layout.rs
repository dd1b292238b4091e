//! Which volume of a snapshot a member belongs to.

use std::cmp::Ordering;

/// The archive names of a snapshot's volumes.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    names: Vec<Vec<u8>>,
    /// The volumes in the order of their names, each followed by those in it; empty when there are few.
    sorted: Vec<Sorted>,
    /// Names come from the Go program, which may have put `/` or `./` in front of them.
    go: bool,
}

#[derive(Debug, Clone)]
struct Sorted {
    volume: usize,
    /// Where in this order the volume is that it lies in.
    outer: Option<usize>,
}

/// So many are looked at one after the other. An archive may list hundreds of thousands.
const FEW: usize = 16;

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
        let sorted = if names.len() > FEW { sort(&names) } else { Vec::new() };
        Layout { names, sorted, go: false }
    }

    pub(crate) fn of_go(names: Vec<Vec<u8>>) -> Self {
        Layout { go: true, ..Layout::new(names) }
    }

    /// Adds volumes behind the others.
    pub(crate) fn add(&mut self, names: Vec<Vec<u8>>) {
        let all = [std::mem::take(&mut self.names), names].concat();
        *self = Layout { go: self.go, ..Layout::new(all) };
    }

    pub(crate) fn is_go(&self) -> bool {
        self.go
    }

    /// What a volume is called.
    pub(crate) fn name(&self, volume: usize) -> Option<&[u8]> {
        self.names.get(volume).map(Vec::as_slice)
    }

    /// Where `name` belongs: to the volume with the longest name that it lies under.
    pub(crate) fn locate<'a>(&self, name: &'a [u8]) -> Option<Place<'a>> {
        let name = if self.go { strip(name) } else { name };
        if self.sorted.is_empty() {
            let lengths =
                (0..self.names.len()).filter_map(|volume| Some((volume, self.inside(volume, name)?)));
            return lengths
                .max_by_key(|&(volume, _)| self.names[volume].len())
                .map(|(volume, path)| Place { volume, path });
        }
        // What the name lies in comes before it, and all between the two lies in that as well.
        let behind = self.sorted.partition_point(|at| order(&self.names[at.volume], name).is_le());
        let mut at = behind.checked_sub(1);
        while let Some(&Sorted { volume, outer }) = at.map(|at| &self.sorted[at]) {
            if let Some(path) = self.inside(volume, name) {
                return Some(Place { volume, path });
            }
            at = outer;
        }
        None
    }

    /// The path inside the volume.
    fn inside<'a>(&self, volume: usize, name: &'a [u8]) -> Option<&'a [u8]> {
        inside(&self.names[volume], name)
    }
}

fn inside<'a>(volume: &[u8], name: &'a [u8]) -> Option<&'a [u8]> {
    match name.strip_prefix(volume)? {
        [] => Some(&[]),
        [b'/', path @ ..] => Some(path),
        _ => None,
    }
}

fn sort(names: &[Vec<u8>]) -> Vec<Sorted> {
    let mut volumes: Vec<usize> = (0..names.len()).collect();
    volumes.sort_by(|&a, &b| order(&names[a], &names[b]));
    let mut sorted: Vec<Sorted> = Vec::with_capacity(volumes.len());
    for volume in volumes {
        let mut outer = sorted.len().checked_sub(1);
        while let Some(at) = outer
            && inside(&names[sorted[at].volume], &names[volume]).is_none()
        {
            outer = sorted[at].outer;
        }
        sorted.push(Sorted { volume, outer });
    }
    sorted
}

/// By bytes, with `/` before all others: so a directory is followed by what is in it.
pub(crate) fn order(a: &[u8], b: &[u8]) -> Ordering {
    let shared = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let next = |name: &[u8]| name.get(shared).map(|&byte| (byte != b'/', byte));
    next(a).cmp(&next(b))
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

    #[test]
    fn of_many_volumes_the_same_one_is_found_as_of_few() {
        let words = [&b"a"[..], b"b", b"a!", b"a\0", b"ab", b"\xff"];
        let mut names: Vec<Vec<u8>> = Vec::new();
        for first in words {
            names.push(first.to_vec());
            for second in words {
                names.push([first, b"/", second].concat());
                names.push([first, b"/", second, b"/a/a"].concat());
            }
        }
        names.push(b"a/b".to_vec());
        let many = Layout::new(names.clone());
        let few = Layout { sorted: Vec::new(), ..many.clone() };
        let mut found = 0;
        for name in &names {
            for more in [&b""[..], b"/", b"/a", b"/a/a/a", b"/a/b", b"!", b"/\0", b"/\xff/a", b"/b/a"] {
                let name = [name, more].concat();
                assert_eq!(many.locate(&name), few.locate(&name), "{}", name.escape_ascii());
                found += usize::from(many.locate(&name).is_some());
            }
        }
        assert!(!many.sorted.is_empty() && found > 500, "{found}");
    }
}
