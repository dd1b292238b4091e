//! How a container is made and joined to this program. What is not said here is the engine's default; only
//! what a helper needs can be said.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use serde::{Deserialize, Serialize};

use crate::api::client::Call;
use crate::api::engine::Engine;
use crate::api::query::encode;
use crate::error::Result;

/// How long it may take: volumes of a network are slow to mount.
const CREATE: Duration = Duration::from_mins(10);

/// What a container is made with.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Creation {
    /// Its image.
    pub image: String,
    /// The arguments of the image's entry point.
    pub cmd: Vec<String>,
    /// Who runs it.
    pub user: String,
    /// Where it runs.
    pub working_dir: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it has an input at all.
    pub open_stdin: bool,
    /// Whether its input ends with the connection that it is attached by.
    pub stdin_once: bool,
    /// Whether its input is attached.
    pub attach_stdin: bool,
    /// How it is run.
    pub host_config: CreationHost,
}

/// How a container is run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreationHost {
    /// What is mounted.
    pub mounts: Vec<CreationMount>,
    /// Whether nothing can be written outside of what is mounted.
    pub readonly_rootfs: bool,
    /// Its network.
    pub network_mode: String,
    /// Capabilities that it does not have.
    pub cap_drop: Vec<String>,
    /// Capabilities that it has all the same.
    pub cap_add: Vec<String>,
    /// Further limits.
    pub security_opt: Vec<String>,
    /// Where its output goes beside those that are attached.
    pub log_config: LogConfig,
    /// Whether the engine removes it when it ends.
    pub auto_remove: bool,
}

/// Where a container's output is kept.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogConfig {
    /// `none`, `json-file` and others.
    #[serde(rename = "Type")]
    pub driver: String,
}

/// Something that is mounted.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreationMount {
    /// `volume` or `bind`.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// The volume's name, or a path of the engine's machine.
    pub source: String,
    /// Where in the container.
    pub target: String,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// For a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
}

/// How a volume is mounted.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeOptions {
    /// Whether what the image has at that path is not copied into an empty volume.
    pub no_copy: bool,
}

impl Engine {
    /// Makes a container called `name`, and returns its id.
    ///
    /// # Errors
    /// When the engine refuses, such as for an image that is not there.
    pub async fn create_container(&self, name: &str, creation: &Creation) -> Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Created {
            id: String,
        }
        let path = format!("/containers/create?name={}", encode(name));
        let call = Call::post(format!("make the container {name}"), path).with(creation)?.within(CREATE);
        let created: Created = self.client.ask(&call).await?;
        Ok(created.id)
    }

    /// Joins the output and the errors of the container `id` to a connection, and with `stdin` its input.
    ///
    /// # Errors
    /// When the engine refuses, or something in between does not pass that on.
    pub(crate) async fn attach(&self, id: &str, stdin: bool) -> Result<Upgraded> {
        let stdin = u8::from(stdin);
        let path = format!("/containers/{}/attach?stream=1&stdin={stdin}&stdout=1&stderr=1", encode(id));
        self.client.upgrade(&Call::post(format!("attach to the container {id}"), path)).await
    }

    /// Starts the container `id`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) async fn start_id(&self, id: &str) -> Result<()> {
        let call =
            Call::post(format!("start the container {id}"), format!("/containers/{}/start", encode(id)));
        self.client.call(&call.within(CREATE)).await.map(drop)
    }
}
