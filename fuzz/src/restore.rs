//! Restores an archive in each way that there is, and looks whether anything changed that must not: all that
//! is no volume, and after an error the volumes too.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use snapshotter::config::{Config, Exclude, Need};
use snapshotter::observer::Run;
use snapshotter::{Error, ListOptions, RestoreOptions, list, members, restore, verify};

use super::confine::Scratch;

/// Where things are in the scratch filesystem.
pub(crate) const ARCHIVE: &str = "/srv/backup.tar";
pub(crate) const FOLDER: &str = "/srv/v";
pub(crate) const FILE: &str = "/srv/f";
const INTO: &str = "/srv/into";
const OUTSIDE: &str = "/srv/outside";

/// A way to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// All volumes below another directory.
    Into,
    IntoInPlace,
    /// One member below another directory.
    OnePath,
    /// The directory volume and the file volume to where they are.
    Volumes,
    /// Only the directory.
    Folder,
    FolderInPlace,
    DryRun,
    /// What is sound, below another directory.
    SkipDamaged,
}

pub(crate) const WAYS: [Way; 8] = [
    Way::Into,
    Way::Volumes,
    Way::OnePath,
    Way::IntoInPlace,
    Way::Folder,
    Way::FolderInPlace,
    Way::DryRun,
    Way::SkipDamaged,
];

/// Makes the volumes, and beside them what nothing may touch.
pub(crate) fn prepare(scratch: &Scratch, archive: &[u8]) {
    scratch.renew();
    for folder in [FOLDER, "/srv/v/old", OUTSIDE, "/srv/outside/d"] {
        fs::create_dir(folder).unwrap();
    }
    for (path, content) in [("/srv/v/mine", "mine"), (FILE, "mine"), ("/srv/v/old/f", "old")] {
        fs::write(path, content).unwrap();
    }
    fs::write("/srv/outside/precious", "precious").unwrap();
    std::os::unix::fs::symlink("../outside", "/srv/v/out").unwrap();
    fs::write(ARCHIVE, archive).unwrap();
}

/// Restores the newest snapshot of the archive that was [`prepare`]d. Panics where anything changed that must
/// not have; returns what the program said.
pub(crate) fn run(way: Way) -> Result<(), String> {
    let listing = ListOptions { archive: ARCHIVE.into(), ..ListOptions::default() };
    let catalog = list(&listing, &Run::default()).map_err(|error| error.to_string())?;
    let Some(newest) = catalog.snapshots.last() else {
        if way == Way::SkipDamaged {
            return skip_damaged("w");
        }
        let reasons: Vec<_> = catalog.problems.iter().map(|problem| problem.reason.as_str()).collect();
        return Err(format!("no snapshot: {}", reasons.join(", ")));
    };
    if way == Way::SkipDamaged {
        return skip_damaged(&newest.prefix);
    }
    let path = (way == Way::OnePath).then(|| one_path(&listing, newest)).flatten();
    let volumes: &[&str] = match way {
        Way::Volumes => &[FOLDER, FILE],
        Way::Folder | Way::FolderInPlace => &[FOLDER],
        _ => &[],
    };
    let into = (volumes.is_empty()).then(|| PathBuf::from(INTO));
    let need = if into.is_some() { Need::VolumesOrAll } else { Need::Volumes };
    let config = Config::from_parts(&newest.prefix, volumes.iter().copied(), Exclude::default(), need);
    let config = config.map_err(|error| error.to_string())?;
    let options = RestoreOptions {
        archive: ARCHIVE.into(),
        paths: path.map(|path| std::ffi::OsStr::from_bytes(&path).to_owned()).into_iter().collect(),
        in_place: matches!(way, Way::IntoInPlace | Way::FolderInPlace),
        dry_run: way == Way::DryRun,
        allow_empty: true,
        into,
        ..RestoreOptions::default()
    };
    let before = Picture::of("/srv");
    let result = restore(&config, &options, &Run::default());
    let after = Picture::of("/srv");
    check(way, &before, &after, result.as_ref().map(drop));
    if result.is_ok() && way != Way::DryRun && way != Way::OnePath {
        let verified = verify(&listing, &Run::default()).map_err(|error| error.to_string())?;
        let problems = &verified.problems;
        // The list for the Go program is nothing that is restored from.
        let matters = |reason: &str| !reason.ends_with("it does not list the snapshot's volumes");
        let of_it = problems.iter().find(|problem| {
            (newest.offset..newest.end()).contains(&problem.offset) && matters(&problem.reason)
        });
        assert!(of_it.is_none() || way != Way::Into, "restored, and damaged: {problems:?}");
    }
    result.map(drop).map_err(|error| error.to_string())
}

/// Restores what is left below `prefix`.
fn skip_damaged(prefix: &str) -> Result<(), String> {
    let config = Config::from_parts(prefix, [""; 0], Exclude::default(), Need::VolumesOrAll);
    let options = RestoreOptions {
        archive: ARCHIVE.into(),
        into: Some(PathBuf::from(INTO)),
        skip_damaged: true,
        ..RestoreOptions::default()
    };
    let before = Picture::of("/srv");
    let result = restore(&config.map_err(|error| error.to_string())?, &options, &Run::default());
    check(Way::SkipDamaged, &before, &Picture::of("/srv"), result.as_ref().map(drop));
    result.map(drop).map_err(|error| error.to_string())
}

/// The path of a member, as `--path` wants it: the one in the middle.
fn one_path(listing: &ListOptions, snapshot: &snapshotter::report::ListedSnapshot) -> Option<Vec<u8>> {
    let mut names = Vec::new();
    let each = &mut |member: &snapshotter::Member| {
        names.push(member.entry.name.clone());
        Ok(())
    };
    members(listing, &snapshot.id, &Run::default(), each).ok()?;
    let prefix = if snapshot.prefix.is_empty() { String::new() } else { format!("{}/", snapshot.prefix) };
    let mut inside: Vec<_> = names.iter().filter_map(|name| name.strip_prefix(prefix.as_bytes())).collect();
    inside.pop();
    Some([b"/", *inside.get(inside.len() / 2)?].concat())
}

fn check(way: Way, before: &Picture, after: &Picture, result: Result<(), &Error>) {
    let (into, outside) = (Path::new(INTO), Path::new(OUTSIDE));
    assert_eq!(before.below(outside), after.below(outside), "{way:?} changed what is outside: {result:?}");
    let is_volume = |path: &Path| match way {
        Way::Into | Way::IntoInPlace | Way::OnePath | Way::SkipDamaged => path.starts_with(into),
        Way::Volumes => path.starts_with(FOLDER) || path == Path::new(FILE),
        Way::Folder | Way::FolderInPlace => path.starts_with(FOLDER),
        Way::DryRun => false,
    };
    let skip = |path: &Path| is_volume(path) || path == Path::new("/srv");
    let (rest_before, rest_after) = (before.without(skip), after.without(skip));
    assert_eq!(rest_before, rest_after, "{way:?} changed what is no volume: {result:?}");
    // What was half done is said.
    let told = matches!(result, Ok(()) | Err(Error::Incomplete { .. } | Error::Undo { .. }));
    if !told {
        assert_eq!(before, after, "{way:?} failed and left something behind: {result:?}");
    }
    let staging = |path: &PathBuf| path.to_string_lossy().contains(".snapshotter-staging");
    if result.is_ok() && way != Way::OnePath {
        // A snapshot may have such a name itself, below a volume's root.
        let left: Vec<_> = after.0.keys().filter(|path| staging(path)).collect();
        assert!(left.iter().all(|path| path.components().count() > 3), "left behind: {left:?}");
    }
}

/// Everything below a directory.
#[derive(PartialEq, Eq)]
pub(crate) struct Picture(BTreeMap<PathBuf, Seen>);

/// Type and mode, owner, time, links, what it holds, attributes.
type Seen = (u32, (u32, u32), (i64, i64), u64, Vec<u8>, usize);

impl Picture {
    pub(crate) fn of(root: &str) -> Picture {
        let mut picture = Picture(BTreeMap::new());
        picture.add(Path::new(root), 0);
        picture
    }

    fn add(&mut self, path: &Path, depth: usize) {
        let Ok(stat) = fs::symlink_metadata(path) else { return };
        let kind = stat.file_type();
        // Restored files may be closed to their owner, which root is not held up by. Of holes there may be
        // many.
        let content = match kind {
            _ if kind.is_symlink() => {
                fs::read_link(path).map(|target| target.as_os_str().as_bytes().to_vec())
            }
            _ if kind.is_file() && stat.len() < 1 << 16 => fs::read(path),
            _ if kind.is_char_device() || kind.is_block_device() => Ok(stat.rdev().to_le_bytes().to_vec()),
            _ => Ok(stat.len().to_le_bytes().to_vec()),
        };
        let xattrs = xattr::list(path).map_or(0, Iterator::count);
        let mode = stat.permissions().mode();
        let owner = (stat.uid(), stat.gid());
        let seen = (
            mode,
            owner,
            (stat.mtime(), stat.mtime_nsec()),
            stat.nlink(),
            content.unwrap_or_default(),
            xattrs,
        );
        self.0.insert(path.to_owned(), seen);
        // Paths end at 4096 bytes for these calls.
        if kind.is_dir() && depth < 500 {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                self.add(&entry.path(), depth + 1);
            }
        }
    }

    fn below(&self, root: &Path) -> Vec<(&PathBuf, &Seen)> {
        self.0.iter().filter(|(path, _)| path.starts_with(root)).collect()
    }

    fn without(&self, skip: impl Fn(&Path) -> bool) -> Vec<(&PathBuf, &Seen)> {
        self.0.iter().filter(|(path, _)| !skip(path)).collect()
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (path, (mode, owner, mtime, links, content, xattrs)) in &self.0 {
            let content = content[..content.len().min(60)].escape_ascii();
            writeln!(f, "{} {mode:o} {owner:?} {mtime:?} {links} {xattrs} {content}", path.display())?;
        }
        Ok(())
    }
}
