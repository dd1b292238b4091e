//! `install`: puts this program where the docker CLI looks for plugins.

use std::env;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cli::connection::Connection;
use crate::cli::output;
use anyhow::Context;
use serde::Serialize;

/// The name that makes a program the plugin `docker snapshot`.
const FILE: &str = "docker-snapshot";

#[derive(Debug, Serialize)]
struct Installed {
    path: String,
}

/// Copies this program to its place below docker's configuration.
///
/// # Errors
/// When it cannot be read, or the place cannot be written.
pub(crate) fn run(connection: &Connection, json: bool) -> anyhow::Result<()> {
    let docker = connection.docker_config().context(
        "cannot find docker's configuration: neither HOME nor DOCKER_CONFIG is set: set one of them",
    )?;
    let program = env::current_exe().context("cannot find this program's own file")?;
    let place = docker.join("cli-plugins").join(FILE);
    copy(&program, &place)
        .with_context(|| format!("cannot copy {} to {}", program.display(), place.display()))?;
    let path = place.display().to_string();
    if json { output::print_json(&Installed { path }) } else { output::print_line(output::one_line(&path)) }
}

/// Copies to a temporary name first, so that a program that runs is replaced and not overwritten.
fn copy(program: &Path, place: &Path) -> io::Result<()> {
    if is_same(program, place) {
        return Ok(());
    }
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    let temporary = PathBuf::from(format!("{}.new", place.display()));
    fs::copy(program, &temporary)
        .and_then(|_| fs::set_permissions(&temporary, Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(&temporary, place))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// Whether the installed program installs itself.
fn is_same(program: &Path, place: &Path) -> bool {
    matches!((fs::canonicalize(program), fs::canonicalize(place)), (Ok(a), Ok(b)) if a == b)
}
