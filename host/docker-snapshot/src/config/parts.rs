//! The parts of a job that more than one setting makes, and what of these contradicts each other. `get` gives
//! a setting by its name without what all begin with.

use std::time::Duration;

use anyhow::{bail, ensure};
use snapshotter_vault::encode::{Compression, KeySource};
use snapshotter_vault::retention::Policy;
use snapshotter_vault::store::{Address, Settings};

use crate::config::databases::{self, Named};
use crate::config::job::{Alarms, Mail, Place, Sealing};
use crate::config::lists;
use crate::config::names::KEY;
use crate::config::value::Value;
use crate::config::variables::Variables;
use crate::schedule::Schedule;

/// The databases of all kinds.
///
/// # Errors
/// When a value cannot be used, or contradicts another.
pub(super) fn databases_of<'a>(get: &impl Fn(&str) -> Option<&'a Value>) -> anyhow::Result<Vec<Named>> {
    let mut all = Vec::new();
    for (short, schemes) in [
        ("POSTGRES", &["postgresql", "postgres"][..]),
        ("MYSQL", &["mysql", "mariadb"]),
        ("MONGODB", &["mongodb", "mongodb+srv"]),
        ("REDIS", &["redis", "rediss"]),
    ] {
        if let Some(value) = get(short) {
            let more = databases::servers(value, schemes, &all)?;
            all.extend(more);
        }
    }
    if let Some(value) = get("SQLITE") {
        let more = databases::files(value, &all)?;
        all.extend(more);
    }
    Ok(all)
}

/// Where backups go.
///
/// # Errors
/// When a value cannot be used, or contradicts another.
pub(super) fn places<'a>(get: &impl Fn(&str) -> Option<&'a Value>) -> anyhow::Result<Vec<Place>> {
    let address = |text: &str, value: &Value| text.parse::<Address>().map_err(|error| value.unfit(error));
    let usual = Settings::environment();
    let mut places = Vec::new();
    if let Some(value) = get("LOCAL_PATH") {
        if !value.text().starts_with('/') {
            return Err(value.unfit("it is no absolute path: begin it with /"));
        }
        places.push(Place { address: address(value.text(), value)?, settings: usual.clone() });
    }
    let parts = ["S3_ENDPOINT", "S3_REGION", "S3_ACCESS_KEY", "S3_SECRET_KEY"];
    match get("S3_BUCKET") {
        Some(bucket) => {
            let mut settings = usual.clone();
            let variables =
                ["AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
            for (part, variable) in parts.iter().zip(variables) {
                // Amazon's own address is another in each region.
                let value = get(part).filter(|value| value.text() != "https://s3.amazonaws.com");
                settings = value.map_or(settings.clone(), |value| settings.with(variable, value.text()));
            }
            if let (Some(one), None) | (None, Some(one)) = (get("S3_ACCESS_KEY"), get("S3_SECRET_KEY")) {
                return Err(one.unfit("access key and secret key go together: set both, or neither"));
            }
            let address = address(&format!("s3://{}", bucket.text()), bucket)?;
            places.push(Place { address, settings });
        }
        None => {
            if let Some(part) = parts.iter().find_map(|part| get(part)) {
                return Err(part.unfit("BACKUP_S3_BUCKET is not set: set it, or unset this"));
            }
        }
    }
    for text in get("STORES").map(|value| value.text().split_whitespace()).into_iter().flatten() {
        let value = get("STORES").map_or_else(|| Err(anyhow::anyhow!("cannot use BACKUP_STORES")), Ok)?;
        places.push(Place { address: address(text, value)?, settings: usual.clone() });
    }
    ensure!(
        !places.is_empty(),
        "cannot back up: there is no place for backups: set BACKUP_LOCAL_PATH, BACKUP_S3_BUCKET or \
         BACKUP_STORES"
    );
    for (at, place) in places.iter().enumerate() {
        ensure!(
            places[..at].iter().all(|other| other.address != place.address),
            "cannot back up: {} is there twice among the places for backups: keep one",
            place.address
        );
    }
    Ok(places)
}

/// For whom backups are encrypted. Nobody is meant only where that is said.
///
/// # Errors
/// When a value cannot be used, or contradicts another.
pub(super) fn sealing<'a>(
    variables: &Variables,
    get: &impl Fn(&str) -> Option<&'a Value>,
) -> anyhow::Result<Sealing> {
    let none = match get("ENCRYPTION") {
        Some(value) => value.one_of(&[("none", true), ("gpg", false), ("age", false)])?,
        None => false,
    };
    let sealing = match (get("ENCRYPTION_KEY"), get("AGE_RECIPIENTS"), none) {
        (Some(one), Some(other), _) => {
            return Err(one.unfit(format!("{} is set as well: unset one of them", other.origin())));
        }
        (Some(value), None, true) | (None, Some(value), true) => {
            return Err(value.unfit("BACKUP_ENCRYPTION is none: unset one of them"));
        }
        (Some(_), None, false) => Sealing::Passphrase(match variables.file(KEY) {
            Some(file) => KeySource::File(file.into()),
            None => KeySource::Variable(KEY.to_owned()),
        }),
        (None, Some(value), false) => {
            let lines = value.text().split([',', '\n', ' ']).map(str::trim);
            let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            Sealing::Age(keys.map(str::to_owned).collect())
        }
        (None, None, true) => Sealing::None,
        (None, None, false) => bail!(
            "cannot back up: there is no key to encrypt with: set BACKUP_ENCRYPTION_KEY or \
             BACKUP_AGE_RECIPIENTS, or BACKUP_ENCRYPTION=none if anybody may read the backups"
        ),
    };
    if let (Some(value), true) = (get("ENCRYPTION"), !none) {
        let fits = match &sealing {
            Sealing::Passphrase(_) => "gpg",
            _ => "age",
        };
        if !value.text().trim().eq_ignore_ascii_case(fits) {
            return Err(value.unfit(format!("the key that is set is one of {fits}: leave this out")));
        }
    }
    Ok(sealing)
}

/// How archives are compressed.
///
/// # Errors
/// When a value cannot be used, or contradicts another.
pub(super) fn compression<'a>(
    sealing: &Sealing,
    get: &impl Fn(&str) -> Option<&'a Value>,
) -> anyhow::Result<Compression> {
    let usual = match sealing {
        // What the sidecar before this one wrote, and its users' scripts read.
        Sealing::Passphrase(_) => Compression::GZIP,
        _ => Compression::ZSTD,
    };
    let known = [("zstd", Compression::ZSTD), ("gzip", Compression::GZIP), ("none", Compression::None)];
    let chosen = get("COMPRESSION").map_or(Ok(usual), |value| value.one_of(&known))?;
    let Some(value) = get("COMPRESSION_LEVEL") else { return Ok(chosen) };
    let level = |most| {
        let level = value.number(most)?;
        if level == 0 {
            Err(value.unfit(format!("levels go from 1 to {most}")))
        } else {
            Ok(level.cast_signed())
        }
    };
    match chosen {
        Compression::None => Err(value.unfit("nothing is compressed: unset it")),
        Compression::Zstd { .. } => Ok(Compression::Zstd { level: level(19)? }),
        Compression::Gzip { .. } => Ok(Compression::Gzip { level: level(12)? }),
    }
}

/// When the job runs.
///
/// # Errors
/// When a value cannot be used, or contradicts another.
pub(super) fn schedule_of<'a>(
    zone: chrono_tz::Tz,
    get: &impl Fn(&str) -> Option<&'a Value>,
) -> anyhow::Result<Option<Schedule>> {
    let jitter = get("JITTER").map_or(Ok(Duration::ZERO), Value::duration)?;
    let Some(value) = get("SCHEDULE") else {
        return match get("JITTER") {
            Some(value) => Err(value.unfit("BACKUP_SCHEDULE is not set: set it, or unset this")),
            None => Ok(None),
        };
    };
    let schedule = Schedule::parse(value.text(), zone, jitter).map_err(|why| value.unfit(why))?;
    Ok(Some(schedule))
}

/// What is kept.
///
/// # Errors
/// When a value cannot be used, or contradicts another.
pub(super) fn retention<'a>(get: &impl Fn(&str) -> Option<&'a Value>) -> anyhow::Result<Policy> {
    let number = |short: &str| get(short).map_or(Ok(0), |value| value.number(100_000));
    let count = |short: &str| number(short).map(|number| number as usize);
    let days = number("RETENTION_DAYS")?;
    Ok(Policy {
        last: count("KEEP_LAST")?,
        daily: count("KEEP_DAILY")?,
        weekly: count("KEEP_WEEKLY")?,
        monthly: count("KEEP_MONTHLY")?,
        yearly: count("KEEP_YEARLY")?,
        within: (days > 0).then(|| Duration::from_secs(u64::from(days) * 24 * 3600)),
        ..Policy::default()
    })
}

/// Who is told.
///
/// # Errors
/// When a value cannot be used, or contradicts another.
pub(super) fn alarms<'a>(get: &impl Fn(&str) -> Option<&'a Value>) -> anyhow::Result<Alarms> {
    let hook = |short: &str| match get(short) {
        Some(value) if ["http://", "https://"].iter().any(|scheme| value.text().starts_with(scheme)) => {
            Ok(Some(value.secret()))
        }
        Some(value) => Err(value.unfit("it is no URL: begin it with https://")),
        None => Ok(None),
    };
    let mail = match (get("MAIL_TO"), get("MAIL_SERVER")) {
        (Some(to), Some(server)) => {
            let to = lists::words(to);
            Some(Mail {
                from: get("MAIL_FROM").map_or_else(|| to[0].clone(), |from| from.text().to_owned()),
                to,
                server: server.text().to_owned(),
                password: get("MAIL_PASSWORD").map(Value::secret),
                always: get("MAIL_ON")
                    .map_or(Ok(false), |value| value.one_of(&[("failure", false), ("always", true)]))?,
            })
        }
        (Some(one), None) | (None, Some(one)) => {
            return Err(one.unfit("BACKUP_MAIL_TO and BACKUP_MAIL_SERVER go together: set both, or neither"));
        }
        (None, None) => {
            if let Some(value) = ["MAIL_FROM", "MAIL_PASSWORD", "MAIL_ON"].iter().find_map(|part| get(part)) {
                return Err(value.unfit("BACKUP_MAIL_TO is not set: set it, or unset this"));
            }
            None
        }
    };
    if let (Some(mail), Some(server)) = (&mail, get("MAIL_SERVER")) {
        crate::alarm::mail::check(mail).map_err(|why| server.unfit(why))?;
    }
    let command = get("ALARM_COMMAND").map(|value| value.text().split_whitespace().map(str::to_owned));
    Ok(Alarms {
        start: hook("START_WEBHOOK")?,
        success: hook("SUCCESS_WEBHOOK")?,
        failure: hook("FAILURE_WEBHOOK")?,
        mail,
        command: command.map(Iterator::collect).unwrap_or_default(),
    })
}
