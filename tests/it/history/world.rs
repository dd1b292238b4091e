//! Volumes and an archive, and beside them what they must be: the model is a map from snapshots to trees.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use snapshotter::config::{Config, Exclude, Need};
use snapshotter::{
    BackupOptions, ListOptions, Listing, RestoreOptions, RestoreReport, Tail, backup, list, members,
    observer, restore, verify,
};

use super::Counts;
use super::change::change;
use super::step::{By, EXCLUDED, FILE_VOLUME, PREFIXES, Step, VOLUMES, Way};
use crate::support::sandbox::text;
use crate::support::{Picture, Sandbox, Tree};

pub(super) struct World<'s> {
    pub(super) s: &'s Sandbox,
    counts: &'s RefCell<Counts>,
    pub(super) config: Config,
    /// What the archive holds, in its order.
    pub(super) taken: Vec<Taken>,
    /// How many members of other programs it has.
    pub(super) foreign: usize,
    pub(super) behind: Behind,
    /// How many notes were given: with one of its own each snapshot has an ID of its own.
    notes: usize,
}

/// A snapshot as it must be.
pub(super) struct Taken {
    pub(super) id: String,
    pub(super) prefix: String,
    /// The original program's, which has no checksums.
    pub(super) original: bool,
    pub(super) volumes: Vec<(PathBuf, Picture)>,
}

/// What is behind the archive's end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Behind {
    Nothing,
    Remains,
    /// Remains that another program has written over, which may look like anything.
    Overwritten,
}

/// Longer than a tick of the clock by which files get their times.
const TICK: Duration = Duration::from_millis(12);

/// What histories do all the time, and are warned of: they empty volumes, and change what is excluded.
const EXPECTED: [&str; 3] = ["it is empty, and ", "all that is in it is left out, and ", " excludes go"];

/// Lets a run fail by a panic at every other warning.
struct Expecting;

impl observer::Observer for Expecting {
    fn warning(&self, warning: &observer::Warning) {
        assert!(EXPECTED.iter().any(|expected| warning.reason.contains(expected)), "{warning}");
    }
}

/// No run may warn of anything that is not expected.
pub(super) fn strict() -> observer::Run<'static> {
    observer::Run::new(&Expecting)
}

impl<'s> World<'s> {
    pub(super) fn new(s: &'s Sandbox, counts: &'s RefCell<Counts>) -> Self {
        s.assert_confined();
        for entry in fs::read_dir(s.root()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        s.init();
        let volumes = s.path("vol");
        for (number, name) in VOLUMES.into_iter().enumerate() {
            let tree = Tree::at(&volumes);
            let tree = if number == FILE_VOLUME { tree.file(name, b"a file") } else { tree.dir(name) };
            tree.done();
        }
        let mut world = World {
            s,
            counts,
            config: Config::from_parts("", [text(&volumes)], Exclude::default(), Need::Volumes).unwrap(),
            taken: Vec::new(),
            foreign: 0,
            behind: Behind::Nothing,
            notes: 0,
        };
        world.configure(0, 0b111, false);
        world
    }

    /// All that happens, then a backup, and then each snapshot comes back.
    pub(super) fn live(mut self, steps: &[Step]) {
        self.count("histories");
        for step in steps {
            self.count("steps");
            self.step(step);
        }
        self.backup(By::Incremental);
        self.assert_listed();
        for at in 0..self.taken.len() {
            self.restore(at, Way::Over);
            self.assert_members(&self.taken[at]);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Configure { prefix, volumes, exclude } => self.configure(prefix, volumes, exclude),
            Step::Backup(by) => self.backup(by),
            Step::Restore { snapshot, way } if !self.taken.is_empty() => {
                self.restore(snapshot % self.taken.len(), way);
            }
            Step::Append(tool) => self.append(tool),
            Step::KilledBackup { written, gap, incremental } => self.killed_backup(written, gap, incremental),
            Step::Damage { part, at, bit, backup } => self.damage(part, at, bit, backup),
            ref change_ => change(&self.s.path("vol"), change_),
        }
    }

    pub(super) fn count(&self, what: &str) {
        self.counts.borrow_mut().count(what);
    }

    fn configure(&mut self, prefix: usize, volumes: usize, exclude: bool) {
        let paths = (0..VOLUMES.len()).filter(|number| volumes & 1 << number != 0);
        let paths: Vec<_> = paths.map(|number| self.s.path("vol").join(VOLUMES[number])).collect();
        let exclude = Exclude::parse(exclude.then_some(EXCLUDED)).unwrap();
        let paths = paths.iter().map(|path| text(path));
        self.config = Config::from_parts(PREFIXES[prefix], paths, exclude, Need::Volumes).unwrap();
        fs::write(self.s.config(), self.config.to_yaml()).unwrap();
    }

    /// What a backup would store now.
    fn picture(&self, volume: &Path) -> Picture {
        let picture = Picture::of(volume);
        let any = !self.config.exclude.patterns().is_empty();
        picture.part(|name| {
            let excluded = name.split(|byte| *byte == b'/').any(|part| part == EXCLUDED.as_bytes());
            picture.entries[name].kind != "socket" && !(any && excluded)
        })
    }

    pub(super) fn backup_options(&mut self, incremental: bool) -> BackupOptions {
        self.notes += 1;
        if incremental {
            // What changed before this is older than a tick of the clock.
            sleep(2 * TICK);
        }
        BackupOptions {
            incremental,
            clock_margin: TICK,
            archive: self.s.archive(),
            note: Some(self.notes.to_string()),
            discard_tail: self.behind == Behind::Overwritten,
            ..BackupOptions::default()
        }
    }

    fn backup(&mut self, by: By) {
        self.count(&format!("backups by {by:?}"));
        let options = self.backup_options(matches!(by, By::Incremental));
        let id = match by {
            By::Library => backup(&self.config, &options, &strict()).unwrap().id,
            By::Incremental => {
                let report = backup(&self.config, &options, &strict()).unwrap();
                if report.references > 0 {
                    self.count("backups with references");
                }
                report.id
            }
            By::Program => {
                let mut args = vec!["backup", "--json", "--note", options.note.as_deref().unwrap()];
                args.extend(options.discard_tail.then_some("--discard-tail"));
                self.s.run(args).ok().json()["id"].as_str().unwrap().to_owned()
            }
        };
        self.take(id);
    }

    /// A backup was made.
    pub(super) fn take(&mut self, id: String) {
        let volumes = self.config.volumes.iter().map(|volume| PathBuf::from(volume.path()));
        let volumes = volumes.map(|path| (path.clone(), self.picture(&path))).collect();
        self.taken.push(Taken { id, prefix: self.config.prefix.clone(), original: false, volumes });
        self.behind = Behind::Nothing;
    }

    pub(super) fn list_options(&self) -> ListOptions {
        ListOptions { archive: self.s.archive().into(), ..ListOptions::default() }
    }

    pub(super) fn list(&self) -> Listing {
        list(&self.list_options(), &strict()).unwrap()
    }

    /// The archive holds what it must, and all of it is sound.
    pub(super) fn assert_listed(&self) {
        let catalog = self.list();
        let found: Vec<_> = catalog.snapshots.iter().map(|one| (&one.id, &one.prefix)).collect();
        assert_eq!(found, self.taken.iter().map(|one| (&one.id, &one.prefix)).collect::<Vec<_>>());
        for (found, taken) in catalog.snapshots.iter().zip(&self.taken) {
            let paths = found.volumes.iter().map(|volume| Path::new(&volume.path));
            assert!(paths.eq(taken.volumes.iter().map(|(path, _)| path)));
            let entries: usize = taken.volumes.iter().map(|(_, picture)| picture.entries.len()).sum();
            assert_eq!(found.entries, entries as u64);
        }
        assert_eq!(catalog.foreign, self.foreign as u64);
        // What others append may end exactly where one of the remaining members begins.
        let remains = matches!(catalog.tail, Tail::Remains(_));
        let expected = self.behind == Behind::Remains;
        assert!(remains == expected || self.behind == Behind::Overwritten, "{:?}", catalog.tail);
        let foreign_tail = matches!(catalog.tail, Tail::Foreign(_));
        assert!(!foreign_tail || self.behind == Behind::Overwritten, "{:?}", catalog.tail);
        let problems = verify(&self.list_options(), &strict()).unwrap().problems;
        assert_eq!(problems.is_empty(), !foreign_tail, "{problems:?}");
        let end = catalog.end.unwrap();
        assert!(problems.iter().all(|problem| problem.offset >= end), "{problems:?}");
    }

    /// The members of a snapshot are those that it must have.
    fn assert_members(&self, taken: &Taken) {
        if taken.original {
            return;
        }
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for (path, picture) in &taken.volumes {
            let volume = Path::new(&taken.prefix).join(path.strip_prefix("/").unwrap());
            let below = |name: &Vec<u8>| match name.as_slice() {
                [] => volume.clone().into_os_string().into_encoded_bytes(),
                name => volume.join(OsStr::from_bytes(name)).into_os_string().into_encoded_bytes(),
            };
            expected.extend(picture.entries.keys().map(below));
        }
        let mut found: Vec<Vec<u8>> = Vec::new();
        let each = &mut |member: &snapshotter::Member| {
            found.push(member.entry.name.clone());
            Ok(())
        };
        members(&self.list_options(), &taken.id, &strict(), each).unwrap();
        // The first and the two last are the program's own, and so is the index.
        found = found[1..found.len() - 2].to_vec();
        let index = Path::new(&taken.prefix).join("snapshot.index").into_os_string().into_encoded_bytes();
        found.retain(|name| *name != index);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    /// All volumes.
    fn volumes(&self) -> Vec<(PathBuf, Picture)> {
        let paths = VOLUMES.map(|name| self.s.path("vol").join(name));
        paths.map(|path| (path.clone(), Picture::of(&path))).to_vec()
    }

    fn restore(&self, at: usize, way: Way) {
        let taken = &self.taken[at];
        // The original program's volumes are not here.
        let way = if taken.original && way != Way::Newest { Way::Into } else { way };
        let kind = format!("{way:?}");
        self.count(&format!("restores {}", kind.split('(').next().unwrap()));
        let before = self.volumes();
        let into = self.s.path("into");
        let mut options = self.restore_options(taken);
        let mut restored: Vec<_> = taken.volumes.iter().collect();
        match way {
            Way::Over => drop(Self::restored(taken, &options).unwrap()),
            Way::InPlace => {
                options.in_place = true;
                Self::restored(taken, &options).unwrap();
            }
            Way::Into => {
                self.assert_below(taken, &into);
                restored.clear();
            }
            Way::Part(number) => {
                self.restore_part(taken, number);
                restored.clear();
            }
            Way::DryRun => {
                options.dry_run = true;
                Self::restored(taken, &options).unwrap();
                restored.clear();
            }
            Way::Newest => restored = self.restore_newest(),
            Way::Program => {
                let mut args =
                    vec!["restore", "--allow-empty", "--snapshot", &taken.id, "--prefix", &taken.prefix];
                args.extend(taken.volumes.iter().flat_map(|(path, _)| ["--volume", text(path)]));
                self.s.run(args).ok();
            }
        }
        for (path, picture) in before.iter().filter(|(path, _)| !restored.iter().any(|(one, _)| one == path))
        {
            picture.assert_same(path);
        }
        for (path, picture) in restored {
            picture.assert_same(path);
        }
        assert_eq!(fs::read_dir(self.s.path("vol")).unwrap().count(), VOLUMES.len(), "something is left");
    }

    pub(super) fn restore_options(&self, taken: &Taken) -> RestoreOptions {
        RestoreOptions {
            allow_empty: true,
            archive: self.s.archive().into(),
            snapshot: Some(taken.id.clone()),
            ..RestoreOptions::default()
        }
    }

    /// Restores the volumes of a snapshot.
    pub(super) fn restored(taken: &Taken, options: &RestoreOptions) -> snapshotter::Result<RestoreReport> {
        let paths = taken.volumes.iter().map(|(path, _)| text(path)).filter(|_| !taken.original);
        let config =
            Config::from_parts(&taken.prefix, paths, Exclude::default(), Need::VolumesOrAll).unwrap();
        restore(&config, options, &strict())
    }

    /// Restores below a directory, which may hold what was restored there before.
    pub(super) fn restore_into(&self, taken: &Taken, into: &Path) -> snapshotter::Result<()> {
        let options = RestoreOptions { into: Some(into.to_owned()), ..self.restore_options(taken) };
        Self::restored(taken, &options).map(drop)
    }

    pub(super) fn assert_below(&self, taken: &Taken, into: &Path) {
        self.restore_into(taken, into).unwrap();
        for (path, picture) in &taken.volumes {
            picture.assert_same(into.join(path.strip_prefix("/").unwrap()));
        }
    }

    fn restore_part(&self, taken: &Taken, number: usize) {
        let (volume, picture) = &taken.volumes[number % taken.volumes.len()];
        let name = picture.entries.keys().nth(number % picture.entries.len()).unwrap();
        let path = if name.is_empty() { volume.clone() } else { volume.join(OsStr::from_bytes(name)) };
        let part = self.s.path("part");
        let options = RestoreOptions {
            into: Some(part.clone()),
            paths: vec![path.into_os_string()],
            ..self.restore_options(taken)
        };
        Self::restored(taken, &options).unwrap();
        // The directories that lead there have their names, and attributes of their own.
        let found = Picture::of(part.join(volume.strip_prefix("/").unwrap()));
        picture.part(|one| below(one, name)).assert_same_picture(&found.part(|one| below(one, name)));
        let beside = found.entries.keys().find(|one| !below(one, name) && !below(name, one));
        assert_eq!(beside, None);
        fs::remove_dir_all(part).unwrap();
    }

    /// The newest snapshot under a prefix.
    pub(super) fn newest(&self, prefix: &str) -> Option<&Taken> {
        self.taken.iter().rev().find(|taken| taken.prefix == prefix)
    }

    /// Restores as it is configured, or is refused. Returns what must have been restored.
    fn restore_newest(&self) -> Vec<&(PathBuf, Picture)> {
        let options = RestoreOptions {
            archive: self.s.archive().into(),
            allow_empty: true,
            ..RestoreOptions::default()
        };
        let result = restore(&self.config, &options, &strict());
        let sound = self.list().problems.is_empty();
        let newest = self.newest(&self.config.prefix).filter(|_| sound);
        let expected = newest.and_then(|newest| {
            let volumes = self.config.volumes.iter();
            let of = |path: &str| newest.volumes.iter().find(|(one, _)| one == Path::new(path));
            volumes.map(|volume| of(volume.path())).collect()
        });
        match expected {
            None => {
                result.unwrap_err();
                Vec::new()
            }
            Some(expected) => {
                assert_eq!(result.unwrap().id, newest.unwrap().id);
                expected
            }
        }
    }
}

/// Whether a path is another one, or below it.
fn below(path: &[u8], other: &[u8]) -> bool {
    other.is_empty() || path.strip_prefix(other).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}
