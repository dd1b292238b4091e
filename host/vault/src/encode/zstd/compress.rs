//! One block becomes one frame.

use zstd_safe::{CCtx, CParameter, ResetDirective};

use super::super::error::{Error, Result};
use super::table::Entry;

/// How much of a block is looked at to find out whether it compresses: so many samples of so many bytes.
const SAMPLES: usize = 16;
const SAMPLE: usize = 4096;

/// Makes frames of blocks at one level. Memory of libzstd is kept from frame to frame.
pub(in super::super) struct Compressor {
    context: CCtx<'static>,
    level: i32,
    samples: Sampler,
}

/// Whether a block is worth compressing.
struct Sampler {
    context: CCtx<'static>,
    sample: Vec<u8>,
    out: Vec<u8>,
}

impl Compressor {
    pub(in super::super) fn new(level: i32) -> Self {
        Self { context: CCtx::create(), level, samples: Sampler::new() }
    }

    /// Appends one frame to `out`, and says what the table must know of it. A block of random bytes is stored as
    /// it is, at the speed of memory.
    pub(in super::super) fn frame(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<Entry> {
        // The lowest level finds nothing, takes next to no time, and stores blocks raw.
        let level = if self.samples.is_random(block) { zstd_safe::min_c_level() } else { self.level };
        let start = out.len();
        let mut frame = std::mem::take(out);
        frame.reserve(zstd_safe::compress_bound(block.len()));
        let mut place = std::io::Cursor::new(frame);
        place.set_position(start as u64);
        let length = self.compress(level, block, &mut place).map_err(|code| Error::System {
            action: "compress",
            source: std::io::Error::other(zstd_safe::get_error_name(code)),
        });
        *out = place.into_inner();
        let length = length?;
        out.truncate(start + length);
        Entry::of(&out[start..], block.len())
    }

    fn compress(
        &mut self,
        level: i32,
        block: &[u8],
        out: &mut std::io::Cursor<Vec<u8>>,
    ) -> Result<usize, zstd_safe::ErrorCode> {
        self.context.reset(ResetDirective::SessionOnly)?;
        self.context.set_parameter(CParameter::CompressionLevel(level))?;
        self.context.set_parameter(CParameter::ChecksumFlag(true))?;
        self.context.set_parameter(CParameter::ContentSizeFlag(true))?;
        self.context.compress2(out, block)
    }
}

/// Whether a block looks as if it did not compress. It may be wrong where bytes that look random come again.
pub(in super::super) fn is_random(block: &[u8]) -> bool {
    Sampler::new().is_random(block)
}

impl Sampler {
    fn new() -> Self {
        Self { context: CCtx::create(), sample: Vec::new(), out: Vec::new() }
    }

    fn is_random(&mut self, block: &[u8]) -> bool {
        if block.len() < 2 * SAMPLES * SAMPLE {
            return false;
        }
        self.sample.clear();
        let step = block.len() / SAMPLES;
        for start in (0..SAMPLES).map(|n| n * step) {
            self.sample.extend_from_slice(&block[start..start + SAMPLE]);
        }
        self.out.clear();
        self.out.reserve(zstd_safe::compress_bound(self.sample.len()));
        // Level 1 finds what any level would, short of a percent.
        match self.context.compress(&mut self.out, &self.sample, 1) {
            Ok(length) => length > self.sample.len() / 100 * 99,
            Err(_) => false,
        }
    }
}
