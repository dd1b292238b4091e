//! Dumps and restores of Redis.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use snapshotter_dump::place::Local;
use snapshotter_dump::redis::{self, Directory};
use snapshotter_dump::{Database, Error, Kind, check, dump};
use tempfile::TempDir;

use crate::failing::{Disk, lengths, whole};
use crate::server::{PASSWORD, Server, as_nobody, directory, encoded, installed, output, start};

fn server(directory: TempDir, options: &[&str]) -> Server {
    let mut command = as_nobody("/usr/bin/redis-server");
    command.args(["--port", "0", "--unixsocket"]).arg(directory.path().join("socket"));
    command.arg("--dir").arg(directory.path()).args(["--requirepass", PASSWORD, "--save", ""]).args(options);
    start(directory, command, "socket", |socket| {
        let ping = client(socket).arg("PING").output();
        ping.is_ok_and(|ping| ping.stdout == b"PONG\n")
    })
}

fn client(socket: &Path) -> Command {
    let mut command = Command::new("redis-cli");
    command.arg("-s").arg(socket).env("REDISCLI_AUTH", PASSWORD);
    command
}

fn address(server: &Server, password: &str) -> Database {
    let socket = encoded(server.socket.to_str().unwrap());
    Database::parse(&format!("redis://:{}@{socket}", encoded(password))).unwrap()
}

fn ask(server: &Server, words: &[&str]) -> String {
    output(client(&server.socket).args(words))
}

async fn dumped(server: &Server) -> Vec<u8> {
    let mut bytes = Vec::new();
    let none = Path::new("/none");
    let dumped = dump(&address(server, PASSWORD), &Local::default(), none, &mut bytes).await.unwrap();
    assert_eq!(dumped.bytes, bytes.len() as u64);
    bytes
}

#[tokio::test]
async fn what_was_written_before_a_dump_is_in_it_and_comes_back() {
    if !installed(&["/usr/bin/redis-server"]) {
        return;
    }
    let first = server(directory(), &[]);
    let count = "for i = 1, 20000 do redis.call('SET', 'before:' .. i, 'value' .. i) end";
    ask(&first, &["EVAL", count, "0"]);
    let mut writer =
        client(&first.socket).args(["-r", "1000000", "INCR", "n"]).stdout(Stdio::null()).spawn().unwrap();
    while ask(&first, &["GET", "n"]).trim().parse::<u64>().unwrap_or(0) < 100 {}
    let before: u64 = ask(&first, &["GET", "n"]).trim().parse().unwrap();
    let bytes = dumped(&first).await;
    writer.kill().unwrap();
    writer.wait().unwrap();

    for append_only in [false, true] {
        let directory = directory();
        let owner = fs::metadata(directory.path()).unwrap().uid();
        let there = Directory { append_only: Some(append_only), ..Directory::new(directory.path()) };
        fs::write(directory.path().join("dump.rdb"), b"old").unwrap();
        chown(directory.path().join("dump.rdb"), Some(owner), Some(owner)).unwrap();
        let restored = redis::restore(&there, &whole(&bytes), true).await.unwrap();
        assert_eq!(fs::read(restored.previous.unwrap()).unwrap(), b"old");
        assert_eq!(fs::metadata(directory.path().join("dump.rdb")).unwrap().uid(), owner);
        assert_eq!(directory.path().join("appendonlydir").exists(), append_only);
        let options = ["--appendonly", if append_only { "yes" } else { "no" }, "--repl-diskless-sync", "no"];
        let second = server(directory, &options);
        let sum = "local n = 0; for i = 1, 20000 do if redis.call('GET', 'before:' .. i) == 'value' .. i then n = n + 1 end end return n";
        assert_eq!(ask(&second, &["EVAL", sum, "0"]), "20000\n", "append only: {append_only}");
        assert!(ask(&second, &["GET", "n"]).trim().parse::<u64>().unwrap() >= before);
        // It sends a file whose length it knows, without a mark behind it.
        check(Kind::Redis, &Local::default(), Path::new("/none"), &whole(&dumped(&second).await))
            .await
            .unwrap();
        ask(&second, &["SET", "after", "x"]);
        assert_eq!(ask(&second, &["GET", "after"]), "x\n");
    }
}

#[tokio::test]
async fn a_dump_that_is_cut_or_changed_is_found_out_and_not_restored() {
    if !installed(&["/usr/bin/redis-server"]) {
        return;
    }
    let server = server(directory(), &[]);
    ask(&server, &["EVAL", "for i = 1, 300 do redis.call('SET', i, 'value' .. i) end", "0"]);
    let bytes = dumped(&server).await;
    let (place, none) = (Local::default(), Path::new("/none"));
    check(Kind::Redis, &place, none, &whole(&bytes)).await.unwrap();
    for length in 0..bytes.len() {
        let checked = check(Kind::Redis, &place, none, &whole(&bytes[..length])).await;
        assert!(matches!(checked, Err(Error::Damaged { .. })), "{length}: {checked:?}");
    }
    for at in lengths(bytes.len(), 50, 9) {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        assert!(check(Kind::Redis, &place, none, &whole(&changed)).await.is_err(), "{at}");
    }
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("dump.rdb"), b"old").unwrap();
    let there = Directory::new(directory.path());
    redis::restore(&there, &whole(&bytes[..bytes.len() - 1]), false).await.unwrap_err();
    assert_eq!(fs::read(directory.path().join("dump.rdb")).unwrap(), b"old");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    redis::restore(&there, &whole(&bytes), false).await.unwrap();
    assert_eq!(fs::read(directory.path().join("dump.rdb")).unwrap(), bytes);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn an_append_only_file_of_before_version_7_is_replaced_too() {
    let directory = TempDir::new().unwrap();
    let rdb = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/small.rdb")).unwrap();
    fs::write(directory.path().join("appendonly.aof"), b"old").unwrap();
    redis::restore(&Directory::new(directory.path()), &whole(&rdb), false).await.unwrap();
    for name in ["dump.rdb", "appendonly.aof"] {
        assert_eq!(fs::read(directory.path().join(name)).unwrap(), rdb, "{name}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_wrong_password_and_a_full_disk_fail_the_dump() {
    if !installed(&["/usr/bin/redis-server"]) {
        return;
    }
    let server = server(directory(), &[]);
    ask(&server, &["SET", "x", &"0123456789".repeat(1000)]);
    let (place, none) = (Local::default(), Path::new("/none"));
    let wrong = dump(&address(&server, "no-such-password"), &place, none, &mut Vec::new()).await.unwrap_err();
    assert!(wrong.to_string().contains("NOAUTH"), "{wrong}");
    let mut disk = Disk { room: 100, secret: PASSWORD, seen: false };
    let full = dump(&address(&server, PASSWORD), &place, none, &mut disk).await;
    assert!(matches!(full, Err(Error::Write(_))) && !disk.seen, "{full:?}");
    let gone = Database::parse("redis://%2Fnone%2Fsocket").unwrap();
    let gone = dump(&gone, &place, none, &mut Vec::new()).await.unwrap_err();
    assert!(gone.to_string().contains("Could not connect"), "{gone}");
}
