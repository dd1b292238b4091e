//! The command line. A command is a file: its arguments, its call of the library, and how its result is
//! shown. Nothing here touches a file, and only the library's public API is used.

mod backup;
mod flags;
mod hints;
mod init;
mod list;
mod members;
mod output;
mod problems;
mod progress;
mod restore;
mod session;
mod stderr;
mod units;
mod verify;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use snapshotter::observer::Cancel;
use snapshotter::report::{End, Event};

use crate::cli::flags::{Flags, VolumeFlags};
use crate::cli::restore::Loss;
use crate::cli::session::Session;

/// How a run ends that failed.
const FAILED: u8 = 1;
/// How a misused command line ends; clap's own errors end so too.
const USAGE: u8 = 2;
/// How a restore ends that left out what is damaged.
const LEFT_OUT: u8 = 3;

const EXAMPLE: &str = "\
Examples:
  snapshotter init backup.tar
  docker run --rm --volumes-from busy_lewin \\
    -v $PWD/backup.tar:/backup.tar -v $PWD/config.yml:/config.yml snapshotter backup
  docker run --rm --volumes-from busy_lewin \\
    -v $PWD/backup.tar:/backup.tar -v $PWD/config.yml:/config.yml snapshotter restore
  snapshotter list --archive backup.tar
  snapshotter verify --archive backup.tar
The help of each command has more.";

/// Puts the volumes of Docker containers into one plain, appendable tar archive, and puts them back
#[derive(Debug, Parser)]
#[command(name = "snapshotter", version, after_help = EXAMPLE)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    volumes: VolumeFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an empty archive
    #[command(after_help = init::EXAMPLE)]
    Init(WithVolumes<init::InitCommand>),
    /// Append one snapshot of the configured volumes to the archive
    #[command(after_help = backup::EXAMPLE)]
    Backup(WithVolumes<backup::BackupCommand>),
    /// Put the newest snapshot under the configured prefix back; what it lacks is removed from the volumes
    #[command(after_help = restore::EXAMPLE)]
    Restore(WithVolumes<restore::RestoreCommand>),
    /// Show the snapshots in the archive, or the members of one
    #[command(after_help = list::EXAMPLE)]
    List(WithVolumes<list::ListCommand>),
    /// Read the whole archive and check its structure and every checksum
    #[command(after_help = verify::EXAMPLE)]
    Verify(WithVolumes<verify::VerifyCommand>),
}

/// A command's own arguments, and `--volume` once more: of a flag that is global, clap keeps only the values
/// after the command, so that a volume named before it would be left out without a word.
#[derive(Debug, Args)]
struct WithVolumes<T: Args> {
    #[command(flatten)]
    args: T,
    #[command(flatten)]
    volumes: VolumeFlags,
}

/// Parses the command line, does what it says, and reports how that ended. Ends the program itself where
/// usage or help is to be shown. `cancel` is what signals set, or why they cannot.
pub(crate) fn run(cancel: anyhow::Result<Cancel>) -> ExitCode {
    let matches = Cli::command().get_matches();
    let Cli { command, flags, volumes } =
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let Some(command) = command else {
        stderr::help(&Cli::command().render_help());
        return ExitCode::from(USAGE);
    };
    if let Some(refusal) = meaningless(&command, &flags, &volumes, &matches) {
        Cli::command().error(ErrorKind::ArgumentConflict, refusal).exit();
    }
    let events = flags.events;
    let result = cancel.and_then(|cancel| answer(command, flags, volumes, cancel));
    let exit_code = match &result {
        Ok(()) => 0,
        Err(error) if error.is::<Loss>() => LEFT_OUT,
        Err(_) => FAILED,
    };
    let error = result.err().map(|error| stderr::describe(&error));
    events.write(&Event::End(End { ok: exit_code == 0, exit_code, error }));
    ExitCode::from(exit_code)
}

/// What of the command line has no meaning for the command: ignored, it would pass for obeyed.
fn meaningless(
    command: &Command,
    flags: &Flags,
    before: &VolumeFlags,
    matches: &ArgMatches,
) -> Option<String> {
    let given = |name| {
        // Global flags are known to the command too; what the environment says is for all commands.
        let of_command = matches.subcommand().map(|(_, matches)| matches.value_source(name));
        of_command.flatten() == Some(ValueSource::CommandLine)
    };
    let has_prefix = flags.prefix.is_some();
    let volumes =
        |after: &VolumeFlags| [before, after].into_iter().flat_map(|flags| &flags.volumes).cloned().collect();
    let (name, volumes): (_, Vec<String>) = match command {
        Command::Init(also) => ("init", volumes(&also.volumes)),
        Command::Backup(also) => ("backup", volumes(&also.volumes)),
        Command::Restore(_) => return None,
        Command::List(also) => ("list", volumes(&also.volumes)),
        Command::Verify(also) => ("verify", volumes(&also.volumes)),
    };
    let id = match command {
        Command::List(also) => also.args.id.as_ref(),
        Command::Verify(also) => also.args.id.as_ref(),
        _ => None,
    };
    let is_path_twice =
        matches!(command, Command::Init(also) if also.args.path.is_some()) && given("archive");
    if let Some(moved) = volumes.iter().find(|volume| volume.contains("=/")) {
        return Some(format!(
            "--volume {moved} has no meaning for `{name}`: `=` before a path is for `restore`, and a volume whose \
             path has that is named in a configuration"
        ));
    }
    Some(match name {
        "init" if is_path_twice => "`init` takes a PATH or --archive, not both".to_owned(),
        "init" if has_prefix || !volumes.is_empty() => {
            "--prefix and --volume have no meaning for `init`, which makes an archive without any".to_owned()
        }
        "backup"
            if flags.archive_is_stream()
                && matches!(command, Command::Backup(also) if also.args.discard_tail) =>
        {
            "--discard-tail has no meaning for `backup --archive -`, which appends to nothing".to_owned()
        }
        "init" | "list" | "verify" if given("config") => {
            format!("--config has no meaning for `{name}`, which reads no configuration")
        }
        "list" if given("strict") => {
            "--strict has no meaning for `list`, which checks nothing: `verify` does".to_owned()
        }
        _ if id.is_some() && has_prefix => {
            format!("--prefix has no meaning for `{name}` with an ID, which names one snapshot")
        }
        _ => return None,
    })
}

fn answer(command: Command, flags: Flags, volumes: VolumeFlags, cancel: Cancel) -> anyhow::Result<()> {
    let session = |more: VolumeFlags| Session::new(flags, volumes.and(more), cancel);
    match command {
        Command::Init(also) => also.args.run(&session(also.volumes)),
        Command::Backup(also) => also.args.run(&session(also.volumes)),
        Command::Restore(also) => also.args.run(&session(also.volumes)),
        Command::List(also) => also.args.run(&session(also.volumes)),
        Command::Verify(also) => also.args.run(&session(also.volumes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(format!("snapshotter {line}").split_whitespace())
    }

    fn refusal(line: &str) -> ErrorKind {
        parse(line).unwrap_err().kind()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_command_and_the_last_one_counts() {
        for line in [
            "--archive a.tar --json -q --lock-timeout 5 list",
            "list --archive a.tar --json -q --lock-timeout 5",
            "--archive b.tar --json --lock-timeout 9 list -q --archive a.tar --lock-timeout 5",
        ] {
            let flags = parse(line).unwrap().flags;
            assert_eq!(flags.archive().to_str(), Some("a.tar"), "{line}");
            assert!(flags.json && flags.quiet && !flags.verbose && !flags.strict, "{line}");
            assert_eq!(flags.lock_timeout, 5, "{line}");
        }
    }

    #[test]
    fn volumes_before_and_after_the_command_are_all_kept_in_order() {
        let cli = parse("--volume /a --volume /b backup --volume /c").unwrap();
        let Some(Command::Backup(also)) = cli.command else { panic!("another command") };
        assert_eq!(cli.volumes.and(also.volumes).volumes, ["/a", "/b", "/c"]);
    }

    #[test]
    fn what_cannot_go_together_is_refused() {
        assert_eq!(refusal("restore --path a"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refusal("restore --into o --in-place"), ErrorKind::ArgumentConflict);
        assert_eq!(refusal("backup --checksum sometimes"), ErrorKind::InvalidValue);
        assert_eq!(refusal("backup --lock-timeout -1"), ErrorKind::UnknownArgument);
        assert_eq!(refusal("backup --lock-timeout 1.5"), ErrorKind::ValueValidation);
        assert_eq!(refusal("backup --lock-timeout 99999999999"), ErrorKind::ValueValidation);
        assert_eq!(refusal("backup /backup.tar"), ErrorKind::UnknownArgument);
        assert_eq!(refusal("shred"), ErrorKind::InvalidSubcommand);
        assert!(parse("restore --into o --path a --dry-run --no-owner --snapshot 1a2b").is_ok());
    }

    #[test]
    fn no_command_at_all_is_not_a_wrong_one() {
        assert!(parse("-v").unwrap().command.is_none());
    }

    #[test]
    fn the_version_is_the_one_that_snapshots_carry() {
        assert_eq!(Cli::command().render_version().trim_end(), snapshotter::PROGRAM);
    }

    #[test]
    fn each_command_shows_an_example_with_docker_and_one_without() {
        let mut cli = Cli::command();
        // Only then do subcommands know the flags that all have.
        cli.build();
        for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let help = command.render_long_help().to_string();
            assert!(help.contains("docker run --rm"), "{help}");
            assert!(help.lines().any(|line| line.starts_with("  snapshotter ")), "{help}");
        }
    }
}
