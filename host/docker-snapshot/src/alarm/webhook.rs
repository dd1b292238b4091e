//! Webhooks: a POST with the summary as plain text, which healthchecks.io keeps and ntfy shows.

use std::time::Duration;

use reqwest::{Client, StatusCode, redirect::Policy};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::sleep;

use crate::alarm::Message;

/// For one attempt.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses before the attempts that follow the first.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// Calls it.
///
/// # Errors
/// Why nobody took it; the address, a secret, is not in that.
pub(super) async fn call(hook: &SecretString, message: &Message) -> Result<(), String> {
    let tls = snapshotter_vault::store::tls().map_err(|error| error.to_string())?;
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(PATIENCE)
        .redirect(Policy::limited(3))
        .user_agent(concat!("docker-snapshot/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(words)?;
    let mut pauses = PAUSES.iter();
    loop {
        let why = match attempt(&client, hook, message).await {
            Ok(()) => return Ok(()),
            Err((why, false)) => return Err(why),
            Err((why, true)) => why,
        };
        match pauses.next() {
            Some(pause) => sleep(*pause).await,
            None => return Err(why),
        }
    }
}

/// One attempt; with why it failed, whether another may help.
async fn attempt(client: &Client, hook: &SecretString, message: &Message) -> Result<(), (String, bool)> {
    let request = client
        .post(hook.expose_secret())
        .header("Content-Type", "text/plain; charset=utf-8")
        // What ntfy shows above the text. A header is ASCII.
        .header("Title", message.subject.chars().filter(|c| (' '..='~').contains(c)).collect::<String>())
        .body(message.text.clone());
    let status = request.send().await.map_err(|error| (words(error), true))?.status();
    let again = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if status.is_success() { Ok(()) } else { Err((format!("the server answers {status}"), again)) }
}

fn words(error: reqwest::Error) -> String {
    crate::words::chain(&error.without_url())
}
