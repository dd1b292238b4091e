//! What is in an archive: volumes of ours, or the content of one volume in a tar of another program, as
//! Dockform and Checkpoint make them.

use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use snapshotter::ListOptions;
use snapshotter::observer::Run;
use snapshotter_vault::encode::Keys;

use crate::job::description::VolumeSpec;
use crate::job::found::Found;
use crate::job::names::{is_legal, near};
use crate::job::{checked, offset};

/// The name of the first member of every archive of ours, in its first block.
const BEGIN: &[u8] = b".snapshot-begin\0";
pub(crate) const BLOCK: usize = 512;

/// What is in an archive.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The directory in it that the volumes are in; none in a tar of another program.
    pub(crate) prefix: Option<String>,
    pub(crate) volumes: Vec<Content>,
}

/// A volume in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) name: String,
    /// Where it was when it was read.
    pub(crate) path: String,
    /// What it was made from, where that is known.
    pub(crate) spec: Option<VolumeSpec>,
}

/// A volume of an archive, and the one of the engine that gets its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) from: Content,
    pub(crate) to: String,
}

/// What reads the archive inside of `found`, whose end comes when all of it was found to be right. This, and
/// what it gives, are for threads that may wait.
///
/// # Errors
/// When the file cannot be read, or not be decrypted.
pub(crate) fn open(found: &Found, keys: &Keys) -> anyhow::Result<Box<dyn Read + Send>> {
    checked::whole(found, keys)
}

/// Looks what is in `found`.
///
/// # Errors
/// When it cannot be read, or what stands beside it does not fit it.
pub(crate) fn of(found: &Found, keys: &Keys) -> anyhow::Result<Contents> {
    let shown = found.shown();
    let is_ours = is_ours(found, keys)?;
    if let Some(contents) = described(found)? {
        ensure!(is_ours, "cannot read {shown}: it is another file than the JSON beside it tells of");
        return Ok(contents);
    }
    if is_ours {
        return listed(found, keys)?.checked(found);
    }
    let name = found.name();
    let description = found.description.as_ref();
    let spec = description.map(|description| description.spec.clone());
    let path = format!("/{name}");
    Contents { prefix: None, volumes: vec![Content { name, path, spec }] }.checked(found)
}

/// What the JSON beside `found` says is in it, if that is one of ours. The archive is not looked at.
///
/// # Errors
/// When it says what cannot be.
pub(crate) fn described(found: &Found) -> anyhow::Result<Option<Contents>> {
    let description = found.description.as_ref();
    let Some(passport) = description.and_then(|description| description.passport.as_ref()) else {
        return Ok(None);
    };
    let volumes = passport.volumes.iter().map(|volume| Content {
        name: volume.name.clone(),
        path: volume.path.clone(),
        spec: Some(volume.spec.clone()),
    });
    let contents = Contents { prefix: Some(passport.prefix.clone()), volumes: volumes.collect() };
    contents.checked(found).map(Some)
}

fn is_ours(found: &Found, keys: &Keys) -> anyhow::Result<bool> {
    let mut block = [0; BLOCK];
    let failed = || format!("cannot read {}", found.shown());
    match checked::open(found, keys)?.read_exact(&mut block) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            bail!("{}: it is cut off, or no archive", failed())
        }
        read => read.with_context(failed)?,
    }
    Ok(is_begin(&block))
}

/// Whether `block` is the first of an archive of ours.
pub(crate) fn is_begin(block: &[u8; BLOCK]) -> bool {
    block.starts_with(BEGIN)
}

/// What an archive of ours says itself, that nothing stands beside.
fn listed(found: &Found, keys: &Keys) -> anyhow::Result<Contents> {
    let shown = found.shown();
    ensure!(
        offset::is_possible(found.encoding),
        "cannot tell which volumes are in {shown}: there is no JSON beside it: put it back, or unpack the \
         archive"
    );
    let archive = offset::archive(found, keys)?;
    let options = ListOptions { archive, ..ListOptions::default() };
    let listing = snapshotter::list(&options, &Run::default())?;
    let Some(last) = listing.snapshots.last() else {
        bail!("cannot restore {shown}: there is no snapshot in it")
    };
    let volumes = last.volumes.iter().map(|volume| Content {
        name: Path::new(&volume.path).file_name().unwrap_or_default().to_string_lossy().into_owned(),
        path: volume.path.clone(),
        spec: None,
    });
    Ok(Contents { prefix: Some(last.prefix.clone()), volumes: volumes.collect() })
}

impl Contents {
    /// Names in a JSON are anybody's.
    fn checked(self, found: &Found) -> anyhow::Result<Self> {
        for Content { name, .. } in &self.volumes {
            ensure!(
                is_legal(name) || self.prefix.is_none(),
                "cannot read {}: it names a volume `{name}`, which can be none",
                found.shown()
            );
        }
        Ok(self)
    }

    /// Which volume gets which content: `only` where one is named, and others than they were as `moves` say.
    ///
    /// # Errors
    /// When something is named that is not there, or two are to go to one place.
    pub(crate) fn pairs(self, only: Option<&str>, moves: &[(String, String)]) -> anyhow::Result<Vec<Pair>> {
        let names: Vec<_> = self.volumes.iter().map(|volume| volume.name.clone()).collect();
        let unknown = |name: &str| {
            let meant = near(name, names.iter().map(String::as_str));
            let meant = meant.map(|near| format!(": is {near} meant?")).unwrap_or_default();
            format!("cannot restore the volume {name}: the snapshot has {}{meant}", names.join(", "))
        };
        for (old, _) in moves {
            ensure!(names.contains(old), unknown(old));
        }
        let is_alone = names.len() == 1;
        let elsewhere = |name: &str| moves.iter().find(|(old, _)| old == name).map(|(_, new)| new.clone());
        let mut pairs = Vec::new();
        for from in self.volumes {
            let to = match (only, elsewhere(&from.name)) {
                (Some(only), to) if from.name == only => to.unwrap_or_else(|| only.to_owned()),
                // A snapshot of one volume can go to any other.
                (Some(only), None) if is_alone => only.to_owned(),
                (Some(_), _) => continue,
                (None, to) => to.unwrap_or_else(|| from.name.clone()),
            };
            ensure!(is_legal(&to), "cannot restore to `{to}`: that is no name of a volume: name one");
            if let Some(Pair { from: other, .. }) = pairs.iter().find(|pair: &&Pair| pair.to == to) {
                bail!("cannot restore {} and {} to one volume, {to}", other.name, from.name);
            }
            pairs.push(Pair { from, to });
        }
        ensure!(!pairs.is_empty(), unknown(only.unwrap_or_default()));
        Ok(pairs)
    }
}

/// Reads a value of `--volume`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_move(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if is_legal(old) && is_legal(new) => Ok((old.to_owned(), new.to_owned())),
        _ => {
            Err("give the volume's name in the snapshot and the one to restore to, as in old=new".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(names: &[&str]) -> Contents {
        let content =
            |name: &&str| Content { name: (*name).to_owned(), path: format!("/volumes/{name}"), spec: None };
        Contents { prefix: Some("shop".to_owned()), volumes: names.iter().map(content).collect() }
    }

    fn pairs(
        names: &[&str],
        only: Option<&str>,
        moves: &[(&str, &str)],
    ) -> anyhow::Result<Vec<(String, String)>> {
        let moves: Vec<_> = moves.iter().map(|&(old, new)| (old.to_owned(), new.to_owned())).collect();
        let pairs = contents(names).pairs(only, &moves)?;
        Ok(pairs.into_iter().map(|pair| (pair.from.name, pair.to)).collect())
    }

    fn expect(found: anyhow::Result<Vec<(String, String)>>, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|&(from, to)| (from.to_owned(), to.to_owned())).collect();
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn volumes_go_where_they_came_from_or_where_one_says() {
        expect(pairs(&["a", "b"], None, &[]), &[("a", "a"), ("b", "b")]);
        expect(pairs(&["a", "b"], Some("b"), &[]), &[("b", "b")]);
        expect(pairs(&["a", "b"], None, &[("a", "c")]), &[("a", "c"), ("b", "b")]);
        expect(pairs(&["a", "b"], None, &[("a", "b"), ("b", "a")]), &[("a", "b"), ("b", "a")]);
        expect(pairs(&["a"], Some("z"), &[]), &[("a", "z")]);
    }

    #[test]
    fn what_is_meant_in_two_ways_or_none_is_refused() {
        let refused = |names: &[&str], only, moves: &[_]| pairs(names, only, moves).unwrap_err().to_string();
        assert!(refused(&["data", "cache"], Some("dat"), &[]).contains("is data meant?"));
        assert!(refused(&["data"], None, &[("x", "y")]).contains("the snapshot has data"));
        assert!(refused(&["a", "b"], None, &[("a", "b")]).contains("to one volume"));
        assert!(refused(&["a"], Some("../x"), &[]).contains("no name of a volume"));
        for text in ["a", "=b", "a=", "a=/b", "../a=b", "a=b=c"] {
            assert!(parse_move(text).is_err(), "{text}");
        }
    }
}
