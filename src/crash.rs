//! Every crash point. A backup or a restore is recorded call by call (`fs::record`); then a power cut is
//! played after each call, with every choice (or a random, seeded sample of the choices) of what it lets
//! survive, and what the next commands and other programs make of it is checked. That the checks can fail is
//! shown too, by taking single calls out of a recording.
//!
//! The model of a disk is meant to be worse than ext4, XFS and Btrfs are:
//!
//! - *Data.* A sync of a file (`fdatasync`, `fsync`, `syncfs`) keeps everything that was written to it before
//!   the sync began, and its length. Of each block of 512 bytes that was written, cut off or punched since,
//!   any version may survive, whatever becomes of other blocks; and of the lengths that the file had since,
//!   any one, or any multiple of 512 between the shortest and the longest. What is inside the length and did
//!   not survive reads as it was before, or as zeros. What is cloned counts as written, though systems put
//!   what is shared on disk before. That it may read as what another file held before (ext4 with
//!   `data=writeback`) is played for archives, and not for volumes.
//! - *Names and attributes.* These are journalled: of creations, renames, links, removals and changes of
//!   attributes, those up to any one of them survive, at least up to the last `syncfs`, and none behind it. A
//!   `fsync` in addition keeps what was done in that directory, or to that file and to get it to its name. On
//!   ext4 and XFS it keeps all that was done before (`Journal::Ordered`), on Btrfs it may not
//!   (`Journal::Logged`).
//!
//! `SNAPSHOTTER_CRASH_STATES` is how many random states are tried for each case, beyond the systematic ones.

mod append;
mod archives;
mod disk;
mod file;
mod negative;
mod readers;
mod state;
mod swap;
mod volumes;

#[path = "../tests/it/support"]
#[allow(dead_code, reason = "tests of the binary use the rest")]
mod support {
    pub(crate) mod compare;
    pub(crate) mod confine;
    pub(crate) mod run;
    pub(crate) mod spot;
    pub(crate) mod tools;
    pub(crate) mod tree;

    pub(crate) use compare::Picture;
    pub(crate) use run::Run;
    pub(crate) use tree::Tree;
}

/// How many random states are tried for each case.
fn states(usual: usize) -> usize {
    std::env::var("SNAPSHOTTER_CRASH_STATES").map_or(usual, |text| text.parse().unwrap())
}

/// Random numbers that are the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}
