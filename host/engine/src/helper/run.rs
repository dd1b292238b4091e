//! Runs a helper, judges how it ended, and removes it. Success needs all of three: the stream came to its
//! end, the core said that all is done, and the container's exit code says the same.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join, select};
use hyper::upgrade::Upgraded;
use serde::de::DeserializeOwned;
use snapshotter::report::End;
use tokio::time::timeout;

use crate::api::Engine;
use crate::api::container::Status;
use crate::error::{Error, Result};
use crate::helper::listen::{Heard, Listener, Observer, Told};
use crate::helper::names::Names;
use crate::helper::spec::Spec;
use crate::helper::workshop::Helpers;
use crate::transfer::{Carried, Hears, Streams, carry};

/// How long the core has to put everything back when it is asked to end, before it is killed.
const GRACE: Duration = Duration::from_mins(1);
/// How long a container may run on when its stream has ended, before that counts as cut off.
const AFTER: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 10_000 });
/// How often in a row nothing may come and nobody can say that this is well.
const DOUBTS: u32 = 3;
/// The longest report that is kept.
const REPORT: usize = 256 << 20;

/// A helper that was made and waits to be started.
#[derive(Debug)]
#[must_use = "its container is left behind unless it is run or discarded"]
pub struct Prepared<'a> {
    pub(super) helpers: &'a Helpers<'a>,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) spec: Spec,
}

/// What a helper has done.
#[derive(Debug)]
pub struct Finished<W> {
    /// Where its output went, all of it written and flushed.
    pub output: W,
    /// How many bytes that were.
    pub bytes: u64,
}

/// An output that is kept in memory: the core's report.
#[derive(Debug, Default)]
pub struct Collected(Vec<u8>);

impl Prepared<'_> {
    /// The container's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is nothing in the directory that is mounted at `target`. It is not started for that.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn is_empty(&self, target: &str) -> Result<bool> {
        self.helpers.engine.is_empty(&self.id, target).await
    }

    /// Removes it.
    pub async fn discard(self, observer: Observer<'_>) {
        self.remove(observer).await;
    }

    /// Starts it, carries its streams, waits until it has ended, and removes it. When `stop` is ready before,
    /// the core is asked to end, which puts back what it has begun.
    ///
    /// This must not be dropped before it is done: the container would be left to the next `recover`.
    ///
    /// # Errors
    /// Unless the core says that all is done. What was written to the output is worth nothing then.
    pub async fn run<W: Write + Send + 'static>(
        self,
        streams: Streams<W>,
        observer: Observer<'_>,
        stop: impl Future<Output = ()>,
    ) -> Result<Finished<W>> {
        let (finished, ended) = self.run_and_keep(streams, observer, stop).await?;
        ended.discard(observer).await;
        Ok(finished)
    }

    /// The same, but where all is done the container is left: it is to be discarded when nobody waits any
    /// longer.
    ///
    /// # Errors
    /// As [`Prepared::run`]; it is removed then.
    pub async fn run_and_keep<W: Write + Send + 'static>(
        self,
        streams: Streams<W>,
        observer: Observer<'_>,
        stop: impl Future<Output = ()>,
    ) -> Result<(Finished<W>, Self)> {
        let result = self.attempt(streams, observer, stop).await;
        if result.is_err() {
            // It may still run. When it is asked to, the core puts back what it has begun.
            let _ = self.helpers.engine.end(&self.id, GRACE).await;
        }
        observer(&Told::Ended);
        match result {
            Ok(finished) => Ok((finished, self)),
            Err(error) => {
                self.remove(observer).await;
                Err(error)
            }
        }
    }

    async fn attempt<W: Write + Send + 'static>(
        &self,
        streams: Streams<W>,
        observer: Observer<'_>,
        stop: impl Future<Output = ()>,
    ) -> Result<Finished<W>> {
        let engine = self.helpers.engine;
        let names = Names::of(&self.spec);
        let listener = Listener::new(&names, observer);
        let attempt = Attempt { engine, id: &self.id, listener, doubts: Cell::new(0) };
        let connection = engine.attach(&self.id, self.spec.reads_input).await?;
        observer(&Told::Attached);
        engine.start_id(&self.id).await?;
        observer(&Told::Started);
        let (carried, stopped) = attempt.carry(connection, streams, stop).await;
        let result = attempt.finish(carried).await;
        if stopped { result.map_err(|source| Error::Stopped { source: Box::new(source) }) } else { result }
    }

    async fn remove(&self, observer: Observer<'_>) {
        match self.helpers.engine.remove(&self.id).await {
            Ok(()) => {
                self.helpers.left.set(self.helpers.left.get() - 1);
                observer(&Told::Removed);
            }
            Err(error) => observer(&Told::Left(&self.name, &error)),
        }
    }
}

/// One run.
struct Attempt<'a> {
    engine: &'a Engine,
    id: &'a str,
    listener: Listener<'a>,
    /// How often in a row nothing came and nobody could say that this is well.
    doubts: Cell<u32>,
}

impl Attempt<'_> {
    /// Carries the streams until they end. When `stop` is ready, the core is asked to end, and is heard until
    /// it has, since it says what it has put back; the second value says so.
    async fn carry<W: Write + Send + 'static>(
        &self,
        connection: Upgraded,
        streams: Streams<W>,
        stop: impl Future<Output = ()>,
    ) -> (Result<Carried<W>>, bool) {
        let carrying = pin!(carry(connection, streams, "read what the helper sends", self));
        match select(carrying, pin!(stop)).await {
            Either::Left((carried, _)) => (carried, false),
            Either::Right(((), carrying)) => {
                let ending = self.engine.end(self.id, GRACE);
                let (_, carried) = join(ending, timeout(GRACE + AFTER, carrying)).await;
                (carried.unwrap_or(Err(Error::Cut)), true)
            }
        }
    }

    /// What came of it, when the streams have ended.
    async fn finish<W>(self, carried: Result<Carried<W>>) -> Result<Finished<W>> {
        let Attempt { engine, id, listener, .. } = self;
        let heard = listener.finish();
        match carried {
            Ok(Carried { output, bytes, whole }) => {
                let exit_code = timeout(AFTER, engine.wait(id)).await.unwrap_or(Err(Error::Cut))?;
                let archive = heard.archive;
                judge(engine, id, exit_code, heard).await?;
                // What the core says last can come while the end of its output is lost.
                if whole && archive.is_none_or(|length| length == bytes) {
                    Ok(Finished { output, bytes })
                } else {
                    Err(Error::Cut)
                }
            }
            // Here it was this side that did not go on.
            Err(error @ (Error::Output { .. } | Error::Input { .. })) => Err(error),
            // What has ended by itself knows better why.
            Err(error) => match engine.container(id).await {
                Ok(Some(ended)) if ended.state.status == Status::Exited => {
                    match judge(engine, id, ended.state.exit_code, heard).await {
                        Ok(()) | Err(Error::Cut) => Err(error),
                        Err(better) => Err(better),
                    }
                }
                _ => Err(error),
            },
        }
    }
}

impl Hears for Attempt<'_> {
    fn errors(&self, bytes: &[u8]) {
        self.doubts.set(0);
        self.listener.hear(bytes);
    }

    async fn silence(&self) -> Result<()> {
        let doubt = match self.engine.container(self.id).await {
            Ok(Some(container)) if container.state.status != Status::Exited => {
                self.doubts.set(0);
                return Ok(());
            }
            Ok(_) => Error::Cut,
            Err(error) => error,
        };
        self.doubts.set(self.doubts.get() + 1);
        if self.doubts.get() < DOUBTS { Ok(()) } else { Err(doubt) }
    }
}

/// An error unless the core says that all is done, and so does the exit code.
async fn judge(engine: &Engine, id: &str, exit_code: i64, heard: Heard) -> Result<()> {
    let said = heard.last_line();
    match heard.end {
        Some(End { error: Some(error), .. }) => Err(Error::Helper { exit_code, error: Box::new(error) }),
        Some(End { ok: true, .. }) if exit_code == 0 => Ok(()),
        // Without its last word nobody knows what else is missing.
        None if exit_code == 0 => Err(Error::Cut),
        _ => {
            let container = engine.container(id).await?;
            let out_of_memory = container.is_some_and(|container| container.state.out_of_memory);
            Err(if out_of_memory { Error::OutOfMemory } else { Error::Died { exit_code, said } })
        }
    }
}

impl Collected {
    /// The core's report.
    ///
    /// # Errors
    /// When it is none.
    pub fn report<T: DeserializeOwned>(&self) -> Result<T> {
        let action = "read the helper's report".to_owned();
        serde_json::from_slice(&self.0).map_err(|source| Error::Answer { action, source })
    }
}

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > REPORT {
            return Err(io::Error::other("the helper's report is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
