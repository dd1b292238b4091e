//! Where filesystems are mounted. Docker volumes nest, single files are mounted too, and bind mounts of one
//! filesystem share a device number, so that only `mountinfo` tells: this thread's, which may have a mount namespace
//! of its own (<https://docs.kernel.org/filesystems/proc.html#proc-pid-mountinfo-information-about-mounts>).

use std::collections::{HashMap, HashSet};
use std::{fs, io};

/// The paths at which something is mounted and can be seen by this process, canonical, as bytes.
///
/// # Errors
/// `/proc/thread-self/mountinfo` cannot be read.
pub(crate) fn mount_points() -> io::Result<Vec<Vec<u8>>> {
    Ok(visible(&fs::read("/proc/thread-self/mountinfo")?))
}

/// Those of `points` that lie below `root`, relative to it. A point at `root` itself is not below it.
pub(crate) fn below<'a>(root: &[u8], points: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let relative = points.iter().filter_map(|point| point.strip_prefix(root)?.strip_prefix(b"/"));
    relative.filter(|path| !path.is_empty()).collect()
}

/// A mount that another hides, at its own point or above it, is listed too: walk down to each point as the
/// kernel would, and keep it if that ends in the mount itself.
fn visible(mountinfo: &[u8]) -> Vec<Vec<u8>> {
    let mounts: Vec<Mount> = mountinfo.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect();
    let ids: HashSet<&[u8]> = mounts.iter().map(|mount| mount.id).collect();
    // The parent of the outermost mount is itself, or lies outside what this process can see.
    let parent = |mount: &Mount| (mount.parent != mount.id).then(|| ids.get(mount.parent).copied()).flatten();
    let children: HashMap<_, _> =
        mounts.iter().map(|mount| ((parent(mount), mount.point.as_slice()), mount.id)).collect();
    let seen_at = |point: &[u8]| {
        let slashes = (1..point.len()).filter(|at| point[*at] == b'/').map(|at| &point[..at]);
        let way = [&b"/"[..]].into_iter().chain(slashes).chain((point != b"/").then_some(point));
        way.fold(None, |mut mount, path| {
            while let Some(above) = children.get(&(mount, path)) {
                mount = Some(*above);
            }
            mount
        })
    };
    let seen = mounts.iter().filter(|mount| seen_at(&mount.point) == Some(mount.id));
    seen.map(|mount| mount.point.clone()).collect()
}

struct Mount<'a> {
    id: &'a [u8],
    parent: &'a [u8],
    point: Vec<u8>,
}

impl<'a> Mount<'a> {
    /// Reads `ID PARENT MAJOR:MINOR ROOT POINT …`.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        Some(Mount { id: fields.next()?, parent: fields.next()?, point: unescape(fields.nth(2)?) })
    }
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
fn unescape(mut field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    while let Some((&byte, rest)) = field.split_first() {
        if let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] = field {
            out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            field = rest;
        } else {
            out.push(byte);
            field = rest;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(mountinfo: &str) -> Vec<String> {
        let points = visible(mountinfo.as_bytes());
        points.iter().map(|point| String::from_utf8_lossy(point).into_owned()).collect()
    }

    #[test]
    fn this_process_has_a_mount_at_proc() {
        assert!(mount_points().unwrap().contains(&b"/proc".to_vec()));
    }

    #[test]
    fn escaped_points_are_unescaped_once() {
        let line = b"9 1 0:2 / /a\\040b\\134040\\011\\012\\9\\08\xff rw shared:1 - tmpfs tmpfs rw\n";
        assert_eq!(visible(line), [b"/a b\\040\t\n\\9\\08\xff".to_vec()]);
    }

    #[test]
    fn a_mount_under_another_is_not_seen() {
        let hidden = "20 1 8:1 / / rw - x x rw\n21 20 8:1 / /a/b rw - x x rw\n22 20 8:1 / /a rw - x x rw\n";
        assert_eq!(points(hidden), ["/", "/a"]);
        let nested = "20 1 8:1 / / rw - x x rw\n22 20 8:1 / /a rw - x x rw\n21 22 8:1 / /a/b rw - x x rw\n";
        assert_eq!(points(nested), ["/", "/a", "/a/b"]);
    }

    #[test]
    fn of_two_mounts_at_one_point_the_upper_is_seen() {
        let stacked = "1 1 0:1 / / rw - rootfs x rw\n20 1 8:1 / / rw - x x rw\n\
                       21 20 8:1 / /a rw - x x rw\n22 21 8:1 / /a rw - x x rw\n";
        assert_eq!(points(stacked), ["/", "/a"]);
    }

    #[test]
    fn a_chroot_need_not_list_its_root() {
        assert_eq!(points("30 7 8:1 / /data rw - x x rw\n\nnonsense\n"), ["/data"]);
    }

    #[test]
    fn below_takes_whole_components() {
        let points = [&b"/"[..], b"/a", b"/a/b", b"/a/b/c d", b"/ab"].map(<[u8]>::to_vec);
        assert_eq!(below(b"/a", &points), [&b"b"[..], b"b/c d"]);
        assert_eq!(below(b"/", &points), [&b"a"[..], b"a/b", b"a/b/c d", b"ab"]);
        assert!(below(b"/c", &points).is_empty());
    }
}
