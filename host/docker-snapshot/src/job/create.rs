//! Takes snapshots. The order is what keeps promises: all that can be refused is refused first; what is
//! needed is made ready, the helper too; then containers rest, are read, and go on; and only then is
//! anything compressed, encrypted, sent to stores and given its name. Where it is to be encrypted, what waits
//! for that lies in a file without a name.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use snapshotter::report::BackupReport;
use snapshotter::time::Time;
use snapshotter_engine::Error;
use snapshotter_engine::api::Engine;
use snapshotter_engine::api::container::Container;
use snapshotter_engine::api::events::{Happening, Watch};
use snapshotter_engine::connect::endpoint::Endpoint;
use snapshotter_engine::discover::{Inventory, Storage, discover};
use snapshotter_engine::helper::{Helpers, Prepared};
use snapshotter_engine::hold::{self, Plan, hold};
use snapshotter_engine::lease::State;
use snapshotter_vault::encode::{Compression, Encoder, Encryption, Seal};
use snapshotter_vault::store::{Content, Length, Name, Store};

use crate::job::depot::{self, Depot};
use crate::job::description::{
    DOCKFORM, Description, FileChecksum, FileFacts, Passport, VERSION, VolumePassport, VolumeSpec,
};
use crate::job::file::Sum;
use crate::job::grade::{self, Meanwhile};
use crate::job::interrupt::Interrupt;
use crate::job::names::Stem;
use crate::job::passport;
use crate::job::place::{Partial, Place};
use crate::job::reading::{Goal, Read, Reading, Route, Taken, path_in_archive};
use crate::job::selection::{Set, Wanted, select};
use crate::job::ship::{self, Arrived, Puts, Shipping};
use crate::job::spec;
use crate::job::stopping::{StopMode, writers};
use crate::job::tell::{self, Notice, Tell};
use crate::words;

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) wanted: Wanted,
    /// What gets an archive, at least one.
    pub(crate) outputs: Vec<Depot>,
    pub(crate) note: Option<String>,
    /// Patterns of what is not read.
    pub(crate) exclude: Vec<String>,
    pub(crate) stop: StopMode,
    pub(crate) compression: Compression,
    /// How it is encrypted.
    pub(crate) seal: Seal,
    /// Where an archive waits that is to go into stores, while containers rest.
    pub(crate) spool: Option<PathBuf>,
    pub(crate) helper_image: Option<String>,
}

/// An archive that was made.
#[derive(Debug)]
pub(crate) struct Created {
    /// Where it is: paths, and names in stores.
    pub(crate) files: Vec<String>,
    /// Outputs that have none, or not what describes it.
    pub(crate) failures: Vec<anyhow::Error>,
    pub(crate) description: Description,
    pub(crate) passport: Passport,
}

/// Takes the snapshots that `request` asks for, one archive after the other.
///
/// # Errors
/// When one cannot be taken; those before it are complete.
pub(crate) async fn create(
    engine: &Engine,
    state: &State,
    request: &Request,
    stop: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<Vec<Created>> {
    // Whether it can be compressed and encrypted as one wants is found out before anything is done.
    Encoder::new(std::io::sink(), request.compression, &request.seal)?;
    // From before it is looked who could write.
    let mut first = Some(engine.watch().await);
    let mut there = discover(engine, false).await?;
    let selection = select(&request.wanted, &there.storages, &there.containers)?;
    selection.notes.iter().for_each(|note| tell(&Notice::Note(note)));
    let mut job = Create { engine, state, request, stop, tell, there: &there };
    for set in &selection.sets {
        job.plan(set)?;
    }
    let helpers = Helpers::new(engine, state, request.helper_image.as_deref()).await?;
    let maps_users = engine.maps_users().await?;
    let is_here = matches!(engine.address(), Endpoint::Unix(_)) && !maps_users;
    let mut created = Vec::new();
    for set in &selection.sets {
        stop.check("what was said to be complete is so")?;
        let mut set = set.clone();
        let watch = if let Some(watch) = first.take() {
            watch
        } else {
            let watch = engine.watch().await;
            there = discover(engine, false).await?;
            set.volumes = select(&Wanted::Volumes(names(&set)), &there.storages, &there.containers)?
                .sets
                .into_iter()
                .flat_map(|set| set.volumes)
                .collect();
            job = Create { engine, state, request, stop, tell, there: &there };
            watch
        };
        created.push(job.one(&set, &helpers, is_here, watch).await?);
    }
    Ok(created)
}

fn names(set: &Set) -> Vec<String> {
    set.volumes.iter().map(|volume| volume.name.clone()).collect()
}

/// What is the same for all sets, and what the engine had a moment ago.
struct Create<'a> {
    engine: &'a Engine,
    state: &'a State,
    request: &'a Request,
    stop: &'a Interrupt,
    tell: Tell<'a>,
    there: &'a Inventory,
}

/// What hears what is started; that it cannot is said with the grade.
type Watching<'a> = snapshotter_engine::Result<Watch<'a>>;

/// What was read, and what is known of that time.
struct Shot {
    report: BackupReport,
    meanwhile: Meanwhile,
    /// For how long containers rested, where any did.
    rested: Option<Duration>,
    /// Where the archive is.
    archive: Taken,
    /// What it must not outlive.
    #[expect(dead_code, reason = "its spool goes with it")]
    way: Way,
    /// What came of it in stores, where it went there as it was read.
    puts: Puts,
    /// What does not run again.
    stays: Option<Error>,
}

/// Where an archive will lie, and under which name.
struct Begun {
    created: Time,
    stem: Stem,
    /// In directories.
    partials: Vec<Partial>,
    stores: Vec<Arc<dyn Store>>,
    /// What cannot be stored to, so that it is not.
    failures: Vec<anyhow::Error>,
}

/// Which way an archive goes.
enum Way {
    /// As it is, into the first directory, and encoded when nobody waits any longer.
    Grows,
    /// The same, into a directory that it does not stay in.
    Spooled(Partial),
    /// Encoded as it is read, into the first directory.
    Encoded,
    /// Encoded as it is read, into the stores.
    Shipped,
}

impl Way {
    /// The directory that the archive grows in.
    fn growing<'a>(&'a self, partials: &'a [Partial]) -> Option<&'a Partial> {
        match self {
            Way::Spooled(partial) => Some(partial),
            Way::Grows => partials.first(),
            Way::Encoded | Way::Shipped => None,
        }
    }
}

impl Create<'_> {
    /// Who rests for `set`.
    fn plan(&self, set: &Set) -> anyhow::Result<Plan> {
        let wanted = writers(self.request.stop, &set.volumes, &self.there.containers)?;
        let way = hold::Way::of_this_process(self.engine.address());
        Ok(Plan::new(&self.there.containers, &self.there.in_memory(), &wanted, &way)?)
    }

    /// Takes the snapshot of `set`.
    async fn one(
        &self,
        set: &Set,
        helpers: &Helpers<'_>,
        is_here: bool,
        watch: Watching<'_>,
    ) -> anyhow::Result<Created> {
        let Request { compression, seal, .. } = self.request;
        let mut begun = self.begin(set).await?;
        let shipping = Shipping {
            partials: &begun.partials,
            stores: &begun.stores,
            set: &set.name,
            stem: &begun.stem,
            compression: *compression,
            seal,
            stop: self.stop,
            tell: self.tell,
        };
        if !begun.stores.is_empty() {
            shipping.name(".json")?;
        }
        let plan = self.plan(set)?;
        let containers =
            passport::containers(self.engine, set, &self.there.containers, &plan.manners()).await?;
        let mut shot = self.read(set, plan, &shipping, helpers, is_here, watch).await?;
        // What was read is kept, also where a container does not start again: that is reported in the end.
        let archive = std::mem::replace(&mut shot.archive, Taken::Plain(PathBuf::new()));
        let arrived = match archive {
            Taken::Shipped(sum) => shipping.arrived(sum, std::mem::take(&mut shot.puts))?,
            archive => shipping.bring(archive).await?,
        };
        let mut passport = self.passport(set, &shot, &begun.stem, &arrived);
        passport.containers = containers;
        passport.compose = passport::compose(set, &self.there.containers, seal)?;
        passport.engine = self.engine.about().version.clone();
        let description = self.description(set, begun.created, &shot, passport.clone());
        let mut json = serde_json::to_vec_pretty(&description).context("cannot write JSON")?;
        json.push(b'\n');
        self.stop.check("nothing was stored, and what was stopped runs again")?;
        let (files, failures) = shipping.publish(arrived, json).await?;
        begun.failures.extend(failures);
        match shot.stays {
            None => Ok(Created { files, failures: begun.failures, description, passport }),
            Some(stays) => {
                (self.tell)(&Notice::Note(&format!("complete: {}", files[0])));
                for failure in &begun.failures {
                    (self.tell)(&Notice::Warning(&words::message(failure)));
                }
                Err(stays.into())
            }
        }
    }

    /// Finds a name that is free in all outputs, and makes the places where the archive grows. A store that
    /// does not answer keeps nothing from the others.
    async fn begin(&self, set: &Set) -> anyhow::Result<Begun> {
        let volumes: Vec<_> = set.volumes.iter().map(volume).collect();
        let hash = match &volumes[..] {
            [volume] => spec::hash(volume),
            several => spec::hash_of_several(several.iter()),
        };
        let (stores, names, failures) = self.stores(set).await?;
        let mut created = Time { nanos: 0, ..Time::now() };
        // Each second has one name.
        for _ in 0..60 {
            let stem = Stem::new(created, &hash);
            let partials = self.request.outputs.iter().filter_map(|output| match output {
                Depot::Directory(path) => Some(Place::new(path, &set.name).begin(&stem)),
                Depot::Store(_) => None,
            });
            let partials: Option<Vec<_>> = partials.collect::<anyhow::Result<_>>()?;
            match partials {
                Some(partials) if !depot::is_taken(&names, &stem) => {
                    return Ok(Begun { created, stem, partials, stores, failures });
                }
                _ => created.secs += 1,
            }
        }
        bail!("cannot store a snapshot of {}: all names of this minute are taken: try again later", set.name)
    }

    /// The stores that answer, and the names that they have for `set`.
    async fn stores(
        &self,
        set: &Set,
    ) -> anyhow::Result<(Vec<Arc<dyn Store>>, BTreeSet<Name>, Vec<anyhow::Error>)> {
        let (mut stores, mut all, mut failures) = (Vec::new(), BTreeSet::new(), Vec::new());
        for output in &self.request.outputs {
            let Depot::Store(store) = output else { continue };
            match depot::names(&**store, &set.name).await {
                Ok(names) => {
                    all.extend(names);
                    stores.push(Arc::clone(store));
                }
                Err(error) if self.request.outputs.len() == 1 => return Err(error),
                Err(error) => {
                    (self.tell)(&Notice::Warning(&format!("{}: it is left out", words::message(&error))));
                    failures.push(error);
                }
            }
        }
        if failures.len() == self.request.outputs.len() {
            bail!(
                "cannot take a snapshot of {}: none of the stores can be used, and nothing was stopped",
                set.name
            );
        }
        Ok((stores, all, failures))
    }

    /// Reads the volumes of `set` while who can write rests: into a file, or into stores where nobody waits.
    async fn read(
        &self,
        set: &Set,
        plan: Plan,
        shipping: &Shipping<'_>,
        helpers: &Helpers<'_>,
        is_here: bool,
        watch: Watching<'_>,
    ) -> anyhow::Result<Shot> {
        let Create { engine, request, stop, tell, .. } = *self;
        let (note, exclude) = (request.note.as_deref(), &request.exclude[..]);
        let reading = Reading { set, note, exclude, helpers, tell };
        let way = self.way(set, !plan.is_empty(), shipping)?;
        let direct = way
            .growing(shipping.partials)
            .filter(|_| is_here && request.seal.encryption() == Encryption::None);
        let (prepared, route) = reading.prepare(direct).await?;
        let rested = plan.manners();
        if let Err(error) = stop.check("nothing was stopped") {
            reading.discard(prepared).await;
            return Err(error);
        }
        let begin = Instant::now();
        let observer = |event: &hold::Event<'_>| tell(&Notice::Hold(event));
        let held = match hold(engine, self.state, plan, &observer).await {
            Ok(held) => held,
            Err(error) => {
                reading.discard(prepared).await;
                return Err(error.into());
            }
        };
        let result = match stop.check("what was stopped runs again, and nothing was stored") {
            Ok(()) => self.take(&reading, prepared, route, &way, shipping).await,
            Err(error) => {
                reading.discard(prepared).await;
                Err(error)
            }
        };
        let mut meanwhile = Meanwhile { rested, ..Meanwhile::default() };
        if result.is_ok() {
            self.look(&mut meanwhile, watch).await;
        }
        let rests = !held.names().is_empty();
        let ((read, puts), stays) = tell::released(tell, held, result).await?;
        let rested = rests.then(|| begin.elapsed());
        reading.discard(read.helper).await;
        Ok(Shot { report: read.report, meanwhile, rested, archive: read.archive, way, puts, stays })
    }

    /// Which way the archive of `set` goes, where somebody waits for it or nobody does.
    fn way(&self, set: &Set, rests: bool, shipping: &Shipping<'_>) -> anyhow::Result<Way> {
        let Request { compression, seal, spool, .. } = self.request;
        let encodes = *compression != Compression::None || seal.encryption() != Encryption::None;
        let has_directory = !shipping.partials.is_empty();
        if !rests {
            let here = if encodes { Way::Encoded } else { Way::Grows };
            return Ok(if has_directory { here } else { Way::Shipped });
        }
        match spool {
            None if has_directory => Ok(Way::Grows),
            spool => {
                let spool = spool.clone().unwrap_or_else(|| self.state.spool());
                let place = Place::new(&spool, &set.name).begin(shipping.stem)?;
                let taken = || format!("cannot keep the archive in {}: its name is taken", spool.display());
                Ok(Way::Spooled(place.with_context(taken)?))
            }
        }
    }

    /// Lets the helper read.
    async fn take<'h>(
        &self,
        reading: &Reading<'_>,
        prepared: Prepared<'h>,
        route: Route,
        way: &Way,
        shipping: &Shipping<'_>,
    ) -> anyhow::Result<(Read<'h>, Puts)> {
        let Request { compression, seal, .. } = self.request;
        let (compression, stop) = (*compression, self.stop);
        let named = seal.encryption() == Encryption::None;
        let goal = match (way, shipping.partials) {
            (Way::Encoded, [partial, ..]) => Goal::Encoded { partial, compression, seal },
            (Way::Grows, [partial, ..]) | (Way::Spooled(partial), _) => Goal::Spool { partial, named },
            (_, _) => {
                let (to, content) = Content::pipe(Length::Unknown);
                let goal = Goal::Stores { to, compression, seal };
                let (read, puts) =
                    tokio::join!(reading.run(prepared, route, goal, stop), shipping.put(content));
                return match (read, puts) {
                    (read, Ok(puts)) => ship::settled(read, puts),
                    (Ok(read), Err(error)) => {
                        reading.discard(read.helper).await;
                        Err(error)
                    }
                    (Err(_), Err(error)) => Err(error),
                };
            }
        };
        Ok((reading.run(prepared, route, goal, stop).await?, Vec::new()))
    }

    /// Looks what was started while volumes were read, at the end of that time.
    async fn look(&self, meanwhile: &mut Meanwhile, watch: Watching<'_>) {
        let before = |now: &Container| self.there.containers.iter().find(|container| container.id == now.id);
        let happened = match watch {
            Ok(watch) => watch.until_now().await,
            Err(error) => Err(error),
        };
        match happened {
            Ok(happened) => meanwhile.happened = happened,
            Err(error) => self.doubt(meanwhile, &error),
        }
        match self.engine.containers().await {
            Ok(after) => {
                let anew = |now: &&Container| {
                    before(now).is_none_or(|before| before.state.started_at != now.state.started_at)
                };
                let anew = after.iter().filter(anew).map(|container| Happening::Started {
                    id: container.id.clone(),
                    name: container.name().to_owned(),
                });
                meanwhile.happened.extend(anew);
                meanwhile.after = after;
            }
            Err(error) => self.doubt(meanwhile, &error),
        }
        // Docker says which volumes those had that are gone again.
        meanwhile.tells_mounts = !self.engine.about().is_podman();
    }

    fn doubt(&self, meanwhile: &mut Meanwhile, error: &Error) {
        meanwhile.in_doubt = true;
        let error = crate::words::chain(error);
        (self.tell)(&Notice::Warning(&format!(
            "cannot tell whether a container was started meanwhile, so no grade is better than live-unchanged: \
             {error}"
        )));
    }

    fn description(&self, set: &Set, created: Time, shot: &Shot, passport: Passport) -> Description {
        let spec = match &passport.volumes[..] {
            [volume] => volume.spec.clone(),
            _ => VolumeSpec::default(),
        };
        let (_, hash) = passport.file.name.split_once("__spec-").unwrap_or_default();
        Description {
            dockform_version: DOCKFORM.to_owned(),
            created_at: created.to_rfc3339(),
            volume_name: match &set.volumes[..] {
                [volume] => volume.name.clone(),
                _ => set.name.clone(),
            },
            spec_hash: hash.split('.').next().unwrap_or_default().to_owned(),
            spec,
            uncompressed_bytes: shot.report.size,
            file_count: shot.report.entries,
            checksum: FileChecksum { algo: "sha256".to_owned(), tar_zst: passport.file.sha256.clone() },
            notes: self.request.note.clone(),
            passport: Some(passport),
        }
    }

    /// What is known of `set` from itself and from what was read. Where the archive is encrypted, nothing that
    /// is called like a file in a volume is in it.
    fn passport(&self, set: &Set, shot: &Shot, stem: &Stem, arrived: &Arrived<'_>) -> Passport {
        let Request { compression, seal, .. } = self.request;
        let suffix = seal.encoding(*compression).suffix();
        let mut passport = passport_of(set, shot, format!("{}{suffix}", stem.as_str()), &arrived.sum);
        if seal.encryption() != Encryption::None {
            passport.warnings.clear();
            passport.exclude.clear();
        }
        passport
    }
}

fn volume(storage: &Storage) -> snapshotter_engine::api::volume::Volume {
    let spec = VolumeSpec {
        driver: storage.driver.clone().unwrap_or_default(),
        driver_opts: storage.options.clone(),
        labels: storage.labels.clone(),
    };
    spec.named(&storage.name)
}

/// What is known of `set` from itself and from what was read.
fn passport_of(set: &Set, shot: &Shot, name: String, sum: &Sum) -> Passport {
    let report = &shot.report;
    let volumes = set.volumes.iter().map(|storage| {
        let path = path_in_archive(&storage.name);
        let stored = report.volumes.iter().find(|volume| volume.path == path);
        let (grade, reasons) = grade::of(storage, &path, &shot.meanwhile, &report.warnings);
        let volume = volume(storage);
        VolumePassport {
            name: storage.name.clone(),
            project: storage.project.clone(),
            key: storage.key.clone(),
            spec_hash: spec::hash(&volume),
            spec: VolumeSpec::of(&volume),
            entries: stored.map_or(0, |stored| stored.entries),
            bytes: stored.map_or(0, |stored| stored.size),
            path,
            grade,
            reasons,
        }
    });
    Passport {
        version: VERSION,
        set: set.name.clone(),
        kind: set.kind,
        id: report.id.clone(),
        prefix: report.prefix.clone(),
        file: FileFacts { name, bytes: sum.bytes, sha256: sum.sha256.clone() },
        volumes: volumes.collect(),
        containers: Vec::new(),
        compose: None,
        engine: String::new(),
        rested_seconds: shot.rested.map(|rested| rested.as_secs_f64()),
        exclude: report.exclude.clone(),
        unhashed: report.unhashed,
        warning_count: report.warning_count,
        warnings: report.warnings.clone(),
    }
}
