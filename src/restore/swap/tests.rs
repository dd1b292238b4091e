//! A swap that is cut off after any number of its steps, and what the next restore makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::observer::Run;
use crate::restore::only::Only;
use crate::restore::spare::Spare;
use crate::restore::target::DirTarget;

const ACL: &[u8] =
    b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x05\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff";

fn write(root: &Path, path: &str, content: &str) {
    fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
    fs::write(root.join(path), content).unwrap();
}

/// Every path with its mode, owner, time, number, content and attributes.
fn picture(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root) {
        let path = entry.unwrap().into_path();
        let found = fs::symlink_metadata(&path).unwrap();
        let content = fs::read(&path).ok().filter(|_| found.is_file());
        let xattrs: BTreeMap<_, _> = xattr::list(&path)
            .unwrap()
            .map(|name| (name.clone(), xattr::get(&path, name).unwrap()))
            .collect();
        let time = (found.mtime(), found.mtime_nsec());
        let what =
            format!("{:o} {} {time:?} {} {content:?} {xattrs:?}", found.mode(), found.uid(), found.ino());
        all.insert(path.strip_prefix(root).unwrap().display().to_string(), what);
    }
    all
}

/// A volume with `p/q/pinned` and `p/r/pinned`, which stay.
fn volume(root: &Path) -> Pins {
    for path in ["a", "b/c/d", "p/x", "p/q/pinned", "p/q/y/z", "p/r/pinned", "p/r/same"] {
        write(root, path, "old");
    }
    symlink("b", root.join("link")).unwrap();
    xattr::set(root, "system.posix_acl_default", ACL).unwrap();
    xattr::set(root.join("p"), "user.before", b"1").unwrap();
    fs::set_permissions(root.join("p/q"), fs::Permissions::from_mode(0o2750)).unwrap();
    for (at, path) in ["p/q/y", "p/q", "p/r", "p", ""].iter().enumerate() {
        let time = filetime::FileTime::from_unix_time(1000 + i64::try_from(at).unwrap(), 7);
        filetime::set_file_mtime(root.join(path), time).unwrap();
    }
    let dev_ino = |path: &str| Handle::open_path(&root.join(path)).unwrap().stat().unwrap().id;
    let in_use = [dev_ino("p/q/pinned"), dev_ino("p/r/pinned")];
    Pins::find(&Handle::open_directory(root).unwrap(), &in_use, Vec::new()).unwrap()
}

fn open(root: &Path) -> DirTarget {
    let path = root.as_os_str().as_encoded_bytes();
    let handle = Handle::open_directory(root).unwrap();
    let run = Run::default();
    DirTarget::open(0, handle, path, &[], Vec::new(), &run).unwrap()
}

/// Stages other content; `p/r` is not in it.
fn stage(root: &Path) -> Stage {
    let stage = open(root).make_stage(&[], &Spare::default()).unwrap();
    let new = root.join(".snapshotter-staging/new");
    for path in ["a/now/a/directory", "b", "fresh", "p/x", "p/q/new", "p/q/pinned"] {
        write(&new, path, "new");
    }
    fs::set_permissions(&new, fs::Permissions::from_mode(0o711)).unwrap();
    stage
}

/// What a swap is about to do, and its mark.
fn marked(root: &Path, pins: &Pins) -> (Stage, Plan) {
    let stage = stage(root);
    let plan = stage.plan(pins, None, false, false).unwrap();
    stage.mark(&plan).unwrap();
    (stage, plan)
}

/// Does the first `steps` of the renames, as a crash would leave them; false when there are fewer.
fn swap_part(stage: &Stage, plan: &Plan, steps: usize) -> bool {
    let away = plan.away.iter().map(|path| (path.clone(), stage.inside(OLD, path)));
    let here = plan.here.iter().map(|path| (stage.inside(NEW, path), path.clone()));
    let all: Vec<_> = away.chain(here).collect();
    let mut moves = Moves::new(&stage.root, &stage.volume).unwrap();
    for (from, to) in all.iter().take(steps) {
        moves.rename(from, to).unwrap();
    }
    steps <= all.len()
}

/// Does the first `steps` of the renames that undo them.
fn undo_part(stage: &Stage, plan: &Plan, steps: usize) {
    let here = plan.here.iter().rev().map(|path| (path.clone(), stage.inside(NEW, path)));
    let away = plan.away.iter().rev().map(|path| (stage.inside(OLD, path), path.clone()));
    let mut moves = Moves::new(&stage.root, &stage.volume).unwrap();
    for (to, from) in here.chain(away).take(steps) {
        moves.take_back(&from, &to).unwrap();
    }
}

#[test]
fn a_swap_cut_off_after_any_of_its_renames_is_undone_by_the_next_restore() {
    let mut cases = 0;
    for steps in 0.. {
        // And the recovery is cut off after some of its own, to be done again.
        for undone in [0, 1, 2, 5, 9, 100] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            let pins = volume(root);
            let before = picture(root);
            let (stage, plan) = marked(root, &pins);
            if !swap_part(&stage, &plan, steps) {
                assert!(cases > 60, "{plan:?}");
                return;
            }
            undo_part(&stage, &plan, undone);
            drop(stage);
            open(root);
            assert_eq!(picture(root), before, "{steps} renames, {undone} undone");
            cases += 1;
        }
    }
}

#[test]
fn a_complete_swap_whose_mark_is_still_there_is_undone_too() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let pins = volume(root);
    let before = picture(root);
    let (stage, plan) = marked(root, &pins);
    stage.swap(&plan, &mut |_, remark| panic!("{remark:?}")).unwrap();
    assert_eq!(fs::read(root.join("a/now/a/directory")).unwrap(), b"new");
    assert_eq!(fs::read(root.join("p/q/pinned")).unwrap(), b"old");
    drop(stage);
    open(root);
    assert_eq!(picture(root), before);
}

#[test]
fn a_mark_that_is_not_complete_means_that_nothing_has_moved() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    volume(root);
    let before = picture(root);
    let stage = stage(root);
    stage.staging.make_directory(OLD, 0o700).unwrap();
    write(&root.join(".snapshotter-staging"), "swapping.part", "snap");
    drop(stage);
    open(root);
    assert_eq!(picture(root), before);
}

#[test]
fn a_restore_cut_off_while_it_deletes_the_former_content_stays() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let pins = volume(root);
    let (stage, plan) = marked(root, &pins);
    stage.swap(&plan, &mut |_, remark| panic!("{remark:?}")).unwrap();
    filetime::set_file_mtime(root, filetime::FileTime::from_unix_time(77, 7)).unwrap();
    stage.commit().unwrap();
    let name = ".snapshotter-staging";
    let mut after = picture(root);
    after.retain(|path, _| !path.starts_with(name));
    fs::remove_dir_all(root.join(name).join("old/b")).unwrap();
    drop(stage);
    open(root);
    assert_eq!(picture(root), after);
}

#[test]
fn what_was_made_in_the_way_of_an_undo_is_named_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let pins = volume(root);
    let (stage, plan) = marked(root, &pins);
    assert!(swap_part(&stage, &plan, plan.away.len()));
    write(root, "a", "another program's");
    for _ in 0..2 {
        let error = stage.undo().unwrap_err().to_string();
        let (a, old) = (root.join("a"), root.join(".snapshotter-staging/old/a"));
        assert!(error.contains(a.to_str().unwrap()) && error.contains(old.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(&a).unwrap(), b"another program's");
        assert_eq!(fs::read(&old).unwrap(), b"old");
        assert_eq!(fs::read(root.join("b/c/d")).unwrap(), b"old");
    }
    fs::remove_file(root.join("a")).unwrap();
    stage.undo().unwrap();
    assert_eq!(fs::read(root.join("a")).unwrap(), b"old");
}

#[test]
fn all_that_is_in_the_way_of_an_undo_is_counted_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let pins = volume(root);
    let (stage, plan) = marked(root, &pins);
    assert!(swap_part(&stage, &plan, plan.away.len()));
    let away: Vec<&str> = plan.away.iter().map(|path| std::str::from_utf8(path).unwrap()).collect();
    for path in &away {
        write(root, path, "another program's");
    }
    let error = stage.undo().unwrap_err().to_string();
    assert!(away.len() > 1 && error.contains(&format!("for {} more", away.len() - 1)), "{error}");
    for path in &away {
        fs::remove_file(root.join(path)).unwrap();
    }
    stage.undo().unwrap();
    assert_eq!(fs::read(root.join("a")).unwrap(), b"old");
}

#[test]
fn one_path_with_something_pinned_in_it_is_exchanged_around_that() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let pins = volume(root);
    let stage = stage(root);
    let plan = stage.plan(&pins, Some(&Only::new(vec![b"p".to_vec()])), false, false).unwrap();
    stage.mark(&plan).unwrap();
    stage.swap(&plan, &mut |_, remark| panic!("{remark:?}")).unwrap();
    stage.commit().unwrap();
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    for (path, content) in [("a", "old"), ("p/x", "new"), ("p/q/new", "new"), ("p/q/pinned", "old")] {
        assert_eq!(read(path).as_deref(), Some(content), "{path}");
    }
    for path in ["p/q/y/z", "p/r/same"] {
        assert_eq!(read(path), None, "{path}");
    }
}
