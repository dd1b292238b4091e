//! Makes a flat tar of one volume out of an archive: `./`, `./notes.txt`, as `tar xz -C /data` and Dockform
//! take it. It reads and writes front to back. Data, attributes and sparse maps are handed on as they are;
//! names are cut, and checksums, which cover names, are left out.

use std::io::{self, Error, ErrorKind, Read, Write};

use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// The longest extended header that is read; ours have less than 1 MiB.
const LONGEST: u64 = 2 << 20;

/// Writes the members of the volume that is called `volume` in the archive that `from` reads to `to`, and
/// returns how many those are.
///
/// # Errors
/// When the archive is cut off or is none of ours, or something cannot be read or written.
pub(crate) fn write(from: &mut dyn Read, to: &mut dyn Write, volume: &str) -> io::Result<u64> {
    let mut count = 0;
    let mut records = Vec::new();
    while let Some(header) = next(from)? {
        let size = size_of(&header, &records)?;
        let padded = size.div_ceil(BLOCK as u64) * BLOCK as u64;
        match header.entry_type() {
            EntryType::XHeader => {
                if padded > LONGEST {
                    return Err(damaged("an extended header is too long"));
                }
                let mut data = Vec::new();
                from.take(padded).read_to_end(&mut data)?;
                let data = data.get(..usize::try_from(size).unwrap_or(usize::MAX));
                records = parse(data.ok_or_else(|| damaged("it is cut off"))?)?;
                continue;
            }
            EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink => {
                return Err(damaged("it has headers that an archive of ours has not"));
            }
            _ => {}
        }
        let records = std::mem::take(&mut records);
        let name = value(&records, b"path").map_or_else(|| header.path_bytes().into_owned(), <[u8]>::to_vec);
        match inside(&name, volume) {
            Some(name) => {
                write_header(to, &header, &records, &name, volume)?;
                copy(from, to, padded)?;
                count += 1;
            }
            None => copy(from, &mut io::sink(), padded)?,
        }
    }
    to.write_all(&[0; 2 * BLOCK])?;
    Ok(count)
}

type Record = (Vec<u8>, Vec<u8>);

/// The next header, or `None` at the end.
fn next(from: &mut dyn Read) -> io::Result<Option<Header>> {
    let mut header = Header::new_old();
    from.read_exact(header.as_mut_bytes()).map_err(cut_off)?;
    if header.as_bytes().iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let mut sum = header.clone();
    sum.set_cksum();
    if sum.cksum()? != header.cksum()? {
        return Err(damaged("a header is not what it was"));
    }
    Ok(Some(header))
}

fn size_of(header: &Header, records: &[Record]) -> io::Result<u64> {
    if matches!(header.entry_type(), EntryType::Link | EntryType::Symlink | EntryType::Directory) {
        return Ok(0);
    }
    match value(records, b"size") {
        Some(size) => std::str::from_utf8(size)
            .ok()
            .and_then(|size| size.parse().ok())
            .ok_or_else(|| damaged("a size is no number")),
        None => header.entry_size(),
    }
}

/// The records of an extended header: `LENGTH KEY=VALUE\n`.
fn parse(mut data: &[u8]) -> io::Result<Vec<Record>> {
    let bad = || damaged("an extended header cannot be read");
    let mut records = Vec::new();
    while !data.is_empty() {
        let space = data.iter().position(|&byte| byte == b' ').ok_or_else(bad)?;
        let length: usize =
            std::str::from_utf8(&data[..space]).ok().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
        let record =
            data.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(bad)?;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or_else(bad)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        data = &data[length..];
    }
    Ok(records)
}

fn value<'a>(records: &'a [Record], key: &[u8]) -> Option<&'a [u8]> {
    records.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_slice())
}

/// The name of a member as it is inside of the volume, if it lies there.
fn inside(name: &[u8], volume: &str) -> Option<Vec<u8>> {
    let rest = name.strip_prefix(volume.as_bytes())?;
    match rest {
        [] => Some(b"./".to_vec()),
        [b'/', ..] => Some([b".", rest].concat()),
        _ => None,
    }
}

fn write_header(
    to: &mut dyn Write,
    header: &Header,
    records: &[Record],
    name: &[u8],
    volume: &str,
) -> io::Result<()> {
    let mut header = header.clone();
    let mut kept: Vec<Record> = Vec::new();
    place(&mut header.as_old_mut().name, name, b"path", &mut kept);
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.prefix = [0; 155];
    }
    let link =
        value(records, b"linkpath").map(<[u8]>::to_vec).or_else(|| header.link_name_bytes().map(Into::into));
    if let (EntryType::Link, Some(link)) = (header.entry_type(), &link) {
        let link = inside(link, volume).ok_or_else(|| damaged("a hard link leads out of its volume"))?;
        place(&mut header.as_old_mut().linkname, &link, b"linkpath", &mut kept);
    }
    for (key, value) in records {
        let cut = match key.as_slice() {
            b"path" | b"comment" => continue,
            b"linkpath" if header.entry_type() == EntryType::Link => continue,
            b"GNU.sparse.name" => {
                inside(value, volume).ok_or_else(|| damaged("a sparse file lies out of its volume"))?
            }
            _ => value.clone(),
        };
        kept.push((key.clone(), cut));
    }
    header.set_cksum();
    if !kept.is_empty() {
        write_records(to, &kept)?;
    }
    to.write_all(header.as_bytes())
}

/// Puts `name` into a field of a header, and into a record where it is too long for it.
fn place(field: &mut [u8; 100], name: &[u8], key: &[u8], records: &mut Vec<Record>) {
    *field = [0; 100];
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name[..length]);
    if name.len() > field.len() {
        records.push((key.to_vec(), name.to_vec()));
    }
}

fn write_records(to: &mut dyn Write, records: &[Record]) -> io::Result<()> {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        // The length counts its own digits.
        let mut length = rest + rest.to_string().len();
        if length.to_string().len() > rest.to_string().len() {
            length += 1;
        }
        data.extend_from_slice(format!("{length} ").as_bytes());
        data.extend_from_slice(&[key, &b"="[..], value, b"\n"].concat());
    }
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    place(&mut header.as_old_mut().name, b"PaxHeaders/docker-snapshot", b"path", &mut Vec::new());
    header.set_size(data.len() as u64);
    header.set_mode(0o600);
    header.set_cksum();
    to.write_all(header.as_bytes())?;
    data.resize(data.len().next_multiple_of(BLOCK), 0);
    to.write_all(&data)
}

/// Hands on `count` bytes.
fn copy(from: &mut dyn Read, to: &mut dyn Write, count: u64) -> io::Result<()> {
    if io::copy(&mut from.take(count), to)? < count {
        return Err(damaged("it is cut off"));
    }
    Ok(())
}

fn damaged(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the archive is damaged: {reason}"))
}

fn cut_off(error: Error) -> Error {
    if error.kind() == ErrorKind::UnexpectedEof { damaged("it is cut off") } else { error }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use snapshotter::config::{Config, Exclude, Need};
    use snapshotter::observer::Run;
    use snapshotter::{Archive, BackupOptions, backup, init_archive};

    use super::*;

    /// An archive with two volumes, of which one has the name of the other at its beginning.
    fn archive() -> (tempfile::TempDir, Vec<u8>, String) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("volumes");
        for volume in ["data", "data2"] {
            fs::create_dir_all(root.join(volume).join("sub")).unwrap();
        }
        let data = root.join("data");
        fs::write(data.join("a"), "content").unwrap();
        fs::hard_link(data.join("a"), data.join("b")).unwrap();
        symlink("/volumes/data/a", data.join("soft")).unwrap();
        fs::write(data.join("sub").join("x".repeat(150)), vec![7; 5000]).unwrap();
        fs::write(root.join("data2").join("other"), "other").unwrap();
        let archive = folder.path().join("archive.tar");
        init_archive(&archive).unwrap();
        let volumes = ["data", "data2"].map(|volume| root.join(volume).to_str().unwrap().to_owned());
        let inside = format!("shop{}", volumes[0]);
        let config = Config::from_parts("shop", volumes, Exclude::default(), Need::Volumes).unwrap();
        let options = BackupOptions { archive: archive.clone(), ..BackupOptions::default() };
        backup(&config, &options, &Run::default()).unwrap();
        (folder, fs::read(archive).unwrap(), inside)
    }

    #[test]
    fn a_volume_becomes_a_tar_that_others_read() {
        let (folder, archive, inside) = archive();
        let mut flat = Vec::new();
        assert_eq!(write(&mut &archive[..], &mut flat, &inside).unwrap(), 6);
        let mut names: Vec<_> = tar::Archive::new(&flat[..])
            .entries()
            .unwrap()
            .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap())
            .collect();
        names.sort();
        let long = format!("./sub/{}", "x".repeat(150));
        assert_eq!(names, ["./", "./a", "./b", "./soft", "./sub/", &long]);
        // As the core takes a tar of another program.
        let (tar, into) = (folder.path().join("flat.tar"), folder.path().join("into"));
        fs::write(&tar, &flat).unwrap();
        let from_tar = Some(snapshotter::TarSource { file: Some(tar), ..snapshotter::TarSource::default() });
        let options = snapshotter::RestoreOptions {
            from_tar,
            into: Some(into.clone()),
            archive: Archive::default(),
            ..snapshotter::RestoreOptions::default()
        };
        let none = Config::from_parts("", [""; 0], Exclude::default(), Need::VolumesOrAll).unwrap();
        snapshotter::restore(&none, &options, &Run::default()).unwrap();
        assert_eq!(fs::read(into.join("b")).unwrap(), b"content");
        assert_eq!(fs::read_link(into.join("soft")).unwrap().to_str().unwrap(), "/volumes/data/a");
        assert_eq!(fs::read(into.join("sub").join("x".repeat(150))).unwrap(), vec![7; 5000]);
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_never_taken_for_whole() {
        let (_folder, archive, inside) = archive();
        for length in (0..archive.len() - 1024).step_by(256) {
            assert!(write(&mut &archive[..length], &mut Vec::new(), &inside).is_err(), "{length}");
        }
        let mut damaged = archive.clone();
        // In the first header after the one that begins the snapshot.
        damaged[1024 + 5] ^= 1;
        assert!(write(&mut &damaged[..], &mut Vec::new(), &inside).is_err());
    }
}
