use super::*;

/// What must be set for anything to be done.
const LEAST: &[(&str, &str)] = &[
    ("BACKUP_NAME", "shop"),
    ("BACKUP_LOCAL_PATH", "/backups-local"),
    ("BACKUP_ENCRYPTION_KEY", "hunter2"),
    ("BACKUP_DIRS", "/data:app-data"),
];

/// Reads what `more` adds to the least, or takes from it where it is empty.
fn read(more: &[(&str, &str)]) -> anyhow::Result<Config> {
    let mut all: std::collections::BTreeMap<_, _> = LEAST.iter().copied().collect();
    all.extend(more.iter().copied());
    let all = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::read(&Variables::new(all)?)
}

fn refused(more: &[(&str, &str)]) -> String {
    let error = format!("{:#}", read(more).unwrap_err());
    assert!(error.starts_with("cannot "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    error
}

#[test]
fn every_variable_of_the_documents_is_read() {
    let more = [
        ("TZ", "America/New_York"),
        ("BACKUP_SCHEDULE", "0 2 * * *"),
        ("BACKUP_S3_BUCKET", "my-backup-bucket"),
        ("BACKUP_S3_ENDPOINT", "https://s3.amazonaws.com"),
        ("BACKUP_S3_REGION", "us-east-1"),
        ("BACKUP_S3_ACCESS_KEY", "your-access-key"),
        ("BACKUP_S3_SECRET_KEY", "hunter2"),
        (
            "BACKUP_POSTGRES",
            "postgresql://user:my%40pass%3Aword@db:5432/db1\npostgresql://postgres:hunter2@db:5432/db2",
        ),
        ("BACKUP_MONGODB", "mongodb://root:hunter2@mongo:27017/mydb?authSource=admin"),
        ("BACKUP_DIRS", "/data:app-data,/config:app-config,/uploads:user-uploads"),
        ("BACKUP_FILES", "/conf/app.json:config,/secrets/api-key:apikey"),
        ("BACKUP_STOP_SERVICES", "app,worker"),
        ("BACKUP_STOP_WAIT", "0"),
        ("BACKUP_RETENTION_DAYS", "90"),
        ("BACKUP_SUCCESS_WEBHOOK", "https://hc-ping.com/your-uuid"),
        ("BACKUP_FAILURE_WEBHOOK", "https://hc-ping.com/your-uuid/fail"),
        ("BACKUP_DEBUG", "true"),
    ];
    let config = read(&more).unwrap();
    let job = config.job(None).unwrap();
    assert_eq!(job.schedule.as_ref().unwrap().to_string(), "0 2 * * * (America/New_York)");
    let places: Vec<_> = job.places.iter().map(|place| place.address.to_string()).collect();
    assert_eq!(places, ["/backups-local", "s3://my-backup-bucket"]);
    // Amazon's own address is another in each region.
    assert_eq!(job.places[1].settings.text("AWS_ENDPOINT_URL_S3"), None);
    assert_eq!(job.places[1].settings.text("AWS_REGION").as_deref(), Some("us-east-1"));
    let names: Vec<_> = job.databases.iter().map(|named| named.name.as_str()).collect();
    assert_eq!(names, ["postgres-db-db1", "postgres-db-db2", "mongodb-mongo-mydb"]);
    let sources: Vec<_> = job.sources.iter().map(|s| (s.name.as_str(), s.path.as_str(), s.kind)).collect();
    assert_eq!(
        sources,
        [
            ("app-data", "/data", Kind::Directory),
            ("app-config", "/config", Kind::Directory),
            ("user-uploads", "/uploads", Kind::Directory),
            ("config", "/conf/app.json", Kind::File),
            ("apikey", "/secrets/api-key", Kind::File),
        ]
    );
    assert_eq!(job.stop, ["app", "worker"]);
    assert_eq!((job.stop_wait.as_secs(), job.start_wait.as_secs()), (0, 3));
    assert_eq!(job.retention.within.unwrap().as_secs(), 90 * 24 * 3600);
    assert!(job.debug && job.alarms.success.is_some() && job.alarms.failure.is_some());
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}

#[test]
fn what_is_unknown_is_refused_with_the_name_that_is_near() {
    let said = refused(&[("BACKUP_RETENTION_DAY", "7")]);
    assert!(said.contains("BACKUP_RETENTION_DAY") && said.contains("BACKUP_RETENTION_DAYS"), "{said}");
    assert!(refused(&[("BACKUP_POSTGRESS_FILE", "/x")]).contains("perhaps BACKUP_POSTGRES was meant"));
    assert!(refused(&[("BACKUP_FROBNICATE", "1")]).contains("there is no such setting: see"));
}

#[test]
fn contradictions_are_refused() {
    for (more, reason) in [
        (&[("BACKUP_AGE_RECIPIENTS", "age1x")][..], "BACKUP_AGE_RECIPIENTS is set as well"),
        (&[("BACKUP_ENCRYPTION", "none")], "BACKUP_ENCRYPTION is none"),
        (&[("BACKUP_ENCRYPTION", "age")], "the key that is set is one of gpg"),
        (&[("BACKUP_ENCRYPTION_KEY", "")], "no key to encrypt with"),
        (&[("BACKUP_LOCAL_PATH", "")], "no place for backups"),
        (&[("BACKUP_LOCAL_PATH", "backups")], "no absolute path"),
        (&[("BACKUP_DIRS", "")], "nothing is named"),
        (&[("BACKUP_NAME", "")], "BACKUP_NAME is not set"),
        (&[("BACKUP_NAME", "a/b")], "file names"),
        (&[("BACKUP_S3_REGION", "eu-west-1")], "BACKUP_S3_BUCKET is not set"),
        (&[("BACKUP_S3_BUCKET", "b"), ("BACKUP_S3_ACCESS_KEY", "x")], "go together"),
        (&[("BACKUP_STORES", "/backups-local")], "there twice"),
        (&[("BACKUP_DIRS", "data:x")], "no absolute path"),
        (&[("BACKUP_DIRS", "/data:x,/other:x")], "both called x"),
        (&[("BACKUP_FILES", "/data/app.db:x")], "hold the same files"),
        (&[("BACKUP_JITTER", "10m")], "BACKUP_SCHEDULE is not set"),
        (&[("BACKUP_SCHEDULE", "0 0 30 2 *")], "never comes"),
        (&[("BACKUP_SCHEDULE", "@daily"), ("TZ", "Mars/Base")], "Mars/Base"),
        (&[("BACKUP_POSTGRES", "mysql://x:hunter2@db/x")], "does not begin with postgresql://"),
        (&[("BACKUP_POSTGRES", "postgresql://x:hunter2@db:port/x")], "address 1"),
        (&[("BACKUP_STOP_WAIT", "soon")], "no time"),
        (&[("BACKUP_RETENTION_DAYS", "-1")], "no whole number"),
        (&[("BACKUP_DEBUG", "perhaps")], "neither true nor false"),
        (&[("BACKUP_COMPRESSION", "lzma")], "none of zstd, gzip, none"),
        (&[("BACKUP_COMPRESSION_LEVEL", "13")], "from 0 to 12"),
        (&[("BACKUP_SUCCESS_WEBHOOK", "hc-ping.com")], "no URL"),
        (&[("BACKUP_MAIL_TO", "a@b.c")], "go together"),
        (&[("BACKUP_AGE_IDENTITY", "hunter2")], "BACKUP_AGE_IDENTITY_FILE"),
    ] {
        let said = refused(more);
        assert!(said.contains(reason), "{more:?}: {said}");
    }
}

#[test]
fn a_value_may_be_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("postgres");
    std::fs::write(&path, "postgresql://postgres:hunter2@db/app\n").unwrap();
    let path = path.to_str().unwrap();
    let config = read(&[("BACKUP_POSTGRES_FILE", path)]).unwrap();
    assert_eq!(config.jobs[0].databases[0].name, "postgres-db-app");
    let said = refused(&[("BACKUP_POSTGRES_FILE", path), ("BACKUP_POSTGRES", "postgresql://x/y")]);
    assert!(said.contains("BACKUP_POSTGRES is set as well"), "{said}");
    std::fs::write(path, "\n").unwrap();
    assert!(refused(&[("BACKUP_POSTGRES_FILE", path)]).contains("is empty"));
    assert!(refused(&[("BACKUP_POSTGRES_FILE", "/nowhere/at/all")]).contains("/nowhere/at/all"));
}

#[test]
fn a_key_in_a_file_is_the_seals() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, "hunter2\n").unwrap();
    let config =
        read(&[("BACKUP_ENCRYPTION_KEY", ""), ("BACKUP_ENCRYPTION_KEY_FILE", path.to_str().unwrap())])
            .unwrap();
    assert!(config.jobs[0].sealing.seal().is_ok());
}

/// Reads a file with `text`.
fn of_file(text: &str, more: &[(&str, &str)]) -> anyhow::Result<Config> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backup.yml");
    std::fs::write(&path, text).unwrap();
    let mut all = vec![("BACKUP_NAME", ""), ("BACKUP_CONFIG", path.to_str().unwrap())];
    all.extend(more);
    read(&all)
}

#[test]
fn a_file_has_several_jobs_and_what_they_share() {
    let text = "
defaults:
  local_path: /backups
  retention_days: 7
jobs:
  - name: shop
    schedule: '@daily'
    timezone: Europe/Berlin
    dirs: [/data:app-data, /config]
  - name: blog
    retention_days: 30
    postgres:
      - postgresql://postgres@db/blog
";
    let config = of_file(text, &[("BACKUP_DIRS", "")]).unwrap();
    let of = |name| config.job(Some(name)).unwrap();
    assert_eq!(of("shop").sources[1].name, "config");
    assert_eq!(of("shop").zone, chrono_tz::Tz::Europe__Berlin);
    assert_eq!(of("shop").retention.within.unwrap().as_secs(), 7 * 86400);
    assert_eq!(of("blog").retention.within.unwrap().as_secs(), 30 * 86400);
    assert_eq!(of("blog").places[0].address.to_string(), "/backups");
    assert!(of("blog").schedule.is_none() && of("blog").sources.is_empty());
    assert!(config.job(None).is_err() && config.job(Some("other")).is_err());
}

#[test]
fn a_file_that_says_what_cannot_be_is_refused() {
    for (text, reason) in [
        ("jobs: []", "at least one"),
        ("- name: x", "no `jobs`"),
        ("jobs:\n- name: x\nother: 1", "only `defaults` and `jobs`"),
        ("jobs:\n- name: x\n  skedule: '@daily'", "schedule"),
        ("jobs:\n- name: x\n  Name: y", "no such setting"),
        ("jobs:\n- name: x\n  encryption_key: hunter2", "encryption_key_file"),
        ("jobs:\n- name: x\n- name: x", "two jobs are called x"),
        ("jobs:\n- name: x\n  dirs: {a: b}", "neither a text nor a list"),
        ("jobs: [", "backup.yml"),
    ] {
        let error = format!("{:#}", of_file(text, &[]).unwrap_err());
        assert!(error.starts_with("cannot ") && error.contains(reason), "{text}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let said = format!("{:#}", of_file("jobs:\n- name: x", &[("BACKUP_NAME", "y")]).unwrap_err());
    assert!(said.contains("BACKUP_NAME is set as well"), "{said}");
}
