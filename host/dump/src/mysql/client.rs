//! How the client programs of MySQL and MariaDB are called. What a connection needs is in a file that only
//! they can read, since a command line can be seen by everyone.

use secrecy::{ExposeSecret, SecretString};

use crate::connection::{Connection, Host};
use crate::error::{Error, Result};
use crate::place::{Call, Place};
use crate::run::{ask, first};
use crate::version::numbers;

const MARIADB: [&str; 2] = ["mariadb", "mariadb-dump"];
const MYSQL: [&str; 2] = ["mysql", "mysqldump"];

/// A server that answers, and the programs that fit it.
pub(super) struct Server<'a> {
    at: &'a Connection,
    pub(super) place: &'a dyn Place,
    mariadb: bool,
    /// What the server says of itself: `10.11.19-MariaDB`.
    pub(super) version: String,
    client: String,
    dump: String,
}

impl<'a> Server<'a> {
    /// Looks for the programs, and asks the server.
    pub(super) async fn find(at: &'a Connection, place: &'a dyn Place) -> Result<Self> {
        let action = "ask the client program for its version";
        let (client, _) = first(place, &[MARIADB[0], MYSQL[0]], action).await?;
        let mut server =
            Server { at, place, mariadb: false, version: String::new(), client, dump: String::new() };
        let answer = server.ask("ask the server for its version", "SELECT VERSION();").await?;
        server.version = answer.trim().to_owned();
        server.mariadb = server.version.contains("MariaDB");
        let names = if server.mariadb { [MARIADB, MYSQL] } else { [MYSQL, MARIADB] };
        let (dump, version) = first(place, &names.map(|names| names[1]), action).await?;
        (server.client, _) = first(place, &names.map(|names| names[0]), action).await?;
        server.dump = dump;
        server.fits(&version)?;
        Ok(server)
    }

    /// Whether `client`, a program's version, can dump this server.
    fn fits(&self, client: &str) -> Result<()> {
        let mismatch = |problem| {
            let client = client.trim().to_owned();
            Err(Error::Mismatch { client, server: self.version.clone(), problem })
        };
        if client.contains("MariaDB") != self.mariadb {
            return mismatch("MySQL and MariaDB need their own client programs");
        }
        // MariaDB's programs say "Ver 10.19 Distrib 10.11.19-MariaDB", and later "from 11.4.2-MariaDB".
        let own = client
            .split_once("Distrib ")
            .or_else(|| client.split_once("from "))
            .map_or(client, |(_, own)| own);
        let branch = |text: &str| numbers(text).into_iter().take(2).collect::<Vec<_>>();
        // A server behind a proxy of replication says 5.5.5-10.11.19-MariaDB.
        let server = self.version.strip_prefix("5.5.5-").unwrap_or(&self.version);
        if branch(own) < branch(server) {
            return mismatch("the client is older than the server");
        }
        Ok(())
    }

    /// The database that the address names.
    pub(super) fn database(&self) -> Result<&'a str> {
        let missing = || Error::Address { problem: "it names no database".into() };
        self.at.database.as_deref().ok_or_else(missing)
    }

    /// The database, for people.
    pub(super) fn name(&self) -> String {
        self.at.to_string()
    }

    /// Runs `script` without a database, and ends at the first error; its answer, columns split by tabs.
    pub(super) async fn ask(&self, action: &str, script: &str) -> Result<String> {
        let call =
            self.client_call(None).argument("--batch").argument("--raw").argument("--skip-column-names");
        // So that texts are written in one way only, and an order that waits for others ends.
        let script = format!("SET SESSION sql_mode = '', lock_wait_timeout = 10;\n{script}");
        ask(self.place, call, action, Some(&script)).await
    }

    /// `character_set collation` of a database, or `None` if it is not there.
    pub(super) async fn characters(&self, database: &str) -> Result<Option<String>> {
        let question = format!(
            "SELECT CONCAT(default_character_set_name, ' ', default_collation_name)
             FROM information_schema.schemata WHERE schema_name = {};",
            text(database)
        );
        let answer = self.ask("look for the database", &question).await?;
        Ok(Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty()))
    }

    /// The program that reads SQL. It obeys nothing but SQL in it: a dump could ask for a shell otherwise.
    pub(super) fn client_call(&self, database: Option<&str>) -> Call {
        let call =
            self.call(&self.client).argument("--binary-mode").argument("--connect-timeout=15").reading();
        let call = call.argument("--max-allowed-packet=1G").argument("--default-character-set=utf8mb4");
        database.into_iter().fold(call, |call, database| call.argument(format!("--database={database}")))
    }

    /// The program that writes SQL.
    pub(super) fn dump_call<const N: usize>(&self, arguments: [&str; N]) -> Call {
        let call = self.call(&self.dump).argument("--hex-blob").argument("--default-character-set=utf8mb4");
        let call = call.argument("--max-allowed-packet=1G").argument("--no-tablespaces");
        // Otherwise the dump sets what the server has replicated, which a server with a past refuses.
        let call = if self.mariadb { call } else { call.argument("--set-gtid-purged=OFF") };
        arguments.into_iter().fold(call, Call::argument)
    }

    fn call(&self, program: &str) -> Call {
        // The file comes before ~/.my.cnf, which must not have the last word.
        let call = Call::new::<&str>(program, []).file("--defaults-extra-file=", options(self.at));
        call.variable("HOME", "/nonexistent").hiding(self.at.password.as_ref())
    }
}

/// A name as MySQL takes it, whatever it has in it.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as MySQL takes it, in the SQL mode that [`Server::ask`] sets.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// An [option file](https://dev.mysql.com/doc/refman/8.4/en/option-files.html).
fn options(at: &Connection) -> SecretString {
    let mut file = String::from("[client]\n");
    let mut set = |key: &str, value: &str| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        file.extend([key, "=\"", &value, "\"\n"]);
    };
    match &at.host {
        Host::Usual => (),
        Host::Tcp { host, port } => {
            set("host", host);
            set("port", &port.unwrap_or(3306).to_string());
            // `localhost` would be the socket otherwise.
            set("protocol", "tcp");
        }
        Host::Socket { path, .. } => set("socket", path),
    }
    if let Some(user) = &at.user {
        set("user", user);
    }
    if let Some(password) = &at.password {
        set("password", password.expose_secret());
    }
    at.parameters.iter().for_each(|(key, value)| set(key, value));
    file.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_fits_its_own_servers_and_older_ones() {
        let at = Connection::default();
        let place = crate::place::Local::default();
        let fits = |version: &str, client: &str| {
            let mariadb = version.contains("MariaDB");
            let (dump, name) = (String::new(), String::new());
            Server { at: &at, place: &place, mariadb, version: version.into(), client: name, dump }
                .fits(client)
        };
        let debian = "mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)";
        let newer = "mariadb-dump from 11.4.2-MariaDB, client 10.19 for Linux (x86_64)";
        let mysql = "mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)";
        fits("10.11.3-MariaDB", debian).unwrap();
        fits("5.5.5-10.6.3-MariaDB", debian).unwrap();
        fits("11.4.9-MariaDB-ubu2404", newer).unwrap();
        fits("8.0.41", mysql).unwrap();
        for (server, client) in
            [("11.4.2-MariaDB", debian), ("8.4.0", mysql), ("8.0.36", debian), ("10.11.3-MariaDB", mysql)]
        {
            assert!(matches!(fits(server, client), Err(Error::Mismatch { .. })), "{server} {client}");
        }
    }
}
