//! Which backups a store has, from their names and from the JSON file beside each.
//!
//! Neither is trusted: a store may be an enemy's. What a JSON file says is shown and judged by, but where a
//! backup lies, and so what it belongs to, is what the store says.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use crate::encode::Encoding;
use crate::retention::{Candidate, State};
use crate::store::{Name, Object, Result, Store};

/// The longest JSON file that is read.
const LONGEST: u64 = 4 << 20;
/// JSON files that are read at a time.
const AT_A_TIME: usize = 8;

/// What a store has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    /// Its backups, in the order of their names.
    pub backups: Vec<Backup>,
    /// JSON files whose backup is not there.
    pub widowed: Vec<Name>,
    /// Other files, which are only counted.
    pub others: u64,
}

/// A backup in a store.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// The encoded archive.
    pub object: Object,
    /// What is done to the archive, as the name says.
    pub encoding: Encoding,
    /// What it belongs to: the folder that it lies in, else what its name begins with.
    pub group: String,
    /// When it was made, by its JSON file, else by its name.
    pub time: Option<DateTime<Utc>>,
    /// What its JSON file says.
    pub about: About,
}

/// What is known of a backup from the file beside it.
#[derive(Debug, Clone, PartialEq)]
pub enum About {
    /// The file says this.
    Said(Box<Record>),
    /// There is no such file. A run may have been killed before it wrote one, or another program made it.
    Nothing,
    /// The file cannot be read, or is not what it should be, or not about this backup.
    Unreadable(String),
}

/// A JSON file, as docker-snapshot and Dockform write it. What else there is in it is of no matter here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Record {
    /// When it was made, in RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// The volume, of a backup of one.
    #[serde(default)]
    pub volume_name: Option<String>,
    /// Bytes of the files in it.
    #[serde(default)]
    pub uncompressed_bytes: Option<u64>,
    /// How many files there are in it.
    #[serde(default)]
    pub file_count: Option<u64>,
    /// Checksum of the encoded archive.
    #[serde(default)]
    pub checksum: Option<Checksum>,
    /// What its maker says about it.
    #[serde(default)]
    pub notes: Option<String>,
    /// What docker-snapshot adds.
    #[serde(default)]
    pub snapshotter: Option<Ours>,
}

/// A checksum of the encoded archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Checksum {
    /// Its kind: `sha256`.
    #[serde(default)]
    pub algo: String,
    /// It, in hexadecimal digits. The name is Dockform's.
    #[serde(default)]
    pub tar_zst: String,
}

/// What docker-snapshot adds to Dockform's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Ours {
    /// Bytes of the encoded archive.
    #[serde(default)]
    pub size: Option<u64>,
    /// The encoded archive, as passports have it.
    #[serde(default)]
    pub file: Option<File>,
    /// When it was read and found to be right, in RFC 3339.
    #[serde(default)]
    pub verified_at: Option<String>,
}

/// What a passport says of the encoded archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct File {
    /// Its length in bytes.
    #[serde(default)]
    pub bytes: Option<u64>,
}

impl Ours {
    fn length(&self) -> Option<u64> {
        self.size.or_else(|| self.file.as_ref()?.bytes)
    }
}

impl Backup {
    /// What retention has to know of it.
    pub fn candidate(&self) -> Candidate {
        let state = match &self.about {
            About::Unreadable(_) => State::Unreadable,
            About::Nothing => State::Good,
            About::Said(record) => {
                let verified =
                    record.snapshotter.as_ref().and_then(|ours| instant(ours.verified_at.as_deref()?));
                verified.map_or(State::Good, State::Verified)
            }
        };
        Candidate { group: self.group.clone(), name: self.object.name.to_string(), time: self.time, state }
    }

    /// The names of the files that belong to it, which are to be removed with it: JSON files first, so that
    /// what is left by a kill in between is a backup without one, and not the reverse.
    pub fn files(&self) -> Vec<Name> {
        let named =
            records(&self.object.name, self.encoding).into_iter().filter_map(|name| name.parse().ok());
        named.chain([self.object.name.clone()]).collect()
    }
}

/// What `store` has in `folder`, and in those within it.
///
/// # Errors
///
/// When the store cannot be listed. A JSON file that cannot be read is an error of its backup alone.
pub async fn read(store: &dyn Store, folder: &str) -> Result<Catalog> {
    let listing = store.list(folder).await?;
    let mut catalog = Catalog { others: listing.foreign, ..Catalog::default() };
    let mut texts: BTreeMap<String, Object> = BTreeMap::new();
    let mut archives = Vec::new();
    for object in listing.objects {
        match Encoding::from_name(object.name.as_str()) {
            Some(encoding) => archives.push((object, encoding)),
            None if object.name.as_str().strip_suffix(".json").is_some() => {
                texts.insert(object.name.to_string(), object);
            }
            None => catalog.others += 1,
        }
    }
    let mut used = BTreeSet::new();
    let found: Vec<_> = archives
        .into_iter()
        .map(|(object, encoding)| {
            let name = records(&object.name, encoding).into_iter().find(|name| texts.contains_key(name));
            let text = name.as_ref().and_then(|name| texts.get(name)).cloned();
            used.extend(name);
            (object, encoding, text)
        })
        .collect();
    catalog.widowed =
        texts.iter().filter(|(name, _)| !used.contains(*name)).map(|(_, text)| text.name.clone()).collect();
    let backups = stream::iter(found).map(|(object, encoding, text)| async move {
        let about = match text {
            Some(text) => about(store, &object, &text).await,
            None => About::Nothing,
        };
        backup(object, encoding, about)
    });
    catalog.backups = backups.buffered(AT_A_TIME).collect().await;
    Ok(catalog)
}

/// The names that the JSON file of an archive can have: ours, and the one that Dockform looks for.
fn records(archive: &Name, encoding: Encoding) -> Vec<String> {
    let suffix = encoding.suffix();
    let stem = archive.as_str().strip_suffix(suffix.as_str()).unwrap_or(archive.as_str());
    vec![format!("{stem}.json"), format!("{stem}.tar.json")]
}

async fn about(store: &dyn Store, archive: &Object, text: &Object) -> About {
    if text.size > LONGEST {
        return About::Unreadable(format!("{} has {} bytes, which is too long", text.name, text.size));
    }
    let bytes = match store.get(text, 0..text.size).await {
        Ok(bytes) => bytes,
        Err(error) => return About::Unreadable(error.to_string()),
    };
    let record: Record = match serde_json::from_slice(&bytes) {
        Ok(record) => record,
        Err(error) => return About::Unreadable(format!("{}: {error}", text.name)),
    };
    match record.snapshotter.as_ref().and_then(Ours::length) {
        Some(size) if size != archive.size => {
            About::Unreadable(format!("it should have {size} bytes, and has {}", archive.size))
        }
        _ => About::Said(Box::new(record)),
    }
}

fn backup(object: Object, encoding: Encoding, about: About) -> Backup {
    let last = object.name.last();
    let stem = last.strip_suffix(encoding.suffix().as_str()).unwrap_or(last);
    let (before, named) = time_of(stem);
    let said = match &about {
        About::Said(record) => record.created_at.as_deref().and_then(instant),
        _ => None,
    };
    let group = match object.name.folder() {
        "" => before.trim_end_matches(['-', '_', '.']).to_owned(),
        folder => folder.to_owned(),
    };
    Backup { group, time: said.or(named), object, encoding, about }
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

/// What a name begins with, and the time in it: `2026-01-31T03-00-00Z` in UTC, as ours and Dockform's have it,
/// or `NAME-2026-01-31-030000`, as the sidecar's have it. That is the time of a clock in a place that the name
/// does not tell; it is taken for UTC, which can be wrong by hours.
fn time_of(stem: &str) -> (&str, Option<DateTime<Utc>>) {
    for (at, _) in stem.match_indices(|c: char| c.is_ascii_digit()) {
        let (before, rest) = stem.split_at(at);
        if before.ends_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        for (length, form) in [(20, "%Y-%m-%dT%H-%M-%SZ"), (17, "%Y-%m-%d-%H%M%S")] {
            let Some(text) = rest.get(..length) else { continue };
            if let Ok(time) = NaiveDateTime::parse_from_str(text, form) {
                return (before, Some(time.and_utc()));
            }
        }
        let date = rest.get(..10).and_then(|text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok());
        if let Some(time) = date.and_then(|date| date.and_hms_opt(0, 0, 0)) {
            return (before, Some(time.and_utc()));
        }
    }
    (stem, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Content, Limits, Settings, open};

    #[test]
    fn times_are_found_in_names() {
        for (stem, before, time) in [
            ("2026-01-31T03-04-05Z__spec-0011aabb", "", Some("2026-01-31T03:04:05Z")),
            ("app-2026-01-31-030405", "app-", Some("2026-01-31T03:04:05Z")),
            ("app2-2026-01-31", "app2-", Some("2026-01-31T00:00:00Z")),
            ("12026-01-31", "12026-01-31", None),
            ("2026-13-31T03-04-05Z", "2026-13-31T03-04-05Z", None),
            ("ü2026", "ü2026", None),
            ("backup", "backup", None),
        ] {
            assert_eq!(time_of(stem), (before, time.and_then(instant)), "{stem}");
        }
    }

    #[tokio::test]
    async fn a_catalog_is_read_from_names_and_json_files() {
        let scratch = tempfile::tempdir().unwrap();
        let address = scratch.path().to_str().unwrap().parse().unwrap();
        let store = open(&address, &Settings::default(), Limits::default()).unwrap();
        for (name, text) in [
            ("data/2026-01-31T03-04-05Z__spec-0011aabb.tar.zst", "four"),
            (
                "data/2026-01-31T03-04-05Z__spec-0011aabb.json",
                r#"{"volume_name": "data", "created_at": "2026-01-31T03:04:06Z", "file_count": 3, "else": [1],
                    "checksum": {"algo": "sha256", "tar_zst": "00"}, "snapshotter": {"size": 4}}"#,
            ),
            ("data/2026-02-01T03-04-05Z__spec-0011aabb.tar.zst.age", "x"),
            (
                "data/2026-02-01T03-04-05Z__spec-0011aabb.tar.json",
                r#"{"snapshotter": {"file": {"bytes": 2}}}"#,
            ),
            ("data/2026-02-02T03-04-05Z__spec-0011aabb.tar", "x"),
            ("data/2026-02-02T03-04-05Z__spec-0011aabb.json", "not JSON"),
            ("app-2026-02-03-030405.tar.gz.gpg", "x"),
            ("data/alone.json", "{}"),
            ("data/notes.txt", "x"),
        ] {
            store.put(&name.parse().unwrap(), Content::bytes(text.as_bytes().to_vec())).await.unwrap();
        }
        let catalog = read(&*store, "").await.unwrap();
        assert_eq!(catalog.others, 1);
        assert_eq!(catalog.widowed, ["data/alone.json".parse().unwrap()]);
        let seen: Vec<_> = catalog
            .backups
            .iter()
            .map(|backup| {
                let time = backup.time.unwrap().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                (backup.group.as_str(), time, backup.candidate().state)
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("app", "2026-02-03T03:04:05Z".to_owned(), State::Good),
                ("data", "2026-01-31T03:04:06Z".to_owned(), State::Good),
                ("data", "2026-02-01T03:04:05Z".to_owned(), State::Unreadable),
                ("data", "2026-02-02T03:04:05Z".to_owned(), State::Unreadable),
            ]
        );
        let About::Said(record) = &catalog.backups[1].about else { panic!() };
        assert_eq!((record.volume_name.as_deref(), record.file_count), (Some("data"), Some(3)));
        let files: Vec<_> = catalog.backups[1].files().iter().map(Name::to_string).collect();
        assert_eq!(files[0], "data/2026-01-31T03-04-05Z__spec-0011aabb.json");
        assert_eq!(files.last().unwrap(), "data/2026-01-31T03-04-05Z__spec-0011aabb.tar.zst");
    }
}
