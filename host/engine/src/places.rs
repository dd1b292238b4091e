//! Where the docker CLI keeps its configuration. All that docker itself reads from there is read from the
//! same place, so that `docker snapshot` and `docker` never speak to two engines.

use std::env;
use std::path::PathBuf;

/// The docker CLI's directory: `$DOCKER_CONFIG`, or `.docker` in the home directory. `None` without either.
pub fn docker_config() -> Option<PathBuf> {
    match env::var_os("DOCKER_CONFIG") {
        Some(directory) if !directory.is_empty() => Some(directory.into()),
        _ => env::home_dir().filter(|home| !home.as_os_str().is_empty()).map(|home| home.join(".docker")),
    }
}
