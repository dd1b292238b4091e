//! What an engine knows of a container.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::nullable::or_default;

/// What an engine gives a container to stop that has no time of its own.
const STOP_DEFAULT: Duration = Duration::from_secs(10);

/// A container, as it is at the moment.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// The engine's name for it, 64 hexadecimal digits.
    pub id: String,
    #[serde(rename = "Name")]
    slashed_name: String,
    /// The engine's name for its image.
    #[serde(rename = "Image", default)]
    pub image_id: String,
    /// What it is doing.
    pub state: State,
    /// What it was made from.
    pub config: Config,
    /// How it is run.
    pub host_config: HostConfig,
    /// What is mounted into it; `--tmpfs` stands in [`HostConfig::tmpfs`].
    #[serde(default, deserialize_with = "or_default")]
    pub mounts: Vec<Mount>,
    /// How it is reached.
    #[serde(default, deserialize_with = "or_default")]
    pub network_settings: NetworkSettings,
}

/// What a container is doing.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// In one word.
    pub status: Status,
    /// How its last run ended, or 0.
    #[serde(default)]
    pub exit_code: i64,
    /// When it was last started, as the engine writes times; a time before 1970 for never.
    #[serde(default)]
    pub started_at: String,
    /// Whether the kernel killed it for want of memory.
    #[serde(rename = "OOMKilled", default)]
    pub out_of_memory: bool,
    /// Why the engine could not run it, or nothing.
    #[serde(default)]
    pub error: String,
    /// Its healthcheck, where it has one.
    #[serde(default)]
    pub health: Option<Health>,
}

/// A container's state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It runs.
    Running,
    /// It is frozen, and its files are as a crash would leave them.
    Paused,
    /// It has ended, and its restart policy starts it again.
    Restarting,
    /// It has ended.
    #[serde(alias = "stopped")]
    Exited,
    /// It was made and never started.
    #[serde(alias = "configured", alias = "initialized")]
    Created,
    /// It is being removed.
    Removing,
    /// It could not be removed.
    Dead,
    /// A word that is not known here.
    #[serde(other)]
    Unknown,
}

impl Status {
    /// Whether its processes may write to a volume now or at any moment.
    pub fn may_write(self) -> bool {
        matches!(self, Status::Running | Status::Restarting | Status::Unknown)
    }

    /// As a word.
    pub fn word(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
            Status::Created => "created",
            Status::Removing => "removing",
            Status::Dead => "dead",
            Status::Unknown => "unknown",
        }
    }
}

/// What a healthcheck says.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`; Podman leaves it empty where there is no check.
    #[serde(default)]
    pub status: String,
}

/// What a container was made from.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// The image as it was named.
    #[serde(default)]
    pub image: String,
    /// Labels, compose's among them.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// The ports that its image declares, such as `5432/tcp`.
    #[serde(default, deserialize_with = "or_default")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// Its own name for itself.
    #[serde(default)]
    pub hostname: String,
    /// Seconds to wait after the stop signal, where it was given; negative for ever.
    #[serde(default)]
    pub stop_timeout: Option<i64>,
    /// How its health is checked, where it is.
    #[serde(default)]
    pub healthcheck: Option<Healthcheck>,
}

/// How a container's health is checked. Times are in nanoseconds, and 0 is the engine's default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// The time between two checks.
    pub interval: u64,
    /// How long a check may take.
    pub timeout: u64,
    /// How many failures in a row make it unhealthy.
    pub retries: u32,
    /// How long failures do not count after the start.
    pub start_period: u64,
}

/// How a container is run.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    /// `--rm`: it is removed when it ends, with its anonymous volumes.
    #[serde(default)]
    pub auto_remove: bool,
    /// When the engine starts it again by itself.
    #[serde(default, deserialize_with = "or_default")]
    pub restart_policy: RestartPolicy,
    /// Whose network it has.
    #[serde(default)]
    pub network_mode: String,
    /// Whose process ids it sees.
    #[serde(default)]
    pub pid_mode: String,
    /// Whose shared memory it has.
    #[serde(default)]
    pub ipc_mode: String,
    /// Containers that it is linked to, as `/other:/this/alias`.
    #[serde(default, deserialize_with = "or_default")]
    pub links: Vec<String>,
    /// Containers whose volumes it took, as `name` or `name:ro`.
    #[serde(default, deserialize_with = "or_default")]
    pub volumes_from: Vec<String>,
    /// `--tmpfs`: where, and with which options.
    #[serde(default, deserialize_with = "or_default")]
    pub tmpfs: BTreeMap<String, String>,
    /// Its ports that are ports of the engine's machine.
    #[serde(default, deserialize_with = "or_default")]
    pub port_bindings: BTreeMap<String, Option<Vec<PortBinding>>>,
}

/// A port of the engine's machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PortBinding {
    /// Its number, or nothing for one that the engine chooses.
    #[serde(default)]
    pub host_port: String,
}

/// How a container is reached.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// The networks that it is in.
    #[serde(default, deserialize_with = "or_default")]
    pub networks: BTreeMap<String, Network>,
}

/// A container's place in a network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// Other names that it has there.
    #[serde(default, deserialize_with = "or_default")]
    pub aliases: Vec<String>,
    /// Its address there.
    #[serde(rename = "IPAddress", default)]
    pub address: String,
}

/// When the engine starts a container again by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped`, `on-failure`; engines may leave it empty for `no`.
    #[serde(default)]
    pub name: String,
    /// How often after failures, for `on-failure`.
    #[serde(default)]
    pub maximum_retry_count: i64,
}

impl RestartPolicy {
    /// That the engine never starts it by itself.
    pub fn never() -> Self {
        RestartPolicy { name: "no".to_owned(), maximum_retry_count: 0 }
    }

    /// Whether the engine never starts it by itself.
    pub fn is_never(&self) -> bool {
        matches!(self.name.as_str(), "" | "no")
    }
}

/// Something mounted into a container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    /// `volume`, `bind`, `tmpfs` and others.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The volume's name, or nothing.
    #[serde(default)]
    pub name: String,
    /// Where it comes from, on the engine's machine.
    #[serde(default)]
    pub source: String,
    /// Where it is in the container.
    pub destination: String,
    /// Whether it may be written.
    #[serde(rename = "RW", default)]
    pub writable: bool,
}

impl Healthcheck {
    /// How long it can take until it says whether the container is healthy.
    pub fn patience(&self) -> Duration {
        let or_default = |time, default| Duration::from_nanos(if time == 0 { default } else { time });
        let check = or_default(self.interval, 30_000_000_000) + or_default(self.timeout, 30_000_000_000);
        let retries = if self.retries == 0 { 3 } else { self.retries };
        check.saturating_mul(retries).saturating_add(Duration::from_nanos(self.start_period))
    }
}

impl Container {
    /// Its name.
    pub fn name(&self) -> &str {
        self.slashed_name.trim_start_matches('/')
    }

    /// How long the engine waits for it to stop before it kills it; `None` for as long as it takes.
    pub fn stop_patience(&self) -> Option<Duration> {
        match self.config.stop_timeout {
            None => Some(STOP_DEFAULT),
            Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        }
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config.labels.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healthcheck_says_something_when_its_retries_are_over() {
        let patience = |text| serde_json::from_str::<Healthcheck>(text).unwrap().patience().as_secs();
        assert_eq!(patience("{}"), 180);
        let given = r#"{"Interval":1000000000,"Timeout":2000000000,"Retries":5,"StartPeriod":60000000000}"#;
        assert_eq!(patience(given), 75);
        assert!(patience(r#"{"Interval":18446744073709551615,"Retries":4294967295}"#) > 1_000_000);
    }

    #[test]
    fn an_engine_may_say_null_or_nothing() {
        let container: Container = serde_json::from_str(
            r#"{"Id":"1","Name":"/a","State":{"Status":"hibernating"},"Mounts":null,
                "Config":{"Labels":null},"HostConfig":{"Links":null,"RestartPolicy":null}}"#,
        )
        .unwrap();
        assert_eq!(container.name(), "a");
        assert_eq!(container.state.status, Status::Unknown);
        assert!(container.host_config.restart_policy.is_never() && container.mounts.is_empty());
    }
}
