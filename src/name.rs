//! Names are bytes. This is how they are shown: to a terminal without anything that could drive it, and in
//! JSON so that every byte can be had back.

use std::fmt;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A name or path as a person sees it: UTF-8 as it is, control characters and bytes that are no UTF-8 as
/// `\xNN`, so that a name from an archive cannot move the cursor or break a line.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(String);

impl From<&[u8]> for Shown {
    fn from(name: &[u8]) -> Self {
        Shown(escape(name, char::is_control))
    }
}

impl From<&Path> for Shown {
    fn from(path: &Path) -> Self {
        Shown::from(path.as_os_str().as_bytes())
    }
}

impl From<&str> for Shown {
    fn from(name: &str) -> Self {
        Shown::from(name.as_bytes())
    }
}

impl From<&Vec<u8>> for Shown {
    fn from(name: &Vec<u8>) -> Self {
        Shown::from(name.as_slice())
    }
}

impl From<&Shown> for Shown {
    fn from(shown: &Shown) -> Self {
        shown.clone()
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value from outside, as a reason shows it.
pub(crate) fn quote(value: &str) -> String {
    format!("`{}`", Shown::from(abridged(value).as_str()))
}

/// The two ends of a text that is too long to be shown: a value can be as long as a file.
pub(crate) fn abridged(text: &str) -> String {
    let head = text.char_indices().nth(150).map(|(at, _)| at);
    let tail = text.char_indices().nth_back(149).map(|(at, _)| at);
    match (head, tail) {
        (Some(head), Some(tail)) if head < tail => format!("{}…{}", &text[..head], &text[tail..]),
        _ => text.to_owned(),
    }
}

/// A name for JSON: UTF-8 as it is, a backslash as `\\`, a byte that is no UTF-8 as `\xNN`. Reading these two
/// escapes gives back the very bytes. (JSON's own escapes come on top, and are undone by its parser.)
pub fn json(name: &[u8]) -> String {
    escape(name, |c| c == '\\')
}

/// The bytes of a name that [`json`] wrote. A backslash that begins neither of its escapes stands for itself.
pub fn from_json(text: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let (byte, left) = match rest {
            [b'\\', b'\\', left @ ..] => (b'\\', left),
            [b'\\', b'x', high, low, left @ ..] => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, left),
                _ => (b'\\', more),
            },
            _ => (*first, more),
        };
        name.push(byte);
        rest = left;
    }
    name
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// For `#[serde(with = "name::serial")]`: a name as [`json`] writes it.
pub(crate) mod serial {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(name: &[u8], to: S) -> Result<S::Ok, S::Error> {
        super::json(name).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        String::deserialize(from).map(|text| super::from_json(&text))
    }
}

fn escape(name: &[u8], special: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' if special(c) => out.push_str("\\\\"),
                c if special(c) => {
                    let mut buffer = [0; 4];
                    push_hex(&mut out, c.encode_utf8(&mut buffer).as_bytes());
                }
                c => out.push(c),
            }
        }
        push_hex(&mut out, chunk.invalid());
    }
    out
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_name_cannot_drive_a_terminal() {
        let name: &[u8] = b"a\x1b[2J\n\xff\\\xc3\xa9\xc2\x9b";
        assert_eq!(Shown::from(name).to_string(), "a\\x1b[2J\\x0a\\xff\\é\\xc2\\x9b");
    }

    #[test]
    fn a_json_name_doubles_its_backslashes_so_that_it_can_be_read_back() {
        let name = b"a\\x41\xff\n\xc3\xa9";
        assert_eq!(json(name), "a\\\\x41\\xff\n\u{e9}");
        assert_eq!(from_json(&json(name)), name);
        assert_eq!(from_json("\\q\\x4g\\x4"), b"\\q\\x4g\\x4");
    }
}
