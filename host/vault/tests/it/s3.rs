//! Servers that speak S3: `SeaweedFS`, which heeds conditions; moto, which does too; rclone, which heeds none.

use std::path::Path;
use std::time::{Duration, Instant};

use snapshotter_vault::store::{Absent, Cause, Content, Length, Settings};

use crate::servers::{Server, open, program, request};
use crate::suite::{self, bytes, is, name, piped};

/// More than one part, and not a multiple of one.
const LARGE: usize = (20 << 20) + 12_345;

pub(crate) fn settings() -> Settings {
    Settings::table([
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
    ])
}

pub(crate) fn moto(program: &Path) -> Server {
    Server::start(program, |port, _| vec!["-H".into(), "127.0.0.1".into(), "-p".into(), port.to_string()])
}

fn weed(program: &Path) -> Server {
    Server::start(program, |port, scratch| {
        let config = scratch.join("s3.json");
        let identity = r#"{"identities": [
            {"name": "all", "credentials": [{"accessKey": "key", "secretKey": "secret"}], "actions": ["Admin"]},
            {"name": "writer", "credentials": [{"accessKey": "write", "secretKey": "secret"}], "actions": ["Write"]}
        ]}"#;
        std::fs::write(&config, identity).unwrap();
        let mut arguments: Vec<String> =
            ["server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=20"]
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect();
        arguments.push(format!("-dir={}/data", scratch.display()));
        arguments.push(format!("-s3.config={}", config.display()));
        arguments.push(format!("-s3.port={port}"));
        for part in ["master", "volume", "filer"] {
            arguments.push(format!("-{part}.port={}", crate::servers::free_port()));
        }
        arguments
    })
}

fn rclone(program: &Path) -> Server {
    Server::start(program, |port, scratch| {
        let data = scratch.join("data").display().to_string();
        ["serve", "s3", &data, "--auth-key", "key,secret", "--addr", &format!("127.0.0.1:{port}")]
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect()
    })
}

/// Makes the bucket `bucket` by a signed request, when the server is ready for it.
pub(crate) async fn make_bucket(server: &Server, bucket: &str) {
    // A bucket is made as an object without a name is put; only tests need that.
    let since = Instant::now();
    loop {
        let status = suite::signed(server.port, "PUT", &format!("/{bucket}")).await;
        if status == 200 {
            return;
        }
        assert!(since.elapsed() < Duration::from_mins(1), "no bucket: {status}: {}", server.log());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn address(server: &Server, bucket: &str) -> String {
    format!("s3://{bucket}/some/prefix?endpoint=http://127.0.0.1:{}", server.port)
}

#[tokio::test]
async fn moto_is_a_store() {
    let Some(program) = program("moto_server") else { return };
    let server = moto(&program);
    make_bucket(&server, "backups").await;
    let store = open(&address(&server, "backups"), &settings());
    assert_eq!(store.promises().absent, Absent::Asked);
    suite::run(store, LARGE).await;
    // An upload that is refused is aborted: no parts lie there.
    let (_, uploads) = request(server.port, "GET", "/backups?uploads", b"");
    assert!(uploads.contains("ListMultipartUploadsResult") && !uploads.contains("UploadId>"), "{uploads}");
}

#[tokio::test(flavor = "multi_thread")]
async fn seaweedfs_is_a_store() {
    let Some(program) = program("weed") else { return };
    let server = weed(&program);
    make_bucket(&server, "backups").await;
    suite::run(open(&address(&server, "backups"), &settings()), LARGE).await;
    wrong_credentials_are_refused_in_words(&server).await;
    a_credential_that_can_only_write_is_enough(&server).await;
}

async fn wrong_credentials_are_refused_in_words(server: &Server) {
    let wrong = open(&address(server, "backups"), &settings().with("AWS_SECRET_ACCESS_KEY", "hunter2"));
    let error = wrong.put(&name("a"), Content::bytes(&b"x"[..])).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Denied), "{error}");
    assert!(error.advice().is_some());
    assert!(!format!("{error:?} {wrong:?}").contains("hunter2"));
    let error = open(&address(server, "none"), &settings()).list("").await.unwrap_err();
    assert!([Some(Cause::Missing), Some(Cause::Denied)].contains(&error.cause()), "{error:?}");
}

async fn a_credential_that_can_only_write_is_enough(server: &Server) {
    let writer = open(&address(server, "backups"), &settings().with("AWS_ACCESS_KEY_ID", "write"));
    is(writer.list("").await, Cause::Denied);
    for length in [100, LARGE] {
        let name = name(&format!("written/{length}"));
        let data = bytes(length);
        let put = writer.put(&name, piped(data.clone(), Length::Unknown, true)).await.unwrap();
        assert_eq!(put.size, length as u64);
        let store = open(&address(server, "backups"), &settings());
        assert!(suite::all_of(&*store, &store.head(&name).await.unwrap()).await == data);
        // Whether it was this upload that took the name cannot be looked at; what is there stays.
        let cause =
            writer.put(&name, piped(bytes(length + 1), Length::Unknown, true)).await.unwrap_err().cause();
        assert!(
            cause == Some(Cause::Exists) || (length == LARGE && cause == Some(Cause::Unclear)),
            "{cause:?}"
        );
        assert_eq!(store.head(&name).await.unwrap().size, length as u64);
    }
}

#[tokio::test]
async fn a_server_that_heeds_no_condition_is_a_store_all_the_same() {
    let Some(program) = program("rclone").filter(|program| has_s3(program)) else { return };
    let server = rclone(&program);
    std::fs::create_dir(server.scratch.path().join("data/backups")).unwrap();
    let store = open(&format!("{}&conditional=no", address(&server, "backups")), &settings());
    assert_eq!(store.promises().absent, Absent::Looked);
    suite::run(store, LARGE).await;
}

/// Debian's rclone is too old for it.
fn has_s3(program: &Path) -> bool {
    let help = std::process::Command::new(program).args(["serve", "s3", "--help"]).output().unwrap();
    let has = help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--auth-key");
    if !has {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "rclone cannot serve s3: make test-servers");
        println!("skipped: rclone cannot serve s3 (make test-servers)");
    }
    has
}
