//! `recover`: starts again what runs that were killed have left stopped, and removes their helpers.

use serde::Serialize;
use snapshotter_engine::Error;
use snapshotter_engine::api::Engine;
use snapshotter_engine::hold::{Event, Outcome, Recovered, Resumed, recover};
use snapshotter_engine::lease::State;

use crate::cli::connection::Connection;
use crate::cli::output;
use crate::words;

#[derive(Debug, Serialize)]
struct Report<'a> {
    resumed: &'a [Resumed],
    failed: Vec<Failure>,
    held: &'a [String],
    elsewhere: &'a [String],
    unreadable: Vec<String>,
    helpers: Helpers<'a>,
}

#[derive(Debug, Serialize)]
struct Helpers<'a> {
    removed: &'a [String],
    failed: Vec<Failure>,
    held: &'a [String],
    elsewhere: &'a [String],
}

#[derive(Debug, Serialize)]
struct Failure {
    container: String,
    reason: String,
}

/// Recovers, and says what was done.
///
/// # Errors
/// When something may still be stopped that no live process will start.
pub(crate) fn run(connection: &Connection, json: bool) -> anyhow::Result<()> {
    let state = State::usual()?;
    // Where nothing was stopped, and no helper was ever made, no engine is needed to say so.
    let recovered = if state.leases()?.is_empty() && !state.has_owned() {
        Recovered::default()
    } else {
        connection.with_engine(async |engine| Ok(recover(&engine, &state, &tell).await?))?
    };
    if json {
        output::print_json(&report(&recovered))?;
    } else {
        show(&recovered)?;
    }
    complete(recovered)
}

/// What each command does first that stops containers: starts what an earlier run has left stopped. What
/// cannot be started is said, and is in nobody's way unless it is to be stopped again.
///
/// # Errors
/// When the leases cannot be read, or the engine does not answer.
pub(crate) async fn before(engine: &Engine, state: &State) -> anyhow::Result<()> {
    let recovered = recover(engine, state, &tell).await?;
    for Resumed { container, outcome } in &recovered.resumed {
        if *outcome == Outcome::Started {
            output::say(&format!("{container} was left stopped by a run that was killed, and runs again"));
        }
    }
    for (_, error) in &recovered.failed {
        output::say(&format!("warning: {}", words::whole(error)));
    }
    for error in &recovered.unreadable {
        output::say(&format!("warning: {}", words::whole(error)));
    }
    Ok(())
}

fn report(recovered: &Recovered) -> Report<'_> {
    let failure = |(container, error): &(String, Error)| Failure {
        container: container.clone(),
        reason: words::chain(error),
    };
    Report {
        resumed: &recovered.resumed,
        failed: recovered.failed.iter().map(failure).collect(),
        held: &recovered.held,
        elsewhere: &recovered.elsewhere,
        unreadable: recovered.unreadable.iter().map(|error| words::chain(error)).collect(),
        helpers: Helpers {
            removed: &recovered.helpers.removed,
            failed: recovered.helpers.failed.iter().map(failure).collect(),
            held: &recovered.helpers.held,
            elsewhere: &recovered.helpers.elsewhere,
        },
    }
}

fn show(recovered: &Recovered) -> anyhow::Result<()> {
    let mut lines: Vec<_> = recovered
        .resumed
        .iter()
        .map(|Resumed { container, outcome }| match outcome {
            Outcome::Started => format!("{container}: started"),
            Outcome::Running => format!("{container}: runs already"),
            Outcome::Replaced => format!("{container}: made anew meanwhile, and runs"),
            Outcome::Gone => format!("{container}: removed meanwhile"),
        })
        .collect();
    lines.extend(
        recovered.held.iter().map(|holder| format!("left alone: what {holder} has stopped, and will start")),
    );
    lines.extend(recovered.helpers.removed.iter().map(|name| format!("{name}: removed, it was a helper")));
    if lines.is_empty() && recovered.is_complete() {
        lines.push("nothing to recover".to_owned());
    }
    lines.iter().try_for_each(|line| output::print_line(output::one_line(line)))
}

/// An error for what is not settled.
fn complete(recovered: Recovered) -> anyhow::Result<()> {
    for name in &recovered.helpers.elsewhere {
        output::say(&format!(
            "warning: the helper {name} was made on another machine or by another user: if that run is dead, \
             remove it with `docker rm --force {name}`"
        ));
    }
    for (_, error) in &recovered.helpers.failed {
        output::say(&words::whole(error));
    }
    for error in &recovered.unreadable {
        output::say(&words::whole(error));
    }
    for address in &recovered.elsewhere {
        output::say(&format!(
            "cannot start what was stopped in the engine at {address}: this is another engine: choose that \
             one with --host or --context"
        ));
    }
    // The last line names all of them, and why the first does not run.
    for (_, error) in recovered.failed.iter().skip(1) {
        output::say(&words::whole(error));
    }
    if let Some(error) = Recovered::failure(recovered.failed) {
        return Err(error.into());
    }
    if recovered.unreadable.is_empty()
        && recovered.elsewhere.is_empty()
        && recovered.helpers.failed.is_empty()
    {
        return Ok(());
    }
    Err(output::Told.into())
}

/// Says what is waited for, and what does not go well.
pub(crate) fn tell(event: &Event<'_>) {
    match event {
        Event::Ended(name, code) => {
            output::say(&format!(
                "warning: {name} ended as soon as it was started, with exit code {code}: see its logs"
            ));
        }
        // What does not start is said at the end.
        Event::Failed(error @ Error::State { .. }) => {
            output::say(&format!("warning: {}", words::whole(error)));
        }
        Event::Waiting(name) => output::say(&format!("waiting until {name} is healthy")),
        Event::Settling(name) => output::say(&format!("waiting for {name}, which may still be stopping")),
        Event::Unhealthy(name) => {
            output::say(&format!("warning: {name} runs, but its healthcheck is not content: see its logs"));
        }
        _ => {}
    }
}
