//! Volumes as the engine keeps them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::api::client::Call;
use crate::api::engine::Engine;
use crate::api::nullable::or_default;
use crate::error::Result;

/// A volume.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// Its name; 64 hexadecimal digits where nobody gave it one.
    pub name: String,
    /// Who keeps it, such as `local`.
    #[serde(default)]
    pub driver: String,
    /// What the driver was told when it was made.
    #[serde(default, deserialize_with = "or_default")]
    pub options: BTreeMap<String, String>,
    /// Labels, compose's among them.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default, deserialize_with = "or_default")]
    volumes: Vec<Volume>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Used {
    #[serde(default, deserialize_with = "or_default")]
    volumes: Vec<Measured>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Measured {
    name: String,
    #[serde(default)]
    usage_data: Option<Usage>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    size: i64,
}

impl Engine {
    /// Every volume.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn volumes(&self) -> Result<Vec<Volume>> {
        let listed: Listed = self.client.ask(&Call::get("list volumes", "/volumes")).await?;
        Ok(listed.volumes)
    }

    /// How many bytes are in each volume, as far as the engine knows: for drivers other than `local` it does
    /// not. It goes through all of them, however long that takes.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn volume_sizes(&self) -> Result<BTreeMap<String, u64>> {
        // Engines before API 1.42 measure images and containers as well, and pay no heed to the type.
        let call = Call::get("measure volumes", "/system/df?type=volume").within(None);
        let used: Used = self.client.ask(&call).await?;
        let sizes = used.volumes.into_iter().filter_map(|volume| {
            let size = u64::try_from(volume.usage_data?.size).ok()?;
            Some((volume.name, size))
        });
        Ok(sizes.collect())
    }
}
