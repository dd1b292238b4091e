//! How an engine is found and spoken to, and what is said when it is not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use assert_cmd::cargo::cargo_bin;
use tempfile::TempDir;

use crate::fake::{self, Answers};
use crate::run::{failure, of, program, script, success};

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// `volumes --json` with one variable.
fn volumes(home: &Path, variable: (&str, &str)) -> Output {
    program(home).args(["volumes", "--json"]).env(variable.0, variable.1).output().unwrap()
}

/// `volumes --json` of an engine with `answers`.
fn of_engine(answers: Answers) -> Output {
    let home = home();
    let socket = home.path().join("engine.sock");
    fake::on_socket(&socket, answers);
    volumes(home.path(), ("DOCKER_HOST", &format!("unix://{}", socket.display())))
}

fn context(home: &Path, meta: &str) {
    // The SHA-256 of `remote`.
    let name = "b71199ebd070b36beab7317920c2c2f1d777df8d05e5527d8458fda57cb17a7a";
    let place = home.join(".docker/contexts/meta").join(name);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("meta.json"), meta).unwrap();
}

#[test]
fn an_engine_is_found_by_flag_variable_context_and_plugin_argument() {
    let home = home();
    let socket = home.path().join("engine.sock");
    fake::on_socket(&socket, fake::empty());
    let address = format!("unix://{}", socket.display());
    context(home.path(), &format!(r#"{{"Endpoints":{{"docker":{{"Host":"{address}"}}}}}}"#));
    let empty = "{\"storages\":[]}\n";
    for arguments in [
        &["volumes", "--json", "--host", &*address][..],
        &["--host", &*address, "snapshot", "volumes", "--json"],
        &["--context", "remote", "snapshot", "volumes", "--json"],
        &["-D", "-l", "debug", "-c=remote", "volumes", "--json"],
    ] {
        let output = program(home.path()).args(arguments).output().unwrap();
        assert_eq!(success(&output), empty, "{arguments:?}");
    }
    assert_eq!(success(&volumes(home.path(), ("DOCKER_HOST", &address))), empty);
    assert_eq!(success(&volumes(home.path(), ("DOCKER_CONTEXT", "remote"))), empty);
    fs::write(home.path().join(".docker/config.json"), r#"{"currentContext":"remote"}"#).unwrap();
    assert_eq!(success(&volumes(home.path(), ("LANG", "C"))), empty);
    // The variable goes before the context.
    let port = fake::on_port("127.0.0.1", fake::empty());
    context(home.path(), r#"{"Endpoints":{"docker":{"Host":"unix:///nowhere.sock"}}}"#);
    assert_eq!(success(&volumes(home.path(), ("DOCKER_HOST", &format!("tcp://127.0.0.1:{port}")))), empty);
}

#[test]
fn no_engine_at_the_address_says_what_to_do() {
    let home = home();
    let stale = home.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    for address in ["unix:///nowhere/docker.sock".to_owned(), format!("unix://{}", stale.display())] {
        let said = failure(&volumes(home.path(), ("DOCKER_HOST", &address)));
        assert!(said.contains(&format!("cannot connect to the engine at {address}: ")), "{said}");
        assert!(said.contains("start the engine") && said.contains("from DOCKER_HOST"), "{said}");
    }
    let said = failure(&volumes(home.path(), ("DOCKER_HOST", "tcp://127.0.0.1:1")));
    assert!(said.contains("see whether the host is up"), "{said}");
    let said = failure(&volumes(home.path(), ("DOCKER_HOST", "npipe:////./pipe/docker_engine")));
    assert!(said.contains("use unix:///path/to/docker.sock"), "{said}");
}

#[test]
fn a_socket_that_may_not_be_used_names_the_group() {
    assert!(rustix::process::geteuid().is_root(), "the tests need root");
    let home = home();
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    let socket = home.path().join("engine.sock");
    fake::on_socket(&socket, fake::empty());
    fs::set_permissions(&socket, Permissions::from_mode(0o660)).unwrap();
    // The directory that cargo builds in may be closed to others.
    let copy = home.path().join("docker-snapshot");
    // A child's copy, since a file that this process has written can be open in another test's child, and
    // busy.
    assert!(Command::new("cp").arg(cargo_bin!("docker-snapshot")).arg(&copy).status().unwrap().success());
    let mut program = of(&copy, home.path());
    program.args(["volumes", "--host", &format!("unix://{}", socket.display())]).uid(65534).gid(65534);
    let said = failure(&program.output().unwrap());
    assert!(said.contains("Permission denied") && said.contains("sudo usermod -aG docker"), "{said}");
}

#[test]
fn a_context_that_is_not_there_or_not_reachable_says_so() {
    let home = home();
    let said = failure(&volumes(home.path(), ("DOCKER_CONTEXT", "remote")));
    assert!(said.contains("cannot use the docker context remote: there is none"), "{said}");
    assert!(said.contains("see `docker context ls`"), "{said}");
    context(home.path(), r#"{"Endpoints":{"docker":{"Host":"tcp://127.0.0.1:1"}}}"#);
    let said = failure(&volumes(home.path(), ("DOCKER_CONTEXT", "remote")));
    assert!(said.contains("tcp://127.0.0.1:1: ") && said.contains("from the context remote"), "{said}");
    fs::write(home.path().join(".docker/config.json"), "{").unwrap();
    let said = failure(&volumes(home.path(), ("LANG", "C")));
    assert!(said.contains("config.json: ") && said.contains("mend the file"), "{said}");
    let both = program(home.path()).args(["volumes", "--host", "a:1", "--context", "b"]).output().unwrap();
    assert!(failure(&both).contains("give one of --host and --context"));
}

#[test]
fn ssh_that_fails_or_is_missing_is_the_reason() {
    let home = home();
    let mut without = program(home.path());
    without.args(["volumes", "--host", "ssh://me@host"]).env("PATH", "/nowhere");
    let said = failure(&without.output().unwrap());
    assert!(said.contains("ssh://me@host: there is no program `ssh`"), "{said}");
    let ssh = "#!/bin/sh\necho \"$*\" >>\"$HOME/asked\"\n\
        echo 'me@host: Permission denied (publickey).' >&2\nexit 255\n";
    script(&home.path().join("ssh"), ssh);
    let mut program = program(home.path());
    program
        .args(["volumes", "--host", "ssh://me@host:99"])
        .env("PATH", format!("{}:/bin", home.path().display()));
    let said = failure(&program.output().unwrap());
    assert!(said.contains("ssh says: me@host: Permission denied (publickey).: see whether `ssh`"), "{said}");
    let asked = fs::read_to_string(home.path().join("asked")).unwrap();
    assert_eq!(asked, "-l me -p 99 -o ConnectTimeout=30 -T -- host docker system dial-stdio\n");
}

#[test]
fn an_engine_that_speaks_no_version_of_ours_is_refused() {
    for version in
        [r#"{"ApiVersion":"1.39","MinAPIVersion":"1.12"}"#, r#"{"ApiVersion":"1.99","MinAPIVersion":"1.90"}"#]
    {
        let said = failure(&of_engine(fake::with_version(version)));
        assert!(said.contains("cannot speak to the engine: it takes API 1."), "{said}");
    }
    let said = failure(&of_engine(fake::with_version("<html>")));
    assert!(said.contains("the engine's answer is not understood"), "{said}");
}

#[test]
fn a_port_with_tls_that_is_spoken_to_without_says_which_variables_to_set() {
    let home = home();
    let text = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let port = fake::on_port("127.0.0.1", Arc::new(|_| text.into()));
    let said = failure(&volumes(home.path(), ("DOCKER_HOST", &format!("tcp://127.0.0.1:{port}"))));
    assert!(said.contains("it speaks TLS: set DOCKER_TLS_VERIFY=1"), "{said}");
}

#[test]
fn an_answer_that_breaks_off_is_a_failure() {
    let cut = |at: &'static str, answer: &'static [u8]| {
        let empty = fake::empty();
        failure(&of_engine(Arc::new(
            move |path| if path.starts_with(at) { answer.into() } else { empty(path) },
        )))
    };
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Volumes\":LEAVE",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"VolLEAVE",
    ] {
        let said = cut("/v1.41/volumes", answer);
        assert!(
            said.contains("cannot list volumes: ") && said.contains("see whether the engine still runs"),
            "{said}"
        );
    }
    let said = cut("/v1.41/volumes", b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"Volumes");
    assert!(said.contains("cannot list volumes: the engine's answer is not understood: "), "{said}");
    let said = cut("/v1.41/containers", b"HTTP/1.1 500 X\r\nContent-Length: 15\r\n\r\n{\"message\":\"x\"}");
    assert!(said.contains("cannot list containers: the engine says: x"), "{said}");
    let said = cut("/v1.41/containers", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nForbidden");
    assert!(said.contains("cannot list containers: the engine says: Forbidden"), "{said}");
}

#[test]
fn an_engine_that_closes_each_connection_is_asked_on_new_ones() {
    let empty = fake::empty();
    let output = of_engine(Arc::new(move |path| [empty(path), b"LEAVE".to_vec()].concat()));
    assert_eq!(success(&output), "{\"storages\":[]}\n");
}

#[test]
fn a_pinned_version_of_the_api_is_spoken() {
    let home = home();
    let socket = home.path().join("engine.sock");
    let answers: Answers = Arc::new(|path| match path {
        "/version" => fake::json(r#"{"ApiVersion":"1.47","MinAPIVersion":"1.24"}"#),
        path if path.starts_with("/v1.42/volumes") => fake::json("{}"),
        path if path.starts_with("/v1.42/containers/json") => fake::json("[]"),
        path => fake::answer("400 Bad Request", &format!(r#"{{"message":"{path}"}}"#)),
    });
    fake::on_socket(&socket, answers);
    let mut program = program(home.path());
    program.args(["volumes", "--json", "--host", &format!("unix://{}", socket.display())]);
    assert!(failure(&program.output().unwrap()).contains("/v1.47/volumes"));
    assert_eq!(success(&program.env("DOCKER_API_VERSION", "1.42").output().unwrap()), "{\"storages\":[]}\n");
}
