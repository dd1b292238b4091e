//! A program of the user's own: the summary is its standard input, and what it is about in its environment.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::alarm::Message;

/// How long it may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs it.
///
/// # Errors
/// Why it did not do its work.
pub(super) async fn run(command: &[String], message: &Message) -> Result<(), String> {
    let mut program = Command::new(&command[0]);
    program.args(&command[1..]);
    // The settings have keys and passwords in them, which are no business of that program.
    let foreign = std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("BACKUP_"));
    program.env_clear().envs(foreign);
    program.env("BACKUP_NAME", &message.job);
    program.env("BACKUP_STATUS", message.occasion.word());
    program.env("BACKUP_SUBJECT", &message.subject);
    program.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
    let work = async {
        let mut child = program.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // One that does not read it may have been told enough.
            let _ = input.write_all(message.text.as_bytes()).await;
        }
        child.wait().await
    };
    match timeout(PATIENCE, work).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("it ended with {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it has not ended within {} s", PATIENCE.as_secs())),
    }
}
