//! How a server is reached: what an address such as `postgres://user:password@host:5432/app` says.
//!
//! The forms are those of
//! [libpq](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS), of MySQL, of
//! [Redis](https://www.iana.org/assignments/uri-schemes/prov/redis) and of
//! [MongoDB](https://www.mongodb.com/docs/manual/reference/connection-string/).

use std::fmt;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use crate::error::{Error, Result};

/// How a server is reached. `Debug` and `Display` show no password.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// Where it listens.
    pub host: Host,
    /// Who asks; the client program's own choice if it is `None`.
    pub user: Option<String>,
    /// That user's password.
    pub password: Option<SecretString>,
    /// The database.
    pub database: Option<String>,
    /// What else the address says, for the client program: `sslmode` = `require`.
    pub parameters: Vec<(String, String)>,
    /// Whether the connection is encrypted, where the scheme says so.
    pub tls: bool,
    /// The address as it was given, for programs that take nothing else.
    pub(crate) address: Option<SecretString>,
}

/// Where a server listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Host {
    /// Where the client program looks by itself, which in a server's own container is the server's socket.
    #[default]
    Usual,
    /// A port.
    Tcp {
        /// Name or address; an IPv6 address without brackets; several, as the client program takes them.
        host: String,
        /// The port, where it is not the usual one.
        port: Option<u16>,
    },
    /// A socket on the same machine: its path, for PostgreSQL that of its directory.
    Socket {
        /// The path.
        path: String,
        /// PostgreSQL's port, which is part of the socket's name.
        port: Option<u16>,
    },
}

impl Connection {
    /// Parses what follows the `://` of `address`.
    ///
    /// # Errors
    /// When it is no address. The message does not show it.
    pub fn parse(address: &str) -> Result<Self> {
        let bad = |problem: &str| Error::Address { problem: problem.into() };
        let (_, rest) = address.split_once("://").ok_or_else(|| bad("it has no ://"))?;
        if address.chars().any(char::is_control) {
            return Err(bad("it has control characters"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // Passwords with @ and / are often not encoded: the last @ ends them.
        let (who, rest) = rest.rsplit_once('@').map_or((None, rest), |(who, rest)| (Some(who), rest));
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
            Some((user, password)) => (decode(user)?, decode(password)?),
            None => (String::new(), String::new()),
        };
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let mut connection = Connection {
            host: Host::parse(place)?,
            user: given(user),
            password: given(password).map(Into::into),
            database: given(decode(database)?),
            address: Some(address.into()),
            ..Connection::default()
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| bad("a parameter has no ="))?;
            connection.set(decode(name)?, decode(value)?)?;
        }
        Ok(connection)
    }

    fn set(&mut self, name: String, value: String) -> Result<()> {
        match name.as_str() {
            "password" => self.password = Some(value.into()),
            "user" => self.user = Some(value),
            "dbname" => self.database = Some(value),
            "host" | "socket" if value.starts_with('/') => {
                let port = if let Host::Tcp { port, .. } = self.host { port } else { None };
                self.host = Host::Socket { path: value, port };
            }
            "host" => self.host = Host::Tcp { host: value, port: None },
            "port" => {
                let number =
                    value.parse().map_err(|_| Error::Address { problem: "its port is no port".into() })?;
                match &mut self.host {
                    Host::Tcp { port, .. } | Host::Socket { port, .. } => *port = Some(number),
                    Host::Usual => self.host = Host::Tcp { host: "localhost".into(), port: Some(number) },
                }
            }
            _ if name.to_ascii_lowercase().contains("password") => {
                return Err(Error::Address { problem: format!("{name} cannot be given in it") });
            }
            // It becomes a key of the client's configuration.
            _ if !name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')) =>
            {
                return Err(Error::Address { problem: "a parameter's name is none".into() });
            }
            _ => self.parameters.push((name, value)),
        }
        Ok(())
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self> {
        let bad = || Error::Address { problem: "its host or port is none".into() };
        if text.is_empty() {
            return Ok(Host::Usual);
        }
        let number = |port: &str| port.parse().map(Some).map_err(|_| bad());
        let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']').ok_or_else(bad)) {
            Some(split) => match split? {
                (host, "") => (host, None),
                (host, port) => (host, number(port.strip_prefix(':').ok_or_else(bad)?)?),
            },
            // Several hosts, each with a port.
            None if text.contains(',') => (text, None),
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, number(port)?),
                None => (text, None),
            },
        };
        let host = decode(host)?;
        Ok(match host.strip_prefix('/') {
            Some(_) => Host::Socket { path: host, port },
            None if host.is_empty() => return Err(bad()),
            None => Host::Tcp { host, port },
        })
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.database.as_deref().unwrap_or("its databases");
        match &self.host {
            Host::Usual => write!(to, "{database}"),
            Host::Tcp { host, .. } => write!(to, "{database} of {host}"),
            Host::Socket { path, .. } => write!(to, "{database} at {path}"),
        }
    }
}

pub(crate) fn decode(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| Error::Address { problem: "it is not UTF-8".into() })?;
    // No name has such characters, and some could leave a line of a client's configuration.
    if decoded.chars().any(|character| matches!(character, '\0' | '\n' | '\r')) {
        return Err(Error::Address { problem: "it has a line's end or a NUL".into() });
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn tcp(host: &str, port: Option<u16>) -> Host {
        Host::Tcp { host: host.into(), port }
    }

    #[test]
    fn addresses_are_taken_apart() {
        let c =
            Connection::parse("postgres://me:p%40ss%2Fw%C3%B6rd@db.example:5433/app%20one?sslmode=require")
                .unwrap();
        assert_eq!(c.host, tcp("db.example", Some(5433)));
        assert_eq!(c.user.as_deref(), Some("me"));
        assert_eq!(c.password.unwrap().expose_secret(), "p@ss/wörd");
        assert_eq!(c.database.as_deref(), Some("app one"));
        assert_eq!(c.parameters, [("sslmode".into(), "require".into())]);
        let raw = Connection::parse("mysql://me:a@b/c:d%zz@[fe80::1]/x").unwrap();
        assert_eq!(raw.password.unwrap().expose_secret(), "a@b/c:d%zz");
        assert_eq!((raw.host, raw.database.as_deref()), (tcp("fe80::1", None), Some("x")));
        assert_eq!(Connection::parse("redis://[::1]:6380").unwrap().host, tcp("::1", Some(6380)));
        let several = Connection::parse("mongodb://u:p@a:1,b:2/app?replicaSet=r").unwrap();
        assert_eq!(several.host, tcp("a:1,b:2", None));
        assert_eq!(Connection::parse("postgres://").unwrap().host, Host::Usual);
    }

    #[test]
    fn sockets_are_found_wherever_an_address_has_them() {
        let socket = |port| Host::Socket { path: "/run/pg".into(), port };
        for (address, port) in [
            ("postgres://u@%2Frun%2Fpg:5433/app", Some(5433)),
            ("postgres://u@%2Frun%2Fpg/app", None),
            ("postgres:///app?host=/run/pg&port=5433", Some(5433)),
            ("mysql://u@localhost/app?socket=/run/pg", None),
        ] {
            assert_eq!(Connection::parse(address).unwrap().host, socket(port), "{address}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        let shown = |address: &str| {
            let connection = Connection::parse(address).unwrap();
            format!("{connection:?} {connection}")
        };
        for address in ["mongodb://u:hunter2@h/app", "postgres://u@h/app?password=hunter2"] {
            assert!(!shown(address).contains("hunter2"), "{}", shown(address));
        }
        for address in [
            "hunter2",
            "x://u:hunter2@h:none/",
            "x://h/?hunter2",
            "x://u:hunter2@[::1/",
            "x://u:%FFhunter2@h",
        ] {
            let error = Connection::parse(address).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_could_leave_its_line_is_refused() {
        for address in [
            "mysql://u:a%0Auser=root@h/",
            "mysql://u%00@h/",
            "mysql://u\n@h/",
            "x://u@h/?sslpassword=x",
            "x://h/?a'b=c",
        ] {
            assert!(Connection::parse(address).is_err(), "{address:?}");
        }
    }
}
