//! Which engine a command speaks to: the docker CLI's own flags, which it hands on, and its variables.

use std::future::Future;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use snapshotter_engine::api::Engine;
use snapshotter_engine::connect::endpoint::Tls;
use snapshotter_engine::connect::find::Choice;
use snapshotter_engine::places;

#[derive(Debug, Args)]
#[command(next_help_heading = "Engine (as for docker)")]
pub(crate) struct Connection {
    /// The engine's address: unix://, tcp:// or ssh:// [env: `DOCKER_HOST`]
    #[arg(short = 'H', long, global = true, value_name = "ADDRESS")]
    host: Option<String>,
    /// The docker context to use [env: `DOCKER_CONTEXT`]
    #[arg(short, long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Docker's directory with its configuration [env: `DOCKER_CONFIG`]
    #[arg(long, global = true, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Speak TLS to a port
    #[arg(long, global = true, hide_short_help = true)]
    tls: bool,
    /// Speak TLS to a port, and check the engine's certificate [env: `DOCKER_TLS_VERIFY`]
    #[arg(long, global = true, hide_short_help = true)]
    tlsverify: bool,
    /// Who may have signed the engine's certificate
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    tlscacert: Option<PathBuf>,
    /// The certificate to show to the engine
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    tlscert: Option<PathBuf>,
    /// Its key
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    tlskey: Option<PathBuf>,
    // What docker hands on and its own commands alone heed.
    #[arg(short = 'D', long, global = true, hide = true)]
    debug: bool,
    #[arg(short, long, global = true, hide = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// Does `work`, which waits for engines and stores.
///
/// # Errors
/// Those of `work`.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(work)
}

impl Connection {
    /// Does what `work` makes with the engine.
    ///
    /// # Errors
    /// When the engine cannot be reached, and those of `work`.
    pub(crate) fn with_engine<T, F>(&self, work: impl FnOnce(Engine) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = anyhow::Result<T>>,
    {
        // What is wrong with the arguments is said before anything is started.
        let found = self.choice().find()?;
        block_on(async { work(Engine::connect(&found).await?).await })
    }

    /// The engine, for commands that do other things first.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(crate) async fn engine(&self) -> anyhow::Result<Engine> {
        Ok(Engine::connect(&self.choice().find()?).await?)
    }

    /// The docker CLI's directory.
    pub(crate) fn docker_config(&self) -> Option<PathBuf> {
        self.config.clone().or_else(places::docker_config)
    }

    fn choice(&self) -> Choice {
        let mut choice = Choice::from_environment(self.config.clone());
        choice.host.clone_from(&self.host);
        choice.context.clone_from(&self.context);
        if self.tls || self.tlsverify {
            let directory = choice.certificates.clone().unwrap_or_default();
            let verify = self.tlsverify || choice.tls.as_ref().is_some_and(|tls| tls.verify);
            choice.tls = Some(Tls::in_directory(&directory, verify));
        }
        if let Some(tls) = &mut choice.tls {
            tls.authority = self.tlscacert.clone().or(tls.authority.take());
            let (certificate, key) = tls.own.take().unzip();
            tls.own = self.tlscert.clone().or(certificate).zip(self.tlskey.clone().or(key));
        }
        choice
    }
}
