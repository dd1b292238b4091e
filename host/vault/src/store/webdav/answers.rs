//! What a server says of its files: `multistatus` of RFC 4918, and the headers of a part.

use std::ops::Range;
use std::time::SystemTime;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its address, as the server writes it.
    pub(super) href: String,
    pub(super) folder: bool,
    pub(super) size: Option<u64>,
    pub(super) tag: Option<String>,
    pub(super) modified: Option<SystemTime>,
}

#[derive(Debug, Deserialize)]
struct Multistatus {
    #[serde(default, rename = "response")]
    responses: Vec<Described>,
}

#[derive(Debug, Deserialize)]
struct Described {
    href: String,
    #[serde(default, rename = "propstat")]
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    prop: Properties,
    status: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Properties {
    getcontentlength: Option<String>,
    getetag: Option<String>,
    getlastmodified: Option<String>,
    resourcetype: Option<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    collection: Option<IgnoredAny>,
}

/// The entries of a `multistatus`, or what is wrong with it.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, String> {
    let answer: Multistatus = quick_xml::de::from_str(text).map_err(|error| error.to_string())?;
    Ok(answer.responses.into_iter().map(entry).collect())
}

fn entry(described: Described) -> Entry {
    let mut entry = Entry { href: described.href, folder: false, size: None, tag: None, modified: None };
    let known = |group: &Group| group.status.as_deref().is_none_or(|status| status.contains(" 200"));
    for Group { prop, .. } in described.groups.into_iter().filter(known) {
        entry.folder |= prop.resourcetype.is_some_and(|kind| kind.collection.is_some());
        entry.size = entry.size.or_else(|| prop.getcontentlength?.trim().parse().ok());
        entry.tag = entry.tag.or(prop.getetag.filter(|tag| !tag.is_empty()));
        entry.modified = entry.modified.or_else(|| time(&prop.getlastmodified?));
    }
    entry
}

/// The last part of the path of `href`, decoded, if that is a child of the folder `base`.
pub(super) fn last(base: &Url, href: &str) -> Option<String> {
    let url = base.join(href).ok()?;
    let decoded = |path: &str| percent_decode_str(path).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    // Decoded by parts: a slash in a name is not one in a path.
    let parts = |url: &Url| -> Option<Vec<String>> {
        url.path_segments()?.filter(|part| !part.is_empty()).map(decoded).collect()
    };
    let (mut child, base) = (parts(&url)?, parts(base)?);
    let last = child.pop()?;
    (child == base && !last.contains('/') && last != "." && last != "..").then_some(last)
}

/// The bytes and the length of the whole in `Content-Range: bytes 0-9/100`.
pub(super) fn range(header: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    let to: u64 = to.trim().parse().ok()?;
    Some((from.trim().parse().ok()?..to.checked_add(1)?, size.trim().parse().ok()?))
}

/// A time of HTTP, RFC 9110: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn time(text: &str) -> Option<SystemTime> {
    chrono::DateTime::parse_from_rfc2822(text.trim()).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_whatever_prefix_their_namespace_has() {
        for prefix in ["D:", "d:", ""] {
            let xmlns = if prefix.is_empty() {
                "xmlns".to_owned()
            } else {
                format!("xmlns:{}", prefix.trim_end_matches(':'))
            };
            let text = format!(
                r#"<?xml version="1.0"?><{prefix}multistatus {xmlns}="DAV:">
                <{prefix}response><{prefix}href>/a/</{prefix}href><{prefix}propstat><{prefix}prop>
                <{prefix}resourcetype><{prefix}collection/></{prefix}resourcetype></{prefix}prop>
                <{prefix}status>HTTP/1.1 200 OK</{prefix}status></{prefix}propstat></{prefix}response>
                <{prefix}response><{prefix}href>/a/b%20c</{prefix}href><{prefix}propstat><{prefix}prop>
                <{prefix}getcontentlength>7</{prefix}getcontentlength><{prefix}getetag>"x"</{prefix}getetag>
                <{prefix}resourcetype/>
                <{prefix}getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</{prefix}getlastmodified></{prefix}prop>
                <{prefix}status>HTTP/1.1 200 OK</{prefix}status></{prefix}propstat>
                <{prefix}propstat><{prefix}prop><{prefix}quota/></{prefix}prop>
                <{prefix}status>HTTP/1.1 404 Not Found</{prefix}status></{prefix}propstat></{prefix}response>
                </{prefix}multistatus>"#
            );
            let entries = entries(&text).unwrap();
            assert!(entries[0].folder && entries[0].size.is_none());
            assert_eq!(
                (entries[1].folder, entries[1].size, entries[1].tag.as_deref()),
                (false, Some(7), Some("\"x\""))
            );
            let time = entries[1].modified.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(time.as_secs(), 784_111_777);
        }
    }

    #[test]
    fn only_children_of_a_folder_are_in_it() {
        let base: Url = "http://host/dav/a%20b/".parse().unwrap();
        for (href, last_part) in [
            ("/dav/a%20b/c", Some("c")),
            ("http://host/dav/a%20b/c%2Bd/", Some("c+d")),
            ("/dav/a%20b/", None),
            ("/dav/a%20b/c/d", None),
            ("/dav/other", None),
            ("/dav/a%20b/../x", None),
            ("/dav/a%20b/c%2Fd", None),
            ("/dav/a%20b/%2e%2e", None),
        ] {
            assert_eq!(last(&base, href).as_deref(), last_part, "{href}");
        }
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(range("bytes 5-9/100"), Some((5..10, 100)));
        for bad in ["", "bytes */100", "bytes 5-18446744073709551615/1", "5-9/100", "bytes 5/100"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
