//! The first scenario of the sidecar's documents: an application with uploads and a PostgreSQL database. It
//! is loaded, backed up while others write, destroyed, and restored.

#[path = "../../../dump/tests/it/server.rs"]
#[allow(dead_code, clippy::print_stderr, reason = "what other databases need, and what is left out is said")]
mod server;

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use server::{PASSWORD, Server, as_nobody, directory, encoded, installed, output, start};

use crate::run::script;
use crate::sidecar::Sidecar;

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A server with the database `app`, where it is installed.
fn postgres() -> Option<Server> {
    if !installed(&[&format!("{BIN}/postgres"), "/usr/bin/psql"]) {
        return None;
    }
    let directory = directory();
    let (data, password) = (directory.path().join("data"), directory.path().join("password"));
    fs::write(&password, PASSWORD).unwrap();
    let mut init = as_nobody(&format!("{BIN}/initdb"));
    init.args(["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync", "-D"]).arg(&data);
    output(init.arg("--pwfile").arg(&password));
    let mut command = as_nobody(&format!("{BIN}/postgres"));
    command.arg("-D").arg(&data).arg("-k").arg(directory.path());
    command.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"]);
    let server = start(directory, command, "", |socket| {
        Command::new("psql")
            .args(["-U", "postgres", "-d", "postgres", "-c", "SELECT 1", "-h"])
            .arg(socket)
            .env("PGPASSWORD", PASSWORD)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    });
    sql(&server, "postgres", "CREATE DATABASE app");
    Some(server)
}

fn psql(server: &Server, database: &str) -> Command {
    let mut psql = Command::new("psql");
    psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
    psql.arg(&server.socket).env("PGPASSWORD", PASSWORD);
    psql
}

fn sql(server: &Server, database: &str, text: &str) -> String {
    output(psql(server, database).args(["-c", text]))
}

fn with_database(server: &Server, database: &str) -> Sidecar {
    let mut sidecar = Sidecar::new();
    let (password, socket) = (encoded(PASSWORD), encoded(server.socket.to_str().unwrap()));
    sidecar.set("BACKUP_POSTGRES", &format!("postgresql://postgres:{password}@{socket}/{database}"));
    sidecar
}

/// A sum over all rows that were committed before a moment.
const ROWS: &str = "SELECT count(*), md5(string_agg(a || ' ' || b, ',' ORDER BY a)) FROM t WHERE a <= 5000";

#[test]
fn an_application_with_uploads_and_postgresql_comes_back() {
    let Some(server) = postgres() else { return };
    let sidecar = with_database(&server, "app");
    sql(&server, "app", "CREATE TABLE t(a int PRIMARY KEY, b text NOT NULL)");
    sql(&server, "app", "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 5000) i");
    sql(&server, "app", "CREATE VIEW v AS SELECT b FROM t");
    let rows = sql(&server, "app", ROWS);
    let mut writer = psql(&server, "app");
    writer.stdin(Stdio::piped());
    let mut writer = writer.spawn().unwrap();
    let mut input = writer.stdin.take().unwrap();
    let writing = thread::spawn(move || {
        use std::io::Write;
        for a in 5001..5400 {
            if writeln!(input, "INSERT INTO t VALUES ({a}, 'later'); SELECT pg_sleep(0.005);").is_err() {
                break;
            }
        }
    });
    thread::sleep(Duration::from_millis(200));
    sidecar.good(&["run"]);
    writing.join().unwrap();
    assert!(writer.wait().unwrap().success());
    // No plain dump is left.
    assert!(!sidecar.path("state/sidecar/shop/snapshotter-dumps").exists());

    sql(&server, "app", "DROP VIEW v");
    sql(&server, "app", "UPDATE t SET b = 'lost'");
    sql(&server, "app", "CREATE VIEW newer AS SELECT a FROM t");
    fs::remove_dir_all(sidecar.path("data/deep")).unwrap();
    let restored = sidecar.good(&["restore-backup", "latest", "--yes"]);
    assert!(restored.contains("database"), "{restored}");
    assert_eq!(sql(&server, "app", ROWS), rows);
    assert_eq!(sql(&server, "app", "SELECT count(*) FROM v WHERE b <> 'later'"), "5000\n");
    assert_eq!(sql(&server, "app", "SELECT count(*) FROM pg_views WHERE viewname = 'newer'"), "0\n");
    assert_eq!(fs::read_to_string(sidecar.path("data/deep/file")).unwrap(), "content");
}

#[test]
fn all_databases_of_a_server_that_names_none_are_backed_up() {
    let Some(server) = postgres() else { return };
    let sidecar = with_database(&server, "");
    sql(&server, "postgres", "CREATE DATABASE other");
    for database in ["app", "other"] {
        sql(&server, database, &format!("CREATE TABLE t AS SELECT '{database}' AS a"));
    }
    sidecar.good(&["run"]);
    for database in ["app", "other"] {
        sql(&server, database, "DROP TABLE t");
    }
    sidecar.good(&["restore-backup", "latest", "--yes"]);
    for database in ["app", "other"] {
        assert_eq!(sql(&server, database, "SELECT a FROM t"), format!("{database}\n"));
    }
}

#[test]
fn a_database_in_use_is_refused_with_nothing_changed_unless_connections_may_end() {
    let Some(server) = postgres() else { return };
    let sidecar = with_database(&server, "app");
    sql(&server, "app", "CREATE TABLE t AS SELECT 1 AS a");
    sidecar.good(&["run"]);
    sql(&server, "app", "UPDATE t SET a = 2");
    fs::write(sidecar.path("data/other"), "newer").unwrap();
    let mut user =
        psql(&server, "app").args(["-c", "SELECT pg_sleep(60)"]).stderr(Stdio::null()).spawn().unwrap();
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
    while sql(&server, "postgres", busy) == "0\n" {
        thread::sleep(Duration::from_millis(20));
    }
    let said = sidecar.bad(&["restore-backup", "latest", "--yes"]);
    assert!(said.contains("nothing was changed") && said.contains("--terminate"), "{said}");
    assert_eq!(sql(&server, "app", "SELECT a FROM t"), "2\n");
    assert_eq!(fs::read_to_string(sidecar.path("data/other")).unwrap(), "newer");
    sidecar.good(&["restore-backup", "latest", "--yes", "--terminate"]);
    assert_eq!(sql(&server, "app", "SELECT a FROM t"), "1\n");
    user.wait().unwrap();
}

#[test]
fn a_dump_that_fails_fails_the_backup() {
    let Some(server) = postgres() else { return };
    let sidecar = with_database(&server, "missing");
    let said = sidecar.bad(&["run"]);
    assert!(said.contains("missing"), "{said}");
    assert!(!said.contains(PASSWORD) && !said.contains(&encoded(PASSWORD)), "{said}");
    assert!(sidecar.backups("backups").is_empty());
    // One that writes half a dump and says that all is well.
    let sidecar = with_database(&server, "app");
    let tools = sidecar.path("tools");
    fs::create_dir(&tools).unwrap();
    let real = format!("{BIN}/pg_dump");
    let half = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) exec {real} --version;; esac\n{real} \"$@\" | head -c 700\n"
    );
    script(&tools.join("pg_dump"), &half);
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let output = sidecar.command(&["run"]).env("PATH", path).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not a whole dump of PostgreSQL"), "{said}");
    assert!(sidecar.backups("backups").is_empty());
}
