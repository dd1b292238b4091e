//! Takes the database's name out of a dump. `mariadb-dump` and `mysqldump` write it in one place: where a
//! trigger or routine was made when the database had another collation, they write ``ALTER DATABASE `app`
//! CHARACTER SET … COLLATE … ;`` around it. Loaded into a database of another name, that would change the
//! one that it names. Without a name it means the one that is loaded.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::source::Bytes;

const PREFIX: &[u8] = b"ALTER DATABASE `";
/// Longer than any such line.
const LONGEST: usize = 1024;

/// Looks at the beginnings of lines; a line itself may be longer than memory.
#[derive(Debug)]
struct Filter {
    /// The line so far, while it may still be one that is changed.
    line: Option<Vec<u8>>,
}

impl Default for Filter {
    fn default() -> Self {
        Filter { line: Some(Vec::new()) }
    }
}

impl Filter {
    fn push(&mut self, mut bytes: &[u8], to: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let length = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            let (piece, rest) = bytes.split_at(length);
            bytes = rest;
            let ends = piece.ends_with(b"\n");
            match &mut self.line {
                None => to.extend_from_slice(piece),
                Some(line) => {
                    line.extend_from_slice(piece);
                    let begun = line.len().min(PREFIX.len());
                    let open = line.len() <= LONGEST && line.get(..begun) == PREFIX.get(..begun);
                    if ends || !open {
                        to.extend_from_slice(&if ends && open {
                            nameless(line)
                        } else {
                            std::mem::take(line)
                        });
                        self.line = None;
                    }
                }
            }
            if ends {
                self.line = Some(Vec::new());
            }
        }
    }

    fn finish(&mut self, to: &mut Vec<u8>) {
        to.extend(self.line.take().unwrap_or_default());
    }
}

/// A line without the name, if it is one of those.
fn nameless(line: &[u8]) -> Vec<u8> {
    let without = || {
        let line = str::from_utf8(line).ok()?;
        // A name may have a backtick, which is doubled.
        let (_, rest) = line.rsplit_once("` CHARACTER SET ")?;
        let words: Vec<_> = rest.trim_end().split(' ').collect();
        let word = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let [set, "COLLATE", collation, ";" | ";;"] = words[..] else { return None };
        (word(set) && word(collation)).then(|| format!("ALTER DATABASE CHARACTER SET {rest}").into_bytes())
    };
    without().unwrap_or_else(|| line.to_vec())
}

/// A dump that is read, without the name.
pub(super) struct Nameless {
    input: Bytes,
    filter: Filter,
    buffer: Vec<u8>,
    ready: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl Nameless {
    pub(super) fn new(input: Bytes) -> Self {
        let (filter, ready) = (Filter::default(), io::Cursor::default());
        Nameless { input, filter, buffer: vec![0; 256 << 10], ready, ended: false }
    }
}

impl AsyncRead for Nameless {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let at = usize::try_from(this.ready.position()).unwrap_or(usize::MAX);
            let rest = this.ready.get_ref().get(at..).unwrap_or_default();
            if !rest.is_empty() || this.ended {
                let length = rest.len().min(to.remaining());
                to.put_slice(rest.get(..length).unwrap_or_default());
                this.ready.set_position((at + length) as u64);
                return Poll::Ready(Ok(()));
            }
            let mut read = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.input).poll_read(context, &mut read))?;
            let fresh = this.ready.get_mut();
            fresh.clear();
            if read.filled().is_empty() {
                this.ended = true;
                this.filter.finish(fresh);
            } else {
                this.filter.push(read.filled(), fresh);
            }
            this.ready.set_position(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    const DUMP: &str = "ALTER DATABASE `a``p` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ;\n\
        INSERT INTO t VALUES ('ALTER DATABASE `app` CHARACTER SET a COLLATE b ;');\n\
        ALTER DATABASE `app` CHARACTER SET latin1 COLLATE latin1_bin ;;\n\
        ALTER DATABASE `app` READ ONLY = 1 ;\nALTER\n\nALTER DATABASE `";
    const WITHOUT: &str = "ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ;\n\
        INSERT INTO t VALUES ('ALTER DATABASE `app` CHARACTER SET a COLLATE b ;');\n\
        ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_bin ;;\n\
        ALTER DATABASE `app` READ ONLY = 1 ;\nALTER\n\nALTER DATABASE `";

    #[tokio::test]
    async fn the_name_is_taken_out_wherever_the_dump_is_split() {
        for size in 1..DUMP.len() {
            let (mut filter, mut to) = (Filter::default(), Vec::new());
            DUMP.as_bytes().chunks(size).for_each(|piece| filter.push(piece, &mut to));
            filter.finish(&mut to);
            assert_eq!(String::from_utf8(to).unwrap(), WITHOUT, "{size}");
        }
        let mut read = String::new();
        let input = Box::new(io::Cursor::new(DUMP));
        Nameless::new(input).read_to_string(&mut read).await.unwrap();
        assert_eq!(read, WITHOUT);
    }
}
