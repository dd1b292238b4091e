//! Directories as stores.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use snapshotter_vault::store::{self, Address, Cause, Content, Length, Limits, Settings, Store};

use crate::suite::{self, bytes, is, name, piped};

fn open(path: &Path) -> Arc<dyn Store> {
    let address: Address = path.to_str().unwrap().parse().unwrap();
    store::open(&address, &Settings::default(), Limits::default()).unwrap()
}

/// All files below `path`, temporary ones included.
fn files(path: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path.to_str().unwrap().to_owned());
        }
    }
    files
}

#[tokio::test]
async fn a_directory_is_a_store() {
    let scratch = tempfile::tempdir().unwrap();
    suite::run(open(&scratch.path().join("made/as needed")), 3 << 20).await;
    assert!(
        files(scratch.path()).iter().all(|file| !file.contains(".snapshotter-")),
        "nothing temporary stays"
    );
}

#[tokio::test]
async fn objects_are_their_owners_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path());
    store.put(&name("vol/a"), Content::bytes(&b"x"[..])).await.unwrap();
    let mode = |path: &str| fs::metadata(scratch.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("vol"), mode("vol/a")), (0o700, 0o600));
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_an_empty_one() {
    let scratch = tempfile::tempdir().unwrap();
    is(open(&scratch.path().join("mistyped")).list("").await, Cause::Missing);
}

#[tokio::test]
async fn links_and_pipes_in_a_store_are_neither_read_nor_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(&scratch.path().join("store"));
    store.put(&name("a"), Content::bytes(&b"x"[..])).await.unwrap();
    let at = |last: &str| scratch.path().join("store").join(last);
    let outside = scratch.path().join("outside");
    fs::write(&outside, "secret").unwrap();
    symlink(&outside, at("link")).unwrap();
    symlink(scratch.path().join("nowhere"), at("dangling")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for odd in ["link", "dangling", "pipe"] {
        is(store.head(&name(odd)).await, Cause::Other);
        is(store.put(&name(odd), Content::bytes(&b"y"[..])).await, Cause::Exists);
    }
    assert_eq!(fs::read(&outside).unwrap(), b"secret");
    assert!(!scratch.path().join("nowhere").exists());
    assert_eq!(store.list("").await.unwrap().objects.len(), 1);
}

#[tokio::test]
async fn an_object_that_is_replaced_or_cut_off_while_it_is_read_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path());
    for change in ["replace", "cut", "touch"] {
        let name = name(change);
        let object = store.put(&name, Content::bytes(bytes(1000))).await.unwrap();
        let path = scratch.path().join(change);
        match change {
            "replace" => {
                fs::write(scratch.path().join("new"), bytes(1000)).unwrap();
                fs::rename(scratch.path().join("new"), &path).unwrap();
            }
            "cut" => File::options().write(true).open(&path).unwrap().set_len(999).unwrap(),
            _ => {
                File::options()
                    .write(true)
                    .open(&path)
                    .unwrap()
                    .set_modified(SystemTime::UNIX_EPOCH)
                    .unwrap();
            }
        }
        is(store.get(&object, 0..10).await, Cause::Changed);
    }
}

#[tokio::test]
async fn names_that_are_not_ours_are_counted() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path());
    store.put(&name("a"), Content::bytes(&b"x"[..])).await.unwrap();
    fs::write(scratch.path().join(".hidden"), "").unwrap();
    fs::write(scratch.path().join("new\nline"), "").unwrap();
    let odd: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(b"\xff".to_vec());
    fs::write(scratch.path().join(odd), "").unwrap();
    let listing = store.list("").await.unwrap();
    assert_eq!((listing.objects.len(), listing.foreign), (1, 3));
}

#[tokio::test]
async fn what_a_killed_run_left_is_found_and_cleared_and_what_a_live_one_writes_is_not() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path());
    let long_ago = SystemTime::now() - Duration::from_hours(2);
    let draft = |id: &str, time: SystemTime| {
        let mut file = File::create(scratch.path().join(id)).unwrap();
        file.write_all(b"half").unwrap();
        file.set_modified(time).unwrap();
        file
    };
    let (dead, live, young, other) = (
        ".snapshotter-0123456789abcdef.part",
        ".snapshotter-1123456789abcdef.part",
        ".snapshotter-2123456789abcdef.part",
        ".snapshotter-mine.part",
    );
    drop(draft(dead, long_ago));
    let lock = draft(live, long_ago);
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    drop((draft(young, SystemTime::now()), draft(other, long_ago)));
    let leftovers = store.leftovers().await.unwrap();
    assert_eq!(
        leftovers.iter().map(|left| (left.id.as_str(), left.size)).collect::<Vec<_>>(),
        [(dead, Some(4))]
    );
    assert_eq!(store.list("").await.unwrap().objects, []);
    store.clear(&leftovers[0]).await.unwrap();
    assert!(!scratch.path().join(dead).exists());
    for id in [live, young, other, "../x", "/etc/passwd"] {
        let mut left = leftovers[0].clone();
        left.id = id.to_owned();
        assert!(store.clear(&left).await.is_err(), "{id}");
    }
    assert_eq!(files(scratch.path()).len(), 3);
}

#[tokio::test]
async fn a_full_disk_leaves_nothing() {
    if !rustix::process::geteuid().is_root() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "the test of a full disk needs root");
        return println!("skipped: the test of a full disk needs root");
    }
    let scratch = tempfile::tempdir().unwrap();
    let small = Mount::small(scratch.path());
    let store = open(scratch.path());
    let put = store.put(&name("vol/large"), piped(bytes(8 << 20), Length::Unknown, true)).await;
    is(put, Cause::Full);
    assert_eq!(files(scratch.path()), Vec::<String>::new());
    store.put(&name("vol/small"), Content::bytes(bytes(1000))).await.unwrap();
    drop(small);
}

/// A file system of 4 MiB, as long as this is there.
pub(crate) struct Mount(std::path::PathBuf);

impl Mount {
    pub(crate) fn small(at: &Path) -> Self {
        let mount = ["-t", "tmpfs", "-o", "size=4m", "snapshotter-test"];
        assert!(std::process::Command::new("mount").args(mount).arg(at).status().unwrap().success());
        Mount(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}
