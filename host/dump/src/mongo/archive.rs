//! The [archive format](https://github.com/mongodb/mongo-tools/blob/master/common/archive/spec.md) of
//! `mongodump`, as far as it must be known to tell whether an archive is whole: a list of collections, then
//! pieces of them, and for each an end with a checksum.

use std::collections::{HashMap, HashSet};
use std::io;

use crc::{CRC_64_XZ, Crc, Digest, Table};
use tokio::io::{AsyncRead, AsyncReadExt};

const MAGIC: u32 = 0x8199_e26d;
const TERMINATOR: u32 = 0xffff_ffff;
/// The largest document of MongoDB has 16 MiB, and some room.
const LARGEST: u32 = (16 << 20) + (16 << 10);

/// Read eight or more bytes at a time. Go calls the polynomial ECMA.
type Fast = Table<16>;
static CHECKSUM: std::sync::LazyLock<Crc<u64, Fast>> =
    std::sync::LazyLock::new(|| Crc::<u64, Fast>::new(&CRC_64_XZ));

/// Why an archive cannot be read.
#[derive(Debug)]
pub(super) enum Problem {
    Read(io::Error),
    Damaged(String),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Problem::Damaged("it is cut".into()),
            _ => Problem::Read(error),
        }
    }
}

/// A database and a collection.
type Namespace = (String, String);

/// Reads all of an archive; its collections.
pub(super) async fn read(input: &mut (impl AsyncRead + Unpin)) -> Result<Vec<Namespace>, Problem> {
    let listed = prelude(input).await?;
    let mut open: HashMap<Namespace, Digest<'static, u64, Fast>> = HashMap::new();
    let mut done = HashSet::new();
    while let Some(header) = header(input).await? {
        let at: Namespace = (text(&header, "db")?, text(&header, "collection")?);
        let name = format!("{}.{}", at.0, at.1);
        if done.contains(&at) {
            return Err(damaged(format!("{name} goes on after its end")));
        }
        let digest = open.entry(at.clone()).or_insert_with(|| CHECKSUM.digest());
        if field(&header, "EOF", 8)?.first() == Some(&1) {
            let sum = field(&header, "CRC", 18)?.try_into().map(u64::from_le_bytes).unwrap_or_default();
            let digest = open.remove(&at).map(crc::Digest::<u64, Fast>::finalize);
            if digest != Some(sum) {
                return Err(damaged(format!("the checksum of {name} is not that of its documents")));
            }
            done.insert(at);
            if document(input).await?.is_some() {
                return Err(damaged(format!("{name} goes on after its end")));
            }
        } else {
            while let Some(document) = document(input).await? {
                digest.update(&document);
            }
        }
    }
    if let Some((database, collection)) = open.into_keys().next() {
        return Err(damaged(format!("{database}.{collection} does not end")));
    }
    for at in &listed {
        // Where the documents of a time series are.
        let buckets = (at.0.clone(), format!("system.buckets.{}", at.1));
        if !done.contains(at) && !done.contains(&buckets) {
            return Err(damaged(format!("{}.{} is listed and missing", at.0, at.1)));
        }
    }
    Ok(listed)
}

/// The database of an archive, if all of its collections are of one.
pub(super) async fn database(input: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let listed = prelude(input).await.ok()?;
    let first = listed.first()?.0.clone();
    (listed.iter().all(|(database, _)| *database == first) && !first.is_empty()).then_some(first)
}

async fn prelude(input: &mut (impl AsyncRead + Unpin)) -> Result<Vec<Namespace>, Problem> {
    if input.read_u32_le().await? != MAGIC {
        return Err(damaged("it does not begin as an archive does".into()));
    }
    if document(input).await?.is_none() {
        return Err(damaged("it has no header".into()));
    }
    let mut listed = Vec::new();
    while let Some(entry) = document(input).await? {
        // A view is listed and has no documents. Older versions do not tell its type, but which collection it
        // is a view of.
        let is_view = text(&entry, "type").is_ok_and(|kind| kind == "view")
            || text(&entry, "metadata").is_ok_and(|options| options.contains("\"viewOn\""));
        if is_view {
            continue;
        }
        listed.push((text(&entry, "db")?, text(&entry, "collection")?));
    }
    Ok(listed)
}

/// The document that a piece begins with, or `None` at the end of the file.
async fn header(input: &mut (impl AsyncRead + Unpin)) -> Result<Option<Vec<u8>>, Problem> {
    let mut length = [0; 4];
    if input.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut length[1..]).await?;
    match sized(input, u32::from_le_bytes(length)).await? {
        Some(header) => Ok(Some(header)),
        None => Err(damaged("a piece has no header".into())),
    }
}

/// The next document, or `None` at a terminator.
async fn document(input: &mut (impl AsyncRead + Unpin)) -> Result<Option<Vec<u8>>, Problem> {
    let length = input.read_u32_le().await?;
    sized(input, length).await
}

async fn sized(input: &mut (impl AsyncRead + Unpin), length: u32) -> Result<Option<Vec<u8>>, Problem> {
    if length == TERMINATOR {
        return Ok(None);
    }
    if !(5..=LARGEST).contains(&length) {
        return Err(damaged(format!("a document has {length} bytes")));
    }
    let mut document = vec![0; length as usize];
    let (size, rest) = document.split_at_mut(4);
    size.copy_from_slice(&length.to_le_bytes());
    input.read_exact(rest).await?;
    if document.last() == Some(&0) {
        Ok(Some(document))
    } else {
        Err(damaged("a document does not end".into()))
    }
}

fn text(document: &[u8], name: &str) -> Result<String, Problem> {
    let value = field(document, name, 2)?;
    let text = value.get(4..value.len() - 1).unwrap_or_default();
    String::from_utf8(text.to_vec()).map_err(|_| damaged("a name is not UTF-8".into()))
}

/// The value of a field of [this type](https://bsonspec.org/spec.html), at the top of a document.
fn field<'a>(document: &'a [u8], name: &str, kind: u8) -> Result<&'a [u8], Problem> {
    let missing = || damaged(format!("a header has no {name}"));
    let mut rest = document.get(4..document.len() - 1).ok_or_else(missing)?;
    loop {
        let (&found, after) = rest.split_first().ok_or_else(missing)?;
        let end = after.iter().position(|byte| *byte == 0).ok_or_else(missing)?;
        let (key, value) = after.split_at(end);
        let value = value.get(1..).ok_or_else(missing)?;
        let length = || value.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
        let size = match found {
            8 => Some(1),
            16 => Some(4),
            1 | 9 | 17 | 18 => Some(8),
            10 => Some(0),
            2 => length().and_then(|length| length.checked_add(4)).filter(|size| *size > 4),
            3 | 4 => length(),
            _ => None,
        };
        let (value, next) = size.and_then(|size| value.split_at_checked(size)).ok_or_else(missing)?;
        if key == name.as_bytes() && found == kind {
            return Ok(value);
        }
        rest = next;
    }
}

fn damaged(problem: String) -> Problem {
    Problem::Damaged(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bson(fields: &[u8]) -> Vec<u8> {
        let length = u32::try_from(fields.len() + 5).unwrap();
        [&length.to_le_bytes(), fields, &[0]].concat()
    }

    fn string(name: &str, value: &str) -> Vec<u8> {
        let length = u32::try_from(value.len() + 1).unwrap().to_le_bytes();
        [&[2], name.as_bytes(), &[0], &length, value.as_bytes(), &[0]].concat()
    }

    fn piece(collection: &str, sum: Option<u64>) -> Vec<u8> {
        let end = [&b"\x08EOF\0"[..], &[u8::from(sum.is_some())]].concat();
        let sum = [&b"\x12CRC\0"[..], &sum.unwrap_or_default().to_le_bytes()].concat();
        bson(&[string("db", "app"), string("collection", collection), end, sum].concat())
    }

    fn listed(collection: &str, metadata: &str) -> Vec<u8> {
        let size = b"\x10size\0\x05\0\0\0".to_vec();
        let name = string("collection", collection);
        bson(&[string("db", "app"), name, string("metadata", metadata), size, string("type", "")].concat())
    }

    /// As mongodump 100 writes it: two collections in turns, an empty one, a view.
    fn archive() -> Vec<u8> {
        let (a, b, c) = (bson(&string("x", "1")), bson(&string("y", "22")), bson(&string("z", "333")));
        let end = TERMINATOR.to_le_bytes().to_vec();
        let sum = |documents: &[&Vec<u8>]| {
            let mut digest = CHECKSUM.digest();
            for document in documents {
                digest.update(document);
            }
            Some(digest.finalize())
        };
        let parts = [
            MAGIC.to_le_bytes().to_vec(),
            bson(&string("version", "0.1")),
            [listed("one", "{}"), listed("two", ""), listed("none", ""), listed("v", "{\"viewOn\":\"one\"}")]
                .concat(),
            end.clone(),
            [piece("one", None), a.clone(), b.clone(), end.clone()].concat(),
            [piece("two", None), c.clone(), end.clone()].concat(),
            [piece("one", None), c.clone(), end.clone()].concat(),
            [piece("none", sum(&[])), end.clone()].concat(),
            [piece("one", sum(&[&a, &b, &c])), end.clone()].concat(),
            [piece("two", sum(&[&c])), end].concat(),
        ];
        parts.concat()
    }

    async fn is_whole(archive: &[u8]) -> bool {
        read(&mut &archive[..]).await.is_ok()
    }

    #[tokio::test]
    async fn an_archive_is_whole_or_it_is_not() {
        let archive = archive();
        let listed = read(&mut &archive[..]).await.unwrap();
        assert_eq!(listed.len(), 3);
        assert_eq!(database(&mut &archive[..]).await.as_deref(), Some("app"));
        for length in 0..archive.len() {
            assert!(!is_whole(&archive[..length]).await, "{length}");
        }
        let content = archive.windows(3).position(|bytes| bytes == b"333").unwrap();
        let mut changed = archive.clone();
        changed[content] ^= 1;
        assert!(!is_whole(&changed).await);
    }

    #[tokio::test]
    async fn any_bytes_are_read_without_a_panic() {
        let archive = archive();
        for at in 0..archive.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = archive.clone();
                changed[at] = value;
                is_whole(&changed).await;
            }
        }
    }
}
