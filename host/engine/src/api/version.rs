//! Which version of the API is spoken. `GET /version` without a version is answered by every engine; all
//! other calls then carry the newest version that both sides know.

use std::env;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};

/// The oldest version that has all that is used here: Docker 19.03, Podman 3.
const OLDEST: ApiVersion = ApiVersion(1, 40);
/// The newest version whose answers have the form that is read here; 1.52 begins to leave sizes of volumes
/// out.
const NEWEST: ApiVersion = ApiVersion(1, 51);

/// A version of the API, such as 1.41.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(u32, u32);

impl ApiVersion {
    /// The version that `DOCKER_API_VERSION` asks for.
    pub(crate) fn pinned() -> Option<Self> {
        env::var("DOCKER_API_VERSION").ok()?.trim_start_matches('v').parse().ok()
    }
}

impl FromStr for ApiVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts =
            text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = parts.ok_or("a version of the API has the form 1.41")?;
        Ok(ApiVersion(major, minor))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}.{}", self.0, self.1)
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What an engine says of itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct About {
    /// The engine's own version, such as 20.10.24.
    #[serde(default)]
    pub version: String,
    /// The newest version of the API that it speaks.
    pub api_version: ApiVersion,
    /// The oldest one; very old engines do not say it.
    #[serde(rename = "MinAPIVersion", default)]
    pub least: Option<ApiVersion>,
    /// The processor that it runs on, such as amd64.
    #[serde(default)]
    pub arch: String,
    /// What it is made of.
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    #[serde(default)]
    name: String,
}

impl About {
    /// Whether this is Podman.
    pub fn is_podman(&self) -> bool {
        self.components.iter().any(|component| component.name.starts_with("Podman"))
    }

    /// The version to speak: the newest that both know, and none that is newer than `pinned`.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn agree(&self, pinned: Option<ApiVersion>) -> Result<ApiVersion> {
        let agreed = self.api_version.min(NEWEST).min(pinned.unwrap_or(NEWEST));
        let least = self.least.unwrap_or(OLDEST);
        if agreed < OLDEST || agreed < least {
            return Err(Error::Version {
                least: least.to_string(),
                most: self.api_version.to_string(),
                ours: format!("{OLDEST} to {}", pinned.unwrap_or(NEWEST)),
            });
        }
        Ok(agreed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(least: &str, most: &str) -> About {
        serde_json::from_str(&format!(r#"{{"ApiVersion":"{most}","MinAPIVersion":"{least}"}}"#)).unwrap()
    }

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        for (least, most, pinned, agreed) in [
            ("1.12", "1.41", None, "1.41"),
            ("1.40", "1.55", None, "1.51"),
            ("1.44", "1.53", None, "1.51"),
            ("1.12", "1.48", Some("1.41"), "1.41"),
            ("1.12", "1.41", Some("1.45"), "1.41"),
        ] {
            let pinned = pinned.map(|text| text.parse().unwrap());
            assert_eq!(about(least, most).agree(pinned).unwrap().to_string(), agreed);
        }
    }

    #[test]
    fn an_engine_that_is_too_old_or_too_new_is_refused() {
        for (least, most, pinned) in
            [("1.12", "1.39", None), ("1.52", "1.60", None), ("1.44", "1.48", Some("1.41"))]
        {
            let pinned = pinned.map(|text| text.parse().unwrap());
            assert!(matches!(about(least, most).agree(pinned), Err(Error::Version { .. })));
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "1", "1.", "1.x", ".1", "1.2.3"] {
            assert!(text.parse::<ApiVersion>().is_err(), "{text}");
        }
    }
}
