//! Dumps of PostgreSQL.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use snapshotter_dump::place::Local;
use snapshotter_dump::{Database, Error, Kind, Restore, check, dump, postgres, restore};
use tempfile::TempDir;

use crate::failing::{Cut, Disk, command_lines, lengths, whole};
use crate::server::{
    PASSWORD, Server, as_nobody, directory, encoded, imposter, installed, output, shared, start,
};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A server of all tests that run at a time, with a database of this test's own.
pub(crate) struct Postgres {
    server: Arc<Server>,
    pub(crate) name: String,
}

impl Postgres {
    pub(crate) fn with(name: &str) -> Option<Self> {
        static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        if !installed(&[&format!("{BIN}/postgres"), "/usr/bin/psql"]) {
            return None;
        }
        let this = Postgres { server: shared(&SERVER, server), name: name.into() };
        this.sql("postgres", &format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")));
        Some(this)
    }

    pub(crate) fn at(&self, database: &str) -> Database {
        Database::parse(&self.address(database, PASSWORD)).unwrap()
    }

    fn address(&self, database: &str, password: &str) -> String {
        let socket = encoded(self.server.socket.to_str().unwrap());
        format!("postgres://postgres:{}@{socket}/{}", encoded(password), encoded(database))
    }

    pub(crate) fn sql(&self, database: &str, script: &str) -> String {
        output(self.client("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", script]))
    }

    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-U", "postgres", "-h"]).arg(&self.server.socket).env("PGPASSWORD", PASSWORD);
        command
    }

    pub(crate) async fn dump(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let dumped =
            dump(&self.at(&self.name), &Local::default(), Path::new("/none"), &mut bytes).await.unwrap();
        assert_eq!(dumped.bytes, bytes.len() as u64);
        bytes
    }

    /// Databases that begin with this test's name.
    pub(crate) fn databases(&self) -> String {
        let pattern =
            format!("SELECT datname FROM pg_database WHERE datname LIKE '{}%' ORDER BY 1", self.name);
        self.sql("postgres", &pattern)
    }
}

fn server() -> Server {
    let directory = directory();
    let (data, password) = (directory.path().join("data"), directory.path().join("password"));
    std::fs::write(&password, PASSWORD).unwrap();
    let mut init = as_nobody(&format!("{BIN}/initdb"));
    init.args(["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync", "-D"]).arg(&data);
    output(init.arg("--pwfile").arg(&password));
    let mut command = as_nobody(&format!("{BIN}/postgres"));
    command.arg("-D").arg(&data).arg("-k").arg(directory.path());
    command.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"]);
    start(directory, command, ".", |socket| {
        let ready = Command::new("pg_isready").arg("-q").arg("-h").arg(socket).status();
        ready.is_ok_and(|status| status.success())
    })
}

#[tokio::test]
async fn what_was_committed_before_a_dump_is_in_it_while_others_write() {
    let Some(server) = Postgres::with("busy") else { return };
    output(server.client("pgbench").args(["-i", "-q", "-s", "2", "busy"]));
    let mut writers = server.client("pgbench");
    let writers = writers.args(["-c", "4", "-T", "60", "-n", "busy"]);
    let mut writers = writers.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while server.sql("busy", "SELECT count(*) > 200 FROM pgbench_history") != "t\n" {}
    let rows = "SELECT tid, bid, aid, delta, mtime FROM pgbench_history";
    let before = server.sql("busy", rows);
    let bytes = server.dump().await;
    let after = server.sql("busy", rows);
    writers.kill().unwrap();
    writers.wait().unwrap();
    assert_ne!(before, after, "nobody has written");

    check(Kind::Postgres, &Local::default(), Path::new("/none"), &whole(&bytes)).await.unwrap();
    let how = Restore::default();
    restore(&server.at("busy2"), &Local::default(), &whole(&bytes), &how).await.unwrap();
    let restored = server.sql("busy2", rows);
    let restored: HashSet<_> = restored.lines().collect();
    let missing: Vec<_> = before.lines().filter(|row| !restored.contains(row)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let sums =
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)";
    assert_eq!(server.sql("busy2", sums), "t\n", "half of a transaction is in the dump");
}

#[tokio::test]
async fn a_dump_that_is_cut_anywhere_is_found_out() {
    let Some(server) = Postgres::with("cut") else { return };
    server.sql("cut", "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS x FROM generate_series(1, 100) g");
    server.sql(
        "cut",
        "CREATE UNIQUE INDEX ON t (id); SELECT lo_from_bytea(7, 'large'); CREATE VIEW v AS TABLE t",
    );
    let bytes = server.dump().await;
    let place = Local::default();
    check(Kind::Postgres, &place, Path::new("/none"), &whole(&bytes)).await.unwrap();
    for length in lengths(bytes.len(), 40, 40) {
        let cut = whole(&bytes[..length]);
        let checked = check(Kind::Postgres, &place, Path::new("/none"), &cut).await;
        assert!(matches!(checked, Err(Error::Damaged { .. })), "{length} of {}: {checked:?}", bytes.len());
    }
    let broken = Cut { bytes: &bytes[..bytes.len() / 2], fails: true };
    assert!(matches!(check(Kind::Postgres, &place, Path::new("/none"), &broken).await, Err(Error::Read(_))));
}

#[tokio::test]
async fn a_password_is_nowhere_to_be_seen_and_a_full_disk_ends_the_dump() {
    let Some(server) = Postgres::with("secret") else { return };
    server.sql(
        "secret",
        "CREATE TABLE t AS SELECT repeat(md5(g::text), 99) AS x FROM generate_series(1, 5000) g",
    );
    let mut disk = Disk { room: 1 << 20, secret: PASSWORD, seen: false };
    let dumped = dump(&server.at("secret"), &Local::default(), Path::new("/none"), &mut disk).await;
    assert!(matches!(dumped, Err(Error::Write(_))), "{dumped:?}");
    assert!(!disk.seen);
    // It is killed, and not left to find out by itself.
    let mine = |line: &String| line.contains("pg_dump") && line.contains("dbname='secret'");
    for _ in 0..100 {
        if !command_lines().iter().any(mine) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(command_lines().into_iter().filter(mine).collect::<Vec<_>>(), [""; 0]);
    let wrong = Database::parse(&server.address("secret", "no-such-password")).unwrap();
    let error = dump(&wrong, &Local::default(), Path::new("/none"), &mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    assert!(!format!("{error:?}").contains("no-such-password"), "{error:?}");
}

#[tokio::test]
async fn a_client_that_is_too_old_missing_or_killed_is_told_apart() {
    let Some(server) = Postgres::with("clients") else { return };
    let directory = TempDir::new().unwrap();
    let path = imposter(directory.path(), "pg_dump", "echo 'pg_dump (PostgreSQL) 14.9'");
    let at = server.at("clients");
    let mut bytes = Vec::new();
    let old = dump(&at, &Local::in_directories(path), Path::new("/none"), &mut bytes).await.unwrap_err();
    assert!(matches!(old, Error::Mismatch { .. }) && bytes.is_empty(), "{old}");
    assert!(old.to_string().starts_with("cannot use pg_dump 14.9 with a server of PostgreSQL 15."), "{old}");

    let none = Local::in_directories(directory.path().join("none").to_str().unwrap());
    let none = dump(&at, &none, Path::new("/none"), &mut bytes).await.unwrap_err();
    assert_eq!(none.to_string(), "cannot find pg_dump on this machine");

    let script = "case $1 in --version) exec /usr/bin/pg_dump --version; esac\n/usr/bin/pg_dump \"$@\" | head -c 500\nkill -9 $$";
    let path = imposter(directory.path(), "pg_dump", script);
    let killed = dump(&at, &Local::in_directories(path), Path::new("/none"), &mut bytes).await.unwrap_err();
    assert_eq!(bytes.len(), 500);
    assert!(killed.to_string().contains("pg_dump was killed by a signal"), "{killed}");
}

#[tokio::test]
async fn databases_and_roles_are_found() {
    let Some(server) = Postgres::with("with \"roles\"") else { return };
    server.sql(
        "postgres",
        "CREATE ROLE roles_a LOGIN PASSWORD 'x;y'; CREATE ROLE roles_b; GRANT roles_b TO roles_a",
    );
    let Database::Postgres(at) = server.at("postgres") else { panic!() };
    let place = Local::default();
    let databases = postgres::databases(&at, &place).await.unwrap();
    assert!(databases.contains(&"with \"roles\"".to_owned()) && !databases.contains(&"template1".into()));
    let mut roles = Vec::new();
    postgres::dump_roles(&at, &place, &mut roles).await.unwrap();
    server.sql("postgres", "DROP ROLE roles_a; ALTER ROLE roles_b VALID UNTIL '2001-01-01'");
    for length in lengths(roles.len() - 1, 50, 50) {
        assert!(postgres::restore_roles(&at, &place, &whole(&roles[..length])).await.is_err(), "{length}");
    }
    let restored = postgres::restore_roles(&at, &place, &whole(&roles)).await.unwrap();
    assert!(restored.notes[0].contains("roles_b") && !restored.notes[0].contains("roles_a"), "{restored:?}");
    let made = server.server.path("made");
    let order = format!(
        "CREATE ROLE roles_c;\nCOMMENT ON ROLE roles_c IS E'\\'' \\! touch {}\n'';\n",
        made.display()
    );
    let hostile =
        String::from_utf8(roles.clone()).unwrap().replacen("CREATE ROLE", &format!("{order}CREATE ROLE"), 1);
    postgres::restore_roles(&at, &place, &whole(hostile.as_bytes())).await.unwrap_err();
    assert!(!made.exists());
    let there = "SELECT rolpassword LIKE 'SCRAM%', pg_has_role('roles_a', 'roles_b', 'MEMBER'),
                 (SELECT rolvaliduntil < now() FROM pg_authid WHERE rolname = 'roles_b')
                 FROM pg_authid WHERE rolname = 'roles_a'";
    assert_eq!(server.sql("postgres", there), "t|t|t\n");
}
