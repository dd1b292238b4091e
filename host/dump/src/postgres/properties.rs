//! What a dump knows of the database as a whole: encoding and locale, owner, rights, settings, comment.
//! `pg_restore` brings these back only when it makes the database itself, under the name that it had. Here
//! the database has another name while it is loaded, so its statements are asked for and the name is
//! replaced.

use crate::database::Kind;
use crate::error::{Error, Result};
use crate::place::{Call, Place};
use crate::run::{Reads, collect};
use crate::source::Source;
use crate::sql::{after, block, first_name, name, statements};
use crate::version::numbers;

use super::unreadable;

/// The entries of a dump's table of contents that are about the database as a whole.
const ENTRIES: [&str; 5] = [
    "DATABASE - ",
    "DATABASE PROPERTIES - ",
    "ACL - DATABASE ",
    "COMMENT - DATABASE ",
    "SECURITY LABEL - DATABASE ",
];

#[derive(Debug, Default)]
pub(super) struct Properties {
    /// The version of the server that was dumped.
    pub(super) version: Vec<u32>,
    /// What follows the name in `CREATE DATABASE`.
    options: String,
    /// What follows the name in `COMMENT ON DATABASE`.
    comment: Option<String>,
    /// What comes before the name and after it in all other statements.
    others: Vec<(String, String)>,
}

impl Properties {
    pub(super) async fn read(place: &dyn Place, dump: &dyn Source, owners: bool) -> Result<Self> {
        let list = ask(place, dump, Call::new("pg_restore", ["--list", "--create"])).await?;
        let version = list.lines().find_map(|line| line.strip_prefix(";     Dumped from database version: "));
        let entries = entries(&list);
        let mut properties =
            Properties { options: " WITH TEMPLATE = template0".into(), ..Properties::default() };
        if !entries.is_empty() {
            let call = Call::new("pg_restore", ["--create", "--no-tablespaces", "--file=-"]);
            let call = call.file("--use-list=", entries.into());
            let call = if owners { call } else { call.argument("--no-owner").argument("--no-privileges") };
            properties.take(&ask(place, dump, call).await?)?;
        }
        Ok(Properties { version: version.map(numbers).unwrap_or_default(), ..properties })
    }

    /// Makes a database called `new`.
    pub(super) fn create(&self, new: &str) -> String {
        format!("CREATE DATABASE {}{};\n", name(new), self.options)
    }

    /// Gives `database` its owner, rights and settings.
    pub(super) fn apply(&self, database: &str) -> String {
        let database = name(database);
        let statements = self.others.iter().map(|(before, after)| format!("{before}{database}{after};\n"));
        block(&statements.collect::<Vec<_>>().concat())
    }

    /// Gives `database` its comment, or takes it the one that it has.
    pub(super) fn comment(&self, database: &str) -> String {
        let comment = self.comment.as_deref().unwrap_or(" IS NULL");
        block(&format!("COMMENT ON DATABASE {}{comment};\n", name(database)))
    }

    fn take(&mut self, script: &str) -> Result<()> {
        let strange = |problem: String| Error::Damaged { kind: Kind::Postgres, problem };
        let statements = statements(script).ok_or_else(|| strange("a statement does not end".into()))?;
        for statement in statements {
            if statement.starts_with("SET ") || statement.starts_with("SELECT pg_catalog.set_config(") {
                continue;
            }
            let split = split(&statement);
            let (before, after) =
                split.ok_or_else(|| strange(format!("it has {statement:?} for the database")))?;
            match before {
                // It cannot stand in a block, where psql would not look at it.
                "CREATE DATABASE " if after.contains('\\') => {
                    return Err(strange("its locale has a backslash".into()));
                }
                "CREATE DATABASE " => self.options = after.into(),
                "COMMENT ON DATABASE " => self.comment = Some(after.into()),
                _ => self.others.push((before.into(), after.into())),
            }
        }
        Ok(())
    }
}

async fn ask(place: &dyn Place, dump: &dyn Source, call: Call) -> Result<String> {
    let input = dump.open().await.map_err(Error::Read)?;
    let answer = collect(place, &call.reading(), "read a dump", Some(input), Reads::WhatItNeeds).await;
    answer.map_err(unreadable)
}

/// The lines `3348; 1262 16391 DATABASE - app app` that count.
fn entries(list: &str) -> String {
    let counts = |line: &&str| {
        let entry = line.split_once("; ").and_then(|(_, rest)| rest.splitn(3, ' ').nth(2));
        !line.starts_with(';') && entry.is_some_and(|entry| ENTRIES.iter().any(|one| entry.starts_with(one)))
    };
    list.lines().filter(counts).flat_map(|line| [line, "\n"]).collect()
}

/// What comes before the database's name in a statement, and what comes after it.
fn split(statement: &str) -> Option<(&str, &str)> {
    let direct = ["CREATE DATABASE", "ALTER DATABASE", "COMMENT ON DATABASE"];
    let rest = if let Some(rest) = direct.iter().find_map(|words| after(statement, words)) {
        rest
    } else if let Some(rest) = after(statement, "ALTER ROLE") {
        first_name(rest)?.1.strip_prefix(" IN DATABASE ")?
    } else if ["GRANT ", "REVOKE ", "SECURITY LABEL "].iter().any(|words| statement.starts_with(words)) {
        statement.split_once(" ON DATABASE ")?.1
    } else {
        return None;
    };
    let before = statement.get(..statement.len() - rest.len())?;
    Some((before, first_name(rest)?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = r#"
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE DATABASE "my app" WITH TEMPLATE = template0 ENCODING = 'UTF8';
ALTER DATABASE "my app" OWNER TO "my app";
\connect "my app"
COMMENT ON DATABASE "my app" IS 'the
app; ''it''';
ALTER DATABASE "my app" SET search_path TO 'a', 'b';
ALTER ROLE database IN DATABASE "my app" SET work_mem TO '7MB';
REVOKE CONNECT,TEMPORARY ON DATABASE "my app" FROM PUBLIC;
"#;

    #[test]
    fn the_name_is_replaced_wherever_it_is_one() {
        let mut properties = Properties::default();
        properties.take(SCRIPT).unwrap();
        assert_eq!(
            properties.create("n\"w"),
            "CREATE DATABASE \"n\"\"w\" WITH TEMPLATE = template0 ENCODING = 'UTF8';\n"
        );
        assert!(properties.comment("n").contains("COMMENT ON DATABASE \"n\" IS 'the\napp; ''it''';\n"));
        let expected = "ALTER DATABASE \"n\" OWNER TO \"my app\";\n\
                        ALTER DATABASE \"n\" SET search_path TO 'a', 'b';\n\
                        ALTER ROLE database IN DATABASE \"n\" SET work_mem TO '7MB';\n\
                        REVOKE CONNECT,TEMPORARY ON DATABASE \"n\" FROM PUBLIC;\n";
        assert!(properties.apply("n").contains(expected));
        assert!(Properties::default().comment("n").contains("COMMENT ON DATABASE \"n\" IS NULL;\n"));
    }

    #[test]
    fn a_statement_about_something_else_is_refused() {
        for statement in [
            "DROP DATABASE app;",
            "ALTER ROLE x SET a TO 1;",
            "GRANT a TO b;",
            "CREATE DATABASE x \\! y;",
            "CREATE DATABASE 'x",
        ] {
            assert!(Properties::default().take(statement).is_err(), "{statement}");
        }
    }

    #[test]
    fn entries_of_the_database_are_found_in_the_table_of_contents() {
        let list = ";  1; 2 3 DATABASE - x\n3348; 1262 16391 DATABASE - app app\n\
                    214; 1259 1 TABLE public DATABASE x\n\
                    3350; 0 0 ACL - DATABASE app app\n3351; 0 0 COMMENT - EXTENSION plpgsql \n";
        assert_eq!(entries(list), "3348; 1262 16391 DATABASE - app app\n3350; 0 0 ACL - DATABASE app app\n");
    }
}
