//! Sources that fail, lie, or give little at a time.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use snapshotter::config::{Config, Exclude, Need};
use snapshotter::observer::Run;
use snapshotter::{
    Archive, BackupOptions, ListOptions, RestoreOptions, Source, backup_to, list, members, restore, verify,
};

use super::prepared;
use crate::support::sandbox::text;
use crate::support::{Picture, Tree, sandboxed};

/// What is wrong with a source.
#[derive(Clone, Copy)]
enum Way {
    /// At most so many bytes at a time.
    Little(usize),
    /// The read of this number is interrupted.
    Interrupted(usize),
    /// The read of this number fails.
    Fails(usize),
    /// It says that it has so many bytes more, or fewer.
    Says(i64),
    /// It says that it has read more than it was asked for.
    TooMuch,
    /// From the read of this number on, each byte is another.
    Other(usize),
    Slow,
}

struct Content {
    bytes: Vec<u8>,
    way: Way,
    reads: AtomicUsize,
}

impl Content {
    fn archive(bytes: &[u8], way: Way) -> Archive {
        Archive::from_source(Box::new(Content { bytes: bytes.to_vec(), way, reads: AtomicUsize::new(0) }))
    }
}

impl Source for Content {
    fn name(&self) -> String {
        "the\nbucket".to_owned()
    }

    fn length(&self) -> u64 {
        let more = if let Way::Says(more) = self.way { more } else { 0 };
        (self.bytes.len() as u64).saturating_add_signed(more)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        assert!(!buffer.is_empty());
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        let rest = usize::try_from(offset).ok().and_then(|from| self.bytes.get(from..)).unwrap_or_default();
        let mut count = rest.len().min(buffer.len());
        match self.way {
            Way::Little(most) => count = count.min(most),
            Way::Interrupted(at) if at == read => return Err(io::ErrorKind::Interrupted.into()),
            Way::Fails(at) if at <= read => return Err(io::Error::other("the network is gone")),
            Way::TooMuch => return Ok(buffer.len() + 1),
            Way::Slow => std::thread::sleep(Duration::from_millis(2)),
            _ => {}
        }
        buffer[..count].copy_from_slice(&rest[..count]);
        if matches!(self.way, Way::Other(at) if at <= read) {
            buffer[..count].iter_mut().for_each(|byte| *byte ^= 0x55);
        }
        Ok(count)
    }
}

#[test]
fn whatever_a_source_does_what_is_restored_is_right_or_there_is_an_error() {
    sandboxed(|s| {
        let volume = prepared(s);
        let bytes = fs::read(s.archive()).unwrap();
        let kept = Picture::of(&volume);
        let into = s.path("into");
        let config = Config::from_parts("web", [text(&volume)], Exclude::default(), Need::Volumes).unwrap();
        let restored = |way| {
            let options = RestoreOptions {
                archive: Content::archive(&bytes, way),
                into: Some(into.clone()),
                ..RestoreOptions::default()
            };
            let result = restore(&config, &options, &Run::default());
            if result.is_ok() {
                kept.assert_same(into.join(volume.strip_prefix("/").unwrap()));
                fs::remove_dir_all(&into).unwrap();
            }
            assert!(!into.exists());
            result.map(drop).map_err(|error| snapshotter::error::chain(&error))
        };
        for way in [Way::Little(1), Way::Little(511), Way::Little(513), Way::Interrupted(0), Way::Slow] {
            restored(way).unwrap();
        }
        for at in 0.. {
            match restored(Way::Fails(at)) {
                Ok(()) => break,
                Err(error) => assert_eq!(error, "cannot read the\\x0abucket: the network is gone"),
            }
        }
        for at in 0.. {
            match restored(Way::Other(at)) {
                Ok(()) => break,
                Err(error) => assert!(error.contains("the\\x0abucket"), "{error}"),
            }
        }
        for more in [-1024, -1, -512, 1 << 20, i64::MAX] {
            let error = restored(Way::Says(more));
            // Behind the end it may have anything, which is not looked for when it is not there.
            assert_eq!(error.is_err(), more < 0, "{more}: {error:?}");
        }
        assert!(restored(Way::TooMuch).unwrap_err().contains("where 512 were asked for"));
    });
}

#[test]
fn a_source_is_listed_and_verified_as_a_file_is() {
    sandboxed(|s| {
        prepared(s);
        let bytes = fs::read(s.archive()).unwrap();
        let run = Run::default();
        let options = |archive| ListOptions { archive, ..ListOptions::default() };
        let (of_file, of_source) =
            (options(s.archive().into()), options(Content::archive(&bytes, Way::Little(700))));
        let [one, other] = [&of_file, &of_source].map(|options| list(options, &run).unwrap());
        assert_eq!(one.snapshots, other.snapshots);
        assert_eq!(other.archive.to_str(), Some("the\\x0abucket"));
        let id = &one.snapshots[1].id;
        let [one, other] = [&of_file, &of_source].map(|options| {
            let mut names = Vec::new();
            members(options, id, &run, &mut |member| {
                names.push(member.entry.name.clone());
                Ok(())
            })
            .unwrap();
            names
        });
        assert_eq!(one, other);
        assert!(one.len() > 5);
        assert!(verify(&of_source, &run).unwrap().ok);
        let lies = options(Content::archive(&bytes, Way::Other(4)));
        assert!(!verify(&lies, &run).is_ok_and(|found| found.ok));
    });
}

#[test]
fn where_the_snapshot_of_a_stream_closes_is_found_at_its_end() {
    sandboxed(|s| {
        let mut tree = Tree::at(s.path("vol")).dir("d");
        for n in 0..200 {
            tree = tree.file(format!("d/{n}"), vec![b'x'; 700]);
        }
        let volume = tree.done();
        let streamed = || {
            let config =
                Config::from_parts("web", [text(&volume)], Exclude::default(), Need::Volumes).unwrap();
            let mut bytes = Vec::new();
            backup_to(&mut bytes, "a stream", &config, &BackupOptions::default(), &Run::default()).unwrap();
            bytes
        };
        let listed = |bytes: &[u8], way| {
            let archive = Content::archive(bytes, way);
            list(&ListOptions { archive, ..ListOptions::default() }, &Run::default()).unwrap()
        };
        let bytes = streamed();
        // Of each of the 200 files a walk reads the header.
        let found = listed(&bytes, Way::Fails(40));
        assert_eq!((found.snapshots.len(), found.snapshots[0].entries), (1, 202));
        assert!(found.problems.is_empty());

        // What a file holds is taken for an end by nobody, also where the archive was cut off behind it.
        fs::write(volume.join("e"), &bytes).unwrap();
        let outer = streamed();
        assert_eq!(listed(&outer, Way::Slow).snapshots[0].entries, 203);
        let held = outer.windows(bytes.len()).position(|window| window == bytes).unwrap();
        let cut = listed(&outer[..held + bytes.len()], Way::Slow);
        assert!(cut.snapshots.is_empty() && !cut.problems.is_empty(), "{cut:?}");
    });
}
