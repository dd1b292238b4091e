//! What a directory holds, for those who list very many: names in one buffer, with the kind that the system
//! gives along with them, and all of it used again for the next directory.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::fs::{FileType, RawDir, SeekFrom};

use crate::fs::stat::FileKind;

/// How much the system is asked for at once, in bytes.
const PART: usize = 32 << 10;

/// The names in one directory, sorted by their bytes, and how many of them were taken.
#[derive(Debug, Default)]
pub(crate) struct DirNames {
    bytes: Vec<u8>,
    names: Vec<Name>,
    taken: usize,
}

#[derive(Debug, Clone, Copy)]
struct Name {
    start: usize,
    length: usize,
    kind: Option<FileKind>,
}

impl Name {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..][..self.length]
    }
}

/// The buffer that directories are read through.
#[derive(Debug)]
pub(crate) struct DirBuffer(Box<[MaybeUninit<u8>]>);

impl Default for DirBuffer {
    fn default() -> Self {
        DirBuffer(Box::new_uninit_slice(PART))
    }
}

impl DirNames {
    /// Reads what is in the directory that is open, without `.` and `..`.
    pub(crate) fn read(&mut self, directory: impl AsFd, buffer: &mut DirBuffer) -> io::Result<()> {
        self.bytes.clear();
        self.names.clear();
        self.taken = 0;
        // It may have been listed through this handle before.
        rustix::fs::seek(&directory, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&directory, &mut buffer.0);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                self.add(name, kind(entry.file_type()));
            }
        }
        let bytes = &self.bytes;
        self.names.sort_unstable_by(|a, b| a.of(bytes).cmp(b.of(bytes)));
        Ok(())
    }

    fn add(&mut self, name: &[u8], kind: Option<FileKind>) {
        self.names.push(Name { start: self.bytes.len(), length: name.len(), kind });
        self.bytes.extend_from_slice(name);
    }

    /// Keeps only the names for which `keep` holds.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let bytes = &self.bytes;
        self.names.retain(|name| keep(name.of(bytes)));
    }

    /// All names.
    pub(crate) fn into_names(self) -> Vec<Vec<u8>> {
        self.names.iter().map(|name| name.of(&self.bytes).to_vec()).collect()
    }

    /// The next name, with its kind where the filesystem gave one.
    pub(crate) fn take(&mut self) -> Option<(&[u8], Option<FileKind>)> {
        let name = *self.names.get(self.taken)?;
        self.taken += 1;
        Some((name.of(&self.bytes), name.kind))
    }
}

fn kind(file_type: FileType) -> Option<FileKind> {
    Some(match file_type {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Socket => FileKind::Socket,
        FileType::Unknown => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Handle;

    #[test]
    fn names_come_sorted_and_again_when_they_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        // More than one part.
        for number in 0..2000 {
            std::fs::write(folder.path().join(format!("{number}-{}", "x".repeat(40))), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("d")).unwrap();
        std::os::unix::fs::symlink("d", folder.path().join("l")).unwrap();
        let handle = Handle::open_directory(folder.path()).unwrap();
        let (mut listing, mut buffer) = (DirNames::default(), DirBuffer::default());
        for _ in 0..2 {
            listing.read(&handle, &mut buffer).unwrap();
            let mut taken = Vec::new();
            while let Some((name, kind)) = listing.take() {
                let expected = match name {
                    b"d" => FileKind::Directory,
                    b"l" => FileKind::Symlink,
                    _ => FileKind::File,
                };
                assert!(kind.is_none_or(|kind| kind == expected));
                taken.push(name.to_vec());
            }
            assert_eq!(taken, handle.names().unwrap());
            assert_eq!(taken.len(), 2002);
        }
        listing.read(&handle, &mut buffer).unwrap();
        listing.retain(|name| name == b"l");
        assert_eq!(listing.take().map(|(name, _)| name.to_vec()), Some(b"l".to_vec()));
        assert_eq!(listing.take(), None);
    }
}
