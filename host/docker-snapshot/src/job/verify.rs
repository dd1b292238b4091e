//! Looks whether snapshots are sound: the file against the SHA-256 beside it, then the archive inside against its
//! own checksums, so that what is damaged is named. What lies in a store is fetched once, as it lies there, into
//! a file without a name. Quickly, only what an archive says of itself is looked at, in a few requests.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;
use snapshotter::observer::Run;
use snapshotter::{Archive, ListOptions, list, verify};
use snapshotter_vault::encode::{Compression, Decoder, Encryption, Keys};

use crate::job::description::Passport;
use crate::job::file::{self, Sum};
use crate::job::found::{Found, Whence};
use crate::job::{checked, contents, offset};
use crate::words;

/// What was found out about a snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) file: String,
    pub(crate) ok: bool,
    /// Whether its SHA-256 is the one beside it; none where none is there, or it was not looked at.
    pub(crate) sha256: Option<bool>,
    /// None where the archive could not be looked into.
    pub(crate) entries: Option<u64>,
    /// With how many of them nothing is wrong; none where that was not looked at.
    pub(crate) sound: Option<u64>,
    pub(crate) bytes: u64,
    pub(crate) problems: Vec<String>,
    /// What could not be checked, and is no problem.
    pub(crate) notes: Vec<String>,
}

impl Verdict {
    fn new(found: &Found) -> Self {
        Verdict {
            file: found.shown(),
            ok: false,
            sha256: None,
            entries: None,
            sound: None,
            bytes: found.bytes,
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn finished(mut self) -> Self {
        self.ok = self.problems.is_empty();
        self
    }

    /// Holds what is in the archive against what stands beside it.
    fn compare(&mut self, last: Option<(&str, Option<u64>)>, passport: Option<&Passport>) {
        let Some((id, entries)) = last else {
            return self.problems.push("no sound snapshot is in it".to_owned());
        };
        self.entries = entries;
        let (Some(passport), Some(entries)) = (passport, entries) else { return };
        let written: u64 = passport.volumes.iter().map(|volume| volume.entries).sum();
        if (id, entries) != (&passport.id, written) {
            self.problems.push(format!(
                "the snapshot {id} with {entries} entries is in it, and the JSON tells of {} with {written}",
                passport.id
            ));
        }
    }
}

/// Looks whether `found` is sound. What is wrong with it is in what is returned; `spool` is a directory for what
/// must be kept meanwhile.
///
/// # Errors
/// When it cannot be found out: it cannot be read, or not be decrypted.
pub(crate) fn check(
    found: &Found,
    keys: &Keys,
    quick: bool,
    spool: &Path,
    run: &Run<'_>,
) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict::new(found);
    let passport = found.description.as_ref().and_then(|description| description.passport.as_ref());
    if let Some(was) = passport.map(|passport| passport.file.bytes).filter(|was| *was != found.bytes) {
        verdict.problems.push(format!("it has {} bytes, and had {was} when it was made", found.bytes));
    }
    if quick {
        if !offset::is_possible(found.encoding) {
            bail!(
                "cannot look at {} quickly: gzip and OpenPGP are read as a whole: leave --quick out",
                found.shown()
            );
        }
        let listed = offset::archive(found, keys).and_then(|archive| Ok(list(&options(archive), run)?));
        let listed = listed.with_context(|| format!("cannot verify {}", found.shown()))?;
        verdict.problems.extend(listed.problems.into_iter().map(|problem| problem.reason));
        let last = listed.snapshots.last().map(|last| (last.id.as_str(), Some(last.entries)));
        verdict.compare(last, passport);
        return Ok(verdict.finished());
    }
    let (file, sum) = copy(found, spool)?;
    match found.expected() {
        Ok(expected) => {
            verdict.sha256 = Some(sum.sha256.eq_ignore_ascii_case(expected));
            if verdict.sha256 == Some(false) {
                let problem = format!("its SHA-256 is {}, and was {expected} when it was made", sum.sha256);
                verdict.problems.push(problem);
            }
        }
        Err(note) => verdict.notes.push(note),
    }
    let damaged = !verdict.problems.is_empty();
    match inside(found, file, keys, spool).and_then(|inside| look(inside, &mut verdict, passport, run)) {
        // What does not even open for its damage is damaged.
        Err(error) if damaged => verdict.problems.push(words::message(&error)),
        looked => looked?,
    }
    Ok(verdict.finished())
}

fn options(archive: Archive) -> ListOptions {
    ListOptions { archive, ..ListOptions::default() }
}

/// What is inside of a file.
enum Inside {
    Archive(Archive),
    /// A tar of another program.
    Foreign,
}

fn look(
    inside: Inside,
    verdict: &mut Verdict,
    passport: Option<&Passport>,
    run: &Run<'_>,
) -> anyhow::Result<()> {
    let Inside::Archive(archive) = inside else {
        verdict.notes.push("it is a tar of another program, which has no checksums of its own".to_owned());
        return Ok(());
    };
    let verified = verify(&options(archive), run)?;
    verdict.problems.extend(verified.problems.iter().map(|problem| problem.reason.clone()));
    let last = verified.snapshots.last();
    verdict.sound = last.map(|last| last.sound);
    verdict.compare(last.map(|last| (last.id.as_str(), last.entries)), passport);
    if !verified.ok && verdict.problems.is_empty() {
        verdict.problems.push("a snapshot in it is not one that this version restores".to_owned());
    }
    Ok(())
}

/// A file with what `found` is, and its sum.
fn copy(found: &Found, spool: &Path) -> anyhow::Result<(File, Sum)> {
    if let Whence::File(path) = &found.whence {
        let failed = || format!("cannot read {}", path.display());
        return Ok((File::open(path).with_context(failed)?, file::sum_of(path)?));
    }
    let failed = || format!("cannot fetch {} into {}", found.shown(), spool.display());
    fs::create_dir_all(spool).with_context(failed)?;
    let mut file = tempfile::tempfile_in(spool).with_context(failed)?;
    let sum = file::copy(&mut checked::raw(found)?, &mut file).with_context(failed)?;
    Ok((file, sum))
}

/// What is inside of `file`, which is as `found` lies there.
fn inside(found: &Found, mut file: File, keys: &Keys, spool: &Path) -> anyhow::Result<Inside> {
    let (encoding, shown) = (found.encoding, found.shown());
    let failed = || format!("cannot read {shown}");
    file.rewind().with_context(failed)?;
    let is_plain = encoding.compression == Compression::None && encoding.encryption == Encryption::None;
    let mut first = [0; contents::BLOCK];
    if !is_plain && offset::is_possible(encoding) {
        let mut decoder = Decoder::new(file.try_clone()?, encoding, keys).with_context(failed)?;
        // Where the beginning is damaged, what follows it may be sound.
        let is_foreign = decoder.read_exact(&mut first).is_ok() && !contents::is_begin(&first);
        if is_foreign {
            return io::copy(&mut decoder, &mut io::sink()).map(|_| Inside::Foreign).with_context(failed);
        }
        drop(decoder);
        return offset::salvaged(found, Some(file), keys).map(Inside::Archive);
    }
    if !is_plain {
        fs::create_dir_all(spool).with_context(failed)?;
        let mut decoder = Decoder::new_in(file, encoding, keys, spool).with_context(failed)?;
        file = tempfile::tempfile_in(spool).with_context(failed)?;
        io::copy(&mut decoder, &mut file).with_context(failed)?;
    }
    if file.read_exact_at(&mut first, 0).is_ok() && !contents::is_begin(&first) {
        return Ok(Inside::Foreign);
    }
    Ok(Inside::Archive(offset::of_file(file, shown.clone()).with_context(failed)?))
}
