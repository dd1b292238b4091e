//! Looks up what goes into a passport: the containers that use the volumes, and where a project was made
//! from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use snapshotter_engine::Result;
use snapshotter_engine::api::Engine;
use snapshotter_engine::api::container::{Container, Mount};
use snapshotter_engine::compose::{self, Membership};
use snapshotter_engine::lease::Manner;

use crate::job::description::{ComposeFile, ComposePassport, ContainerPassport, MountPassport, SetKind};
use crate::job::selection::Set;

/// The longest compose file that is kept, and how many are.
const LENGTH: u64 = 256 << 10;
const FILES: usize = 16;

/// The containers that use the volumes of `set`.
///
/// # Errors
/// When the engine does not say what their images are.
pub(crate) async fn containers(
    engine: &Engine,
    set: &Set,
    all: &[Container],
    resting: &BTreeMap<String, Manner>,
) -> Result<Vec<ContainerPassport>> {
    let users: BTreeSet<_> =
        set.volumes.iter().flat_map(|volume| &volume.users).map(|user| user.id.as_str()).collect();
    let mut digests: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut passports = Vec::new();
    for container in all.iter().filter(|container| users.contains(container.id.as_str())) {
        let image = container.image_id.as_str();
        if !image.is_empty() && !digests.contains_key(image) {
            digests.insert(image, engine.image_digests(image).await?);
        }
        let member = Membership::of(&container.config.labels);
        passports.push(ContainerPassport {
            name: container.name().to_owned(),
            id: container.id.clone(),
            image: container.config.image.clone(),
            image_id: image.to_owned(),
            image_digests: digests.get(image).cloned().unwrap_or_default(),
            project: member.as_ref().map(|member| member.project.clone()),
            service: member.map(|member| member.service),
            state: container.state.status.word().to_owned(),
            rested: resting.get(&container.id).map(|&manner| word(manner).to_owned()),
            mounts: container.mounts.iter().map(mount).collect(),
        });
    }
    Ok(passports)
}

fn mount(mount: &Mount) -> MountPassport {
    let source = if mount.kind == "volume" { &mount.name } else { &mount.source };
    MountPassport {
        kind: mount.kind.clone(),
        source: source.clone(),
        target: mount.destination.clone(),
        writable: mount.writable,
    }
}

/// How a container rested.
fn word(manner: Manner) -> &'static str {
    match manner {
        Manner::Stop => "stopped",
        Manner::Pause => "paused",
    }
}

/// Where the project `set` was made from, as its containers say; with what is in its files only if
/// `with_text`.
pub(crate) fn compose(set: &Set, all: &[Container], with_text: bool) -> Option<ComposePassport> {
    if set.kind != SetKind::Project {
        return None;
    }
    let labels = all.iter().map(|container| &container.config.labels);
    let mut of_project =
        labels.filter(|labels| Membership::of(labels).is_some_and(|member| member.project == set.name));
    let labels = of_project.next()?;
    let directory = compose::directory(labels)?;
    let files = compose::files(labels);
    // Version 1 writes them as they were given.
    let files = files.into_iter().take(FILES).map(|path| file(Path::new(directory), path, with_text));
    let (project, directory) = (set.name.clone(), directory.to_owned());
    Some(ComposePassport { project, directory, files: files.collect() })
}

/// What is known of the compose file at `path`. Labels come with images as well, so any file of this machine
/// may be named: what is none by its name or its kind is not read.
fn file(directory: &Path, path: &str, with_text: bool) -> ComposeFile {
    let at = directory.join(path);
    let is_yaml = at.extension().is_some_and(|extension| extension == "yml" || extension == "yaml");
    let is_file = || fs::metadata(&at).is_ok_and(|about| about.is_file() && about.len() <= LENGTH);
    let text = if is_yaml && is_file() { fs::read(&at).ok() } else { None };
    ComposeFile {
        path: path.to_owned(),
        sha256: text.as_ref().map(|text| hex::encode(Sha256::digest(text))),
        text: text.filter(|_| with_text).and_then(|text| String::from_utf8(text).ok()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn compose_files_are_kept_and_nothing_else_of_this_machine() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("compose.yaml"), "services: {}\n").unwrap();
        fs::write(at("id_rsa"), "secret").unwrap();
        fs::write(at("latin.yml"), b"\xe9").unwrap();
        fs::write(at("long.yml"), vec![b'#'; usize::try_from(LENGTH).unwrap() + 1]).unwrap();
        symlink("/dev/zero", at("endless.yml")).unwrap();
        let known = |name: &str, with_text| {
            let ComposeFile { sha256, text, .. } = file(directory.path(), name, with_text);
            (sha256.is_some(), text)
        };
        assert_eq!(known("compose.yaml", true), (true, Some("services: {}\n".to_owned())));
        assert_eq!(known("compose.yaml", false), (true, None));
        assert_eq!(known("latin.yml", true), (true, None));
        for name in ["id_rsa", "long.yml", "endless.yml", "gone.yml", "../../etc/passwd"] {
            assert_eq!(known(name, true), (false, None), "{name}");
        }
        let at = at("compose.yaml");
        assert!(known(at.to_str().unwrap(), true).0);
    }
}
