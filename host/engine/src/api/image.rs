//! What an engine knows of an image.

use serde::Deserialize;

use crate::api::client::Call;
use crate::api::engine::Engine;
use crate::api::nullable::or_default;
use crate::api::query::encode;
use crate::error::Result;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    #[serde(default, deserialize_with = "or_default")]
    repo_digests: Vec<String>,
}

impl Engine {
    /// The names with digests, `postgres@sha256:…`, by which the image with this id can be pulled; none where
    /// it was built here, or is gone.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn image_digests(&self, id: &str) -> Result<Vec<String>> {
        let call = Call::get(format!("inspect the image {id}"), format!("/images/{}/json", encode(id)));
        match self.client.ask(&call).await {
            Err(error) if error.is_not_there() => Ok(Vec::new()),
            found => found.map(|Image { repo_digests }| repo_digests),
        }
    }
}
