//! MongoDB: one database, or all of them, as an archive of `mongodump`.
//!
//! Debian has no MongoDB, so no server was at hand: what the programs are told is tested, and how an archive
//! is checked; what a server does with it is not.

mod archive;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncWrite, BufReader};

use crate::connection::{Connection, Host};
use crate::database::{Dumped, Kind, Restored};
use crate::error::{Error, Result};
use crate::place::{Call, Place};
use crate::run::{Reads, first, pass};
use crate::source::Source;
use crate::version::{dotted, numbers};

/// Whether there is a client program. No server is asked.
///
/// # Errors
/// When there is none.
pub async fn fits(place: &dyn Place) -> Result<()> {
    first(place, &["mongodump"], "ask mongodump for its version").await.map(drop)
}

/// Writes a dump of one database, or of all where the address names none. Collections are read one after the other while others write: MongoDB's
/// tools make a consistent dump of a whole replica set only, not of one database.
///
/// # Errors
/// When it is not whole.
pub async fn dump(
    at: &Connection,
    place: &dyn Place,
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<Dumped> {
    let (program, version) = first(place, &["mongodump"], "ask mongodump for its version").await?;
    let call = client(&program, at)?.argument("--archive");
    let call = match &at.database {
        Some(database) => call.argument(format!("--db={database}")),
        None => call,
    };
    let bytes = pass(place, &call, &format!("dump {at}"), None, Reads::All, output).await?;
    let notes = vec!["collections were read one after the other, while others could write".into()];
    Ok(Dumped { bytes, version: format!("mongodump {}", dotted(&numbers(&version))), notes })
}

/// Reads all of a dump: each collection that it lists must end, with the checksum of its documents.
///
/// # Errors
/// [`Error::Damaged`] when it is cut or damaged.
pub async fn check(dump: &dyn Source) -> Result<()> {
    let input = dump.open().await.map_err(Error::Read)?;
    let archive = archive::read(&mut BufReader::with_capacity(256 << 10, input)).await;
    archive.map(drop).map_err(|problem| match problem {
        archive::Problem::Read(error) => Error::Read(error),
        archive::Problem::Damaged(problem) => Error::Damaged { kind: Kind::Mongo, problem },
    })
}

/// Loads a dump into the database that the address names, whose collections must not be there: MongoDB can
/// neither rename a database nor load one in a transaction. If it fails, what was loaded is left. Where the
/// address names none, each collection goes into the database that it came from.
///
/// # Errors
/// When it cannot be restored, or a document of the dump is there already.
pub async fn restore(at: &Connection, place: &dyn Place, dump: &dyn Source) -> Result<Restored> {
    check(dump).await?;
    let (program, _) = first(place, &["mongorestore"], "ask mongorestore for its version").await?;
    let mut call = client(&program, at)?.argument("--archive").argument("--stopOnError");
    if let Some(database) = &at.database {
        let input = dump.open().await.map_err(Error::Read)?;
        let source = archive::database(&mut BufReader::new(input)).await.ok_or_else(|| Error::Damaged {
            kind: Kind::Mongo,
            problem: "it has not exactly one database".into(),
        })?;
        call = call.argument(format!("--nsFrom={}.*", escaped(&source)));
        call = call.argument(format!("--nsTo={}.*", escaped(database)));
    }
    let call = call.reading();
    let input = dump.open().await.map_err(Error::Read)?;
    let action = format!("restore {at}");
    pass(place, &call, &action, Some(input), Reads::All, &mut tokio::io::sink()).await?;
    Ok(Restored::default())
}

/// A name in a pattern of namespaces.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('*', "\\*")
}

/// `program`, with the address in a file, as it has the password in it. The tools take no database beside one
/// that the address has, so that is taken out; what users authenticate against stays what it was.
fn client(program: &str, at: &Connection) -> Result<Call> {
    let missing = || Error::Address { problem: "it has no host".into() };
    let address = match &at.address {
        Some(address) => address.clone(),
        None => composed(at).ok_or_else(missing)?,
    };
    let (scheme, rest) = address.expose_secret().split_once("://").ok_or_else(missing)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (who, place) = rest.rsplit_once('@').map_or(("", rest), |(who, place)| (who, place));
    let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
    if hosts.is_empty() {
        return Err(missing());
    }
    let at_sign = if who.is_empty() { "" } else { "@" };
    let source =
        !who.is_empty() && !query.split('&').any(|pair| pair.to_ascii_lowercase().starts_with("authsource="));
    let source =
        if source && !database.is_empty() { format!("authSource={database}") } else { String::new() };
    let query: Vec<_> = [query, &source].into_iter().filter(|part| !part.is_empty()).collect();
    let question = if query.is_empty() { "" } else { "?" };
    let address = format!("{scheme}://{who}{at_sign}{hosts}/{question}{}", query.join("&"));
    // In YAML as in JSON, a quoted string.
    let file = format!("uri: \"{}\"\n", address.replace('\\', "\\\\").replace('"', "\\\""));
    let address = SecretString::from(address);
    let call = Call::new::<&str>(program, []).file("--config=", file.into()).argument("--quiet");
    Ok(call.hiding(Some(&address)).hiding(at.password.as_ref()))
}

/// The address of a connection that was not given as one: of an administrator, in `admin`.
fn composed(at: &Connection) -> Option<SecretString> {
    let Host::Tcp { host, port } = &at.host else { return None };
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let who = at.user.as_deref().map(|user| {
        let password = at.password.as_ref().map(|password| format!(":{}", encoded(password.expose_secret())));
        format!("{}{}@", encoded(user), password.unwrap_or_default())
    });
    let admin = if who.is_some() { "?authSource=admin" } else { "" };
    Some(format!("mongodb://{}{host}:{}/{admin}", who.unwrap_or_default(), port.unwrap_or(27017)).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Argument;

    #[test]
    fn the_address_is_in_a_file_and_names_no_database() {
        let file = |address: &str| {
            let call = client("mongodump", &Connection::parse(address).unwrap()).unwrap();
            assert!(!format!("{call:?}").contains("pw"), "{call:?}");
            let Some(Argument::File { before, content }) = call.arguments.into_iter().next() else {
                panic!()
            };
            assert_eq!(before, "--config=");
            content.expose_secret().to_owned()
        };
        assert_eq!(file("mongodb://h/app"), "uri: \"mongodb://h/\"\n");
        assert_eq!(
            file("mongodb://u:pw@a:1,b/app?replicaSet=r"),
            "uri: \"mongodb://u:pw@a:1,b/?replicaSet=r&authSource=app\"\n"
        );
        assert_eq!(
            file("mongodb+srv://u:pw@h/app?authSource=admin"),
            "uri: \"mongodb+srv://u:pw@h/?authSource=admin\"\n"
        );
        assert!(client("mongodump", &Connection::parse("mongodb:///app").unwrap()).is_err());
        let host = Host::Tcp { host: "localhost".into(), port: None };
        let at = Connection {
            host,
            user: Some("r".into()),
            password: Some("p/w".into()),
            ..Connection::default()
        };
        let address = composed(&at).unwrap();
        assert_eq!(address.expose_secret(), "mongodb://r:p%2Fw@localhost:27017/?authSource=admin");
    }
}
