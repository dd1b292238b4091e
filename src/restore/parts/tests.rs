//! The file is the same whoever writes its parts, and an error of whoever it is comes out.

use std::fs;
use std::sync::atomic::Ordering;

use super::*;
use crate::fs::Handle;

const LENGTH: usize = 1000;

/// Writes twenty parts, backwards, and lets another thread do it for those that `lent` is true for.
fn write(file: &StoreFile, lent: impl Fn(usize) -> bool) -> Result<()> {
    let idle = Idle::default();
    let mut buffer = vec![0; LENGTH];
    write_parts(file, b"the file", MIN_SIZE, Some(&idle), |parts| {
        for part in (0..20).rev() {
            idle.store(usize::from(lent(part)), Ordering::Relaxed);
            buffer.fill(u8::try_from(part).unwrap_or(0));
            let length = if part == 19 { 7 } else { LENGTH };
            parts.write(&mut buffer, length, (part * LENGTH) as u64)?;
            assert_eq!(buffer.len(), LENGTH);
        }
        Ok(())
    })
}

#[test]
fn all_parts_are_written_whoever_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let expected: Vec<_> =
        (0..20_u8).flat_map(|part| vec![part; if part == 19 { 7 } else { LENGTH }]).collect();
    for lent in [|_| true, |_| false, |part| part % 3 == 0, |part| part < 10, |part| part > 10] {
        fs::write(&path, b"").unwrap();
        let file = StoreFile::new(Handle::open_for_update(&path).unwrap());
        write(&file, lent).unwrap();
        assert_eq!(fs::read(&path).unwrap(), expected);
    }
}

#[test]
fn an_error_names_the_file_whoever_meets_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"").unwrap();
    let file = StoreFile::new(Handle::open_for_reading(&path).unwrap());
    for lent in [|_| true, |_| false, |part| part == 0] {
        let error = write(&file, lent).unwrap_err().to_string();
        assert!(error.contains("write") && error.contains("the file"), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"");
}
