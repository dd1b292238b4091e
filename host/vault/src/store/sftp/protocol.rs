//! Packets of SFTP, version 3, which is what servers speak:
//! <https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02>. A packet is a length, a kind, a number
//! that its answer repeats, and fields. What a server sends is not trusted: no length is believed beyond what
//! has come.

use bytes::{Buf, Bytes};

use super::failure::Failure;

pub(super) const INIT: u8 = 1;
pub(super) const VERSION: u8 = 2;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const STAT: u8 = 17;
pub(super) const RENAME: u8 = 18;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
pub(super) const EXTENDED: u8 = 200;
const EXTENDED_REPLY: u8 = 201;

/// Open for reading.
pub(super) const FOR_READING: u32 = 1;
/// Open for writing.
pub(super) const FOR_WRITING: u32 = 2;
/// Make the file, which must not be there.
pub(super) const NEW: u32 = 8 | 32;

const OK: u32 = 0;
pub(super) const END_OF_FILE: u32 = 1;
pub(super) const NO_SUCH_FILE: u32 = 2;
pub(super) const PERMISSION_DENIED: u32 = 3;
pub(super) const FAILURE: u32 = 4;

const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_MODE: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_MORE: u32 = 0x8000_0000;
const KIND_OF_FILE: u32 = 0o170_000;

/// A packet to be sent. Bytes of a file follow it, and are not copied.
#[derive(Debug)]
pub(super) struct Packet {
    head: Vec<u8>,
    data: Option<Bytes>,
}

impl Packet {
    /// A packet with a number, to which fields are added. [`INIT`] has its version in the number's place.
    pub(super) fn new(kind: u8, id: u32) -> Self {
        let mut head = vec![0; 4];
        head.push(kind);
        head.extend(id.to_be_bytes());
        Packet { head, data: None }
    }

    pub(super) fn number(mut self, number: u32) -> Self {
        self.head.extend(number.to_be_bytes());
        self
    }

    pub(super) fn long(mut self, number: u64) -> Self {
        self.head.extend(number.to_be_bytes());
        self
    }

    pub(super) fn string(self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        let mut packet = self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        packet.head.extend_from_slice(text);
        packet
    }

    /// Attributes of which only the permissions are said.
    pub(super) fn mode(self, mode: u32) -> Self {
        self.number(HAS_MODE).number(mode)
    }

    /// Attributes of which only the times are said, in seconds.
    pub(super) fn times(self, time: u32) -> Self {
        self.number(HAS_TIMES).number(time).number(time)
    }

    /// The bytes of a file, the last field.
    pub(super) fn data(self, data: Bytes) -> Self {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Packet { data: Some(data), ..self.number(length) }
    }

    /// What goes over the connection.
    pub(super) fn finish(mut self) -> (Bytes, Option<Bytes>) {
        let length = self.head.len() - 4 + self.data.as_ref().map_or(0, Bytes::len);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.head[..4].copy_from_slice(&length.to_be_bytes());
        (self.head.into(), self.data)
    }
}

/// What a server answers, from behind the number on.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    kind: u8,
    fields: Fields,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    mode: Option<u32>,
    /// In seconds since 1970.
    pub(super) modified: Option<u32>,
}

impl Attributes {
    /// Whether it is a folder; where servers do not say, it is none.
    pub(super) fn is_folder(&self) -> bool {
        self.mode.is_some_and(|mode| mode & KIND_OF_FILE == 0o040_000)
    }

    /// Whether it is a regular file, or a server does not say what it is.
    pub(super) fn is_file(&self) -> bool {
        self.mode.is_none_or(|mode| matches!(mode & KIND_OF_FILE, 0o100_000 | 0))
    }
}

impl Answer {
    /// An answer's kind and number, and what follows; `None` of what is too short to be one.
    pub(super) fn read(packet: Bytes) -> Option<(u32, Self)> {
        let mut fields = Fields(packet);
        let kind = fields.byte()?;
        let id = fields.number()?;
        Some((id, Answer { kind, fields }))
    }

    /// Nothing but success.
    pub(super) fn done(self) -> Result<(), Failure> {
        match self.kind {
            STATUS => status(self.fields),
            kind => Err(odd(kind)),
        }
    }

    pub(super) fn handle(self) -> Result<Bytes, Failure> {
        self.fields_of(HANDLE)?.string().ok_or_else(short)
    }

    pub(super) fn data(self) -> Result<Bytes, Failure> {
        self.fields_of(DATA)?.string().ok_or_else(short)
    }

    pub(super) fn attributes(self) -> Result<Attributes, Failure> {
        self.fields_of(ATTRS)?.attributes().ok_or_else(short)
    }

    /// The names of a folder, with what is known of each. A name is whatever bytes it has.
    pub(super) fn names(self) -> Result<Vec<(Bytes, Attributes)>, Failure> {
        let mut fields = self.fields_of(NAME)?;
        let count = fields.number().ok_or_else(short)?;
        let mut names = Vec::new();
        for _ in 0..count {
            let name = fields.string().ok_or_else(short)?;
            // What `ls -l` would print.
            fields.string().ok_or_else(short)?;
            names.push((name, fields.attributes().ok_or_else(short)?));
        }
        Ok(names)
    }

    /// The numbers that an extension answers with.
    pub(super) fn numbers(self, most: usize) -> Result<Vec<u64>, Failure> {
        let mut fields = self.fields_of(EXTENDED_REPLY)?;
        Ok(std::iter::from_fn(|| fields.long()).take(most).collect())
    }

    /// The names of the extensions that the answer to [`INIT`] lists.
    pub(super) fn extensions(mut self) -> Result<Vec<String>, Failure> {
        if self.kind != VERSION {
            return Err(odd(self.kind));
        }
        let mut extensions = Vec::new();
        while let (Some(name), Some(_)) = (self.fields.string(), self.fields.string()) {
            extensions.push(String::from_utf8_lossy(&name).into_owned());
        }
        Ok(extensions)
    }

    fn fields_of(self, kind: u8) -> Result<Fields, Failure> {
        match self.kind {
            found if found == kind => Ok(self.fields),
            STATUS => Err(status(self.fields).err().unwrap_or_else(|| odd(STATUS))),
            found => Err(odd(found)),
        }
    }
}

fn status(mut fields: Fields) -> Result<(), Failure> {
    let code = fields.number().ok_or_else(short)?;
    if code == OK {
        return Ok(());
    }
    let words = fields.string().unwrap_or_default();
    let words = String::from_utf8_lossy(&words[..words.len().min(200)]);
    let words = words.chars().filter(|c| !c.is_control()).collect();
    Err(Failure::Status { code, words })
}

fn short() -> Failure {
    Failure::Odd("the server's answer is cut off".to_owned())
}

fn odd(kind: u8) -> Failure {
    Failure::Odd(format!("the server answers what was not asked (packet {kind})"))
}

/// Fields of a packet, from its front; `None` where there is no more.
#[derive(Debug, Clone)]
struct Fields(Bytes);

impl Fields {
    fn byte(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    fn number(&mut self) -> Option<u32> {
        self.0.try_get_u32().ok()
    }

    fn long(&mut self) -> Option<u64> {
        self.0.try_get_u64().ok()
    }

    fn string(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.number()?).ok()?;
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn attributes(&mut self) -> Option<Attributes> {
        let flags = self.number()?;
        let mut attributes = Attributes::default();
        if flags & HAS_SIZE != 0 {
            attributes.size = Some(self.long()?);
        }
        if flags & HAS_OWNER != 0 {
            self.long()?;
        }
        if flags & HAS_MODE != 0 {
            attributes.mode = Some(self.number()?);
        }
        if flags & HAS_TIMES != 0 {
            self.number()?;
            attributes.modified = Some(self.number()?);
        }
        if flags & HAS_MORE != 0 {
            for _ in 0..self.number()? {
                self.string()?;
                self.string()?;
            }
        }
        Some(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer as a server sends it, without its length.
    fn answer(kind: u8, fields: &[u8]) -> Answer {
        let packet = [&[kind, 0, 0, 0, 7], fields].concat();
        let (id, answer) = Answer::read(packet.into()).unwrap();
        assert_eq!(id, 7);
        answer
    }

    #[test]
    fn a_packet_is_laid_out_as_the_draft_says() {
        let packet = Packet::new(WRITE, 9).string("ab").long(1 << 33).data(Bytes::from_static(b"xyz"));
        let (head, data) = packet.finish();
        assert_eq!(
            head[..],
            [0, 0, 0, 26, 6, 0, 0, 0, 9, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]
        );
        assert_eq!(data.unwrap(), &b"xyz"[..]);
    }

    #[test]
    fn attributes_are_read_with_whatever_a_server_says() {
        let all = [
            &(HAS_SIZE | HAS_OWNER | HAS_MODE | HAS_TIMES | HAS_MORE).to_be_bytes()[..],
            &(5_u64 << 32).to_be_bytes(),
            &[0; 8],
            &0o100_644_u32.to_be_bytes(),
            &1_u32.to_be_bytes(),
            &2_u32.to_be_bytes(),
            &1_u32.to_be_bytes(),
            &[0, 0, 0, 1, b'k', 0, 0, 0, 1, b'v'],
        ]
        .concat();
        let attributes = answer(ATTRS, &all).attributes().unwrap();
        assert_eq!((attributes.size, attributes.modified), (Some(5 << 32), Some(2)));
        assert!(attributes.is_file() && !attributes.is_folder());
        for cut in 1..all.len() {
            assert!(matches!(answer(ATTRS, &all[..cut]).attributes(), Err(Failure::Odd(_))), "{cut}");
        }
        let none = answer(ATTRS, &[0; 4]).attributes().unwrap();
        assert!(none == Attributes::default() && none.is_file() && !none.is_folder());
    }

    #[test]
    fn counts_and_lengths_that_lie_are_errors_and_cost_no_memory() {
        assert!(matches!(answer(NAME, &[0xff; 4]).names(), Err(Failure::Odd(_))));
        assert!(matches!(answer(DATA, &[0xff, 0xff, 0xff, 0xff, 1]).data(), Err(Failure::Odd(_))));
        let more = [&HAS_MORE.to_be_bytes()[..], &[0xff; 4]].concat();
        assert!(matches!(answer(ATTRS, &more).attributes(), Err(Failure::Odd(_))));
        assert!(Answer::read(Bytes::from_static(&[1, 2, 3])).is_none());
    }

    #[test]
    fn a_status_is_a_failure_with_its_words_and_without_control_characters() {
        let words = [&[0, 0, 0, 4, 0, 0, 0, 4][..], b"a\x1bb\n"].concat();
        let Err(Failure::Status { code: FAILURE, words }) = answer(STATUS, &words).done() else { panic!() };
        assert_eq!(words, "ab");
        assert!(answer(STATUS, &[0; 4]).done().is_ok());
        // Success is no answer where something was asked for.
        assert!(matches!(answer(STATUS, &[0; 4]).handle(), Err(Failure::Odd(_))));
    }
}
