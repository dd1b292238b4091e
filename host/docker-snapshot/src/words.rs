//! Errors in words, on one line: each message, then its cause, and what to do at the end.

use snapshotter_engine::Error;

/// The whole of an error, on one line: each message, then its cause, and what to do at the end.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let advice = error.downcast_ref::<Error>().and_then(Error::advice);
    std::iter::once(chain(error.as_ref())).chain(advice).collect::<Vec<_>>().join(": ")
}

/// The same of an error of the engine.
pub(crate) fn whole(error: &Error) -> String {
    std::iter::once(chain(error)).chain(error.advice()).collect::<Vec<_>>().join(": ")
}

/// Each message of an error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let messages = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    messages.collect::<Vec<_>>().join(": ")
}
