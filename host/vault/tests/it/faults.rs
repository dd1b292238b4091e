//! What stores do when servers and connections fail, and when the program is killed.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use snapshotter_vault::store::{self, Cause, Content, Length, Limits, Reader, Settings, Store, put_all};

use crate::proxy::{Fault, Proxy};
use crate::servers::{Server, program, request};
use crate::suite::{self, all_of, bytes, is, name, piped};
use crate::{s3, webdav};

/// Three parts.
const LARGE: usize = (17 << 20) + 1;
const SLOW_DOWN: &str =
    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// Patience for failures that end, and little of it for those that do not.
fn limits(retry: u64) -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        idle: Duration::from_secs(3),
        retry: Duration::from_secs(retry),
        bandwidth: None,
    }
}

fn open(address: &str, settings: &Settings, retry: u64) -> Arc<dyn Store> {
    store::open(&address.parse().unwrap(), settings, limits(retry)).unwrap()
}

async fn bucket() -> Option<(Server, Proxy)> {
    let server = s3::moto(&program("moto_server")?);
    s3::make_bucket(&server, "backups").await;
    let proxy = Proxy::start(server.port);
    Some((server, proxy))
}

fn behind(proxy: &Proxy, retry: u64) -> Arc<dyn Store> {
    open(&format!("s3://backups/p?endpoint=http://127.0.0.1:{}", proxy.port), &s3::settings(), retry)
}

/// Whether an upload lies unfinished in the bucket.
fn unfinished(server: &Server) -> bool {
    request(server.port, "GET", "/backups?uploads", b"").1.contains("<UploadId>")
}

#[tokio::test]
async fn a_bucket_that_fails_once_has_what_it_was_given() {
    let Some((server, proxy)) = bucket().await else { return };
    let store = behind(&proxy, 20);
    let requests = [("PUT", "/small", 1000), ("POST", "?uploads", LARGE), ("PUT", "partNumber=2", LARGE)];
    let requests = requests.into_iter().chain([("POST", "uploadId=", LARGE), ("HEAD", "/p/", 1000)]);
    for (index, (method, part, length)) in requests.enumerate() {
        let faults = [
            Fault::Answer(500, "<Error><Code>InternalError</Code></Error>"),
            Fault::Answer(503, SLOW_DOWN),
            Fault::CutRequest,
            Fault::LoseAnswer,
        ];
        for (kind, fault) in faults.into_iter().enumerate() {
            let name = name(&format!("{index}{kind}/small"));
            let data = bytes(length);
            proxy.fail(method, part, fault.clone(), 1);
            let put = store.put(&name, piped(data.clone(), Length::About(LARGE as u64), true)).await;
            let put = put
                .unwrap_or_else(|error| panic!("{method} {part} {fault:?}: {error:?} {:#?}", proxy.seen()));
            assert!(proxy.seen().len() > 2);
            assert!(all_of(&*store, &put).await == data, "{method} {part} {fault:?}");
            // A begun upload whose number is lost is left, and is found as a leftover when it is old.
            let lost = matches!(fault, Fault::LoseAnswer) && part == "?uploads";
            assert_eq!(unfinished(&server), lost, "{method} {part} {fault:?}");
            if lost {
                return_uploads(&server);
            }
        }
    }
    let object = store.put(&name("read"), Content::bytes(bytes(300_000))).await.unwrap();
    let faults = [Fault::Answer(500, ""), Fault::Answer(503, SLOW_DOWN), Fault::LoseAnswer, Fault::CutAnswer];
    for fault in faults {
        proxy.fail("GET", "/read", fault.clone(), 1);
        assert!(store.get(&object, 5..200_000).await.unwrap() == bytes(300_000)[5..200_000], "{fault:?}");
    }
}

/// Aborts all uploads.
fn return_uploads(server: &Server) {
    let (_, text) = request(server.port, "GET", "/backups?uploads", b"");
    for upload in text.split("<Upload>").skip(1) {
        let between =
            |from: &str, to: &str| upload.split(from).nth(1).unwrap().split(to).next().unwrap().to_owned();
        let path = format!(
            "/backups/{}?uploadId={}",
            between("<Key>", "</Key>"),
            between("<UploadId>", "</UploadId>")
        );
        request(server.port, "DELETE", &path, b"");
    }
}

#[tokio::test]
async fn a_bucket_that_goes_on_failing_has_nothing_and_the_run_ends() {
    let Some((server, proxy)) = bucket().await else { return };
    let store = behind(&proxy, 2);
    for (method, part, fault, cause) in [
        ("PUT", "/name", Fault::Answer(500, ""), Cause::Other),
        ("PUT", "partNumber=2", Fault::Answer(503, SLOW_DOWN), Cause::Other),
        ("PUT", "partNumber=3", Fault::CutRequest, Cause::Other),
        ("PUT", "partNumber=2", Fault::Hang, Cause::Other),
        ("PUT", "partNumber=2", Fault::Answer(507, ""), Cause::Full),
        (
            "PUT",
            "partNumber=2",
            Fault::Answer(403, "<Error><Code>AccessDenied</Code></Error>"),
            Cause::Denied,
        ),
        // It says that it has the part, and has not.
        ("PUT", "partNumber=2", Fault::Answer(200, ""), Cause::Other),
        ("POST", "uploadId=", Fault::Answer(500, ""), Cause::Other),
    ] {
        let length = if part == "/name" && method == "PUT" { 1000 } else { LARGE };
        proxy.fail(method, part, fault.clone(), usize::MAX);
        let since = Instant::now();
        is(store.put(&name("name"), piped(bytes(length), Length::About(LARGE as u64), true)).await, cause);
        assert!(since.elapsed() < Duration::from_secs(40), "{fault:?}: {:?}", since.elapsed());
        proxy.set(|_| None);
        is(store.head(&name("name")).await, Cause::Missing);
        assert!(!unfinished(&server), "{method} {part} {fault:?}");
    }
    // It lies about the length of what it has: nobody must take that for a backup.
    proxy.fail("HEAD", "/name", Fault::Lie, usize::MAX);
    let error = store.put(&name("name"), Content::bytes(bytes(1000))).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Size { sent: 1000, stored: 999 }));
    proxy.set(|_| None);
    is(store.head(&name("name")).await, Cause::Missing);
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_aborted() {
    let Some((server, proxy)) = bucket().await else { return };
    let store = behind(&proxy, 20);
    proxy.fail("PUT", "partNumber=2", Fault::Hang, usize::MAX);
    let name = name("name");
    let put = store.put(&name, piped(bytes(LARGE), Length::About(LARGE as u64), true));
    assert!(tokio::time::timeout(Duration::from_secs(2), put).await.is_err());
    let since = Instant::now();
    while unfinished(&server) {
        assert!(since.elapsed() < Duration::from_secs(20), "{:#?}", proxy.seen());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn webdav_that_fails_has_all_or_nothing() {
    let Some(program) = program("rclone") else { return };
    let server = webdav::rclone(&program);
    let proxy = Proxy::start(server.port);
    let settings = Settings::table([("WEBDAV_PASSWORD", "hunter2")]);
    let store = open(&format!("webdav://me@127.0.0.1:{}/a", proxy.port), &settings, 20);
    let data = bytes(3 << 20);
    for (index, method) in ["PROPFIND", "MKCOL", "PUT", "MOVE"].into_iter().enumerate() {
        let faults = [Fault::Answer(500, ""), Fault::CutRequest, Fault::LoseAnswer, Fault::Answer(503, "")];
        for (kind, fault) in faults.into_iter().enumerate() {
            let name = name(&format!("{index}{kind}/name"));
            proxy.fail(method, "", fault.clone(), 1);
            let put = store.put(&name, Content::bytes(data.clone())).await;
            let put = put.unwrap_or_else(|error| panic!("{method} {fault:?}: {error:?}"));
            assert!(all_of(&*store, &put).await == data, "{method} {fault:?}");
        }
    }
    // A pipe is there once: a PUT that breaks ends it.
    proxy.fail("PUT", "", Fault::Answer(500, ""), 1);
    is(store.put(&name("pipe"), piped(data, Length::About(LARGE as u64), true)).await, Cause::Other);
    proxy.set(|_| None);
    is(store.head(&name("pipe")).await, Cause::Missing);
    let drafts = Command::new("find").arg(server.scratch.path()).args(["-name", ".snap*"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&drafts.stdout), "", "nothing temporary stays");
}

#[tokio::test]
async fn one_of_several_stores_fails_and_the_others_have_it() {
    let Some((_server, proxy)) = bucket().await else { return };
    let scratch = tempfile::tempdir().unwrap();
    let local = open(scratch.path().to_str().unwrap(), &Settings::default(), 2);
    let stores = [behind(&proxy, 2), local.clone()];
    let data = bytes(LARGE);
    for (text, content) in [
        ("pipe", piped(data.clone(), Length::About(LARGE as u64), true)),
        ("memory", Content::bytes(data.clone())),
    ] {
        proxy.fail("PUT", "partNumber=1", Fault::Answer(500, ""), usize::MAX);
        let results = put_all(&stores, &name(text), content).await;
        assert!(results[0].is_err());
        assert!(all_of(&*local, results[1].as_ref().unwrap()).await == data);
        proxy.set(|_| None);
        is(stores[0].head(&name(text)).await, Cause::Missing);
    }
    // What breaks off is in none of them.
    let results =
        put_all(&stores, &name("broken"), piped(data.clone(), Length::About(LARGE as u64), false)).await;
    for (store, result) in stores.iter().zip(results) {
        is(result, Cause::Content);
        is(store.head(&name("broken")).await, Cause::Missing);
    }
    for result in put_all(&stores, &name("both"), piped(data, Length::About(LARGE as u64), true)).await {
        result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_read_at_offsets_with_few_requests() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(scratch.path().to_str().unwrap(), &Settings::default(), 2);
    let data = bytes(LARGE);
    let object = store.put(&name("a"), Content::bytes(data.clone())).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let path = scratch.path().join("a");
    let work = move || {
        let reader = Reader::new(store, object, runtime);
        let mut all = Vec::new();
        let mut buffer = vec![0; 10_000];
        loop {
            match reader.read_at(&mut buffer, all.len() as u64).unwrap() {
                0 => break,
                got => all.extend_from_slice(&buffer[..got]),
            }
        }
        assert!(all == data);
        let (requests, fetched) = reader.cost();
        assert!(requests <= 12 && fetched == LARGE as u64, "{requests} {fetched}");
        // The end, then a jump: one request each, of no more than is wanted.
        assert_eq!(reader.read_at(&mut buffer, LARGE as u64 - 1).unwrap(), 1);
        assert_eq!(reader.read_at(&mut buffer, LARGE as u64).unwrap(), 0);
        assert_eq!(reader.read_at(&mut buffer, u64::MAX).unwrap(), 0);
        let (before, fetched) = reader.cost();
        reader.read_at(&mut buffer, 1000).unwrap();
        let (after, more) = reader.cost();
        assert!(after - before <= 1 && more - fetched <= 256 << 10);
        // It is replaced meanwhile: an error, and no byte of the other one.
        fs::write(&path, vec![0; LARGE]).unwrap();
        let error = reader.read_at(&mut buffer, 300_000).unwrap_err();
        assert!(error.to_string().contains("replaced"), "{error}");
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

/// Not a test: what the test below kills. It stores something at the address in the environment.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_is_killed() {
    let Ok(address) = std::env::var("SNAPSHOTTER_TEST_CHILD") else { return };
    let store = open(&address, &s3::settings(), 20);
    let content = piped(bytes(LARGE), Length::About(LARGE as u64), true);
    store.put(&name("killed/name"), content).await.unwrap();
}

/// Starts this very program again, to put into the store at `address`.
fn child_to_kill(address: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::child_that_is_killed"])
        .env("SNAPSHOTTER_TEST_CHILD", address)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_kill_at_each_request_leaves_all_or_nothing_under_the_name() {
    let Some((server, proxy)) = bucket().await else { return };
    let store = behind(&proxy, 20);
    let address = format!("s3://backups/p?endpoint=http://127.0.0.1:{}", proxy.port);
    let mut ended = false;
    for at in 1..30 {
        let mut child = child_to_kill(&address);
        let process = child.id().to_string();
        let mut seen = 0;
        proxy.set(move |_| {
            seen += 1;
            if seen == at {
                Command::new("kill").args(["-9", &process]).status().unwrap();
            }
            None
        });
        ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap().success();
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.set(|_| None);
        match store.head(&name("killed/name")).await {
            Ok(object) => {
                assert!(all_of(&*store, &object).await == bytes(LARGE), "killed at request {at}");
                store.delete(&object.name).await.unwrap();
            }
            error => is(error, Cause::Missing),
        }
        return_uploads(&server);
        // The next run succeeds.
        let next = name(&format!("next/{at}"));
        store.put(&next, Content::bytes(&b"x"[..])).await.unwrap();
        if ended {
            break;
        }
    }
    assert!(ended, "it was killed at every request that it makes");
}

#[tokio::test]
async fn a_kill_at_any_moment_leaves_all_or_nothing_in_a_directory() {
    for milliseconds in [0, 5, 10, 20, 40, 80, 160, 320] {
        let scratch = tempfile::tempdir().unwrap();
        let address = scratch.path().to_str().unwrap().to_owned();
        let mut child = child_to_kill(&address);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        let _ = child.kill();
        child.wait().unwrap();
        let store = open(&address, &Settings::default(), 2);
        match store.head(&name("killed/name")).await {
            Ok(object) => {
                assert!(all_of(&*store, &object).await == bytes(LARGE), "killed after {milliseconds} ms");
            }
            error => is(error, Cause::Missing),
        }
    }
}

#[tokio::test]
async fn bandwidth_is_kept_to() {
    let Some((_server, proxy)) = bucket().await else { return };
    let address = format!("s3://backups/p?endpoint=http://127.0.0.1:{}", proxy.port);
    // Slower than the time in which nothing may move: what is held back is not silence.
    let limits = Limits { bandwidth: std::num::NonZeroU64::new(200_000), ..limits(20) };
    let store = store::open(&address.parse().unwrap(), &s3::settings(), limits).unwrap();
    let since = Instant::now();
    let put = store.put(&name("slow"), Content::bytes(bytes(1_000_000))).await.unwrap();
    assert!(since.elapsed() > Duration::from_secs(4), "{:?}", since.elapsed());
    assert!(suite::all_of(&*store, &put).await == bytes(1_000_000));
}
