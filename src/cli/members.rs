//! `snapshotter list ID`: the members of a snapshot as `tar -tv` shows them, each as soon as it is met: a
//! snapshot may have millions.

use std::io::{ErrorKind, Write};

use snapshotter::name::Shown;
use snapshotter::report::ListedMember;
use snapshotter::{Entry, Kind, Member, Result};

use crate::cli::output::{Output, failure};
use crate::cli::session::Session;
use crate::cli::units::minute;

/// How wide owner and size are together, as in GNU tar.
const OWNER_AND_SIZE: usize = 19;

/// Prints the members of the snapshot whose ID begins with `id`.
///
/// # Errors
/// When there is no such snapshot, or the archive is damaged.
pub(crate) fn print(id: &str, session: &Session) -> anyhow::Result<()> {
    let options = session.list_options()?;
    let mut output = Output::stdout();
    let mut count: u64 = 0;
    let result = session.watch(|run| {
        snapshotter::members(&options, id, run, &mut |member: &Member| {
            session.check_signals()?;
            if session.json() {
                output.write(if count == 0 { b"{\"members\":[" } else { b"," })?;
                output.json(&ListedMember::from(&member.entry))?;
            } else {
                output.line(line(&member.entry))?;
            }
            count += 1;
            until_closed(&output)
        })
    });
    let snapshot = match result {
        Ok(snapshot) => snapshot,
        // Nobody reads any longer, and so nothing is missing.
        Err(_) if output.closed() => return Ok(()),
        Err(error) => {
            output.finish()?;
            return Err(error.into());
        }
    };
    if session.json() {
        // The ID that was asked for may be the beginning of one: the whole is known only now.
        output.write(if count == 0 { b"{\"members\":[],\"id\":" } else { b"],\"id\":" })?;
        output.json(&snapshot.id)?;
        output.line("}")?;
    }
    Ok(output.finish()?)
}

/// Ends the walk once nobody reads.
fn until_closed<W: Write>(output: &Output<W>) -> Result<()> {
    if output.closed() { Err(failure(ErrorKind::BrokenPipe.into())) } else { Ok(()) }
}

/// As `tar -tv` shows it, with numeric owners and in UTC.
fn line(entry: &Entry) -> String {
    let owner = format!("{}/{}", entry.uid, entry.gid);
    let size = match entry.kind {
        Kind::CharDevice | Kind::BlockDevice => format!("{},{}", entry.device.0, entry.device.1),
        _ => entry.size.to_string(),
    };
    let width = OWNER_AND_SIZE.saturating_sub(owner.len() + 1);
    let slash = if entry.kind == Kind::Directory { "/" } else { "" };
    let link = match entry.kind {
        Kind::Symlink => format!(" -> {}", Shown::from(&entry.link)),
        Kind::HardLink => format!(" link to {}", Shown::from(&entry.link)),
        _ => String::new(),
    };
    format!(
        "{} {owner} {size:>width$} {} {}{slash}{link}",
        mode(entry.kind, entry.mode),
        minute(entry.mtime),
        Shown::from(&entry.name),
    )
}

fn mode(kind: Kind, mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(match kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::HardLink => 'h',
        Kind::Fifo => 'p',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
        Kind::Other(_) => '?',
    });
    // Of each three bits, the last shows a special bit too: setuid, setgid, sticky.
    for (shift, special, with, without) in
        [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => with,
            (false, true) => without,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use snapshotter::time::Time;

    use super::*;

    fn entry(name: &[u8], kind: Kind) -> Entry {
        Entry {
            name: name.to_vec(),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Time { secs: 1_795_190_580, nanos: 7 },
            size: 0,
            link: b"to\x1b".to_vec(),
            device: (8, 1),
            xattrs: Vec::new(),
            acl_access: None,
            acl_default: None,
            sparse: None,
        }
    }

    #[test]
    fn members_look_as_in_tar() {
        assert_eq!(line(&entry(b"a", Kind::Directory)), "drwxr-xr-x 0/0               0 2026-11-20 16:03 a/");
        assert_eq!(
            line(&entry(b"a", Kind::BlockDevice)),
            "brwxr-xr-x 0/0             8,1 2026-11-20 16:03 a"
        );
        assert!(line(&entry(b"a\n", Kind::Symlink)).ends_with(" a\\x0a -> to\\x1b"));
        assert!(line(&entry(b"a", Kind::HardLink)).ends_with(" a link to to\\x1b"));
        let wide = Entry { uid: u64::MAX, size: u64::MAX, ..entry(b"a", Kind::File) };
        assert!(line(&wide).contains("18446744073709551615/0 18446744073709551615 2026"));
    }

    #[test]
    fn special_bits_take_the_place_of_x() {
        assert_eq!(mode(Kind::File, 0o7777), "-rwsrwsrwt");
        assert_eq!(mode(Kind::File, 0o7000), "---S--S--T");
        assert_eq!(mode(Kind::Fifo, 0), "p---------");
    }

    #[test]
    fn json_has_all_bytes_of_a_name_and_links_only_of_links() {
        let of = |kind| serde_json::to_value(ListedMember::from(&entry(b"a\xff\\", kind))).unwrap();
        let (file, link) = (of(Kind::File), of(Kind::Symlink));
        assert_eq!((&file["name"], &file["mode"]), (&"a\\xff\\\\".into(), &"0755".into()));
        assert_eq!((&file["link"], &link["link"]), (&serde_json::Value::Null, &"to\u{1b}".into()));
        assert_eq!(file["mtime"], "2026-11-20T16:03:00.000000007Z");
    }
}
