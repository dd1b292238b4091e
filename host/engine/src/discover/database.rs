//! Which containers are databases. It is a guess from three signs: where a mount is, what the image is
//! called, and which port it declares. A wrong guess costs a warning, so each sign is one that other programs
//! do not have.

use crate::api::container::{Container, Mount};

struct Database {
    images: &'static [&'static str],
    ports: &'static [&'static str],
    paths: &'static [&'static str],
}

const DATABASES: &[Database] = &[
    Database {
        images: &[
            "postgres",
            "postgresql",
            "postgis",
            "timescaledb",
            "timescaledb-ha",
            "pgvector",
            "pgautoupgrade",
        ],
        ports: &["5432/tcp"],
        paths: &["/var/lib/postgresql", "/bitnami/postgresql"],
    },
    Database {
        images: &["mysql", "mysql-server", "mariadb", "percona", "percona-server"],
        ports: &["3306/tcp"],
        paths: &["/var/lib/mysql", "/bitnami/mysql", "/bitnami/mariadb"],
    },
    Database {
        images: &["mongo", "mongodb", "mongodb-community-server", "percona-server-mongodb"],
        ports: &["27017/tcp"],
        paths: &["/data/db", "/bitnami/mongodb"],
    },
    Database {
        images: &["redis", "redis-stack", "redis-stack-server", "valkey", "keydb", "dragonfly"],
        ports: &["6379/tcp"],
        paths: &["/bitnami/redis", "/bitnami/valkey"],
    },
    Database {
        images: &["elasticsearch", "opensearch"],
        ports: &["9200/tcp"],
        paths: &["/usr/share/elasticsearch/data", "/usr/share/opensearch/data"],
    },
    Database {
        images: &["influxdb"],
        ports: &["8086/tcp"],
        paths: &["/var/lib/influxdb", "/var/lib/influxdb2"],
    },
    Database { images: &["clickhouse", "clickhouse-server"], ports: &[], paths: &["/var/lib/clickhouse"] },
    Database { images: &["cassandra"], ports: &["9042/tcp"], paths: &["/var/lib/cassandra"] },
    Database { images: &["couchdb"], ports: &["5984/tcp"], paths: &["/opt/couchdb/data"] },
    Database { images: &["neo4j"], ports: &["7687/tcp"], paths: &[] },
    Database { images: &["rabbitmq"], ports: &["5672/tcp"], paths: &["/var/lib/rabbitmq"] },
    Database { images: &["etcd"], ports: &["2379/tcp"], paths: &[] },
    Database { images: &["cockroach"], ports: &["26257/tcp"], paths: &["/cockroach/cockroach-data"] },
    Database { images: &[], ports: &["1433/tcp"], paths: &["/var/opt/mssql"] },
];

/// The container's name and the sign by which it is known to be a running database with its data in `mount`.
pub(crate) fn of(container: &Container, mount: &Mount) -> Option<(String, String)> {
    if !mount.writable || !container.state.status.may_write() {
        return None;
    }
    let sign = match path(mount) {
        Some(path) => format!("path {path}"),
        // The others of its mounts then hold something else.
        None if container.mounts.iter().any(|mount| path(mount).is_some()) => return None,
        None => image(container).or_else(|| port(container))?,
    };
    Some((container.name().to_owned(), sign))
}

fn path(mount: &Mount) -> Option<&'static str> {
    let inside = |path: &str| {
        mount.destination.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    DATABASES.iter().flat_map(|database| database.paths).find(|path| inside(path)).copied()
}

fn image(container: &Container) -> Option<String> {
    let image = &container.config.image;
    // registry:5000/library/postgres:15@sha256:…
    let last = image.rsplit('/').next()?.split([':', '@']).next()?;
    let known = DATABASES.iter().any(|database| database.images.contains(&last));
    known.then(|| format!("image {image}"))
}

fn port(container: &Container) -> Option<String> {
    let ports = DATABASES.iter().flat_map(|database| database.ports);
    ports
        .copied()
        .find(|&port| container.config.exposed_ports.contains_key(port))
        .map(|port| format!("port {port}"))
}
