//! What can happen in a history, each so that a failing one can be read.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;

/// Two directories whose names begin alike, and a file.
pub(super) const VOLUMES: [&str; 3] = ["data", "data2", "file"];
pub(super) const FILE_VOLUME: usize = 2;

const LONG: [u8; 202] = {
    let mut name = [b'm'; 202];
    (name[0], name[1]) = (b'b', b'/');
    name
};

/// Few, so that things happen to the same ones; the first is the volume's root.
const NAMES: [&[u8]; 15] = [
    b"",
    b"a",
    b"b",
    b"a/x",
    b"a/y",
    b"b/x",
    b"a/x/deep",
    b"b/x/\xc3\xa9",
    b"c",
    b"\xff\n\\",
    b"skip",
    b"a/skip",
    &[b'n'; 255],
    &LONG,
    b".snapshotter-staging/mine",
];

pub(super) const PREFIXES: [&str; 5] = ["web", "web2", "web/app", "", "späte\"r\\"];

/// The pattern that a configuration excludes, or not.
pub(super) const EXCLUDED: &str = "skip";

/// A name in a directory volume, or the file volume.
#[derive(Clone, Copy)]
pub(super) struct Place {
    volume: usize,
    name: usize,
}

impl Place {
    pub(super) fn volume(self) -> &'static str {
        VOLUMES[self.volume]
    }

    pub(super) fn name(self) -> &'static [u8] {
        if self.volume == FILE_VOLUME { b"" } else { NAMES[self.name] }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = self.name();
        let shown = name[..name.len().min(30)].escape_ascii();
        write!(f, "{}/{shown}{}", self.volume(), if name.len() > 30 { "..." } else { "" })
    }
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Make(Place, What),
    /// Into a file that is there, under all of its names.
    Write {
        place: Place,
        at: u64,
        length: usize,
    },
    HardLink(Place, Place),
    Move(Place, Place),
    Remove(Place),
    Attributes {
        place: Place,
        mode: u32,
        owner: u32,
        seconds: i64,
        nanoseconds: u32,
    },
    Xattr {
        place: Place,
        key: usize,
        value: Option<Vec<u8>>,
    },
    Acl {
        place: Place,
        kind: &'static str,
        user: u32,
    },
    /// Which of the volumes, bit by bit.
    Configure {
        prefix: usize,
        volumes: usize,
        exclude: bool,
    },
    Backup(By),
    Restore {
        snapshot: usize,
        way: Way,
    },
    /// Another program appends.
    Append(Tool),
    /// A backup is killed when so many parts of 65,536 were written, with or without a gap in them.
    KilledBackup {
        written: u64,
        gap: bool,
        incremental: bool,
    },
    /// A bit flips, and after a while flips back.
    Damage {
        part: Part,
        at: usize,
        bit: u8,
        backup: bool,
    },
}

#[derive(Debug, Clone)]
pub(super) enum What {
    File(usize),
    Sparse(u64),
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum By {
    Library,
    Program,
    /// By reference to the snapshot before, if that has an index.
    Incremental,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
    Over,
    InPlace,
    Into,
    /// One path, of those that the snapshot has.
    Part(usize),
    DryRun,
    /// Without an ID, as the configuration says.
    Newest,
    /// By the program.
    Program,
}

/// Most of an archive is content, so that most bits are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Any,
    AllButContent,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Tool {
    Rust,
    /// The program that wrote snapshots before this one.
    Original,
    GnuTar,
    BsdTar,
    Python,
}

/// A place, anywhere but at a volume's root.
fn inside() -> impl Strategy<Value = Place> {
    (0..FILE_VOLUME, 1..NAMES.len()).prop_map(|(volume, name)| Place { volume, name })
}

fn anywhere() -> impl Strategy<Value = Place> {
    (0..VOLUMES.len(), 0..NAMES.len()).prop_map(|(volume, name)| Place { volume, name })
}

/// Two places in one volume.
fn two() -> impl Strategy<Value = (Place, Place)> {
    (inside(), 1..NAMES.len()).prop_map(|(place, name)| (place, Place { name, ..place }))
}

fn seconds() -> impl Strategy<Value = i64> {
    let extremes = vec![0, -1, 1 << 31, 1 << 33, -62_135_596_801, 253_402_300_800, 1 << 60, -1 << 60];
    prop_oneof![3 => -3_000_000_i64..9_000_000_000, 1 => prop::sample::select(extremes)]
}

fn change() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        8 => (0_usize..3000).prop_map(What::File),
        1 => (250_000_usize..600_000).prop_map(What::File),
        3 => Just(What::Directory),
        2 => (0_u64..200_000).prop_map(What::Sparse),
        1 => Just(What::Symlink),
        1 => Just(What::Fifo),
        1 => Just(What::Socket),
        1 => Just(What::CharDevice),
        1 => Just(What::BlockDevice),
    ];
    let attributes = (anywhere(), 0_u32..0o10000, 0..u32::MAX, seconds(), 0_u32..1_000_000_000);
    prop_oneof![
        8 => (inside(), what).prop_map(|(place, what)| Step::Make(place, what)),
        3 => (anywhere(), 0_u64..5000, 0_usize..5000)
            .prop_map(|(place, at, length)| Step::Write { place, at, length }),
        3 => two().prop_map(|(place, to)| Step::HardLink(place, to)),
        2 => two().prop_map(|(place, to)| Step::Move(place, to)),
        2 => inside().prop_map(Step::Remove),
        4 => attributes.prop_map(|(place, mode, owner, seconds, nanoseconds)| {
            Step::Attributes { place, mode, owner, seconds, nanoseconds }
        }),
        2 => (anywhere(), 0_usize..3, prop::option::weighted(0.8, vec(any::<u8>(), 0..30)))
            .prop_map(|(place, key, value)| Step::Xattr { place, key, value }),
        1 => (anywhere(), prop::sample::select(&["access", "default"][..]), 0..u32::MAX)
            .prop_map(|(place, kind, user)| Step::Acl { place, kind, user }),
    ]
}

fn restore() -> impl Strategy<Value = Step> {
    let way = prop_oneof![
        20 => Just(Way::Over),
        10 => Just(Way::InPlace),
        10 => Just(Way::Into),
        10 => (0_usize..100).prop_map(Way::Part),
        5 => Just(Way::DryRun),
        10 => Just(Way::Newest),
        2 => Just(Way::Program),
    ];
    (0_usize..20, way).prop_map(|(snapshot, way)| Step::Restore { snapshot, way })
}

fn append() -> impl Strategy<Value = Step> {
    let tool = prop_oneof![
        12 => Just(Tool::Rust),
        4 => Just(Tool::Original),
        2 => Just(Tool::GnuTar),
        2 => Just(Tool::BsdTar),
        1 => Just(Tool::Python),
    ];
    tool.prop_map(Step::Append)
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        50 => change(),
        5 => (0..PREFIXES.len(), 1_usize..8, any::<bool>())
            .prop_map(|(prefix, volumes, exclude)| Step::Configure { prefix, volumes, exclude }),
        6 => Just(Step::Backup(By::Library)),
        16 => Just(Step::Backup(By::Incremental)),
        1 => Just(Step::Backup(By::Program)),
        10 => restore(),
        4 => append(),
        3 => (0_u64..65_536, any::<bool>(), any::<bool>())
            .prop_map(|(written, gap, incremental)| Step::KilledBackup { written, gap, incremental }),
        5 => (prop::sample::select(&[Part::Any, Part::AllButContent][..]), 0_usize..1 << 22, 0_u8..8, any::<bool>())
            .prop_map(|(part, at, bit, backup)| Step::Damage { part, at, bit, backup }),
    ]
}
