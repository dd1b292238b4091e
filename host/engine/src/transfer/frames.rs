//! The form in which an engine sends output and errors of a container over one connection: frames of a byte
//! that says which, three zeros, the length (big-endian), and the content. A fourth kind, 3, is a message of
//! the engine's own, after which nothing that is missing will come.
//! <https://docs.docker.com/reference/api/engine/version/v1.51/#tag/Container/operation/ContainerAttach>

use std::io;

/// Whose bytes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// What the container writes to its output.
    Output,
    /// What the container writes to its errors.
    Errors,
    /// What the engine has to say: that it failed.
    Engine,
}

/// Takes frames apart, however they are cut.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; 8],
    /// How much of the header is there.
    filled: usize,
    /// How much of the content is still to come.
    left: u32,
}

impl Frames {
    /// Hands what is in `bytes` to `take`.
    ///
    /// # Errors
    /// When they are no frames.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(Channel, &[u8])) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.filled < self.header.len() {
                bytes = self.begin(bytes)?;
            }
            // An empty frame ends with its header.
            let (content, rest) = bytes.split_at(bytes.len().min(self.left as usize));
            if !content.is_empty() {
                take(self.channel()?, content);
            }
            // It is no longer than `left`.
            self.left -= u32::try_from(content.len()).unwrap_or(self.left);
            if self.left == 0 && self.filled == self.header.len() {
                self.filled = 0;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Whether the last frame is whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.filled == 0
    }

    /// Takes what belongs to the header from `bytes`, and returns the rest.
    fn begin<'a>(&mut self, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        let length = bytes.len().min(self.header.len() - self.filled);
        let (head, rest) = bytes.split_at(length);
        self.header[self.filled..self.filled + length].copy_from_slice(head);
        self.filled += length;
        if self.filled == self.header.len() {
            self.channel()?;
            let [_, _, _, _, a, b, c, d] = self.header;
            self.left = u32::from_be_bytes([a, b, c, d]);
        }
        Ok(rest)
    }

    fn channel(&self) -> io::Result<Channel> {
        match self.header[..4] {
            // Docker's own programs take 0, which is the input, for the output.
            [0 | 1, 0, 0, 0] => Ok(Channel::Output),
            [2, 0, 0, 0] => Ok(Channel::Errors),
            [3, 0, 0, 0] => Ok(Channel::Engine),
            _ => Err(io::Error::other("what the engine sends is not in the form of its API")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0], &length[..], content].concat()
    }

    /// What comes of `pieces`: output, errors, the engine's words, and whether the last frame is whole.
    fn taken(pieces: &[&[u8]]) -> io::Result<([Vec<u8>; 3], bool)> {
        let mut channels = [Vec::new(), Vec::new(), Vec::new()];
        let mut frames = Frames::default();
        for piece in pieces {
            frames.feed(piece, |channel, bytes| channels[channel as usize].extend_from_slice(bytes))?;
        }
        Ok((channels, frames.is_whole()))
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let stream =
            [frame(1, b"out"), frame(2, b"err"), frame(1, b""), frame(1, b"put"), frame(3, b"failed")]
                .concat();
        for length in 1..=stream.len() {
            let pieces: Vec<_> = stream.chunks(length).collect();
            let (channels, whole) = taken(&pieces).unwrap();
            assert_eq!(channels, [&b"output"[..], b"err", b"failed"]);
            assert!(whole);
        }
    }

    #[test]
    fn a_stream_that_is_cut_in_a_frame_is_not_whole() {
        let stream = frame(1, b"content");
        for length in 1..stream.len() {
            assert!(!taken(&[&stream[..length]]).unwrap().1, "{length}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for stream in
            [&b"HTTP/1.1 502 Bad Gateway"[..], &[4, 0, 0, 0, 0, 0, 0, 1, 0], &[1, 0, 1, 0, 0, 0, 0, 1]]
        {
            assert!(taken(&[stream]).is_err());
        }
    }
}
