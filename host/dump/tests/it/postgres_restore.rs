//! Restores of PostgreSQL: what is there is replaced whole, or stays.

use std::process::{Child, Stdio};

use snapshotter_dump::place::Local;
use snapshotter_dump::{Error, Restore, restore};
use tempfile::TempDir;

use crate::failing::{Cut, lengths, whole};
use crate::postgres::Postgres;
use crate::server::imposter;

const ROWS: &str = "SELECT id, x FROM v ORDER BY 1";

const MARKED: &str =
    "SELECT count(*) = 1 FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE 'snapshotter%'
    AND datname LIKE 'left%'";

fn filled(name: &str) -> Option<Postgres> {
    let server = Postgres::with(name)?;
    let script = "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT g, md5(g::text) FROM
        generate_series(1, 100) g; CREATE VIEW v AS SELECT * FROM t; CREATE FUNCTION f() RETURNS int LANGUAGE sql
        AS $$ SELECT count(*)::int FROM t; $$";
    server.sql(name, script);
    Some(server)
}

/// A client that stays connected.
fn user(server: &Postgres, database: &str) -> Child {
    let mut user = server.client("psql");
    let user =
        user.args(["-Xqd", database]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let user = user.spawn().unwrap();
    let there = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
    while server.sql("postgres", &there) != "1\n" {}
    user
}

#[tokio::test]
async fn a_database_is_replaced_with_owner_rights_settings_and_comment() {
    let Some(server) = filled("whole") else { return };
    server.sql("postgres", "CREATE ROLE whole_owner; ALTER DATABASE whole OWNER TO whole_owner");
    server.sql(
        "postgres",
        "ALTER DATABASE whole SET work_mem = '7MB'; COMMENT ON DATABASE whole IS 'it''s;\nmine'",
    );
    server.sql("postgres", "REVOKE CONNECT ON DATABASE whole FROM PUBLIC");
    let facts = "SELECT datname, pg_get_userbyid(datdba), (SELECT array_agg(a ORDER BY a::text) FROM unnest(datacl) a), encoding, datcollate,
        shobj_description(oid, 'pg_database'), (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid)
        FROM pg_database d WHERE datname = 'whole'";
    let (rows, before) = (server.sql("whole", ROWS), server.sql("postgres", facts));
    let bytes = server.dump().await;
    server.sql("whole", "DELETE FROM t; ALTER TABLE t ADD more int; CREATE VIEW w AS SELECT * FROM t");
    server.sql("postgres", "ALTER DATABASE whole RESET ALL; COMMENT ON DATABASE whole IS NULL");
    let how = Restore { keep_previous: true, ..Restore::default() };
    let restored = restore(&server.at("whole"), &Local::default(), &whole(&bytes), &how).await.unwrap();
    assert_eq!(server.sql("whole", ROWS), rows);
    assert_eq!(server.sql("whole", "SELECT f()"), "100\n");
    assert_eq!(server.sql("postgres", facts), before);
    let previous = restored.previous.unwrap();
    assert_eq!(server.databases(), format!("whole\n{previous}\n"));
    assert_eq!(server.sql(&previous, "SELECT count(*) FROM w"), "0\n");

    let how = Restore::default();
    restore(&server.at("whole"), &Local::default(), &whole(&bytes), &how).await.unwrap();
    assert_eq!(server.databases(), format!("whole\n{previous}\n"));
}

#[tokio::test]
async fn a_database_in_use_is_refused_or_its_users_are_sent_away() {
    let Some(server) = filled("used") else { return };
    let bytes = server.dump().await;
    server.sql("used", "DELETE FROM t");
    let mut user = user(&server, "used");
    let at = server.at("used");
    let refused = restore(&at, &Local::default(), &whole(&bytes), &Restore::default()).await.unwrap_err();
    assert!(refused.to_string().ends_with("postgres has 1 connections (psql)"), "{refused}");
    assert_eq!(server.sql("used", ROWS), "");
    let how = Restore { terminate: true, ..Restore::default() };
    restore(&at, &Local::default(), &whole(&bytes), &how).await.unwrap();
    assert_eq!(server.sql("used", "SELECT f()"), "100\n");
    user.kill().unwrap();
    user.wait().unwrap();
    assert_eq!(server.databases(), "used\n");
}

#[tokio::test]
async fn a_restore_that_fails_leaves_what_was() {
    let Some(server) = filled("kept") else { return };
    let bytes = server.dump().await;
    server.sql("kept", "UPDATE t SET x = 'newer'");
    let before = server.sql("kept", ROWS);
    let (at, how) = (server.at("kept"), Restore::default());
    for length in lengths(bytes.len(), 5, 5) {
        restore(&at, &Local::default(), &whole(&bytes[..length]), &how).await.unwrap_err();
    }
    let broken = Cut { bytes: &bytes[..bytes.len() - 10], fails: true };
    let error = restore(&at, &Local::default(), &broken, &how).await.unwrap_err();
    assert!(matches!(error, Error::Read(_)), "{error}");

    let directory = TempDir::new().unwrap();
    let script = "case \"$*\" in *exit-on-error*) head -c 2000 | /usr/bin/pg_restore \"$@\"; kill -9 $$; esac
        exec /usr/bin/pg_restore \"$@\"";
    let place = Local::in_directories(imposter(directory.path(), "pg_restore", script));
    let killed = restore(&at, &place, &whole(&bytes), &how).await.unwrap_err();
    assert!(killed.to_string().contains("pg_restore was killed by a signal"), "{killed}");

    server.sql("postgres", "CREATE ROLE kept_owner");
    server.sql("kept", "ALTER TABLE t OWNER TO kept_owner");
    let owned = server.dump().await;
    server.sql("kept", "ALTER TABLE t OWNER TO postgres; DROP ROLE kept_owner");
    let error = restore(&at, &Local::default(), &whole(&owned), &how).await.unwrap_err();
    assert!(error.to_string().contains("role \"kept_owner\" does not exist"), "{error}");
    assert_eq!(server.sql("kept", ROWS), before);
    assert_eq!(server.databases(), "kept\n");
    let without = Restore { owners: false, ..how };
    restore(&at, &Local::default(), &whole(&owned), &without).await.unwrap();
    assert_eq!((server.sql("kept", ROWS), server.databases()), (before, "kept\n".into()));
}

#[tokio::test]
async fn what_a_killed_restore_has_left_is_dropped_by_the_next() {
    let Some(server) = filled("left") else { return };
    let bytes = server.dump().await;
    server.sql("postgres", "CREATE DATABASE left_new_1");
    server.sql("postgres", "COMMENT ON DATABASE left_new_1 IS 'mine'");
    {
        let directory = TempDir::new().unwrap();
        let script = "case \"$*\" in *exit-on-error*) exec sleep 60; esac; exec /usr/bin/pg_restore \"$@\"";
        let place = Local::in_directories(imposter(directory.path(), "pg_restore", script));
        let (at, how, dump) = (server.at("left"), Restore::default(), whole(&bytes));
        let made = async {
            while server.databases().lines().count() < 3 {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            // It has its comment soon after.
            while server.sql("postgres", MARKED) != "t\n" {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            restored = restore(&at, &place, &dump, &how) => panic!("{restored:?}"),
            () = made => (),
        }
    }
    assert_eq!(server.databases().lines().count(), 3);
    restore(&server.at("left"), &Local::default(), &whole(&bytes), &Restore::default()).await.unwrap();
    assert_eq!(server.databases(), "left\nleft_new_1\n");
}
