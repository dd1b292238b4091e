//! `list`: which snapshots there are in a directory or a store.

use clap::Args;
use serde::Serialize;
use snapshotter_vault::encode::Encryption;

use crate::cli::connection::block_on;
use crate::cli::table::table;
use crate::cli::vault::depot;
use crate::cli::{output, size};
use crate::job::depot::Depot;
use crate::job::description::Grade;
use crate::job::found::{self, DIRECTORY, Directory, Found, kind_word};
use crate::job::shelf;

pub(crate) const EXAMPLE: &str = "\
Examples:
  docker snapshot list
  docker snapshot list /srv/backups
  docker snapshot list s3://bucket/backups
  docker snapshot list --json | jq -r '.snapshots[] | select(.name == \"shop\") | .file'";

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Where to look: a directory or a store
    #[arg(value_name = "STORE", default_value = DIRECTORY)]
    store: String,
}

#[derive(Debug, Serialize)]
struct Listing {
    directory: String,
    snapshots: Vec<Listed>,
    problems: Vec<String>,
}

/// A snapshot. What is not known of a file that nothing stands beside is `null`.
#[derive(Debug, Serialize)]
struct Listed {
    file: String,
    /// Of what it is: the name of a volume, a container or a project.
    name: String,
    kind: Option<&'static str>,
    created_at: Option<String>,
    volumes: Vec<String>,
    bytes: u64,
    uncompressed_bytes: Option<u64>,
    entries: Option<u64>,
    sha256: Option<String>,
    encrypted: bool,
    /// The worst of its volumes.
    grade: Option<Grade>,
    note: Option<String>,
    /// Whether there is a JSON beside it, without which nobody vouches for the file as a whole.
    described: bool,
}

impl Listed {
    fn of(archive: &Found) -> Self {
        let description = archive.description.as_ref();
        let passport = description.and_then(|description| description.passport.as_ref());
        Listed {
            file: archive.shown(),
            name: archive.name(),
            kind: passport.map(|passport| kind_word(passport.kind)),
            created_at: archive.time(),
            volumes: archive.volumes().into_iter().map(str::to_owned).collect(),
            bytes: archive.bytes,
            uncompressed_bytes: description.map(|description| description.uncompressed_bytes),
            entries: description.map(|description| description.file_count),
            sha256: description.map(|description| description.checksum.tar_zst.clone()),
            encrypted: archive.encoding.encryption != Encryption::None,
            grade: passport.and_then(|passport| passport.volumes.iter().map(|volume| volume.grade).max()),
            note: description.and_then(|description| description.notes.clone()),
            described: description.is_some(),
        }
    }

    fn row(&self) -> Vec<String> {
        let absent = || "-".to_owned();
        let note = match &self.note {
            _ if !self.described => "no JSON beside it".to_owned(),
            note => note.clone().unwrap_or_default(),
        };
        vec![
            self.created_at.clone().unwrap_or_else(absent),
            self.name.clone(),
            if self.volumes.is_empty() { absent() } else { self.volumes.join(", ") },
            size::bytes(self.bytes),
            self.grade.map_or_else(absent, |grade| grade.word().to_owned()),
            self.file.clone(),
            note,
        ]
    }
}

impl List {
    /// Lists them.
    ///
    /// # Errors
    /// When the directory cannot be read, and when something in it cannot, which is said after the others.
    pub(crate) fn run(&self, json: bool) -> anyhow::Result<()> {
        let shown = &self.store;
        let found = found_in(shown)?;
        let snapshots: Vec<_> = found.archives.iter().map(Listed::of).collect();
        if json {
            output::print_json(&Listing {
                directory: shown.clone(),
                snapshots,
                problems: found.problems.clone(),
            })?;
        } else if snapshots.is_empty() {
            output::print_line(output::one_line(&format!("no snapshots in {shown}")))?;
        } else {
            let rows: Vec<_> = snapshots.iter().map(Listed::row).collect();
            output::print_line(table(&["TAKEN", "OF", "VOLUMES", "SIZE", "GRADE", "FILE", "NOTE"], &rows))?;
        }
        if found.problems.is_empty() {
            return Ok(());
        }
        found.problems.iter().for_each(|problem| output::say(problem));
        Err(output::Told.into())
    }
}

/// The snapshots in `store`, a directory or the address of a store.
///
/// # Errors
/// When it is not there, or cannot be read.
pub(super) fn found_in(store: &str) -> anyhow::Result<Directory> {
    match depot(store)? {
        Depot::Directory(directory) => {
            anyhow::ensure!(
                directory.is_dir(),
                "cannot list the snapshots in {store}: it is no directory that is there: make one with `docker \
                 snapshot create`, or name another"
            );
            found::below(&directory)
        }
        Depot::Store(store) => block_on(shelf::all(&store)),
    }
}
