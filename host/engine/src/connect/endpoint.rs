//! The address of an engine: what `DOCKER_HOST`, `--host` and a context may say.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket on this machine.
    Unix(PathBuf),
    /// A port, with or without TLS.
    Tcp {
        /// Name or address of the host; an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
        /// How to encrypt, or `None` for plain text.
        tls: Option<Tls>,
    },
    /// Through `ssh … docker system dial-stdio`.
    Ssh {
        /// `user@`, where one is given.
        user: Option<String>,
        /// The host as ssh takes it.
        host: String,
        /// The port, where one is given.
        port: Option<u16>,
        /// The engine's socket on that host, where it is not the usual one.
        socket: Option<String>,
    },
}

/// How a connection is encrypted. Each path is that of a PEM file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Who may have signed the engine's certificate; `None` for those that the system trusts.
    pub authority: Option<PathBuf>,
    /// What we show the engine: a certificate and its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Whether the engine's certificate is checked.
    pub verify: bool,
}

impl Tls {
    /// With the files that docker looks for in `directory`: `ca.pem` is needed to verify, the other two may
    /// be missing.
    pub fn in_directory(directory: &Path, verify: bool) -> Self {
        let file = |name| Some(directory.join(name)).filter(|path: &PathBuf| path.exists());
        let own = file("cert.pem").zip(file("key.pem"));
        Tls { authority: verify.then(|| directory.join("ca.pem")), own, verify }
    }
}

impl Endpoint {
    /// Parses `address`. With `tls` a port is spoken to encrypted.
    ///
    /// # Errors
    /// When it is no address of an engine.
    pub fn parse(address: &str, tls: Option<Tls>) -> Result<Self> {
        let bad = |problem| Error::Address { address: address.to_owned(), problem };
        let (scheme, rest) = address.split_once("://").unwrap_or(("tcp", address));
        match scheme {
            "unix" if rest.is_empty() => Err(bad("no path follows unix://")),
            "unix" => Ok(Endpoint::Unix(rest.into())),
            "tcp" | "http" | "https" => {
                let usual = if tls.is_some() { 2376 } else { 2375 };
                let rest = rest.strip_suffix('/').unwrap_or(rest);
                let (host, port) = host_and_port(rest).ok_or_else(|| bad("it is no host and port"))?;
                Ok(Endpoint::Tcp { host, port: port.unwrap_or(usual), tls })
            }
            "ssh" => {
                let (authority, socket) = match rest.split_once('/') {
                    Some((authority, path)) => (authority, Some(format!("/{path}"))),
                    None => (rest, None),
                };
                let (user, place) = match authority.rsplit_once('@') {
                    Some((user, place)) => (Some(user.to_owned()), place),
                    None => (None, authority),
                };
                if user.as_deref().is_some_and(|user| user.is_empty() || user.contains(':')) {
                    return Err(bad("ssh takes a user without a password in front of the @"));
                }
                let (host, port) = host_and_port(place).ok_or_else(|| bad("it is no host and port"))?;
                // ssh would take such a name for a flag.
                if host.starts_with('-') || user.as_deref().is_some_and(|user| user.starts_with('-')) {
                    return Err(bad("a name that begins with - is refused"));
                }
                Ok(Endpoint::Ssh { user, host, port, socket: socket.filter(|path| path != "/") })
            }
            "npipe" | "fd" => Err(bad("only unix, tcp and ssh can be spoken to")),
            _ => Err(bad("it begins with no scheme that is known")),
        }
    }

    /// The socket's path, where it is on this machine.
    pub fn socket(&self) -> Option<&Path> {
        if let Endpoint::Unix(path) = self { Some(path) } else { None }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(to, "unix://{}", path.display()),
            Endpoint::Tcp { host, port, .. } if host.contains(':') => write!(to, "tcp://[{host}]:{port}"),
            Endpoint::Tcp { host, port, .. } => write!(to, "tcp://{host}:{port}"),
            Endpoint::Ssh { user, host, port, socket } => {
                to.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(to, "{user}@")?;
                }
                let bare = !host.contains(':');
                if bare { to.write_str(host) } else { write!(to, "[{host}]") }?;
                if let Some(port) = port {
                    write!(to, ":{port}")?;
                }
                to.write_str(socket.as_deref().unwrap_or_default())
            }
        }
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let fits = |character: char| !character.is_whitespace() && !character.is_control() && character != '/';
    if host.is_empty() || !host.chars().all(fits) {
        return None;
    }
    match port {
        None => Some((host.to_owned(), None)),
        Some(port) => Some((host.to_owned(), Some(port.parse().ok().filter(|&port| port != 0)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(address: &str) -> String {
        Endpoint::parse(address, None).map_or_else(|error| error.to_string(), |endpoint| endpoint.to_string())
    }

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        for address in [
            "unix:///var/run/docker.sock",
            "tcp://10.0.0.1:2375",
            "tcp://[::1]:99",
            "ssh://me@host",
            "ssh://host:22",
            "ssh://me@[::1]:22/run/podman.sock",
        ] {
            assert_eq!(again(address), address);
        }
        assert_eq!(again("tcp://host"), "tcp://host:2375");
        assert_eq!(again("tcp://host/"), "tcp://host:2375");
        assert_eq!(again("host:1"), "tcp://host:1");
        assert_eq!(again("ssh://host/"), "ssh://host");
        assert_eq!(
            Endpoint::parse("tcp://host", Some(Tls::default())).unwrap().to_string(),
            "tcp://host:2376"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in [
            "",
            "unix://",
            "tcp://",
            "tcp://host:0",
            "tcp://host:65536",
            "tcp://host:x",
            "tcp://host/path",
            "tcp://::1",
            "tcp://[::1",
            "tcp://[::1]9",
            "npipe:////./pipe/docker_engine",
            "ftp://host",
            "ssh://",
            "ssh://me:secret@host",
            "ssh://@host",
            "ssh://-oProxyCommand=x",
            "ssh://-l@host",
            "ssh://ho st",
        ] {
            let said = again(address);
            assert!(said.starts_with("cannot use the engine's address"), "{address}: {said}");
        }
    }
}
