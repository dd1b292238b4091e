//! Roles belong to a server, not to a database: a dump names owners, and they must be there before it is
//! restored.

use std::collections::HashSet;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::connection::Connection;
use crate::database::{Dumped, Kind, Restored};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::run::{Reads, collect};
use crate::source::Source;
use crate::sql::{after, block, first_name, statements, unquoted};

use super::call::{client, psql};
use super::fitting;

const END: &str = "-- PostgreSQL database cluster dump complete\n--\n";
/// More than a million roles.
const LARGEST: u64 = 64 << 20;

/// Writes the roles of a server as SQL, with the hashes of their passwords: it is to be kept as they are.
///
/// # Errors
/// When they cannot be read, which takes a superuser.
pub async fn dump_roles(
    at: &Connection,
    place: &dyn Place,
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<Dumped> {
    let base = at.database.as_deref().unwrap_or("postgres");
    let version = fitting("pg_dumpall", at, place, base).await?;
    let call = client("pg_dumpall", at, Some(base));
    let roles = collect(place, &call.argument("--roles-only"), "dump roles", None, Reads::All).await?;
    whole(&roles)?;
    output.write_all(roles.as_bytes()).await.map_err(Error::Write)?;
    output.flush().await.map_err(Error::Write)?;
    Ok(Dumped { bytes: roles.len() as u64, version, notes: Vec::new() })
}

/// Makes the roles that are not there, all or none. Those that are there stay as they are: their
/// passwords may have been changed for a reason.
///
/// # Errors
/// When the file is cut, or the server refuses.
pub async fn restore_roles(at: &Connection, place: &dyn Place, dump: &dyn Source) -> Result<Restored> {
    use tokio::io::AsyncReadExt;
    let mut script = String::new();
    let bytes = dump.open().await.map_err(Error::Read)?;
    bytes.take(LARGEST).read_to_string(&mut script).await.map_err(Error::Read)?;
    whole(&script)?;
    let base = at.database.as_deref().unwrap_or("postgres");
    let there = psql(at, place, base, "list the roles", "SELECT rolname FROM pg_roles;").await?;
    let there: HashSet<String> = there.lines().map(ToOwned::to_owned).collect();
    let (orders, kept) = orders(&script, &there).ok_or_else(|| damaged("a statement is none of a role"))?;
    psql(at, place, base, "make roles", &format!("SET client_min_messages = error;\n{}", block(&orders)))
        .await?;
    let kept = (!kept.is_empty()).then(|| format!("kept as they are: {}", kept.join(", ")));
    Ok(Restored { previous: None, notes: kept.into_iter().collect() })
}

fn whole(script: &str) -> Result<()> {
    if script.trim_end_matches('\n').ends_with(END.trim_end()) && script.ends_with('\n') {
        return Ok(());
    }
    Err(damaged("it does not end as pg_dumpall ends it"))
}

fn damaged(problem: &str) -> Error {
    Error::Damaged { kind: Kind::Postgres, problem: problem.into() }
}

/// The statements about roles that are not in `there`, and the names of those that are; `None` if a statement
/// is about something else.
fn orders(script: &str, there: &HashSet<String>) -> Option<(String, Vec<String>)> {
    let (mut orders, mut kept) = (String::new(), Vec::new());
    for statement in statements(script)? {
        let role = |words: &str| Some(unquoted(first_name(after(&statement, words)?)?.0));
        let wanted = if statement.starts_with("SET ") {
            false
        } else if let Some(role) = role("CREATE ROLE") {
            let new = !there.contains(&role);
            kept.extend((!new).then_some(role));
            new
        } else if let Some(role) = role("ALTER ROLE").or_else(|| role("COMMENT ON ROLE")) {
            !there.contains(&role)
        } else {
            let (group, rest) = first_name(after(&statement, "GRANT")?)?;
            let (member, _) = first_name(rest.strip_prefix(" TO ")?)?;
            !(there.contains(&unquoted(group)) && there.contains(&unquoted(member)))
        };
        if wanted {
            orders.push_str(&statement);
            orders.push_str(";\n");
        }
    }
    Some((orders, kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_are_there_are_left_alone() {
        let script = "SET x = 1;\nCREATE ROLE a;\nALTER ROLE a WITH LOGIN PASSWORD 'x;';\n\
                      CREATE ROLE \"b c\";\n\
                      ALTER ROLE \"b c\" WITH LOGIN;\nGRANT a TO \"b c\" GRANTED BY a;\nGRANT a TO d;\n";
        let there = ["a", "d"].map(String::from).into();
        let (orders, kept) = orders(script, &there).unwrap();
        let expected =
            "CREATE ROLE \"b c\";\nALTER ROLE \"b c\" WITH LOGIN;\nGRANT a TO \"b c\" GRANTED BY a;\n";
        assert_eq!((orders.as_str(), kept), (expected, vec!["a".to_owned()]));
        assert_eq!(super::orders("DROP TABLE x;", &there), None);
        assert_eq!(super::orders("ALTER SYSTEM SET x = 1;", &there), None);
    }
}
