//! The flags that all commands share. They stand before the command or after it.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, RangedU64ValueParser, TypedValueParser};

use crate::cli::stderr::EventFormat;

/// The longest `--lock-timeout`, in seconds: a year, so that no sum of times overflows.
const MAX_TIMEOUT: u64 = 365 * 24 * 60 * 60;

/// The flags that all commands share, but [`VolumeFlags`].
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Flags {
    /// The configuration [default: /config.yml]
    #[arg(long, global = true, value_name = "FILE", env = "SNAPSHOTTER_CONFIG", value_parser = any_path())]
    config: Option<PathBuf>,
    /// The archive; for `-`, `backup` writes one to standard output, and the others read standard input
    #[arg(
        long, global = true, value_name = "FILE", env = "SNAPSHOTTER_ARCHIVE",
        default_value = snapshotter::DEFAULT_ARCHIVE, value_parser = any_path(),
    )]
    archive: PathBuf,
    /// The prefix to use instead of the configuration's
    #[arg(long, global = true)]
    pub(crate) prefix: Option<String>,
    /// Print the result as one JSON object. In names a backslash is `\\` and a byte that is not UTF-8 is
    /// `\xNN`
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Treat warnings as errors
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// Name each member on stderr
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// Say nothing but warnings, errors and what was asked for: no progress, no notes, no closing line
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// How long to wait for another run on the same archive or volume
    #[arg(
        long, global = true, value_name = "SECONDS",
        default_value_t = snapshotter::DEFAULT_LOCK_TIMEOUT.as_secs(),
        value_parser = RangedU64ValueParser::<u64>::new().range(..=MAX_TIMEOUT),
    )]
    pub(crate) lock_timeout: u64,
    /// How progress, warnings, and what went wrong are written to stderr
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) events: EventFormat,
    /// Show no progress
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
}

/// A path; an empty one, as Compose makes of a variable that is not set, is taken as none.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl Flags {
    /// The configuration that was named.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// The archive.
    pub(crate) fn archive(&self) -> &Path {
        let named = Some(self.archive.as_path()).filter(|path| !path.as_os_str().is_empty());
        named.unwrap_or(Path::new(snapshotter::DEFAULT_ARCHIVE))
    }

    /// Whether that is standard input or output.
    pub(crate) fn archive_is_stream(&self) -> bool {
        self.archive().as_os_str() == "-"
    }
}

/// `--volume`, which may be repeated.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct VolumeFlags {
    /// A volume to use instead of the configuration's; may be repeated. With --prefix, no configuration is
    /// needed
    #[arg(long = "volume", value_name = "PATH")]
    pub(crate) volumes: Vec<String>,
}

impl VolumeFlags {
    /// These, then `more`.
    pub(crate) fn and(mut self, more: VolumeFlags) -> Self {
        self.volumes.extend(more.volumes);
        self
    }
}
