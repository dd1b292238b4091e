//! Which snapshots there are in a directory or store, and which one is meant by what a user types.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use snapshotter_vault::encode::Encoding;
use snapshotter_vault::store::{Object, Store};

use crate::job::depot::Depot;
use crate::job::description::{Description, FileChecksum, SetKind};
use crate::job::file::Sum;
use crate::job::{names, shelf};

/// Where snapshots are looked for and put, unless another place is named.
pub(crate) const DIRECTORY: &str = "snapshots";
/// How deep below it files may lie: Dockform puts the name of a context above that of the volume.
const DEPTH: usize = 2;
/// More than a description ever has: it comes from outside.
const LIMIT: u64 = 64 << 20;

/// An archive, and what stands beside it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) whence: Whence,
    pub(crate) encoding: Encoding,
    pub(crate) bytes: u64,
    /// What the JSON says; none where there is none.
    pub(crate) description: Option<Description>,
}

/// Where an archive is.
#[derive(Debug, Clone)]
pub(crate) enum Whence {
    /// In a file of this machine.
    File(PathBuf),
    /// In a store.
    Object(Arc<dyn Store>, Object),
}

/// What a directory or store has.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// The archives, the oldest first.
    pub(crate) archives: Vec<Found>,
    /// What cannot be read, and why.
    pub(crate) problems: Vec<String>,
}

impl Found {
    /// The archive at `path`, with what stands beside it.
    ///
    /// # Errors
    /// When it is not there or its name is no archive's, or what stands beside it cannot be read.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let about = fs::metadata(path).with_context(|| format!("cannot find the snapshot {shown}"))?;
        if !about.is_file() {
            bail!("cannot read the snapshot {shown}: it is no file: name the archive itself");
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(encoding) = encoding(&name) else {
            return Err(no_archive(&shown.to_string()));
        };
        let description = description(path)?;
        Ok(Found { whence: Whence::File(path.to_owned()), encoding, bytes: about.len(), description })
    }

    /// As messages name it.
    pub(crate) fn shown(&self) -> String {
        match &self.whence {
            Whence::File(path) => path.display().to_string(),
            Whence::Object(store, object) => format!("{}/{}", store.address(), object.name),
        }
    }

    /// The file of this machine that it is.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.whence {
            Whence::File(path) => Some(path),
            Whence::Object(..) => None,
        }
    }

    /// The SHA-256 that stands beside it, or what is to be said where none does.
    ///
    /// # Errors
    /// That text.
    pub(crate) fn expected(&self) -> Result<&str, String> {
        let shown = self.shown();
        let Some(description) = &self.description else {
            return Err(format!("{shown} has no JSON beside it: only checksums inside of it are looked at"));
        };
        let FileChecksum { algo, tar_zst } = &description.checksum;
        if algo != "sha256" || tar_zst.is_empty() {
            return Err(format!(
                "the JSON beside {shown} has no SHA-256 of it: only checksums inside of it are looked at"
            ));
        }
        Ok(tar_zst)
    }

    /// Holds `sum` against the checksum that stands beside it.
    ///
    /// # Errors
    /// When it is another.
    pub(crate) fn check(&self, sum: &Sum, expected: &str) -> anyhow::Result<()> {
        ensure!(
            sum.sha256.eq_ignore_ascii_case(expected),
            "cannot restore {}: its SHA-256 is {}, and was {expected} when it was made: it is damaged, or \
             another \
             file: take another copy or another snapshot",
            self.shown(),
            sum.sha256
        );
        Ok(())
    }

    /// What it is a snapshot of: the set's name, or else the directory's that it lies in.
    pub(crate) fn name(&self) -> String {
        let described = self.description.as_ref().map(|description| match &description.passport {
            Some(passport) => passport.set.clone(),
            None => description.volume_name.clone(),
        });
        described.filter(|name| !name.is_empty()).unwrap_or_else(|| {
            let shown = self.shown();
            let parent = Path::new(&shown).parent().and_then(Path::file_name);
            parent.unwrap_or_default().to_string_lossy().into_owned()
        })
    }

    /// When it was taken, as RFC 3339 has it, where that is known.
    pub(crate) fn time(&self) -> Option<String> {
        let described = self.description.as_ref().map(|description| description.created_at.clone());
        described
            .filter(|time| !time.is_empty())
            .or_else(|| names::time_of(&Path::new(&self.shown()).file_name()?.to_string_lossy()))
    }

    /// The volumes in it, where that is known.
    pub(crate) fn volumes(&self) -> Vec<&str> {
        let Some(description) = &self.description else { return Vec::new() };
        match &description.passport {
            Some(passport) => passport.volumes.iter().map(|volume| volume.name.as_str()).collect(),
            None => vec![description.volume_name.as_str()],
        }
    }
}

/// What is said of a file whose name is no archive's.
pub(crate) fn no_archive(shown: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "cannot read the snapshot {shown}: its name ends in none of .tar, .tar.zst, .tar.gz and .tgz, or .age or \
         .gpg behind that: give it the name that it should have"
    )
}

/// What the name of a file says of how it is encoded; `.tgz` is as good as `.tar.gz`.
pub(crate) fn encoding(name: &str) -> Option<Encoding> {
    match name.strip_suffix(".tgz") {
        Some(stem) => Encoding::from_name(&format!("{stem}.tar.gz")),
        None => Encoding::from_name(name),
    }
}

/// The JSON beside the archive at `path`: `X.json`, or `X.tar.json`, which Dockform looks for.
fn description(path: &Path) -> anyhow::Result<Option<Description>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(stem) = name.strip_suffix(".tgz").or_else(|| name.rfind(".tar").map(|at| &name[..at])) else {
        return Ok(None);
    };
    for suffix in [".json", ".tar.json"] {
        let json = path.with_file_name(format!("{stem}{suffix}"));
        let text = match read(&json) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => read.with_context(|| format!("cannot read {}", json.display()))?,
        };
        let description = serde_json::from_slice(&text).with_context(|| {
            format!("cannot read {}: take it away to go on without what it says", json.display())
        })?;
        return Ok(Some(description));
    }
    Ok(None)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let mut text = Vec::new();
    if file.take(LIMIT).read_to_end(&mut text)? as u64 == LIMIT {
        return Err(io::Error::other("it is too long to be a description"));
    }
    Ok(text)
}

/// The archives below `directory`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn below(directory: &Path) -> anyhow::Result<Directory> {
    let mut found = Directory::default();
    visit(directory, DEPTH, &mut found).with_context(|| format!("cannot list {}", directory.display()))?;
    found.archives.sort_by_cached_key(|archive| (archive.time(), archive.shown()));
    Ok(found)
}

fn visit(directory: &Path, depth: usize, found: &mut Directory) -> io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Hidden ones are those that archives grow in.
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            if depth > 0
                && let Err(error) = visit(&entry.path(), depth - 1, found)
            {
                found.problems.push(format!("cannot list {}: {error}", entry.path().display()));
            }
        } else if encoding(&name).is_some() {
            match Found::at(&entry.path()) {
                Ok(archive) => found.archives.push(archive),
                Err(error) => found.problems.push(format!("{error:#}")),
            }
        } else if name.ends_with(".json") && names::time_of(&name).is_some() && !has_archive(&entry.path()) {
            found.problems.push(format!(
                "cannot find the archive of {}: it was moved or removed",
                entry.path().display()
            ));
        }
    }
    Ok(())
}

/// Whether an archive lies beside the JSON at `path`.
fn has_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".tar.json").or_else(|| name.strip_suffix(".json")).unwrap_or(&name);
    let beside = path.parent().and_then(|parent| fs::read_dir(parent).ok());
    beside.into_iter().flatten().flatten().any(|entry| {
        let other = entry.file_name();
        let other = other.to_string_lossy();
        encoding(&other).is_some() && other.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.'))
    })
}

/// A snapshot that was chosen, and how.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) archive: Found,
    /// It was looked for by name, and this is what was found.
    pub(crate) looked_for: bool,
    /// It is a set of another name, and this volume of it is meant.
    pub(crate) volume: Option<String>,
}

/// What `text` means: a file, here or in a store; the name of a volume, container or project, whose newest
/// snapshot in `depot` is meant; or `NAME@TIME` for one of a certain time, of which the beginning will do.
///
/// # Errors
/// When there is none, or several are meant.
pub(crate) async fn choose(text: &str, depot: &Depot, reach: &shelf::Open<'_>) -> anyhow::Result<Chosen> {
    let path = Path::new(text);
    let is_file = fs::symlink_metadata(path).is_ok_and(|about| !about.is_dir());
    if text.contains("://") && !is_file {
        let archive = shelf::at(text, reach).await?;
        return Ok(Chosen { archive, looked_for: false, volume: None });
    }
    let (name, time) = text.split_once('@').map_or((text, None), |(name, time)| (name, Some(time)));
    if is_file || !names::is_legal(name) || encoding(name).is_some() {
        return Ok(Chosen { archive: Found::at(path)?, looked_for: false, volume: None });
    }
    let place = depot.shown();
    let mut found = match depot {
        Depot::Store(store) => shelf::named(store, name, time).await?,
        Depot::Directory(directory) => match below(directory) {
            Err(error) if is_missing(&error) => bail!(
                "cannot find the snapshot {text}: there is no such file, and no directory {place} to look in"
            ),
            found => found?,
        },
    };
    let all: Vec<_> = found.archives.iter().map(Found::name).collect();
    let is_wanted = |archive: &Found| {
        let named = archive.name() == name || archive.volumes().contains(&name);
        let at = |time: &str| is_at(&archive.time().unwrap_or_default(), time);
        named && time.is_none_or(at)
    };
    found.archives.retain(is_wanted);
    if time.is_some() && found.archives.len() > 1 {
        let files: Vec<_> = found.archives.iter().map(Found::shown).collect();
        bail!("cannot tell which snapshot is meant by {text}: name one of these: {}", files.join(", "));
    }
    let Some(archive) = found.archives.pop() else {
        let advice = match names::near(name, all.iter().map(String::as_str)) {
            Some(near) if near != name => format!("is {near} meant? "),
            _ => String::new(),
        };
        bail!(
            "cannot find the snapshot {text}: there is no such file, and none of that name in {place}: \
             {advice}`docker snapshot list` shows what there is"
        );
    };
    let volume = (archive.name() != name).then(|| name.to_owned());
    Ok(Chosen { archive, looked_for: true, volume })
}

/// Whether `stamp`, as RFC 3339 has it or as names of files do, begins with `time`.
pub(crate) fn is_at(stamp: &str, time: &str) -> bool {
    stamp.starts_with(time) || stamp.replace(':', "-").starts_with(time)
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The word for a set of this kind.
pub(crate) fn kind_word(kind: SetKind) -> &'static str {
    match kind {
        SetKind::Volume => "volume",
        SetKind::Container => "container",
        SetKind::Project => "project",
    }
}
