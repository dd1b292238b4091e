//! Images as the engine keeps them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::api::client::Call;
use crate::api::containers::there;
use crate::api::engine::Engine;
use crate::api::nullable::or_default;
use crate::api::query::encode;
use crate::error::{Error, Result};

/// How long a few megabytes may take, through ssh and on a slow disk.
const LOAD: Duration = Duration::from_mins(10);

/// An image.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Image {
    /// The engine's name for it.
    pub id: String,
    /// The names with digests, `postgres@sha256:…`, by which it can be pulled; none where it was built here.
    #[serde(default, deserialize_with = "or_default")]
    pub repo_digests: Vec<String>,
    /// What its containers are made with.
    #[serde(default, deserialize_with = "or_default")]
    pub config: ImageConfig,
}

/// What containers of an image are made with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageConfig {
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// The image with this name or id, or `None` where there is none.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn image(&self, name: &str) -> Result<Option<Image>> {
        // The slash of a name is a part of the path here; `encode` leaves nothing else that could be one.
        let path = name.split('/').map(encode).collect::<Vec<_>>().join("/");
        let call = Call::get(format!("inspect the image {name}"), format!("/images/{path}/json"));
        there(self.client.ask(&call).await)
    }

    /// The names with digests of the image with this id; none where it was built here, or is gone.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn image_digests(&self, id: &str) -> Result<Vec<String>> {
        Ok(self.image(id).await?.map(|image| image.repo_digests).unwrap_or_default())
    }

    /// Loads the images in `tar`, which has the form that `docker save` writes.
    ///
    /// # Errors
    /// When the engine cannot use it, or has no room.
    pub async fn load_image(&self, tar: Vec<u8>) -> Result<()> {
        #[derive(Deserialize)]
        struct Failed {
            error: String,
        }
        let action = "load the image of the helper";
        let call = Call::post(action, "/images/load?quiet=1").with_tar(tar).within(LOAD);
        let answer = self.client.call(&call).await?;
        // The answer begins before the work does, so what fails stands in it, one object a line.
        let mut lines = answer.body().split(|&byte| byte == b'\n');
        let failed = lines.find_map(|line| serde_json::from_slice::<Failed>(line).ok());
        match failed {
            Some(Failed { error }) => {
                Err(Error::Refused { action: action.to_owned(), status: 500, message: error })
            }
            None => Ok(()),
        }
    }
}
