//! Real input: the data directory of `PostgreSQL`, from Debian's packages.

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::run::HANGS;
use crate::support::{Engine, Picture, Run, with_engine};

const OPTIONS: [&str; 4] = ["--network", "none", "--stop-signal", "SIGINT"];

/// Makes a container of `PostgreSQL`'s, and starts it only if that is asked for.
fn server(e: &Engine, image: &str, name: &str, volume: &str, run: &[&str]) -> String {
    let name = e.name(name);
    let mut command = e.command(run);
    command.args(e.labels()).args(OPTIONS).args(["--name", &name, "-v", &format!("{volume}:/data"), image]);
    command.args([
        "postgres",
        "-D",
        "/data",
        "-c",
        "listen_addresses=",
        "-c",
        "unix_socket_directories=/tmp",
    ]);
    Run::of(command).ok();
    name
}

fn ready(e: &Engine, server: &str) {
    let start = Instant::now();
    while start.elapsed() < HANGS {
        if e.docker(["exec", server, "pg_isready", "-q", "-h", "/tmp"]).code() == Some(0) {
            return;
        }
        sleep(Duration::from_millis(100));
    }
    panic!("{} did not start:\n{}", server, e.docker(["logs", server]));
}

fn dump(e: &Engine, server: &str) -> String {
    let dump = e.told(["exec", server, "pg_dumpall", "-h", "/tmp", "-U", "postgres"]);
    // Newer ones guard against hostile dumps with a random key.
    dump.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
#[ignore = "needs a Docker Engine: make e2e"]
fn a_postgresql_that_was_destroyed_comes_back_with_all_its_rows() {
    with_engine(|e| {
        let Ok(image) = std::env::var("SNAPSHOTTER_E2E_POSTGRES") else {
            assert!(
                std::env::var_os("CI").is_none(),
                "PostgreSQL is not installed, and in CI nothing is skipped"
            );
            let _ = writeln!(std::io::stderr(), "skipped: PostgreSQL is not installed");
            return;
        };
        let (volume, path) = e.volume("pg", &[]);
        let prepare = e.application("prepare", &["-v", &format!("{volume}:/data")]);
        e.shell(&prepare, "chown 999:999 /data && chmod 700 /data");
        e.told(["rm", "--force", &prepare]);
        let mut initdb = e.command(["run", "--rm"]);
        initdb.args(e.labels()).args(["-v", &format!("{volume}:/data"), &image]);
        initdb.args(["initdb", "-D", "/data", "-U", "postgres", "-A", "trust", "--data-checksums", "-N"]);
        Run::of(initdb).ok();

        let first = server(e, &image, "pg", &volume, &["run", "--detach"]);
        ready(e, &first);
        e.shell(&first, "pgbench -h /tmp -U postgres -i -s 3 -q postgres");
        e.shell(&first, "pgbench -h /tmp -U postgres -t 300 -n postgres");
        let sql = "CREATE TABLE notes (id serial PRIMARY KEY, note text, data bytea); \
                   INSERT INTO notes (note, data) \
                   SELECT 'späte Notiz ' || n, decode(repeat(md5(n::text), 500), 'hex') FROM generate_series(1, 500) n; \
                   CREATE INDEX ON notes (md5(note)); SELECT lo_from_bytea(0, 'a large object');";
        e.told(["exec", &first, "psql", "-h", "/tmp", "-U", "postgres", "-q", "-c", sql]);
        let dumped = dump(e, &first);
        assert!(dumped.contains("späte Notiz 500") && dumped.len() > 8 << 20, "{}", dumped.len());
        e.told(["stop", "--time", "300", &first]);

        e.configure("pg", &["/data"]);
        let options = ["backup", "--strict", "--note", "before the accident"];
        e.snapshotter(&first, &options).ok();
        let picture = Picture::of(&path);
        e.told(["rm", "--force", &first]);
        e.told(["volume", "rm", &volume]);

        let (volume, path) = e.volume("pg-again", &[]);
        let second = server(e, &image, "pg-again", &volume, &["create"]);
        e.snapshotter(&second, &["restore", "--strict"]).ok();
        picture.assert_same(&path);
        let mut check = e.command(["run", "--rm"]);
        check.args(e.labels()).args(["-v", &format!("{volume}:/data"), &image]);
        Run::of({
            check.args(["pg_checksums", "--check", "-D", "/data"]);
            check
        })
        .ok();
        e.told(["start", &second]);
        ready(e, &second);
        let found = dump(e, &second);
        assert!(found == dumped, "the dumps differ");
    });
}
