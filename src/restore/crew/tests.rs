//! Whatever order the workers come in, the outcome is one: batches of three files, four workers, and each
//! batch is delayed by chance.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use proptest::prelude::*;

use crate::config::{Config, Exclude, Need};
use crate::observer::{Observer, Run};
use crate::{BackupOptions, Error, RestoreOptions, backup, init_archive, restore};

/// Delays a worker, by chance, before it begins a batch.
pub(super) fn delay(number: u64) {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let chance = (u64::from(clock.subsec_nanos()) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
    if chance < 8 {
        std::thread::sleep(Duration::from_micros(chance * 100));
    }
}

/// Mode, time, content, and the first name of the same file.
type Seen = (u32, (i64, i64), Option<Vec<u8>>, String);

/// What matters of each path.
fn picture(root: &Path) -> BTreeMap<String, Seen> {
    let mut first = BTreeMap::new();
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let meta = entry.path().symlink_metadata().unwrap();
        let content = meta.is_file().then(|| fs::read(entry.path()).unwrap());
        let same_as = first.entry(meta.ino()).or_insert_with(|| name.clone()).clone();
        found.insert(name, (meta.mode(), (meta.mtime(), meta.mtime_nsec()), content, same_as));
    }
    found
}

/// Directories, each with files of these sizes; every third file gets a second name at once.
fn make(root: &Path, directories: &[Vec<usize>]) {
    fs::create_dir(root).unwrap();
    let mut deep = root.to_path_buf();
    for (n, sizes) in directories.iter().enumerate() {
        deep = if n % 4 == 3 { root.to_path_buf() } else { deep.join(format!("d{n}")) };
        fs::create_dir_all(&deep).unwrap();
        for (at, &size) in sizes.iter().enumerate() {
            let file = deep.join(format!("f{n}-{at}"));
            fs::write(&file, (0..size).map(|byte| (byte ^ at).to_le_bytes()[0]).collect::<Vec<_>>()).unwrap();
            if at % 3 == 0 {
                fs::hard_link(&file, deep.join(format!("f{n}-{at}-second"))).unwrap();
            }
        }
    }
}

#[derive(Default)]
struct Named(Mutex<Vec<Vec<u8>>>);

impl Observer for Named {
    fn member(&self, name: &[u8]) {
        self.0.lock().unwrap().push(name.to_vec());
    }
}

struct Stored {
    folder: tempfile::TempDir,
    config: Config,
}

impl Stored {
    fn new(directories: &[Vec<usize>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("vol");
        make(&volume, directories);
        let path = volume.to_str().unwrap().to_owned();
        let config = Config::from_parts("p", [path], Exclude::default(), Need::Volumes).unwrap();
        let archive = folder.path().join("a.tar");
        init_archive(&archive).unwrap();
        backup(&config, &BackupOptions { archive, ..BackupOptions::default() }, &Run::default()).unwrap();
        Stored { folder, config }
    }

    fn restore(&self, observer: &dyn Observer) -> crate::Result<()> {
        let (archive, into) = (self.folder.path().join("a.tar"), Some(self.folder.path().join("into")));
        let options = RestoreOptions { archive: archive.into(), into, ..RestoreOptions::default() };
        restore(&self.config, &options, &Run::new(observer)).map(drop)
    }

    fn restored(&self) -> std::path::PathBuf {
        let volume = self.folder.path().join("vol");
        self.folder.path().join("into").join(volume.strip_prefix("/").unwrap())
    }
}

fn trees() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let size = prop_oneof![6 => 0usize..3000, 1 => 100_000usize..600_000];
    prop::collection::vec(prop::collection::vec(size, 0..12), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_workers_does_not_matter(tree in trees()) {
        let stored = Stored::new(&tree);
        let named = Named::default();
        stored.restore(&named).unwrap();
        let expected = picture(&stored.folder.path().join("vol"));
        prop_assert_eq!(&picture(&stored.restored()), &expected);
        let named = named.0.into_inner().unwrap();
        prop_assert_eq!(named.len(), expected.len());
        // Names are told in the archive's order: a directory before what is in it, names sorted in each.
        let by_parts = |name: &Vec<u8>| name.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
        prop_assert!(named.is_sorted_by_key(by_parts));
    }

    #[test]
    fn of_several_damaged_members_the_first_is_told_and_nothing_is_left(
        tree in trees(),
        at in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let stored = Stored::new(&tree);
        let archive = stored.folder.path().join("a.tar");
        let options = crate::ListOptions { archive: archive.as_path().into(), ..crate::ListOptions::default() };
        let id = crate::list(&options, &Run::default()).unwrap().snapshots[0].id.clone();
        let mut files = Vec::new();
        crate::members(&options, &id, &Run::default(), &mut |member| {
            // The two closing files are looked at before anything is restored.
            if member.stored.length > 0 && !member.entry.name.ends_with(b"volumes-data.yml")
                && !member.entry.name.ends_with(b"snapshot.json") && member.stored.start > 0 {
                files.push((member.stored.start, member.stored.data()));
            }
            Ok(())
        }).unwrap();
        prop_assume!(!files.is_empty());
        let mut bytes = fs::read(&archive).unwrap();
        let damaged: std::collections::BTreeSet<_> = at.iter().map(|at| *at.get(&files)).collect();
        for &(_, data) in &damaged {
            bytes[usize::try_from(data).unwrap()] ^= 1;
        }
        fs::write(&archive, bytes).unwrap();
        let error = stored.restore(&crate::observer::Silent).unwrap_err();
        let &Error::Damaged { offset, .. } = error.kind() else { panic!("{error}") };
        prop_assert_eq!(offset, damaged.first().unwrap().0);
        prop_assert!(!stored.folder.path().join("into").exists());
    }
}
