//! Any history of changes and backups can be gone back to, to each of its snapshots.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::torture::pattern;
use crate::support::{Picture, Sandbox, Tree, sandboxed};

/// One thing that happens to a volume. Names are few, so that things happen to the same ones.
#[derive(Debug, Clone)]
enum Step {
    File { name: usize, size: usize },
    Sparse { name: usize, at: u64 },
    Directory { name: usize },
    Symlink { name: usize },
    HardLink { name: usize, to: usize },
    Fifo { name: usize },
    Attributes { name: usize, mode: u32, owner: u32, seconds: i64, nanoseconds: u32 },
    Remove { name: usize },
    Backup,
    Restore { snapshot: prop::sample::Index },
}

const NAMES: [&str; 8] = ["a", "b", "a/x", "a/y", "b/x", "a/x/deep", "b/x/\u{e9}", "c"];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        4 => (name.clone(), 0_usize..3000).prop_map(|(name, size)| Step::File { name, size }),
        1 => (name.clone(), 0_u64..200_000).prop_map(|(name, at)| Step::Sparse { name, at }),
        2 => name.clone().prop_map(|name| Step::Directory { name }),
        1 => name.clone().prop_map(|name| Step::Symlink { name }),
        2 => (name.clone(), name.clone()).prop_map(|(name, to)| Step::HardLink { name, to }),
        1 => name.clone().prop_map(|name| Step::Fifo { name }),
        3 => (name.clone(), 0_u32..0o10000, any::<u32>(), -3_000_000_i64..9_000_000_000, 0_u32..1_000_000_000)
            .prop_map(|(name, mode, owner, seconds, nanoseconds)| {
                let owner = owner.min(u32::MAX - 1);
                Step::Attributes { name, mode, owner, seconds, nanoseconds }
            }),
        2 => name.prop_map(|name| Step::Remove { name }),
        3 => Just(Step::Backup),
        1 => any::<prop::sample::Index>().prop_map(|snapshot| Step::Restore { snapshot }),
    ]
}

fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Changes a volume, if the change is possible.
fn change(volume: &Path, step: &Step) {
    let clear = |name: usize| {
        let path = volume.join(NAMES[name]);
        remove(&path);
        path.parent().unwrap().symlink_metadata().is_ok_and(|parent| parent.is_dir())
    };
    let tree = || Tree::at(volume);
    match *step {
        Step::File { name, size } if clear(name) => drop(tree().file(NAMES[name], pattern(size)).done()),
        Step::Sparse { name, at } if clear(name) => {
            tree().sparse(NAMES[name], 300_000, &[(at, b"data")]).done();
        }
        Step::Directory { name } if clear(name) => drop(tree().dir(NAMES[name]).done()),
        Step::Symlink { name } if clear(name) => drop(tree().symlink(NAMES[name], "b").done()),
        Step::Fifo { name } if clear(name) => drop(tree().fifo(NAMES[name]).done()),
        Step::HardLink { name, to } if name != to && clear(name) => {
            let target = volume.join(NAMES[to]);
            if target.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
                tree().hard_link(NAMES[name], NAMES[to]).done();
            }
        }
        Step::Attributes { name, mode, owner, seconds, nanoseconds } => {
            let kind = volume.join(NAMES[name]).symlink_metadata().map(|metadata| metadata.file_type());
            if let Ok(kind) = kind {
                let tree = tree().at_entry(NAMES[name]).owner(owner, owner / 2);
                let tree = if kind.is_symlink() { tree } else { tree.mode(mode) };
                tree.mtime(seconds, nanoseconds).done();
            }
        }
        Step::Remove { name } => drop(clear(name)),
        _ => {}
    }
}

fn live(s: &Sandbox, steps: &[Step]) {
    s.init();
    let volume = Tree::at(s.path("vol")).done();
    s.configure("web", &[&volume]);
    let mut snapshots: Vec<(String, Picture)> = Vec::new();
    for step in steps {
        match step {
            Step::Backup => {
                let id = s.backup()["id"].as_str().unwrap().to_owned();
                snapshots.push((id, Picture::of(&volume)));
            }
            Step::Restore { snapshot } if !snapshots.is_empty() => {
                let (id, picture) = &snapshots[snapshot.index(snapshots.len())];
                s.run(["restore", "--strict", "--snapshot", id]).ok();
                picture.assert_same(&volume);
            }
            other => change(&volume, other),
        }
    }
    for (id, picture) in &snapshots {
        s.run(["restore", "--strict", "--snapshot", id]).ok();
        picture.assert_same(&volume);
    }
    assert_eq!(s.verify()["ok"], true);
    assert_eq!(s.list()["snapshots"].as_array().unwrap().len(), snapshots.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_snapshot_of_any_history_comes_back(steps in vec(step(), 1..40)) {
        sandboxed(|s| live(s, &[steps.as_slice(), &[Step::Backup]].concat()));
    }
}
