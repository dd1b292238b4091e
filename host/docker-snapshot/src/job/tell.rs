//! What is told while a job goes on. The jobs print nothing.

use snapshotter::report::Event;
use snapshotter_engine::Error;
use snapshotter_engine::helper::Told;
use snapshotter_engine::hold::{self, Held};

use crate::words;

/// Something that has happened.
#[derive(Debug)]
pub(crate) enum Notice<'a> {
    /// Something worth a line, and in order.
    Note(&'a str),
    /// Something that the user should know, and may have to mend.
    Warning(&'a str),
    /// What containers do.
    Hold(&'a hold::Event<'a>),
    /// What the helper says.
    Core(&'a Event),
    /// A step begins that takes its time.
    Step(&'a str),
    /// So many more bytes of the step are done.
    Bytes(u64),
    /// The step is over.
    Done,
}

/// Hears each, from the thread that the job runs in.
pub(crate) type Tell<'a> = &'a dyn Fn(&Notice<'_>);

/// Passes on what is told of a helper.
pub(crate) fn helper(tell: Tell<'_>, told: &Told<'_>) {
    match told {
        Told::Core(event) => tell(&Notice::Core(event)),
        Told::Left(name, error) => tell(&Notice::Warning(&format!(
            "cannot remove the helper {name}: {error}: `docker snapshot recover` does it"
        ))),
        _ => {}
    }
}

/// Lets all go on that `held` has, after work that ended in `result`; the second value says what does not run
/// again.
///
/// # Errors
/// When the work failed. Where something does not run again either, the error is that one.
pub(crate) async fn released<T>(
    tell: Tell<'_>,
    held: Held<'_>,
    result: anyhow::Result<T>,
) -> anyhow::Result<(T, Option<Error>)> {
    let observer = |event: &hold::Event<'_>| tell(&Notice::Hold(event));
    match (held.release(&observer).await, result) {
        (Ok(_), result) => Ok((result?, None)),
        (Err(stays), Ok(value)) => Ok((value, Some(stays))),
        (Err(stays), Err(error)) => {
            tell(&Notice::Warning(&words::message(&error)));
            Err(stays.into())
        }
    }
}
