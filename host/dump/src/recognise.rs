//! Which database a container runs, and how to reach it from within, by what its image's documentation says
//! of its environment.

use std::path::PathBuf;

use crate::connection::{Connection, Host};
use crate::database::{Database, Kind};

/// The names of images that are served as the official image of their kind is.
const IMAGES: &[(Kind, &[&str])] = &[
    (Kind::Postgres, &["postgres", "postgis", "timescaledb", "timescaledb-ha", "pgvector", "pgautoupgrade"]),
    (Kind::Mysql, &["mysql", "mariadb", "percona", "percona-server", "mysql-server"]),
    (Kind::Redis, &["redis", "redis-stack", "redis-stack-server", "valkey"]),
    (Kind::Mongo, &["mongo", "mongodb-community-server", "percona-server-mongodb"]),
];

/// A database that a container seems to run.
#[derive(Debug)]
pub struct Recognised {
    /// How it is reached by a program that runs in the container.
    pub database: Database,
    /// The file in the container that has the password, where the environment names one.
    pub password_file: Option<PathBuf>,
}

/// Makes a database of a connection.
type Make = fn(Connection) -> Database;

/// The kind that the name of an image stands for: `registry:5000/library/postgres:15@sha256:…`.
pub fn kind_of(image: &str) -> Option<Kind> {
    let last = image.rsplit('/').next()?.split([':', '@']).next()?;
    IMAGES.iter().find(|(_, images)| images.contains(&last)).map(|(kind, _)| *kind)
}

/// The database in a container of `image` with the variables `environment`, each `NAME=value`.
///
/// The database's name is the one that the image made at its first start. If the container has no such
/// variable, none is given, and all of its databases can be listed.
pub fn recognise(image: &str, environment: &[String]) -> Option<Recognised> {
    let kind = kind_of(image)?;
    let value = |name: &str| {
        let found = environment.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.filter(|value| !value.is_empty()).map(ToOwned::to_owned)
    };
    let any = |names: &[&str]| names.iter().find_map(|name| value(name));
    let (make, user, password, database): (Make, _, _, _) = match kind {
        Kind::Postgres => {
            let user = value("POSTGRES_USER").unwrap_or_else(|| "postgres".into());
            let database = value("POSTGRES_DB").unwrap_or_else(|| user.clone());
            (Database::Postgres, Some(user), vec!["POSTGRES_PASSWORD"], Some(database))
        }
        Kind::Mysql => {
            let passwords = vec!["MARIADB_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD"];
            (Database::Mysql, Some("root".into()), passwords, any(&["MARIADB_DATABASE", "MYSQL_DATABASE"]))
        }
        Kind::Redis => (Database::Redis, None, vec!["REDIS_PASSWORD"], None),
        Kind::Mongo => {
            let user = value("MONGO_INITDB_ROOT_USERNAME");
            let passwords = vec!["MONGO_INITDB_ROOT_PASSWORD"];
            (Database::Mongo, user, passwords, value("MONGO_INITDB_DATABASE"))
        }
        // It has no server, and so no image.
        Kind::Sqlite => return None,
    };
    let secret = any(&password);
    let files: Vec<_> = password.iter().map(|name| format!("{name}_FILE")).collect();
    let file = files.iter().find_map(|name| value(name)).map(PathBuf::from);
    // Its programs must be told where, by an address.
    let host = match kind {
        Kind::Mongo => Host::Tcp { host: "localhost".into(), port: Some(27017) },
        _ => Host::Usual,
    };
    let database =
        make(Connection { host, user, password: secret.map(Into::into), database, ..Connection::default() });
    Some(Recognised { database, password_file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(image: &str, environment: &[&str]) -> (String, Option<PathBuf>) {
        let environment: Vec<_> = environment.iter().map(ToString::to_string).collect();
        let found = recognise(image, &environment).unwrap();
        (format!("{:?}", found.database), found.password_file)
    }

    #[test]
    fn databases_are_known_by_image_and_environment() {
        let (postgres, _) =
            recognised("registry:5000/library/postgres:15@sha256:00", &["POSTGRES_USER=me", "X=y"]);
        assert!(
            postgres.contains(r#"user: Some("me")"#) && postgres.contains(r#"database: Some("me")"#),
            "{postgres}"
        );
        let secret = [
            "MARIADB_ROOT_PASSWORD=hunter2",
            "MARIADB_DATABASE=app",
            "MYSQL_ROOT_PASSWORD_FILE=/run/secrets/x",
        ];
        let (mariadb, file) = recognised("mariadb", &secret);
        assert!(mariadb.contains(r#"database: Some("app")"#) && !mariadb.contains("hunter2"), "{mariadb}");
        assert_eq!(file, Some("/run/secrets/x".into()));
        assert_eq!(kind_of("me/redis-exporter"), None);
        assert_eq!(kind_of("valkey/valkey:8"), Some(Kind::Redis));
    }
}
