//! Docker's contexts: named engines that `docker context create` keeps in files. Their layout is docker's
//! own:
//! `contexts/meta/<sha256 of the name>/meta.json` and, with TLS, `contexts/tls/<the same>/docker/*.pem`.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::connect::endpoint::{Endpoint, Tls};
use crate::error::{Error, Result};

/// The name of the context that is none: the engine of `DOCKER_HOST`, or of the usual socket.
pub const DEFAULT: &str = "default";

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(rename = "currentContext", default)]
    current: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Debug, Default, Deserialize)]
struct Endpoints {
    docker: Option<Docker>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    #[serde(default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_verify: bool,
}

/// The context that `config.json` in docker's directory says is the current one.
///
/// # Errors
/// When the file is there and cannot be read: to take the usual socket then could be another engine than
/// docker's.
pub fn current(docker: &Path) -> Result<Option<String>> {
    let path = docker.join("config.json");
    let failed = |source| Error::Configuration { path: path.clone(), source };
    let text = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed)?,
    };
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let configuration: Configuration = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    Ok(Some(configuration.current).filter(|name| !name.is_empty()))
}

/// The engine of the context `name`.
///
/// # Errors
/// When there is no such context, or it says nothing that can be used.
pub fn endpoint(docker: &Path, name: &str) -> Result<Endpoint> {
    let unusable = |problem: String| Error::Context { name: name.to_owned(), problem };
    let id = directory(name);
    let path = docker.join("contexts/meta").join(&id).join("meta.json");
    let text = fs::read(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => unusable(format!("there is none of that name in {}", docker.display())),
        _ => Error::Configuration { path: path.clone(), source: error },
    })?;
    let meta: Meta = serde_json::from_slice(&text)
        .map_err(|error| Error::Configuration { path, source: io::Error::from(error) })?;
    let host = meta.endpoints.docker.filter(|docker| !docker.host.is_empty());
    let host = host.ok_or_else(|| unusable("it names no Docker Engine".to_owned()))?;
    let certificates = docker.join("contexts/tls").join(&id).join("docker");
    let file = |name| Some(certificates.join(name)).filter(|path: &PathBuf| path.exists());
    let tls = (host.skip_verify || certificates.is_dir()).then(|| Tls {
        authority: file("ca.pem"),
        own: file("cert.pem").zip(file("key.pem")),
        verify: !host.skip_verify,
    });
    Endpoint::parse(&host.host, tls)
}

/// The name of a context's directory.
fn directory(name: &str) -> String {
    hex::encode(Sha256::digest(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(docker: &Path, name: &str, meta: &str) {
        let place = docker.join("contexts/meta").join(directory(name));
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("meta.json"), meta).unwrap();
    }

    #[test]
    fn directories_are_named_as_docker_names_them() {
        // What `docker context create remote` makes.
        assert_eq!(directory("remote"), "b71199ebd070b36beab7317920c2c2f1d777df8d05e5527d8458fda57cb17a7a");
    }

    #[test]
    fn the_current_context_is_the_one_of_the_configuration() {
        let docker = tempfile::tempdir().unwrap();
        let current = || current(docker.path());
        assert_eq!(current().unwrap(), None);
        for (text, name) in [
            ("", None),
            ("{}", None),
            (r#"{"currentContext":""}"#, None),
            (r#"{"currentContext":"a","x":1}"#, Some("a")),
        ] {
            fs::write(docker.path().join("config.json"), text).unwrap();
            assert_eq!(current().unwrap().as_deref(), name);
        }
        fs::write(docker.path().join("config.json"), "{").unwrap();
        assert!(matches!(current(), Err(Error::Configuration { .. })));
    }

    #[test]
    fn a_context_names_its_engine_and_its_certificates() {
        let docker = tempfile::tempdir().unwrap();
        context(
            docker.path(),
            "a",
            r#"{"Name":"a","Endpoints":{"docker":{"Host":"tcp://h","SkipTLSVerify":false}}}"#,
        );
        assert_eq!(endpoint(docker.path(), "a").unwrap().to_string(), "tcp://h:2375");
        let certificates = docker.path().join("contexts/tls").join(directory("a")).join("docker");
        fs::create_dir_all(&certificates).unwrap();
        let expected = |tls| Endpoint::Tcp { host: "h".to_owned(), port: 2376, tls: Some(tls) };
        let tls = Tls { verify: true, ..Tls::default() };
        assert_eq!(endpoint(docker.path(), "a").unwrap(), expected(tls));
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            fs::write(certificates.join(name), "").unwrap();
        }
        let own = Some((certificates.join("cert.pem"), certificates.join("key.pem")));
        let tls = Tls { authority: Some(certificates.join("ca.pem")), own, verify: true };
        assert_eq!(endpoint(docker.path(), "a").unwrap(), expected(tls));
    }

    #[test]
    fn a_context_that_cannot_be_used_says_so() {
        let docker = tempfile::tempdir().unwrap();
        assert!(matches!(endpoint(docker.path(), "a"), Err(Error::Context { .. })));
        for meta in ["{}", r#"{"Endpoints":{}}"#, r#"{"Endpoints":{"docker":{"Host":""}}}"#] {
            context(docker.path(), "a", meta);
            assert!(matches!(endpoint(docker.path(), "a"), Err(Error::Context { .. })), "{meta}");
        }
        context(docker.path(), "a", "[");
        assert!(matches!(endpoint(docker.path(), "a"), Err(Error::Configuration { .. })));
    }
}
