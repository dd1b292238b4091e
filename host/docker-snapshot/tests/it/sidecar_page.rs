//! What the sidecar shows to who looks, and what it finds out when it starts.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::run::script;
use crate::sidecar::Sidecar;

/// A sidecar that serves at a port, and ends with the test.
struct Serving {
    child: Child,
    port: u16,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    fn start(sidecar: &Sidecar) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = sidecar.command(&["serve", "--listen", &format!("127.0.0.1:{port}")]);
        let serving = Serving { child: command.stderr(Stdio::null()).spawn().unwrap(), port };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(20));
        }
        serving
    }

    /// The head and the body of an answer.
    fn ask(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn get(&self, path: &str) -> (String, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }
}

#[test]
fn the_page_and_the_metrics_show_what_is_and_no_secret() {
    let mut sidecar = Sidecar::new();
    sidecar.set("BACKUP_SCHEDULE", "0 0 1 1 *");
    let serving = Serving::start(&sidecar);
    let (head, page) = serving.get("/");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("default-src 'none'"), "{head}");
    assert!(page.contains("no backup yet") && page.contains("-01-01 00:00:00 UTC"), "{page}");
    assert!(serving.get("/metrics").1.contains("backup_healthy{job_name=\"shop\"} 1\n"));
    sidecar.good(&["run"]);
    sidecar.good(&["run"]);
    let (_, page) = serving.get("/");
    assert!(page.contains("<span class=good>good</span>") && page.matches("<rect").count() == 2, "{page}");
    let (_, metrics) = serving.get("/metrics");
    let bytes = metrics.lines().find(|line| line.starts_with("backup_last_success_bytes{")).unwrap();
    assert!(bytes.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 100.0, "{bytes}");
    assert!(serving.get("/health").0.starts_with("HTTP/1.1 200"));

    fs::rename(sidecar.path("data"), sidecar.path("away")).unwrap();
    sidecar.bad(&["run"]);
    let (head, _) = serving.get("/health");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    let (_, page) = serving.get("/");
    assert!(page.contains("Backups: 1 not good") && page.contains("mount it into this container"), "{page}");
    assert!(serving.get("/metrics").1.contains("backup_healthy{job_name=\"shop\"} 0\n"));
    assert!(!page.contains("correct horse") && !page.contains("<script"), "{page}");
}

#[test]
fn nothing_but_get_is_answered_and_a_silent_client_is_in_nobodys_way() {
    let sidecar = Sidecar::new();
    let serving = Serving::start(&sidecar);
    assert!(serving.ask("POST / HTTP/1.1\r\n\r\n").0.starts_with("HTTP/1.1 405"));
    assert!(serving.get("/etc/passwd").0.starts_with("HTTP/1.1 404"));
    let (head, body) = serving.ask("HEAD / HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && body.is_empty());
    let silent = TcpStream::connect(("127.0.0.1", serving.port)).unwrap();
    let since = Instant::now();
    assert!(serving.get("/").0.starts_with("HTTP/1.1 200"));
    assert!(since.elapsed() < Duration::from_secs(10));
    drop(silent);
}

#[test]
fn a_client_program_that_is_older_than_its_server_or_missing_is_found_out_at_the_start() {
    let mut sidecar = Sidecar::new();
    sidecar.set("BACKUP_SCHEDULE", "@daily");
    sidecar.set("BACKUP_POSTGRES", "postgresql://postgres:hunter2@127.0.0.1:1/app");
    let tools = sidecar.path("tools");
    fs::create_dir(&tools).unwrap();
    let serve = |sidecar: &Sidecar| {
        let output = sidecar.command(&["serve"]).env("PATH", &tools).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = serve(&sidecar);
    assert!(said.contains("cannot find pg_dump"), "{said}");
    script(&tools.join("pg_dump"), "#!/bin/sh\necho 'pg_dump (PostgreSQL) 13.2'\n");
    script(&tools.join("psql"), "#!/bin/sh\necho 15.4\n");
    let said = serve(&sidecar);
    assert!(said.contains("pg_dump 13.2") && said.contains("PostgreSQL 15.4"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
