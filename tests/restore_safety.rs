//! What a restore must never lose or touch, tried through the library, each test where all else is read-only.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use snapshotter::config::{Config, Exclude, Need};
use snapshotter::error::Hint;
use snapshotter::observer::Run;
use snapshotter::report::ChangeKind;
use snapshotter::{
    BackupOptions, Error, RestoreOptions, RestoreReport, Result, backup, init_archive, restore,
};

/// A temporary directory with an archive; in this thread, and while it lives, nothing else can be written.
struct Place(PathBuf);

impl Place {
    fn volume(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, path: &str, content: &str) {
        fs::create_dir_all(self.0.join(path).parent().unwrap()).unwrap();
        fs::write(self.0.join(path), content).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.0.join(path)).ok()
    }

    fn config(&self, volumes: &[&str], need: Need) -> Config {
        let volumes: Vec<String> = volumes.iter().map(|volume| self.volume(volume)).collect();
        Config::from_parts("p", volumes.iter().map(String::as_str), Exclude::default(), need).unwrap()
    }

    fn backup(&self, volumes: &[&str]) {
        let options = BackupOptions { archive: self.0.join("backup.tar"), ..BackupOptions::default() };
        backup(&self.config(volumes, Need::Volumes), &options, &Run::default()).unwrap();
    }

    fn options(&self) -> RestoreOptions {
        RestoreOptions { archive: self.0.join("backup.tar").into(), ..RestoreOptions::default() }
    }

    /// Options to restore below `into`.
    fn into(&self) -> RestoreOptions {
        RestoreOptions { into: Some(self.0.join("into")), ..self.options() }
    }

    fn restore(&self, volumes: &[&str], options: &RestoreOptions) -> Result<RestoreReport> {
        self.restore_run(volumes, options, &Run::default())
    }

    fn restore_run(&self, volumes: &[&str], options: &RestoreOptions, run: &Run) -> Result<RestoreReport> {
        let need = if options.into.is_some() { Need::VolumesOrAll } else { Need::Volumes };
        restore(&self.config(volumes, need), options, run)
    }

    /// Where `path` goes below `into`, relative to here.
    fn below(&self, path: &str) -> String {
        format!("into{}", self.volume(path))
    }
}

/// Runs `test` in a mount namespace of its own; only root can.
fn confined(test: impl FnOnce(&Place) + Send) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can make the rest of the system read-only");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let enter = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let flag = |at: &Path, flags| mount(Some(at), at, None::<&str>, flags, None::<&str>);
        flag(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE).unwrap();
        flag(&root, MsFlags::MS_BIND).unwrap();
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        for point in mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new) {
            if point != root {
                // One that another hides cannot be reached.
                let _ = flag(point, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY);
            }
        }
        for outside in [Path::new("/"), root.parent().unwrap()] {
            assert!(tempfile::tempfile_in(outside).is_err(), "{} can be written", outside.display());
        }
        init_archive(&root.join("backup.tar")).unwrap();
        test(&Place(root.clone()));
    };
    let result = thread::scope(|scope| scope.spawn(enter).join());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// What a dry run of the volume `v` says, by paths in it.
fn dry_run(place: &Place) -> Vec<(ChangeKind, String)> {
    let options = RestoreOptions { dry_run: true, ..place.options() };
    let report = place.restore(&["v"], &options).unwrap();
    let lines = report.changes.into_iter().map(|change| {
        let path = Path::new(OsStr::from_bytes(&change.path)).to_path_buf();
        (change.kind, path.strip_prefix(place.0.join("v")).unwrap().to_str().unwrap().to_owned())
    });
    lines.collect()
}

fn mtime(path: impl AsRef<Path>) -> (i64, i64) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.mtime(), found.mtime_nsec())
}

fn set_mtime(path: impl AsRef<Path>, secs: i64) {
    filetime::set_file_mtime(path, filetime::FileTime::from_unix_time(secs, 0)).unwrap();
}

#[test]
fn a_path_that_is_the_volume_itself_replaces_it() {
    confined(|place| {
        place.write("v/a", "old");
        place.backup(&["v"]);
        place.write(&place.below("v/a"), "new");
        place.write(&place.below("v/extra"), "x");
        let options = RestoreOptions { paths: vec![place.volume("v").into()], ..place.into() };
        place.restore(&["v"], &options).unwrap();
        assert_eq!(place.read(&place.below("v/a")).as_deref(), Some("old"));
        assert_eq!(place.read(&place.below("v/extra")), None);
    });
}

#[test]
fn one_path_is_never_restored_in_place() {
    confined(|place| {
        place.write("v/a", "a");
        place.write("v/b", "b");
        place.backup(&["v"]);
        place.write(&place.below("v/precious"), "x");
        let options =
            RestoreOptions { paths: vec![place.volume("v/a").into()], in_place: true, ..place.into() };
        place.restore(&["v"], &options).unwrap_err();
        assert_eq!(place.read(&place.below("v/precious")).as_deref(), Some("x"));
        let options = RestoreOptions { paths: vec![place.volume("v/a").into()], ..place.options() };
        place.restore(&["v"], &options).unwrap_err();
    });
}

#[test]
fn a_volume_inside_another_that_is_not_restored_stays() {
    confined(|place| {
        for in_place in [false, true] {
            place.write("v/a", "a");
            fs::create_dir_all(place.0.join("v/n")).unwrap();
            let nested = place.0.join("v/n");
            mount(Some(&nested), &nested, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            place.write("v/n/file", "n");
            place.backup(&["v", "v/n"]);
            nix::mount::umount(&nested).unwrap();
            let options = RestoreOptions { in_place, ..place.into() };
            place.restore(&["v", "v/n"], &options).unwrap();
            place.restore(&["v"], &options).unwrap();
            assert_eq!(place.read(&place.below("v/n/file")).as_deref(), Some("n"));
        }
    });
}

#[test]
fn a_file_volume_leaves_the_time_of_its_directory_and_inherits_no_acl() {
    confined(|place| {
        place.write("v/a", "a");
        place.write("v/f", "");
        place.write("f", "file");
        let file = place.0.join("v/f");
        mount(Some(&place.0.join("f")), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        set_mtime(place.0.join("v"), 1_000_000);
        place.backup(&["v", "v/f"]);
        nix::mount::umount(&file).unwrap();
        let acl = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x07\0\x07\0\0\0\x04\0\x05\0\xff\xff\xff\xff\
            \x10\0\x07\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff";
        fs::create_dir_all(place.0.join(place.below("v"))).unwrap();
        xattr::set(place.0.join(place.below("v")), "system.posix_acl_default", acl).unwrap();
        place.restore(&["v", "v/f"], &place.into()).unwrap();
        assert_eq!(place.read(&place.below("v/f")).as_deref(), Some("file"));
        assert_eq!(mtime(place.0.join(place.below("v"))), (1_000_000, 0));

        place.write("g", "g");
        place.backup(&["g"]);
        let parent = place.below("g").strip_suffix("/g").unwrap().to_owned();
        xattr::set(place.0.join(&parent), "system.posix_acl_default", acl).unwrap();
        place.restore(&["g"], &place.into()).unwrap();
        let names: Vec<_> = xattr::list(place.0.join(place.below("g"))).unwrap().collect();
        assert!(names.is_empty(), "{names:?}");
    });
}

#[test]
fn of_two_file_volumes_below_a_directory_none_changes_when_one_cannot() {
    confined(|place| {
        place.write("f", "old f");
        place.write("g", "old g");
        // A warning, an error with strict, and only when the second is written: tmpfs has no such attribute.
        xattr::set(place.0.join("g"), "user.x", b"1").unwrap();
        place.backup(&["f", "g"]);
        let into = place.0.join("into");
        fs::create_dir(&into).unwrap();
        mount(None::<&str>, &into, Some("ramfs"), MsFlags::empty(), None::<&str>).unwrap();
        place.write(&place.below("f"), "new f");
        place.write(&place.below("g"), "new g");
        let parent = place.below("f").strip_suffix("/f").unwrap().to_owned();
        place.write(&format!("{parent}/.snapshotter-staging.file/mine"), "x");
        set_mtime(place.0.join(&parent), 1_000_000);
        let strict = Run { strict: true, ..Run::default() };
        place.restore_run(&["f", "g"], &place.into(), &strict).unwrap_err();
        assert_eq!(place.read(&place.below("f")).as_deref(), Some("new f"));
        assert_eq!(place.read(&place.below("g")).as_deref(), Some("new g"));
        assert_eq!(place.read(&format!("{parent}/.snapshotter-staging.file/mine")).as_deref(), Some("x"));
        assert_eq!(mtime(place.0.join(&parent)), (1_000_000, 0));
        assert_eq!(fs::read_dir(place.0.join(&parent)).unwrap().count(), 3);

        place.restore(&["f", "g"], &place.into()).unwrap();
        assert_eq!(place.read(&place.below("f")).as_deref(), Some("old f"));
        assert_eq!(place.read(&place.below("g")).as_deref(), Some("old g"));
        assert_eq!(fs::read_dir(place.0.join(&parent)).unwrap().count(), 3);
    });
}

#[test]
fn in_place_a_file_volume_that_cannot_be_written_is_as_it_was() {
    confined(|place| {
        let inside = place.0.join("m");
        fs::create_dir(&inside).unwrap();
        place.write("m/f", "old");
        xattr::set(place.0.join("m/f"), "user.x", b"1").unwrap();
        place.write("v/a", "a");
        place.backup(&["v", "m/f"]);
        mount(None::<&str>, &inside, Some("ramfs"), MsFlags::empty(), None::<&str>).unwrap();
        place.write("m/f", "new content");
        let strict = Run { strict: true, ..Run::default() };
        let options = RestoreOptions { in_place: true, ..place.options() };
        let error = place.restore_run(&["v", "m/f"], &options, &strict).unwrap_err();
        assert_eq!(place.read("m/f").as_deref(), Some("new content"), "{error}");
    });
}

#[test]
fn in_place_nothing_is_cleared_when_a_file_volume_cannot_be_opened() {
    confined(|place| {
        place.write("m/f", "old");
        place.write("v/a", "a");
        place.backup(&["v", "m/f"]);
        place.write("v/precious", "x");
        let file = place.0.join("m/f");
        mount(Some(&file), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, &file, None::<&str>, read_only, None::<&str>).unwrap();
        let options = RestoreOptions { in_place: true, ..place.options() };
        place.restore(&["v", "m/f"], &options).unwrap_err();
        assert_eq!(place.read("v/precious").as_deref(), Some("x"));
        assert!(!place.0.join("v/.snapshotter-staging").exists());
    });
}

#[test]
fn after_a_failure_below_a_directory_the_times_are_as_before() {
    confined(|place| {
        place.write("v/a", "a");
        place.write("v/n", "file");

        fs::create_dir_all(place.0.join("w/deep")).unwrap();
        place.backup(&["v", "w"]);
        let parent = place.below("v").strip_suffix("/v").unwrap().to_owned();
        fs::create_dir_all(place.0.join(&parent)).unwrap();
        // Something in the way of the second volume.
        place.write(&place.below("w"), "in the way");
        set_mtime(place.0.join(&parent), 1_000_000);
        place.restore(&["v", "w"], &place.into()).unwrap_err();
        assert!(!place.0.join(place.below("v")).exists());
        assert_eq!(mtime(place.0.join(&parent)), (1_000_000, 0));
    });
}

#[test]
fn a_dry_run_lists_neither_what_stays_nor_what_is_ours() {
    confined(|place| {
        place.write("v/a", "a");
        fs::create_dir_all(place.0.join("v/m")).unwrap();
        place.backup(&["v"]);
        let nested = place.0.join("v/m");
        mount(None::<&str>, &nested, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        place.write("v/.snapshotter-staging/mine", "x");
        set_mtime(place.0.join("v"), 5);
        let options = RestoreOptions { dry_run: true, ..place.options() };
        let report = place.restore(&["v"], &options).unwrap();
        let changes: Vec<(ChangeKind, String)> = report
            .changes
            .into_iter()
            .map(|change| (change.kind, String::from_utf8(change.path).unwrap()))
            .collect();
        let staging = place.volume("v/.snapshotter-staging");
        assert_eq!(changes, [(ChangeKind::Update, place.volume("v")), (ChangeKind::Remove, staging)]);
    });
}

const GO_ID: &str = "45ed9d1d7c2e2551cab0be208038a8edb7e59bcfe8a376e81e4e31a5b17364f0";

/// An archive of the original program, which has no checksums to forge, with these members (name, type, target) in
/// the volume `target`.
fn go_archive(place: &Place, target: &str, members: &[(&str, u8, &str)]) {
    let mut builder = tar::Builder::new(Vec::new());
    let list = format!("- id: {GO_ID}\n  type: dir\n  target: {target}\n");
    let in_volume = members.iter().map(|(name, kind, link)| (format!("p/{GO_ID}{name}"), *kind, *link, ""));
    let close = ("p/volumes-data.yml".to_owned(), b'0', "", list.as_str());
    for (name, kind, link, content) in in_volume.chain([close]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        let link = link.replace("ID", GO_ID);
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    fs::write(place.0.join("backup.tar"), builder.into_inner().unwrap()).unwrap();
}

#[test]
fn what_cannot_be_restored_clears_no_volume() {
    let root = ("", b'5', "");
    let bad: &[&[(&str, u8, &str)]] = &[
        &[root, ("/../x", b'0', "")],
        &[root, ("/d/../../x", b'0', "")],
        &[root, ("//x", b'0', "")],
        &[root, ("/s", b'2', "/"), ("/s/x", b'0', "")],
        &[root, ("/s", b'2', "../outside"), ("/s", b'5', ""), ("/s/x", b'0', "")],
        &[root, ("/x", b'0', ""), ("/x", b'0', "")],
        &[root, ("/d", b'5', ""), ("/d", b'0', "")],
        &[root, ("/x", b'0', ""), root],
        &[root, ("/f", b'0', ""), ("/f/y", b'0', "")],
        &[root, ("/l", b'1', "p/ID/later"), ("/later", b'0', "")],
        &[root, ("/d", b'5', ""), ("/l", b'1', "p/ID/d")],
        &[root, ("/l", b'1', "p/ID")],
        &[root, ("/l", b'1', "p/ID/l")],
        &[root, ("/l", b'1', "/etc/passwd")],
        &[root, ("/l", b'1', "p/ID/../../outside/precious")],
        &[root, ("/s", b'2', "../outside"), ("/l", b'1', "p/ID/s/precious")],
        &[root, ("/s", b'2', "")],
        &[root, ("/x", b'Z', "")],
    ];
    confined(|place| {
        for members in bad {
            for in_place in [false, true] {
                place.write("outside/precious", "precious");
                place.write("v/mine", "mine");
                set_mtime(place.0.join("v"), 1_000_000);
                set_mtime(place.0.join("outside"), 1_000_000);
                go_archive(place, &place.volume("v"), members);
                let options = RestoreOptions { in_place, ..place.options() };
                let error = place.restore(&["v"], &options).unwrap_err();
                assert_eq!(place.read("v/mine").as_deref(), Some("mine"), "{members:?}: {error}");
                let names = fs::read_dir(place.0.join("v")).unwrap().count();
                assert_eq!((names, mtime(place.0.join("v"))), (1, (1_000_000, 0)), "{members:?}: {error}");
                assert_eq!(mtime(place.0.join("outside")), (1_000_000, 0), "{members:?}");
                assert_eq!(fs::metadata(place.0.join("outside/precious")).unwrap().nlink(), 1);
            }
        }
        // A tree in another order, as other programs pack one again, is one.
        let packed_again: [&[(&str, u8, &str)]; 2] =
            [&[root, ("/d", b'5', ""), ("/x", b'0', ""), ("/d/y", b'0', "")], &[("/x", b'0', ""), root]];
        for members in packed_again {
            for in_place in [false, true] {
                place.write("v/mine", "mine");
                go_archive(place, &place.volume("v"), members);
                place.restore(&["v"], &RestoreOptions { in_place, ..place.options() }).unwrap();
                assert!(place.read("v/x").is_some() && place.read("v/mine").is_none(), "{members:?}");
            }
        }
        go_archive(place, &place.volume("v"), &[root, ("/f", b'0', ""), ("/l", b'1', "p/ID/f")]);
        for in_place in [false, true] {
            place.restore(&["v"], &RestoreOptions { in_place, ..place.options() }).unwrap();
            assert_eq!(fs::metadata(place.0.join("v/f")).unwrap().nlink(), 2);
        }
    });
}

#[test]
fn in_place_a_further_name_of_a_file_that_stays_clears_nothing() {
    confined(|place| {
        place.write("v/a", "a");
        fs::hard_link(place.0.join("v/a"), place.0.join("v/b")).unwrap();
        place.backup(&["v"]);
        place.write("v/precious", "x");
        place.write("other", "other");
        let stays = place.0.join("v/a");
        mount(Some(&place.0.join("other")), &stays, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let options = RestoreOptions { in_place: true, ..place.options() };
        let error = place.restore(&["v"], &options).unwrap_err();
        assert_eq!(error.hint(), Some(Hint::NotInPlace), "{error}");
        assert_eq!(place.read("v/precious").as_deref(), Some("x"));
        place.restore(&["v"], &place.options()).unwrap();
        assert_eq!(place.read("v/a").as_deref(), Some("other"));
        assert_eq!(place.read("v/b").as_deref(), Some("a"));
        assert_eq!(place.read("v/precious"), None);
    });
}

#[test]
fn a_user_who_is_not_root_restores_directories_that_nobody_may_write() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    const USER: u32 = 65_534;
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // What the test starts as that user.
    if let Some(root) = std::env::var_os("RESTORE_SAFETY_USER") {
        let place = Place(PathBuf::from(root));
        place.backup(&["v"]);
        for in_place in [false, true] {
            let dir = place.0.join("v/d");
            mode(&dir, 0o700);
            place.write("v/d/extra", "x");
            mode(&dir, 0o555);
            set_mtime(&dir, 77);
            place.restore(&["v"], &RestoreOptions { in_place, ..place.options() }).unwrap();
            assert_eq!(place.read("v/d/e/f").as_deref(), Some("f"));
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
            assert_eq!(fs::read_dir(place.0.join("v")).unwrap().count(), 1);
            assert_eq!((fs::metadata(&dir).unwrap().mode() & 0o7777, mtime(&dir)), (0o555, (5, 0)));
        }
        return;
    }
    confined(|place| {
        place.write("v/d/e/f", "f");
        mode(&place.0.join("v/d/e"), 0o555);
        mode(&place.0.join("v/d"), 0o555);
        set_mtime(place.0.join("v/d"), 5);
        mode(&place.0, 0o755);
        for path in ["", "backup.tar", "v", "v/d", "v/d/e", "v/d/e/f"] {
            std::os::unix::fs::chown(place.0.join(path), Some(USER), Some(USER)).unwrap();
        }
        let itself = "a_user_who_is_not_root_restores_directories_that_nobody_may_write";
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", itself]).env("RESTORE_SAFETY_USER", &place.0).uid(USER).gid(USER);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    });
}

/// Every path below `root` with its mode, time and content.
type Seen = (PathBuf, u32, (i64, i64), Option<Vec<u8>>);

/// See [`Seen`].
fn picture(root: &Path) -> Vec<Seen> {
    let mut all = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        let found = fs::symlink_metadata(&path).unwrap();
        let content = fs::read(&path).ok().filter(|_| found.is_file());
        all.push((path.clone(), found.mode(), mtime(&path), content));
    }
    all
}

fn chattr(flag: &str, path: &Path) -> bool {
    let status = std::process::Command::new("chattr").arg(flag).arg(path).status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn when_one_volume_cannot_be_exchanged_all_are_as_before() {
    confined(|place| {
        for volume in ["v", "w"] {
            place.write(&format!("{volume}/a/b"), "old");
            place.write(&format!("{volume}/z"), "old");
        }
        place.write("f", "old");
        place.backup(&["v", "w", "f"]);
        for volume in ["v", "w"] {
            place.write(&format!("{volume}/a/b"), "new");
            place.write(&format!("{volume}/more"), "new");
            set_mtime(place.0.join(volume), 1_000_000);
        }
        place.write("f", "new content");
        set_mtime(place.0.join("f"), 1_000_000);
        let paths = ["v", "w", "f"].map(|name| place.0.join(name));
        let before = paths.each_ref().map(|path| picture(path));
        for stuck in ["w/more", "v/more", "w", "v"] {
            let stuck = place.0.join(stuck);
            if !chattr("+i", &stuck) {
                eprintln!("skipped: no chattr, or a filesystem without it");
                return;
            }
            let result = place.restore(&["v", "w", "f"], &place.options());
            assert!(chattr("-i", &stuck));
            let error = result.unwrap_err();
            let put_back =
                !matches!(error, snapshotter::Error::Undo { .. } | snapshotter::Error::Incomplete { .. });
            assert!(put_back, "{error}");
            assert_eq!(paths.each_ref().map(|path| picture(path)), before, "{}: {error}", stuck.display());
        }
        // Deeper, it could be moved and not deleted: that is found out before anything moves.
        let stuck = place.0.join("w/a/b");
        assert!(chattr("+i", &stuck));
        let error = place.restore(&["v", "w", "f"], &place.options()).unwrap_err();
        assert!(chattr("-i", &stuck));
        assert!(error.to_string().contains("w/a/b"), "{error}");
        assert_eq!(paths.each_ref().map(|path| picture(path)), before, "{error}");
        place.restore(&["v", "w", "f"], &place.options()).unwrap();
        for path in ["v/a/b", "w/a/b", "f"] {
            assert_eq!(place.read(path).as_deref(), Some("old"));
        }
        assert_eq!(fs::read_dir(place.0.join("w")).unwrap().count(), 2);
    });
}

#[test]
fn without_room_or_leave_to_write_all_is_as_before() {
    confined(|place| {
        place.write("v/a/big", &"x".repeat(300_000));
        place.backup(&["v"]);
        let volume = place.0.join("v");
        // A filesystem that has room by its own account and not in the end, and one that has no more files.
        for limits in ["size=200k", "size=4m,nr_inodes=5"] {
            mount(None::<&str>, &volume, Some("tmpfs"), MsFlags::empty(), Some(limits)).unwrap();
            place.write("v/mine/file", "mine");
            set_mtime(&volume, 1_000_000);
            let before = picture(&volume);
            let error = place.restore(&["v"], &place.options()).unwrap_err();
            let is_full =
                |error: &Error| error.system().is_some_and(|why| why.kind() == ErrorKind::StorageFull);
            assert!(is_full(&error), "{error}");
            assert_eq!(picture(&volume), before, "{error}");
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(None::<&str>, &volume, None::<&str>, flags, None::<&str>).unwrap();
            let error = place.restore(&["v"], &place.options()).unwrap_err();
            let is_read_only = error.system().is_some_and(|why| why.kind() == ErrorKind::ReadOnlyFilesystem);
            assert!(is_read_only || is_full(&error), "{error}");
            assert_eq!(picture(&volume), before, "{error}");
            nix::mount::umount(&volume).unwrap();
        }
    });
}

#[test]
fn one_path_restores_links_to_what_lies_outside_and_leaves_the_rest() {
    confined(|place| {
        place.write("v/d/first", "data");
        fs::create_dir_all(place.0.join("v/e/f")).unwrap();
        for name in ["v/e/f/x", "v/e/f/y"] {
            fs::hard_link(place.0.join("v/d/first"), place.0.join(name)).unwrap();
        }
        place.backup(&["v"]);
        place.write(&place.below("v/e/f/x"), "mine");
        place.write(&place.below("v/e/g"), "mine");
        place.write(&place.below("v/d/first"), "mine");
        let options = RestoreOptions { paths: vec![place.volume("v/e/f").into()], ..place.into() };
        let report = place.restore(&["v"], &options).unwrap();
        assert_eq!(report.size, 4, "what the links bring counts once");
        assert_eq!(fs::metadata(place.0.join(place.below("v/e/f/x"))).unwrap().nlink(), 2);
        for (path, content) in
            [("v/e/f/x", "data"), ("v/e/f/y", "data"), ("v/e/g", "mine"), ("v/d/first", "mine")]
        {
            assert_eq!(place.read(&place.below(path)).as_deref(), Some(content));
        }
        let options = RestoreOptions { paths: vec![place.volume("v/e/f/y").into()], ..place.into() };
        place.write(&place.below("v/e/f/y"), "mine");
        place.restore(&["v"], &options).unwrap();
        assert_eq!(place.read(&place.below("v/e/f/y")).as_deref(), Some("data"));
    });
}

#[test]
fn a_dry_run_lists_what_the_restore_then_changes() {
    const ACL: &[u8] =
        b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x06\0\x05\0\0\0\x04\0\x06\0\xff\xff\xff\xff\
          \x10\0\x06\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
    confined(|place| {
        for name in ["acl", "gone", "mode", "plain", "size", "time", "xattr", "d/in", "d/plain"] {
            place.write(&format!("v/{name}"), "a");
        }
        let at = |name: &str| place.0.join("v").join(name);
        fs::set_permissions(at("acl"), fs::Permissions::from_mode(0o660)).unwrap();
        for (first, second) in [("one", "one too"), ("two", "two too")] {
            place.write(&format!("v/{first}"), first);
            fs::hard_link(at(first), at(second)).unwrap();
        }
        place.write("v/alone", "x");
        place.write("v/alone too", "x");
        symlink("there", at("link")).unwrap();
        let paths: Vec<_> =
            walkdir::WalkDir::new(at("")).into_iter().map(|entry| entry.unwrap().into_path()).collect();
        let set_times = || {
            for path in paths.iter().filter(|path| path.symlink_metadata().is_ok()) {
                let time = filetime::FileTime::from_unix_time(1_000_000, 0);
                filetime::set_symlink_file_times(path, time, time).unwrap();
            }
        };
        set_times();
        place.backup(&["v"]);
        let dry = || dry_run(place);
        assert_eq!(dry(), []);
        xattr::set(at("acl"), "system.posix_acl_access", ACL).unwrap();
        xattr::set(at("xattr"), "user.x", b"y").unwrap();
        fs::remove_file(at("gone")).unwrap();
        fs::set_permissions(at("mode"), fs::Permissions::from_mode(0o4711)).unwrap();
        place.write("v/size", "aa");
        fs::remove_file(at("one too")).unwrap();
        place.write("v/one too", "one");
        fs::remove_file(at("alone too")).unwrap();
        fs::hard_link(at("alone"), at("alone too")).unwrap();
        fs::remove_file(at("link")).unwrap();
        symlink("where", at("link")).unwrap();
        set_times();
        set_mtime(at("time"), 7);
        place.write("v/d/more/and more", "x");
        set_mtime(at("d"), 1_000_000);
        set_mtime(at(""), 1_000_000);
        let expected = [
            (ChangeKind::Replace, "acl"),
            (ChangeKind::Replace, "alone too"),
            (ChangeKind::Create, "gone"),
            (ChangeKind::Replace, "link"),
            (ChangeKind::Replace, "mode"),
            (ChangeKind::Replace, "one too"),
            (ChangeKind::Replace, "size"),
            (ChangeKind::Replace, "time"),
            (ChangeKind::Replace, "xattr"),
            (ChangeKind::Remove, "d/more"),
        ];
        assert_eq!(dry(), expected.map(|(kind, path)| (kind, path.to_owned())));
        place.restore(&["v"], &place.options()).unwrap();
        assert_eq!(dry(), []);
    });
}

#[test]
fn a_dry_run_lists_a_file_whose_other_name_lies_elsewhere() {
    confined(|place| {
        for name in ["alone", "both", "pair", "gone"] {
            place.write(&format!("v/{name}"), "a");
        }
        let at = |name: &str| place.0.join(name);
        fs::hard_link(at("v/pair"), at("v/pair too")).unwrap();
        place.backup(&["v"]);
        let dry = || dry_run(place);
        assert_eq!(dry(), []);
        let mtime = filetime::FileTime::from_last_modification_time(&fs::metadata(at("v")).unwrap());
        // Restored, the name in the volume and that elsewhere are two files.
        fs::hard_link(at("v/alone"), at("elsewhere")).unwrap();
        fs::hard_link(at("v/pair"), at("pair elsewhere")).unwrap();
        // A name that goes has a line of its own.
        fs::create_dir(at("v/more")).unwrap();
        fs::hard_link(at("v/gone"), at("v/more/gone too")).unwrap();
        fs::hard_link(at("v/both"), at("v/zz")).unwrap();
        filetime::set_file_mtime(at("v"), mtime).unwrap();
        let expected = [
            (ChangeKind::Remove, "more"),
            (ChangeKind::Remove, "zz"),
            (ChangeKind::Replace, "alone"),
            (ChangeKind::Replace, "pair"),
        ];
        assert_eq!(dry(), expected.map(|(kind, path)| (kind, path.to_owned())));
        place.restore(&["v"], &place.options()).unwrap();
        assert_eq!(dry(), []);
    });
}
