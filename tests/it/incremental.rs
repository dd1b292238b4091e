//! Snapshots that store what changed, and refer to earlier ones for the rest: each restores as if it were whole.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

use snapshotter::config::{Config, Exclude, Need};
use snapshotter::observer::{Observer, Run as Watch};
use snapshotter::report::BackupReport;
use snapshotter::{BackupOptions, ListOptions, RestoreOptions, backup, members, restore, verify};

use crate::support::sandbox::text;
use crate::support::torture::{Torture, pattern};
use crate::support::tree::set_mtime;
use crate::support::{Picture, Sandbox, Tree, need, sandboxed, tool};

mod damaged;
mod hostile;
mod mapped;
mod others;
mod refused;

/// Longer than a tick of the clock by which files get their times.
const TICK: Duration = Duration::from_millis(30);

/// An archive that a volume is backed up to again and again.
struct Nights<'s> {
    s: &'s Sandbox,
    volume: PathBuf,
    config: Config,
    options: BackupOptions,
    /// The snapshots, and what the volume was then.
    taken: Vec<(String, Picture)>,
}

/// Keeps notes.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

impl<'s> Nights<'s> {
    fn of(s: &'s Sandbox, volume: PathBuf) -> Self {
        s.init();
        let options = BackupOptions {
            archive: s.archive(),
            incremental: true,
            clock_margin: Duration::from_millis(20),
            ..BackupOptions::default()
        };
        s.configure("web", &[&volume]);
        let config = config("web", &[&volume]);
        Nights { s, volume, config, options, taken: Vec::new() }
    }

    /// One more snapshot.
    fn backup(&mut self) -> BackupReport {
        self.noted().0
    }

    /// The same, with what was said; wherever tests run, in memory or not.
    fn noted(&mut self) -> (BackupReport, Vec<String>) {
        let (report, mut notes) = self.noted_all();
        notes.retain(|note| !note.contains("mapped memory"));
        (report, notes)
    }

    fn noted_all(&mut self) -> (BackupReport, Vec<String>) {
        sleep(TICK);
        let notes = Notes::default();
        // With a note of its own each has an ID of its own.
        self.options.note = Some(self.taken.len().to_string());
        let report = backup(&self.config, &self.options, &Watch::new(&notes)).unwrap();
        self.taken.push((report.id.clone(), Picture::of(&self.volume)));
        sleep(TICK);
        (report, notes.0.into_inner().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.volume.join(name)
    }

    fn restore_options(&self, number: usize) -> RestoreOptions {
        RestoreOptions {
            archive: self.s.archive().into(),
            snapshot: Some(self.taken[number].0.clone()),
            allow_empty: true,
            ..RestoreOptions::default()
        }
    }

    fn target(&self) -> PathBuf {
        self.s.path("into")
    }

    /// What comes of a restore below another directory, which is taken away again.
    fn restored(&self, options: RestoreOptions) -> snapshotter::Result<Picture> {
        let into = self.target();
        let options = RestoreOptions { into: Some(into.clone()), ..options };
        let done = restore(&self.config, &options, &Watch::default());
        let found = done.map(|_| Picture::of(into.join(text(&self.volume).trim_start_matches('/'))));
        if into.exists() {
            fs::remove_dir_all(into).unwrap();
        }
        found
    }

    /// Why nothing is restored.
    fn refused(&self, options: RestoreOptions) -> String {
        match self.restored(options) {
            Ok(_) => panic!("it was restored"),
            Err(error) => error.to_string(),
        }
    }

    /// Each snapshot is what it was, and all is sound.
    fn assert_all(&self) {
        for (number, (id, picture)) in self.taken.iter().enumerate() {
            let found = self.restored(self.restore_options(number)).unwrap();
            assert_eq!(picture.differences(&found), [""; 0], "snapshot {number}, {id}");
        }
        let verified = verify(&self.list_options(), &Watch::default()).unwrap();
        assert!(verified.ok, "{:?}", verified.problems);
        for (found, (_, picture)) in verified.snapshots.iter().zip(&self.taken) {
            assert_eq!((found.entries, found.volumes[0].sound), (Some(count(picture)), count(picture)));
        }
    }

    fn list_options(&self) -> ListOptions {
        ListOptions { archive: self.s.archive().into(), ..ListOptions::default() }
    }
}

fn count(picture: &Picture) -> u64 {
    picture.entries.len() as u64
}

fn config(prefix: &str, volumes: &[&Path]) -> Config {
    let volumes = volumes.iter().map(|volume| text(volume));
    Config::from_parts(prefix, volumes, Exclude::default(), Need::Volumes).unwrap()
}

/// So many small files in two directories.
fn many(s: &Sandbox, files: usize) -> PathBuf {
    let data = pattern(files + 600);
    let mut tree = Tree::at(s.path("vol/a")).dir("d").dir("e");
    for n in 0..files {
        tree = tree.file(format!("{}/{n:05}", ["d", "e"][n % 2]), &data[n..n + n % 600]);
    }
    tree.done()
}

#[test]
fn each_snapshot_of_a_chain_comes_back_in_every_way() {
    sandboxed(|s| {
        let volume = Torture::default().make(s.path("vol/a"));
        let tree = Tree::at(&volume).file("grows", b"1").file("goes", b"2").hard_link("grows too", "grows");
        let volume = tree.done();
        let mut nights = Nights::of(s, volume);
        assert_eq!(nights.backup().references, 0);
        fs::write(nights.path("grows"), pattern(300_000)).unwrap();
        fs::remove_file(nights.path("goes")).unwrap();
        let second = nights.backup();
        fs::create_dir(nights.path("goes")).unwrap();
        fs::write(nights.path("goes/below"), "x").unwrap();
        fs::rename(nights.path("grows too"), nights.path("aa too")).unwrap();
        let third = nights.backup();
        let fourth = nights.backup();
        // But for the root, and what says that it changes in the future.
        assert!(fourth.references + 20 > fourth.entries);
        assert!(second.references + 25 > second.entries && third.references + 25 > third.entries);
        nights.assert_all();
        // A further change, so that there is something to do.
        fs::remove_dir_all(nights.path("goes")).unwrap();
        for number in (0..4).rev() {
            let options = nights.restore_options(number);
            let dry = RestoreOptions { dry_run: true, ..options.clone() };
            let before = Picture::of(&nights.volume);
            let dry = restore(&nights.config, &dry, &Watch::default()).unwrap();
            before.assert_same(&nights.volume);
            assert!(dry.changes.len() > 1, "{:?}", dry.changes);
            let in_place = RestoreOptions { in_place: number % 2 == 0, ..options };
            restore(&nights.config, &in_place, &Watch::default()).unwrap();
            nights.taken[number].1.assert_same(&nights.volume);
            let skipping = RestoreOptions { skip_damaged: true, ..nights.restore_options(number) };
            let found = nights.restored(skipping).unwrap();
            assert_eq!(nights.taken[number].1.differences(&found), [""; 0]);
        }
        // What a restore has made is all new, and so is stored again.
        let after = nights.backup();
        assert_eq!(after.references, 0);
        nights.assert_all();
    });
}

#[test]
fn the_members_of_an_incremental_snapshot_are_listed_in_their_order() {
    sandboxed(|s| {
        let mut nights = Nights::of(s, many(s, 3000));
        nights.backup();
        fs::write(nights.path("d/00200"), "changed").unwrap();
        nights.backup();
        let names = |id: &str| {
            let mut names = Vec::new();
            let each = &mut |member: &snapshotter::Member| {
                let name = String::from_utf8(member.entry.name.clone()).unwrap();
                names.extend(Some(name).filter(|name| !name.ends_with("snapshot.index")));
                Ok(())
            };
            members(&nights.list_options(), id, &Watch::default(), each).unwrap();
            names
        };
        let (first, second) = (names(&nights.taken[0].0), names(&nights.taken[1].0));
        assert_eq!(first, second);
        assert_eq!(first.len(), 3000 + 3 + 3);
        nights.assert_all();
    });
}

#[test]
fn single_paths_come_back_with_what_they_are_further_names_of() {
    sandboxed(|s| {
        let volume = many(s, 5000);
        let tree = Tree::at(&volume)
            .file("0 first", b"linked")
            .hard_link("e/link", "0 first")
            .hard_link("e/z", "0 first");
        let volume = tree.done();
        let mut nights = Nights::of(s, volume);
        nights.backup();
        fs::write(nights.path("d/00002"), "changed").unwrap();
        nights.backup();
        fs::write(nights.path("0 first"), "changed").unwrap();
        nights.backup();
        for (number, paths) in [
            (1, &["e/link"][..]),
            (1, &["e/link", "e/z"]),
            (1, &["d/00002", "d/00100"]),
            (2, &["e"]),
            (1, &["e"]),
        ] {
            let paths: Vec<OsString> = paths.iter().map(|path| nights.path(path).into()).collect();
            let options = RestoreOptions { paths: paths.clone(), ..nights.restore_options(number) };
            let found = nights.restored(options).unwrap();
            let of = |picture: &Picture| {
                picture.part(|name| {
                    let path = nights.path(std::str::from_utf8(name).unwrap());
                    paths.iter().any(|only| path.starts_with(only))
                })
            };
            assert_eq!(of(&nights.taken[number].1).differences(&of(&found)), [""; 0], "{paths:?}");
            assert!(count(&of(&found)) >= paths.len() as u64);
        }
        let missing =
            RestoreOptions { paths: vec![nights.path("e/none").into()], ..nights.restore_options(1) };
        assert!(nights.refused(missing).contains("does not hold"));
    });
}

/// Puts a time back that a change has set.
fn with_mtime_of(path: &Path, change: impl FnOnce()) {
    let before = fs::symlink_metadata(path).unwrap();
    change();
    set_mtime(path, filetime::FileTime::from_last_modification_time(&before));
}

/// What is done to a file, after which nothing but its ctime may tell that it changed.
type Change = (&'static str, fn(&Path));

const CHANGES: [Change; 15] = [
    ("same size", |f| with_mtime_of(f, || fs::write(f, "CONTENT").unwrap())),
    ("longer", |f| with_mtime_of(f, || fs::write(f, "content and more").unwrap())),
    ("mode", |f| fs::set_permissions(f, Permissions::from_mode(0o6711)).unwrap()),
    ("owner", |f| chown(f, Some(12), None).unwrap()),
    ("group", |f| chown(f, None, Some(34)).unwrap()),
    ("attribute", |f| xattr::set(f, "trusted.x", b"new").unwrap()),
    ("mtime", |f| set_mtime(f, filetime::FileTime::from_unix_time(7, 8))),
    ("another with its times", |f| {
        with_mtime_of(f, || {
            fs::remove_file(f).unwrap();
            fs::write(f, "CONTENT").unwrap();
        });
    }),
    ("another under its name", |f| {
        let other = f.with_file_name("zz");
        fs::write(&other, "CONTENT").unwrap();
        with_mtime_of(f, || fs::rename(&other, f).unwrap());
    }),
    ("a symlink", |f| {
        fs::remove_file(f).unwrap();
        symlink("elsewhere", f).unwrap();
        lchown(f, Some(3), Some(4)).unwrap();
    }),
    ("a directory", |f| {
        fs::remove_file(f).unwrap();
        fs::create_dir_all(f.join("with/more")).unwrap();
    }),
    ("gone", |f| fs::remove_file(f).unwrap()),
    ("moved to an earlier name", |f| fs::rename(f, f.with_file_name("00")).unwrap()),
    ("a further name before it", |f| fs::hard_link(f, f.with_file_name("00")).unwrap()),
    ("a further name behind it", |f| fs::hard_link(f, f.with_file_name("zzz")).unwrap()),
];

#[test]
fn whatever_is_done_to_a_file_is_seen() {
    sandboxed(|s| {
        let mut tree = Tree::at(s.path("vol/a"));
        for (number, (name, _)) in CHANGES.iter().enumerate() {
            tree = tree.file(format!("{number:02} {name}/file"), "content").mode(0o640).mtime(1_000_000, 5);
            tree = tree.file(format!("{number:02} {name}/other"), "other");
        }
        let mut nights = Nights::of(s, tree.done());
        nights.backup();
        for (number, (name, change)) in CHANGES.iter().enumerate() {
            change(&nights.path(&format!("{number:02} {name}/file")));
            let report = nights.backup();
            assert!(
                report.references + 6 >= report.entries,
                "{name}: {} of {}",
                report.references,
                report.entries
            );
        }
        nights.assert_all();
    });
}

#[test]
fn links_to_a_file_follow_its_first_name() {
    sandboxed(|s| {
        let tree = Tree::at(s.path("vol/a")).file("b", "linked").hard_link("c", "b").hard_link("d/e", "b");
        let mut nights = Nights::of(s, tree.symlink("l", "b").hard_link("m", "l").done());
        nights.backup();
        assert_eq!(nights.backup().references, 6);
        fs::remove_file(nights.path("b")).unwrap();
        nights.backup();
        fs::hard_link(nights.path("c"), nights.path("a")).unwrap();
        nights.backup();
        // Another file takes the first name: the others are what they were.
        fs::remove_file(nights.path("a")).unwrap();
        fs::write(nights.path("a"), "linked").unwrap();
        nights.backup();
        fs::write(nights.path("c"), "written").unwrap();
        nights.backup();
        assert_eq!(nights.backup().references, 6);
        nights.assert_all();
    });
}

#[test]
fn an_inode_that_another_file_has_got_does_not_deceive() {
    sandboxed(|s| {
        // It gives the number of a removed file to the next one.
        let folder = s.filesystem("ext", "ext4", 32);
        let volume =
            Tree::at(folder.join("v")).file("a", "content").mtime(1_000_000, 5).file("b", "x").done();
        let mut nights = Nights::of(s, volume);
        nights.backup();
        let before = fs::metadata(nights.path("a")).unwrap();
        fs::remove_file(nights.path("a")).unwrap();
        fs::write(nights.path("a"), "CONTENT").unwrap();
        set_mtime(&nights.path("a"), filetime::FileTime::from_unix_time(1_000_000, 5));
        let after = fs::metadata(nights.path("a")).unwrap();
        assert_eq!((before.ino(), before.mtime(), before.size()), (after.ino(), after.mtime(), after.size()));
        nights.backup();
        nights.assert_all();
    });
}

#[test]
fn what_changed_within_a_tick_of_the_clock_is_read_again() {
    sandboxed(|s| {
        let mut nights = Nights::of(s, many(s, 40));
        // All of it is younger than that.
        nights.options.clock_margin = BackupOptions::default().clock_margin;
        nights.backup();
        let report = nights.backup();
        assert_eq!(report.references, 0, "{report:?}");
        nights.options.clock_margin = Duration::from_millis(20);
        let report = nights.backup();
        assert_eq!(report.references + 1, report.entries);
        nights.assert_all();
    });
}

#[test]
fn little_is_added_when_little_changed() {
    sandboxed(|s| {
        let files = 6000;
        let mut nights = Nights::of(s, many(s, files));
        nights.backup();
        for n in (0..files).step_by(100) {
            fs::write(nights.path(&format!("d/{n:05}")), vec![b'n'; n % 700]).unwrap();
        }
        let report = nights.backup();
        let members = report.entries - report.references;
        assert!(members < 70, "{members}");
        let most = 64 * files as u64 + members * (1536 + 1024) + 10_000;
        assert!(report.bytes < most, "{} of {most}", report.bytes);
        nights.assert_all();
    });
}

#[test]
fn several_volumes_come_and_go() {
    sandboxed(|s| {
        let a = Tree::at(s.path("vol/a")).file("x", "of a").file("deep/er/x", "deep").done();
        let b = Tree::at(s.path("vol/b")).file("x", "of b").done();
        fs::write(s.path("vol/file"), "a file").unwrap();
        let file = s.path("vol/file");
        let mut nights = Nights::of(s, s.path("vol"));
        let sets: [&[&Path]; 6] = [&[&a, &file], &[&a, &b, &file], &[&b], &[&a, &b], &[&b, &a], &[&a, &file]];
        let references: Vec<u64> = sets
            .iter()
            .map(|volumes| {
                nights.config = config("web", volumes);
                nights.backup().references
            })
            .collect();
        // Only what the snapshot just before has is referred to.
        assert_eq!(references, [0, 4, 1, 1, 0, 4]);
        for (number, volumes) in sets.iter().enumerate() {
            nights.config = config("web", volumes);
            let options = RestoreOptions { into: Some(nights.target()), ..nights.restore_options(number) };
            restore(&nights.config, &options, &Watch::default()).unwrap();
            for volume in *volumes {
                Picture::of(volume).assert_same(nights.target().join(text(volume).trim_start_matches('/')));
            }
            fs::remove_dir_all(nights.target()).unwrap();
        }
        assert!(verify(&nights.list_options(), &Watch::default()).unwrap().ok);
    });
}

#[test]
fn late_checksums_and_holes_are_referred_to() {
    if !need("python3") {
        return;
    }
    sandboxed(|s| {
        let tree = Tree::at(s.path("vol/a")).file("large", pattern(2 << 20)).file("small", "x");
        let volume = tree.sparse("sparse", 3 << 20, &[(1 << 20, b"data")]).done();
        let mut nights = Nights::of(s, volume);
        // A stream has checksums in its index alone, and may be appended to.
        let mut stream = fs::File::create(s.archive()).unwrap();
        sleep(TICK);
        snapshotter::backup_to(&mut stream, "a stream", &nights.config, &nights.options, &Watch::default())
            .unwrap();
        let id =
            snapshotter::list(&nights.list_options(), &Watch::default()).unwrap().snapshots[0].id.clone();
        nights.taken.push((id, Picture::of(&nights.volume)));
        assert_eq!(nights.backup().references, 3);
        fs::write(nights.path("small"), "y").unwrap();
        assert_eq!(nights.backup().references, 2);
        let listed = snapshotter::list(&nights.list_options(), &Watch::default()).unwrap();
        assert_eq!(listed.snapshots[2].unhashed, 0);
        nights.assert_all();
        // And held against them.
        let archive = fs::read(s.archive()).unwrap();
        let needle = &pattern(2 << 20)[1 << 20..][..4000];
        let at = archive.windows(4000).position(|window| window == needle).unwrap();
        let mut damaged = archive.clone();
        damaged[at] ^= 1;
        fs::write(s.archive(), damaged).unwrap();
        for number in 0..3 {
            let error = nights.refused(nights.restore_options(number));
            assert!(error.contains("large"), "{error}");
        }
    });
}
