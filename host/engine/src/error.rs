//! What can fail, one variant for each operation, and what a user can do about it. A message is lowercase and
//! never repeats its source; [`Error::advice`] comes after both.

use std::io;
use std::path::PathBuf;

use snapshotter::report::RunError;

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
    /// This program carries no core for the engine's processor.
    #[error("cannot make a helper: the engine runs on {architecture}, and this program {}", match &carried[..] {
        [] => "was built without the core".to_owned(),
        carried => format!("carries the core for {} alone", carried.join(" and ")),
    })]
    NoCore {
        /// The engine's processor.
        architecture: String,
        /// Those that it has the core for.
        carried: Vec<String>,
    },
    /// The core's program cannot be used.
    #[error("cannot use {} for helpers: {problem}", path.display())]
    Core {
        /// The program.
        path: PathBuf,
        /// What is the matter with it.
        problem: String,
    },
    /// The image that helpers are to be made from is not in the engine.
    #[error("cannot make a helper: the engine has no image {image}")]
    NoImage {
        /// Its name.
        image: String,
    },
    /// A volume is not there, or another has taken its place.
    #[error("cannot use the volume {volume}: {}", if *replaced {
        "it was removed meanwhile, and made anew"
    } else {
        "the engine has none of that name"
    })]
    NoVolume {
        /// Its name.
        volume: String,
        /// Whether it was there a moment ago.
        replaced: bool,
    },
    /// What a helper is to read cannot be read here.
    #[error("cannot read what the helper is to get")]
    Input {
        /// Why.
        source: io::Error,
    },
    /// What a helper writes cannot be written here.
    #[error("cannot write what the helper sends")]
    Output {
        /// Why.
        source: io::Error,
    },
    /// The connection to a helper ended before the helper did, or before all had come.
    #[error("the connection to the helper was cut off, by the engine or by a proxy in front of it")]
    Cut,
    /// A helper was asked to stop.
    #[error("stopped")]
    Stopped {
        /// How it then ended.
        source: Box<Error>,
    },
    /// The core failed, and says why.
    #[error("{}", error.message)]
    Helper {
        /// Its exit code.
        exit_code: i64,
        /// What it says; paths are named by volume.
        error: Box<RunError>,
    },
    /// The kernel killed a helper for want of memory.
    #[error("the helper was killed for want of memory")]
    OutOfMemory,
    /// A helper ended without a word of the core's.
    #[error("the helper ended with exit code {exit_code}{}", match said {
        Some(said) => format!(": {said}"),
        None => " and without a word".to_owned(),
    })]
    Died {
        /// Its exit code; 137 where it was killed.
        exit_code: i64,
        /// The last line that it wrote.
        said: Option<String>,
    },
    /// A helper of a dead run may still work on its volumes.
    #[error("cannot stop the helper {helper}, which a run that was killed has left")]
    StaysHelper {
        /// The container's name.
        helper: String,
        /// Why.
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
            Error::NoCore { .. } => {
                "name an image of snapshotter that the engine has with --helper-image, or its static program \
                 with DOCKER_SNAPSHOT_CORE"
            }
            Error::Core { .. } => "build one with scripts/build-musl.sh, or use the one of a release",
            Error::NoImage { .. } => "load or pull it with `docker`, or name another with --helper-image",
            Error::NoVolume { replaced: false, .. } => "see `docker volume ls` for those that are there",
            Error::NoVolume { replaced: true, .. } => "see who removes it, and try again",
            Error::Cut => "see whether the engine still runs and what a proxy allows, and try again",
            Error::Stopped { source } => return source.advice(),
            Error::Helper { error, .. } => return error.advice.clone(),
            Error::OutOfMemory => "make memory free on the engine's machine, and try again",
            Error::Died { exit_code: 137, .. } => "it was killed: see by whom, and try again",
            Error::StaysHelper { .. } => "stop it by hand: `docker kill` it, or start the engine anew",
            Error::Answer { .. }
            | Error::Input { .. }
            | Error::Output { .. }
            | Error::Died { .. }
            | Error::Refused { .. }
            | Error::Gone { .. } => return None,
        };
        Some(advice.to_owned())
    }

    /// Whether the engine says that what was asked for is not there.
    pub fn is_not_there(&self) -> bool {
        matches!(self, Error::Refused { status: 404, .. })
    }
}
