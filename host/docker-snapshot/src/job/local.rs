//! Restores to a directory of this machine, without an engine.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use snapshotter::config::{Config, Exclude, Need, Overrides};
use snapshotter::observer::Run;
use snapshotter::report::RestoreReport;
use snapshotter::{Archive, RestoreOptions, TarSource, restore};
use snapshotter_vault::encode::{Compression, Encoding, Encryption, Keys};

use crate::job::contents::{self, Pair};
use crate::job::found::Found;
use crate::job::{file, offset};

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) archive: Found,
    pub(crate) keys: Arc<Keys>,
    pub(crate) only: Option<String>,
    /// Volumes whose directories get another name.
    pub(crate) moves: Vec<(String, String)>,
    /// What is wanted of it, as `/VOLUME/PATH`; all where nothing is named.
    pub(crate) paths: Vec<String>,
    pub(crate) into: PathBuf,
    pub(crate) dry_run: bool,
    /// Restore what is sound of a damaged one.
    pub(crate) skip_damaged: bool,
}

/// Restores each volume below `into`, in a directory of its name.
///
/// # Errors
/// When it cannot be done; what was there is as it was then.
pub(crate) fn run(request: &Request, run: &Run<'_>) -> anyhow::Result<RestoreReport> {
    let Request { archive, keys, into, .. } = request;
    let skip_damaged = request.skip_damaged;
    let by_offset = (!request.paths.is_empty() || skip_damaged) && offset::is_possible(archive.encoding);
    // A part of it costs few requests, of which none is spent on what the JSON says.
    let contents = match if by_offset { contents::described(archive)? } else { None } {
        Some(contents) => contents,
        None => contents::of(archive, keys)?,
    };
    let prefix = contents.prefix.clone();
    let pairs = contents.pairs(request.only.as_deref(), &request.moves)?;
    let is_part = by_offset && prefix.is_some();
    let plain = match (is_part, skip_damaged) {
        (true, true) => Plain::Inside(offset::salvaged(archive, None, keys)?),
        (true, false) => Plain::Inside(offset::archive(archive, keys)?),
        (false, true) => bail!(
            "cannot restore what is sound of {}: gzip, OpenPGP and tars of other programs are read as a whole: \
             leave --skip-damaged out",
            archive.shown()
        ),
        (false, false) => whole(request, run)?,
    };
    let options = RestoreOptions { dry_run: request.dry_run, skip_damaged, ..RestoreOptions::default() };
    let Some(prefix) = prefix else {
        if !request.paths.is_empty() {
            bail!("cannot take single paths out of a tar of another program: leave --path out, or use tar");
        }
        let into = Some(into.join(&pairs[0].to));
        let from_tar = Some(TarSource { file: Some(plain.path()), ..TarSource::default() });
        let config = Config::from_parts("", [""; 0], Exclude::default(), Need::VolumesOrAll)?;
        return Ok(restore(&config, &RestoreOptions { from_tar, into, ..options }, run)?);
    };
    let paths = request.paths.iter().map(|path| inside(path, &pairs)).collect::<anyhow::Result<_>>()?;
    let volumes = pairs.iter().map(|pair| format!("{}=/{}", pair.from.path, pair.to)).collect();
    let overrides = Overrides { prefix: Some(prefix), volumes, moved: true, ..Overrides::default() };
    // There is none: all is given.
    let none = Path::new("/proc/self/task/configuration");
    let config = Config::load(none, false, &overrides, Need::Volumes)?;
    let archive = plain.archive(archive.shown())?;
    let options = RestoreOptions { archive, into: Some(into.clone()), paths, ..options };
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
    /// Unpacked into a file without a name.
    Unpacked(File),
    /// Still encoded, and read at offsets.
    Inside(Archive),
}

impl Plain {
    /// A path to it. What is read at offsets has none.
    fn path(&self) -> PathBuf {
        match self {
            Plain::File(path) => path.clone(),
            Plain::Unpacked(file) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
            Plain::Inside(_) => PathBuf::new(),
        }
    }

    fn archive(self, name: String) -> anyhow::Result<Archive> {
        match self {
            Plain::File(path) => Ok(path.into()),
            Plain::Unpacked(file) => offset::of_file(file, name).context("cannot read what was unpacked"),
            Plain::Inside(archive) => Ok(archive),
        }
    }
}

/// All of the archive, when it was found to be right: unpacked on the filesystem that is restored to, unless it
/// is a file that is not packed.
fn whole(request: &Request, run: &Run<'_>) -> anyhow::Result<Plain> {
    let Request { archive, keys, into, .. } = request;
    let expected = archive.expected();
    if let Err(text) = &expected {
        run.observer.note(text);
    }
    let Encoding { compression, encryption } = archive.encoding;
    if let (Compression::None, Encryption::None, Some(path)) = (compression, encryption, archive.path()) {
        if let Ok(expected) = expected {
            archive.check(&file::sum_of(path)?, expected)?;
        }
        return Ok(Plain::File(path.to_owned()));
    }
    let mut input = contents::open(archive, keys)?;
    let place = into.ancestors().find(|place| place.is_dir()).unwrap_or(Path::new("/"));
    let failed = || format!("cannot unpack {} to {}", archive.shown(), place.display());
    let mut file = tempfile::tempfile_in(place).with_context(failed)?;
    io::copy(&mut input, &mut file).with_context(failed)?;
    Ok(Plain::Unpacked(file))
}
