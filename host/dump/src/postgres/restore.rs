//! A dump becomes a new database, which then takes the name of what was there.
//!
//! Nothing that exists is touched while the dump is loaded. The names are swapped in one transaction of the
//! server's, so there is either the old database under the name or the whole new one, also when all of this
//! is killed. `pg_restore --clean` into a database that lives is never used: where it fails in the middle,
//! rows are doubled and keys are lost.
//!
//! A new database has a comment that says what it is, and a name of its own for each run. What a killed run
//! has left is found by that comment and dropped by the next one.

use std::time::Duration;

use crate::connection::Connection;
use crate::database::{Restore, Restored};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::run::{Reads, pass};
use crate::source::Source;
use crate::sql::{name, text};
use crate::version::{dotted, numbers};

use super::call::{client, psql};
use super::properties::Properties;
use super::{database, fitting, unreadable};

/// The bytes that a name can have; PostgreSQL would cut a longer one.
const LONGEST_NAME: usize = 63;
/// How often the swap is tried while clients connect again as fast as they are sent away.
const TRIES: u32 = 5;

/// Restores a dump, see [`crate::restore`].
///
/// # Errors
/// When it cannot be restored; the database is then as it was.
pub async fn restore(
    at: &Connection,
    place: &dyn Place,
    dump: &dyn Source,
    how: &Restore,
) -> Result<Restored> {
    let live = database(at)?;
    // A database that is not renamed, to give orders in.
    let base = if live == "postgres" { "template1" } else { "postgres" };
    let server = fitting("pg_restore", at, place, base).await?;
    let properties = Properties::read(place, dump, how.owners).await?;
    if properties.version.first() > numbers(&server).first() {
        return Err(Error::Mismatch {
            client: format!("a dump of PostgreSQL {}", dotted(&properties.version)),
            server: format!("PostgreSQL {server}"),
            problem: "an older server may not take what a newer one has",
        });
    }
    let swap = NameSwap::prepare(at, place, (live, base), how.terminate).await?;
    let loaded = swap.load(dump, &properties, how.owners).await;
    let swapped = match loaded {
        Ok(()) => swap.swap(&properties).await,
        Err(error) => Err(error),
    };
    if let Err(error) = swapped {
        // If this fails too, the next restore does it. After a swap that was answered with an error though it
        // was done, there is no database of this name.
        let _ = swap.run("drop a new database", &drop_database(&swap.new)).await;
        return Err(error);
    }
    Ok(swap.finish(how.keep_previous).await)
}

struct NameSwap<'a> {
    at: &'a Connection,
    place: &'a dyn Place,
    terminate: bool,
    /// Where orders are given.
    base: &'static str,
    /// The name that is restored.
    live: &'a str,
    exists: bool,
    new: String,
    previous: String,
}

impl<'a> NameSwap<'a> {
    /// Looks at what there is, refuses what cannot be done, and drops what a killed run has left.
    async fn prepare(
        at: &'a Connection,
        place: &'a dyn Place,
        (live, base): (&'a str, &'static str),
        terminate: bool,
    ) -> Result<Self> {
        let question = format!(
            "SELECT count(*), to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD\"T\"HH24MISS'),
             substr(md5(random()::text || clock_timestamp()::text), 1, 6)
             FROM pg_database WHERE datname = {};",
            text(live)
        );
        let action = "look for the database";
        let answer = psql(at, place, base, action, &question).await?;
        let fields: Vec<_> = answer.trim().split('|').collect();
        let [count, time, random] = fields[..] else {
            return Err(Error::Answer { action: action.into(), program: "psql".into(), answer });
        };
        let swap = NameSwap {
            at,
            place,
            terminate,
            base,
            live,
            exists: count != "0",
            new: format!("{live}_new_{time}_{random}"),
            previous: format!("{live}_until_{time}_{random}"),
        };
        if swap.previous.len() > LONGEST_NAME {
            return Err(swap.refused(
                "its name is too long to have another one beside it",
                "restore into a database with a name of at most 40 bytes, and rename that",
            ));
        }
        if !terminate {
            swap.unused().await?;
        }
        swap.clear().await?;
        Ok(swap)
    }

    fn refused(&self, problem: &str, advice: &str) -> Error {
        Error::Refused { database: self.at.to_string(), problem: problem.into(), advice: advice.into() }
    }

    async fn run(&self, action: &str, script: &str) -> Result<String> {
        psql(self.at, self.place, self.base, action, script).await
    }

    /// What a new database is known by.
    fn mark(&self) -> String {
        format!("snapshotter: being restored, will be {}", self.live)
    }

    async fn unused(&self) -> Result<()> {
        let question = format!(
            "SELECT coalesce(usename, backend_type), application_name, count(*) FROM pg_stat_activity
             WHERE {} GROUP BY 1, 2 ORDER BY 1, 2;",
            others(self.live)
        );
        let answer = self.run("ask who uses the database", &question).await?;
        let describe = |line: &str| match line.split('|').collect::<Vec<_>>()[..] {
            [user, "", count] => format!("{user} has {count} connections"),
            [user, program, count] => format!("{user} has {count} connections ({program})"),
            _ => line.to_owned(),
        };
        match answer.lines().map(describe).collect::<Vec<_>>() {
            users if users.is_empty() => Ok(()),
            users => Err(Error::InUse { database: self.at.to_string(), users: users.join(", ") }),
        }
    }

    async fn clear(&self) -> Result<()> {
        let question = format!(
            "SELECT datname FROM pg_database d WHERE shobj_description(oid, 'pg_database') = {}
             AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid);",
            text(&self.mark())
        );
        let left = self.run("look for what an earlier restore has left", &question).await?;
        for database in left.lines() {
            self.run("drop what an earlier restore has left", &drop_database(database)).await?;
        }
        Ok(())
    }

    async fn load(&self, dump: &dyn Source, properties: &Properties, owners: bool) -> Result<()> {
        let mark = format!("COMMENT ON DATABASE {} IS {};\n", name(&self.new), text(&self.mark()));
        self.run("make a new database", &(properties.create(&self.new) + &mark)).await?;
        // It ends at the first error; there is nothing to undo in a database that is then dropped.
        let mut call = client("pg_restore", self.at, Some(&self.new)).argument("--exit-on-error");
        for argument in ["--no-tablespaces"].into_iter().chain((!owners).then_some("--no-owner")) {
            call = call.argument(argument);
        }
        let call = if owners { call } else { call.argument("--no-privileges") };
        let input = dump.open().await.map_err(Error::Read)?;
        let action = format!("restore {}", self.at);
        let loaded =
            pass(self.place, &call.reading(), &action, Some(input), Reads::All, &mut tokio::io::sink()).await;
        loaded.map_err(|error| match error {
            // Of the file, and not of what is in it.
            Error::Program { ref said, .. } if said.contains("could not read from input file") => {
                unreadable(error)
            }
            other => other,
        })?;
        self.run("give the database its owner and settings", &properties.apply(&self.new)).await.map(drop)
    }

    /// Renames both in one transaction. A rename waits some seconds for others to leave, and then fails.
    async fn swap(&self, properties: &Properties) -> Result<()> {
        let terminate =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {};\n", others(self.live));
        let script = [
            "BEGIN;\n",
            if self.terminate { &terminate } else { "" },
            &if self.exists { rename(self.live, &self.previous) } else { String::new() },
            &rename(&self.new, self.live),
            &properties.comment(self.live),
            "COMMIT;\n",
        ]
        .concat();
        let mut tries = if self.terminate { TRIES } else { 1 };
        loop {
            tries -= 1;
            match self.run("swap the databases' names", &script).await.map(drop) {
                Err(Error::Program { said, .. }) if said.contains("is being accessed by other users") => {
                    if tries == 0 {
                        let users = "others have connected to it meanwhile".into();
                        return Err(Error::InUse { database: self.at.to_string(), users });
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                done => return done,
            }
        }
    }

    async fn finish(self, keep: bool) -> Restored {
        if !self.exists {
            return Restored::default();
        }
        if keep {
            return Restored { previous: Some(self.previous), notes: Vec::new() };
        }
        match self.run("drop what was there before", &drop_database(&self.previous)).await {
            Ok(_) => Restored::default(),
            Err(error) => {
                let note = format!("{error}; it is kept as {}", self.previous);
                Restored { previous: Some(self.previous), notes: vec![note] }
            }
        }
    }
}

/// Sessions in `database`, beside those that the server ends by itself when they are in the way.
fn others(database: &str) -> String {
    format!(
        "datname = {} AND pid <> pg_backend_pid()
         AND backend_type IS DISTINCT FROM 'autovacuum worker'
         AND backend_type IS DISTINCT FROM 'parallel worker'",
        text(database)
    )
}

fn rename(from: &str, to: &str) -> String {
    format!("ALTER DATABASE {} RENAME TO {};\n", name(from), name(to))
}

fn drop_database(database: &str) -> String {
    format!("DROP DATABASE IF EXISTS {};\n", name(database))
}
