//! The way out of an error, in the words of this command line and of `docker run`.

use std::borrow::Cow;

use snapshotter::Hint;

/// How to mount an archive.
const MOUNT: &str = "mount an archive with `-v $PWD/backup.tar:/backup.tar`";

/// The path at which Docker could mount something.
fn absolute(path: &str) -> Option<&str> {
    Some(path).filter(|path| path.starts_with('/'))
}

/// What the user can do.
pub(crate) fn words(hint: &Hint) -> Cow<'static, str> {
    if let Some(words) = fixed(hint) {
        return Cow::Borrowed(words);
    }
    Cow::Owned(match hint {
        Hint::WriteConfig { path } => format!(
            "write one, such as `{{prefix: web, volumes: [/data]}}`, {}or name none and give --prefix and --volume",
            match absolute(path) {
                Some(path) => format!("and mount it with `-v $PWD/config.yml:{path}`, "),
                None => "in docker give the whole path that it is mounted at, ".to_owned(),
            }
        ),
        Hint::ConfigIsDirectory { path } => match absolute(path) {
            Some(path) => format!(
                "docker makes one when the host path of `-v $PWD/config.yml:{path}` does not exist: remove it, \
                 write a file there, and make the container anew"
            ),
            None => "name a file".to_owned(),
        },
        Hint::MakeArchive => format!("make an archive with `snapshotter init`, and {MOUNT}"),
        Hint::ArchiveIsDirectory => format!(
            "docker makes one when the host path does not exist: remove it on the host, make an archive with \
             `snapshotter init backup.tar`, and {MOUNT}"
        ),
        Hint::ArchiveIsNoFile => {
            format!(
                "name a file with --archive; `snapshotter init backup.tar` makes one, and in docker {MOUNT}"
            )
        }
        Hint::ArchiveAccess { action } => {
            format!("{action} it as a user that may, or as root with `--cap-add DAC_OVERRIDE`")
        }
        Hint::NameDoubtful { id } => {
            format!("but {id}, which may be the content of a file: to restore that, name it with --snapshot")
        }
        Hint::NameVolumes { first, whole } => {
            let first = first.as_ref().map(|name| format!(" (the first name that is left is {name})"));
            let whole =
                whole.as_ref().map(|id| format!("; or restore {id}, which is whole, with --snapshot {id}"));
            format!("name them with --volume{}{}", first.unwrap_or_default(), whole.unwrap_or_default())
        }
        Hint::Room { needed, free, unit, into: true } => format!(
            "{needed} {unit} are needed and {free} are free: make room, or name a directory elsewhere with \
             --into"
        ),
        Hint::Room { needed, free, unit, into: false } => format!(
            "{needed} {unit} are needed and {free} are free beside the present content: make room, or \
             restore over it with --in-place"
        ),
        Hint::LeaveUnmappedOwners { uid, gid } => format!(
            "{uid}:{gid} is not mapped in this user namespace: run with `docker run --userns=host`, or leave \
             owners as they are with --no-owner"
        ),
        Hint::UnpackOnTheWay { unpack } => on_the_way(unpack.as_deref()),
        Hint::PipeTar { unpack } => pipe(unpack.as_deref().unwrap_or("cat")),
        other => format!("{other:?}"),
    })
}

fn on_the_way(unpack: Option<&str>) -> String {
    match unpack {
        Some(unpack) => format!("unpack it on the way: `… | {unpack} | snapshotter … --archive -`"),
        None => "give the plain tar that it holds".to_owned(),
    }
}

fn pipe(unpack: &str) -> String {
    format!(
        "give it as a stream: `{unpack} FILE | snapshotter restore --from-tar - …` (with `docker run -i`)"
    )
}

fn fixed(hint: &Hint) -> Option<&'static str> {
    of_system(hint).or_else(|| of_archive(hint)).or_else(|| of_restore(hint)).or_else(|| of_tar(hint))
}

fn of_system(hint: &Hint) -> Option<&'static str> {
    Some(match hint {
        Hint::MakeRoom => "make room on that filesystem",
        Hint::RaiseQuota => "make room in that quota, or raise it",
        Hint::FileSizeLimit => "that filesystem, or the limit that `ulimit -f` shows, takes no larger file",
        Hint::MoreMemory => "give the container, or the machine, more memory",
        Hint::MountWritable => "mount it without `:ro`",
        Hint::MountTemporary => "run with `docker run --tmpfs /tmp`, or let TMPDIR name a directory for it",
        Hint::RestoreInPlaceAcross => {
            "it cannot be moved within the volume, as it is a subvolume of its own (Btrfs), has another project id \
             (XFS), or comes from a lower layer (overlay): restore with --in-place"
        }
        Hint::NotPermitted => {
            "run as root, with `--cap-add FOWNER` where capabilities were dropped, and see with `lsattr` \
             whether it is immutable"
        }
        Hint::AccessDenied => {
            "run as a user that may, or as root, with `--cap-add DAC_OVERRIDE` where capabilities were \
             dropped"
        }
        Hint::ClosedInNamespace => {
            "root of this user namespace is another user of the host, to whom it is closed: `chown` it \
             there, or run with `docker run --userns=host`"
        }
        Hint::FailingDisk => "its disk or its file server fails: look at what `dmesg` says",
        Hint::MoreOpenFiles => "let it open more files, with `docker run --ulimit nofile=1024`",
        Hint::MoreOpenFilesOfMachine => {
            "the whole machine may not open more: raise `fs.file-max` with `sysctl`"
        }
        Hint::OldKernel => {
            "this kernel is too old, or the container's seccomp profile too narrow: Linux 4.11 is needed"
        }
        _ => return None,
    })
}

fn of_archive(hint: &Hint) -> Option<&'static str> {
    Some(match hint {
        Hint::MountVolumes => "is `--volumes-from` missing, or the container's path another?",
        Hint::OtherPathForOwnFile => {
            "remove it from `volumes`, or give this run another path for its own with --archive or --config"
        }
        Hint::BecauseOfStrict => "it is an error because of --strict",
        Hint::WaitLonger => "wait for that one, or give it longer with --lock-timeout",
        Hint::NameAnotherArchive => "name another path",
        Hint::NameFileInIt => "name a file, such as `backup.tar` in it",
        Hint::SendStream => {
            "send the archive to a file or a program: `snapshotter backup --archive - > backup.tar`"
        }
        Hint::SendToNewFile => {
            "a stream is a whole archive, so send it to a new file; to append to an archive, name it with \
             --archive"
        }
        Hint::ReaderEnded => "the program that it was written to has ended: see what it says",
        Hint::NoStream => {
            "an archive is a file and no stream: name it with --archive, or `./-` if that is its name"
        }
        Hint::PipeArchive => {
            "name the archive's file with --archive, or give it as a stream: `… | snapshotter … --archive -` \
             (with `docker run -i`)"
        }
        Hint::RemoveDanglingLink => "it is a symbolic link that leads nowhere: remove it",
        Hint::NameArchive => "name an archive with --archive",
        Hint::MountArchiveWritable => "mount the archive without `:ro`",
        Hint::MakeDirectory => "make its directory first",
        Hint::ForceInit => "name another path, or throw away what it holds with --force",
        Hint::KeepDamagedArchive => {
            "nothing is appended to a damaged archive: keep it, and make a new one with `snapshotter init`"
        }
        Hint::DiscardTail => {
            "look at it with `snapshotter verify` and `tar -itf`, and if it is not needed, cut it off with \
             `snapshotter backup --discard-tail`"
        }
        _ => return None,
    })
}

fn of_restore(hint: &Hint) -> Option<&'static str> {
    Some(match hint {
        Hint::DryRunOpensNothing => {
            "a dry run changes nothing, and so opens nothing that is closed: run it as root with `--cap-add \
             DAC_OVERRIDE`, or open that to its owner with `chmod u+rwx` first (a restore itself needs neither)"
        }
        Hint::NameSnapshot => {
            "the newest snapshot may be what is missing, so name one that `snapshotter list` shows with \
             --snapshot"
        }
        Hint::SkipDamagedToFind => "what follows that is only found with --skip-damaged --into DIR",
        Hint::NamePrefix => "if that is meant, name its prefix with --prefix",
        Hint::CorrectVolumes => "correct `volumes`, or choose another snapshot with --snapshot",
        Hint::MountAsSnapshot => "mount it as that, or restore beside it with --into",
        Hint::NamePathInVolume => "give --path an absolute path in one",
        Hint::ChooseAnotherSnapshot => "choose another with --snapshot",
        Hint::Unmount => "unmount it, or restore beside it with --into",
        Hint::NotInPlace => "restore without --in-place",
        Hint::NameNewDirectory => "name a new directory with --into",
        Hint::SkipDamaged => {
            "`snapshotter verify` tells what is sound; restore another snapshot with --snapshot, or what is \
             sound of this one with --skip-damaged and --into"
        }
        Hint::AllowEmpty => {
            "if it is to be emptied, add --allow-empty; `snapshotter list` shows which snapshots have something in it: \
             choose one with --snapshot"
        }
        Hint::RestoreAlone => "restore one of the two alone with --volume",
        Hint::MountVolumeWritable => {
            "mount the volume without `:ro`, leave such volumes out with --skip-read-only, or restore beside it with \
             --into"
        }
        Hint::LetGoOfImmutable => {
            "it is immutable: take that away with `chattr -i`, as root of the host, or restore beside it with \
             --into"
        }
        Hint::LetGoOfAppendOnly => {
            "it is append-only: take that away with `chattr -a`, as root of the host, or restore beside it \
             with --into"
        }
        Hint::ReadOnlySubvolume => {
            "it is a read-only Btrfs snapshot: as root of the host, make it writable with `btrfs property set \
             -f PATH ro false` or delete it with `btrfs subvolume delete`; or restore beside it with --into"
        }
        Hint::RunAsOwner => "run as root, or as the owner of the volume's root",
        Hint::RoomOrInPlace => "make room, or restore over the present content with --in-place",
        Hint::NameAnotherDirectory => {
            "something that is no directory is in the way: name another one with --into"
        }
        Hint::RemoveOrNameAnother => "remove it, or name another one with --into",
        Hint::LeaveOwners => {
            "run as root (in docker with CAP_CHOWN), or leave owners as they are with --no-owner"
        }
        _ => return None,
    })
}

fn of_tar(hint: &Hint) -> Option<&'static str> {
    Some(match hint {
        Hint::NameAsArchive => "restore it with --archive; `snapshotter list` shows its snapshots",
        Hint::NameOneVolume => "name a directory volume with --volume, or a new directory with --into",
        Hint::StripOther => {
            "`tar tf` lists the names: cut off another number of directories with --strip N, or take one \
             directory with --strip DIR"
        }
        Hint::UnpackByHand => {
            "nothing was restored; what can be read of it, `tar` unpacks into another place"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_hint_has_words() {
        let variants = include_str!("../error/hint.rs").lines().filter_map(|line| {
            let name = line.strip_prefix("    ")?.split([' ', ',']).next()?;
            name.starts_with(|c: char| c.is_ascii_uppercase()).then_some(name)
        });
        let variants: Vec<_> = variants.collect();
        assert!(variants.len() > 50, "{variants:?}");
        for name in variants {
            let arm = ["=>", "{", ":"]
                .iter()
                .any(|next| include_str!("hints.rs").contains(&format!("Hint::{name} {next}")));
            assert!(arm, "{name}");
        }
    }
}
