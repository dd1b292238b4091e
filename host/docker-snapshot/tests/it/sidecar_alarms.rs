//! Who is told how a run of the sidecar went, and that it runs when its schedule says so.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::run::script;
use crate::sidecar::Sidecar;

/// Takes requests, answers them one after the other with these statuses, the last for ever; what came, as
/// path and body.
fn server(statuses: &'static [u16]) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, came) = channel();
    thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut length, mut path) = (String::new(), 0, String::new());
            while stream.read_line(&mut line).unwrap() > 2 {
                if path.is_empty() {
                    line.split(' ').nth(1).unwrap().clone_into(&mut path);
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let status = statuses.get(at).or(statuses.last()).unwrap();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            if sender.send((path, String::from_utf8(body).unwrap())).is_err() {
                return;
            }
        }
    });
    (address, came)
}

fn with_webhooks(address: &str) -> Sidecar {
    let mut sidecar = Sidecar::new();
    for what in ["start", "success", "failure"] {
        let variable = format!("BACKUP_{}_WEBHOOK", what.to_uppercase());
        sidecar.set(&variable, &format!("{address}/secret-uuid/{what}"));
    }
    sidecar
}

fn path(came: &Receiver<(String, String)>) -> String {
    came.recv_timeout(Duration::from_secs(20)).unwrap().0
}

#[test]
fn webhooks_are_called_at_the_start_and_at_a_good_end() {
    let (address, came) = server(&[200]);
    let sidecar = with_webhooks(&address);
    sidecar.good(&["run"]);
    assert_eq!(path(&came), "/secret-uuid/start");
    let (path, body) = came.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(path, "/secret-uuid/success");
    assert!(body.contains("shop: the backup was made") && body.contains(".tar.gz.gpg"), "{body}");
    assert!(came.try_recv().is_err());
}

#[test]
fn a_failure_is_told_with_its_reason_and_the_success_webhook_is_not_called() {
    let (address, came) = server(&[200]);
    let sidecar = with_webhooks(&address);
    fs::remove_dir_all(sidecar.path("data")).unwrap();
    sidecar.bad(&["run"]);
    assert_eq!(path(&came), "/secret-uuid/start");
    let (path, body) = came.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(path, "/secret-uuid/failure");
    assert!(body.contains("data"), "{body}");
    assert!(came.try_recv().is_err());
}

#[test]
fn a_webhook_that_fails_is_called_again_and_is_no_failure_of_the_backup() {
    let (address, came) = server(&[200, 503, 503, 200]);
    let sidecar = with_webhooks(&address);
    sidecar.good(&["run"]);
    assert_eq!(came.try_iter().count(), 4);

    let (address, came) = server(&[404]);
    let sidecar = with_webhooks(&address);
    let output = sidecar.run(&["run"]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot call the success webhook") && said.contains("404"), "{said}");
    assert!(!said.contains("secret-uuid"), "{said}");
    assert_eq!(came.try_iter().count(), 2, "who answers that there is nothing is not asked again");
}

#[test]
fn a_command_is_told_and_sees_no_setting() {
    let mut sidecar = Sidecar::new();
    let (tool, told) = (sidecar.path("tell"), sidecar.path("told"));
    script(&tool, "#!/bin/sh\n{ echo \"$1 $BACKUP_STATUS $BACKUP_NAME\"; cat; env; } >\"$1\"\n");
    sidecar.set("BACKUP_ALARM_COMMAND", &format!("{} {}", tool.display(), told.display()));
    sidecar.good(&["run"]);
    let text = fs::read_to_string(&told).unwrap();
    assert!(text.contains("success shop") && text.contains("the backup was made"), "{text}");
    assert!(!text.contains("correct horse"), "{text}");
}

#[test]
fn mail_is_sent_of_failures() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mails = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let say = |stream: &mut BufReader<_>, text: &str| {
            let stream: &mut std::net::TcpStream = stream.get_mut();
            stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        };
        say(&mut stream, "220 mail");
        let (mut all, mut line, mut data) = (String::new(), String::new(), false);
        while stream.read_line(&mut line).unwrap() > 0 {
            all.push_str(&line);
            match line.split_whitespace().next() {
                Some(".") if data => {
                    data = false;
                    say(&mut stream, "250 ok");
                }
                _ if data => {}
                Some("DATA") => {
                    data = true;
                    say(&mut stream, "354 go on");
                }
                Some("QUIT") => {
                    say(&mut stream, "221 bye");
                    break;
                }
                _ => say(&mut stream, "250 ok"),
            }
            line.clear();
        }
        all
    });
    let mut sidecar = Sidecar::new();
    sidecar.set("BACKUP_MAIL_TO", "admin@example.org");
    sidecar.set("BACKUP_MAIL_SERVER", &format!("smtp+plain://127.0.0.1:{port}"));
    sidecar.good(&["run"]);
    fs::remove_dir_all(sidecar.path("data")).unwrap();
    sidecar.bad(&["run"]);
    let mail = mails.join().unwrap();
    assert!(mail.contains("RCPT TO:<admin@example.org>"), "{mail}");
    assert!(mail.contains("Subject: shop: the backup failed") && mail.contains("data"), "{mail}");
}

#[test]
fn what_was_missed_is_made_up_once_and_a_signal_ends_it() {
    let mut sidecar = Sidecar::new();
    // Comes once a year, and was missed more than once.
    sidecar.set("BACKUP_SCHEDULE", "0 0 1 1 *");
    let state = sidecar.path("state/sidecar/shop");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("state.json"), r#"{"settled": "2020-06-01T00:00:00Z", "told_overdue": true}"#)
        .unwrap();
    let mut child = sidecar.command(&["serve"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let end = Instant::now() + Duration::from_mins(1);
    let next = lines.find(|line| {
        assert!(Instant::now() < end);
        line.as_ref().unwrap().contains("shop runs next at")
    });
    assert!(next.unwrap().unwrap().contains("-01-01 00:00:00 UTC"));
    assert_eq!(sidecar.backups("backups").len(), 1);
    assert_ne!(sidecar.record()["settled"], "2020-06-01T00:00:00Z");
    thread::sleep(Duration::from_millis(300));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(sidecar.backups("backups").len(), 1);
}

#[test]
fn one_that_is_overdue_is_told_once() {
    let (address, came) = server(&[200]);
    let mut sidecar = Sidecar::new();
    sidecar.set("BACKUP_FAILURE_WEBHOOK", &format!("{address}/failure"));
    sidecar.set("BACKUP_SCHEDULE", "0 0 1 1 *");
    let state = sidecar.path("state/sidecar/shop");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("state.json"), r#"{"settled": "2020-06-01T00:00:00Z"}"#).unwrap();
    let mut child = sidecar.command(&["serve"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let (path, body) = came.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(path, "/failure");
    assert!(body.contains("a backup is overdue"), "{body}");
    let end = Instant::now() + Duration::from_mins(1);
    while sidecar.record()["last_success"].is_null() {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_millis(300));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap();
    assert!(came.try_recv().is_err());
}
