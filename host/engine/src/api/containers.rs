//! What can be asked about containers, and done with one.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::api::client::Call;
use crate::api::container::{Container, RestartPolicy};
use crate::api::engine::Engine;
use crate::api::nullable::or_default;
use crate::api::query::encode;
use crate::error::{Error, Result};

/// How many containers are asked about at a time: one after the other is slow through ssh.
const AT_ONCE: usize = 8;
/// What an engine may need beside the time that a container is given to stop: a busy one is slow to end
/// processes.
const STOP_GRACE: Duration = Duration::from_mins(2);
/// A start mounts volumes, and those of a network may take their time.
const START: Duration = Duration::from_mins(10);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

impl Engine {
    /// Every container, whatever it is doing. One that is removed meanwhile is left out.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        let all: Vec<Listed> =
            self.client.ask(&Call::get("list containers", "/containers/json?all=1")).await?;
        let containers = stream::iter(all).map(|listed| async move { self.container(&listed.id).await });
        let containers: Vec<_> = containers.buffered(AT_ONCE).try_collect().await?;
        Ok(containers.into_iter().flatten().collect())
    }

    /// The container with this id or name, or `None` where there is none.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn container(&self, id: &str) -> Result<Option<Container>> {
        let call =
            Call::get(format!("inspect the container {id}"), format!("/containers/{}/json", encode(id)));
        let mut found: Option<Container> = there(self.client.ask(&call).await)?;
        if let Some(container) = &mut found
            && self.about().is_podman()
            && container.config.stop_timeout == Some(0)
        {
            // Whoever makes a container through Podman's API for Docker and gives no time has this put in.
            container.config.stop_timeout = None;
        }
        Ok(found)
    }

    /// Asks `container` to stop, with its own signal, and waits until it has; after its own time the engine
    /// kills it. Says whether it ran until then.
    ///
    /// # Errors
    /// When the engine refuses, or does not answer long after that time.
    pub async fn stop(&self, container: &Container) -> Result<bool> {
        // No time is sent: the container's own is then used, which may be the minute that a database needs.
        let limit = container.stop_patience().map(|patience| patience + STOP_GRACE);
        // Podman takes that put-in 0 at its word, and would kill the container at once.
        let given = self.about().is_podman() && container.config.stop_timeout.is_none();
        let call = order("stop", container, if given { "stop?t=10" } else { "stop" });
        Ok(self.client.call(&call.within(limit)).await?.status != 304)
    }

    /// Starts the container, unless it runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(&self, container: &Container) -> Result<()> {
        let call = order("start", container, "start");
        self.client.call(&call.within(START)).await.map(drop)
    }

    /// Freezes the container's processes.
    ///
    /// # Errors
    /// When it does not run, or is frozen.
    pub async fn pause(&self, container: &Container) -> Result<()> {
        self.client.call(&order("pause", container, "pause")).await.map(drop)
    }

    /// Lets the container's processes go on.
    ///
    /// # Errors
    /// When it is not frozen.
    pub async fn unpause(&self, container: &Container) -> Result<()> {
        self.client.call(&order("unpause", container, "unpause")).await.map(drop)
    }

    /// Asks the container to end, and kills it after `patience`. Returns when it has ended.
    ///
    /// # Errors
    /// When the engine refuses, or does not answer long after that time.
    pub async fn end(&self, id: &str, patience: Duration) -> Result<()> {
        let path = format!("/containers/{}/stop?t={}", encode(id), patience.as_secs());
        let call = Call::post(format!("stop the container {id}"), path);
        self.client.call(&call.within(patience + STOP_GRACE)).await.map(drop)
    }

    /// Removes the container, which is killed where it runs, and none of its volumes. One that is not there
    /// is as good as removed.
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let path = format!("/containers/{}?force=true&v=false", encode(id));
        let call = Call::delete(format!("remove the container {id}"), path);
        there(self.client.call(&call.within(START)).await).map(drop)
    }

    /// Waits, for as long as it takes, until the container does not run, and returns its exit code.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn wait(&self, id: &str) -> Result<i64> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Waited {
            status_code: i64,
        }
        let path = format!("/containers/{}/wait", encode(id));
        let call = Call::post(format!("wait for the container {id}"), path).within(None);
        let waited: Waited = self.client.ask(&call).await?;
        Ok(waited.status_code)
    }

    /// The ids of all containers, whatever they are doing, that have the label `name`, with its value.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn labelled(&self, name: &str) -> Result<Vec<(String, String)>> {
        let filters = format!(r#"{{"label":["{name}"]}}"#);
        let path = format!("/containers/json?all=1&filters={}", encode(&filters));
        let all: Vec<Listed> = self.client.ask(&Call::get("list containers", path)).await?;
        let with_label = |mut listed: Listed| Some((listed.id, listed.labels.remove(name)?));
        Ok(all.into_iter().filter_map(with_label).collect())
    }

    /// Whether the engine changes restart policies, and needs to: Podman before 5.1 cannot, and no Podman
    /// starts what was stopped when it is started itself.
    pub fn changes_restart_policies(&self) -> bool {
        !self.about().is_podman()
    }

    /// Changes when the engine starts the container by itself. It neither starts nor stops it.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn set_restart_policy(&self, container: &Container, policy: &RestartPolicy) -> Result<()> {
        let action = "change the restart policy of";
        let call = order(action, container, "update");
        self.client.call(&call.with(&Update { restart_policy: policy })?).await.map(drop)
    }
}

/// The call that does `verb` to `container`; `action` says it for people.
fn order(action: &str, container: &Container, verb: &str) -> Call {
    Call::post(
        format!("{action} {}", container.name()),
        format!("/containers/{}/{verb}", encode(&container.id)),
    )
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Update<'a> {
    restart_policy: &'a RestartPolicy,
}

/// `None` for what is not there.
pub(super) fn there<T>(result: Result<T>) -> Result<Option<T>, Error> {
    match result {
        Err(error) if error.is_not_there() => Ok(None),
        other => other.map(Some),
    }
}
