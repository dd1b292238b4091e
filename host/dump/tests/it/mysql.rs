//! Dumps and restores of MariaDB.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use snapshotter_dump::place::Local;
use snapshotter_dump::{Database, Error, Kind, Restore, check, dump, mysql, restore};
use tempfile::TempDir;

use crate::failing::{Cut, Disk, lengths, whole};
use crate::server::{
    PASSWORD, Server, as_nobody, directory, encoded, imposter, installed, output, shared, start,
};

struct MariaDb {
    server: Arc<Server>,
    name: &'static str,
}

const ROWS: &str = "SELECT id, x, HEX(b) FROM v ORDER BY id";
const TABLE: &str = "SELECT id, x, HEX(b) FROM t ORDER BY id";
const PARTS: &str = "SELECT 'table', table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE()
    UNION SELECT 'trigger', trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = DATABASE()
    UNION SELECT 'routine', routine_name, routine_type FROM information_schema.routines WHERE routine_schema = DATABASE()
    UNION SELECT 'event', event_name, status FROM information_schema.events WHERE event_schema = DATABASE()
    UNION SELECT 'key', constraint_name, referenced_table_name FROM information_schema.referential_constraints
        WHERE constraint_schema = DATABASE()
    UNION SELECT 'characters', default_character_set_name, default_collation_name FROM information_schema.schemata
        WHERE schema_name = DATABASE() ORDER BY 1, 2, 3";
const FILL: &str = "
    CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, x TEXT, b BLOB);
    CREATE TABLE `odd ``name` (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id));
    INSERT INTO t (x, b) VALUES ('a\\n-- Dump completed on 2026-01-01 00:00:00\\n', x'00ff0a0d1a'), ('é𝄞', NULL);
    INSERT INTO `odd ``name` VALUES (1, 2);
    CREATE VIEW v AS SELECT t.* FROM t;
    CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.x = CONCAT(NEW.x, '!');
    CREATE FUNCTION f() RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM t);
    CREATE PROCEDURE p() SELECT f();
    CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t WHERE id < 0;";

impl MariaDb {
    fn with(name: &'static str, script: &str) -> Option<Self> {
        static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        if !installed(&["/usr/sbin/mariadbd", "/usr/bin/mariadb-dump"]) {
            return None;
        }
        let this = MariaDb { server: shared(&SERVER, server), name };
        this.sql(
            "mysql",
            &format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_swedish_ci"),
        );
        this.sql(name, script);
        Some(this)
    }

    fn at(&self, database: &str) -> Database {
        let socket = encoded(self.server.socket.to_str().unwrap());
        let password = encoded(PASSWORD);
        Database::parse(&format!("mysql://admin:{password}@{socket}/{database}")).unwrap()
    }

    fn client(&self, database: &str) -> Command {
        let mut command = Command::new("mariadb");
        command.args([
            "--no-defaults",
            "--batch",
            "--raw",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
        ]);
        command.arg("--socket").arg(&self.server.socket).args(["--user=root", database]);
        command
    }

    fn sql(&self, database: &str, script: &str) -> String {
        output(self.client(database).args(["--execute", script]))
    }

    async fn dump(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let dumped =
            dump(&self.at(self.name), &Local::default(), Path::new("/none"), &mut bytes).await.unwrap();
        assert_eq!((dumped.bytes, dumped.notes), (bytes.len() as u64, vec![]));
        bytes
    }

    async fn restore(
        &self,
        bytes: &[u8],
        how: &Restore,
    ) -> snapshotter_dump::Result<snapshotter_dump::Restored> {
        restore(&self.at(self.name), &Local::default(), &whole(bytes), how).await
    }

    fn databases(&self) -> String {
        self.sql("mysql", &format!("SHOW DATABASES LIKE '{}%'", self.name))
    }
}

fn server() -> Server {
    let directory = directory();
    let data = format!("--datadir={}", directory.path().join("data").display());
    let mut init = as_nobody("/usr/bin/mariadb-install-db");
    output(init.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &data]));
    let mut command = as_nobody("/usr/sbin/mariadbd");
    command.args(["--no-defaults", &data, "--skip-networking", "--innodb-buffer-pool-size=16M"]);
    command.args(["--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"]);
    command.arg(format!("--socket={}", directory.path().join("socket").display()));
    let server = start(directory, command, "socket", |socket| {
        let ping = Command::new("mariadb-admin")
            .args(["--no-defaults", "--user=root", "ping"])
            .arg("--socket")
            .arg(socket)
            .output();
        ping.is_ok_and(|ping| ping.status.success())
    });
    let this = MariaDb { server: Arc::new(server), name: "mysql" };
    let password: String = PASSWORD.bytes().fold(String::new(), |all, byte| format!("{all}{byte:02x}"));
    let user = format!("SET @make = CONCAT('CREATE USER admin@localhost IDENTIFIED BY ', QUOTE(CONVERT(x'{password}' USING utf8mb4)));
        EXECUTE IMMEDIATE @make; GRANT ALL ON *.* TO admin@localhost WITH GRANT OPTION");
    this.sql("mysql", &user);
    Arc::into_inner(this.server).unwrap()
}

#[tokio::test]
async fn what_was_committed_before_a_dump_is_in_it_while_others_write() {
    let Some(server) = MariaDb::with(
        "busy",
        "CREATE TABLE a (id INT PRIMARY KEY AUTO_INCREMENT, x TEXT); CREATE TABLE b LIKE a",
    ) else {
        return;
    };
    let write = "BEGIN NOT ATOMIC DECLARE n INT DEFAULT 0; WHILE n < 1000000 DO START TRANSACTION;
        INSERT INTO a (x) VALUES (UUID()); INSERT INTO b (x) VALUES (UUID()); COMMIT; SET n = n + 1; END WHILE; END";
    let mut writer = server
        .client("busy")
        .args(["--delimiter=//", "--execute", write])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while server.sql("busy", "SELECT COUNT(*) > 2000 FROM b") != "1\n" {}
    let before = server.sql("busy", "SELECT id, x FROM b ORDER BY id");
    let bytes = server.dump().await;
    let after = server.sql("busy", "SELECT id, x FROM b ORDER BY id");
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_ne!(before, after, "nobody has written");
    restore(&server.at("busy2"), &Local::default(), &whole(&bytes), &Restore::default()).await.unwrap();
    let restored = server.sql("busy2", "SELECT id, x FROM b ORDER BY id");
    assert!(
        restored.starts_with(&before) && after.starts_with(&restored),
        "{} {}",
        before.len(),
        restored.len()
    );
    let counts = "SELECT (SELECT COUNT(*) FROM a) = (SELECT COUNT(*) FROM b)";
    assert_eq!(server.sql("busy2", counts), "1\n", "half of a transaction is in the dump");
}

#[tokio::test]
async fn a_database_is_replaced_with_all_that_it_has_beside_tables() {
    let Some(server) = MariaDb::with("parts", FILL) else { return };
    let (rows, parts) = (server.sql("parts", ROWS), server.sql("parts", PARTS));
    let bytes = server.dump().await;
    let change = "DROP VIEW v; DROP EVENT e; CREATE TABLE more (id INT); CREATE VIEW w AS SELECT * FROM more; DELETE FROM `odd ``name`;
        ALTER DATABASE parts CHARACTER SET latin1; DROP TRIGGER tr; CREATE TRIGGER other BEFORE DELETE ON t FOR EACH ROW SET @x = 1";
    server.sql("parts", change);
    let (changed_rows, changed) = (server.sql("parts", TABLE), server.sql("parts", PARTS));
    // Its function is older than the database's character set, and the dump says so by the database's name.
    let (other, changed_bytes) = (server.at("other"), server.dump().await);
    restore(&other, &Local::default(), &whole(&changed_bytes), &Restore::default()).await.unwrap();
    assert_eq!((server.sql("parts", PARTS), server.sql("other", PARTS)), (changed.clone(), changed.clone()));
    let restored =
        server.restore(&bytes, &Restore { keep_previous: true, ..Restore::default() }).await.unwrap();
    assert_eq!(restored.notes, [""; 0]);
    assert_eq!((server.sql("parts", ROWS), server.sql("parts", PARTS)), (rows.clone(), parts.clone()));
    let previous = restored.previous.unwrap();
    assert_eq!((server.sql(&previous, TABLE), server.sql(&previous, PARTS)), (changed_rows, changed));
    assert_eq!(server.databases(), format!("parts\n{previous}\n"));
    // The trigger and the foreign key are those of the tables that are there now.
    server.sql(
        "parts",
        "INSERT INTO t (x) VALUES ('new'); INSERT INTO `odd ``name` VALUES (2, LAST_INSERT_ID())",
    );
    assert_eq!(server.sql("parts", "SELECT x FROM t WHERE x LIKE 'new%'"), "new!\n");

    let again = server.restore(&bytes, &Restore::default()).await.unwrap();
    assert_eq!(again.notes, [format!("the database {previous} is still there from an earlier restore")]);
    assert_eq!((server.sql("parts", ROWS), server.sql("parts", PARTS)), (rows, parts));
    assert_eq!(server.databases(), format!("parts\n{previous}\n"));
}

#[tokio::test]
async fn a_dump_that_is_cut_anywhere_is_found_out() {
    let Some(server) = MariaDb::with("cut", FILL) else { return };
    let bytes = server.dump().await;
    let place = Local::default();
    check(Kind::Mysql, &place, Path::new("/none"), &whole(&bytes)).await.unwrap();
    for length in 0..bytes.len() {
        let checked = check(Kind::Mysql, &place, Path::new("/none"), &whole(&bytes[..length])).await;
        assert!(matches!(checked, Err(Error::Damaged { .. })), "{length} of {}: {checked:?}", bytes.len());
    }
    let mut disk = Disk { room: 1000, secret: PASSWORD, seen: false };
    let full = dump(&server.at("cut"), &place, Path::new("/none"), &mut disk).await;
    assert!(matches!(full, Err(Error::Write(_))) && !disk.seen, "{full:?}");
}

#[tokio::test]
async fn a_restore_that_fails_leaves_what_was() {
    let Some(server) = MariaDb::with("kept", FILL) else { return };
    let bytes = server.dump().await;
    server.sql("kept", "INSERT INTO t (x) VALUES ('newer')");
    let (rows, parts) = (server.sql("kept", ROWS), server.sql("kept", PARTS));
    let same = |what: &str| {
        assert_eq!(
            (server.sql("kept", ROWS), server.sql("kept", PARTS)),
            (rows.clone(), parts.clone()),
            "{what}"
        );
        assert_eq!(server.databases(), "kept\n", "{what}");
    };
    for length in lengths(bytes.len(), 3, 1) {
        server.restore(&bytes[..length], &Restore::default()).await.unwrap_err();
    }
    let (at, how) = (server.at("kept"), Restore::default());
    let broken = Cut { bytes: &bytes[..bytes.len() - 10], fails: true };
    restore(&at, &Local::default(), &broken, &how).await.unwrap_err();
    same("a dump that is cut");

    // It has its end, and something in the middle that no server takes.
    let text = String::from_utf8(bytes.clone()).unwrap();
    let wrong = text.replace("INSERT INTO `t` VALUES", "INSERT INTO `t` VALUED");
    let error = server.restore(wrong.as_bytes(), &how).await.unwrap_err();
    assert!(error.to_string().contains("error in your SQL syntax"), "{error}");
    same("a statement that is wrong");

    // The swap is done by the client program, and each of its steps can fail.
    let directory = TempDir::new().unwrap();
    for step in [
        "CREATE TABLE .*snapshotter_code",
        "DROP TRIGGER",
        "ALTER DATABASE",
        "RENAME TABLE",
        "@saved_cs_client",
    ] {
        let script = format!(
            "case \"$*\" in *--version*) exec /usr/bin/mariadb --version; esac
             cat > {0}/script; if [ ! -e {0}/failed ] && [ $(stat -c %s {0}/script) -gt 0 ] &&
                grep -q '{step}' {0}/script && ! grep -q 'Dumping data' {0}/script; then
                touch {0}/failed; kill -9 $$; fi
             exec /usr/bin/mariadb \"$@\" < {0}/script",
            directory.path().display()
        );
        let place = Local::in_directories(imposter(directory.path(), "mariadb", &script));
        let error = restore(&at, &place, &whole(&bytes), &how).await.unwrap_err();
        assert!(error.to_string().contains("was killed by a signal"), "{step}: {error}");
        std::fs::remove_file(directory.path().join("failed")).unwrap();
        same(step);
    }
}

#[tokio::test]
async fn what_cannot_be_undone_is_said_and_nothing_is_lost() {
    let Some(server) = MariaDb::with("half", FILL) else { return };
    let bytes = server.dump().await;
    server.sql("half", "INSERT INTO t (x) VALUES ('newer')");
    let rows = server.sql("half", TABLE);
    let directory = TempDir::new().unwrap();
    let script = format!(
        "case \"$*\" in *--version*) exec /usr/bin/mariadb --version; esac
         [ ! -e {0}/failed ] || kill -9 $$
         cat > {0}/script
         /usr/bin/mariadb \"$@\" < {0}/script || exit
         if grep -q 'RENAME TABLE' {0}/script; then touch {0}/failed; fi",
        directory.path().display()
    );
    let place = Local::in_directories(imposter(directory.path(), "mariadb", &script));
    let error = restore(&server.at("half"), &place, &whole(&bytes), &Restore::default()).await.unwrap_err();
    assert!(matches!(error, Error::HalfWay { .. }), "{error}");
    let databases = server.databases();
    let previous = databases.lines().find(|name| name.starts_with("half_until_")).unwrap();
    assert!(
        error.to_string().contains(previous) && error.to_string().contains("snapshotter_code"),
        "{error}"
    );
    assert_eq!(server.sql(previous, TABLE), rows);
    let code = server.sql(previous, "SELECT code FROM snapshotter_code ORDER BY part");
    for part in ["EVENT `e`", "PROCEDURE `p`", "FUNCTION `f`", "trigger tr", "VIEW `v`"] {
        assert!(code.to_lowercase().contains(&part.to_lowercase()), "{part}: {code}");
    }
}

#[tokio::test]
async fn a_database_in_use_is_refused_or_its_users_are_sent_away() {
    let Some(server) = MariaDb::with("used", FILL) else { return };
    let bytes = server.dump().await;
    server.sql("used", "DELETE FROM `odd ``name`; DELETE FROM t");
    let mut user = server.client("used").stdin(Stdio::piped()).spawn().unwrap();
    while server.sql("mysql", "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'used'")
        != "1\n"
    {}
    let refused = server.restore(&bytes, &Restore::default()).await.unwrap_err();
    assert!(refused.to_string().ends_with("root has 1 connections"), "{refused}");
    assert_eq!(server.sql("used", ROWS), "");
    server.restore(&bytes, &Restore { terminate: true, ..Restore::default() }).await.unwrap();
    assert_eq!(server.sql("used", "SELECT f()"), "2\n");
    drop(user.stdin.take());
    user.wait().unwrap();
}

#[tokio::test]
async fn tables_without_transactions_are_locked_and_told_of() {
    let Some(server) = MariaDb::with("isam", "CREATE TABLE t (id INT) ENGINE=MyISAM") else { return };
    let mut bytes = Vec::new();
    let dumped = dump(&server.at("isam"), &Local::default(), Path::new("/none"), &mut bytes).await.unwrap();
    assert_eq!(dumped.notes, ["writers had to wait, since these tables have no transactions: t"]);
    let Database::Mysql(at) = server.at("isam") else { panic!() };
    assert!(mysql::databases(&at, &Local::default()).await.unwrap().contains(&"isam".to_owned()));
}

#[tokio::test]
async fn what_a_user_may_not_see_is_told() {
    let Some(server) = MariaDb::with("blind", FILL) else { return };
    let user = "CREATE USER reader@localhost; GRANT SELECT, LOCK TABLES, SHOW VIEW, EVENT ON blind.* TO reader@localhost";
    server.sql("blind", user);
    let socket = encoded(server.server.socket.to_str().unwrap());
    let at = Database::parse(&format!("mysql://reader@{socket}/blind")).unwrap();
    let mut bytes = Vec::new();
    let dumped = dump(&at, &Local::default(), Path::new("/none"), &mut bytes).await.unwrap();
    assert_eq!(dumped.notes.len(), 2, "{dumped:?}");
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.contains("EVENT `e`") && !text.contains("PROCEDURE") && !text.contains("trigger tr"),
        "{text}"
    );
    assert!(dumped.notes[0].contains("triggers") && dumped.notes[1].contains("procedures"), "{dumped:?}");
}

#[tokio::test]
async fn a_dump_cannot_run_programs() {
    let Some(server) = MariaDb::with("hostile", FILL) else { return };
    let file = server.server.path("made");
    let text = String::from_utf8(server.dump().await).unwrap();
    let order = format!("\\! touch {0}\nsystem touch {0}\nINSERT INTO `t`", file.display());
    let hostile =
        text.replacen("INSERT INTO `t`", &order, 1).replace("/*M!999999\\- enable the sandbox mode */", "");
    server.restore(hostile.as_bytes(), &Restore::default()).await.unwrap_err();
    assert!(!file.exists());
    assert_eq!(server.databases(), "hostile\n");
}

#[tokio::test]
async fn a_client_that_does_not_fit_is_refused_before_anything_is_dumped() {
    let Some(server) = MariaDb::with("clients", "") else { return };
    let directory = TempDir::new().unwrap();
    for (version, problem) in [
        ("mariadb-dump  Ver 10.19 Distrib 10.5.1-MariaDB, for x", "the client is older than the server"),
        (
            "mysqldump  Ver 8.4.0 for Linux on x86_64 (MySQL)",
            "MySQL and MariaDB need their own client programs",
        ),
    ] {
        let place =
            Local::in_directories(imposter(directory.path(), "mariadb-dump", &format!("echo '{version}'")));
        let error =
            dump(&server.at("clients"), &place, Path::new("/none"), &mut Vec::new()).await.unwrap_err();
        assert!(error.to_string().ends_with(problem), "{error}");
    }
    let socket = encoded(server.server.socket.to_str().unwrap());
    let wrong = Database::parse(&format!("mysql://admin:no-such-password@{socket}/clients")).unwrap();
    let error = dump(&wrong, &Local::default(), Path::new("/none"), &mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("Access denied for user 'admin'"), "{error}");
    assert!(!format!("{error:?}").contains("no-such-password"), "{error:?}");
    let gone =
        dump(&server.at("gone"), &Local::default(), Path::new("/none"), &mut Vec::new()).await.unwrap_err();
    assert!(gone.to_string().contains("there is no such database"), "{gone}");
}
