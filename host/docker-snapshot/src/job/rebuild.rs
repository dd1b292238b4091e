//! Brings projects back on a machine that has nothing but the engine: which snapshots that takes, the compose
//! files that stood beside them, and the start. What a JSON says may be anybody's: files are written below
//! one directory only, and never over others.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};
use snapshotter_engine::Result;
use snapshotter_engine::api::Engine;

use crate::job::description::{ComposeFile, ComposePassport, ContainerPassport, Passport, SetKind};
use crate::job::found::Found;
use crate::job::names;
use crate::job::place::{new_file, nonce, rename};

/// A snapshot that is to be restored, and which volume of it alone where others come from a newer one.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) archive: Found,
    pub(crate) only: Option<String>,
}

/// The newest snapshot of each set, projects first, so that each volume comes back once: from its project's,
/// and only where it is in none from its own. The second value says which sets are left out for that.
pub(crate) fn pieces(mut all: Vec<Found>) -> (Vec<Piece>, Vec<String>) {
    // The oldest is first.
    all.reverse();
    let mut names = BTreeSet::new();
    all.retain(|found| names.insert(found.name()));
    all.sort_by_key(|found| {
        passport(found).map_or(SetKind::Volume, |passport| passport.kind) != SetKind::Project
    });
    let mut covered = BTreeSet::new();
    let (mut pieces, mut left) = (Vec::new(), Vec::new());
    for archive in all {
        let volumes: Vec<_> = archive.volumes().into_iter().map(str::to_owned).collect();
        let new: Vec<_> = volumes.iter().filter(|volume| !covered.contains(*volume)).cloned().collect();
        covered.extend(volumes.iter().cloned());
        if new.len() == volumes.len() {
            pieces.push(Piece { archive, only: None });
        } else if let [only] = &new[..] {
            pieces.push(Piece { archive, only: Some(only.clone()) });
        } else if new.is_empty() {
            left.push(archive.name());
        } else {
            // One restore takes one volume or all; so many shared volumes are somebody's decision.
            left.push(format!("{} (with {})", archive.name(), new.join(", ")));
        }
    }
    (pieces, left)
}

/// What stands beside an archive.
pub(crate) fn passport(found: &Found) -> Option<&Passport> {
    found.description.as_ref()?.passport.as_ref()
}

/// An image that containers were made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Needed {
    pub(crate) image: String,
    /// A name by which that very image can be pulled, where it has one.
    pub(crate) digest: Option<String>,
}

/// The images of `containers` that `engine` does not have.
///
/// # Errors
/// When the engine does not say.
pub(crate) async fn missing_images(
    engine: &Engine,
    containers: &[&ContainerPassport],
) -> Result<Vec<Needed>> {
    let needed: BTreeSet<_> = containers
        .iter()
        .map(|container| Needed {
            image: container.image.clone(),
            digest: container.image_digests.first().cloned(),
        })
        .collect();
    let mut missing = Vec::new();
    for image in needed {
        if engine.image(&image.image).await?.is_none() {
            missing.push(image);
        }
    }
    Ok(missing)
}

/// Where the files of `compose` are to be, below `into`: those whose text is known, and those whose is not.
///
/// # Errors
/// When a name leads elsewhere, or a text is not the one that was hashed.
pub(crate) fn files<'a>(compose: &'a ComposePassport, into: &Path) -> anyhow::Result<Files<'a>> {
    let project = &compose.project;
    ensure!(names::is_legal(project), "cannot write the compose files of {project}: no project is called so");
    let directory = into.join(project);
    let mut files = Files { directory, known: Vec::new(), unknown: Vec::new() };
    for file in &compose.files {
        let name = relative(compose, file)?;
        let Some(text) = &file.text else {
            files.unknown.push(name);
            continue;
        };
        let hash = hex::encode(Sha256::digest(text));
        ensure!(
            file.sha256.as_deref() == Some(hash.as_str()),
            "cannot write the compose file {}: its text is not the one that was stored: take another snapshot",
            file.path
        );
        files.known.push((name, text.as_str()));
    }
    Ok(files)
}

/// Compose files, by their names below a directory.
#[derive(Debug)]
pub(crate) struct Files<'a> {
    pub(crate) directory: PathBuf,
    known: Vec<(PathBuf, &'a str)>,
    /// Those whose text is not known.
    pub(crate) unknown: Vec<PathBuf>,
}

/// The name of `file` below the project's directory; what lay elsewhere lies in that itself.
fn relative(compose: &ComposePassport, file: &ComposeFile) -> anyhow::Result<PathBuf> {
    let path = Path::new(&file.path);
    let inside = if path.is_absolute() { path.strip_prefix(&compose.directory).ok() } else { Some(path) };
    let is_plain = |path: &&Path| {
        path.components().all(|part| matches!(part, Component::Normal(_))) && path.file_name().is_some()
    };
    let name = inside.filter(is_plain).or(path.file_name().map(Path::new));
    match name {
        Some(name) => Ok(name.to_owned()),
        None => bail!("cannot write the compose file {}: that is no name of a file", file.path),
    }
}

impl Files<'_> {
    /// Looks whether they can be written: nothing else has one of their names.
    ///
    /// # Errors
    /// When something has.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for (name, text) in &self.known {
            let path = self.directory.join(name);
            match fs::read(&path) {
                Ok(there) if there == text.as_bytes() => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Ok(_) => bail!(
                    "cannot write {}: there is another file: move it away, or name another directory with --into",
                    path.display()
                ),
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
        }
        Ok(())
    }

    /// Writes them, and returns their paths. What is there already and the same stays.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(crate) fn write(&self) -> anyhow::Result<Vec<PathBuf>> {
        self.check()?;
        let mut paths = Vec::new();
        for (name, text) in &self.known {
            let path = self.directory.join(name);
            write_new(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            paths.push(path);
        }
        Ok(paths)
    }
}

/// Writes a file that its owner alone can read, since it may hold passwords; one that is there is left.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", nonce()));
    let mut file = new_file(&temporary)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let named = written.and_then(|()| rename(&temporary, path));
    if named.is_err() {
        fs::remove_file(&temporary)?;
    }
    match named {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        named => named,
    }
}

/// The command line that starts `project`, made from `files` in `directory`.
pub(crate) fn start_command(
    compose: &[&str],
    project: &str,
    directory: &Path,
    files: &[PathBuf],
) -> Vec<String> {
    let mut command: Vec<_> = compose.iter().map(|&word| word.to_owned()).collect();
    command.extend(["--project-name".to_owned(), project.to_owned()]);
    command.extend(["--project-directory".to_owned(), directory.display().to_string()]);
    for file in files {
        command.extend(["--file".to_owned(), file.display().to_string()]);
    }
    command.extend(["up".to_owned(), "--detach".to_owned()]);
    command
}

/// The compose that there is: docker's plugin, or the program of its own.
pub(crate) fn compose() -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    WAYS.into_iter().find(|way| {
        let mut command = Command::new(way[0]);
        command
            .args(&way[1..])
            .arg("version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compose_of(files: &[(&str, &str)]) -> ComposePassport {
        let file = |&(path, text): &(&str, &str)| ComposeFile {
            path: path.to_owned(),
            sha256: Some(hex::encode(Sha256::digest(text))),
            text: Some(text.to_owned()),
        };
        ComposePassport {
            project: "shop".to_owned(),
            directory: "/srv/shop".to_owned(),
            files: files.iter().map(file).collect(),
            sealed: None,
        }
    }

    #[test]
    fn compose_files_are_written_below_the_directory_and_over_nothing() {
        let into = tempfile::tempdir().unwrap();
        let compose =
            compose_of(&[("/srv/shop/compose.yml", "a"), ("parts/b.yml", "b"), ("/etc/c.yml", "c")]);
        let paths = files(&compose, into.path()).unwrap().write().unwrap();
        let shop = into.path().join("shop");
        let expected = ["compose.yml", "parts/b.yml", "c.yml"].map(|name| shop.join(name));
        assert_eq!(paths, expected);
        assert_eq!(fs::read_to_string(&paths[1]).unwrap(), "b");
        // Once more: the same, and nothing is left of the way there.
        files(&compose, into.path()).unwrap().write().unwrap();
        assert_eq!(fs::read_dir(&shop).unwrap().count(), 3);

        fs::write(&paths[0], "mine").unwrap();
        let error = files(&compose, into.path()).unwrap().write().unwrap_err();
        assert!(error.to_string().contains("another file"), "{error}");
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "mine");
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let into = tempfile::tempdir().unwrap();
        for path in ["../../x.yml", "/srv/shop/../../x.yml", "/x.yml", "./a/../../x.yml"] {
            let paths = files(&compose_of(&[(path, "x")]), into.path()).unwrap().write().unwrap();
            assert_eq!(paths, [into.path().join("shop/x.yml")], "{path}");
        }
        for path in ["/", "..", ""] {
            assert!(files(&compose_of(&[(path, "x")]), into.path()).is_err(), "{path}");
        }
        for project in ["../up", "", "a/b", "."] {
            let compose = ComposePassport { project: project.to_owned(), ..compose_of(&[("a.yml", "a")]) };
            assert!(files(&compose, into.path()).is_err(), "{project}");
        }
    }

    #[test]
    fn a_text_that_was_changed_is_refused_and_one_that_is_missing_is_named() {
        let into = tempfile::tempdir().unwrap();
        let mut compose = compose_of(&[("a.yml", "a"), ("b.yml", "b")]);
        compose.files[0].text = None;
        let found = files(&compose, into.path()).unwrap();
        assert_eq!(found.unknown, [Path::new("a.yml")]);
        compose.files[1].text = Some("other".to_owned());
        assert!(files(&compose, into.path()).is_err());
    }
}
