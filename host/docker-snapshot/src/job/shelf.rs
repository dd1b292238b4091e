//! Snapshots in a store that the vault reaches: what there is, and what the JSON beside each says. As few requests
//! as it takes: names say when and of what, and only what is wanted is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use futures_util::{StreamExt, stream};
use snapshotter_vault::encode::Encoding;
use snapshotter_vault::store::{Cause, Name, Object, Store};

use crate::job::depot::Depot;
use crate::job::description::Description;
use crate::job::found::{Directory, Found, Whence, encoding, is_at, no_archive};
use crate::job::names;

/// The longest JSON that is read: it comes from outside.
const LONGEST: u64 = 4 << 20;
/// JSON files that are read at a time.
const AT_A_TIME: usize = 8;

/// Opens the store that an address names.
pub(crate) type Open<'a> = dyn Fn(&str) -> anyhow::Result<Depot> + 'a;

/// An archive in a store, and what stands beside it.
#[derive(Debug, Clone)]
struct Item {
    object: Object,
    encoding: Encoding,
    json: Option<Object>,
}

/// All that `store` has.
///
/// # Errors
/// When it cannot be listed.
pub(crate) async fn all(store: &Arc<dyn Store>) -> anyhow::Result<Directory> {
    let (items, widows) = items(store, "").await?;
    let mut found = read(store, items).await;
    found.problems.extend(widows.into_iter().filter(|name| names::time_of(name.last()).is_some()).map(
        |name| format!("cannot find the archive of {}/{name}: it was moved or removed", store.address()),
    ));
    Ok(found)
}

/// What `store` has of what is called `name`, at `time` where that is given, else the newest of it: in the
/// folder of that name, and where there is none, all that it has.
///
/// # Errors
/// When it cannot be listed.
pub(crate) async fn named(
    store: &Arc<dyn Store>,
    name: &str,
    time: Option<&str>,
) -> anyhow::Result<Directory> {
    let (mut items, _) = items(store, name).await?;
    if items.is_empty() {
        return all(store).await;
    }
    let stamp = |item: &Item| names::time_of(item.object.name.last()).unwrap_or_default();
    let newest = items.iter().map(stamp).max().unwrap_or_default();
    items.retain(|item| time.map_or(stamp(item) == newest, |time| is_at(&stamp(item), time)));
    Ok(read(store, items).await)
}

/// The archive that the address `text` names, with its store in front.
///
/// # Errors
/// When it is not there, or its name is no archive's.
pub(crate) async fn at(text: &str, open: &Open<'_>) -> anyhow::Result<Found> {
    let (path, options) = text.split_once('?').map_or((text, ""), |(path, options)| (path, options));
    let (place, last) = path.rsplit_once('/').unwrap_or(("", path));
    let Some(encoding) = encoding(last) else { return Err(no_archive(path)) };
    let options = if options.is_empty() { String::new() } else { format!("?{options}") };
    let name: Name = last.parse()?;
    let store = match open(&format!("{place}{options}"))? {
        Depot::Directory(directory) => return Found::at(&directory.join(last)),
        Depot::Store(store) => store,
    };
    let object = store.head(&name).await.with_context(|| format!("cannot find the snapshot {path}"))?;
    let mut item = Item { object, encoding, json: None };
    for json in beside(&name) {
        match store.head(&json).await {
            Ok(object) => item.json = Some(object),
            Err(error) if error.cause() == Some(Cause::Missing) => continue,
            Err(error) => return Err(error.into()),
        }
        break;
    }
    found(&store, item).await
}

/// The archives in `folder` by their names, and the JSON files that lie beside none.
async fn items(store: &Arc<dyn Store>, folder: &str) -> anyhow::Result<(Vec<Item>, Vec<Name>)> {
    let (mut texts, mut items) = (BTreeMap::new(), Vec::new());
    for object in store.list(folder).await?.objects {
        match encoding(object.name.last()) {
            Some(encoding) => items.push(Item { object, encoding, json: None }),
            None if object.name.as_str().rsplit_once('.').is_some_and(|(_, suffix)| suffix == "json") => {
                texts.insert(object.name.clone(), object);
            }
            None => {}
        }
    }
    let mut widows: Vec<Name> = texts.keys().cloned().collect();
    for item in &mut items {
        let name = beside(&item.object.name).into_iter().find(|name| texts.contains_key(name));
        widows.retain(|widow| Some(widow) != name.as_ref());
        item.json = name.and_then(|name| texts.get(&name)).cloned();
    }
    Ok((items, widows))
}

/// The names that the JSON of an archive can have: ours, and the one that Dockform looks for.
fn beside(archive: &Name) -> Vec<Name> {
    let name = archive.as_str();
    let stem = name.strip_suffix(".tgz").or_else(|| name.rfind(".tar").map(|at| &name[..at])).unwrap_or(name);
    [".json", ".tar.json"].iter().filter_map(|suffix| format!("{stem}{suffix}").parse().ok()).collect()
}

/// Reads what stands beside `items`.
async fn read(store: &Arc<dyn Store>, items: Vec<Item>) -> Directory {
    let all: Vec<_> = stream::iter(items.into_iter().map(|item| found(store, item)))
        .buffered(AT_A_TIME)
        .collect::<Vec<_>>()
        .await;
    let mut directory = Directory::default();
    for found in all {
        match found {
            Ok(archive) => directory.archives.push(archive),
            Err(error) => directory.problems.push(crate::words::message(&error)),
        }
    }
    directory.archives.sort_by_cached_key(|archive| (archive.time(), archive.shown()));
    directory
}

async fn found(store: &Arc<dyn Store>, item: Item) -> anyhow::Result<Found> {
    let Item { object, encoding, json } = item;
    let description = match &json {
        Some(json) => Some(description(store, json).await?),
        None => None,
    };
    let bytes = object.size;
    Ok(Found { whence: Whence::Object(Arc::clone(store), object), encoding, bytes, description })
}

async fn description(store: &Arc<dyn Store>, json: &Object) -> anyhow::Result<Description> {
    let shown = format!("{}/{}", store.address(), json.name);
    if json.size > LONGEST {
        bail!("cannot read {shown}: it is too long to be a description: take it away to go on without it");
    }
    let text = store.get(json, 0..json.size).await?;
    serde_json::from_slice(&text)
        .with_context(|| format!("cannot read {shown}: take it away to go on without what it says"))
}
