//! How reports write values that JSON has no form of: names are bytes, paths too, and durations have
//! fractions.

pub(super) use crate::name::serial as name;

/// Several names.
pub(super) mod names {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::name::{from_json, json};

    pub(crate) fn serialize<S: Serializer>(names: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(names.iter().map(|name| json(name)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
        Ok(Vec::<String>::deserialize(from)?.iter().map(|name| from_json(name)).collect())
    }
}

/// A name or `null`.
pub(super) mod optional_name {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::name::{from_json, json};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(name: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        name.as_deref().map(json).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.as_deref().map(from_json))
    }
}

/// A path.
pub(super) mod path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserializer, Serializer};

    use super::name;

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        name::serialize(path.as_os_str().as_bytes(), to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(OsString::from_vec(name::deserialize(from)?).into())
    }
}

/// A duration: seconds, to the millisecond.
pub(super) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Permission bits: four octal digits.
pub(super) mod octal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(mode: &u32, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{mode:04o}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        u32::from_str_radix(&String::deserialize(from)?, 8).map_err(D::Error::custom)
    }
}

/// What follows the end of an archive that was listed, as two numbers of bytes.
pub(super) mod tail {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::archive::end::Tail;

    #[derive(Serialize, Deserialize)]
    struct After {
        remains: u64,
        #[serde(default)]
        padding: u64,
    }

    pub(crate) fn serialize<S: Serializer>(tail: &Tail, to: S) -> Result<S::Ok, S::Error> {
        let (remains, padding) = match *tail {
            Tail::Nothing | Tail::Foreign(_) => (0, 0),
            Tail::Zeros(length) => (0, length),
            Tail::Remains(length) => (length, 0),
        };
        After { remains, padding }.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Tail, D::Error> {
        Ok(match After::deserialize(from)? {
            After { remains: 0, padding: 0 } => Tail::Nothing,
            After { remains: 0, padding } => Tail::Zeros(padding),
            After { remains, .. } => Tail::Remains(remains),
        })
    }
}

/// What follows the end of an archive that was verified: what a killed backup left, in bytes.
pub(super) mod remains {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::archive::end::Tail;

    pub(crate) fn serialize<S: Serializer>(tail: &Tail, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(if let Tail::Remains(length) = *tail { length } else { 0 })
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Tail, D::Error> {
        Ok(match u64::deserialize(from)? {
            0 => Tail::Nothing,
            length => Tail::Remains(length),
        })
    }
}
