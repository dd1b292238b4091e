//! What a tree may be after a power cut.

use std::collections::BTreeSet;

use super::Random;
use super::disk::Disk;
use super::file::Unsynced;
use crate::fs::FileKind;
use crate::fs::record::{Call, Recorded};

/// What the journal of a filesystem promises besides `syncfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Journal {
    /// Any sync keeps all changes of names and attributes that were made before it, as on ext4 and XFS.
    Ordered,
    /// The sync of a file or directory keeps what was done to it, to get it to its name and, for a directory,
    /// in it; and of everything else nothing, as Btrfs's log of a tree allows.
    Logged,
}

/// What survives of unsynced data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    All,
    None,
    Random,
}

/// The tree `before`, and what was done to it until the power failed.
pub(super) struct Cut<'a> {
    pub(super) before: &'a Disk,
    pub(super) events: &'a [Recorded],
    pub(super) journal: Journal,
}

/// A time that no file of a test has: that of the first event.
const NOW: i64 = 2_000_000_000;

impl Cut<'_> {
    /// How many events' changes of names and attributes survive at least.
    pub(super) fn least(&self) -> usize {
        let syncs = self.events.iter().filter(|event| match self.journal {
            Journal::Ordered => event.is_sync(),
            Journal::Logged => matches!(event.call, Call::SyncAll),
        });
        syncs.map(|event| event.began).max().unwrap_or(0)
    }

    /// The tree in which the journal has the first `journaled` events.
    pub(super) fn disk(&self, journaled: usize, data: Data, random: &mut Random) -> Disk {
        let mut disk = self.before.clone();
        let mut kept: BTreeSet<usize> = (0..journaled).collect();
        for event in self.events.iter().skip(journaled).filter(|event| matches!(event.call, Call::Sync)) {
            kept.extend(self.logged(journaled, event));
        }
        for index in kept {
            disk.apply(&self.events[index], NOW + i64::try_from(index).unwrap());
        }
        for (&ino, node) in &mut disk.nodes {
            if node.kind == FileKind::File {
                let before = self.before.nodes.get(&ino).map_or(&[][..], |node| &node.content);
                let file = Unsynced::after(self.events, ino, before);
                node.content = match (data, random.below(4)) {
                    (Data::All, _) | (Data::Random, 0) => file.all(),
                    (Data::None, _) | (Data::Random, 1) => file.none(),
                    (Data::Random, _) => file.choices(0).random(random),
                };
            }
        }
        disk
    }

    /// What the sync of one file or directory keeps of the events from `from` on.
    fn logged(&self, from: usize, sync: &Recorded) -> impl Iterator<Item = usize> {
        // With it, the directories that lead to it.
        let mut way = BTreeSet::from([sync.on.ino]);
        for event in self.events[..sync.began].iter().rev() {
            match &event.call {
                Call::Create { made, .. } if way.contains(&made.id.ino) => drop(way.insert(event.on.ino)),
                _ => {}
            }
        }
        let keeps = move |event: &Recorded| match &event.call {
            Call::Create { made, .. } => way.contains(&made.id.ino) || event.on.ino == sync.on.ino,
            Call::Rename { to, .. } => [event.on.ino, to.ino].contains(&sync.on.ino),
            _ => event.on.ino == sync.on.ino,
        };
        (from..sync.began).filter(move |&index| keeps(&self.events[index]))
    }

    /// As the program left it.
    pub(super) fn all(&self) -> Disk {
        self.disk(self.events.len(), Data::All, &mut Random(0))
    }
}
