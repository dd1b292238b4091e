//! Directories and files that are to be restored and are not there: on a new host a mount is empty. They are
//! made, empty, before anything is changed, so that what cannot be made is found out first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::Kind;

/// What was made. It goes again with this value, where it is still empty, unless it is kept.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    made: Vec<PathBuf>,
}

impl Missing {
    /// Makes what is missing of `wanted`, with the directories that lead there.
    ///
    /// # Errors
    /// When something cannot be made; what was made is gone again.
    pub(crate) fn make<'a>(wanted: impl Iterator<Item = (&'a Path, Kind)>) -> anyhow::Result<Self> {
        let mut missing = Missing::default();
        for (path, kind) in wanted {
            let mut above: Vec<_> = path.ancestors().skip(1).take_while(|above| !above.exists()).collect();
            above.reverse();
            for directory in above {
                missing.one(directory, Kind::Directory)?;
            }
            if path.symlink_metadata().is_err() {
                missing.one(path, kind)?;
            }
        }
        Ok(missing)
    }

    fn one(&mut self, path: &Path, kind: Kind) -> anyhow::Result<()> {
        let made = match kind {
            Kind::Directory => fs::create_dir(path),
            Kind::File => File::create_new(path).map(drop),
        };
        made.with_context(|| {
            format!("cannot restore {}: it is not there, and cannot be made", path.display())
        })?;
        self.made.push(path.to_owned());
        Ok(())
    }

    /// All of it stays.
    pub(crate) fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Missing {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            let is_empty_file =
                path.symlink_metadata().is_ok_and(|there| there.is_file() && there.len() == 0);
            // A directory that holds something by now stays.
            let _ = if is_empty_file { fs::remove_file(path) } else { fs::remove_dir(path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missing_is_made_and_goes_again_unless_it_is_kept_or_holds_something() {
        let place = tempfile::tempdir().unwrap();
        let (directory, file) = (place.path().join("a/b"), place.path().join("c/d"));
        let wanted = || [(directory.as_path(), Kind::Directory), (file.as_path(), Kind::File)].into_iter();
        drop(Missing::make(wanted()).unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        let missing = Missing::make(wanted()).unwrap();
        assert!(directory.is_dir() && file.is_file());
        fs::write(&file, "restored").unwrap();
        drop(missing);
        assert!(!directory.exists() && file.exists());
        Missing::make(wanted()).unwrap().keep();
        assert!(directory.is_dir());
        fs::write(place.path().join("e"), "").unwrap();
        let below = place.path().join("e/f");
        assert!(Missing::make([(below.as_path(), Kind::Directory)].into_iter()).is_err());
    }
}
