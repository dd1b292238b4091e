//! Snapshots of the Go program: members at `PREFIX/SHA-256(target)`, closed by `PREFIX/volumes-data.yml`.
//! They carry no checksums.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::archive::decode::Head;
use crate::archive::entry::Kind;
use crate::archive::open::Reader;
use crate::archive::walk::{Step, Walk};
use crate::error::Result;
use crate::snapshot::layout::{Layout, strip};
use crate::snapshot::manifest::SnapshotVolume;
use crate::snapshot::volumes_data::{self, VolumeItem};
use crate::snapshot::{Snapshot, VOLUMES_DATA, under};
use crate::volume::{VolumeType, components};

/// The longest `volumes-data.yml` that is looked into, in bytes.
const MAX_LIST: u64 = 1 << 20;

/// What the Go program is called in our output.
pub(crate) const PROGRAM: &str = "go";

/// The snapshot that `close` closes, if it is the Go program's, and how many of the members from `from` on
/// are its.
pub(crate) fn snapshot(reader: &Arc<Reader>, from: u64, close: &Head) -> Result<Option<(Snapshot, u64)>> {
    let name = strip(close.name);
    let Some(prefix) = name.strip_suffix(VOLUMES_DATA.as_bytes()) else { return Ok(None) };
    let prefix = match prefix {
        [] => prefix,
        [prefix @ .., b'/'] => prefix,
        _ => return Ok(None),
    };
    let Ok(prefix) = std::str::from_utf8(prefix) else { return Ok(None) };
    if close.kind != Kind::File || close.stored.length > MAX_LIST || close.stored.sparse.is_some() {
        return Ok(None);
    }
    let mut text = vec![0; usize::try_from(close.stored.length).unwrap_or(0)];
    reader.read_exact(&mut text, close.stored.data())?;
    let Ok(items) = volumes_data::decode(&text) else { return Ok(None) };
    if items.is_empty() || !items.iter().all(|item| is_sha256(&item.id)) {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&text);
    hasher.update(&close.stored.start.to_le_bytes());
    let id = hasher.finalize().to_hex()[..8].to_owned();

    let layout = Layout::of_go(items.iter().map(|item| crate::snapshot::under(prefix, &item.id)).collect());
    let mut found = Snapshot {
        id,
        created: close.mtime,
        program: PROGRAM.to_owned(),
        prefix: prefix.to_owned(),
        volumes: items.iter().map(volume).collect(),
        close: close.stored.start,
        layout,
        ..Snapshot::lost(close.stored.start..close.stored.end())
    };
    count(reader, from, &mut found)?;
    let members = found.entries + 1;
    Ok(Some((found, members)))
}

/// Counts the snapshot's members from `from` on.
fn count(reader: &Arc<Reader>, from: u64, found: &mut Snapshot) -> Result<()> {
    let mut walk = Walk::new(Arc::clone(reader), from);
    while walk.position() < found.close {
        let Step::Member(member) = walk.step()? else { break };
        let Some(place) = found.layout.locate(member.name) else { continue };
        if found.entries == 0 {
            found.start = member.stored.start;
        }
        let volume = &mut found.volumes[place.volume];
        volume.entries += 1;
        volume.size = volume.size.saturating_add(member.stored.size);
        found.entries += 1;
        found.size = found.size.saturating_add(member.stored.size);
        found.unhashed += member.stored.length;
    }
    Ok(())
}

/// What is left of one that was cut off: the members in `range`, which a walk reaches without a gap. Its list
/// is lost with what follows, and so each volume is called by its hash until [`name_volumes`] knows better.
pub(crate) fn cut_off(reader: &Arc<Reader>, range: Range<u64>) -> Result<Option<Snapshot>> {
    let mut found: Option<Snapshot> = None;
    let mut known = HashMap::new();
    let mut walk = Walk::new(Arc::clone(reader), range.start);
    while walk.position() < range.end {
        let Step::Member(member) = walk.step()? else { break };
        let Some((prefix, id)) =
            prefix_and_id(strip(member.name)).filter(|_| member.stored.checksum.is_none())
        else {
            continue;
        };
        if found.as_ref().is_none_or(|found| found.prefix != prefix) {
            let snapshot = Snapshot::lost(member.stored.start..range.end);
            known.clear();
            found = Some(Snapshot { prefix: prefix.to_owned(), program: PROGRAM.to_owned(), ..snapshot });
        }
        let Some(found) = &mut found else { continue };
        let path = format!("/{id}");
        let at = *known.entry(path.clone()).or_insert_with(|| {
            let is_root = strip(member.name).ends_with(id.as_bytes());
            let is_file = is_root && member.kind == Kind::File;
            let kind = if is_file { VolumeType::File } else { VolumeType::Dir };
            found.volumes.push(SnapshotVolume { path, kind, entries: 0, size: 0 });
            found.volumes.len() - 1
        });
        found.volumes[at].entries += 1;
    }
    Ok(found.map(|found| {
        let names = found.volumes.iter().map(|volume| under(&found.prefix, crate::volume::id(&volume.path)));
        Snapshot { layout: Layout::of_go(names.collect()), ..found }
    }))
}

/// Calls the volumes of a snapshot without a list by what of `paths` has their hash, and adds those that
/// nothing is left of.
pub(crate) fn name_volumes(found: &mut Snapshot, paths: &[&str]) {
    let mut names = Vec::new();
    for path in paths {
        let hashes = [(*path).to_owned(), format!("{path}/")].map(|target| sha256(target.as_bytes()));
        let called = |volume: &SnapshotVolume| hashes.iter().any(|hash| volume.path[1..] == *hash);
        if let Some(volume) = found.volumes.iter_mut().find(|volume| called(volume)) {
            (*path).clone_into(&mut volume.path);
            continue;
        }
        let kind = VolumeType::Dir;
        found.volumes.push(SnapshotVolume { path: (*path).to_owned(), kind, entries: 0, size: 0 });
        names.push(under(&found.prefix, &hashes[0]));
    }
    found.layout.add(names);
}

/// The prefix and the hash in the name of a member of a volume.
fn prefix_and_id(name: &[u8]) -> Option<(&str, &str)> {
    let mut start = 0;
    for part in name.split(|&byte| byte == b'/') {
        if let Some(id) = std::str::from_utf8(part).ok().filter(|id| is_sha256(id)) {
            return Some((std::str::from_utf8(&name[..start.max(1) - 1]).ok()?, id));
        }
        start += part.len() + 1;
    }
    None
}

fn volume(item: &VolumeItem) -> SnapshotVolume {
    // The Go program took targets as they were written.
    let path = format!("/{}", components(&item.target).join("/"));
    SnapshotVolume { path, kind: item.kind, entries: 0, size: 0 }
}

/// In lowercase hex, as the Go program named volumes.
fn sha256(text: &[u8]) -> String {
    format!("{:x}", Sha256::digest(text))
}

fn is_sha256(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use crate::archive::ustar::{HeaderFields, flag};
    use crate::archive::{END, pax};
    use crate::observer::Run;

    #[test]
    fn sizes_beyond_all_bounds_are_added_up_without_overflow() {
        let (id, mut records) = ("a".repeat(64), Vec::new());
        for (key, value) in [
            ("major", "1"),
            ("minor", "0"),
            ("realsize", "18446744073709551615"),
            ("name", &format!("p/{id}/f")),
        ] {
            pax::push(&mut records, format!("GNU.sparse.{key}").as_bytes(), value.as_bytes());
        }
        let list = format!("- id: {id}\n  type: dir\n  target: /x\n").into_bytes();
        let member = |name: &[u8], flag, data: &[u8]| {
            let header =
                HeaderFields { name, flag, size: data.len() as u64, ..HeaderFields::default() }.encode();
            let mut blocks = [&header[..], data].concat();
            blocks.resize(blocks.len().next_multiple_of(512), 0);
            blocks
        };
        let huge = [member(b"x", flag::PAX, &records), member(b"f", flag::FILE, b"")].concat();
        let close = member(b"p/volumes-data.yml", flag::FILE, &list);
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("a.tar");
        std::fs::write(&archive, [&huge[..], &huge, &close, &END].concat()).unwrap();
        let options = crate::ListOptions { archive: archive.into(), ..crate::ListOptions::default() };
        let listing = crate::list(&options, &Run::default()).unwrap();
        assert_eq!((listing.snapshots[0].size, listing.snapshots[0].entries), (u64::MAX, 2));
    }
}
