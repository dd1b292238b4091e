//! Where filesystems are mounted. Docker volumes nest, single files are mounted too, and bind mounts of one
//! filesystem share a device number, so that only `mountinfo` tells: this thread's, which may have a mount
//! namespace of its own
//! (<https://docs.kernel.org/filesystems/proc.html#proc-pid-mountinfo-information-about-mounts>).

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::fs::handle::{join, path as as_path};

/// The list of mounts.
pub(crate) const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// The paths at which something is mounted and can be seen by this process, canonical, as bytes.
///
/// # Errors
/// `/proc/thread-self/mountinfo` cannot be read.
pub(crate) fn mount_points() -> io::Result<Vec<Vec<u8>>> {
    Ok(visible(&fs::read(MOUNTINFO)?))
}

/// Where something lies on its filesystem, by whichever mount it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Location {
    /// The filesystem's number.
    device: Vec<u8>,
    /// From the filesystem's root.
    path: PathBuf,
}

/// Of several paths, one that another holds under a second path too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SharedPath {
    /// The index of the path that is held.
    pub(crate) inner: usize,
    /// The index of the path that holds it.
    pub(crate) outer: usize,
    /// The second path.
    pub(crate) second: PathBuf,
}

/// Of `paths`, which are canonical, one that another holds under a second path too, as two mounts of one
/// filesystem may show the same files. What is a mount by that path, or lies below one, does not count.
pub(crate) fn shared(paths: &[&Path]) -> io::Result<Option<SharedPath>> {
    let mountinfo = fs::read(MOUNTINFO)?;
    let seen = seen(&mountinfo);
    let points: HashSet<&Path> = seen.iter().map(|mount| as_path(&mount.point)).collect();
    let located = paths.iter().enumerate();
    let located =
        located.filter_map(|(index, path)| Some((locate(path.as_os_str().as_bytes(), &seen)?, index)));
    let located: HashMap<Location, usize> = located.collect();
    let shared = located.iter().filter_map(|(Location { device, path }, &inner)| {
        let holders = path.ancestors().skip(1).filter_map(|above| {
            let &outer = located.get(&Location { device: device.clone(), path: above.to_owned() })?;
            Some((outer, path.strip_prefix(above).ok()?))
        });
        let mut second = holders.filter(|&(outer, inside)| {
            let is_mount = |part: &Path| part != Path::new("") && points.contains(&*paths[outer].join(part));
            paths[outer].join(inside) != paths[inner] && !inside.ancestors().any(is_mount)
        });
        second.next().map(|(outer, inside)| SharedPath { inner, outer, second: paths[outer].join(inside) })
    });
    Ok(shared.min())
}

/// Where a path lies on its filesystem; `None` for what was deleted since it was mounted.
fn locate(path: &[u8], seen: &[Mount]) -> Option<Location> {
    let inside = |point: &[u8]| match path.strip_prefix(point)? {
        _ if point == b"/" => path.strip_prefix(b"/"),
        [] => Some(&[][..]),
        rest => rest.strip_prefix(b"/"),
    };
    let ways = seen.iter().filter_map(|mount| Some((mount, inside(&mount.point)?)));
    let (mount, rest) = ways.max_by_key(|(mount, _)| mount.point.len())?;
    let is_there = !mount.root.ends_with(b"//deleted");
    is_there.then(|| Location {
        device: mount.device.to_vec(),
        path: as_path(&join(&mount.root, rest)).to_owned(),
    })
}

/// Whether a volume that an engine has named itself is mounted at `point`: it lies in `…/volumes/NAME/_data`, and
/// has 64 hexadecimal digits. What is mounted by that name, as helpers of `docker snapshot` have it, is meant.
///
/// # Errors
/// `/proc/thread-self/mountinfo` cannot be read.
pub(crate) fn is_anonymous(point: &[u8]) -> io::Result<bool> {
    Ok(anonymous(&fs::read(MOUNTINFO)?, point))
}

fn anonymous(mountinfo: &[u8], point: &[u8]) -> bool {
    let name = |root: &[u8]| {
        let name = root.strip_suffix(b"/_data")?.rsplit(|byte| *byte == b'/').next()?;
        Some(name.len() == 64 && name.iter().all(u8::is_ascii_hexdigit) && !point.ends_with(name))
    };
    seen(mountinfo).iter().any(|mount| mount.point == point && name(&mount.root) == Some(true))
}

/// Those of `points` that lie below `root`, relative to it. A point at `root` itself is not below it.
pub(crate) fn below<'a>(root: &[u8], points: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let relative = points.iter().filter_map(|point| point.strip_prefix(root)?.strip_prefix(b"/"));
    relative.filter(|path| !path.is_empty()).collect()
}

fn visible(mountinfo: &[u8]) -> Vec<Vec<u8>> {
    seen(mountinfo).into_iter().map(|mount| mount.point).collect()
}

/// A mount that another hides, at its own point or above it, is listed too: walk down to each point as the
/// kernel would, and keep it if that ends in the mount itself.
fn seen(mountinfo: &[u8]) -> Vec<Mount<'_>> {
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
    let is_seen: Vec<bool> = mounts.iter().map(|mount| seen_at(&mount.point) == Some(mount.id)).collect();
    mounts.into_iter().zip(is_seen).filter_map(|(mount, is_seen)| is_seen.then_some(mount)).collect()
}

struct Mount<'a> {
    id: &'a [u8],
    parent: &'a [u8],
    /// The filesystem's number.
    device: &'a [u8],
    /// What of the filesystem is mounted.
    root: Vec<u8>,
    point: Vec<u8>,
}

impl<'a> Mount<'a> {
    /// Reads `ID PARENT MAJOR:MINOR ROOT POINT …`.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        Some(Mount {
            id: fields.next()?,
            parent: fields.next()?,
            device: fields.next()?,
            root: unescape(fields.next()?),
            point: unescape(fields.next()?),
        })
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
    fn volumes_that_an_engine_has_named_are_known() {
        let name = "0123456789abcdef".repeat(4);
        let mountinfo = format!(
            "1 1 0:1 / / rw - x x rw\n2 1 8:1 /lib/docker/volumes/{name}/_data /data rw - x x rw\n\
             3 1 8:1 /lib/docker/volumes/shop_data/_data /shop rw - x x rw\n\
             4 1 8:1 /docker/volumes/{name}/_data /volumes/{name} rw - x x rw\n\
             5 1 8:1 /docker/volumes/{name}/_data/sub /sub rw - x x rw\n"
        );
        let known = |point: &str| anonymous(mountinfo.as_bytes(), point.as_bytes());
        assert!(known("/data"));
        for point in ["/", "/shop", "/sub", "/data/x", &format!("/volumes/{name}")] {
            assert!(!known(point), "{point}");
        }
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
    fn a_place_is_the_same_by_every_mount() {
        let mountinfo = b"20 1 8:1 / / rw - x x rw\n21 20 8:1 /h/a\\040b /data rw - x x rw\n\
                          22 20 8:1 /h/a\\040b/c /sub rw - x x rw\n23 20 8:2 /gone//deleted /gone rw - x x rw\n";
        let seen = seen(mountinfo);
        let place = |path: &str| {
            let Location { device, path } = locate(path.as_bytes(), &seen)?;
            Some(String::from_utf8(device).unwrap() + path.to_str().unwrap())
        };
        for (path, expected) in [
            ("/", "8:1/"),
            ("/x", "8:1/x"),
            ("/database", "8:1/database"),
            ("/data", "8:1/h/a b"),
            ("/data/c/d", "8:1/h/a b/c/d"),
            ("/sub/d", "8:1/h/a b/c/d"),
        ] {
            assert_eq!(place(path).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(place("/gone/x"), None);
    }

    #[test]
    fn below_takes_whole_components() {
        let points = [&b"/"[..], b"/a", b"/a/b", b"/a/b/c d", b"/ab"].map(<[u8]>::to_vec);
        assert_eq!(below(b"/a", &points), [&b"b"[..], b"b/c d"]);
        assert_eq!(below(b"/", &points), [&b"a"[..], b"a/b", b"a/b/c d", b"ab"]);
        assert!(below(b"/c", &points).is_empty());
    }
}
