//! What a container sees in a directory.

use crate::api::client::Call;
use crate::api::engine::Engine;
use crate::api::query::encode;
use crate::error::{Error, Result};

/// How much is read: far more than the headers of one directory have.
const HEAD: usize = 64 << 10;
const BLOCK: usize = 512;
/// What filesystems have at their roots, and users have nothing in.
const LOST_AND_FOUND: &[u8] = b"/lost+found/";

impl Engine {
    /// Whether there is nothing in the directory at `path` of the container with this id, which need not run.
    ///
    /// # Errors
    /// When the engine does not say, or there is no such directory.
    pub async fn is_empty(&self, id: &str, path: &str) -> Result<bool> {
        let action = format!("look into {path} of the helper");
        let call =
            Call::get(action.clone(), format!("/containers/{}/archive?path={}", encode(id), encode(path)));
        let head = self.client.head(&call, HEAD).await?;
        is_empty(&head).ok_or_else(|| {
            let source = std::io::Error::other("the engine sent no tar");
            Error::Broken { action, source }
        })
    }
}

/// Whether a tar that begins with `head` holds one directory and nothing in it; `None` where it is no tar.
fn is_empty(head: &[u8]) -> Option<bool> {
    let mut at = 0;
    let mut members = 0;
    while let Some(header) = head.get(at..at + BLOCK) {
        if header.iter().all(|&byte| byte == 0) {
            return (members > 0).then_some(true);
        }
        let digits = std::str::from_utf8(&header[124..136]).ok()?.trim_matches(['\0', ' ']);
        // Sizes that do not fit in octal digits are those of files.
        let size = usize::from_str_radix(digits, 8).unwrap_or(usize::MAX);
        let name = header[..100].split(|&byte| byte == 0).next()?;
        if !matches!(header[156], b'x' | b'g' | b'L' | b'K') && !name.ends_with(LOST_AND_FOUND) {
            members += 1;
        }
        if members > 1 {
            return Some(false);
        }
        at += BLOCK + size.min(head.len()).div_ceil(BLOCK) * BLOCK;
    }
    // It goes on: an empty directory would have ended.
    (head.len() >= HEAD).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, kind: u8, size: usize) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[156] = kind;
        header
    }

    #[test]
    fn an_empty_directory_is_told_from_a_full_one() {
        let root = header("data/", b'5', 0);
        let end = vec![0; 2 * BLOCK];
        let with = |more: &[Vec<u8>]| is_empty(&[&root[..], &more.concat(), &end].concat());
        assert_eq!(with(&[]), Some(true));
        assert_eq!(with(&[header("data/a", b'0', 3), vec![b'x'; BLOCK]]), Some(false));
        assert_eq!(with(&[header("data/lost+found/", b'5', 0)]), Some(true));
        let pax = [header("pax", b'x', 20), vec![b'x'; BLOCK]].concat();
        assert_eq!(is_empty(&[&pax[..], &root, &end].concat()), Some(true));
        assert_eq!(is_empty(&[&pax[..], &root, &pax, &header("data/é", b'0', 0)].concat()), Some(false));
        assert_eq!(is_empty(b""), None);
        assert_eq!(is_empty(&end), None);
        assert_eq!(is_empty(&root), None, "it is cut off");
    }
}
