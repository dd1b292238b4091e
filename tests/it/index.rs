//! What is found by the index of a snapshot is what a walk over all headers finds, and takes few reads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use snapshotter::config::{Config, Exclude, Need};
use snapshotter::observer::Run as Watch;
use snapshotter::{
    Archive, BackupOptions, ListOptions, RestoreOptions, Source, backup_to, list, members, restore, verify,
};

use crate::hostile::craft;
use crate::support::sandbox::text;
use crate::support::torture::pattern;
use crate::support::{Picture, Sandbox, Tree, sandboxed};

/// Many names, so that the index has several parts, most of which begin with the same hundred bytes.
fn volume(s: &Sandbox) -> PathBuf {
    let data = pattern(400_000);
    let mut tree = Tree::at(s.path("vol/a")).file("0 first", &data).dir("d").dir("e");
    for n in 0..700 {
        tree = tree.file(format!("d/{}", long_name(n, 110)), &data[n..n + n % 3]);
        tree = tree.file(format!("e/{}", long_name(n, 0)), b"");
    }
    for name in ["e.txt", "e-", "d/sub/deep/file", "d/sub/deep.x", "d/sub/deeper/file", "z last"] {
        tree = tree.file(name, name);
    }
    tree = tree.hard_link("d/sub/deep/first", "0 first").hard_link("d/sub/deep/other", "d/sub/deep.x");
    tree.symlink("d/sub/deep/link", "file").done()
}

/// A name that has nothing in common with others but so many bytes at its beginning.
fn long_name(n: usize, common: usize) -> String {
    "n".repeat(common)
        + &blake3::hash(&n.to_le_bytes()).to_hex()
        + &blake3::hash(&(n + 100_000).to_le_bytes()).to_hex()
}

fn config(volume: &Path) -> Config {
    Config::from_parts("web", [text(volume)], Exclude::default(), Need::Volumes).unwrap()
}

fn stream(volume: &Path) -> Vec<u8> {
    let mut to = Vec::new();
    backup_to(&mut to, "a stream", &config(volume), &BackupOptions::default(), &Watch::default()).unwrap();
    to
}

/// Counts what is read of it.
#[derive(Clone)]
struct Counted {
    bytes: Arc<Vec<u8>>,
    read: Arc<AtomicU64>,
}

impl Counted {
    fn new(bytes: &[u8]) -> Self {
        Counted { bytes: Arc::new(bytes.to_vec()), read: Arc::default() }
    }

    fn archive(&self) -> Archive {
        Archive::from_source(Box::new(self.clone()))
    }

    /// How much was read since the last time.
    fn take(&self) -> u64 {
        self.read.swap(0, Ordering::Relaxed)
    }
}

impl Source for Counted {
    fn name(&self) -> String {
        "counted".to_owned()
    }
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = &self.bytes[usize::try_from(offset).unwrap()..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// What is restored of some paths, as a picture, or why not.
fn restored(s: &Sandbox, archive: &Archive, volume: &Path, paths: &[PathBuf]) -> Result<Picture, String> {
    let into = s.path("into");
    let (archive, paths) = (archive.clone(), paths.iter().map(|path| path.as_os_str().to_owned()).collect());
    let options = RestoreOptions { archive, paths, into: Some(into.clone()), ..RestoreOptions::default() };
    let done = restore(&config(volume), &options, &Watch::default()).map_err(|error| error.to_string());
    let picture = done.map(|_| Picture::of(into.join(text(volume).trim_start_matches('/'))));
    if into.exists() {
        fs::remove_dir_all(into).unwrap();
    }
    picture
}

#[test]
fn single_paths_are_found_by_few_reads_and_are_what_they_are_without() {
    sandboxed(|s| {
        let volume = volume(s);
        let counted = Counted::new(&stream(&volume));
        assert!(
            verify(&ListOptions { archive: counted.archive(), ..ListOptions::default() }, &Watch::default())
                .unwrap()
                .ok
        );
        s.init();
        s.configure("web", &[&volume]);
        s.backup();
        let plain = Archive::from(s.archive());
        let options = ListOptions { archive: counted.archive(), ..ListOptions::default() };
        counted.take();
        list(&options, &Watch::default()).unwrap();
        // A walk over all headers reads more than 2 MiB.
        let listed = counted.take();
        assert!(listed < 128 << 10, "{listed}");
        for names in [
            &["z last"][..],
            &["0 first"],
            &["e.txt"],
            &["e-", "z last"],
            &["d/sub"],
            &["d/sub/deep"],
            &["d/sub/deep/first"],
            &["d/sub/deep/other", "e/none"],
            &["d/sub/deep.x"],
            &["d/none"],
            &["d/none/file"],
            &[&format!("d/{}", long_name(350, 110))],
            &[&format!("d/{}", long_name(699, 110)), &format!("e/{}", long_name(300, 0))],
            &["e"],
            &["d", "e"],
        ] {
            let paths: Vec<PathBuf> = names.iter().map(|name| volume.join(name)).collect();
            counted.take();
            let found = restored(s, &counted.archive(), &volume, &paths);
            let read = counted.take();
            let expected = restored(s, &plain, &volume, &paths);
            match (&found, &expected) {
                (Ok(found), Ok(expected)) => assert_eq!(expected.differences(found), [""; 0], "{names:?}"),
                (Err(found), Err(expected)) => {
                    assert!(found.contains("does not hold") && expected.contains("does not hold"), "{found}");
                }
                _ => panic!("{names:?}: {} and {}", found.is_ok(), expected.is_ok()),
            }
            if !names.iter().any(|name| ["d", "e"].contains(name)) {
                assert!(read < 4 << 20, "{names:?}: {read}");
            }
        }
    });
}

#[test]
fn in_an_archive_that_was_appended_to_not_even_the_headers_of_the_snapshot_are_read() {
    sandboxed(|s| {
        let volume = volume(s);
        s.init();
        s.configure("web", &[&volume]);
        for _ in 0..2 {
            s.run(["backup", "--index"]).ok();
        }
        let counted = Counted::new(&fs::read(s.archive()).unwrap());
        let path = [volume.join("d/sub/deep.x")];
        let found = restored(s, &counted.archive(), &volume, &path).unwrap();
        assert!(found.has("d/sub/deep.x") && !found.has("z last"));
        let read = counted.take();
        assert!(3 * read < counted.length(), "{read} of {}", counted.length());
    });
}

/// An index that says anything, with right checksums around it.
#[test]
fn a_path_that_a_lying_index_leads_to_is_what_it_should_be_or_is_refused() {
    sandboxed(|s| {
        let tree = Tree::at(s.path("vol/a")).dir("d").file("d/x", b"x").file("d/y", b"y").file("e", b"e");
        let volume = tree.file("f", b"f").hard_link("d/z", "f").done();
        let (members, tail) = craft::parse(&stream(&volume));
        let sound = Archive::from(s.archive());
        fs::write(s.archive(), craft::write(&members, &tail)).unwrap();
        let paths = [vec![volume.join("d")], vec![volume.join("e")], vec![volume.join("d/z")]];
        let expected = paths.clone().map(|paths| restored(s, &sound, &volume, &paths).unwrap());
        let parts = (0..members.len()).filter(|&at| members[at].data.starts_with(b"SNAPIDX"));
        let (mut same, mut refused) = (0, 0);
        for part in parts {
            for bit in (0..members[part].data.len() * 8).step_by(7) {
                let mut members = members.clone();
                members[part].data[bit / 8] ^= 1 << (bit % 8);
                fs::write(s.archive(), craft::write(&members, &tail)).unwrap();
                let which = bit % paths.len();
                match restored(s, &sound, &volume, &paths[which]) {
                    Ok(found) => {
                        assert_eq!(expected[which].differences(&found), [""; 0], "bit {bit} of {part}");
                        same += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(same > 20 && refused > 20, "{same} and {refused}");
    });
}

#[test]
fn all_members_of_a_snapshot_with_an_index_are_listed() {
    sandboxed(|s| {
        let volume = volume(s);
        let counted = Counted::new(&stream(&volume));
        let options = ListOptions { archive: counted.archive(), ..ListOptions::default() };
        let id = list(&options, &Watch::default()).unwrap().snapshots[0].id.clone();
        let mut names = Vec::new();
        members(&options, &id, &Watch::default(), &mut |member| {
            names.push(String::from_utf8(member.entry.name.clone()).unwrap());
            Ok(())
        })
        .unwrap();
        let parts = names.iter().filter(|name| *name == "web/snapshot.index").count();
        assert!(parts > 3 && names.len() > 1400 + parts, "{parts} parts, {} names", names.len());
    });
}
