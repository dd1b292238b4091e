//! Servers that speak S3: `SeaweedFS`, which heeds conditions; moto, which does too; rclone, which heeds none.

use std::path::Path;
use std::time::{Duration, Instant};

use snapshotter_vault::store::{Absent, Cause, Content, Length, Settings};

use crate::proxy::Proxy;
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
            // Two of its ports are fixed, and would be in the way of another server's.
            ["server", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=20"]
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

/// A request that no store makes, with headers; gives the answer's status, and all of it.
fn ask(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers.iter().chain(&[("Content-Length", body.len().to_string().as_str())]) {
        head.extend([name, ": ", value, "\r\n"]);
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer)
}

/// What stands between two texts.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split(from).nth(1).and_then(|rest| rest.split(to).next()).unwrap_or_else(|| panic!("{from}: {text}"))
}

/// A bucket that keeps every version for a day, whoever asks for its removal.
#[tokio::test]
async fn a_bucket_with_object_lock_keeps_what_was_stored() {
    let Some(program) = program("moto_server") else { return };
    let server = moto(&program);
    let credential = by_key("s3");
    let signed = [("Authorization", credential.as_str())];
    let enabled = [signed[0], ("x-amz-bucket-object-lock-enabled", "true")];
    assert_eq!(ask(server.port, "PUT", "/locked", &enabled, "").0, 200);
    let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                <Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    assert_eq!(ask(server.port, "PUT", "/locked?object-lock", &signed, rule).0, 200);
    let proxy = Proxy::start(server.port);
    let store = open(&format!("s3://locked/p?endpoint=http://127.0.0.1:{}", proxy.port), &settings());
    for length in [100, LARGE] {
        let name = name(&format!("kept/{length}"));
        let data = bytes(length);
        store.put(&name, piped(data.clone(), Length::Unknown, true)).await.unwrap();
        // Amazon takes nothing into such a bucket that has no checksum.
        let heads = proxy.heads();
        let sent: Vec<_> = heads.iter().filter(|head| head.starts_with("PUT ")).collect();
        assert!(!sent.is_empty());
        for head in &sent {
            assert!(head.to_ascii_lowercase().contains("\r\nx-amz-checksum-sha256:"), "{head}");
        }
        assert!(
            sent.iter().any(|head| head.to_ascii_lowercase().contains("content-md5:")) || length == LARGE
        );
        proxy.set(|_| None);
        // moto locks nothing that comes in parts.
        if length == LARGE {
            continue;
        }
        let path = format!("/locked/p/kept/{length}");
        let (_, held) = ask(server.port, "HEAD", &path, &signed, "");
        assert!(held.to_ascii_lowercase().contains("x-amz-object-lock-mode: compliance"), "{held}");
        // It is replaced by nothing, and forgotten only as far as the bucket lets it.
        is(store.put(&name, Content::bytes(&b"other"[..])).await, Cause::Exists);
        store.delete(&name).await.unwrap();
        is(store.head(&name).await, Cause::Missing);
        let (_, versions) = ask(server.port, "GET", "/locked?versions", &signed, "");
        let version =
            versions.split("<Version>").find(|version| version.contains(&format!("kept/{length}<")));
        let version = between(version.expect("a version"), "<VersionId>", "<").to_owned();
        let (status, _) = ask(server.port, "DELETE", &format!("{path}?versionId={version}"), &signed, "");
        assert_eq!(status, 403);
        let (status, _) = ask(server.port, "GET", &format!("{path}?versionId={version}"), &signed, "");
        assert_eq!(status, 200);
    }
}

/// moto wants to be told who it is, and for which service. It takes any signature.
fn by_key(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}

/// A request to moto as one of IAM.
fn iam(port: u16, form: &str) -> String {
    let credential = by_key("iam");
    let headers =
        [("Authorization", credential.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    let (status, body) = ask(port, "POST", "/", &headers, &format!("{form}&Version=2010-05-08"));
    assert_eq!(status, 200, "{body}");
    body
}

/// The policy that docs/stores.md names for who only stores: the server itself holds to it.
#[tokio::test]
async fn a_policy_that_only_lets_put_is_enough_to_store_and_for_nothing_else() {
    let Some(program) = program("moto_server") else { return };
    let server = moto(&program);
    make_bucket(&server, "backups").await;
    iam(server.port, "Action=CreateUser&UserName=writer");
    let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
                  %22Action%22%3A%5B%22s3%3APutObject%22%2C%22s3%3AAbortMultipartUpload%22%5D%2C\
                  %22Resource%22%3A%22arn%3Aaws%3As3%3A%3A%3Abackups%2F%2A%22%7D%5D%7D";
    iam(server.port, &format!("Action=PutUserPolicy&UserName=writer&PolicyName=p&PolicyDocument={policy}"));
    let key = iam(server.port, "Action=CreateAccessKey&UserName=writer");
    let writer = settings()
        .with("AWS_ACCESS_KEY_ID", between(&key, "<AccessKeyId>", "<"))
        .with("AWS_SECRET_ACCESS_KEY", between(&key, "<SecretAccessKey>", "<"));
    let all = open(&address(&server, "backups"), &settings());
    let object = all.put(&name("before"), Content::bytes(bytes(100))).await.unwrap();
    // From now on moto asks who it is.
    let guarded = |count: &str| ask(server.port, "POST", "/moto-api/reset-auth", &[], count).0;
    assert_eq!(guarded("0"), 200);
    let writer = open(&address(&server, "backups"), &writer);
    is(writer.list("").await, Cause::Denied);
    is(writer.get(&object, 0..10).await, Cause::Denied);
    is(writer.delete(&name("before")).await, Cause::Denied);
    for length in [100, LARGE] {
        let name = name(&format!("written/{length}"));
        let put = writer.put(&name, piped(bytes(length), Length::Unknown, true)).await;
        assert_eq!(put.unwrap().size, length as u64);
        // What breaks off leaves nothing: to abort is allowed.
        is(writer.put(&name, piped(bytes(length), Length::Unknown, false)).await, Cause::Content);
    }
    assert_eq!(guarded("inf"), 200);
    for length in [100, LARGE] {
        let found = all.head(&name(&format!("written/{length}"))).await.unwrap();
        assert!(suite::all_of(&*all, &found).await == bytes(length));
    }
    let (_, uploads) = request(server.port, "GET", "/backups?uploads", b"");
    assert!(!uploads.contains("UploadId>"), "{uploads}");
}
