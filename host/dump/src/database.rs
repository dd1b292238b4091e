//! The kinds of databases, and what is done with each under one name.

use std::fmt;
use std::path::{Path, PathBuf};

use tokio::io::AsyncWrite;

use crate::connection::{Connection, decode};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::source::Source;
use crate::sqlite;
use crate::{mongo, mysql, postgres, redis};

/// The kinds of databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
    /// Redis or Valkey.
    Redis,
    /// MongoDB.
    Mongo,
    /// SQLite.
    Sqlite,
}

impl Kind {
    /// What the name of a dump's file ends with.
    pub fn extension(self) -> &'static str {
        match self {
            Kind::Postgres => "pgdump",
            Kind::Mysql => "sql",
            Kind::Redis => "rdb",
            Kind::Mongo => "mongodump",
            Kind::Sqlite => "sqlite",
        }
    }

    /// What a dump is called.
    pub(crate) fn dump(self) -> &'static str {
        match self {
            Kind::Postgres => "dump of PostgreSQL",
            Kind::Mysql => "dump of MySQL or MariaDB",
            Kind::Redis => "RDB file of Redis",
            Kind::Mongo => "archive of mongodump",
            Kind::Sqlite => "SQLite database",
        }
    }
}

/// A database, and how it is reached.
#[derive(Debug, Clone)]
pub enum Database {
    /// One database of a PostgreSQL server.
    Postgres(Connection),
    /// One database of a MySQL or MariaDB server.
    Mysql(Connection),
    /// All that one Redis or Valkey server has.
    Redis(Connection),
    /// One database of a MongoDB deployment.
    Mongo(Connection),
    /// A SQLite database: its file.
    Sqlite(PathBuf),
}

impl Database {
    /// Parses an address: `postgres://`, `postgresql://`, `mysql://`, `mariadb://`, `redis://`, `rediss://`
    /// (encrypted), `mongodb://`, `mongodb+srv://`, or `sqlite:` and a path.
    ///
    /// # Errors
    /// When it is none. The message does not show it, since it may hold a password.
    pub fn parse(address: &str) -> Result<Self> {
        if let Some(path) = address.strip_prefix("sqlite:") {
            let path = PathBuf::from(decode(path.strip_prefix("//").unwrap_or(path))?);
            let missing = path.as_os_str().is_empty();
            let problem = || Error::Address { problem: "no path follows sqlite:".into() };
            return if missing { Err(problem()) } else { Ok(Database::Sqlite(path)) };
        }
        let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
        let connection = Connection::parse(address)?;
        Ok(match scheme {
            "postgres" | "postgresql" => Database::Postgres(connection),
            "mysql" | "mariadb" => Database::Mysql(connection),
            "redis" => Database::Redis(connection),
            "rediss" => Database::Redis(Connection { tls: true, ..connection }),
            "mongodb" | "mongodb+srv" => Database::Mongo(connection),
            _ => {
                let known = "postgres, mysql, mariadb, redis, rediss, mongodb, sqlite";
                return Err(Error::Address { problem: format!("its scheme is none of {known}") });
            }
        })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Database::Postgres(_) => Kind::Postgres,
            Database::Mysql(_) => Kind::Mysql,
            Database::Redis(_) => Kind::Redis,
            Database::Mongo(_) => Kind::Mongo,
            Database::Sqlite(_) => Kind::Sqlite,
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Postgres(at) | Database::Mysql(at) | Database::Redis(at) | Database::Mongo(at) => {
                at.fmt(to)
            }
            Database::Sqlite(path) => path.display().fmt(to),
        }
    }
}

/// What was dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dumped {
    /// The dump's size in bytes.
    pub bytes: u64,
    /// The server's version, or SQLite's.
    pub version: String,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// How a database is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// Ends the connections of those that use the database; otherwise it is refused while there are any.
    pub terminate: bool,
    /// Keeps what was there before, under another name.
    pub keep_previous: bool,
    /// Gives everything the owners and rights that it had, whose roles must exist. Only PostgreSQL can do
    /// without.
    pub owners: bool,
}

impl Default for Restore {
    fn default() -> Self {
        Restore { terminate: false, keep_previous: false, owners: true }
    }
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// Under which name what was there before is kept.
    pub previous: Option<String>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// Writes a dump of `database` to `output`, which is flushed but not closed. Client programs run in `place`;
/// SQLite's database is a file of this machine, and `scratch` a directory with room for a copy of it.
///
/// What was committed before the call is in the dump, and nothing that was not.
///
/// # Errors
/// When the dump is not whole; what was written is then to be thrown away.
pub async fn dump(
    database: &Database,
    place: &dyn Place,
    scratch: &Path,
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<Dumped> {
    match database {
        Database::Postgres(at) => postgres::dump(at, place, output).await,
        Database::Mysql(at) => mysql::dump(at, place, output).await,
        Database::Redis(at) => redis::dump(at, place, output).await,
        Database::Mongo(at) => mongo::dump(at, place, output).await,
        Database::Sqlite(path) => sqlite::dump(path, scratch, output).await,
    }
}

/// Finds out whether `database` answers, and whether the client programs in `place` fit it: what would fail a
/// dump at night fails here at once. SQLite's needs none.
///
/// # Errors
/// [`Error::NoProgram`] and [`Error::Mismatch`] stay until something is installed; others may pass.
pub async fn fits(database: &Database, place: &dyn Place) -> Result<()> {
    match database {
        Database::Postgres(at) => postgres::fits(at, place).await,
        Database::Mysql(at) => mysql::fits(at, place).await,
        Database::Redis(at) => redis::fits(at, place).await,
        Database::Mongo(_) => mongo::fits(place).await,
        Database::Sqlite(_) => Ok(()),
    }
}

/// Reads all of a dump and says whether it is whole. A dump of PostgreSQL is read by `pg_restore` in `place`;
/// one of SQLite is copied to `scratch` first.
///
/// # Errors
/// [`Error::Damaged`] when it is not.
pub async fn check(kind: Kind, place: &dyn Place, scratch: &Path, dump: &dyn Source) -> Result<()> {
    match kind {
        Kind::Postgres => postgres::check(place, dump).await,
        Kind::Mysql => mysql::check(dump).await,
        Kind::Redis => redis::check(dump).await.map(drop),
        Kind::Mongo => mongo::check(dump).await,
        Kind::Sqlite => sqlite::check(dump, scratch).await,
    }
}

/// Makes of `database` what the dump holds. What is there is replaced when all of the dump has been loaded
/// beside it, or in one transaction; if that fails it stays as it was.
///
/// Redis is not restored by its server but into its directory: [`redis::restore`].
///
/// # Errors
/// When it cannot be done; the database is then as it was, unless [`Error::HalfWay`] says otherwise.
pub async fn restore(
    database: &Database,
    place: &dyn Place,
    dump: &dyn Source,
    how: &Restore,
) -> Result<Restored> {
    match database {
        Database::Postgres(at) => postgres::restore(at, place, dump, how).await,
        Database::Mysql(at) => mysql::restore(at, place, dump, how).await,
        Database::Redis(at) => Err(Error::Refused {
            database: at.to_string(),
            problem: "a Redis server takes no dump while it runs".into(),
            advice: "stop it, and restore the dump into its data directory".into(),
        }),
        Database::Mongo(at) => mongo::restore(at, place, dump).await,
        Database::Sqlite(path) => sqlite::restore(path, dump, how).await,
    }
}
