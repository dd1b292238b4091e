//! The sidecar, with directories and files of this machine and stores in directories: what its users' `.env`
//! files ask for is done, and comes back.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::run::{of, program};

/// A sidecar with something to back up, all in a directory of its own.
pub(crate) struct Sidecar {
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl Sidecar {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut sidecar = Sidecar { home, variables: Vec::new() };
        for (name, at) in [("BACKUP_LOCAL_PATH", "backups"), ("DOCKER_SNAPSHOT_STATE_DIR", "state")] {
            let path = sidecar.path(at);
            sidecar.set(name, path.to_str().unwrap());
        }
        let data = sidecar.path("data");
        fs::create_dir_all(data.join("deep")).unwrap();
        fs::write(data.join("deep/file"), "content").unwrap();
        fs::write(data.join("other"), vec![7; 100_000]).unwrap();
        symlink("deep/file", data.join("link")).unwrap();
        fs::set_permissions(data.join("other"), fs::Permissions::from_mode(0o640)).unwrap();
        let single = sidecar.path("app.json");
        fs::write(&single, "{}").unwrap();
        sidecar.set("BACKUP_NAME", "shop");
        sidecar.set("BACKUP_ENCRYPTION_KEY", "correct horse");
        sidecar.set("BACKUP_DIRS", &format!("{}:app-data", data.display()));
        sidecar.set("BACKUP_FILES", &format!("{}:config", single.display()));
        sidecar
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.retain(|(other, _)| other != name);
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.home.path());
        command.args(arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command that went well has printed.
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that failed has said.
    pub(crate) fn bad(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        let said = said(&output);
        assert!(!said.contains("correct horse"), "{said}");
        said
    }

    /// The names of the backups in a store, without the files beside them.
    pub(crate) fn backups(&self, store: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(store).join("shop")) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.contains(".tar")).collect();
        names.sort();
        names
    }

    /// The state that is kept of the job.
    pub(crate) fn record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("state/sidecar/shop/state.json")).unwrap()).unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// That a directory is empty of what a run works with.
fn nothing_is_left(sidecar: &Sidecar) {
    let left: Vec<_> = fs::read_dir(sidecar.path("state/sidecar/shop"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["lock", "state.json"].contains(&name.as_str()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_was_backed_up_comes_back_in_its_place() {
    let sidecar = Sidecar::new();
    sidecar.good(&["run"]);
    nothing_is_left(&sidecar);
    let [name] = &sidecar.backups("backups")[..] else { panic!("{:?}", sidecar.backups("backups")) };
    assert!(name.starts_with("shop-20") && name.ends_with(".tar.gz.gpg"), "{name}");
    let listed = sidecar.good(&["list-backups"]);
    let stamp = name.strip_prefix("shop-").unwrap().strip_suffix(".tar.gz.gpg").unwrap();
    assert!(listed.starts_with(stamp) && listed.contains(name.as_str()), "{listed}");

    let data = sidecar.path("data");
    fs::remove_dir_all(data.join("deep")).unwrap();
    fs::write(data.join("other"), "damaged").unwrap();
    fs::write(data.join("new"), "not in the backup").unwrap();
    fs::write(sidecar.path("app.json"), "damaged").unwrap();
    let restored = sidecar.good(&["restore-backup", stamp, "--yes"]);
    assert!(restored.contains("data") && restored.contains("app.json"), "{restored}");
    assert_eq!(fs::read_to_string(data.join("deep/file")).unwrap(), "content");
    assert_eq!(fs::read(data.join("other")).unwrap(), vec![7; 100_000]);
    assert_eq!(fs::metadata(data.join("other")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_link(data.join("link")).unwrap(), Path::new("deep/file"));
    assert!(!data.join("new").exists(), "a restore replaces, and does not merge");
    assert_eq!(fs::read_to_string(sidecar.path("app.json")).unwrap(), "{}");
    nothing_is_left(&sidecar);
}

#[test]
fn what_is_not_there_at_all_comes_back() {
    let sidecar = Sidecar::new();
    sidecar.good(&["run"]);
    fs::remove_dir_all(sidecar.path("data")).unwrap();
    fs::remove_file(sidecar.path("app.json")).unwrap();
    sidecar.good(&["restore-backup", "latest", "--yes"]);
    assert_eq!(fs::read_to_string(sidecar.path("data/deep/file")).unwrap(), "content");
    assert_eq!(fs::read_to_string(sidecar.path("app.json")).unwrap(), "{}");
}

#[test]
fn the_scripts_of_the_image_are_the_program() {
    let sidecar = Sidecar::new();
    let scripts = sidecar.path("backup-scripts");
    fs::create_dir(&scripts).unwrap();
    let script = |name: &str, arguments: &[&str]| {
        let path = scripts.join(name);
        if !path.exists() {
            symlink(assert_cmd::cargo::cargo_bin!("docker-snapshot"), &path).unwrap();
        }
        let mut command = of(&path, sidecar.home.path());
        command.envs(sidecar.variables.iter().map(|(name, value)| (name, value))).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{name}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    script("backup-now.sh", &[]);
    let listed = script("list-backups.sh", &[]);
    let stamp = listed.split_whitespace().next().unwrap();
    fs::write(sidecar.path("app.json"), "damaged").unwrap();
    script("restore.sh", &[stamp, "--yes"]);
    assert_eq!(fs::read_to_string(sidecar.path("app.json")).unwrap(), "{}");
}

#[test]
fn a_backup_is_what_gpg_gzip_and_tar_read() {
    if Command::new("gpg").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "gpg is not installed");
        return;
    }
    let sidecar = Sidecar::new();
    sidecar.good(&["run"]);
    let file = sidecar.path("backups/shop").join(&sidecar.backups("backups")[0]);
    fs::create_dir(sidecar.path("gpg")).unwrap();
    fs::set_permissions(sidecar.path("gpg"), fs::Permissions::from_mode(0o700)).unwrap();
    let script = "gpg --homedir gpg --batch --quiet --pinentry-mode loopback --passphrase 'correct horse' \
                  --decrypt \"$0\" | gzip -dc | tar -xO --wildcards '*/data/deep/file'";
    let mut shell = Command::new("/bin/sh");
    let output = shell.args(["-c", script]).arg(&file).current_dir(sidecar.home.path()).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "content",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn nothing_of_what_is_secret_is_beside_a_backup_or_in_the_state() {
    let mut sidecar = Sidecar::new();
    sidecar.set("BACKUP_DEBUG", "true");
    sidecar.good(&["run"]);
    let mut seen = 0;
    for directory in ["backups/shop", "state/sidecar/shop"] {
        for entry in fs::read_dir(sidecar.path(directory)).unwrap() {
            let content = fs::read(entry.unwrap().path()).unwrap();
            let text = String::from_utf8_lossy(&content);
            assert!(!text.contains("correct horse") && !text.contains("deep"), "{text}");
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen}");
    let json = fs::read_dir(sidecar.path("backups/shop")).unwrap().map(|entry| entry.unwrap().path());
    let json = json.into_iter().find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
    let json: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert!(json["created_at"].as_str().unwrap().ends_with('Z'), "{json}");
}

#[test]
fn the_name_has_the_time_of_the_place_and_json_that_of_utc() {
    let mut sidecar = Sidecar::new();
    sidecar.set("TZ", "Pacific/Kiritimati");
    sidecar.good(&["run"]);
    let listed: Value = serde_json::from_str(&sidecar.good(&["list-backups", "--json"])).unwrap();
    let backup = &listed["backups"][0];
    let day = |text: &str| text[8..10].parse::<i32>().unwrap();
    let hour = |text: &str, at: usize| text[at..at + 2].parse::<i32>().unwrap();
    let (stamp, time) = (backup["timestamp"].as_str().unwrap(), backup["time"].as_str().unwrap());
    // 14 hours ahead, whatever the day.
    assert_eq!((hour(stamp, 11) - hour(time, 11)).rem_euclid(24), 14, "{stamp} {time}");
    assert!(day(stamp) != day(time) || hour(time, 11) < 10, "{stamp} {time}");
}

#[test]
fn one_of_two_stores_that_is_away_is_told_and_the_other_has_the_backup() {
    let mut sidecar = Sidecar::new();
    fs::write(sidecar.path("file"), "").unwrap();
    let away = sidecar.path("file/below");
    sidecar.set("BACKUP_STORES", away.to_str().unwrap());
    let said = sidecar.bad(&["run"]);
    assert!(said.contains(away.to_str().unwrap()), "{said}");
    assert_eq!(sidecar.backups("backups").len(), 1);
    assert!(sidecar.bad(&["health"]).contains("file/below"));
    let record = sidecar.record();
    assert!(record["last_success"].is_null() && record["last"]["file"].is_string(), "{record}");
    sidecar.unset("BACKUP_STORES");
    sidecar.good(&["restore-backup", "latest", "--yes"]);
}

#[test]
fn a_directory_that_is_not_there_fails_the_backup_and_leaves_nothing() {
    let sidecar = Sidecar::new();
    fs::remove_dir_all(sidecar.path("data")).unwrap();
    let said = sidecar.bad(&["run"]);
    assert!(said.contains("data"), "{said}");
    assert!(sidecar.backups("backups").is_empty());
    nothing_is_left(&sidecar);
    assert!(sidecar.bad(&["health"]).contains("shop: "));
}

#[test]
fn a_backup_that_is_suddenly_much_smaller_is_no_success_and_removes_no_older_one() {
    let mut sidecar = Sidecar::new();
    sidecar.set("BACKUP_KEEP_LAST", "1");
    sidecar.good(&["run"]);
    fs::write(sidecar.path("data/other"), "almost nothing").unwrap();
    let said = sidecar.bad(&["run"]);
    assert!(said.contains("had 100"), "{said}");
    assert_eq!(sidecar.backups("backups").len(), 2, "the one that has all is kept");
    // It was told; what it is now is what it is.
    sidecar.good(&["run"]);
    assert_eq!(sidecar.backups("backups").len(), 1);
    sidecar.good(&["health"]);
}

#[test]
fn an_empty_backup_is_no_success() {
    let mut sidecar = Sidecar::new();
    let empty = sidecar.path("empty");
    fs::create_dir(&empty).unwrap();
    sidecar.set("BACKUP_DIRS", &format!("{}:empty", empty.display()));
    sidecar.unset("BACKUP_FILES");
    assert!(sidecar.bad(&["run"]).contains("it is empty"));
}

#[test]
fn retention_removes_what_is_too_old_and_nothing_of_others() {
    let mut sidecar = Sidecar::new();
    sidecar.set("BACKUP_RETENTION_DAYS", "7");
    let shop = sidecar.path("backups/shop");
    fs::create_dir_all(&shop).unwrap();
    let foreign = ["other-2020-01-01-000000.tar.gz", "shop-2020.tar.gz", "notes.txt"];
    let old = ["shop-2020-01-01-000000.tar.gz.gpg", "shop-2020-01-01-000000.json"];
    foreign.iter().chain(&old[..1]).for_each(|name| fs::write(shop.join(name), "x").unwrap());
    fs::write(shop.join(old[1]), "{}").unwrap();
    let printed = sidecar.good(&["run"]);
    assert!(printed.contains("removed") && printed.contains(old[0]), "{printed}");
    assert!(old.iter().all(|name| !shop.join(name).exists()));
    assert!(foreign.iter().all(|name| shop.join(name).exists()));
}

#[test]
fn a_damaged_backup_changes_nothing() {
    let sidecar = Sidecar::new();
    sidecar.good(&["run"]);
    let file = sidecar.path("backups/shop").join(&sidecar.backups("backups")[0]);
    let mut content = fs::read(&file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&file, content).unwrap();
    fs::write(sidecar.path("data/other"), "newer").unwrap();
    sidecar.bad(&["restore-backup", "latest", "--yes"]);
    assert_eq!(fs::read_to_string(sidecar.path("data/other")).unwrap(), "newer");
    nothing_is_left(&sidecar);
}

#[test]
fn a_wrong_key_and_a_time_without_a_backup_say_so() {
    let mut sidecar = Sidecar::new();
    sidecar.good(&["run"]);
    let said = sidecar.bad(&["restore-backup", "2020-01-01-000000", "--yes"]);
    assert!(said.contains("cannot find a backup of shop from 2020-01-01-000000"), "{said}");
    sidecar.set("BACKUP_ENCRYPTION_KEY", "wrong");
    fs::write(sidecar.path("data/other"), "newer").unwrap();
    sidecar.bad(&["restore-backup", "latest", "--yes"]);
    assert_eq!(fs::read_to_string(sidecar.path("data/other")).unwrap(), "newer");
}

#[test]
fn a_restore_into_a_directory_changes_nothing_else() {
    let sidecar = Sidecar::new();
    sidecar.good(&["run"]);
    fs::write(sidecar.path("data/other"), "newer").unwrap();
    let into = sidecar.path("into");
    sidecar.good(&["restore-backup", "latest", "--into", into.to_str().unwrap()]);
    let data = sidecar.path("data");
    assert_eq!(fs::read(into.join(data.strip_prefix("/").unwrap()).join("other")).unwrap(), vec![7; 100_000]);
    assert!(into.join("dumps/backup.json").exists());
    assert_eq!(fs::read_to_string(sidecar.path("data/other")).unwrap(), "newer");
}

#[test]
fn a_check_of_the_configuration_shows_what_would_be_done_and_no_secret() {
    let mut sidecar = Sidecar::new();
    sidecar.set("BACKUP_POSTGRES", "postgresql://postgres:hunter2@db:5432/app");
    sidecar.set("BACKUP_SCHEDULE", "0 2 * * *");
    sidecar.set("BACKUP_SUCCESS_WEBHOOK", "https://hc.example/uuid-secret");
    let shown = sidecar.good(&["config", "check"]);
    assert!(shown.contains("app-data") && shown.contains("0 2 * * * (UTC)"), "{shown}");
    let json = sidecar.good(&["config", "check", "--json"]);
    for text in [&shown, &json] {
        let secret =
            ["hunter2", "uuid-secret", "correct horse"].into_iter().find(|secret| text.contains(secret));
        assert_eq!(secret, None, "{text}");
    }
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["jobs"][0]["encryption"], "gpg (passphrase)");
    assert!(!sidecar.path("backups").exists(), "nothing is done");
    sidecar.set("BACKUP_SCEDULE", "0 2 * * *");
    assert!(sidecar.bad(&["config", "check"]).contains("perhaps BACKUP_SCHEDULE was meant"));
}

#[test]
fn age_and_zstd_are_for_who_wants_them() {
    let mut sidecar = Sidecar::new();
    // `age-keygen`'s own example.
    let (public, secret) = (
        "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
        "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX",
    );
    sidecar.unset("BACKUP_ENCRYPTION_KEY");
    sidecar.set("BACKUP_AGE_RECIPIENTS", public);
    sidecar.good(&["run"]);
    assert!(sidecar.backups("backups")[0].ends_with(".tar.zst.age"));
    sidecar.bad(&["restore-backup", "latest", "--yes"]);
    fs::write(sidecar.path("identity"), secret).unwrap();
    let identity = sidecar.path("identity");
    sidecar.set("BACKUP_AGE_IDENTITY_FILE", identity.to_str().unwrap());
    fs::write(sidecar.path("app.json"), "damaged").unwrap();
    sidecar.good(&["restore-backup", "latest", "--yes"]);
    assert_eq!(fs::read_to_string(sidecar.path("app.json")).unwrap(), "{}");
}

#[test]
fn a_file_that_is_a_sqlite_database_is_dumped_by_sqlite() {
    let python = |script: &str, path: &Path| {
        let output = Command::new("python3").args(["-c", script]).arg(path).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let mut sidecar = Sidecar::new();
    let database = sidecar.path("app.db");
    let make = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode=WAL'); \
                c.execute('CREATE TABLE t(a)'); c.executemany('INSERT INTO t VALUES(?)',[(i,) for i in range(999)]); \
                c.commit(); c.close()";
    python(make, &database);
    sidecar.set("BACKUP_FILES", &format!("{}:appdb", database.display()));
    sidecar.good(&["run"]);
    python(
        "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM t'); c.commit()",
        &database,
    );
    sidecar.good(&["restore-backup", "latest", "--yes"]);
    let count = "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM t').fetchone()[0])";
    assert_eq!(python(count, &database).trim(), "999");
}
