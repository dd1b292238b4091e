//! Programs of this machine. They see a small environment, so that what is set for other purposes (`PGHOST`,
//! `PGOPTIONS`, `MYSQL_HOST`) does not lead them elsewhere than the database's address says.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::process::Stdio;

use async_trait::async_trait;
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::{Argument, Call, End, Place, Running};

const KEPT: [&str; 4] = ["PATH", "HOME", "TMPDIR", "TZ"];

/// This machine.
#[derive(Debug, Clone, Default)]
pub struct Local {
    path: Option<String>,
}

impl Local {
    /// Programs are looked for in these directories, separated by `:`, instead of those of `PATH`.
    pub fn in_directories(path: impl Into<String>) -> Self {
        Local { path: Some(path.into()) }
    }
}

#[async_trait]
impl Place for Local {
    async fn start(&self, call: &Call) -> io::Result<Running> {
        let mut command = Command::new(&call.program);
        command.env_clear().env("LC_ALL", "C");
        command.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command.envs(call.environment.iter().map(|(name, value)| (name, value.expose_secret())));
        let mut files = Vec::new();
        for argument in &call.arguments {
            match argument {
                Argument::Plain(argument) => command.arg(argument),
                Argument::File { before, content } => {
                    let file = in_memory(content.expose_secret().as_bytes())?;
                    let path = format!("{before}/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
                    files.push(file);
                    command.arg(path)
                }
            };
        }
        let stdin = if call.reads { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().map(|stdin| Box::new(stdin) as _);
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("a pipe is missing"));
        };
        Ok(Running { stdin, stdout: Box::new(stdout), end: Box::pin(ended(child, stderr, files)) })
    }

    fn name(&self) -> String {
        "on this machine".into()
    }
}

/// A file that is in no directory: it cannot be left behind, and only who may look into this process can open
/// it, which is its user and root.
fn in_memory(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("snapshotter", MemfdFlags::CLOEXEC)?);
    // MariaDB's programs ignore a file that everyone may write to.
    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    file.write_all(content)?;
    Ok(file)
}

async fn ended(mut child: Child, stderr: impl AsyncRead + Unpin, files: Vec<File>) -> io::Result<End> {
    let stderr = tail(stderr).await?;
    let status = child.wait().await?;
    drop(files);
    Ok(End { code: status.code(), stderr })
}

async fn tail(mut from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let (mut tail, mut buffer) = (Vec::new(), [0; End::TAIL]);
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(tail);
        }
        tail.extend_from_slice(buffer.get(..read).unwrap_or_default());
        tail.drain(..tail.len().saturating_sub(End::TAIL));
    }
}
