//! The connection to an engine, and how it comes about.

use std::io::ErrorKind;
use std::time::Duration;

use serde::Deserialize;
use snapshotter::time::Time;

use crate::api::client::{Call, Client};
use crate::api::nullable::or_default;
use crate::api::version::{About, ApiVersion};
use crate::connect::endpoint::Endpoint;
use crate::connect::find::Found;
use crate::error::{Error, Result};

/// How long an engine may take to say what it is.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// An engine that has answered.
#[derive(Debug)]
pub struct Engine {
    address: Endpoint,
    /// What the calls of the files beside this one go through.
    pub(super) client: Client,
    about: About,
}

impl Engine {
    /// Connects to the engine that was found, and agrees on a version of the API with it.
    ///
    /// # Errors
    /// When nothing answers, or what answers speaks another language; the error says what to do.
    pub async fn connect(found: &Found) -> Result<Self> {
        let mut client = Client::new(found.endpoint.clone())?;
        let asked =
            client.call(&Call::get("ask the engine for its version", "/version").within(HANDSHAKE)).await;
        let answer = asked.map_err(|error| explained(error, found))?;
        let about: About = answer.json("ask the engine for its version")?;
        client.speak(about.agree(ApiVersion::pinned())?);
        Ok(Engine { address: found.endpoint.clone(), client, about })
    }

    /// Where it listens.
    pub fn address(&self) -> &Endpoint {
        &self.address
    }

    /// The name that the engine gave itself, once and for all. Podman makes up another one each time: it has
    /// none.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn id(&self) -> Result<Option<String>> {
        if self.about.is_podman() {
            return Ok(None);
        }
        let info: Info = self.client.ask(&Call::get("ask the engine for its name", "/info")).await?;
        Ok(Some(info.id).filter(|id| !id.is_empty()))
    }

    /// Whether root in its containers is another user outside of them (`userns-remap`): such a root may not
    /// write what belongs to others there.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn maps_users(&self) -> Result<bool> {
        let info: Info = self.client.ask(&Call::get("ask the engine how it is set up", "/info")).await?;
        Ok(info.security_options.iter().any(|option| option.contains("name=userns")))
    }

    /// The engine's clock; this machine's may be another.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn now(&self) -> Result<Time> {
        let info: Info = self.client.ask(&Call::get("ask the engine for the time", "/info")).await?;
        Ok(Time::from_rfc3339(&info.system_time).unwrap_or_else(Time::now))
    }

    /// What the engine says of itself.
    pub fn about(&self) -> &About {
        &self.about
    }
}

#[derive(Debug, Deserialize)]
struct Info {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "SecurityOptions", default, deserialize_with = "or_default")]
    security_options: Vec<String>,
    #[serde(rename = "SystemTime", default)]
    system_time: String,
}

/// `error` as one that says what the user can do about the engine that was found.
fn explained(error: Error, found: &Found) -> Error {
    let endpoint = found.endpoint.to_string();
    let plain = matches!(found.endpoint, Endpoint::Tcp { tls: None, .. });
    let (source, advice) = match error {
        Error::Broken { source, .. } => {
            let kind = source.kind();
            (source, way_out(found, kind))
        }
        Error::Refused { message, .. } if plain && message.contains("HTTPS") => (
            std::io::Error::other("it speaks TLS"),
            "set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the directory of the certificates".to_owned(),
        ),
        other => return other,
    };
    Error::Connect { endpoint, advice, source }
}

/// What to do where nothing answers.
fn way_out(found: &Found, problem: ErrorKind) -> String {
    let advice = match (&found.endpoint, problem) {
        (Endpoint::Unix(path), ErrorKind::PermissionDenied) => {
            return format!(
                "run it with sudo, or let your user into the group of {} (sudo usermod -aG docker $USER, and \
                 log in again)",
                path.display()
            );
        }
        (Endpoint::Unix(_), _) => "start the engine (sudo systemctl start docker), or name another one",
        (Endpoint::Ssh { .. }, _) => {
            "see whether `ssh` reaches that host without a question, and docker runs there"
        }
        (Endpoint::Tcp { .. }, _) => "see whether the host is up and its engine listens on that port",
    };
    format!("{advice}: this address comes from {}", found.origin)
}
