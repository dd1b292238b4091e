//! Prefixes and the paths of volumes: normalised, so that they can be compared, and none that would take the
//! name of something of our own in the archive or in a volume.

use crate::name::quote;
use crate::volume;

/// A path that is backed up and restored: a directory, or a single file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Volume {
    path: String,
    /// Its path in the snapshot, where that is another.
    stored: Option<String>,
}

impl Volume {
    /// The path, absolute and normalised: `/home/x`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path that it has in the snapshot that is restored.
    pub fn stored_path(&self) -> &str {
        self.stored.as_deref().unwrap_or(&self.path)
    }

    /// The path below the prefix in the archive: `home/x`.
    pub fn id(&self) -> &str {
        &self.path[1..]
    }

    /// Reads `STORED=PATH`, or a path alone. What separates the two is the first `=` before a slash.
    ///
    /// # Errors
    /// The reason why one of them cannot be a volume.
    pub(super) fn parse_moved(text: &str, prefix: &str) -> Result<Volume, String> {
        let Some((stored, path)) = text.split_once("=/") else { return Volume::parse(text, prefix) };
        let stored = Volume::parse(stored, prefix)?.path;
        let path = Volume::parse(&format!("/{path}"), prefix)?.path;
        Ok(Volume { stored: Some(stored).filter(|stored| *stored != path), path })
    }

    /// Reads a path; `prefix` is normalised.
    ///
    /// # Errors
    /// The reason why it cannot be a volume.
    pub(super) fn parse(path: &str, prefix: &str) -> Result<Volume, String> {
        let shown = quote(path);
        if !path.starts_with('/') {
            return Err(format!("{shown} is no absolute path: begin it with `/`"));
        }
        let components = components(path)?;
        let staging = |component: &&str| {
            let Some(rest) = component.strip_prefix(".snapshotter-staging") else {
                return false;
            };
            let number = rest.strip_prefix('.').unwrap_or("0");
            number.parse::<u64>().is_ok() && (rest.is_empty() || rest.starts_with('.'))
        };
        let first = components
            .first()
            .ok_or_else(|| format!("{shown} is all there is: name directories below it"))?;
        if let Some(name) = components.iter().find(|name| staging(name)) {
            return Err(format!("{shown} cannot be a volume: the name `{name}` is reserved for restore"));
        }
        let closing = ["volumes-data.yml", "snapshot.index", "snapshot.json"].contains(first);
        if closing || (*first == ".snapshot-begin" && prefix.is_empty()) {
            let way_out = if closing { "rename it" } else { "give a prefix" };
            return Err(format!(
                "{shown} cannot be a volume: the name `{first}` is reserved in the archive: {way_out}"
            ));
        }
        Ok(Volume { path: format!("/{}", components.join("/")), stored: None })
    }
}

/// Normalises a prefix.
///
/// # Errors
/// The reason why it cannot be one.
pub(super) fn prefix(prefix: &str) -> Result<String, String> {
    let components = components(prefix)?;
    if components.first() == Some(&".snapshot-begin") {
        return Err(format!(
            "{} begins with a name that is reserved in the archive: take another",
            quote(prefix)
        ));
    }
    Ok(components.join("/"))
}

fn components(path: &str) -> Result<Vec<&str>, String> {
    let components = volume::components(path);
    if components.contains(&"..") {
        return Err(format!("{} has a `..`: write the path without it", quote(path)));
    }
    if path.contains('\0') {
        return Err(format!("{} has a NUL character, and no path can: remove it", quote(path)));
    }
    Ok(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        let volume = Volume::parse("//home/./x//", "p").unwrap();
        assert_eq!((volume.path(), volume.id()), ("/home/x", "home/x"));
        assert_eq!(prefix("/a//./b/").unwrap(), "a/b");
        assert_eq!(prefix("").unwrap(), "");
        assert_eq!(prefix(" a").unwrap(), " a");
    }

    #[test]
    fn paths_that_cannot_be_volumes_are_refused() {
        let reasons = [
            ("", "no absolute path"),
            ("a/b", "no absolute path"),
            ("./a", "no absolute path"),
            ("/", "all there is"),
            ("/./", "all there is"),
            ("/a/../b", "has a `..`"),
            ("/..", "has a `..`"),
            ("/a\0", "NUL"),
            ("/volumes-data.yml", "reserved"),
            ("/volumes-data.yml/a", "reserved"),
            ("/snapshot.index", "reserved"),
            ("/./snapshot.json", "reserved"),
            ("/a/.snapshotter-staging", "reserved"),
            ("/.snapshotter-staging.7/b", "reserved"),
        ];
        for (path, reason) in reasons {
            assert!(Volume::parse(path, "p").unwrap_err().contains(reason), "{path}");
        }
        assert!(Volume::parse("/.snapshot-begin/a", "").unwrap_err().contains("give a prefix"));
    }

    #[test]
    fn a_volume_may_have_had_another_path() {
        let parse = |text| {
            Volume::parse_moved(text, "p").map(|volume| (volume.stored_path().to_owned(), volume.path))
        };
        let both = |stored: &str, path: &str| Ok((stored.to_owned(), path.to_owned()));
        assert_eq!(parse("/data=/srv//data/"), both("/data", "/srv/data"));
        assert_eq!(parse("/data=/data"), both("/data", "/data"));
        assert_eq!(parse("/a=b"), both("/a=b", "/a=b"));
        assert_eq!(parse("/a=b=/c=/d"), both("/a=b", "/c=/d"));
        for bad in ["data=/srv", "=/srv", "/data=/", "/data=/../x", "/=/a"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Volume::parse("/a=/b", "p").unwrap().path(), "/a=/b");
    }

    #[test]
    fn names_that_only_look_reserved_are_not() {
        for path in [
            "/a..b",
            "/...",
            "/a/volumes-data.yml",
            "/a/snapshot.json",
            "/snapshot.jsonl",
            "/.snapshotter-stagings",
        ] {
            assert_eq!(Volume::parse(path, "").unwrap().path(), path);
        }
        assert!(Volume::parse("/.snapshot-begin", "p").is_ok());
        assert!(Volume::parse("/a/.snapshot-begin", "").is_ok());
    }

    #[test]
    fn prefixes_that_would_hide_our_own_are_refused() {
        assert!(prefix("/.snapshot-begin/a").is_err());
        assert!(prefix("a/.snapshot-begin").is_ok());
        assert!(prefix("a/..").unwrap_err().contains("`..`"));
        assert!(prefix("a\0b").unwrap_err().contains("NUL"));
    }
}
