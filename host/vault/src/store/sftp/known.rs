//! Which keys a server may have: what `ssh` keeps in `known_hosts`
//! (<https://man.openbsd.org/sshd#SSH_KNOWN_HOSTS_FILE_FORMAT>). A server that is not in it is refused, since
//! whoever sits in between would get the password and the backups.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{fs, io};

use ring::hmac;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::super::settings::Settings;

/// No such file is longer.
const LONGEST: u64 = 8 << 20;

/// The keys of one server.
#[derive(Debug, Default)]
pub(super) struct Known {
    keys: Vec<Key>,
    /// How the server is called in these files.
    host: String,
    /// Where a key is to be put.
    file: PathBuf,
}

#[derive(Debug)]
struct Key {
    public: PublicKey,
    revoked: bool,
    place: String,
}

impl Known {
    /// What is known of the server, from the files that the settings name, or else from those of `ssh`.
    pub(super) fn of(host: &str, port: u16, settings: &Settings) -> io::Result<Self> {
        let own = || settings.path("HOME").map(|home| home.join(".ssh/known_hosts"));
        let usual = || own().into_iter().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]).collect();
        let files = settings.path("SFTP_KNOWN_HOSTS_FILE").map_or_else(usual, |file| vec![file]);
        let mut known = Known { host: called(host, port), ..Known::default() };
        for file in &files {
            known.add(file)?;
        }
        known.file = files.into_iter().next().unwrap_or_default();
        Ok(known)
    }

    fn add(&mut self, file: &Path) -> io::Result<()> {
        let text = match read(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            text => {
                text.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?
            }
        };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            // What is not understood is passed over, as `ssh` does: it can only make a server unknown.
            let Ok(entry) = line.parse::<Entry>() else { continue };
            // Certificates of servers are not understood here.
            if entry.marker() == Some(&Marker::CertAuthority) || !matches(entry.host_patterns(), &self.host) {
                continue;
            }
            self.keys.push(Key {
                public: entry.public_key().clone(),
                revoked: entry.marker() == Some(&Marker::Revoked),
                place: format!("line {} of {}", number + 1, file.display()),
            });
        }
        Ok(())
    }

    /// `all` algorithms, those of known keys first: a server that has several keys is to show one of these.
    pub(super) fn preferred(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let is_known = |algorithm: &Algorithm| {
            let mut good = self.keys.iter().filter(|key| !key.revoked);
            good.any(|key| kind(&key.public.algorithm()) == kind(algorithm))
        };
        let (known, other): (Vec<_>, Vec<_>) = all.iter().cloned().partition(is_known);
        known.into_iter().chain(other).collect()
    }

    /// Whether the server may have `key`; if not, why, and what to do.
    pub(super) fn check(&self, key: &PublicKey) -> Result<(), String> {
        let (kind, print) = (key.algorithm(), key.fingerprint(HashAlg::Sha256));
        let shown = format!("{kind} {print}");
        let mut same = self.keys.iter().filter(|known| known.public.key_data() == key.key_data());
        if let Some(revoked) = same.clone().find(|known| known.revoked) {
            return Err(format!("the server's key {shown} is revoked by {}", revoked.place));
        }
        if same.next().is_some() {
            return Ok(());
        }
        if let Some(other) = self.keys.iter().find(|known| !known.revoked) {
            return Err(format!(
                "the server's key {shown} is not the one in {}: somebody may be in between; if the server has \
                 a new key, put it there",
                other.place
            ));
        }
        let mut bare = key.clone();
        bare.set_comment("");
        let line = bare.to_openssh().unwrap_or_default();
        Err(format!(
            "the server's key {shown} is not known: if it is the right one, add the line `{} {}` to {}",
            self.host,
            line.trim_end(),
            self.file.display()
        ))
    }
}

/// The name of an algorithm's kind of key: RSA keys are the same whatever is hashed.
fn kind(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa".to_owned(),
        algorithm => algorithm.to_string(),
    }
}

/// How a server is called in these files.
fn called(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

fn read(file: &Path) -> io::Result<String> {
    let length = fs::metadata(file)?.len();
    if length > LONGEST {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("it has {length} bytes")));
    }
    Ok(String::from_utf8_lossy(&fs::read(file)?).into_owned())
}

fn matches(patterns: &HostPatterns, host: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, host.as_bytes(), hash).is_ok()
        }
        HostPatterns::Patterns(patterns) => {
            let fits = |pattern: &str| is_like(host.as_bytes(), pattern.to_ascii_lowercase().as_bytes());
            // One that is negated and fits outweighs all others.
            patterns.iter().all(|pattern| !pattern.strip_prefix('!').is_some_and(fits))
                && patterns.iter().any(|pattern| !pattern.starts_with('!') && fits(pattern))
        }
    }
}

/// Whether `text` is like `pattern`, in which `*` is anything and `?` one character.
fn is_like(text: &[u8], pattern: &[u8]) -> bool {
    // Where the last `*` was, and how much of the text it stands for.
    let (mut at, mut place, mut star) = (0, 0, None);
    while at < text.len() {
        match pattern.get(place) {
            Some(b'*') => {
                star = Some((place, at));
                place += 1;
            }
            Some(c) if *c == b'?' || *c == text[at] => (at, place) = (at + 1, place + 1),
            _ => match &mut star {
                Some((from, taken)) => {
                    *taken += 1;
                    (at, place) = (*taken, *from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[place..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPkYtAYiG9lxDnhzVNzDDfCVVQcWwwhOmMzjoUYLmWP";

    fn known(text: &str, host: &str, port: u16) -> Known {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        fs::write(&file, text).unwrap();
        let settings = Settings::table([("SFTP_KNOWN_HOSTS_FILE", file.to_str().unwrap())]);
        Known::of(host, port, &settings).unwrap()
    }

    fn key(text: &str) -> PublicKey {
        text.parse().unwrap()
    }

    #[test]
    fn a_server_is_known_by_name_port_pattern_and_hash() {
        for (names, host, port, is) in [
            ("host", "host", 22, true),
            ("host", "HOST", 22, true),
            ("host", "host", 2222, false),
            ("[host]:2222", "host", 2222, true),
            ("a,host,b", "host", 22, true),
            ("*.example", "a.example", 22, true),
            ("*.example,!a.example", "a.example", 22, false),
            ("h?st", "host", 22, true),
            ("[::1]:2222", "::1", 2222, true),
            // As `ssh-keygen -H` writes it.
            ("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=", "192.168.1.61", 22, true),
            ("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=", "192.168.1.62", 22, false),
        ] {
            let known = known(&format!("# comment\nnonsense\n{names} {ONE} me@there\n"), host, port);
            assert_eq!(known.check(&key(ONE)).is_ok(), is, "{names} {host} {port}");
        }
    }

    #[test]
    fn another_key_an_unknown_server_and_a_revoked_key_are_refused_and_said_to_be() {
        let other = known(&format!("host {TWO}\n"), "host", 22).check(&key(ONE)).unwrap_err();
        assert!(other.contains("line 1 of") && other.contains("SHA256:"), "{other}");
        let unknown = known("", "host", 22).check(&key(&format!("{ONE} a comment"))).unwrap_err();
        assert!(unknown.contains(&format!("`host {ONE}`")), "{unknown}");
        let text = format!("host {ONE}\n@revoked * {ONE}\n");
        assert!(known(&text, "host", 22).check(&key(ONE)).unwrap_err().contains("revoked"));
        // An authority for certificates is no key of a server.
        assert!(known(&format!("@cert-authority * {ONE}\n"), "host", 22).check(&key(ONE)).is_err());
    }

    #[test]
    fn patterns_fit_what_they_should() {
        for (text, pattern, is) in
            [("", "", true), ("", "*", true), ("a", "", false), ("abcb", "*b", true), ("abc", "a*d", false)]
        {
            assert_eq!(is_like(text.as_bytes(), pattern.as_bytes()), is, "{text} {pattern}");
        }
        // Many stars take no longer than their number times the length.
        assert!(!is_like(&vec![b'a'; 20_000], "*a".repeat(1000).replace("*a", "*a*b").as_bytes()));
    }
}
