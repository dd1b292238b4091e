//! MySQL and MariaDB: one database as SQL, as `mariadb-dump` or `mysqldump` writes it.
//!
//! The first line of a dump is ours: a comment with the database's character set and collation, which the
//! programs leave out unless they also write the database's name.

mod client;
mod code;
mod grants;
mod names;
mod restore;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use client::{Server, text};

use crate::connection::Connection;
use crate::database::{Dumped, Kind};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::run::{Reads, pass};
use crate::source::Source;

pub use restore::restore;

/// What our first line begins with.
const CHARACTERS: &str = "-- characters of the database: ";
/// More than the header and the trailer of a dump have.
const EDGE: usize = 8 << 10;

/// The databases of a server that can be dumped.
///
/// # Errors
/// When the server cannot be asked.
pub async fn databases(at: &Connection, place: &dyn Place) -> Result<Vec<String>> {
    let server = Server::find(at, place).await?;
    let own = "'information_schema', 'performance_schema', 'mysql', 'sys'";
    let question = format!(
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN ({own}) ORDER BY 1;"
    );
    let answer = server.ask("list the databases", &question).await?;
    Ok(answer.lines().map(ToOwned::to_owned).collect())
}

/// Whether the server answers, and the client programs are not older than it and of its make.
///
/// # Errors
/// When one of them is not so.
pub async fn fits(at: &Connection, place: &dyn Place) -> Result<()> {
    Server::find(at, place).await.map(drop)
}

/// Writes a dump of one database.
///
/// Tables of `InnoDB` are read as they are at one moment, and writers go on. If there are others (`MyISAM`,
/// Aria), which know no such moment, all tables are locked instead: who wants to write waits until the dump
/// is done.
///
/// # Errors
/// When it is not whole, or the client is older than the server or of another make, which is found out first.
pub async fn dump(
    at: &Connection,
    place: &dyn Place,
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<Dumped> {
    let server = Server::find(at, place).await?;
    let database = server.database()?;
    let characters = server.characters(database).await?.ok_or_else(|| Error::Refused {
        database: at.to_string(),
        problem: "there is no such database".into(),
        advice: "look for its name, or whether its user may see it".into(),
    })?;
    let grants = server.ask("ask what the user may see", "SHOW GRANTS;").await?;
    let unseen = grants::unseen(&grants, database).into_iter();
    let note = |what| format!("its user has no right to see {what}: if it has any, they are not in the dump");
    let mut notes: Vec<_> = unseen.map(note).collect();
    let question = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = {0}
         AND engine NOT IN ('InnoDB', 'XtraDB', 'ROCKSDB', 'TokuDB', 'MEMORY') ORDER BY 1;
         SELECT CONCAT(table_name, ':history') FROM information_schema.tables WHERE table_schema = {0}
         AND table_type = 'SYSTEM VERSIONED' ORDER BY 1;",
        text(database)
    );
    let answer = server.ask("look for tables without transactions", &question).await?;
    let (history, others): (Vec<_>, Vec<_>) = answer.lines().partition(|line| line.ends_with(":history"));
    for table in history {
        let table = table.trim_end_matches(":history");
        notes.push(format!("{table} is system-versioned: its present rows are dumped, its history is not"));
    }
    let consistent = if others.is_empty() { "--single-transaction" } else { "--lock-tables" };
    if !others.is_empty() {
        let tables = others.join(", ");
        notes.push(format!("writers had to wait, since these tables have no transactions: {tables}"));
    }
    let first = format!("{CHARACTERS}{characters}\n");
    output.write_all(first.as_bytes()).await.map_err(Error::Write)?;
    let call = server
        .dump_call([consistent, "--routines", "--triggers", "--events"])
        .argument("--")
        .argument(database);
    let bytes = pass(place, &call, &format!("dump {at}"), None, Reads::All, output).await?;
    Ok(Dumped { bytes: bytes + first.len() as u64, version: server.version, notes })
}

/// Reads all of a dump and looks for its beginning and its end: the programs write a last line when all is
/// written, and nothing that is in a database can look like it, as a dump has no line's end within a text.
///
/// # Errors
/// [`Error::Damaged`] when it is cut or is no dump.
pub async fn check(dump: &dyn Source) -> Result<()> {
    let damaged = |problem: &str| Error::Damaged { kind: Kind::Mysql, problem: problem.into() };
    let mut input = dump.open().await.map_err(Error::Read)?;
    let (mut head, mut tail, mut buffer) = (Vec::new(), Vec::new(), vec![0; 256 << 10]);
    loop {
        let read = input.read(&mut buffer).await.map_err(Error::Read)?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        head.extend(piece.iter().take(EDGE - head.len()));
        tail.extend_from_slice(piece);
        tail.drain(..tail.len().saturating_sub(EDGE));
    }
    let head = String::from_utf8_lossy(&head);
    let begins = |line: &str| line.starts_with("-- MariaDB dump ") || line.starts_with("-- MySQL dump ");
    if !head.lines().take(3).any(begins) {
        return Err(damaged("it does not begin as mariadb-dump and mysqldump begin"));
    }
    let tail = String::from_utf8_lossy(&tail);
    if ends(&tail) {
        Ok(())
    } else {
        Err(damaged("it is cut: its last line is not that of a dump that was completed"))
    }
}

/// Whether the last lines are those of a completed dump: a setting is given back, and `-- Dump completed`,
/// with a date unless it was left out.
fn ends(tail: &str) -> bool {
    let Some(tail) = tail.strip_suffix('\n') else { return false };
    let mut lines = tail.trim_end_matches('\n').rsplit('\n');
    let Some(date) = lines.next().and_then(|line| line.strip_prefix("-- Dump completed")) else {
        return false;
    };
    let shape: String =
        date.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    let dated = matches!(shape.as_str(), "" | " on 0000-00-00 00:00:00" | " on 0000-00-00  0:00:00");
    let before = lines.find(|line| !line.is_empty());
    dated
        && before
            .is_some_and(|line| line.starts_with("/*") && line.contains("@OLD_") && line.ends_with("*/;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_ends_with_its_last_line_and_nothing_less() {
        let end = "/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n\n-- Dump completed on 2026-11-29 14:50:27\n";
        assert!(ends(end));
        assert!(ends("/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n\n-- Dump completed\n"));
        for length in 0..end.len() {
            assert!(!ends(&end[..length]), "{length}");
        }
        assert!(!ends("INSERT INTO t VALUES (1);\n-- Dump completed\n"));
    }
}
