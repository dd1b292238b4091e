//! A dump is loaded into a database of its own, whose tables then change places with those that were there.
//!
//! MySQL cannot rename a database. It can move any number of tables between databases in one statement, which
//! is done whole or not at all; what else a database has ([`super::code`]) it cannot move. So the order is:
//!
//! 1. The dump is loaded into a new database. Until here nothing of the old one is touched.
//! 2. The old one's views, triggers, routines and events are written down, in a table of the database that
//!    its tables will move to, and dropped. From here on a failure is undone.
//! 3. All tables change places in one `RENAME TABLE`.
//! 4. The new views, triggers, routines and events are made.
//! 5. What was there before is dropped, unless it is to be kept.
//!
//! If this is killed within 2 to 4, no data is lost: the old tables are in one database or the other, and the
//! rest is in the table `snapshotter_code`.

use tokio::io::{AsyncReadExt, BufReader};

use crate::connection::Connection;
use crate::database::{Restore, Restored};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::source::{Bytes, Source};

use super::CHARACTERS;
use super::client::{Server, name, text};
use super::code::{Objects, is_lock, load, load_text};

/// The characters that a name can have.
const LONGEST_NAME: usize = 64;
/// The table in which code is kept while it is in no database.
const CODE_TABLE: &str = "snapshotter_code";
/// What one row of it has: less than any server's `max_allowed_packet`, written as hexadecimal digits.
const CODE_ROW: usize = 400_000;
/// How often the swap is tried while clients connect again as fast as they are sent away.
const TRIES: u32 = 5;

/// Restores a dump, see [`crate::restore`].
///
/// # Errors
/// When it cannot be restored; the database is then as it was, unless [`Error::HalfWay`] says otherwise.
pub async fn restore(
    at: &Connection,
    place: &dyn Place,
    dump: &dyn Source,
    how: &Restore,
) -> Result<Restored> {
    // It would be noticed later too, when gigabytes have been loaded.
    super::check(dump).await?;
    let (characters, _) = opened(dump).await?;
    let server = Server::find(at, place).await?;
    let swap = TableSwap::prepare(&server, how.terminate).await?;
    let notes = swap.left_over().await?;
    let code = match swap.load(dump, characters.as_deref()).await {
        Ok(code) => code,
        Err(error) => {
            // Of no use to anyone; the next restore tells of it if it stays.
            swap.drop_database(&swap.new).await.ok();
            return Err(error);
        }
    };
    swap.swap(&code).await?;
    let keep = how.keep_previous && swap.exists.is_some();
    let cleared = swap.clear(&code, keep).await.err();
    let cleared = cleared.map(|error| format!("{error}; {} or {} is still there", swap.new, swap.previous));
    Ok(Restored {
        previous: keep.then_some(swap.previous),
        notes: notes.into_iter().chain(cleared).collect(),
    })
}

/// A dump after our first line, and what that says.
async fn opened(dump: &dyn Source) -> Result<(Option<String>, Bytes)> {
    let mut bytes = dump.open().await.map_err(Error::Read)?;
    let mut first = vec![0; CHARACTERS.len()];
    bytes.read_exact(&mut first).await.map_err(Error::Read)?;
    if first != CHARACTERS.as_bytes() {
        let first = std::io::Cursor::new(first);
        return Ok((None, Box::new(first.chain(bytes))));
    }
    let mut bytes = BufReader::with_capacity(256 << 10, bytes);
    let mut line = String::new();
    while let Ok(byte @ b' '..=b'~') = bytes.read_u8().await {
        line.push(byte.into());
    }
    let plain = line.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | ' '));
    Ok((Some(line).filter(|line| plain && line.contains(' ')), Box::new(bytes)))
}

/// What a database has beside its tables, in memory.
struct Code {
    characters: String,
    old: Objects,
    old_sql: String,
    new: Objects,
    new_sql: String,
}

/// What makes a database have this `character_set collation`.
fn clause(characters: Option<&str>) -> String {
    match characters.and_then(|characters| characters.split_once(' ')) {
        Some((set, collation)) => format!(" CHARACTER SET {set} COLLATE {collation}"),
        None => String::new(),
    }
}

struct TableSwap<'a> {
    server: &'a Server<'a>,
    terminate: bool,
    /// The name that is restored.
    live: &'a str,
    /// Its character set and collation, if it is there.
    exists: Option<String>,
    new: String,
    previous: String,
}

impl<'a> TableSwap<'a> {
    async fn prepare(server: &'a Server<'a>, terminate: bool) -> Result<Self> {
        let live = server.database()?;
        let refused = |problem: String, advice: &str| {
            Err(Error::Refused { database: server.name(), problem, advice: advice.into() })
        };
        let question = "SELECT CONCAT(DATE_FORMAT(UTC_TIMESTAMP(), '%Y%m%dT%H%i%s'), '_', LEFT(UUID(), 6));";
        let unique = server.ask("ask the server for the time", question).await?;
        let (new, previous) =
            (format!("{live}_new_{}", unique.trim()), format!("{live}_until_{}", unique.trim()));
        if previous.chars().count() > LONGEST_NAME {
            return refused(
                "its name is too long to have another one beside it".into(),
                "restore into a database with a name of at most 34 characters",
            );
        }
        let question = format!(
            "SELECT DISTINCT CONCAT(table_schema, '.', table_name) FROM information_schema.key_column_usage
             WHERE referenced_table_schema = {0} AND table_schema <> {0};",
            text(live)
        );
        let foreign = server.ask("look for keys of other databases", &question).await?;
        if !foreign.is_empty() {
            let tables = foreign.lines().collect::<Vec<_>>().join(", ");
            return refused(
                format!("tables of other databases have foreign keys into it: {tables}"),
                "drop those keys, or restore into another database",
            );
        }
        let exists = server.characters(live).await?;
        let swap = TableSwap { server, terminate, live, exists, new, previous };
        if !terminate {
            swap.unused().await?;
        }
        Ok(swap)
    }

    async fn run(&self, action: &str, script: &str) -> Result<String> {
        self.server.ask(action, script).await
    }

    async fn drop_database(&self, database: &str) -> Result<()> {
        self.run("drop a database", &format!("DROP DATABASE IF EXISTS {};", name(database))).await.map(drop)
    }

    fn users(&self) -> String {
        format!(
            "FROM information_schema.processlist WHERE db = {} AND id <> CONNECTION_ID()",
            text(self.live)
        )
    }

    async fn unused(&self) -> Result<()> {
        let question =
            format!("SELECT CONCAT(user, ' has ', COUNT(*), ' connections') {} GROUP BY user;", self.users());
        let answer = self.run("ask who uses the database", &question).await?;
        let users = answer.lines().collect::<Vec<_>>().join(", ");
        if users.is_empty() { Ok(()) } else { Err(Error::InUse { database: self.server.name(), users }) }
    }

    /// Databases that look as if a killed restore had left them. They may hold what was there before.
    async fn left_over(&self) -> Result<Vec<String>> {
        let pattern = |kind| text(&format!("^{kind}_[0-9]{{8}}T[0-9]{{6}}_[0-9a-f]{{6}}$"));
        let rest = format!("SUBSTRING(schema_name, CHAR_LENGTH({}) + 1)", text(self.live));
        let question = format!(
            "SELECT schema_name FROM information_schema.schemata
             WHERE LEFT(schema_name, CHAR_LENGTH({0})) = {0}
             AND ({rest} REGEXP {1} OR {rest} REGEXP {2});",
            text(self.live),
            pattern("_new"),
            pattern("_until"),
        );
        let answer = self.run("look for what an earlier restore has left", &question).await?;
        Ok(answer
            .lines()
            .map(|one| format!("the database {one} is still there from an earlier restore"))
            .collect())
    }

    /// Loads the dump into a new database, and takes down what else there is beside tables, here and there.
    async fn load(&self, dump: &dyn Source, characters: Option<&str>) -> Result<Code> {
        let characters = clause(characters.or(self.exists.as_deref()));
        self.run("make a new database", &format!("CREATE DATABASE {}{characters};", name(&self.new))).await?;
        let (_, bytes) = opened(dump).await?;
        load(self.server, &self.new, &format!("restore {}", self.server.name()), bytes).await?;
        let new = Objects::of(self.server, &self.new).await?;
        let new_sql = new.code(self.server, &self.new).await?;
        let old = Objects::of(self.server, self.live).await?;
        let old_sql = old.code(self.server, self.live).await?;
        Ok(Code { characters, old, old_sql, new, new_sql })
    }

    /// Puts the new tables in the place of the old ones. What fails is undone.
    async fn swap(&self, code: &Code) -> Result<()> {
        let result = match self.take_down(code).await {
            Ok(()) => self.put_up(code).await,
            Err(error) => Err(error),
        };
        let Err(error) = result else { return Ok(()) };
        match self.undo(code).await {
            Ok(()) => Err(error),
            Err(undo) => Err(Error::HalfWay {
                database: self.server.name(),
                problem: format!(
                    "{undo}; tables that are not in {} are in {}, and views, triggers, routines and \
                     events as SQL in its table {CODE_TABLE}",
                    self.live, self.previous
                ),
                source: Box::new(error),
            }),
        }
    }

    /// Makes the database for the old tables, and drops what cannot be moved.
    async fn take_down(&self, code: &Code) -> Result<()> {
        let characters = clause(self.exists.as_deref());
        let table = format!("{}.{CODE_TABLE}", name(&self.previous));
        let mut script = vec![
            format!("CREATE DATABASE {}{characters};\n", name(&self.previous)),
            format!("CREATE TABLE {table} (part INT PRIMARY KEY, code LONGBLOB) ENGINE=InnoDB;\n"),
        ];
        for (part, piece) in code.old_sql.as_bytes().chunks(CODE_ROW).enumerate() {
            let digits: Vec<_> = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            script.push(format!("INSERT INTO {table} VALUES ({part}, 0x{});\n", digits.concat()));
        }
        let script = script.concat();
        self.run("write down views, triggers, routines and events", &script).await?;
        let script = code.new.drop_code(&self.new) + &code.old.drop_code(self.live);
        self.run("drop views, triggers, routines and events", &script).await.map(drop)
    }

    async fn put_up(&self, code: &Code) -> Result<()> {
        let create = if self.exists.is_some() { "ALTER" } else { "CREATE" };
        let database = format!("{create} DATABASE {}{};\n", name(self.live), code.characters);
        if self.exists.is_none() || !code.characters.is_empty() {
            self.run("make the database", &database).await?;
        }
        let old = code.old.tables.iter().map(|table| (table, self.live, self.previous.as_str()));
        let new = code.new.tables.iter().map(|table| (table, self.new.as_str(), self.live));
        let moves: Vec<_> = old.chain(new).collect();
        self.rename(&moves, self.terminate).await?;
        load_text(self.server, self.live, "make views, triggers, routines and events", &code.new_sql).await
    }

    /// Moves tables, each from one database to another, all in one statement.
    async fn rename(&self, moves: &[(&String, &str, &str)], terminate: bool) -> Result<()> {
        if moves.is_empty() {
            return Ok(());
        }
        let moves = moves.iter().map(|(table, from, to)| {
            format!("{}.{table} TO {}.{table}", name(from), name(to), table = name(table))
        });
        let script =
            format!("SET foreign_key_checks = 0;\nRENAME TABLE {};\n", moves.collect::<Vec<_>>().join(", "));
        let mut tries = if terminate { TRIES } else { 1 };
        loop {
            if terminate {
                let kill = format!("SELECT CONCAT('KILL ', id, ';') {};", self.users());
                for order in self.run("ask who uses the database", &kill).await?.lines() {
                    // It may have gone by itself.
                    self.run("end a connection", order).await.ok();
                }
            }
            tries -= 1;
            match self.run("swap the databases' tables", &script).await {
                Err(error) if is_lock(&error) && tries == 0 => {
                    let users = "others hold locks on its tables".into();
                    return Err(Error::InUse { database: self.server.name(), users });
                }
                Err(error) if is_lock(&error) => (),
                done => return done.map(drop),
            }
        }
    }

    /// Back to what was, from wherever it failed.
    async fn undo(&self, code: &Code) -> Result<()> {
        if self.exists.is_none() {
            self.drop_database(self.live).await?;
        } else {
            let there = Objects::of(self.server, self.live).await?;
            self.run("drop what was made", &there.drop_code(self.live)).await?;
            // One statement moves all of them or none.
            let left = Objects::of(self.server, &self.new).await?.tables;
            let moved = there.tables != code.old.tables || left != code.new.tables;
            let new = code.new.tables.iter().map(|table| (table, self.live, self.new.as_str()));
            let old = code.old.tables.iter().map(|table| (table, self.previous.as_str(), self.live));
            let back: Vec<_> = if moved { new.chain(old).collect() } else { Vec::new() };
            self.rename(&back, false).await?;
            let order = format!("ALTER DATABASE {}{};", name(self.live), clause(self.exists.as_deref()));
            self.run("give the database its character set again", &order).await?;
            load_text(
                self.server,
                self.live,
                "make views, triggers, routines and events again",
                &code.old_sql,
            )
            .await?;
        }
        self.drop_database(&self.new).await?;
        self.drop_database(&self.previous).await
    }

    /// Drops what is no longer needed. What is kept gets back what its tables had beside them.
    async fn clear(&self, code: &Code, keep: bool) -> Result<()> {
        self.drop_database(&self.new).await?;
        if !keep {
            return self.drop_database(&self.previous).await;
        }
        load_text(self.server, &self.previous, "keep views, triggers, routines and events", &code.old_sql)
            .await?;
        let order = format!("DROP TABLE {}.{CODE_TABLE};", name(&self.previous));
        self.run("drop a table", &order).await.map(drop)
    }
}
