//! Errors in words, on one line: each message, then its cause, and what to do at the end.

use snapshotter_engine::Error;
use snapshotter_vault::{encode, store};

/// The whole of an error, on one line: each message, then its cause, and what to do at the end.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let advice = error.downcast_ref::<Error>().and_then(Error::advice);
    let advice = advice.or_else(|| error.chain().find_map(of_the_vault));
    with_advice(error.as_ref(), advice)
}

/// What helps against an error of the vault, which may be inside of one of a reader or writer.
fn of_the_vault(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let error = inner.map_or(error, |inner| inner);
    let store = error.downcast_ref::<store::Error>().and_then(store::Error::advice);
    store.or_else(|| of_encoding(error.downcast_ref::<encode::Error>()?))
}

/// The same of encoding. Which flag has a key is known here alone.
fn of_encoding(error: &encode::Error) -> Option<String> {
    let encode::Error::NoKey { needed, .. } = error else { return error.advice().map(str::to_owned) };
    let flag = match *needed {
        "identity" => "--age-identity FILE names it, and in the sidecar BACKUP_AGE_IDENTITY_FILE",
        "passphrase" => {
            "--gpg-passphrase-file FILE names it, and in the sidecar BACKUP_ENCRYPTION_KEY has it"
        }
        _ => "--gpg-key FILE names it",
    };
    Some(flag.to_owned())
}

/// The same of an error of the engine.
pub(crate) fn whole(error: &Error) -> String {
    with_advice(error, error.advice())
}

/// The same of an error of a store.
pub(crate) fn of_store(error: &store::Error) -> String {
    with_advice(error, error.advice())
}

fn with_advice(error: &dyn std::error::Error, advice: Option<String>) -> String {
    std::iter::once(chain(error)).chain(advice).collect::<Vec<_>>().join(": ")
}

/// Each message of an error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let messages = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    messages.collect::<Vec<_>>().join(": ")
}
