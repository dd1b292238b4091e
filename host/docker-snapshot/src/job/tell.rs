//! What is told while a job goes on. The jobs print nothing.

use snapshotter::report::Event;
use snapshotter_engine::hold;

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
