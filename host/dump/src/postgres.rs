//! PostgreSQL: one database in the custom format of `pg_dump`, not compressed, since the vault does that.

mod call;
mod properties;
mod restore;
mod roles;

use tokio::io::AsyncWrite;

use call::{client, psql};

use crate::connection::Connection;
use crate::database::{Dumped, Kind};
use crate::error::{Error, Result};
use crate::place::{Call, Place};
use crate::run::{Reads, ask, pass};
use crate::source::Source;
use crate::version::{dotted, numbers};

pub use restore::restore;
pub use roles::{dump_roles, restore_roles};

/// How long a dump waits for a table that is being changed. Without a limit it could wait all night, and
/// whoever wants the table after it would wait too.
const LOCK_TIMEOUT: &str = "--lock-wait-timeout=600000";

/// The databases of a server that can be dumped.
///
/// # Errors
/// When the server cannot be asked.
pub async fn databases(at: &Connection, place: &dyn Place) -> Result<Vec<String>> {
    let question = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1;";
    let database = at.database.as_deref().unwrap_or("postgres");
    let answer = psql(at, place, database, "list the databases", question).await?;
    Ok(answer.lines().map(ToOwned::to_owned).collect())
}

/// Whether the server answers, and `pg_dump` is not older than it.
///
/// # Errors
/// When one of them is not so.
pub async fn fits(at: &Connection, place: &dyn Place) -> Result<()> {
    fitting("pg_dump", at, place, at.database.as_deref().unwrap_or("postgres")).await.map(drop)
}

/// Writes a dump of one database.
///
/// # Errors
/// When it is not whole, or the client is older than the server, which is found out first.
pub async fn dump(
    at: &Connection,
    place: &dyn Place,
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<Dumped> {
    let database = database(at)?;
    let version = fitting("pg_dump", at, place, database).await?;
    let call = client("pg_dump", at, Some(database)).argument("--format=custom").argument("--compress=0");
    let action = format!("dump {at}");
    let bytes = pass(place, &call.argument(LOCK_TIMEOUT), &action, None, Reads::All, output).await?;
    Ok(Dumped { bytes, version, notes: Vec::new() })
}

/// Has `pg_restore` read all of a dump, and nothing done with it. (`pg_restore --list` reads the beginning.)
///
/// # Errors
/// [`Error::Damaged`] when it is cut or damaged.
pub async fn check(place: &dyn Place, dump: &dyn Source) -> Result<()> {
    let call = Call::new("pg_restore", ["--file=/dev/null"]).reading();
    let input = dump.open().await.map_err(Error::Read)?;
    let checked = pass(place, &call, "check a dump", Some(input), Reads::All, &mut tokio::io::sink()).await;
    checked.map(drop).map_err(unreadable)
}

/// What a failure of `pg_restore` to read a dump means.
fn unreadable(error: Error) -> Error {
    match error {
        Error::Program { said, .. } if said.contains("unsupported version") => Error::Mismatch {
            client: "pg_restore".into(),
            server: "a newer version, which wrote the dump".into(),
            problem: "it cannot read what a newer pg_dump has written",
        },
        Error::Program { end, said, .. } if end == "exited with 1" => {
            Error::Damaged { kind: Kind::Postgres, problem: said }
        }
        other => other,
    }
}

fn database(at: &Connection) -> Result<&str> {
    let missing = || Error::Address { problem: "it names no database".into() };
    at.database.as_deref().ok_or_else(missing)
}

/// The server's version, if `program` can speak to it: `pg_dump` refuses a newer server, and says so only
/// when it is run.
async fn fitting(program: &str, at: &Connection, place: &dyn Place, database: &str) -> Result<String> {
    let action = format!("ask {program} for its version");
    let answer = ask(place, Call::new(program, ["--version"]), &action, None).await?;
    let client = numbers(&answer);
    let question = "SELECT current_setting('server_version');";
    let answer = psql(at, place, database, "ask the server for its version", question).await?;
    let server = numbers(&answer);
    // Before 10 the first two numbers were the version.
    let major =
        |version: &[u32]| (version.first().copied(), version.get(1).copied().filter(|_| version[0] < 10));
    if client.is_empty() || server.is_empty() {
        return Err(Error::Answer { action, program: program.into(), answer });
    }
    if major(&client) < major(&server) {
        return Err(Error::Mismatch {
            client: format!("{program} {}", dotted(&client)),
            server: format!("PostgreSQL {}", dotted(&server)),
            problem: "it cannot read a newer server",
        });
    }
    Ok(dotted(&server))
}
