//! Addresses of stores: a path, or a URL. docs/stores.md lists the forms.
//!
//! What could be meant as an address of another program's (restic's `sftp:user@host:/path`) is refused with
//! the form that it has here, and not taken for a directory of that name: a backup would lie on the disk that
//! it is to outlive.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::Url;

use super::error::{Error, Result};

/// Where a store is. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket or container of an object store.
    Bucket(Bucket),
    /// A folder of a `WebDAV` server.
    Webdav {
        /// The folder's URL, `http` or `https`, without user and query, with a slash at its end.
        url: Url,
        /// The user, where the address names one.
        user: Option<String>,
    },
    /// A directory of a server, through SFTP.
    Sftp(Sftp),
}

/// A bucket or container, and what the names in it begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Who has it.
    pub cloud: Cloud,
    /// Its name.
    pub bucket: String,
    /// What names in it begin with, without a slash at either end; may be empty.
    pub prefix: String,
    /// What stands behind the `?`.
    pub options: BTreeMap<String, String>,
}

/// Which object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// S3, and all that speaks it.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Google,
}

/// A directory of a server, through SFTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sftp {
    /// The user, where the address names one.
    pub user: Option<String>,
    /// The server's name or IP address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The directory: absolute, or relative to the user's home.
    pub directory: String,
}

const FORMS: &str = "use a directory (./snapshots, /backups), s3://bucket/prefix, az://container/prefix, \
                     gs://bucket/prefix, webdavs://host/folder or sftp://user@host/folder";
const S3_OPTIONS: &[&str] = &["endpoint", "region", "profile", "style", "conditional", "checksum"];
const AZURE_OPTIONS: &[&str] = &["account", "endpoint"];
const GOOGLE_OPTIONS: &[&str] = &["endpoint"];

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |problem: &str, advice: String| {
            Err(Error::Address { address: shown(text), problem: problem.to_owned(), advice })
        };
        if text.is_empty() {
            return wrong("it is empty", FORMS.to_owned());
        }
        let Some((scheme, _)) = text.split_once("://").filter(|(scheme, _)| !scheme.contains([':', '/']))
        else {
            return match foreign(text) {
                Some(advice) => wrong("it is neither a path nor a URL", advice),
                None => Ok(Address::Directory(PathBuf::from(text))),
            };
        };
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => return wrong(&error.to_string(), FORMS.to_owned()),
        };
        if url.password().is_some() {
            let advice = "leave it out, and give it in a variable or a file: see docs/stores.md".to_owned();
            return wrong("it has a password in it, which every user of this machine could read", advice);
        }
        if text.split(['/', '?']).any(|part| part == ".." || part == ".") {
            return wrong("it has a . or .. in it", FORMS.to_owned());
        }
        if url.fragment().is_some() {
            return wrong("it has a # in it", "write %23 for a # in a name".to_owned());
        }
        let made = match scheme.to_ascii_lowercase().as_str() {
            "file" => directory(&url),
            "s3" => bucket(&url, Cloud::S3, S3_OPTIONS),
            "az" | "azure" => bucket(&url, Cloud::Azure, AZURE_OPTIONS),
            "gs" | "gcs" => bucket(&url, Cloud::Google, GOOGLE_OPTIONS),
            "webdavs" | "https+webdav" | "webdav+https" => webdav(&url, "https"),
            "webdav" | "http+webdav" | "webdav+http" => webdav(&url, "http"),
            "sftp" => sftp(&url),
            "http" | "https" => return wrong("it does not say what is spoken there", web(text)),
            _ => return wrong("nothing here speaks that", FORMS.to_owned()),
        };
        made.or_else(|problem| wrong(&problem, FORMS.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Directory(path) => write!(f, "{}", path.display()),
            Address::Bucket(Bucket { cloud, bucket, prefix, .. }) => {
                let scheme = match cloud {
                    Cloud::S3 => "s3",
                    Cloud::Azure => "az",
                    Cloud::Google => "gs",
                };
                write!(f, "{scheme}://{bucket}{}{prefix}", if prefix.is_empty() { "" } else { "/" })
            }
            Address::Webdav { url, .. } => {
                let secure = if url.scheme() == "https" { "s" } else { "" };
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                let folder = url.path().trim_end_matches('/');
                write!(f, "webdav{secure}://{}{port}{folder}", url.host_str().unwrap_or_default())
            }
            Address::Sftp(Sftp { user, host, port, directory }) => {
                let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
                let port = if *port == 22 { String::new() } else { format!(":{port}") };
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let slash = if directory.starts_with('/') { "" } else { "/~/" };
                write!(f, "sftp://{user}{host}{port}{slash}{directory}")
            }
        }
    }
}

/// An address without a password and without options, which may be secrets.
fn shown(text: &str) -> String {
    let text = text.split_once('?').map_or(text, |(address, _)| address);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    match Url::parse(&text) {
        Ok(mut url) if url.password().is_some() => {
            let _ = url.set_password(None);
            url.to_string()
        }
        // What cannot be parsed may have a password all the same.
        Err(_) => match (text.split_once("://"), text.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            _ => text,
        },
        Ok(_) => text,
    }
}

/// How an address that another program would take is written here; `None` where it is a path.
fn foreign(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    if scheme.contains('/') || scheme.is_empty() {
        return None;
    }
    Some(match scheme {
        "s3" => {
            let rest = rest.trim_start_matches("https://").trim_start_matches("http://");
            let (host, bucket) = rest.split_once('/').unwrap_or((rest, "BUCKET"));
            if host.ends_with("amazonaws.com") {
                format!("write s3://{bucket}")
            } else {
                format!("write s3://{bucket}?endpoint=https://{host}")
            }
        }
        "sftp" => match rest.split_once(':') {
            Some((host, path)) if path.starts_with('/') => format!("write sftp://{host}{path}"),
            Some((host, path)) => format!("write sftp://{host}/~/{path}"),
            None => FORMS.to_owned(),
        },
        "azure" => format!("write az://{}", rest.replacen(":/", "/", 1)),
        "gs" => format!("write gs://{}", rest.replacen(":/", "/", 1)),
        _ => format!("write ./{text} if it is a directory; else {FORMS}"),
    })
}

/// What an address of the web may have been meant as.
fn web(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let webdav = if scheme.eq_ignore_ascii_case("http") { "webdav" } else { "webdavs" };
    let server = rest.split('/').next().unwrap_or(rest);
    format!("write {webdav}://{rest} for WebDAV, s3://bucket?endpoint={scheme}://{server} for S3")
}

fn directory(url: &Url) -> Result<Address, String> {
    let path = url.to_file_path().map_err(|()| "it names another machine: write file:///path".to_owned())?;
    Ok(Address::Directory(path))
}

fn bucket(url: &Url, cloud: Cloud, known: &[&str]) -> Result<Address, String> {
    if !url.username().is_empty() || url.port().is_some() {
        return Err("it has a user or a port in it: the server of a bucket is `?endpoint=…`".to_owned());
    }
    let bucket = url.host_str().unwrap_or_default().to_owned();
    if bucket.is_empty() {
        return Err("it names no bucket".to_owned());
    }
    let prefix = folder(url)?.trim_matches('/').to_owned();
    let mut options = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        if !known.contains(&name.as_ref()) {
            return Err(format!("there is no option {name:?}, only {}", known.join(", ")));
        }
        if options.insert(name.clone().into_owned(), value.into_owned()).is_some() {
            return Err(format!("the option {name} is given twice"));
        }
    }
    Ok(Address::Bucket(Bucket { cloud, bucket, prefix, options }))
}

fn webdav(url: &Url, scheme: &str) -> Result<Address, String> {
    no_options(url)?;
    folder(url)?;
    let user = user(url)?;
    // `Url` does not change one scheme to another that is special, so the text is changed.
    let text = url.as_str().split_once("://").map_or("", |(_, rest)| rest);
    let rest = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    let mut http = Url::parse(&format!("{scheme}://{rest}")).map_err(|error| error.to_string())?;
    let path = format!("{}/", http.path().trim_end_matches('/'));
    http.set_path(&path);
    Ok(Address::Webdav { url: http, user })
}

fn sftp(url: &Url) -> Result<Address, String> {
    no_options(url)?;
    let host = match url.host() {
        Some(url::Host::Ipv6(address)) => address.to_string(),
        Some(host) => host.to_string(),
        None => String::new(),
    };
    if host.is_empty() {
        return Err("it names no server".to_owned());
    }
    let path = folder(url)?;
    let directory = match path.strip_prefix("/~/") {
        Some(home) => home.trim_matches('/').to_owned(),
        None => format!("/{}", path.trim_matches('/')),
    };
    if directory.is_empty() || directory == "/" {
        return Err("it names no directory: write /path, or /~/path in the user's home".to_owned());
    }
    Ok(Address::Sftp(Sftp { user: user(url)?, host, port: url.port().unwrap_or(22), directory }))
}

fn no_options(url: &Url) -> Result<(), String> {
    match url.query() {
        Some(_) => Err("it has a ? in it: there are no options here; write %3F for a ? in a name".to_owned()),
        None => Ok(()),
    }
}

fn user(url: &Url) -> Result<Option<String>, String> {
    let user =
        percent_decode_str(url.username()).decode_utf8().map_err(|_| "its user is not UTF-8".to_owned())?;
    if user.chars().any(char::is_control) {
        return Err("its user has a control character".to_owned());
    }
    Ok((!user.is_empty()).then(|| user.into_owned()))
}

/// The path of `url`, decoded.
fn folder(url: &Url) -> Result<String, String> {
    let path =
        percent_decode_str(url.path()).decode_utf8().map_err(|_| "its path is not UTF-8".to_owned())?;
    if path.chars().any(char::is_control) {
        return Err("its path has a control character".to_owned());
    }
    if path.trim_matches('/').contains("//") {
        return Err("its path has two slashes together".to_owned());
    }
    Ok(path.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Address {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn addresses_show_as_they_are_written() {
        for address in [
            "/backups",
            "./snapshots",
            "s3://bucket",
            "s3://bucket/a/b",
            "az://container/a",
            "gs://bucket/a b",
            "webdavs://cloud.example/remote.php/dav/files/me",
            "webdav://10.0.0.1:8080/a",
            "sftp://me@host/srv/backups",
            "sftp://host:2222/~/backups",
            "sftp://[::1]:2222/a",
        ] {
            assert_eq!(parse(address).to_string(), address);
        }
        assert_eq!(parse("file:///a/b%20c"), Address::Directory("/a/b c".into()));
        assert_eq!(parse("https+webdav://me@h/a").to_string(), "webdavs://h/a");
        assert_eq!(parse("sftp://me@host//srv/a/").to_string(), "sftp://me@host/srv/a");
        // A directory may have a colon in its name, where it cannot be taken for something else.
        assert_eq!(parse("./a:b"), Address::Directory("./a:b".into()));
        assert_eq!(parse("/s3:b"), Address::Directory("/s3:b".into()));
    }

    #[test]
    fn options_of_a_bucket_are_known_or_refused() {
        let Address::Bucket(bucket) = parse("s3://b/p/?endpoint=http://localhost:9000&region=eu-1") else {
            panic!()
        };
        assert_eq!(bucket.prefix, "p");
        assert_eq!(bucket.options["endpoint"], "http://localhost:9000");
        for bad in ["s3://b?secret=x", "s3://b?region=a&region=b", "sftp://h/a?x=y", "webdav://h/a?x"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_another_program_would_take_is_refused_with_the_form_it_has_here() {
        for (foreign, ours) in [
            ("s3:https://minio.example:9000/bucket/a", "s3://bucket/a?endpoint=https://minio.example:9000"),
            ("s3:s3.eu-west-1.amazonaws.com/bucket", "s3://bucket"),
            ("sftp:me@host:/srv/a", "sftp://me@host/srv/a"),
            ("sftp:me@host:a", "sftp://me@host/~/a"),
            ("azure:container:/a", "az://container/a"),
            ("gs:bucket:/a", "gs://bucket/a"),
            ("remote:path", "write ./remote:path if it is a directory"),
            ("https://cloud.example/dav", "webdavs://cloud.example/dav"),
            ("ftp://host/a", "webdavs://host/folder"),
        ] {
            let advice = foreign.parse::<Address>().unwrap_err().advice().unwrap();
            assert!(advice.contains(ours), "{foreign}: {advice}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_never_shown() {
        for address in [
            "sftp://me:hunter2@host/a",
            "webdavs://me:hunter2@host/a",
            "s3://key:hunter2@bucket",
            "https://me:hunter2@host/a",
            "sftp://me:hunter2@ho st/a",
            "sftp://me:hun@ter2@host:99999/a",
            "s3://b?secret=hunter2",
        ] {
            let error = address.parse::<Address>().unwrap_err();
            let all = format!("{error} {error:?} {:?}", error.advice());
            assert!(!all.contains("hunter2") && !all.contains("hun@"), "{address}: {all}");
        }
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for bad in [
            "",
            "s3://",
            "s3:///a",
            "sftp://host",
            "sftp:///a",
            "sftp://host/",
            "s3://b/a/../c",
            "s3://b/a//c",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
