//! How PostgreSQL's client programs are called.

use std::fmt::Write as _;

use secrecy::ExposeSecret;

use crate::connection::{Connection, Host};
use crate::error::Result;
use crate::place::{Call, Place};
use crate::run::ask;

/// `program`, connected to `database`. The password is in the environment, which only the program's user and
/// root can see; a prompt for one is never waited for.
pub(super) fn client(program: &str, at: &Connection, database: Option<&str>) -> Call {
    let mut call = Call::new(program, ["--no-password"])
        .argument(format!("--dbname={}", string(at, database)))
        .variable("PGCONNECT_TIMEOUT", "15")
        .variable("PGAPPNAME", "snapshotter")
        .hiding(at.password.as_ref());
    if let Some(password) = &at.password {
        call = call.variable("PGPASSWORD", password.expose_secret());
    }
    call
}

/// Runs `script` in `database`, and ends at the first error; its answer, a row a line, columns split by `|`.
pub(super) async fn psql(
    at: &Connection,
    place: &dyn Place,
    database: &str,
    action: &str,
    script: &str,
) -> Result<String> {
    let call = client("psql", at, Some(database)).variable("PGCLIENTENCODING", "UTF8").reading();
    let plain =
        ["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"];
    let call = plain.into_iter().fold(call, Call::argument);
    ask(place, call, action, Some(script)).await
}

/// A connection string of libpq, without a password.
fn string(at: &Connection, database: Option<&str>) -> String {
    let mut string = String::new();
    let mut set = |key: &str, value: &str| {
        let value = value.replace('\\', "\\\\").replace('\'', "\\'");
        // A String takes all that is written to it.
        let _ = write!(string, "{key}='{value}' ");
    };
    let port = match &at.host {
        Host::Usual => None,
        Host::Tcp { host, port } => {
            hosts(host, &mut set);
            *port
        }
        Host::Socket { path, port } => {
            set("host", path);
            *port
        }
    };
    if let Some(port) = port {
        set("port", &port.to_string());
    }
    for (key, value) in [("user", at.user.as_deref()), ("dbname", database)] {
        if let Some(value) = value {
            set(key, value);
        }
    }
    at.parameters.iter().for_each(|(key, value)| set(key, value));
    string.trim_end().to_owned()
}

/// One host, or several with a port each, which libpq takes as two lists.
fn hosts(host: &str, set: &mut impl FnMut(&str, &str)) {
    if !host.contains(',') {
        return set("host", host);
    }
    let split = host.split(',').map(|one| match one.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (one, ""),
    });
    let (hosts, ports): (Vec<_>, Vec<_>) =
        split.map(|(host, port)| (host.trim_matches(['[', ']']), port)).unzip();
    set("host", &hosts.join(","));
    set("port", &ports.join(","));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_quote_what_they_are_given() {
        let at = Connection::parse("postgres://o'b:secret@a:1,[::1]:2,c/x?sslmode=require").unwrap();
        assert_eq!(
            string(&at, Some("a'\\b")),
            r"host='a,::1,c' port='1,2,' user='o\'b' dbname='a\'\\b' sslmode='require'"
        );
        let at = Connection::parse("postgres://%2Frun%2Fpg:5433/x").unwrap();
        assert_eq!(string(&at, None), "host='/run/pg' port='5433'");
    }
}
