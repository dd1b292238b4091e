//! What can fail, one variant for each operation, and what a user can do about it. A message is lowercase and
//! never repeats its source; [`Error::advice`] comes after both.

use std::io;
use std::path::PathBuf;

use crate::obstacle::Obstacle;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No address of an engine is given, and none of the usual sockets is there.
    #[error("cannot find a Docker Engine: there is no socket at {}", tried.join(", "))]
    NoEngine {
        /// The sockets that were looked for.
        tried: Vec<String>,
    },
    /// An address of an engine that cannot be one.
    #[error("cannot use the engine's address {address}: {problem}")]
    Address {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A docker context that cannot be used.
    #[error("cannot use the docker context {name}: {problem}")]
    Context {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two ways to choose the engine, given at once.
    #[error("cannot choose an engine: both a host and a context are given")]
    TwoEngines,
    /// A file of docker's configuration cannot be read.
    #[error("cannot read {}", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be set up from the files that are there.
    #[error("cannot set up TLS: {}: {problem}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The engine does not answer at its address.
    #[error("cannot connect to the engine at {endpoint}")]
    Connect {
        /// The address.
        endpoint: String,
        /// How the address was found, where it may be wrong.
        advice: String,
        /// Why.
        source: io::Error,
    },
    /// The engine speaks no version of the API that is known here.
    #[error("cannot speak to the engine: it takes API {least} to {most}, and {ours} is known here")]
    Version {
        /// The engine's least version.
        least: String,
        /// The engine's newest version.
        most: String,
        /// The versions that are known here.
        ours: String,
    },
    /// The engine refused.
    #[error("cannot {action}: the engine says: {message}")]
    Refused {
        /// What was to be done, such as "list volumes".
        action: String,
        /// The HTTP status.
        status: u16,
        /// The engine's own words.
        message: String,
    },
    /// The engine did not answer, or its answer broke off.
    #[error("cannot {action}")]
    Broken {
        /// What was to be done.
        action: String,
        /// Why.
        source: io::Error,
    },
    /// The engine's answer is not what its API promises.
    #[error("cannot {action}: the engine's answer is not understood")]
    Answer {
        /// What was to be done.
        action: String,
        /// Why.
        source: serde_json::Error,
    },
    /// There is no place for leases.
    #[error("cannot keep a list of stopped containers: neither HOME nor XDG_STATE_HOME says where")]
    NoState,
    /// Leases cannot be kept.
    #[error("cannot keep a list of stopped containers in {}", directory.display())]
    State {
        /// Where they are kept.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A lease cannot be read.
    #[error("cannot read which containers must run again, in {}", path.display())]
    Lease {
        /// The lease.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A container is at rest already.
    #[error("cannot stop {container}: {}", match holder {
        Some(holder) => format!("it is held by {holder}"),
        None => "a run that was killed has left it stopped".to_owned(),
    })]
    Leased {
        /// Its name.
        container: String,
        /// The live process that holds it.
        holder: Option<String>,
    },
    /// A container must not be brought to rest.
    #[error("cannot stop {container}: {obstacle}")]
    Obstacle {
        /// Its name.
        container: String,
        /// Why.
        obstacle: Obstacle,
    },
    /// A container was removed while it was stopped.
    #[error("cannot stop {container}: it was removed meanwhile")]
    Gone {
        /// Its name.
        container: String,
    },
    /// A container that was stopped runs.
    #[error("cannot stop {container}: it runs again")]
    RunsAgain {
        /// Its name.
        container: String,
    },
    /// A container that was asked to stop, and is not killed when it takes its time, still runs.
    #[error("cannot start {container}: it was asked to stop, and has not ended yet")]
    StillStopping {
        /// Its name.
        container: String,
    },
    /// Containers that ran do not run.
    #[error("cannot start {} again", containers.join(", "))]
    StaysStopped {
        /// Their names.
        containers: Vec<String>,
        /// Why the first of them does not.
        source: Box<Error>,
    },
}

impl Error {
    /// What to do about it, where that is known.
    pub fn advice(&self) -> Option<String> {
        let advice = match self {
            Error::NoEngine { .. } => {
                "start Docker or Podman, or name an engine with DOCKER_HOST or `docker context use`"
            }
            Error::Address { .. } => {
                "use unix:///path/to/docker.sock, tcp://host:port or ssh://user@host in DOCKER_HOST or --host"
            }
            Error::Context { .. } => "see `docker context ls` for the contexts that are there",
            Error::TwoEngines => "give one of --host and --context",
            Error::Configuration { .. } => "mend the file, or name another directory with DOCKER_CONFIG",
            Error::Certificates { .. } => {
                "put ca.pem, cert.pem and key.pem into one directory, and name it in DOCKER_CERT_PATH"
            }
            Error::Connect { advice, .. } => return Some(advice.clone()),
            Error::Version { .. } => "use an engine and a docker-snapshot of about the same age",
            Error::Broken { .. } => "see whether the engine still runs, and try again",
            Error::NoState => "name a directory with DOCKER_SNAPSHOT_STATE_DIR",
            Error::State { .. } => {
                "nothing is stopped without it: make room there, or name another directory with \
                 DOCKER_SNAPSHOT_STATE_DIR"
            }
            Error::Lease { .. } => "start what it names by hand, and remove it",
            Error::Leased { holder: Some(_), .. } => "wait until that has ended",
            Error::Leased { holder: None, .. } => "`docker snapshot recover` starts it again",
            Error::Obstacle { obstacle, .. } => obstacle.advice(),
            Error::RunsAgain { .. } => {
                "see who starts it, such as an updater, and keep that from it meanwhile"
            }
            Error::StillStopping { .. } => "`docker snapshot recover` starts it when it has ended",
            Error::StaysStopped { .. } => "mend that, and `docker snapshot recover` starts them",
            Error::Answer { .. } | Error::Refused { .. } | Error::Gone { .. } => return None,
        };
        Some(advice.to_owned())
    }

    /// Whether the engine says that what was asked for is not there.
    pub fn is_not_there(&self) -> bool {
        matches!(self, Error::Refused { status: 404, .. })
    }
}
