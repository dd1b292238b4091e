//! The command line: what can be asked for, and who answers. A command is a file: its arguments, its call of
//! the engine, and how its result is shown.

mod connection;
mod create;
mod export;
mod forget;
mod install;
mod list;
mod metadata;
pub(crate) mod output;
mod plugin;
mod progress;
mod rebuild;
mod recover;
mod restore;
mod selection;
mod sidecar;
pub(crate) mod size;
mod status;
mod table;
mod vault;
mod verify;
mod volumes;

use std::env;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

/// How a misused command line ends; clap's own errors end so too.
const USAGE: u8 = 2;

/// Snapshots of Docker volumes, by name
#[derive(Debug, Parser)]
#[command(name = "docker-snapshot", bin_name = "docker snapshot", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Flags {
    /// Print the result as one JSON object
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    connection: connection::Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show where containers keep data: volumes and other mounts, who uses them, and what is in danger
    #[command(after_help = volumes::EXAMPLE)]
    Volumes(volumes::Volumes),
    /// Take snapshots of volumes, while what writes to them rests
    #[command(after_help = create::EXAMPLE)]
    Create(create::Create),
    /// Show the snapshots in a directory or store
    #[command(after_help = list::EXAMPLE)]
    List(list::List),
    /// Put a snapshot back into volumes, or a part of it into a directory
    #[command(after_help = restore::EXAMPLE)]
    Restore(restore::Restore),
    /// Bring projects back where there is nothing but the engine: volumes, compose files, and a start
    #[command(after_help = rebuild::EXAMPLE)]
    Rebuild(rebuild::Rebuild),
    /// Write a volume of a snapshot as a flat tar, which every tar program takes
    #[command(after_help = export::EXAMPLE)]
    Export(export::Export),
    /// Look whether snapshots are sound: each file, and the archive in it
    #[command(after_help = verify::EXAMPLE)]
    Verify(verify::Verify),
    /// Remove snapshots that are not to be kept any longer
    #[command(after_help = forget::EXAMPLE)]
    Forget(forget::Forget),
    /// Show how much of what there is in stores, and how it grows
    Status(status::Status),
    /// Put right what runs that were killed have left: start what they stopped, remove their helpers
    Recover,
    /// Run a job of the sidecar once, now: what `BACKUP_*` variables say
    Run(sidecar::Which),
    /// Run the sidecar's jobs on their schedules
    Serve(sidecar::Serve),
    /// Whether the sidecar's last backups are there, and good
    Health,
    /// About the sidecar's configuration
    #[command(subcommand)]
    Config(sidecar::ConfigCommand),
    /// Show the backups that the sidecar has made
    ListBackups(sidecar::Which),
    /// Bring a backup of the sidecar back
    RestoreBackup(sidecar::RestoreBackup),
    /// Make `docker snapshot` work: copy this program into docker's directory of plugins
    Install,
    /// What the docker CLI asks each plugin
    #[command(name = plugin::METADATA, hide = true)]
    Metadata,
}

/// Parses the command line and does what it says. Ends the program itself where usage or help is to be shown.
///
/// # Errors
/// Why the command failed.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let Cli { command, flags } =
        Cli::parse_from(plugin::without_its_name(sidecar::of_its_name(env::args_os().collect()).into_iter()));
    let Some(command) = command else {
        output::help(&Cli::command().render_help());
        return Ok(ExitCode::from(USAGE));
    };
    match command {
        Command::Volumes(volumes) => volumes.run(&flags.connection, flags.json),
        Command::Create(create) => create.run(&flags.connection, flags.json),
        Command::List(list) => list.run(flags.json),
        Command::Restore(restore) => restore.run(&flags.connection, flags.json),
        Command::Rebuild(rebuild) => rebuild.run(&flags.connection, flags.json),
        Command::Export(export) => export.run(flags.json),
        Command::Verify(verify) => verify.run(flags.json),
        Command::Forget(forget) => forget.run(flags.json),
        Command::Status(status) => status.run(flags.json),
        Command::Recover => recover::run(&flags.connection, flags.json),
        Command::Run(which) => sidecar::run(&which, flags.json),
        Command::Serve(serve) => sidecar::serve_jobs(&serve),
        Command::Health => sidecar::health(flags.json),
        Command::Config(sidecar::ConfigCommand::Check) => sidecar::check(flags.json),
        Command::ListBackups(which) => sidecar::list(&which, flags.json),
        Command::RestoreBackup(restore) => restore.run(flags.json),
        Command::Install => install::run(&flags.connection, flags.json),
        Command::Metadata => metadata::print(),
    }?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
