//! Servers that speak SFTP: OpenSSH's, whose kernel refuses to replace, and rclone's, which has no extensions.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use snapshotter_vault::store::{self, Absent, Cause, Content, Error, Length, Limits, Settings, Store};

use crate::directory::Mount;
use crate::servers::{Server, open, program};
use crate::suite::{self, all_of, bytes, is, name, piped};

const LARGE: usize = (9 << 20) + 12_345;

/// Makes a pair of keys.
fn make_key(path: &Path, kind: &str, passphrase: &str) {
    let path = path.to_str().unwrap();
    let made = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", passphrase, "-f", path]).status();
    assert!(made.unwrap().success());
}

/// OpenSSH's server, which lets the user who runs the test in by a key.
pub(crate) fn sshd(program: &Path) -> Server {
    // What Debian's service makes before it starts the server.
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").unwrap();
    }
    Server::start(program, |port, scratch| {
        for (file, kind) in [("host", "ed25519"), ("host_rsa", "rsa"), ("me", "ed25519"), ("me_rsa", "rsa")] {
            make_key(&scratch.join(file), kind, "");
        }
        make_key(&scratch.join("locked"), "ed25519", "open sesame");
        make_key(&scratch.join("stranger"), "ed25519", "");
        let mine = ["me.pub", "me_rsa.pub", "locked.pub"];
        let keys: String = mine.map(|file| fs::read_to_string(scratch.join(file)).unwrap()).concat();
        fs::write(scratch.join("authorized"), keys).unwrap();
        let at = scratch.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nHostKey {at}/host_rsa\nPidFile none\n\
             AuthorizedKeysFile {at}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n\
             Subsystem sftp internal-sftp\n"
        );
        fs::write(scratch.join("config"), config).unwrap();
        trust(scratch, port, "host.pub");
        vec!["-D".to_owned(), "-e".to_owned(), "-f".to_owned(), format!("{at}/config")]
    })
}

/// Lets the server at `port` have this key alone.
fn trust(scratch: &Path, port: u16, key: &str) {
    let key = fs::read_to_string(scratch.join(key)).unwrap();
    fs::write(scratch.join("known"), format!("[127.0.0.1]:{port} {key}")).unwrap();
}

fn user() -> String {
    let user = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(user.stdout).unwrap().trim().to_owned()
}

fn address(server: &Server, port: u16) -> String {
    format!("sftp://{}@127.0.0.1:{port}{}/data/made/as needed", user(), server.scratch.path().display())
}

fn settings(server: &Server, key: &str) -> Settings {
    let at = |file: &str| server.scratch.path().join(file).display().to_string();
    Settings::table([("SFTP_KEY_FILE", at(key)), ("SFTP_KNOWN_HOSTS_FILE", at("known"))])
}

/// Files below the store that have no name of their own.
fn drafts(server: &Server) -> String {
    let found = Command::new("find").arg(server.scratch.path()).args(["-name", ".snap*"]).output().unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
}

#[tokio::test]
async fn a_server_of_openssh_is_a_store() {
    let Some(program) = program("sshd") else { return };
    let server = sshd(&program);
    let store = open(&address(&server, server.port), &settings(&server, "me"));
    suite::run(store.clone(), (20 << 20) + 12_345).await;
    assert_eq!(drafts(&server), "", "nothing temporary stays");
    let promises = store.promises();
    assert!(promises.absent == Absent::Refused && promises.durable && promises.private, "{promises:?}");
    let root = server.scratch.path().join("data/made");
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("as needed/put"), mode("as needed/put/1.tar.zst")), (0o700, 0o600));

    // By other keys, and from other places.
    trust(server.scratch.path(), server.port, "host_rsa.pub");
    let locked = settings(&server, "locked").with("SFTP_KEY_PASSPHRASE", "open sesame");
    let text = fs::read_to_string(server.scratch.path().join("me")).unwrap();
    let known = server.scratch.path().join("known").display().to_string();
    let given = Settings::table([("SFTP_KEY", text), ("SFTP_KNOWN_HOSTS_FILE", known)]);
    for (text, settings) in [("rsa", settings(&server, "me_rsa")), ("locked", locked), ("given", given)] {
        let store = open(&address(&server, server.port), &settings);
        let put = store.put(&name(text), Content::bytes(bytes(100_000))).await;
        assert!(all_of(&*store, &put.unwrap()).await == bytes(100_000), "{text}");
    }
}

#[tokio::test]
async fn a_server_of_rclone_is_a_store() {
    let Some(program) = program("rclone") else { return };
    let server = Server::start(&program, |port, scratch| {
        make_key(&scratch.join("host"), "ed25519", "");
        trust(scratch, port, "host.pub");
        let at = |file: &str| scratch.join(file).display().to_string();
        let (data, key, to) = (at("data"), at("host"), format!("127.0.0.1:{port}"));
        let arguments =
            ["serve", "sftp", &data, "--user", "me", "--pass", "hunter2", "--key", &key, "--addr", &to];
        arguments.map(str::to_owned).to_vec()
    });
    let address = format!("sftp://127.0.0.1:{}/made/as needed", server.port);
    let known = server.scratch.path().join("known").display().to_string();
    let settings = |password: &str| {
        let fixed = [("SFTP_USERNAME", "me"), ("SFTP_KNOWN_HOSTS_FILE", &known)];
        Settings::table(fixed).with("SFTP_PASSWORD", password)
    };
    let store = open(&address, &settings("hunter2"));
    suite::run(store.clone(), LARGE).await;
    assert_eq!(drafts(&server), "", "nothing temporary stays");
    assert!(!store.promises().durable, "it knows no sync");

    let wrong = open(&address, &settings("other-secret"));
    let error = wrong.put(&name("a"), Content::bytes(&b"x"[..])).await.unwrap_err();
    assert_eq!(error.cause(), Some(Cause::Denied), "{error}");
    assert!(!format!("{error:?} {wrong:?}").contains("other-secret"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: keys are exchanged anew after 1 GiB"]
async fn more_than_one_exchange_of_keys_allows_is_stored() {
    let Some(program) = program("sshd") else { return };
    let server = sshd(&program);
    let store = open(&address(&server, server.port), &settings(&server, "me"));
    let length = (1100_u64 << 20) + 7;
    let file = tempfile::tempfile_in(server.scratch.path()).unwrap();
    file.set_len(length).unwrap();
    let put = store.put(&name("large"), Content::file(Arc::new(file)).unwrap()).await.unwrap();
    assert_eq!(put.size, length);
    let mut at = 0;
    while at < length {
        let end = length.min(at + (8 << 20));
        assert!(store.get(&put, at..end).await.unwrap().iter().all(|byte| *byte == 0));
        at = end;
    }
}

fn whole(error: &Error) -> String {
    format!("{error}: {}", std::error::Error::source(error).map(ToString::to_string).unwrap_or_default())
}

#[tokio::test]
async fn a_server_that_is_not_the_known_one_gets_nothing() {
    let Some(program) = program("sshd") else { return };
    let server = sshd(&program);
    let at = server.scratch.path();
    let host = fs::read_to_string(at.join("host.pub")).unwrap();
    let host: Vec<&str> = host.split(' ').take(2).collect();
    for (known, told) in [
        (None, format!("add the line `[127.0.0.1]:{} {}`", server.port, host.join(" "))),
        (Some("stranger.pub"), "somebody may be in between".to_owned()),
    ] {
        match known {
            None => fs::remove_file(at.join("known")).unwrap(),
            Some(key) => trust(at, server.port, key),
        }
        let store = open(&address(&server, server.port), &settings(&server, "me"));
        let error = store.put(&name("a"), Content::bytes(&b"x"[..])).await.unwrap_err();
        assert!(error.cause() == Some(Cause::Denied) && whole(&error).contains(&told), "{}", whole(&error));
    }
    assert!(!at.join("data/made").exists());
    trust(at, server.port, "host.pub");
    let store = open(&address(&server, server.port), &settings(&server, "stranger"));
    is(store.list("").await, Cause::Denied);
    for (key, problem) in
        [("locked", "has a passphrase"), ("config", "no private key"), ("none", "No such file")]
    {
        let address = address(&server, server.port).parse().unwrap();
        let error =
            store::open(&address, &settings(&server, key), Limits::default()).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains("SFTP_KEY_FILE"), "{key}: {error}");
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_an_empty_one_and_links_are_not_read() {
    let Some(program) = program("sshd") else { return };
    let server = sshd(&program);
    let store = open(&address(&server, server.port), &settings(&server, "me"));
    is(store.list("").await, Cause::Missing);
    store.put(&name("a"), Content::bytes(&b"x"[..])).await.unwrap();
    let root = server.scratch.path().join("data/made/as needed");
    fs::write(server.scratch.path().join("outside"), "secret").unwrap();
    std::os::unix::fs::symlink(server.scratch.path().join("outside"), root.join("link")).unwrap();
    fs::write(root.join("new\nline"), "").unwrap();
    is(store.head(&name("link")).await, Cause::Other);
    is(store.put(&name("link"), Content::bytes(&b"y"[..])).await, Cause::Exists);
    let listing = store.list("").await.unwrap();
    assert_eq!((listing.objects.len(), listing.foreign), (1, 1));
    // Replaced while it is read.
    let object = store.head(&name("a")).await.unwrap();
    fs::write(root.join("a"), "xy").unwrap();
    is(store.get(&object, 0..1).await, Cause::Changed);
    // What a killed run left, and what may be a live one's.
    let long_ago = SystemTime::now() - Duration::from_hours(72);
    for (file, time) in [("0", long_ago), ("1", SystemTime::now())] {
        let file = File::create(root.join(format!(".snapshotter-{file}123456789abcdef.part"))).unwrap();
        file.set_modified(time).unwrap();
    }
    let leftovers = store.leftovers().await.unwrap();
    assert_eq!(leftovers.len(), 1);
    store.clear(&leftovers[0]).await.unwrap();
    assert_eq!(drafts(&server).lines().count(), 1);
    let mut other = leftovers[0].clone();
    other.id = "../.snapshotter-1123456789abcdef.part".to_owned();
    assert!(store.clear(&other).await.is_err());
}

#[tokio::test]
async fn a_full_disk_of_a_server_is_said_to_be_full_and_keeps_nothing() {
    let Some(program) = program("sshd") else { return };
    if !rustix::process::geteuid().is_root() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "the test of a full disk needs root");
        return println!("skipped: the test of a full disk needs root");
    }
    let server = sshd(&program);
    let small = Mount::small(&server.scratch.path().join("data"));
    let store = open(&address(&server, server.port), &settings(&server, "me"));
    is(store.put(&name("large"), piped(bytes(8 << 20), Length::Unknown, true)).await, Cause::Full);
    assert_eq!(drafts(&server), "");
    store.put(&name("small"), Content::bytes(bytes(1000))).await.unwrap();
    drop(store);
    drop(server);
    drop(small);
}

/// A line to a server that breaks or falls silent when so many bytes went either way.
struct Line {
    port: u16,
    /// After how many bytes from the client, or from the server; for how many connections.
    plan: Arc<Mutex<Plan>>,
    connections: Arc<AtomicU64>,
}

#[derive(Clone, Copy)]
struct Plan {
    up: u64,
    down: u64,
    times: u64,
    hangs: bool,
}

const WHOLE: Plan = Plan { up: u64::MAX, down: u64::MAX, times: 0, hangs: false };

impl Line {
    fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::new(Mutex::new(WHOLE));
        let connections = Arc::new(AtomicU64::new(0));
        let (plans, count) = (plan.clone(), connections.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let plan = {
                    let mut plan = plans.lock().unwrap();
                    let now = if plan.times > 0 { *plan } else { WHOLE };
                    plan.times = plan.times.saturating_sub(1);
                    now
                };
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(client, server, plan.up, plan.hangs));
                std::thread::spawn(move || pass(to, from, plan.down, plan.hangs));
            }
        });
        Line { port, plan, connections }
    }

    fn plan(&self, plan: Plan) {
        *self.plan.lock().unwrap() = plan;
        self.connections.store(0, Ordering::Relaxed);
    }
}

/// Passes on what comes, until the end or `most` bytes.
fn pass(mut from: TcpStream, mut to: TcpStream, most: u64, hangs: bool) {
    let mut rest = most;
    let mut buffer = [0; 1 << 14];
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        let part = usize::try_from(rest).unwrap_or(usize::MAX).min(got);
        if to.write_all(&buffer[..part]).is_err() {
            break;
        }
        rest -= part as u64;
        if rest == 0 {
            if hangs {
                std::thread::sleep(Duration::from_mins(1));
            }
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn through(server: &Server, line: &Line, retry: u64) -> Arc<dyn Store> {
    trust(server.scratch.path(), line.port, "host.pub");
    let limits = Limits {
        connect: Duration::from_secs(5),
        idle: Duration::from_secs(3),
        retry: Duration::from_secs(retry),
        bandwidth: None,
    };
    let address = address(server, line.port).parse().unwrap();
    store::open(&address, &settings(server, "me"), limits).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_where_it_was_when_connections_break() {
    let Some(program) = program("sshd") else { return };
    let server = sshd(&program);
    let line = Line::to(server.port);
    // In the greeting, the keys, the login, the first packets, the file, and all that comes after it.
    let ups = [10, 1500, 3000, 3500, 4500, 1 << 20, 5 << 20, LARGE as u64 + 3000];
    let plans = ups.map(|up| Plan { up, times: 2, ..WHOLE });
    let downs = [20, 1200, 3000, 3600, 4200, 8000].map(|down| Plan { down, times: 2, ..WHOLE });
    let hang = Plan { up: 3 << 20, times: 1, hangs: true, ..WHOLE };
    let mut broken = 0;
    for (index, plan) in plans.into_iter().chain(downs).chain([hang]).enumerate() {
        let store = through(&server, &line, 20);
        line.plan(plan);
        let name = name(&format!("{index}/name"));
        // A pipe is there once: what was not confirmed is sent again.
        let put = store.put(&name, piped(bytes(LARGE), Length::Unknown, true)).await;
        let put = put.unwrap_or_else(|error| panic!("{index}: {}", whole(&error)));
        broken += line.connections.load(Ordering::Relaxed) - 1;
        assert!(all_of(&*store, &put).await == bytes(LARGE), "{index}");
        assert_eq!(drafts(&server), "", "{index}");
    }
    assert!(broken >= 20, "{broken} connections broke");
    // Every few bytes of what follows the file: sync, close, link, removal, and the answers to them.
    for after in (0..2400).step_by(200) {
        let store = through(&server, &line, 20);
        line.plan(Plan { up: 3800 + after, times: 1, ..WHOLE });
        let name = name(&format!("small/{after}"));
        let put = store.put(&name, Content::bytes(bytes(100))).await;
        let put = put.unwrap_or_else(|error| panic!("{after}: {}", whole(&error)));
        assert!(all_of(&*store, &put).await == bytes(100), "{after}");
        line.plan(Plan { down: 3800 + after, times: 1, ..WHOLE });
        let fresh = through(&server, &line, 20);
        assert!(all_of(&*fresh, &put).await == bytes(100), "{after}");
        fresh.delete(&name.clone()).await.unwrap();
    }
    assert_eq!(drafts(&server), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_on_failing_has_nothing_and_the_run_ends() {
    let Some(program) = program("sshd") else { return };
    let server = sshd(&program);
    let line = Line::to(server.port);
    for (up, hangs) in [(10, false), (2000, true), (3 << 20, false), (3 << 20, true)] {
        let store = through(&server, &line, 2);
        line.plan(Plan { up, hangs, times: u64::MAX, ..WHOLE });
        let since = Instant::now();
        let put = store.put(&name("name"), piped(bytes(LARGE), Length::Unknown, true)).await;
        let took = since.elapsed();
        line.plan(WHOLE);
        let fresh = through(&server, &line, 2);
        match put {
            // Each connection got a little further.
            Ok(put) => {
                assert!(up > 1 << 20 && all_of(&*fresh, &put).await == bytes(LARGE));
                fresh.delete(&put.name).await.unwrap();
            }
            Err(error) => {
                assert!(error.cause() == Some(Cause::Other), "{}", whole(&error));
                assert!(took < Duration::from_secs(30), "{took:?}");
                is(fresh.head(&name("name")).await, Cause::Missing);
            }
        }
    }
    // Nobody is there at all.
    let gone = free();
    let store = open(&address(&server, gone), &settings(&server, "me"));
    let since = Instant::now();
    is(store.list("").await, Cause::Other);
    assert!(since.elapsed() < Duration::from_secs(30));
}

fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_no_ssh_is_said_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            // Endless, as long as somebody listens.
            std::thread::spawn(move || while client.write_all(&vec![b'x'; 65_536]).is_ok() {});
        }
    });
    let settings = Settings::table([("SFTP_PASSWORD", "hunter2"), ("SFTP_KNOWN_HOSTS_FILE", "/dev/null")]);
    let limits = Limits { idle: Duration::from_secs(2), retry: Duration::from_secs(1), ..Limits::default() };
    let address = format!("sftp://me@127.0.0.1:{port}/a").parse().unwrap();
    let store = store::open(&address, &settings, limits).unwrap();
    let since = Instant::now();
    is(store.list("").await, Cause::Other);
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
}

/// Not a test: what the test below kills.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_is_killed() {
    let Ok(address) = std::env::var("SNAPSHOTTER_TEST_SFTP_CHILD") else { return };
    let store = store::open(&address.parse().unwrap(), &Settings::environment(), Limits::default()).unwrap();
    store.put(&name("killed/name"), piped(bytes(LARGE), Length::Unknown, true)).await.unwrap();
}

fn child_to_kill(server: &Server) -> Child {
    let at = |file: &str| server.scratch.path().join(file);
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sftp::child_that_is_killed"])
        .env("SNAPSHOTTER_TEST_SFTP_CHILD", address(server, server.port))
        .env("SFTP_KEY_FILE", at("me"))
        .env("SFTP_KNOWN_HOSTS_FILE", at("known"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_kill_at_any_moment_leaves_all_or_nothing_on_a_server() {
    let Some(program) = program("sshd") else { return };
    let server = sshd(&program);
    let store = open(&address(&server, server.port), &settings(&server, "me"));
    let (mut complete, mut cut) = (0, 0);
    let mut milliseconds = 20;
    while complete == 0 || cut == 0 {
        let mut child = child_to_kill(&server);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        let _ = child.kill();
        child.wait().unwrap();
        match store.head(&name("killed/name")).await {
            Ok(object) => {
                assert!(all_of(&*store, &object).await == bytes(LARGE), "killed after {milliseconds} ms");
                store.delete(&object.name).await.unwrap();
                complete += 1;
            }
            error => is(error, Cause::Missing),
        }
        cut += usize::from(!drafts(&server).is_empty());
        assert!(milliseconds < 60_000);
        milliseconds = milliseconds * 3 / 2;
    }
    // The next run succeeds, and what was left is found when it is old.
    store.put(&name("killed/name"), Content::bytes(&b"x"[..])).await.unwrap();
    assert_eq!(store.leftovers().await.unwrap(), []);
    let long_ago = SystemTime::now() - Duration::from_hours(72);
    for draft in drafts(&server).lines() {
        File::options().write(true).open(draft).unwrap().set_modified(long_ago).unwrap();
    }
    let leftovers = store.leftovers().await.unwrap();
    assert_eq!(leftovers.len(), drafts(&server).lines().count());
    for leftover in leftovers {
        store.clear(&leftover).await.unwrap();
    }
    assert_eq!(drafts(&server), "");
}
