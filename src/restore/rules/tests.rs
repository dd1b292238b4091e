use super::*;
use crate::archive::checksum::Cover;
use crate::archive::encode::encode;
use crate::archive::entry::Entry;
use crate::archive::open::{Access, Reader};
use crate::archive::walk::{Step, Walk};

/// What the rules say of a member that is walked over.
fn check(entry: &Entry, path: &str, source: Option<&str>) -> Result<(), Reason> {
    let mut archive = Vec::new();
    encode(&mut archive, entry, 0, Cover::Full, |length| length).unwrap();
    archive.resize(archive.len() + 1024, 0);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), archive).unwrap();
    let mut walk = Walk::new(Reader::open(file.path(), Access::Read).unwrap(), 0);
    let Ok(Step::Member(member)) = walk.step() else { panic!("no member") };
    check_member(VolumeType::Dir, path.as_bytes(), &member, source.map(str::as_bytes))?;
    Ok(check_lengths(path.as_bytes(), &member)?)
}

#[test]
fn a_member_is_restored_when_all_that_it_says_can_be() {
    let entry = |kind| Entry::new(b"v/a".to_vec(), kind);
    for kind in [Kind::Directory, Kind::File, Kind::Fifo] {
        assert_eq!(check(&entry(kind), "a/b", None), Ok(()));
        assert!(check(&entry(kind), "a/../b", None).is_err());
        assert!(check(&entry(kind), &"x".repeat(256), None).is_err());
        assert_eq!(check(&entry(kind), &"x".repeat(255), None), Ok(()));
    }
    for (source, fits) in [(None, false), (Some(""), false), (Some("../x"), false), (Some("x/y"), true)] {
        assert_eq!(check(&entry(Kind::HardLink), "a", source).is_ok(), fits, "{source:?}");
    }
    for (length, fits) in [(0, false), (1, true), (4095, true), (4096, false)] {
        let link = Entry { link: vec![b'x'; length], ..entry(Kind::Symlink) };
        assert_eq!(check(&link, "a", None).is_ok(), fits, "{length}");
    }
    for kind in [Kind::CharDevice, Kind::BlockDevice] {
        assert_eq!(check(&Entry { device: (8, 1), ..entry(kind) }, "a", None), Ok(()));
        assert!(check(&Entry { device: (4096, 1), ..entry(kind) }, "a", None).is_err());
    }
}

#[test]
fn paths_that_lead_out_are_refused() {
    for path in [&b".."[..], b"a/../b", b"a//b", b"/a", b"a/", b"./a", b"a/.", b"a\0b"] {
        assert!(check_path(path).is_err(), "{path:?}");
    }
    for path in [&b""[..], b"a", b"a/b", b"...", b"a/..b", b"\xff"] {
        assert!(check_path(path).is_ok(), "{path:?}");
    }
}

#[test]
fn a_volume_has_a_root_of_its_kind_and_nothing_unknown() {
    use VolumeType::{Dir, File};
    for (volume, path, kind, fits) in [
        (Dir, "", Kind::Directory, true),
        (Dir, "", Kind::File, false),
        (Dir, "", Kind::Symlink, false),
        (Dir, "", Kind::HardLink, false),
        (Dir, "a", Kind::Directory, true),
        (Dir, "a", Kind::HardLink, true),
        (Dir, "a", Kind::Other(b'7'), false),
        (File, "", Kind::File, true),
        (File, "", Kind::Directory, false),
        (File, "", Kind::Symlink, false),
        (File, "a", Kind::File, false),
    ] {
        assert_eq!(check_kind(volume, path.as_bytes(), kind).is_ok(), fits, "{volume:?} {path} {kind:?}");
    }
}

#[test]
fn device_numbers_that_no_system_has_are_refused() {
    for (device, fits) in [((4095, 1_048_575), true), ((4096, 0), false), ((0, 1_048_576), false)] {
        assert_eq!(check_device(device).is_ok(), fits, "{device:?}");
    }
}

#[test]
fn a_tree_has_each_member_after_its_directory_which_was_not_left() {
    let follows = |paths: &[&str]| {
        let mut way = Way::default();
        paths.iter().try_for_each(|path| {
            while !way.leads_to(path.as_bytes())? {
                way.leave();
            }
            // Those that end in a digit are no directories.
            if !path.ends_with(|last: char| last.is_ascii_digit()) {
                way.enter(path.as_bytes(), ());
            }
            Ok::<_, &str>(())
        })
    };
    for paths in
        [&["", "1", "a", "a/1", "a/b", "a/b/1", "a/2", "c", "c/1", "2"][..], &["", "a", "a/b/c/1"][..2]]
    {
        assert_eq!(follows(paths), Ok(()), "{paths:?}");
    }
    for paths in [
        &["1"][..],
        &["a"],
        &["", ""],
        &["", "a", ""],
        &["", "a/1"],
        &["", "a", "a/b/1"],
        &["", "a", "b", "a/1"],
        &["", "a", "ab/1"],
        &["", "ab", "a/1"],
        &["", "1", "1/2"],
    ] {
        assert!(follows(paths).is_err(), "{paths:?}");
    }
}
