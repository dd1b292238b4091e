//! Makes helpers, all from one image, and each with its owner's label.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::future::try_join_all;

use crate::api::Engine;
use crate::api::creation::{Creation, CreationHost, CreationMount, LogConfig, VolumeOptions};
use crate::error::{Error, Result};
use crate::helper::listen::{Observer, Told};
use crate::helper::run::Prepared;
use crate::helper::spec::{Mount, Source, Spec};
use crate::helper::{LABEL, image};
use crate::lease::{Owner, State};

/// Makes helpers in one engine.
#[derive(Debug)]
pub struct Helpers<'a> {
    pub(super) engine: &'a Engine,
    /// The image that was named, if any.
    named: Option<String>,
    /// The id of the image.
    image: RefCell<String>,
    owner: Owner,
    made: Cell<u32>,
    /// How many of them are still there.
    pub(super) left: Cell<u32>,
}

impl<'a> Helpers<'a> {
    /// With the image that is named, else with our own, which is loaded where it is not there yet.
    ///
    /// # Errors
    /// When there is no image to be had, or nobody could be told later whose the helpers are.
    pub async fn new(engine: &'a Engine, state: &State, named: Option<&str>) -> Result<Self> {
        let image = RefCell::new(image::ensure(engine, named).await?);
        let (owner, named) = (state.own()?, named.map(str::to_owned));
        Ok(Helpers { engine, named, image, owner, made: Cell::new(0), left: Cell::new(0) })
    }

    /// Makes a helper, and does not start it: that takes less time then. It must be run or discarded.
    ///
    /// # Errors
    /// When a volume or a path is not there, or the engine refuses.
    pub async fn prepare(&self, spec: Spec, observer: Observer<'_>) -> Result<Prepared<'_>> {
        let before = self.volumes(&spec).await?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let number = self.made.replace(self.made.get() + 1);
        let name = format!("snapshotter-helper-{:x}-{:x}-{number}", since.as_nanos(), std::process::id());
        // Counted before it is asked for: it may be made although no answer comes.
        self.left.set(self.left.get() + 1);
        let id = match self.create(&name, &spec).await {
            // Then there is none.
            Err(error @ (Error::Refused { .. } | Error::NoImage { .. })) => {
                self.left.set(self.left.get() - 1);
                return Err(error);
            }
            created => created?,
        };
        observer(&Told::Made(&name));
        let prepared = Prepared { helpers: self, id, name, spec };
        // An engine makes a volume that is not there; now that they are in use none can go.
        match self.volumes(&prepared.spec).await {
            Ok(after) if after == before => Ok(prepared),
            checked => {
                prepared.discard(observer).await;
                let after = checked?;
                let changed = before.iter().find(|&(name, made)| after.get(name) != Some(made));
                let volume = changed.map(|(name, _)| name.clone()).unwrap_or_default();
                Err(Error::NoVolume { volume, replaced: true })
            }
        }
    }

    async fn create(&self, name: &str, spec: &Spec) -> Result<String> {
        match self.engine.create_container(name, &self.creation(spec)).await {
            // Somebody has removed the image meanwhile.
            Err(error) if error.is_not_there() => {
                self.image.replace(image::ensure(self.engine, self.named.as_deref()).await?);
                self.engine.create_container(name, &self.creation(spec)).await
            }
            created => created,
        }
    }

    /// When each volume was made.
    async fn volumes(&self, spec: &Spec) -> Result<BTreeMap<String, String>> {
        let names = spec.mounts.iter().filter_map(|mount| match &mount.source {
            Source::Volume(name) => Some(name),
            Source::Path(_) => None,
        });
        let made = names.map(async |name| match self.engine.volume(name).await? {
            Some(volume) => Ok((name.clone(), volume.created_at)),
            None => Err(Error::NoVolume { volume: name.clone(), replaced: false }),
        });
        Ok(try_join_all(made).await?.into_iter().collect())
    }

    fn creation(&self, spec: &Spec) -> Creation {
        Creation {
            image: self.image.borrow().clone(),
            cmd: spec.arguments.clone(),
            // Another image may have another user.
            user: "0:0".to_owned(),
            working_dir: "/".to_owned(),
            labels: BTreeMap::from([(LABEL.to_owned(), self.owner.label().to_owned())]),
            open_stdin: spec.reads_input,
            stdin_once: spec.reads_input,
            attach_stdin: spec.reads_input,
            host_config: CreationHost {
                mounts: spec.mounts.iter().map(mount).collect(),
                readonly_rootfs: true,
                network_mode: "none".to_owned(),
                cap_drop: vec!["ALL".to_owned()],
                cap_add: spec.capabilities.clone(),
                // SELinux would keep it from volumes that are labelled for one container alone.
                security_opt: ["no-new-privileges", "label=disable"].map(str::to_owned).to_vec(),
                // Else all that is carried would be written to the engine's disk as well.
                log_config: LogConfig { driver: "none".to_owned() },
                auto_remove: false,
            },
        }
    }
}

impl Drop for Helpers<'_> {
    fn drop(&mut self) {
        if self.left.get() == 0 {
            self.owner.settle();
        }
    }
}

fn mount(mount: &Mount) -> CreationMount {
    let (kind, source) = match &mount.source {
        Source::Volume(name) => ("volume", name),
        Source::Path(path) => ("bind", path),
    };
    CreationMount {
        kind,
        source: source.clone(),
        target: mount.target.clone(),
        read_only: !mount.writable,
        volume_options: (kind == "volume").then_some(VolumeOptions { no_copy: true }),
    }
}
