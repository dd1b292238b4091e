//! The members of a file, one after the other, as they come.

use std::io::Read;

use flate2::bufread::GzDecoder;

use super::super::error::{Error, Result};
use super::super::input::Input;
use super::member::{HEADER, LARGEST, LAST, LAST_HEADER, MEMBER, Sums};

/// Bytes of content that one piece has, at most.
const PIECE: usize = 1 << 20;

/// What comes next.
#[derive(Debug)]
pub(in super::super) enum Found {
    /// A member of ours that has so many bytes of content.
    Member(Vec<u8>, usize),
    /// Content of another program's member.
    Piece(Vec<u8>),
    /// Nothing: all of it was read, and fits together.
    End,
}

/// Goes from member to member.
pub(in super::super) struct Members<R> {
    state: State<R>,
    met: Sums,
    /// Whether a member of ours was met, so that a last one must come.
    promised: bool,
    ended: bool,
}

enum State<R> {
    Between(Input<R>),
    Within(Box<GzDecoder<Input<R>>>),
    Lost,
}

impl<R: Read> Members<R> {
    pub(in super::super) fn new(input: Input<R>) -> Self {
        Self { state: State::Between(input), met: Sums::default(), promised: false, ended: false }
    }

    /// What comes next; `buffer` is used for it.
    pub(in super::super) fn next(&mut self, mut buffer: Vec<u8>) -> Result<Found> {
        buffer.clear();
        loop {
            match std::mem::replace(&mut self.state, State::Lost) {
                State::Between(input) => {
                    if let Some(found) = self.between(input, &mut buffer)? {
                        return Ok(found);
                    }
                }
                State::Within(decoder) => {
                    if self.within(decoder, &mut buffer)? {
                        return Ok(Found::Piece(buffer));
                    }
                }
                State::Lost => return Err(Error::Stopped),
            }
        }
    }

    /// At the beginning of a member.
    fn between(&mut self, mut input: Input<R>, buffer: &mut Vec<u8>) -> Result<Option<Found>> {
        let head = input.peek(LAST_HEADER)?;
        if head.is_empty() {
            return self.end().map(Some);
        }
        if self.ended {
            return Err(Error::damaged(format!("something follows its end, at byte {}", input.position())));
        }
        if !head.starts_with(&[0x1f, 0x8b]) {
            return Err(Error::damaged(format!("at byte {} there is no member of gzip", input.position())));
        }
        let found = match ours(head) {
            Some(Ours::Member { whole, content }) => self.member(&mut input, whole, content, buffer)?,
            Some(Ours::Last(sums)) => return self.last(input, sums).map(|()| None),
            None if self.promised => {
                return Err(Error::damaged(format!(
                    "at byte {} there is a foreign member",
                    input.position()
                )));
            }
            None => {
                self.met.members += 1;
                self.state = State::Within(Box::new(GzDecoder::new(input)));
                return Ok(None);
            }
        };
        self.state = State::Between(input);
        Ok(Some(found))
    }

    fn end(&self) -> Result<Found> {
        if self.promised && !self.ended {
            return Err(Error::damaged("it is cut off: its last member is missing"));
        }
        if self.met.members == 0 && !self.ended {
            return Err(Error::damaged("it is empty"));
        }
        Ok(Found::End)
    }

    fn member(
        &mut self,
        input: &mut Input<R>,
        whole: u32,
        content: u32,
        buffer: &mut Vec<u8>,
    ) -> Result<Found> {
        self.promised = true;
        // deflate stores what does not compress, and then adds little.
        if content > LARGEST || whole > content + content / 64 + 4096 {
            return Err(Error::damaged("a member has sizes that cannot be"));
        }
        if !input.append(buffer, whole.into())? {
            return Err(Error::damaged("it is cut off in the middle of a member"));
        }
        self.met = Sums { members: self.met.members + 1, content: self.met.content + u64::from(content) };
        Ok(Found::Member(std::mem::take(buffer), content as usize))
    }

    /// The last member must be what it would be if it were written now.
    fn last(&mut self, mut input: Input<R>, sums: Sums) -> Result<()> {
        let (expected, mut bytes) = (sums.member(), Vec::new());
        if !input.append(&mut bytes, expected.len() as u64)? || bytes != expected {
            return Err(Error::damaged("its last member is broken or cut off"));
        }
        if sums != self.met {
            return Err(Error::damaged(
                "it has other members than its last one says: some are missing, or others",
            ));
        }
        (self.promised, self.ended) = (true, true);
        self.state = State::Between(input);
        Ok(())
    }

    /// In a member of another program: its content goes into `buffer`, and `false` says that it has ended.
    fn within(&mut self, mut decoder: Box<GzDecoder<Input<R>>>, buffer: &mut Vec<u8>) -> Result<bool> {
        let read = decoder.by_ref().take(PIECE as u64).read_to_end(buffer);
        let count = read.map_err(|error| match Error::of(error, "decompress") {
            Error::System { source, .. } => {
                Error::damaged(format!("a member does not decompress ({source})"))
            }
            error => error,
        })?;
        if count < PIECE {
            self.state = State::Between(decoder.into_inner());
        } else {
            self.state = State::Within(decoder);
        }
        Ok(count > 0)
    }
}

/// What our extra field says.
enum Ours {
    Member { whole: u32, content: u32 },
    Last(Sums),
}

/// The extra field of a header that is ours; `None` if it is another program's.
fn ours(head: &[u8]) -> Option<Ours> {
    let field = head.get(..HEADER).filter(|head| head[3] == 4)?;
    let (length, name) = (u16::from_le_bytes([field[10], field[11]]), [field[12], field[13]]);
    let size = u16::from_le_bytes([field[14], field[15]]);
    let word = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let long = |at: usize| head.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    match (name, length, size) {
        (MEMBER, 12, 8) => Some(Ours::Member { whole: word(16)?, content: word(20)? }),
        (LAST, 20, 16) => Some(Ours::Last(Sums { members: long(16)?, content: long(24)? })),
        _ => None,
    }
}
