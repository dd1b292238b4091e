//! What can be done about an error, as data: which words and flags that is in depends on who asked for the run.

use std::io;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// The way out of an error. A program that shows one chooses its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hint", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Hint {
    // What the system refused, whatever was being done.
    /// The filesystem is full.
    MakeRoom,
    /// A quota is used up.
    RaiseQuota,
    /// The filesystem or a limit of the process takes no larger file.
    FileSizeLimit,
    /// There is no memory left.
    MoreMemory,
    /// It is mounted read-only.
    MountWritable,
    /// A part of the volume is a filesystem of its own, to which nothing can be renamed.
    RestoreInPlaceAcross,
    /// The call needs a privilege, or the file is immutable.
    NotPermitted,
    /// Permissions close it.
    AccessDenied,
    /// Permissions close it to root, who is another user outside this user namespace.
    ClosedInNamespace,
    /// The disk or the file server fails.
    FailingDisk,
    /// This process may not open more files.
    MoreOpenFiles,
    /// The machine may not open more files.
    MoreOpenFilesOfMachine,
    /// The kernel is too old, or a seccomp profile too narrow.
    OldKernel,

    // The configuration and the command.
    /// There is no configuration at `path`.
    WriteConfig {
        /// Where it was looked for.
        path: String,
    },
    /// The configuration at `path` is a directory, as Docker makes one.
    ConfigIsDirectory {
        /// Where it was looked for.
        path: String,
    },
    /// A volume is not there: the container's volumes may not be mounted.
    MountVolumes,
    /// A configured volume is the archive or the configuration.
    OtherPathForOwnFile,
    /// A warning is an error because of `strict`.
    BecauseOfStrict,
    /// Another run holds a lock.
    WaitLonger,

    // The archive.
    /// There is no archive.
    MakeArchive,
    /// It is a directory, as Docker makes one.
    ArchiveIsDirectory,
    /// It is no regular file.
    ArchiveIsNoFile,
    /// An archive is to be written to where nobody reads it.
    SendStream,
    /// A stream is a whole archive, and would follow something.
    SendToNewFile,
    /// Who reads what is written has ended.
    ReaderEnded,
    /// `-` stands for a stream elsewhere, and an archive is none.
    NoStream,
    /// A dry run lets nobody in where a mode keeps them out, as a restore does.
    DryRunOpensNothing,
    /// Standard input is a terminal.
    PipeArchive,
    /// What comes as a stream is packed, and `unpack` would unpack it.
    UnpackOnTheWay {
        /// The command.
        unpack: Option<String>,
    },
    /// What is to become an archive is a directory.
    NameFileInIt,
    /// What is to become an archive is something else, and is not to be removed for it.
    NameAnotherArchive,
    /// What is to become an archive is a symbolic link that leads nowhere.
    RemoveDanglingLink,
    /// Its path leads through something that is no directory.
    NameArchive,
    /// It is mounted read-only.
    MountArchiveWritable,
    /// Its permissions do not let this user `action` it.
    ArchiveAccess {
        /// `read`, `append to`.
        action: String,
    },
    /// The directory that a new archive is to lie in is not there.
    MakeDirectory,
    /// What is to become an archive holds something.
    ForceInit,
    /// Nothing is appended to an archive that is damaged.
    KeepDamagedArchive,
    /// Something foreign follows the archive's end.
    DiscardTail,

    // A restore.
    /// The archive is damaged, and the newest snapshot may be what is missing.
    NameSnapshot,
    /// The archive is damaged, and what is asked for may follow that.
    SkipDamagedToFind,
    /// The snapshot lies under another prefix.
    NamePrefix,
    /// Only `id` is left, which may be the content of a file.
    NameDoubtful {
        /// The ID of that snapshot.
        id: String,
    },
    /// The files that list the volumes are lost.
    NameVolumes {
        /// The first member's name that is left.
        first: Option<String>,
        /// The ID of a snapshot under the same prefix that is whole.
        whole: Option<String>,
    },
    /// The snapshot does not hold a configured volume.
    CorrectVolumes,
    /// A volume is of another type now.
    MountAsSnapshot,
    /// The path lies in no volume that is restored.
    NamePathInVolume,
    /// The snapshot lacks what it should hold.
    ChooseAnotherSnapshot,
    /// A mount is in the way.
    Unmount,
    /// A further name of a file that stays.
    NotInPlace,
    /// What is there may not be replaced by less than a whole snapshot.
    NameNewDirectory,
    /// The snapshot is damaged.
    SkipDamaged,
    /// The snapshot would empty a volume that holds something.
    AllowEmpty,
    /// Two volumes share a directory.
    RestoreAlone,
    /// The volume is mounted read-only.
    MountVolumeWritable,
    /// A file in the volume is immutable.
    LetGoOfImmutable,
    /// A file in the volume is append-only.
    LetGoOfAppendOnly,
    /// A Btrfs subvolume in the volume is read-only, as snapshots are.
    ReadOnlySubvolume,
    /// The volume's root is closed to this user.
    RunAsOwner,
    /// There is no room for a second copy.
    RoomOrInPlace,
    /// There is no room: so much is needed, and so much is free.
    Room {
        /// How much is needed, in `unit`s.
        needed: u64,
        /// How much is free, in `unit`s.
        free: u64,
        /// `bytes` or `files`.
        unit: String,
        /// Whether it is restored below another directory.
        into: bool,
    },
    /// Something that is no directory is in the way below the directory that is restored to.
    NameAnotherDirectory,
    /// A directory is where the snapshot has a file.
    RemoveOrNameAnother,
    /// What is to be restored is no plain tar: a stream can be given, unpacked on the way.
    PipeTar {
        /// The program that unpacks it.
        unpack: Option<String>,
    },
    /// What is read only once is kept in a file, and there is no room for one.
    MountTemporary,
    /// What is to be restored as a tar is an archive of this program.
    NameAsArchive,
    /// A tar goes to one volume, and that is not named.
    NameOneVolume,
    /// What is cut off the names of a tar is not the same for all.
    StripOther,
    /// A tar is damaged or cut off: nothing of it is restored.
    UnpackByHand,
    /// An owner may not be set.
    LeaveOwners,
    /// An owner is not mapped in this user namespace.
    LeaveUnmappedOwners {
        /// The user's ID.
        uid: u32,
        /// The group's ID.
        gid: u32,
    },
}

impl Hint {
    /// What helps against an error of the system, whatever was being done.
    pub fn of_system(error: &io::Error) -> Option<Hint> {
        Some(match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::ENOSPC => Hint::MakeRoom,
            Errno::EDQUOT => Hint::RaiseQuota,
            Errno::EFBIG => Hint::FileSizeLimit,
            Errno::ENOMEM => Hint::MoreMemory,
            Errno::EROFS => Hint::MountWritable,
            Errno::EXDEV => Hint::RestoreInPlaceAcross,
            Errno::EPERM => Hint::NotPermitted,
            Errno::EACCES => Hint::AccessDenied,
            Errno::EIO => Hint::FailingDisk,
            Errno::EMFILE => Hint::MoreOpenFiles,
            Errno::EPIPE => Hint::ReaderEnded,
            Errno::ENFILE => Hint::MoreOpenFilesOfMachine,
            Errno::ENOSYS => Hint::OldKernel,
            _ => return None,
        })
    }
}
