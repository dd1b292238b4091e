//! Volumes as the engine keeps them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::client::Call;
use crate::api::containers::there;
use crate::api::engine::Engine;
use crate::api::nullable::or_default;
use crate::api::query::encode;
use crate::error::Result;

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
    /// When it was made, as the engine writes it. Two volumes of one name differ in it.
    #[serde(default)]
    pub created_at: String,
}

/// What a volume is made from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewVolume<'a> {
    name: &'a str,
    driver: &'a str,
    driver_opts: &'a BTreeMap<String, String>,
    labels: &'a BTreeMap<String, String>,
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
    /// The volume with this name, or `None` where there is none.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn volume(&self, name: &str) -> Result<Option<Volume>> {
        let call = Call::get(format!("inspect the volume {name}"), format!("/volumes/{}", encode(name)));
        there(self.client.ask(&call).await)
    }

    /// Makes `volume`, and returns what is there now. An engine that has one of this name returns that,
    /// however it was made, so the caller has to compare.
    ///
    /// # Errors
    /// When the engine, or the volume's driver, refuses.
    pub async fn create_volume(&self, volume: &Volume) -> Result<Volume> {
        let Volume { name, driver, options, labels, .. } = volume;
        let call = Call::post(format!("create the volume {name}"), "/volumes/create");
        let made: Volume =
            self.client.ask(&call.with(&NewVolume { name, driver, driver_opts: options, labels })?).await?;
        // What a driver says in answer need not be all that it says later.
        Ok(self.volume(&made.name).await?.unwrap_or(made))
    }

    /// Removes the volume with this name, which no container may have. One that is not there is as good as
    /// removed.
    ///
    /// # Errors
    /// When a container has it, or the engine cannot.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let call = Call::delete(format!("remove the volume {name}"), format!("/volumes/{}", encode(name)));
        there(self.client.call(&call).await).map(drop)
    }

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
