//! Restores to a directory of this machine, without an engine.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use snapshotter::config::{Config, Exclude, Need, Overrides};
use snapshotter::observer::Run;
use snapshotter::report::RestoreReport;
use snapshotter::{Archive, RestoreOptions, TarSource, restore};
use snapshotter_vault::encode::Compression;
use tempfile::NamedTempFile;

use crate::job::contents::{self, Pair};
use crate::job::file;
use crate::job::found::Found;

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) archive: Found,
    pub(crate) only: Option<String>,
    /// Volumes whose directories get another name.
    pub(crate) moves: Vec<(String, String)>,
    /// What is wanted of it, as `/VOLUME/PATH`; all where nothing is named.
    pub(crate) paths: Vec<String>,
    pub(crate) into: PathBuf,
    pub(crate) dry_run: bool,
}

/// Restores each volume below `into`, in a directory of its name.
///
/// # Errors
/// When it cannot be done; what was there is as it was then.
pub(crate) fn run(request: &Request, run: &Run<'_>) -> anyhow::Result<RestoreReport> {
    let Request { archive, into, .. } = request;
    let contents = contents::of(archive)?;
    let prefix = contents.prefix.clone();
    let pairs = contents.pairs(request.only.as_deref(), &request.moves)?;
    match archive.expected() {
        Ok(expected) => archive.check(&file::sum_of(&archive.path)?, expected)?,
        Err(text) => run.observer.note(&text),
    }
    let plain = plain(archive, into)?;
    let path = plain.path();
    let options = RestoreOptions { dry_run: request.dry_run, ..RestoreOptions::default() };
    let Some(prefix) = prefix else {
        if !request.paths.is_empty() {
            bail!("cannot take single paths out of a tar of another program: leave --path out, or use tar");
        }
        let into = Some(into.join(&pairs[0].to));
        let from_tar = Some(TarSource { file: Some(path), ..TarSource::default() });
        let config = Config::from_parts("", [""; 0], Exclude::default(), Need::VolumesOrAll)?;
        return Ok(restore(&config, &RestoreOptions { from_tar, into, ..options }, run)?);
    };
    let paths = request.paths.iter().map(|path| inside(path, &pairs)).collect::<anyhow::Result<_>>()?;
    let volumes = pairs.iter().map(|pair| format!("{}=/{}", pair.from.path, pair.to)).collect();
    let overrides = Overrides { prefix: Some(prefix), volumes, moved: true, ..Overrides::default() };
    // There is none: all is given.
    let none = Path::new("/proc/self/task/configuration");
    let config = Config::load(none, false, &overrides, Need::Volumes)?;
    let options = RestoreOptions { archive: Archive::from(path), into: Some(into.clone()), paths, ..options };
    Ok(restore(&config, &options, run)?)
}

/// The path in the archive of what a user calls `/VOLUME/PATH`.
fn inside(path: &str, pairs: &[Pair]) -> anyhow::Result<OsString> {
    let (volume, rest) = path
        .strip_prefix('/')
        .map_or(("", ""), |path| path.find('/').map_or((path, ""), |at| path.split_at(at)));
    match pairs.iter().find(|pair| pair.from.name == volume) {
        Some(pair) => Ok(format!("{}{rest}", pair.from.path).into()),
        None => bail!(
            "cannot restore {path}: it begins with no volume of the snapshot: begin it with one of /{}",
            pairs.iter().map(|pair| pair.from.name.as_str()).collect::<Vec<_>>().join(", /")
        ),
    }
}

/// An archive as it is inside.
enum Plain {
    File(PathBuf),
    /// Unpacked into a file that goes with this value.
    Unpacked(NamedTempFile),
}

impl Plain {
    fn path(&self) -> PathBuf {
        match self {
            Plain::File(path) => path.clone(),
            Plain::Unpacked(file) => file.path().to_owned(),
        }
    }
}

/// Unpacks what is packed, on the filesystem that is restored to.
fn plain(archive: &Found, into: &Path) -> anyhow::Result<Plain> {
    if archive.encoding.compression == Compression::None {
        return Ok(Plain::File(archive.path.clone()));
    }
    let mut input = contents::open(archive)?;
    let place = into.ancestors().find(|place| place.is_dir()).unwrap_or(Path::new("/"));
    let shown = archive.path.display();
    let failed = || format!("cannot unpack {shown} to {}", place.display());
    let mut file = NamedTempFile::new_in(place).with_context(failed)?;
    io::copy(&mut input, &mut file).with_context(failed)?;
    Ok(Plain::Unpacked(file))
}
