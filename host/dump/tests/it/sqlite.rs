//! Copies of SQLite databases.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use rusqlite::Connection;
use snapshotter_dump::place::Local;
use snapshotter_dump::{Database, Error, Kind, Restore, check, dump, restore};
use tempfile::TempDir;

use crate::failing::{Cut, Disk, lengths, whole};

fn made(directory: &Path, mode: &str) -> (PathBuf, Connection) {
    let path = directory.join("my ?#%.db");
    let connection = Connection::open(&path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    connection.pragma_update(None, "journal_mode", mode).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE a (n INTEGER); CREATE TABLE b (n INTEGER, x TEXT); CREATE INDEX i ON b (n)",
        )
        .unwrap();
    (path, connection)
}

fn insert(connection: &Connection, n: i64) {
    let script = format!(
        "BEGIN; INSERT INTO a VALUES ({n}); INSERT INTO b VALUES ({n}, hex(randomblob(200))); COMMIT"
    );
    connection.execute_batch(&script).unwrap();
}

fn count(path: &Path) -> (i64, i64) {
    let connection = Connection::open(path).unwrap();
    connection
        .query_row("SELECT (SELECT max(n) FROM a), (SELECT count(*) FROM b)", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap()
}

async fn dumped(path: &Path, scratch: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let at = Database::Sqlite(path.to_owned());
    let dumped = dump(&at, &Local::default(), scratch, &mut bytes).await.unwrap();
    assert_eq!(dumped.bytes, bytes.len() as u64);
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0, "something is left");
    bytes
}

#[tokio::test]
async fn what_was_committed_before_a_dump_is_in_it_while_others_write() {
    for mode in ["wal", "delete"] {
        let (directory, scratch) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (path, connection) = made(directory.path(), mode);
        (1..=200).for_each(|n| insert(&connection, n));
        let (stop, last) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(200)));
        let (stopped, written) = (Arc::clone(&stop), Arc::clone(&last));
        let writer = std::thread::spawn(move || {
            for n in 201.. {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                insert(&connection, n);
                written.store(n, Ordering::SeqCst);
            }
        });
        for n in 0..5 {
            let before = last.load(Ordering::SeqCst);
            let bytes = dumped(&path, scratch.path()).await;
            let copy = directory.path().join(format!("copy{n}"));
            restore(&Database::Sqlite(copy.clone()), &Local::default(), &whole(&bytes), &Restore::default())
                .await
                .unwrap();
            let (newest, rows) = count(&copy);
            assert!(newest >= before && newest == rows, "{mode}: {before} {newest} {rows}");
            let restored: String = Connection::open(&copy)
                .unwrap()
                .pragma_query_value(None, "journal_mode", |row| row.get(0))
                .unwrap();
            assert_eq!(restored, mode);
        }
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap();
    }
}

#[tokio::test]
async fn a_database_that_is_open_is_replaced_in_one_transaction() {
    for (mode, page) in [("wal", 4096), ("delete", 4096), ("delete", 1024)] {
        let (directory, scratch) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (path, connection) = made(directory.path(), mode);
        (1..=50).for_each(|n| insert(&connection, n));
        let bytes = dumped(&path, scratch.path()).await;
        connection.execute_batch("DELETE FROM a; DROP INDEX i").unwrap();
        connection.pragma_update(None, "page_size", page).unwrap();
        connection.execute_batch("VACUUM").unwrap();
        let how = Restore { keep_previous: true, ..Restore::default() };
        let at = Database::Sqlite(path.clone());
        let restored = restore(&at, &Local::default(), &whole(&bytes), &how).await.unwrap();
        let rows: i64 = connection.query_row("SELECT count(*) FROM a", (), |row| row.get(0)).unwrap();
        assert_eq!(rows, 50, "{mode} {page}");
        insert(&connection, 51);
        drop(connection);
        assert_eq!(count(&path), (51, 51));
        let previous = Connection::open(restored.previous.unwrap()).unwrap();
        let rows: i64 = previous.query_row("SELECT count(*) FROM a", (), |row| row.get(0)).unwrap();
        assert_eq!(rows, 0);
    }
}

#[tokio::test]
async fn a_write_ahead_log_with_pages_of_another_size_is_replaced_if_nobody_has_it_open() {
    let (directory, scratch) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (path, connection) = made(directory.path(), "wal");
    insert(&connection, 1);
    let bytes = dumped(&path, scratch.path()).await;
    drop(connection);
    fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; CREATE TABLE x (y)").unwrap();
    drop(other);
    let at = Database::Sqlite(path.clone());
    restore(&at, &Local::default(), &whole(&bytes), &Restore::default()).await.unwrap();
    assert_eq!(count(&path), (1, 1));
}

#[tokio::test]
async fn a_log_of_another_database_is_not_played_into_a_new_one() {
    let (directory, scratch) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (path, connection) = made(directory.path(), "wal");
    insert(&connection, 1);
    let bytes = dumped(&path, scratch.path()).await;
    insert(&connection, 2);
    // As a user who deletes a database that an application has left open.
    fs::remove_file(&path).unwrap();
    let (at, how) = (Database::Sqlite(path.clone()), Restore::default());
    let refused = restore(&at, &Local::default(), &whole(&bytes), &how).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }) && refused.to_string().contains("-wal"), "{refused}");
    assert!(!path.exists());
    drop(connection);
    fs::remove_file(directory.path().join("my ?#%.db-wal")).ok();
    restore(&at, &Local::default(), &whole(&bytes), &how).await.unwrap();
    assert_eq!(count(&path), (1, 1));

    fs::write(&path, "no database at all").unwrap();
    let corrupt = restore(&at, &Local::default(), &whole(&bytes), &how).await.unwrap_err();
    assert!(corrupt.advice().unwrap().starts_with("to restore it, move it away"), "{corrupt:?}");
}

#[tokio::test]
async fn a_dump_that_is_cut_or_changed_is_found_out_and_leaves_what_was() {
    let (directory, scratch) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (path, connection) = made(directory.path(), "wal");
    (1..=100).for_each(|n| insert(&connection, n));
    let bytes = dumped(&path, scratch.path()).await;
    (101..=110).for_each(|n| insert(&connection, n));
    let place = Local::default();
    check(Kind::Sqlite, &place, scratch.path(), &whole(&bytes)).await.unwrap();
    for length in lengths(bytes.len(), 100, 100) {
        let checked = check(Kind::Sqlite, &place, scratch.path(), &whole(&bytes[..length])).await;
        assert!(matches!(checked, Err(Error::Damaged { .. })), "{length}: {checked:?}");
    }
    let at = Database::Sqlite(path.clone());
    let mut changed = bytes.clone();
    changed[4096..4200].fill(0xa5);
    for dump in
        [Cut { bytes: &bytes[..4096], fails: false }, Cut { bytes: &bytes, fails: true }, whole(&changed)]
    {
        restore(&at, &place, &dump, &Restore::default()).await.unwrap_err();
    }
    assert_eq!(count(&path), (110, 110));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    let mut disk = Disk { room: 5000, secret: "", seen: false };
    let full = dump(&at, &place, scratch.path(), &mut disk).await;
    assert!(matches!(full, Err(Error::Write(_))), "{full:?}");
}

#[tokio::test]
async fn a_database_is_left_as_it_was_by_a_dump() {
    let (directory, scratch) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (path, connection) = made(directory.path(), "wal");
    insert(&connection, 1);
    drop(connection);
    let bytes = fs::read(&path).unwrap();
    dumped(&path, scratch.path()).await;
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let names: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [path.file_name().unwrap()]);

    let missing = Database::Sqlite(directory.path().join("none"));
    dump(&missing, &Local::default(), scratch.path(), &mut Vec::new()).await.unwrap_err();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let empty = directory.path().join("empty");
    fs::write(&empty, b"").unwrap();
    let bytes = dumped(&empty, scratch.path()).await;
    check(Kind::Sqlite, &Local::default(), scratch.path(), &whole(&bytes)).await.unwrap();
}
