//! An engine behind ssh: `ssh … docker system dial-stdio` joins its input and output to the engine's socket,
//! as the docker CLI does it. What ssh says is kept, since it is the reason when nothing comes.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// How much of what ssh says is kept.
const SAID: usize = 4096;

/// The arguments of ssh.
pub(crate) fn arguments(
    user: Option<&str>,
    host: &str,
    port: Option<u16>,
    socket: Option<&str>,
) -> Vec<String> {
    let mut arguments = Vec::new();
    if let Some(user) = user {
        arguments.extend(["-l".to_owned(), user.to_owned()]);
    }
    if let Some(port) = port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    let remote = match socket {
        // A shell on the other side splits this line.
        Some(path) => format!("docker --host {} system dial-stdio", quoted(&format!("unix://{path}"))),
        None => "docker system dial-stdio".to_owned(),
    };
    arguments.extend(["-o", "ConnectTimeout=30", "-T", "--", host].map(str::to_owned));
    arguments.push(remote);
    arguments
}

/// What ssh has said so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// Its last line.
    pub(crate) fn last_line(&self) -> Option<String> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    }

    /// Whether it can still say more.
    pub(crate) fn is_listening(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    async fn listen(self, mut stderr: ChildStderr) {
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
            let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend_from_slice(&buffer[..length]);
            let surplus = said.len().saturating_sub(SAID);
            said.drain(..surplus);
        }
    }
}

/// The two ends of a running ssh. It is killed when they are dropped.
#[derive(Debug)]
pub(crate) struct Pipes {
    _child: Child,
    /// Gone when that direction is closed.
    input: Option<ChildStdin>,
    output: ChildStdout,
}

/// Starts ssh with `arguments`.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start(arguments: &[String]) -> io::Result<(Pipes, Said)> {
    let mut command = Command::new("ssh");
    command.args(arguments);
    open(command)
}

fn open(mut command: Command) -> io::Result<(Pipes, Said)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => io::Error::new(ErrorKind::NotFound, "there is no program `ssh`"),
        _ => error,
    })?;
    let (Some(input), Some(output), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("ssh has no pipes"));
    };
    let said = Said::default();
    tokio::spawn(said.clone().listen(stderr));
    Ok((Pipes { _child: child, input: Some(input), output }, said))
}

impl AsyncRead for Pipes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(task, to)
    }
}

impl AsyncWrite for Pipes {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_write(task, from),
            None => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().map_or(Poll::Ready(Ok(())), |input| Pin::new(input).poll_flush(task))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A pipe is closed by nothing else, and the other side waits for that.
        self.input = None;
        Poll::Ready(Ok(()))
    }
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn the_other_side_hears_when_nothing_more_comes_and_still_answers() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async {
            let (mut pipes, _) = open(Command::new("cat")).unwrap();
            pipes.write_all(b"said").await.unwrap();
            pipes.shutdown().await.unwrap();
            assert_eq!(pipes.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            let mut answer = Vec::new();
            pipes.read_to_end(&mut answer).await.unwrap();
            answer
        });
        assert_eq!(answer, b"said");
    }

    #[test]
    fn ssh_is_asked_as_docker_asks_it() {
        assert_eq!(
            arguments(Some("me"), "host", Some(99), None).join(" "),
            "-l me -p 99 -o ConnectTimeout=30 -T -- host docker system dial-stdio"
        );
        assert_eq!(
            arguments(None, "host", None, Some("/a 'b'")).last().unwrap(),
            r"docker --host 'unix:///a '\''b'\''' system dial-stdio"
        );
    }
}
