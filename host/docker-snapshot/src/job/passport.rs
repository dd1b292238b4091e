//! Looks up what goes into a passport: the containers that use the volumes, and where a project was made
//! from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::Context;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};
use snapshotter_engine::Result;
use snapshotter_engine::api::Engine;
use snapshotter_engine::api::container::{Container, Mount};
use snapshotter_engine::compose::{self, Membership};
use snapshotter_engine::lease::Manner;
use snapshotter_vault::encode::{Compression, Decoder, Encoder, Encoding, Encryption, Keys, Seal};

use crate::job::description::{ComposeFile, ComposePassport, ContainerPassport, MountPassport, SetKind};
use crate::job::selection::Set;

/// How much of compose files is kept in bytes, all together, and how many are: what lists snapshots reads it.
const LENGTH: u64 = 128 << 10;
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

/// Where the project `set` was made from, as its containers say. What is in its files is encrypted with `seal`, as
/// the archive is.
///
/// # Errors
/// When it cannot be encrypted.
pub(crate) fn compose(set: &Set, all: &[Container], seal: &Seal) -> anyhow::Result<Option<ComposePassport>> {
    if set.kind != SetKind::Project {
        return Ok(None);
    }
    let labels = all.iter().map(|container| &container.config.labels);
    let mut of_project =
        labels.filter(|labels| Membership::of(labels).is_some_and(|member| member.project == set.name));
    let Some(labels) = of_project.next() else { return Ok(None) };
    let Some(directory) = compose::directory(labels) else { return Ok(None) };
    let mut room = LENGTH;
    // Version 1 writes them as they were given.
    let paths = compose::files(labels).into_iter().take(FILES);
    let mut files: Vec<_> = paths.map(|path| file(Path::new(directory), path, &mut room)).collect();
    let sealed = sealed(&mut files, seal)?;
    let (project, directory) = (set.name.clone(), directory.to_owned());
    Ok(Some(ComposePassport { project, directory, files, sealed }))
}

/// `files` with what is in them, encrypted, where `seal` says for whom; they have no text then.
fn sealed(files: &mut [ComposeFile], seal: &Seal) -> anyhow::Result<Option<String>> {
    if seal.encryption() == Encryption::None {
        return Ok(None);
    }
    let mut encoder = Encoder::new(Vec::new(), Compression::None, seal)?;
    serde_json::to_writer(&mut encoder, &*files).context("cannot encrypt the compose files")?;
    for file in files {
        file.text = None;
    }
    Ok(Some(BASE64_STANDARD.encode(encoder.finish()?.0)))
}

/// The files of `compose` with what is in them, decrypted with `keys` where it stands beside an archive with
/// `encryption`.
///
/// # Errors
/// When the keys are others, or what they decrypt is no list of files.
pub(crate) fn opened(
    compose: &ComposePassport,
    encryption: Encryption,
    keys: &Keys,
) -> anyhow::Result<ComposePassport> {
    let Some(sealed) = &compose.sealed else { return Ok(compose.clone()) };
    let failed = || format!("cannot read the compose files of {}, which are encrypted", compose.project);
    let sealed = BASE64_STANDARD.decode(sealed).with_context(failed)?;
    let encoding = Encoding { compression: Compression::None, encryption };
    let mut text = Vec::new();
    let decoder = Decoder::new(Cursor::new(sealed), encoding, keys).with_context(failed)?;
    decoder.take(4 * LENGTH + (1 << 20)).read_to_end(&mut text).with_context(failed)?;
    let files = serde_json::from_slice(&text).with_context(failed)?;
    Ok(ComposePassport { files, sealed: None, ..compose.clone() })
}

/// What is known of the compose file at `path`, of which there is `room` for so many bytes. Labels come with images
/// as well, so any file of this machine may be named: what is none by its name or its kind is not read.
fn file(directory: &Path, path: &str, room: &mut u64) -> ComposeFile {
    let at = directory.join(path);
    let is_yaml = at.extension().is_some_and(|extension| extension == "yml" || extension == "yaml");
    let is_file = || fs::metadata(&at).is_ok_and(|about| about.is_file() && about.len() <= *room);
    let text = if is_yaml && is_file() { fs::read(&at).ok() } else { None };
    let text = text.filter(|text| text.len() as u64 <= *room);
    *room -= text.as_ref().map_or(0, |text| text.len() as u64);
    ComposeFile {
        path: path.to_owned(),
        sha256: text.as_ref().map(|text| hex::encode(Sha256::digest(text))),
        text: text.and_then(|text| String::from_utf8(text).ok()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use snapshotter_vault::encode::{KeySource, openpgp};

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
        let known = |name: &str| {
            let ComposeFile { sha256, text, .. } = file(directory.path(), name, &mut { LENGTH });
            (sha256.is_some(), text)
        };
        assert_eq!(known("compose.yaml"), (true, Some("services: {}\n".to_owned())));
        let no_room = file(directory.path(), "compose.yaml", &mut 12);
        assert_eq!((no_room.sha256, no_room.text), (None, None));
        assert_eq!(known("latin.yml"), (true, None));
        for name in ["id_rsa", "long.yml", "endless.yml", "gone.yml", "../../etc/passwd"] {
            assert_eq!(known(name), (false, None), "{name}");
        }
        let at = at("compose.yaml");
        assert!(known(at.to_str().unwrap()).0);
    }

    #[test]
    fn compose_files_beside_an_encrypted_archive_are_read_with_its_key_alone() {
        let directory = tempfile::tempdir().unwrap();
        let keys = |passphrase: &str| {
            let path = directory.path().join(passphrase);
            fs::write(&path, passphrase).unwrap();
            KeySource::File(path).passphrase().unwrap()
        };
        let mut recipients = openpgp::Recipients::new();
        recipients.set_passphrase(keys("correct"));
        let seal = Seal::OpenPgp(recipients);
        let text = Some("services: {}\n".to_owned());
        let mut files = [ComposeFile { path: "compose.yaml".to_owned(), sha256: None, text: text.clone() }];
        let sealed = sealed(&mut files, &seal).unwrap();
        assert!(sealed.is_some() && files[0].text.is_none());
        let (project, at) = ("shop".to_owned(), "/srv/shop".to_owned());
        let compose = ComposePassport { project, directory: at, files: files.to_vec(), sealed };
        let open = |passphrase: &str| {
            let mut all = Keys::new();
            all.set_passphrase(keys(passphrase));
            opened(&compose, Encryption::OpenPgp, &all)
        };
        assert_eq!(open("correct").unwrap().files[0].text, text);
        assert!(open("wrong").unwrap_err().to_string().contains("shop"));
        assert!(opened(&compose, Encryption::OpenPgp, &Keys::new()).is_err());
    }
}
