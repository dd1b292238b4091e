//! Which engine is meant. The order is the docker CLI's: `--host`, `--context`, `DOCKER_HOST`,
//! `DOCKER_CONTEXT`, the current context, and then the usual sockets, of which docker itself looks at the
//! first one only.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::connect::context;
use crate::connect::endpoint::{Endpoint, Tls};
use crate::error::{Error, Result};
use crate::places;

/// All that has a say in which engine is meant.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// `--host`.
    pub host: Option<String>,
    /// `--context`.
    pub context: Option<String>,
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// The docker CLI's directory, with the contexts.
    pub docker: Option<PathBuf>,
    /// Where certificates lie: `DOCKER_CERT_PATH`, or docker's directory.
    pub certificates: Option<PathBuf>,
    /// How a port is spoken to, unless a context says it.
    pub tls: Option<Tls>,
    /// The sockets to look for, best first.
    pub sockets: Vec<PathBuf>,
}

/// An engine's address, and why it is this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The address.
    pub endpoint: Endpoint,
    /// What named it: "`DOCKER_HOST`", "the context x".
    pub origin: String,
}

impl Choice {
    /// What the environment says, with `docker` as the CLI's directory, or the usual one.
    pub fn from_environment(docker: Option<PathBuf>) -> Self {
        let docker = docker.or_else(places::docker_config);
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let verify = text("DOCKER_TLS_VERIFY").is_some();
        let certificates = env::var_os("DOCKER_CERT_PATH").filter(|path| !path.is_empty());
        let certificates = certificates.map(PathBuf::from).or_else(|| docker.clone());
        let tls = (verify || text("DOCKER_TLS").is_some())
            .then(|| Tls::in_directory(certificates.as_deref().unwrap_or(Path::new("")), verify));
        Choice {
            host: None,
            context: None,
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            docker,
            certificates,
            tls,
            sockets: usual_sockets(env::var_os("XDG_RUNTIME_DIR")),
        }
    }

    /// The engine that is meant.
    ///
    /// # Errors
    /// When what is named cannot be used, or nothing is named and no socket is there.
    pub fn find(&self) -> Result<Found> {
        match (&self.host, &self.context) {
            (Some(_), Some(_)) => Err(Error::TwoEngines),
            (Some(host), None) => self.at(host, "--host"),
            (None, Some(name)) => self.in_context(name),
            (None, None) => match (&self.docker_host, &self.docker_context) {
                (Some(host), _) => self.at(host, "DOCKER_HOST"),
                (None, Some(name)) => self.in_context(name),
                (None, None) => {
                    let current = self.docker.as_deref().map(context::current).transpose()?.flatten();
                    current.map_or_else(|| self.usual(), |name| self.in_context(&name))
                }
            },
        }
    }

    fn at(&self, address: &str, origin: &str) -> Result<Found> {
        Ok(Found { endpoint: Endpoint::parse(address, self.tls.clone())?, origin: origin.to_owned() })
    }

    fn in_context(&self, name: &str) -> Result<Found> {
        if name == context::DEFAULT {
            return match &self.docker_host {
                Some(host) => self.at(host, "DOCKER_HOST"),
                None => self.usual(),
            };
        }
        let docker = self.docker.as_deref().ok_or_else(|| Error::Context {
            name: name.to_owned(),
            problem: "neither HOME nor DOCKER_CONFIG says where contexts are".to_owned(),
        })?;
        Ok(Found { endpoint: context::endpoint(docker, name)?, origin: format!("the context {name}") })
    }

    /// The first socket that is there. One that may not be used is taken all the same: the next could be
    /// another engine with other volumes, and docker itself would not take it.
    fn usual(&self) -> Result<Found> {
        let socket = self.sockets.iter().find(|path| !matches!(path.try_exists(), Ok(false)));
        let socket = socket.ok_or_else(|| Error::NoEngine {
            tried: self.sockets.iter().map(|path| path.display().to_string()).collect(),
        })?;
        Ok(Found { endpoint: Endpoint::Unix(socket.clone()), origin: "the usual place".to_owned() })
    }
}

/// Docker's own, rootless Docker's, rootless Podman's and Podman's.
fn usual_sockets(runtime: Option<OsString>) -> Vec<PathBuf> {
    let runtime = runtime.filter(|path| !path.is_empty()).map(PathBuf::from);
    let of_user = |name| runtime.as_ref().map(|directory| directory.join(name));
    [
        Some("/var/run/docker.sock".into()),
        of_user("docker.sock"),
        of_user("podman/podman.sock"),
        Some("/run/podman/podman.sock".into()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const META: &str = "contexts/meta/b71199ebd070b36beab7317920c2c2f1d777df8d05e5527d8458fda57cb17a7a";

    /// A docker directory with the context `remote`.
    fn docker() -> tempfile::TempDir {
        let docker = tempfile::tempdir().unwrap();
        fs::create_dir_all(docker.path().join(META)).unwrap();
        let meta = r#"{"Endpoints":{"docker":{"Host":"ssh://remote"}}}"#;
        fs::write(docker.path().join(META).join("meta.json"), meta).unwrap();
        docker
    }

    fn found(choice: &Choice) -> (String, String) {
        let found = choice.find().unwrap();
        (found.endpoint.to_string(), found.origin)
    }

    #[test]
    fn the_order_is_that_of_the_docker_cli() {
        let docker = docker();
        let socket = docker.path().join("socket");
        fs::write(&socket, "").unwrap();
        let missing = docker.path().join("missing");
        let mut choice = Choice {
            docker: Some(docker.path().to_owned()),
            sockets: vec![missing, socket.clone()],
            ..Choice::default()
        };
        let usual = (format!("unix://{}", socket.display()), "the usual place".to_owned());
        let remote = ("ssh://remote".to_owned(), "the context remote".to_owned());
        assert_eq!(found(&choice), usual);
        fs::write(docker.path().join("config.json"), r#"{"currentContext":"remote"}"#).unwrap();
        assert_eq!(found(&choice), remote);
        choice.docker_context = Some("default".to_owned());
        assert_eq!(found(&choice), usual);
        choice.docker_host = Some("tcp://b:1".to_owned());
        assert_eq!(found(&choice), ("tcp://b:1".to_owned(), "DOCKER_HOST".to_owned()));
        choice.context = Some("default".to_owned());
        assert_eq!(found(&choice), ("tcp://b:1".to_owned(), "DOCKER_HOST".to_owned()));
        choice.context = Some("remote".to_owned());
        assert_eq!(found(&choice), remote);
        choice.host = Some("tcp://c:1".to_owned());
        assert!(matches!(choice.find(), Err(Error::TwoEngines)));
        choice.context = None;
        assert_eq!(found(&choice), ("tcp://c:1".to_owned(), "--host".to_owned()));
    }

    #[test]
    fn without_a_socket_all_that_were_looked_for_are_named() {
        let choice = Choice { sockets: vec!["/none/a".into(), "/none/b".into()], ..Choice::default() };
        assert_eq!(
            choice.find().unwrap_err().to_string(),
            "cannot find a Docker Engine: there is no socket at /none/a, /none/b"
        );
    }

    #[test]
    fn sockets_of_a_user_are_looked_for_where_there_is_a_runtime_directory() {
        assert_eq!(usual_sockets(None).len(), 2);
        assert_eq!(usual_sockets(Some("/run/user/1".into()))[1], PathBuf::from("/run/user/1/docker.sock"));
    }
}
