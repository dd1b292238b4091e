//! Paths and queries of requests. Names come from outside: none may change which request it is.

use std::fmt::Write;

/// `text` as one part of a path, or one value of a query.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'~')
            || (byte == b'.' && text.len() > 2)
        {
            encoded.push(char::from(byte));
        } else {
            // A string takes all that is written to it.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_leave_its_place() {
        assert_eq!(encode("app_data-1.x"), "app_data-1.x");
        assert_eq!(encode("../a?b=c&d#e f%"), "..%2Fa%3Fb%3Dc%26d%23e%20f%25");
        assert_eq!(encode(".."), "%2E%2E");
        assert_eq!(encode("é"), "%C3%A9");
    }
}
