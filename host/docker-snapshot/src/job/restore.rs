//! Puts snapshots back into volumes. All is checked before anything is touched, in the order in which
//! Dockform does it: the file and what it is, its checksum, what the volumes are made from, what is in them,
//! and who uses them. The core then replaces each volume as a whole or not at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use snapshotter::report::RestoreReport;
use snapshotter_engine::Error;
use snapshotter_engine::api::Engine;
use snapshotter_engine::api::container::Status;
use snapshotter_engine::api::volume::Volume;
use snapshotter_engine::connect::endpoint::Endpoint;
use snapshotter_engine::discover::{Inventory, Storage, discover};
use snapshotter_engine::helper::{Collected, Helpers, Mount, Prepared, RESTORE, Spec, Streams};
use snapshotter_engine::hold::{Event, Plan, Way, hold};
use snapshotter_engine::lease::State;
use snapshotter_vault::encode::Keys;

use crate::job::contents::{self, Pair};
use crate::job::file;
use crate::job::found::Found;
use crate::job::interrupt::Interrupt;
use crate::job::names::near;
use crate::job::place::Linked;
use crate::job::reading::path_in_archive;
use crate::job::spec;
use crate::job::stopping;
use crate::job::tell::{self, Notice, Tell};
use crate::words;

/// Where a helper has the archive that it reads itself, and under which name.
const SOURCE: &str = "/source";
const ARCHIVE: &str = "archive.tar";

/// What is to be done.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Request {
    pub(crate) archive: Arc<Found>,
    /// What it is decrypted with.
    pub(crate) keys: Arc<Keys>,
    /// The one volume that is meant.
    pub(crate) only: Option<String>,
    /// Volumes that go elsewhere.
    pub(crate) moves: Vec<(String, String)>,
    /// Replace what is in a volume.
    pub(crate) force: bool,
    /// Stop who uses a volume, and start them again.
    pub(crate) stop_containers: bool,
    /// Make volumes that are not there.
    pub(crate) create: bool,
    /// Do only what changes nothing.
    pub(crate) dry_run: bool,
    pub(crate) helper_image: Option<String>,
}

/// What will be done, or was.
#[derive(Debug)]
pub(crate) struct Intent {
    pub(crate) pairs: Vec<Pair>,
    prefix: Option<String>,
    /// Volumes that are made.
    pub(crate) made: Vec<Volume>,
    /// Volumes whose content is replaced.
    pub(crate) replaced: Vec<String>,
    /// The containers that are stopped meanwhile, in that order.
    pub(crate) stopped: Vec<String>,
    plan: Plan,
}

/// A restore of one archive.
pub(crate) struct Restore<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) state: &'a State,
    pub(crate) request: &'a Request,
    pub(crate) stop: &'a Interrupt,
    pub(crate) tell: Tell<'a>,
}

impl Restore<'_> {
    /// Checks all that can be checked without changing anything.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub(crate) async fn prepare(&self, helpers: &Helpers<'_>) -> anyhow::Result<Intent> {
        let Restore { engine, request, .. } = *self;
        self.check_sum().await?;
        let (archive, keys) = (Arc::clone(&request.archive), Arc::clone(&request.keys));
        let contents = waiting(move || contents::of(&archive, &keys)).await?;
        let prefix = contents.prefix.clone();
        let pairs = contents.pairs(request.only.as_deref(), &request.moves)?;
        let there = discover(engine, false).await?;
        let storages = &there.storages;
        let mut made = Vec::new();
        for pair in &pairs {
            match storages.iter().find(|storage| storage.is_volume() && storage.name == pair.to) {
                Some(storage) => self.check_spec(pair, storage),
                None => made.push(self.missing(pair, storages)?),
            }
        }
        let volumes: Vec<_> = pairs
            .iter()
            .filter_map(|pair| storages.iter().find(|storage| storage.is_volume() && storage.name == pair.to))
            .cloned()
            .collect();
        let replaced = self.full(&volumes, helpers).await?;
        let plan = self.plan(&volumes, &there)?;
        let stopped = plan.names().into_iter().map(str::to_owned).collect();
        Ok(Intent { pairs, prefix, made, replaced, stopped, plan })
    }

    /// Holds the file against the checksum that stands beside it. What lies in a store is held against it as it
    /// comes, so that it is fetched once.
    async fn check_sum(&self) -> anyhow::Result<()> {
        let archive = &self.request.archive;
        match archive.expected() {
            Ok(expected) => {
                let Some(path) = archive.path() else { return Ok(()) };
                let sum = file::sum(path, "checking", self.stop, self.tell).await;
                self.stop.check("nothing was changed")?;
                archive.check(&sum?, expected)
            }
            Err(text) => {
                (self.tell)(&Notice::Note(&text));
                Ok(())
            }
        }
    }

    /// Warns where a volume is made otherwise than it was.
    fn check_spec(&self, pair: &Pair, storage: &Storage) {
        let Some(was) = &pair.from.spec else { return };
        let was = spec::hash(&was.named(&pair.to));
        let now = Volume {
            name: storage.name.clone(),
            driver: storage.driver.clone().unwrap_or_default(),
            options: storage.options.clone(),
            labels: storage.labels.clone(),
            ..was_named(pair)
        };
        let now = spec::hash(&now);
        if was != now {
            (self.tell)(&Notice::Warning(&format!(
                "the volume {} has another driver, options or labels than {} had (spec {now}, and {was} \
                 then)",
                pair.to, pair.from.name
            )));
        }
    }

    /// The volume that is to be made for `pair`.
    fn missing(&self, pair: &Pair, storages: &[Storage]) -> anyhow::Result<Volume> {
        let to = &pair.to;
        if !self.request.create {
            let names =
                storages.iter().filter(|storage| storage.is_volume()).map(|storage| storage.name.as_str());
            let meant = near(to, names).map(|near| format!(", or is {near} meant?")).unwrap_or_default();
            bail!("cannot restore into {to}: there is no such volume: --create makes it as it was{meant}");
        }
        Ok(was_named(pair))
    }

    /// The names of those `volumes` that hold something.
    async fn full(&self, volumes: &[Storage], helpers: &Helpers<'_>) -> anyhow::Result<Vec<String>> {
        if volumes.is_empty() {
            return Ok(Vec::new());
        }
        let mut spec = Spec::new(["list"], &[]);
        let mounts = volumes.iter().map(|volume| Mount::read(&volume.name, path_in_archive(&volume.name)));
        spec.mounts.extend(mounts);
        let looking = helpers.prepare(spec, &|_| {}).await?;
        let mut full = Vec::new();
        let mut failure = None;
        for volume in volumes {
            match looking.is_empty(&path_in_archive(&volume.name)).await {
                Ok(true) => {}
                Ok(false) => full.push(volume.name.clone()),
                Err(error) => failure = Some(error),
            }
        }
        looking.discard(&|told| tell::helper(self.tell, told)).await;
        if let Some(error) = failure {
            return Err(error.into());
        }
        if !full.is_empty() && !self.request.force {
            bail!(
                "cannot restore into {}: it is not empty: --force replaces all that is in it",
                full.join(" and ")
            );
        }
        Ok(full)
    }

    /// Who is stopped while `volumes` are replaced.
    fn plan(&self, volumes: &[Storage], there: &Inventory) -> anyhow::Result<Plan> {
        let users = || volumes.iter().flat_map(|volume| &volume.users);
        let paused: BTreeSet<_> =
            users().filter(|user| user.state == Status::Paused).map(|user| user.container.as_str()).collect();
        if let Some(name) = paused.first() {
            bail!(
                "cannot restore under {name}: it is paused, and would go on with what it knew: unpause or \
                 stop it"
            );
        }
        let running: BTreeSet<_> =
            users().filter(|user| user.state.may_write()).map(|user| user.container.as_str()).collect();
        if !running.is_empty() && !self.request.stop_containers {
            bail!(
                "cannot restore while containers use what is restored: {}: --stop-containers stops them, \
                 and starts \
                 them again",
                running.into_iter().collect::<Vec<_>>().join(", ")
            );
        }
        let way = Way::of_this_process(self.engine.address());
        Ok(Plan::new(&there.containers, &there.in_memory(), &stopping::users(volumes), &way)?)
    }

    /// Does it. Volumes that were made for it go again when nothing was put into them.
    ///
    /// # Errors
    /// When it fails, which leaves each volume as it was, or something does not run again.
    pub(crate) async fn run(&self, intent: &Intent, helpers: &Helpers<'_>) -> anyhow::Result<RestoreReport> {
        let mut made = Vec::new();
        match self.attempt(intent, helpers, &mut made).await {
            Ok((report, None)) => Ok(report),
            Ok((_, Some(stays))) => {
                (self.tell)(&Notice::Note("the volumes are restored"));
                Err(stays.into())
            }
            Err(error) => {
                self.unmake(&made, helpers).await;
                Err(error)
            }
        }
    }

    /// Does it, and lists the volumes that it has made; the second value says what does not run again.
    async fn attempt(
        &self,
        intent: &Intent,
        helpers: &Helpers<'_>,
        made: &mut Vec<String>,
    ) -> anyhow::Result<(RestoreReport, Option<Error>)> {
        let Restore { engine, state, stop, tell, .. } = *self;
        for volume in &intent.made {
            self.make(volume, made).await?;
        }
        let (prepared, linked) = self.helper(intent, helpers).await?;
        let observer = |event: &Event<'_>| tell(&Notice::Hold(event));
        let held = match stop.check("nothing was changed") {
            Ok(()) => hold(engine, state, intent.plan.clone(), &observer).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        let held = match held {
            Ok(held) => held,
            Err(error) => {
                prepared.discard(&|told| tell::helper(self.tell, told)).await;
                return Err(error);
            }
        };
        tell(&Notice::Step("restoring"));
        let (archive, keys) = (Arc::clone(&self.request.archive), Arc::clone(&self.request.keys));
        let input = match linked {
            Some(_) => Ok(None),
            None => waiting(move || contents::open(&archive, &keys).map(Some)).await,
        };
        let result = match input {
            Ok(input) => {
                let streams = Streams { input, output: Collected::default() };
                let run =
                    Box::pin(prepared.run(streams, &|told| tell::helper(self.tell, told), stop.wait())).await;
                run.and_then(|finished| finished.output.report())
                    .map_err(|error| self.explained(error, linked.as_ref()))
            }
            Err(error) => {
                prepared.discard(&|told| tell::helper(self.tell, told)).await;
                Err(error)
            }
        };
        tell(&Notice::Done);
        tell::released(tell, held, result).await
    }

    /// The helper, and the archive's second name where it reads that itself: a plain tar on the engine's own
    /// machine, from which it clones what can be cloned. An engine that does not see that name refuses.
    async fn helper<'h>(
        &self,
        intent: &Intent,
        helpers: &'h Helpers<'h>,
    ) -> anyhow::Result<(Prepared<'h>, Option<Linked>)> {
        if let Some(linked) = self.linked().await?
            && let Some(directory) = linked.directory().to_str()
        {
            let mut spec = self.spec(intent, &format!("{SOURCE}/{ARCHIVE}"));
            spec.mounts.push(Mount { writable: false, ..Mount::directory(directory, SOURCE) });
            match helpers.prepare(spec, &|_| {}).await {
                Ok(prepared) => return Ok((prepared, Some(linked))),
                Err(Error::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut spec = self.spec(intent, "-");
        spec.reads_input = true;
        Ok((helpers.prepare(spec, &|_| {}).await?, None))
    }

    /// A second name of the archive, where a helper could read it by that.
    async fn linked(&self) -> anyhow::Result<Option<Linked>> {
        let Restore { engine, request, .. } = *self;
        let is_plain = request.archive.encoding.suffix() == ".tar";
        // Podman makes a directory that it does not see.
        let is_here = matches!(engine.address(), Endpoint::Unix(_)) && !engine.about().is_podman();
        if !is_plain || !is_here || engine.maps_users().await? {
            return Ok(None);
        }
        Ok(request.archive.path().and_then(|path| Linked::new(path, ARCHIVE).ok()))
    }

    /// Removes the volumes `made` again, unless something is in them.
    async fn unmake(&self, made: &[String], helpers: &Helpers<'_>) {
        for name in made {
            let removed = match self.holds_something(name, helpers).await {
                Ok(false) => self.engine.remove_volume(name).await.map_err(|error| words::chain(&error)),
                Ok(true) => Err("something is in it".to_owned()),
                Err(error) => Err(words::chain(&error)),
            };
            match removed {
                Ok(()) => (self.tell)(&Notice::Note(&format!("removed the volume {name} again"))),
                Err(reason) => (self.tell)(&Notice::Warning(&format!(
                    "cannot remove the volume {name}, which was made for this: {reason}: see what is in it, \
                     and `docker volume rm {name}`"
                ))),
            }
        }
    }

    async fn holds_something(&self, volume: &str, helpers: &Helpers<'_>) -> Result<bool, Error> {
        let path = path_in_archive(volume);
        let mut spec = Spec::new(["list"], &[]);
        spec.mounts.push(Mount::read(volume, &path));
        let looking = helpers.prepare(spec, &|_| {}).await?;
        let is_empty = looking.is_empty(&path).await;
        looking.discard(&|told| tell::helper(self.tell, told)).await;
        Ok(!is_empty?)
    }

    /// What the user should know of `error`: that a signal came, where one did; and which file could not be
    /// read.
    fn explained(&self, error: Error, linked: Option<&Linked>) -> anyhow::Error {
        if let Err(stopped) = self.stop.check("the volumes are as they were") {
            return stopped;
        }
        let shown = self.request.archive.shown();
        match error {
            Error::Input { .. } => anyhow::Error::from(error)
                .context(format!("cannot restore {shown}: the volumes are as they were")),
            // The core knows the file by another name, and speaks of its own flags.
            Error::Helper { error, .. } => {
                let name = linked.map(|linked| linked.directory().join(ARCHIVE).display().to_string());
                let message = error.message.replace(name.as_deref().unwrap_or("standard input"), &shown);
                let advice =
                    error.advice.filter(|advice| !advice.contains("--") && !advice.contains("snapshotter"));
                anyhow::Error::msg(advice.map_or(message.clone(), |advice| format!("{message}: {advice}")))
            }
            error => error.into(),
        }
    }

    /// Makes a volume, and looks whether it became what it was to be: an engine that has one of that name
    /// says nothing.
    async fn make(&self, volume: &Volume, all: &mut Vec<String>) -> anyhow::Result<()> {
        let name = &volume.name;
        let is_new = self.engine.volume(name).await?.is_none();
        let made = self.engine.create_volume(volume).await?;
        ensure!(
            (&made.driver, &made.options, &made.labels) == (&volume.driver, &volume.options, &volume.labels),
            "cannot restore into {name}: somebody else has made it meanwhile, and otherwise: see `docker \
             volume inspect \
             {name}`"
        );
        if is_new {
            all.push(name.clone());
            (self.tell)(&Notice::Note(&format!("made the volume {name}")));
        }
        Ok(())
    }

    fn spec(&self, intent: &Intent, archive: &str) -> Spec {
        let mut arguments: Vec<_> =
            ["restore", "--json", "--events", "json"].iter().map(|&argument| argument.to_owned()).collect();
        let mut to = intent.pairs.iter().map(|pair| (pair, path_in_archive(&pair.to)));
        if let Some(prefix) = &intent.prefix {
            arguments.extend(["--archive".to_owned(), archive.to_owned(), format!("--prefix={prefix}")]);
            arguments.extend(to.map(|(pair, to)| {
                let from = &pair.from.path;
                if *from == to { format!("--volume={to}") } else { format!("--volume={from}={to}") }
            }));
        } else {
            arguments.extend(["--from-tar".to_owned(), archive.to_owned()]);
            arguments.extend(to.next().map(|(_, to)| format!("--volume={to}")));
        }
        // What may be replaced may be emptied.
        arguments.extend(self.request.force.then(|| "--allow-empty".to_owned()));
        let mut spec = Spec::new(arguments, RESTORE);
        let mounts = intent.pairs.iter().map(|pair| Mount::write(&pair.to, path_in_archive(&pair.to)));
        spec.mounts.extend(mounts);
        spec
    }
}

/// Does `work`, which may wait for a store that this thread serves.
async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("cannot go on")?
}

/// The volume that `pair` goes to, made as the one was that it comes from.
fn was_named(pair: &Pair) -> Volume {
    pair.from.spec.clone().unwrap_or_default().named(&pair.to)
}

/// Why `volume`, which a JSON describes that may be anybody's, is not made unasked: its driver and options
/// may lead to any place of the engine's machine.
pub(crate) fn doubt(volume: &Volume) -> Option<String> {
    let options: Vec<_> = volume.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let doubtful = !options.is_empty() || volume.driver != "local";
    doubtful.then(|| format!("{} (driver {}, options {})", volume.name, volume.driver, options.join(", ")))
}
