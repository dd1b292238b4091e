//! The staging directory that a restore makes at the root of a volume, and how to tell what one that is found
//! there means. Backup and restore both ask.
//!
//! It holds a marker file that says it is ours, what was extracted in `new`, and during the swap the volume's
//! former content in `old` and a mark. The mark is what makes the difference: with it, `old` holds the only
//! copy of what was in the volume.

use std::io;

use crate::error::{Context, Error, Result};
use crate::fs::{FileKind, Handle, StoreFile};
use crate::name::Shown;
use crate::time::Time;

/// The directory's name. Where the user has one of that name, `.1` to `.9` are tried.
pub(crate) const NAME: &str = ".snapshotter-staging";
/// The file that makes it ours.
pub(crate) const MARKER: &[u8] = b"marker";
/// What the marker begins with.
pub(crate) const MARKER_TEXT: &[u8] = b"snapshotter staging directory\n";
/// What was extracted.
pub(crate) const NEW: &[u8] = b"new";
/// What was in the volume before.
pub(crate) const OLD: &[u8] = b"old";
/// The mark of a swap that is under way: the list of its renames.
pub(crate) const SWAPPING: &[u8] = b"swapping";
/// The mark of a volume that was cleared, to be restored in place.
pub(crate) const CLEARED: &[u8] = b"cleared";

/// What a staging directory of ours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Which of [`names`] it is.
    pub(crate) index: usize,
    /// A swap was interrupted: the former content is in `old`.
    pub(crate) swapping: bool,
    /// A restore in place was interrupted: the volume's content is incomplete.
    pub(crate) cleared: bool,
}

/// The names that a staging directory may have.
pub(crate) fn names() -> impl Iterator<Item = Vec<u8>> {
    (0..10).map(name)
}

pub(crate) fn name(index: usize) -> Vec<u8> {
    if index == 0 { NAME.as_bytes().to_vec() } else { format!("{NAME}.{index}").into_bytes() }
}

/// The staging directories of ours at the root of a volume. Those without a mark are strays of a run that was
/// killed.
pub(crate) fn find(root: &Handle) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for (index, name) in names().enumerate() {
        if root.find(&name)?.is_some_and(|stat| stat.kind == FileKind::Directory) {
            let directory = root.directory(&name)?;
            if is_ours(&directory)? {
                let swapping = directory.find(SWAPPING)?.is_some();
                let cleared = directory.find(CLEARED)?.is_some();
                all.push(Found { index, swapping, cleared });
            }
        }
    }
    Ok(all)
}

/// Fails for a volume in which a restore was interrupted: what is in it is neither old nor new.
pub(crate) fn refuse_interrupted(found: &[Found], action: &'static str, volume: &str) -> Result<()> {
    if found.iter().any(|found| found.swapping || found.cleared) {
        return Err(Error::Volume {
            action,
            volume: Shown::from(volume),
            reason: "a restore was interrupted in it, so its content is incomplete: run `snapshotter \
                     restore` first, which puts it right"
                .to_owned(),
        });
    }
    Ok(())
}

fn is_ours(directory: &Handle) -> io::Result<bool> {
    let Some(marker) = directory.find(MARKER)? else {
        // A run that was killed before it could write the marker, or after it had removed it.
        return Ok(directory.stat()?.mode == 0o700 && directory.names()?.is_empty());
    };
    if marker.kind != FileKind::File {
        return Ok(false);
    }
    let mut text = vec![0; MARKER_TEXT.len()];
    let length = StoreFile::new(directory.file(MARKER)?).read_at(&mut text, 0)?;
    // Nothing is made beside a marker before it is complete. After a power cut it may be zeros of the right
    // length.
    let zeros = directory.stat()?.mode == 0o700 && text.iter().all(|&byte| byte == 0);
    let is_torn =
        || Ok((zeros || MARKER_TEXT.starts_with(&text[..length])) && directory.names()? == [MARKER]);
    if text == MARKER_TEXT { Ok(true) } else { is_torn() }
}

/// [`find`], with an error that names the volume.
pub(crate) fn find_in(root: &Handle, volume: &str) -> Result<Vec<Found>> {
    find(root).context("look for a staging directory in", volume)
}

/// What the marker of a volume whose root has the time `mtime` says, and the mode `closed` if it had to be
/// opened.
pub(crate) fn marker(mtime: Time, closed: Option<u32>) -> Vec<u8> {
    let mode = closed.map(|mode| format!("{mode:o}\n")).unwrap_or_default();
    [MARKER_TEXT, mtime.to_pax().as_bytes(), b"\n", mode.as_bytes()].concat()
}

/// The time that the root had before the staging directory was made.
pub(crate) fn recorded_mtime(staging: &Handle) -> Option<Time> {
    Time::from_pax(recorded(staging)?.split('\n').next()?)
}

/// The mode that the root had before it was opened for a restore, if it was.
pub(crate) fn recorded_mode(staging: &Handle) -> Option<u32> {
    let recorded = recorded(staging)?;
    let mode = u32::from_str_radix(recorded.split('\n').nth(1)?, 8).ok()?;
    (mode <= 0o7777).then_some(mode)
}

/// The lines after the marker's text.
fn recorded(staging: &Handle) -> Option<String> {
    let mut text = [0; 128];
    let length = StoreFile::new(staging.file(MARKER).ok()?).read_at(&mut text, 0).ok()?;
    let lines = text[..length].strip_prefix(MARKER_TEXT)?.strip_suffix(b"\n")?;
    String::from_utf8(lines.to_vec()).ok()
}

/// Lets the marker say nothing of the root's time any more.
pub(crate) fn forget_mtime(staging: &Handle) -> io::Result<()> {
    StoreFile::new(staging.file_for_update(MARKER)?).truncate(MARKER_TEXT.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_ours_by_its_marker_alone() {
        let root = tempfile::tempdir().unwrap();
        let staging = root.path().join(NAME);
        let handle = Handle::open_directory(root.path()).unwrap();
        let is_ours = || !find(&handle).unwrap().is_empty();
        assert!(!is_ours());
        handle.make_directory(NAME.as_bytes(), 0o700).unwrap();
        std::fs::write(staging.join("new"), "mine").unwrap();
        assert!(!is_ours());
        for (marker, beside, ours) in [
            (&b""[..], false, true),
            (b"snapshotter st", false, true),
            (b"", true, false),
            (b"snapshotter st", true, false),
            (&[0; 45], false, true),
            (&[0; 45], true, false),
            (b"something else", false, false),
            (b"something else that is longer than the text of a marker", false, false),
            (MARKER_TEXT, true, true),
            (&marker(Time { secs: 1, nanos: 5 }, None), true, true),
            (&marker(Time { secs: 1, nanos: 5 }, Some(0o2555)), true, true),
        ] {
            std::fs::write(staging.join("marker"), marker).unwrap();
            let _ = std::fs::remove_file(staging.join("new"));
            if beside {
                std::fs::write(staging.join("new"), "mine").unwrap();
            }
            assert_eq!(is_ours(), ours, "{marker:?} {beside}");
        }
        assert_eq!(recorded_mode(&handle.directory(NAME.as_bytes()).unwrap()), Some(0o2555));
        assert_eq!(
            recorded_mtime(&handle.directory(NAME.as_bytes()).unwrap()),
            Some(Time { secs: 1, nanos: 5 })
        );
    }
}
