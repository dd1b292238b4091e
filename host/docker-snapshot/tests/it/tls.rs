//! Engines that listen on a port with TLS, as `dockerd --tlsverify` does.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::fake;
use crate::run::{failure, program, success};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// An engine on this machine that shows a certificate of `authority` and wants one from its clients.
fn engine(authority: &Issuer) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, authority).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let configuration = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let configuration = Arc::new(configuration);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&configuration)).unwrap();
            let stream = StreamOwned::new(connection, stream.unwrap());
            thread::spawn(move || fake::converse(stream, &fake::empty()));
        }
    });
    port
}

/// The three files that docker looks for, in `directory`.
fn certificates(directory: &Path, trusted: &Issuer, own: &Issuer) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().signed_by(&key, own).unwrap();
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("ca.pem"), trusted.pem()).unwrap();
    fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
}

struct Client {
    home: TempDir,
    address: String,
}

impl Client {
    fn run(&self, variables: &[(&str, &str)]) -> std::process::Output {
        let mut program = program(self.home.path());
        program.args(["volumes", "--json", "--host", &self.address]).envs(variables.iter().copied());
        program.output().unwrap()
    }
}

#[test]
fn certificates_open_an_engine_and_wrong_ones_do_not() {
    let (ours, theirs) = (authority(), authority());
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    certificates(&home.path().join("right"), &ours, &ours);
    certificates(&home.path().join("stranger"), &theirs, &ours);
    certificates(&home.path().join("forged"), &ours, &theirs);
    fs::create_dir(home.path().join("none")).unwrap();
    certificates(&home.path().join(".docker"), &ours, &ours);
    let (right, stranger, forged, none) = (path("right"), path("stranger"), path("forged"), path("none"));
    let client = Client { home, address: format!("tcp://127.0.0.1:{}", engine(&ours)) };

    let verify = ("DOCKER_TLS_VERIFY", "1");
    let empty = "{\"storages\":[]}\n";
    assert_eq!(success(&client.run(&[verify, ("DOCKER_CERT_PATH", &right)])), empty);
    assert_eq!(success(&client.run(&[verify])), empty, "docker's directory is the usual place");
    assert_eq!(success(&client.run(&[("DOCKER_TLS", "1"), ("DOCKER_CERT_PATH", &stranger)])), empty);
    let said = failure(&client.run(&[verify, ("DOCKER_CERT_PATH", &stranger)]));
    assert!(said.contains("invalid peer certificate: "), "{said}");
    let said = failure(&client.run(&[verify, ("DOCKER_CERT_PATH", &forged)]));
    assert!(said.contains("cannot connect to the engine at tcp://127.0.0.1:"), "{said}");
    let said = failure(&client.run(&[verify, ("DOCKER_CERT_PATH", &none)]));
    assert!(said.contains("cannot set up TLS: ") && said.contains("none/ca.pem: "), "{said}");
    assert!(said.contains("name it in DOCKER_CERT_PATH"), "{said}");
    fs::write(Path::new(&right).join("key.pem"), "no key").unwrap();
    let said = failure(&client.run(&[verify, ("DOCKER_CERT_PATH", &right)]));
    assert!(said.contains("right/key.pem: "), "{said}");
}

#[test]
fn flags_and_contexts_carry_certificates_too() {
    let ours = authority();
    let home = tempfile::tempdir().unwrap();
    // The SHA-256 of `remote`.
    let name = "b71199ebd070b36beab7317920c2c2f1d777df8d05e5527d8458fda57cb17a7a";
    let contexts = home.path().join(".docker/contexts");
    certificates(&contexts.join("tls").join(name).join("docker"), &ours, &ours);
    let address = format!("tcp://localhost:{}", engine(&ours));
    fs::create_dir_all(contexts.join("meta").join(name)).unwrap();
    let meta = format!(r#"{{"Endpoints":{{"docker":{{"Host":"{address}"}}}}}}"#);
    fs::write(contexts.join("meta").join(name).join("meta.json"), meta).unwrap();
    let empty = "{\"storages\":[]}\n";
    let by_context =
        program(home.path()).args(["--context", "remote", "volumes", "--json"]).output().unwrap();
    assert_eq!(success(&by_context), empty);
    let file =
        |file: &str| contexts.join("tls").join(name).join("docker").join(file).to_str().unwrap().to_owned();
    let (authority, certificate, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
    let mut by_flags = program(home.path());
    by_flags.args(["--tlsverify", "--tlscacert", &authority, "--tlscert", &certificate, "--tlskey", &key]);
    by_flags.args(["-H", &address, "snapshot", "volumes", "--json"]);
    assert_eq!(success(&by_flags.output().unwrap()), empty);
}
