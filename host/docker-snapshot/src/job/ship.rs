//! Brings an archive to all places where it is to lie. One that fails holds none of the others up; what lies
//! anywhere under its name is complete, and what describes it comes after it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use snapshotter_vault::encode::{Compression, Seal};
use snapshotter_vault::store::{self, Content, Length, Name, Object, Store, put_all};

use crate::job::file::{self, Sum, Whole};
use crate::job::interrupt::Interrupt;
use crate::job::names::Stem;
use crate::job::place::Partial;
use crate::job::reading::{ENCODED, Taken};
use crate::job::tell::{Notice, Tell};
use crate::words;

/// The places of one archive, and how it lies there.
pub(crate) struct Shipping<'a> {
    /// In directories.
    pub(crate) partials: &'a [Partial],
    pub(crate) stores: &'a [Arc<dyn Store>],
    pub(crate) set: &'a str,
    pub(crate) stem: &'a Stem,
    pub(crate) compression: Compression,
    pub(crate) seal: &'a Seal,
    pub(crate) stop: &'a Interrupt,
    pub(crate) tell: Tell<'a>,
}

/// An archive that is where it is to be, but for its names in directories.
pub(crate) struct Arrived<'a> {
    pub(crate) sum: Sum,
    /// The directories that have it, and as which file there.
    files: Vec<(&'a Partial, String)>,
    /// The stores that have it.
    stores: Vec<&'a Arc<dyn Store>>,
    /// What failed.
    pub(crate) failures: Vec<anyhow::Error>,
}

/// The results of what was put into stores, in their order.
pub(crate) type Puts = Vec<store::Result<Object>>;

impl<'a> Shipping<'a> {
    /// The name in a store of the file that ends in `suffix`.
    ///
    /// # Errors
    /// When no store can hold it.
    pub(crate) fn name(&self, suffix: &str) -> anyhow::Result<Name> {
        Ok(format!("{}/{}{suffix}", self.set, self.stem.as_str()).parse()?)
    }

    fn suffix(&self) -> String {
        self.seal.encoding(self.compression).suffix()
    }

    /// Stores what `content` will give in all stores.
    ///
    /// # Errors
    /// When the name is none that stores can hold.
    pub(crate) async fn put(&self, content: Content) -> anyhow::Result<Puts> {
        Ok(put_all(self.stores, &self.name(&self.suffix())?, content).await)
    }

    /// What came of an archive that went into the stores as it was read.
    ///
    /// # Errors
    /// When none has it.
    pub(crate) fn arrived(&self, sum: Sum, puts: Puts) -> anyhow::Result<Arrived<'a>> {
        let mut arrived = Arrived { sum, files: Vec::new(), stores: Vec::new(), failures: Vec::new() };
        arrived.add(self.stores, puts);
        arrived.checked()
    }

    /// Brings what was `taken` to its places: into the first directory that takes it, encoded, and from there
    /// to all others; without a directory it is encoded on its way into the stores.
    ///
    /// # Errors
    /// When it can be brought to none of them, or a signal came.
    pub(crate) async fn bring(&self, taken: Taken) -> anyhow::Result<Arrived<'a>> {
        let (whole, mut first) = match taken {
            Taken::Encoded(path, sum) => (Whole::At(path.clone()), Some((path, sum))),
            Taken::Plain(path) => (Whole::At(path), None),
            Taken::Unnamed(file) => (Whole::Unnamed(file), None),
            Taken::Shipped(_) => bail!("cannot store the archive a second time"),
        };
        let mut failures = Vec::new();
        let mut files = Vec::new();
        for partial in self.partials {
            let brought = match &first {
                Some((path, sum)) => self.copied(path, partial, sum).await,
                None => self.encoded(&whole, partial).await.map(|(path, sum)| {
                    let name = name_of(&path);
                    first = Some((path, sum));
                    name
                }),
            };
            self.stop.check("nothing was stored, and what was stopped runs again")?;
            match brought {
                Ok(name) => files.push((partial, name)),
                Err(error) => failures.push(error),
            }
        }
        let (sum, puts) = self.to_stores(&whole, first).await?;
        let mut arrived = Arrived { sum, files, stores: Vec::new(), failures };
        arrived.add(self.stores, puts);
        arrived.checked()
    }

    /// Encodes `whole` in the directory `partial`, unless it lies there as it is to stay.
    async fn encoded(&self, whole: &Whole, partial: &Partial) -> anyhow::Result<(PathBuf, Sum)> {
        let Shipping { compression, seal, stop, tell, .. } = *self;
        if let Whole::At(path) = whole
            && compression == Compression::None
            && matches!(seal, Seal::None)
            && path.parent() == Some(partial.directory())
        {
            return Ok((path.clone(), file::sum(path, "summing up", stop, tell).await?));
        }
        let to = partial.path(ENCODED);
        let sum = file::encoded(whole, &to, compression, seal, stop, tell).await?;
        Ok((to, sum))
    }

    /// Copies the encoded archive at `path` into the directory `partial`, unless it is there; says its name.
    async fn copied(&self, path: &Path, partial: &Partial, sum: &Sum) -> anyhow::Result<String> {
        if path.parent() == Some(partial.directory()) {
            return Ok(name_of(path));
        }
        let copy = file::copied(path, &partial.path("copy"), "copying", self.stop, self.tell).await?;
        ensure!(
            copy == *sum,
            "cannot copy to {}: the archive was changed meanwhile",
            partial.directory().display()
        );
        Ok("copy".to_owned())
    }

    /// Stores the encoded archive `first`, or `whole` encoded on its way where there is none yet.
    async fn to_stores(&self, whole: &Whole, first: Option<(PathBuf, Sum)>) -> anyhow::Result<(Sum, Puts)> {
        let Shipping { compression, seal, stop, tell, .. } = *self;
        match first {
            Some((_, sum)) if self.stores.is_empty() => Ok((sum, Vec::new())),
            Some((path, sum)) => {
                let file = File::open(&path).and_then(|file| Content::file(Arc::new(file)));
                let content = file.with_context(|| format!("cannot read {}", path.display()))?;
                tell(&Notice::Step("storing"));
                let puts = tokio::select! {
                    puts = self.put(content) => puts?,
                    () = stop.wait() => Vec::new(),
                };
                tell(&Notice::Done);
                stop.check("nothing was stored, and what was stopped runs again")?;
                Ok((sum, puts))
            }
            None if self.stores.is_empty() => {
                bail!("cannot store the archive: no output takes it, and nothing was stored")
            }
            None => {
                let length = whole.length().context("cannot read the spooled archive")?;
                let (to, content) = Content::pipe(Length::About(length));
                let encoding = file::encoded_to_stores(whole, to, compression, seal, stop, tell);
                let (encoded, puts) = tokio::join!(encoding, self.put(content));
                stop.check("nothing was stored, and what was stopped runs again")?;
                settled(encoded, puts?)
            }
        }
    }

    /// Gives the archive its name where it has none yet, and puts `json` beside it everywhere: whoever finds
    /// the one finds a complete archive, and whoever finds the other knows what it is.
    ///
    /// # Errors
    /// When nothing was stored.
    pub(crate) async fn publish(
        &self,
        arrived: Arrived<'a>,
        json: Vec<u8>,
    ) -> anyhow::Result<(Vec<String>, Vec<anyhow::Error>)> {
        let (suffix, mut files, mut failures) = (self.suffix(), Vec::new(), arrived.failures);
        for (partial, file) in arrived.files {
            match partial.publish(&file, &suffix) {
                Ok(path) => {
                    files.push(path.display().to_string());
                    failures.extend(partial.publish_text(&json, ".json").err());
                }
                Err(error) => failures.push(error),
            }
        }
        for store in arrived.stores {
            // Directories take longer ones.
            let (name, beside) = (self.name(&suffix)?, self.name(".json")?);
            files.push(format!("{}/{name}", store.address()));
            if let Err(error) = store.put(&beside, Content::bytes(json.clone())).await {
                failures.push(anyhow::Error::from(error).context("the archive is complete without its JSON"));
            }
        }
        if files.is_empty() {
            return Err(worst(failures));
        }
        Ok((files, failures))
    }
}

impl<'a> Arrived<'a> {
    fn add(&mut self, stores: &'a [Arc<dyn Store>], puts: Puts) {
        for (store, put) in stores.iter().zip(puts) {
            match put {
                Ok(_) => self.stores.push(store),
                Err(error) => self.failures.push(error.into()),
            }
        }
    }

    fn checked(self) -> anyhow::Result<Self> {
        if self.files.is_empty() && self.stores.is_empty() {
            return Err(worst(self.failures));
        }
        Ok(self)
    }
}

/// What was encoded while stores took it. Where none of them goes on, it failed for what they say.
///
/// # Errors
/// When it was not encoded as a whole.
pub(crate) fn settled<T>(encoded: anyhow::Result<T>, puts: Puts) -> anyhow::Result<(T, Puts)> {
    let error = match encoded {
        Ok(encoded) => return Ok((encoded, puts)),
        Err(error) => error,
    };
    // Where what was to be stored broke off, the stores say that.
    let own = |put: &store::Error| put.cause() != Some(store::Cause::Content);
    let count = puts.len();
    let said: Vec<_> = puts.into_iter().filter_map(Result::err).filter(own).collect();
    if said.is_empty() || said.len() < count {
        return Err(error);
    }
    Err(worst(said.into_iter().map(Into::into).collect()))
}

/// All failures as one.
fn worst(mut failures: Vec<anyhow::Error>) -> anyhow::Error {
    if failures.len() == 1 {
        return failures.remove(0);
    }
    let said: Vec<_> = failures.iter().map(words::message).collect();
    anyhow::anyhow!("cannot store the archive, of which nothing is left: {}", said.join("; "))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
