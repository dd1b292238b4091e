//! The names of all that can be set.

/// What all variables begin with.
pub(crate) const PREFIX: &str = "BACKUP_";
/// Where the file with several jobs is.
pub(crate) const CONFIG: &str = "BACKUP_CONFIG";
/// The passphrase of GPG.
pub(crate) const KEY: &str = "BACKUP_ENCRYPTION_KEY";

/// The variables that a job reads, without what they begin with. `name` is that of a key in a YAML file.
pub(crate) const OF_A_JOB: &[&str] = &[
    "NAME",
    "SCHEDULE",
    "JITTER",
    "LOCAL_PATH",
    "STORES",
    "S3_BUCKET",
    "S3_ENDPOINT",
    "S3_REGION",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "POSTGRES",
    "MYSQL",
    "MONGODB",
    "REDIS",
    "SQLITE",
    "DIRS",
    "FILES",
    "EXCLUDE",
    "STOP_SERVICES",
    "STOP_WAIT",
    "START_WAIT",
    "ENCRYPTION",
    "ENCRYPTION_KEY",
    "AGE_RECIPIENTS",
    "AGE_IDENTITY",
    "COMPRESSION",
    "COMPRESSION_LEVEL",
    "RETENTION_DAYS",
    "KEEP_LAST",
    "KEEP_DAILY",
    "KEEP_WEEKLY",
    "KEEP_MONTHLY",
    "KEEP_YEARLY",
    "START_WEBHOOK",
    "SUCCESS_WEBHOOK",
    "FAILURE_WEBHOOK",
    "MAIL_TO",
    "MAIL_FROM",
    "MAIL_SERVER",
    "MAIL_PASSWORD",
    "MAIL_ON",
    "ALARM_COMMAND",
    "DEBUG",
];

/// The name that `wrong` was perhaps meant to be.
pub(crate) fn near(wrong: &str) -> Option<&'static str> {
    let name = wrong.strip_suffix("_FILE").unwrap_or(wrong);
    crate::job::names::near(name, OF_A_JOB.iter().copied())
}
