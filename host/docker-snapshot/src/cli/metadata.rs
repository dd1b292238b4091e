//! What the docker CLI wants to know of a plugin:
//! <https://github.com/docker/cli/blob/master/cli-plugins/metadata>.

use serde::Serialize;

use crate::cli::output;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    schema_version: &'static str,
    vendor: &'static str,
    version: &'static str,
    short_description: &'static str,
    #[serde(rename = "URL")]
    url: &'static str,
}

/// Prints it.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print() -> anyhow::Result<()> {
    output::print_json(&Metadata {
        schema_version: "0.1.0",
        vendor: "snapshotter",
        version: env!("CARGO_PKG_VERSION"),
        short_description: "Snapshots of Docker volumes, by name",
        url: "https://github.com/NethermindEth/docker-volumes-snapshotter",
    })
}
