//! What stands in the JSON beside an archive: Dockform's fields, so that its readers find what they look
//! for, and the passport, which is ours. It is written last: a file that has one is complete.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use snapshotter::report::Warning;
use snapshotter_engine::api::volume::Volume;

/// The version of Dockform whose fields these are.
pub(crate) const DOCKFORM: &str = "0.9.2";
/// The form of the passport.
pub(crate) const VERSION: u32 = 1;

/// All of the JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Description {
    #[serde(default)]
    pub(crate) dockform_version: String,
    /// When it was taken, UTC.
    #[serde(default)]
    pub(crate) created_at: String,
    /// The volume's name; of several the set's.
    #[serde(default)]
    pub(crate) volume_name: String,
    #[serde(default)]
    pub(crate) spec_hash: String,
    /// What the volume is made from; of several empty.
    #[serde(flatten)]
    pub(crate) spec: VolumeSpec,
    /// How many bytes its files have.
    #[serde(default)]
    pub(crate) uncompressed_bytes: u64,
    /// How many entries there are.
    #[serde(default)]
    pub(crate) file_count: u64,
    #[serde(default)]
    pub(crate) checksum: FileChecksum,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notes: Option<String>,
    /// What Dockform does not have.
    #[serde(rename = "snapshotter", default, skip_serializing_if = "Option::is_none")]
    pub(crate) passport: Option<Passport>,
}

/// What a volume is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeSpec {
    #[serde(default)]
    pub(crate) driver: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) driver_opts: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// The checksum of the file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct FileChecksum {
    #[serde(default)]
    pub(crate) algo: String,
    /// Of the file as it lies there, whether it is compressed or not.
    #[serde(default)]
    pub(crate) tar_zst: String,
}

/// What it takes to make the volumes again elsewhere, and how much to trust what is in them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Passport {
    pub(crate) version: u32,
    /// The name of what was asked for, and what that is.
    pub(crate) set: String,
    pub(crate) kind: SetKind,
    /// The snapshot's ID in the archive, and the directory there that it is in.
    pub(crate) id: String,
    pub(crate) prefix: String,
    pub(crate) file: FileFacts,
    pub(crate) volumes: Vec<VolumePassport>,
    /// The containers that use the volumes.
    #[serde(default)]
    pub(crate) containers: Vec<ContainerPassport>,
    /// Where a compose project was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compose: Option<ComposePassport>,
    pub(crate) engine: String,
    /// For how long containers rested, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rested_seconds: Option<f64>,
    /// The patterns of what is not in it.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    /// How many bytes no checksum in the archive covers; the file's covers them.
    #[serde(default)]
    pub(crate) unhashed: u64,
    #[serde(default)]
    pub(crate) warning_count: u64,
    /// The warnings, or the first of them.
    #[serde(default)]
    pub(crate) warnings: Vec<Warning>,
}

/// What a set is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SetKind {
    Volume,
    Container,
    Project,
}

/// The file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FileFacts {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// A volume of the set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VolumePassport {
    pub(crate) name: String,
    /// Its path in the archive, below the prefix.
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) project: Option<String>,
    /// The name that the compose file has for it.
    #[serde(default)]
    pub(crate) key: Option<String>,
    pub(crate) spec_hash: String,
    #[serde(flatten)]
    pub(crate) spec: VolumeSpec,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) grade: Grade,
    /// Why it has no better grade.
    #[serde(default)]
    pub(crate) reasons: Vec<String>,
}

/// How consistent a volume was while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Grade {
    /// Nobody could write.
    Stopped,
    /// Who could write was frozen: it is what a crash would leave.
    Paused,
    /// Somebody could write, and nothing was seen to change.
    LiveUnchanged,
    /// Files changed while they were read.
    LiveChanged,
}

impl Grade {
    /// As a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Grade::Stopped => "stopped",
            Grade::Paused => "paused",
            Grade::LiveUnchanged => "live-unchanged",
            Grade::LiveChanged => "live-changed",
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.word())
    }
}

/// A container that uses one of the volumes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerPassport {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
    /// The names by which that very image can be pulled.
    #[serde(default)]
    pub(crate) image_digests: Vec<String>,
    #[serde(default)]
    pub(crate) project: Option<String>,
    #[serde(default)]
    pub(crate) service: Option<String>,
    /// What it was doing before.
    pub(crate) state: String,
    /// How it was brought to rest, if it was.
    #[serde(default)]
    pub(crate) rested: Option<String>,
    pub(crate) mounts: Vec<MountPassport>,
}

/// Something mounted into a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MountPassport {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The volume's name, or the path on the engine's machine.
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) writable: bool,
}

/// Where a compose project was made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ComposePassport {
    pub(crate) project: String,
    pub(crate) directory: String,
    pub(crate) files: Vec<ComposeFile>,
    /// The files once more, with what is in them: a JSON list, encrypted as the archive is, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<String>,
}

/// A compose file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ComposeFile {
    pub(crate) path: String,
    /// Of what is in it; none where it cannot be read from here.
    pub(crate) sha256: Option<String>,
    /// What is in it. It may be secret: beside an encrypted archive it is encrypted too, and it is never printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
}

impl Passport {
    /// Without what may be secret.
    pub(crate) fn to_print(&self) -> Self {
        let mut passport = self.clone();
        if let Some(compose) = &mut passport.compose {
            compose.files.iter_mut().for_each(|file| file.text = None);
            compose.sealed = None;
        }
        passport
    }
}

impl VolumeSpec {
    /// What `volume` is made from.
    pub(crate) fn of(volume: &Volume) -> Self {
        VolumeSpec {
            driver: volume.driver.clone(),
            driver_opts: volume.options.clone(),
            labels: volume.labels.clone(),
        }
    }

    /// A volume that is made from it.
    pub(crate) fn named(&self, name: &str) -> Volume {
        Volume {
            name: name.to_owned(),
            driver: if self.driver.is_empty() { "local" } else { &self.driver }.to_owned(),
            options: self.driver_opts.clone(),
            labels: self.labels.clone(),
            created_at: String::new(),
        }
    }
}

/// `null`, as Go writes an empty map, is an empty one.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dockform_writes_is_read() {
        let text = r#"{"dockform_version":"0.5.1","created_at":"2023-10-04T15:30:45Z","volume_name":"myapp_data",
            "spec_hash":"a1b2c3d4","driver":"local","driver_opts":null,
            "labels":{"io.dockform.identifier":"myproject"},"uncompressed_bytes":1048576,"file_count":42,
            "checksum":{"algo":"sha256","tar_zst":"00"},"notes":"Before major upgrade to v2.0"}"#;
        let read: Description = serde_json::from_str(text).unwrap();
        assert_eq!((read.volume_name.as_str(), read.spec.driver.as_str()), ("myapp_data", "local"));
        assert_eq!(read.spec.labels["io.dockform.identifier"], "myproject");
        assert!(read.spec.driver_opts.is_empty() && read.passport.is_none());
    }
}
