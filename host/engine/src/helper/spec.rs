//! What a helper is to do, and all that it is given for it.

/// What a backup needs: to read what is closed to root. docs/security.md says what each is for.
pub const BACKUP: &[&str] = &["DAC_OVERRIDE"];
/// What a restore needs: to write everywhere in a volume, and to give files their owners, modes and kinds.
pub const RESTORE: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP"];

/// What a helper is to do.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The arguments of the core. With `--json --events json` among them what it says is understood.
    pub arguments: Vec<String>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// The capabilities that it has; all others are taken from it.
    pub capabilities: Vec<String>,
    /// Whether it reads from its input.
    pub reads_input: bool,
}

/// Something that a helper works on.
#[derive(Debug, Clone)]
pub struct Mount {
    /// What.
    pub source: Source,
    /// Where in the helper: an absolute path of its own, in no other mount.
    pub target: String,
    /// Whether it can be written.
    pub writable: bool,
}

/// Where what is mounted comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A volume, by name. It must be there.
    Volume(String),
    /// A file or directory of the engine's machine. It must be there.
    Path(String),
}

impl Spec {
    /// For the core with `arguments` and `capabilities`. Nothing is mounted yet.
    pub fn new<A: Into<String>>(arguments: impl IntoIterator<Item = A>, capabilities: &[&str]) -> Self {
        Spec {
            arguments: arguments.into_iter().map(Into::into).collect(),
            mounts: Vec::new(),
            capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
            reads_input: false,
        }
    }
}

impl Mount {
    /// The volume `name`, which cannot be written.
    pub fn read(name: impl Into<String>, target: impl Into<String>) -> Self {
        Mount { source: Source::Volume(name.into()), target: target.into(), writable: false }
    }

    /// The volume `name`, which can be written.
    pub fn write(name: impl Into<String>, target: impl Into<String>) -> Self {
        Mount { writable: true, ..Mount::read(name, target) }
    }

    /// A directory of the engine's machine, which can be written.
    pub fn directory(path: impl Into<String>, target: impl Into<String>) -> Self {
        Mount { source: Source::Path(path.into()), target: target.into(), writable: true }
    }
}

impl Source {
    /// What stands before a path in it, where people read it.
    pub(super) fn called(&self) -> String {
        match self {
            Source::Volume(name) => format!("{name}:"),
            Source::Path(path) => path.clone(),
        }
    }
}
