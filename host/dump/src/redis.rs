//! Redis and Valkey: all that a server has, as the RDB file that it sends to a replica.
//!
//! The server makes it by forking, so it holds what there was at one moment, and no file of the server's is
//! touched. A running server takes no such file back: [`restore`] puts it into the directory of one that is
//! stopped.

mod rdb;
mod restore;
mod stream;

use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::connection::{Connection, Host};
use crate::database::{Dumped, Kind};
use crate::error::{Error, Result};
use crate::place::{Call, Place};
use crate::run::{Reads, ask, first, pass};
use crate::source::Source;

pub use rdb::Rdb;
pub use restore::{Directory, restore};

const PROGRAMS: [&str; 2] = ["redis-cli", "valkey-cli"];

/// Whether the server answers.
///
/// # Errors
/// When it does not, or there is no client program.
pub async fn fits(at: &Connection, place: &dyn Place) -> Result<()> {
    let (program, _) = first(place, &PROGRAMS, "ask the client program for its version").await?;
    version(at, place, &program).await.map(drop)
}

/// Writes a dump of a server.
///
/// # Errors
/// When it is not whole.
pub async fn dump(
    at: &Connection,
    place: &dyn Place,
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<Dumped> {
    let (program, _) = first(place, &PROGRAMS, "ask the client program for its version").await?;
    let version = version(at, place, &program).await?;
    let call = client(&program, at).argument("--rdb").argument("-");
    let mut stream = stream::MarkedRdb::new(output);
    pass(place, &call, &format!("dump {at}"), None, Reads::All, &mut stream).await?;
    let bytes = stream.finish().await?;
    Ok(Dumped { bytes, version, notes: Vec::new() })
}

/// Reads all of a dump and compares its checksum; what it says of itself.
///
/// # Errors
/// [`Error::Damaged`] when it is cut or damaged.
pub async fn check(dump: &dyn Source) -> Result<Rdb> {
    let mut input = dump.open().await.map_err(Error::Read)?;
    let (mut reading, mut buffer) = (rdb::Reading::default(), vec![0; 256 << 10]);
    loop {
        let read = input.read(&mut buffer).await.map_err(Error::Read)?;
        match buffer.get(..read) {
            Some([]) | None => return reading.finish().map_err(damaged),
            Some(piece) => reading.take(piece),
        }
    }
}

fn damaged(problem: &str) -> Error {
    Error::Damaged { kind: Kind::Redis, problem: problem.into() }
}

/// The server's version. `redis-cli` ends with 0 whatever the server answers, so the answer is looked at.
async fn version(at: &Connection, place: &dyn Place, program: &str) -> Result<String> {
    let action = "ask the server for its version";
    let call = client(program, at).argument("INFO").argument("server");
    let answer = ask(place, call, action, None).await?;
    let field = |name: &str| {
        answer.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    field("valkey_version:").or_else(|| field("redis_version:")).ok_or_else(|| Error::Answer {
        action: action.into(),
        program: program.into(),
        answer: answer.chars().take(200).collect(),
    })
}

fn client(program: &str, at: &Connection) -> Call {
    let mut call = Call::new::<&str>(program, []).hiding(at.password.as_ref());
    call = match &at.host {
        Host::Usual => call,
        Host::Tcp { host, port } => {
            call.argument("-h").argument(host).argument("-p").argument(port.unwrap_or(6379).to_string())
        }
        Host::Socket { path, .. } => call.argument("-s").argument(path),
    };
    if let Some(user) = &at.user {
        call = call.argument("--user").argument(user);
    }
    if at.tls {
        call = call.argument("--tls");
    }
    for (name, value) in &at.parameters {
        call = call.argument(format!("--{name}")).argument(value);
    }
    match &at.password {
        Some(password) => call.variable("REDISCLI_AUTH", password.expose_secret()),
        None => call,
    }
}
