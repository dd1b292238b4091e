//! What a database has beside tables: views, triggers, routines and events. They cannot be moved from one
//! database to another as tables can, so they are written as SQL, dropped, and made again.

use crate::error::{Error, Result};
use crate::place::Call;
use crate::run::{Reads, collect, pass};
use crate::source::Bytes;

use super::client::{Server, name, text};
use super::names::Nameless;

/// What is in a database.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// Names of tables and sequences, sorted.
    pub(super) tables: Vec<String>,
    views: Vec<String>,
    /// `TRIGGER`, `PROCEDURE`, … and names.
    others: Vec<(String, String)>,
}

impl Objects {
    pub(super) async fn of(server: &Server<'_>, database: &str) -> Result<Self> {
        let question = format!(
            "SELECT CONCAT(table_type, '\\t', table_name) FROM information_schema.tables
             WHERE table_schema = {0};
             SELECT CONCAT('TRIGGER\\t', trigger_name) FROM information_schema.triggers
             WHERE trigger_schema = {0};
             SELECT CONCAT(routine_type, '\\t', routine_name) FROM information_schema.routines
             WHERE routine_schema = {0};
             SELECT CONCAT('EVENT\\t', event_name) FROM information_schema.events WHERE event_schema = {0};",
            text(database)
        );
        let answer = server.ask("look what is in the database", &question).await?;
        let mut objects = Objects::default();
        for (kind, name) in answer.lines().filter_map(|line| line.split_once('\t')) {
            match kind {
                "VIEW" => objects.views.push(name.into()),
                "BASE TABLE" | "SYSTEM VERSIONED" | "SEQUENCE" => objects.tables.push(name.into()),
                // Goes with its package.
                "PACKAGE BODY" => (),
                _ => objects.others.push((kind.into(), name.into())),
            }
        }
        objects.tables.sort();
        Ok(objects)
    }

    /// Drops all but the tables.
    pub(super) fn drop_code(&self, database: &str) -> String {
        let database = name(database);
        let views = self.views.iter().map(|view| format!("DROP VIEW IF EXISTS {database}.{};\n", name(view)));
        let others = self.others.iter();
        let others =
            others.map(|(kind, other)| format!("DROP {kind} IF EXISTS {database}.{};\n", name(other)));
        others.chain(views).collect()
    }

    /// Views, triggers, routines and events as SQL.
    pub(super) async fn code(&self, server: &Server<'_>, database: &str) -> Result<String> {
        let action = "read views, triggers, routines and events";
        let mut code = String::new();
        if !self.others.is_empty() {
            let call =
                server.dump_call(["--no-data", "--no-create-info", "--routines", "--events", "--triggers"]);
            let call = call.argument("--").argument(database);
            code = collect(server.place, &call, action, None, Reads::All).await?;
        }
        if !self.views.is_empty() {
            let call = server.dump_call(["--no-data", "--skip-triggers"]).argument("--").argument(database);
            let call = self.views.iter().fold(call, Call::argument);
            code += &collect(server.place, &call, action, None, Reads::All).await?;
        }
        Ok(code)
    }
}

/// Runs SQL in a database, however long it takes.
pub(super) async fn load(server: &Server<'_>, database: &str, action: &str, code: Bytes) -> Result<()> {
    let call = server.client_call(Some(database));
    let code: Bytes = Box::new(Nameless::new(code));
    pass(server.place, &call, action, Some(code), Reads::All, &mut tokio::io::sink()).await.map(drop)
}

/// Runs SQL that is in memory.
pub(super) async fn load_text(server: &Server<'_>, database: &str, action: &str, code: &str) -> Result<()> {
    if code.is_empty() {
        return Ok(());
    }
    load(server, database, action, Box::new(std::io::Cursor::new(code.as_bytes().to_vec()))).await
}

/// Whether `error` says that someone else held a table for too long.
pub(super) fn is_lock(error: &Error) -> bool {
    matches!(error, Error::Program { said, .. } if said.contains("Lock wait timeout"))
}
