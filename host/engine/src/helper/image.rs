//! The image that helpers are made from: one that is named, or our own, which is loaded into the engine where
//! it is not there yet. Nothing is ever pulled.

use serde_json::json;

use crate::api::Engine;
use crate::error::{Error, Result};
use crate::helper::core::Core;
use crate::helper::tar::{Title, image};

const REPOSITORY: &str = "snapshotter-helper";
/// Which program is in it. A tag can be given to any image.
const REVISION: &str = "snapshotter.helper.core";

/// The id of the image to use.
///
/// # Errors
/// When the named one is not there, or ours cannot be made or loaded.
pub(super) async fn ensure(engine: &Engine, named: Option<&str>) -> Result<String> {
    if let Some(name) = named {
        let image = engine.image(name).await?;
        return image.map(|image| image.id).ok_or_else(|| Error::NoImage { image: name.to_owned() });
    }
    let core = Core::new(&engine.about().arch)?;
    let digest = core.digest.clone();
    let tag = format!("{}-{}", env!("CARGO_PKG_VERSION"), &digest[..12]);
    let name = format!("{REPOSITORY}:{tag}");
    if let Some(id) = find(engine, &name, &digest).await? {
        return Ok(id);
    }
    let architecture = core.architecture.clone();
    let title = Title {
        repository: REPOSITORY,
        tag: &tag,
        architecture: &architecture,
        labels: json!({
            REVISION: &*digest,
            "org.opencontainers.image.title": "snapshotter",
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
        }),
    };
    let tar = image(&core.unpack()?, &title)
        .map_err(|source| Error::Broken { action: "make the image of the helper".to_owned(), source })?;
    // Another process may load it at the same time: it is the same image, and both are right.
    engine.load_image(tar).await?;
    find(engine, &name, &digest).await?.ok_or(Error::NoImage { image: name })
}

async fn find(engine: &Engine, name: &str, digest: &str) -> Result<Option<String>> {
    let image = engine.image(name).await?;
    let is_ours = |image: &crate::api::image::Image| {
        image.config.labels.get(REVISION).is_some_and(|revision| revision == digest)
    };
    Ok(image.filter(is_ours).map(|image| image.id))
}
