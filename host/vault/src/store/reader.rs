//! An object, read at any offset by threads that wait: what the archive's reader and the decoders want.
//!
//! Blocks that were read are kept, up to a limit. Whoever reads from front to back gets the next blocks read
//! ahead in one larger request; whoever jumps about causes requests of one block each.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::error::Error;
use super::{Object, Store};

/// Bytes in a block: a few chunks of an encrypted file, and less than a journey to a server and back costs.
const BLOCK: u64 = 256 << 10;
/// Blocks in the largest request.
const MOST: u64 = 32;
/// Blocks that are kept.
const KEPT: usize = 64;

/// An object that is read at offsets.
#[derive(Debug)]
pub struct Reader {
    store: Arc<dyn Store>,
    object: Object,
    runtime: Handle,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    /// Blocks by their number, the one used last at the end.
    blocks: VecDeque<(u64, Bytes)>,
    /// The block behind the last request, and how many that had.
    next: u64,
    run: u64,
    /// Requests that were made, and bytes that came.
    requests: u64,
    fetched: u64,
}

impl Reader {
    /// Reads `object`, as it was looked at, from `store`. The runtime must be driven by other threads than those
    /// that read, as one with several threads is.
    pub fn new(store: Arc<dyn Store>, object: Object, runtime: Handle) -> Self {
        Reader { store, object, runtime, cache: Mutex::default() }
    }

    /// What it is called in messages.
    pub fn name(&self) -> String {
        format!("{}/{}", self.store.address(), self.object.name)
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.object.size
    }

    /// How many requests were made so far, and how many bytes came.
    pub fn cost(&self) -> (u64, u64) {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        (cache.requests, cache.fetched)
    }

    /// Reads from `offset` into `buffer`, and returns how many bytes that were: 0 only at the end.
    ///
    /// # Errors
    ///
    /// When the store fails, or the object is not any more what it was. The store's [`Error`] is inside.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.object.size || buffer.is_empty() {
            return Ok(0);
        }
        let number = offset / BLOCK;
        let until = offset.saturating_add(buffer.len() as u64).min(self.object.size);
        let block = self.block(number, until.div_ceil(BLOCK) - number)?;
        let from = usize::try_from(offset % BLOCK).map_err(io::Error::other)?;
        let piece = block.get(from..).unwrap_or_default();
        let length = piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&piece[..length]);
        Ok(length)
    }

    /// The block `number`, fetched if it is not there; then with those that are wanted behind it.
    fn block(&self, number: u64, wanted: u64) -> io::Result<Bytes> {
        let blocks = self.object.size.div_ceil(BLOCK);
        let wanted = {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(block) = cache.take(number) {
                return Ok(block);
            }
            // One after another: twice as many at a time.
            let run = if number == cache.next { (cache.run * 2).clamp(1, MOST) } else { 1 };
            let run = run.max(wanted.min(MOST)).min(blocks - number);
            (cache.next, cache.run) = (number + run, run);
            cache.requests += 1;
            number..number + run
        };
        // Without the lock: other threads may fetch other blocks meanwhile.
        let range = wanted.start * BLOCK..(wanted.end * BLOCK).min(self.object.size);
        let length = range.end - range.start;
        let bytes = self.runtime.block_on(self.store.get(&self.object, range)).map_err(io_error)?;
        if bytes.len() as u64 != length {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the store gave fewer bytes than it has"));
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.fetched += length;
        let mut rest = bytes;
        let mut first = None;
        for number in wanted {
            // A copy, so that a block that is kept does not keep all that came with it.
            let block = rest.split_to(rest.len().min(usize::try_from(BLOCK).map_err(io::Error::other)?));
            let block = Bytes::copy_from_slice(&block);
            first.get_or_insert_with(|| block.clone());
            cache.put(number, block);
        }
        Ok(first.unwrap_or_default())
    }
}

impl Cache {
    /// The block `number`, which is now the one used last.
    fn take(&mut self, number: u64) -> Option<Bytes> {
        let at = self.blocks.iter().rposition(|(is, _)| *is == number)?;
        let block = self.blocks.remove(at)?;
        self.blocks.push_back(block.clone());
        Some(block.1)
    }

    fn put(&mut self, number: u64, block: Bytes) {
        self.blocks.retain(|(is, _)| *is != number);
        while self.blocks.len() >= KEPT {
            self.blocks.pop_front();
        }
        self.blocks.push_back((number, block));
    }
}

fn io_error(error: Error) -> io::Error {
    let kind = match error.cause() {
        Some(super::Cause::Missing) => ErrorKind::NotFound,
        Some(super::Cause::Denied) => ErrorKind::PermissionDenied,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
