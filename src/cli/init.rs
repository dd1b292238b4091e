//! `snapshotter init`: makes an empty archive.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use snapshotter::name::Shown;
use snapshotter::report::InitReport;

use crate::cli::output::{print_json, print_line};
use crate::cli::session::Session;

/// Shown below the command's help.
pub(crate) const EXAMPLE: &str = "\
Examples:
  docker run --rm -v $PWD:/out snapshotter init /out/backup.tar
  snapshotter init backup.tar";

/// The arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitCommand {
    /// Where to make it; without, where --archive says
    pub(crate) path: Option<PathBuf>,
    /// Make it even where a file is that is no empty archive: what that holds is lost
    #[arg(long)]
    force: bool,
}

impl InitCommand {
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<()> {
        let path = self.path.unwrap_or_else(|| session.archive_path());
        if self.force {
            snapshotter::init_archive_over(&path)?;
        } else {
            snapshotter::init_archive(&path)?;
        }
        let shown = Shown::from(path.as_path());
        let printed = if session.json() {
            print_json(&InitReport { archive: path.clone() })
        } else if session.quiet() {
            Ok(())
        } else {
            print_line(format_args!("made an empty archive at {shown}"))
        };
        printed.with_context(|| format!("{shown} is an empty archive now, but that cannot be reported"))
    }
}
