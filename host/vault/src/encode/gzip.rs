//! gzip as RFC 1952 describes it: independent members, which `gunzip` reads as one.
//!
//! A file that is cut off between two members is one that every decoder takes for complete. So each of ours has
//! an extra field with its sizes, and the last one is empty and has one with the sums of all: a decoder here
//! misses it, and can decompress several members at once.

mod member;
mod scan;

pub(super) use member::{Compressor, Decompressor, Sums};
pub(super) use scan::{Found, Members};
