//! Lists of databases: addresses, one a line or separated by spaces.

use std::path::Path;

use snapshotter_dump::Database;

use crate::config::lists::is_name;
use crate::config::value::Value;

/// A database, and what it is called: its dump has that name.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) database: Database,
}

/// The databases that `value` lists, whose addresses must begin with one of `schemes`.
///
/// # Errors
/// When one of them is no such address; it is not shown.
pub(crate) fn servers(value: &Value, schemes: &[&str], taken: &[Named]) -> anyhow::Result<Vec<Named>> {
    let mut all: Vec<Named> = Vec::new();
    for (at, address) in value.text().split_whitespace().enumerate() {
        let which = format!("address {} of it", at + 1);
        if !schemes.iter().any(|scheme| address.starts_with(&format!("{scheme}://"))) {
            return Err(value.unfit(format!("{which} does not begin with {}://", schemes[0])));
        }
        let database = Database::parse(address).map_err(|error| value.unfit(format!("{which}: {error}")))?;
        let name = free(&name_of(&database), &[taken, &all]);
        all.push(Named { name, database });
    }
    Ok(all)
}

/// The SQLite databases that `value` lists as `/path:name`.
///
/// # Errors
/// As [`super::lists::sources`].
pub(crate) fn files(value: &Value, taken: &[Named]) -> anyhow::Result<Vec<Named>> {
    let mut all: Vec<Named> = Vec::new();
    for source in super::lists::sources(value, super::Kind::File)? {
        let name = free(&source.name, &[taken, &all]);
        all.push(Named { name, database: Database::Sqlite(source.path.into()) });
    }
    Ok(all)
}

/// What a database is called, for want of a name: after its kind, its server and itself.
fn name_of(database: &Database) -> String {
    let (kind, at) = match database {
        Database::Postgres(at) => ("postgres", at),
        Database::Mysql(at) => ("mysql", at),
        Database::Mongo(at) => ("mongodb", at),
        Database::Redis(at) => ("redis", at),
        Database::Sqlite(path) => {
            return Path::new(path).file_stem().unwrap_or_default().display().to_string();
        }
    };
    let host = match &at.host {
        snapshotter_dump::Host::Tcp { host, .. } => Some(host.clone()),
        _ => None,
    };
    let parts = [Some(kind.to_owned()), host, at.database.clone()];
    let name = parts.into_iter().flatten().collect::<Vec<_>>().join("-");
    let letter = |letter: char| if is_name(&format!("a{letter}")) { letter } else { '_' };
    name.chars().map(letter).take(80).collect()
}

/// `name`, or the first with a number behind it that nobody has.
fn free(name: &str, taken: &[&[Named]]) -> String {
    let is_free = |name: &String| taken.iter().copied().flatten().all(|other| other.name != *name);
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
}
