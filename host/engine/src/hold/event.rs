//! What is told while containers are brought to rest and go on.

use crate::error::Error;
use crate::lease::Manner;

/// Hears each event, when it has happened.
pub type Observer<'a> = &'a dyn Fn(&Event<'_>);

/// Something that has happened. Names are those of containers.
#[derive(Debug)]
pub enum Event<'a> {
    /// What will be held is on disk.
    Recorded,
    /// The engine does not start the container by itself any longer.
    PolicyTaken(&'a str),
    /// The container is asked to rest.
    Holding(&'a str, Manner),
    /// The container rests.
    Held(&'a str),
    /// The container did not end in the time that it had, and was killed: it could not put its files in
    /// order.
    Killed(&'a str),
    /// The container had ended by itself before it was stopped: it is left so.
    EndedItself(&'a str),
    /// The engine starts the container by itself again, as before.
    PolicyGiven(&'a str),
    /// The container runs again.
    Resumed(&'a str),
    /// The container runs, and may still be on its way to a stop that a dead process has asked for.
    Settling(&'a str),
    /// What depends on the container waits for its healthcheck.
    Waiting(&'a str),
    /// The container's healthcheck says that it does not work, or says nothing for too long.
    Unhealthy(&'a str),
    /// The container ended as soon as it was started, with this exit code.
    Ended(&'a str, i64),
    /// The lease says no longer that the container must run again.
    Settled(&'a str),
    /// Something failed that did not end the work.
    Failed(&'a Error),
}
