//! A store as jobs see it: a directory of this machine, in which they work by paths, so that what can be
//! cloned and renamed is, or one that the vault reaches.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use snapshotter_vault::store::{self, Address, Cause, Limits, Name, Settings, Store};
use tokio::time::timeout;

use crate::job::names::Stem;
use crate::job::place;

/// How long a store may take to say whether it is there, before anything is stopped for its sake.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where archives lie.
#[derive(Debug, Clone)]
pub(crate) enum Depot {
    /// A directory.
    Directory(PathBuf),
    /// A bucket or a server.
    Store(Arc<dyn Store>),
}

impl Depot {
    /// What `text` names: a path, or a URL. Nothing is sent to it.
    ///
    /// # Errors
    /// When it is no address, or a setting that it needs is missing or wrong.
    pub(crate) fn open(text: &str, settings: &Settings, limits: Limits) -> anyhow::Result<Self> {
        match text.parse()? {
            Address::Directory(path) => Ok(Depot::Directory(path)),
            address => Ok(Depot::Store(store::open(&address, settings, limits)?)),
        }
    }

    /// The same for what is to be stored: a directory by its absolute path, as engines want it.
    ///
    /// # Errors
    /// When something else is there.
    pub(crate) fn for_output(self) -> anyhow::Result<Self> {
        match self {
            Depot::Directory(path) => Ok(Depot::Directory(place::directory(&path)?)),
            store @ Depot::Store(_) => Ok(store),
        }
    }

    /// What the vault sees of it.
    ///
    /// # Errors
    /// When a directory is not there.
    pub(crate) fn store(&self) -> anyhow::Result<Arc<dyn Store>> {
        match self {
            Depot::Directory(path) => {
                ensure!(
                    path.is_dir(),
                    "cannot list the snapshots in {}: it is no directory that is there: name another",
                    path.display()
                );
                let address = Address::Directory(path.clone());
                Ok(store::open(&address, &Settings::default(), Limits::default())?)
            }
            Depot::Store(store) => Ok(Arc::clone(store)),
        }
    }

    /// As messages name it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Depot::Directory(path) => path.display().to_string(),
            Depot::Store(store) => store.address().to_owned(),
        }
    }

    /// Whether both are one place.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.shown() == other.shown()
    }
}

/// The names that `store` has in the folder of the set `set`, and so whether it answers at all.
///
/// # Errors
/// When it does not answer, is not there, or does not know who asks. That it lists nothing is none: who may
/// only write is told of a name that is taken when it is stored.
pub(crate) async fn names(store: &dyn Store, set: &str) -> anyhow::Result<BTreeSet<Name>> {
    let Ok(listed) = timeout(PATIENCE, store.list(set)).await else {
        bail!(
            "cannot use the store {}: it has not answered for {} s: see that it runs, and can be reached \
             from here",
            store.address(),
            PATIENCE.as_secs()
        )
    };
    match listed {
        Ok(listing) => Ok(listing.objects.into_iter().map(|object| object.name).collect()),
        Err(error) if error.cause() == Some(Cause::Denied) && !is_unknown(&error) => Ok(BTreeSet::new()),
        Err(error) => Err(error.into()),
    }
}

/// Whether it is the key itself that is refused, and not what it may do.
fn is_unknown(error: &store::Error) -> bool {
    let words = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let codes = ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401"];
    codes.iter().any(|code| words.contains(code))
}

/// Whether one of `names` is that of an archive `stem`, or of what stands beside it.
pub(crate) fn is_taken(names: &BTreeSet<Name>, stem: &Stem) -> bool {
    names.iter().any(|name| name.last().strip_prefix(stem.as_str()).is_some_and(|rest| rest.starts_with('.')))
}
