//! Signals. The first of SIGINT, SIGTERM and SIGHUP ends a job in order: what was begun is put back, and
//! what was stopped runs again. Those that follow change nothing: a second Ctrl-C must not leave containers
//! stopped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether a signal came.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    came: watch::Receiver<Option<&'static str>>,
    flag: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens from now on.
    ///
    /// # Errors
    /// When signals cannot be listened for.
    pub(crate) fn listen() -> io::Result<Self> {
        let (sender, came) = watch::channel(None);
        let flag = Arc::new(AtomicBool::new(false));
        for (kind, name) in [
            (SignalKind::interrupt(), "SIGINT"),
            (SignalKind::terminate(), "SIGTERM"),
            (SignalKind::hangup(), "SIGHUP"),
        ] {
            let mut signals = signal(kind)?;
            let (sender, flag) = (sender.clone(), Arc::clone(&flag));
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    flag.store(true, Ordering::Relaxed);
                    sender.send_if_modified(|came| came.is_none() && came.replace(name).is_none());
                }
            });
        }
        Ok(Interrupt { came, flag })
    }

    /// Waits for one.
    pub(crate) async fn wait(&self) {
        let mut came = self.came.clone();
        if came.wait_for(Option::is_some).await.is_err() {
            // Nobody listens any longer, so that none comes.
            std::future::pending::<()>().await;
        }
    }

    /// What threads look at.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Fails when one came; `state` says how things are then.
    ///
    /// # Errors
    /// That it came.
    pub(crate) fn check(&self, state: &str) -> anyhow::Result<()> {
        if let Some(name) = *self.came.borrow() {
            bail!("stopped by {name}: {state}");
        }
        Ok(())
    }
}
