//! Open files that are kept for putting things back: a restore that fails because it may open no more must
//! still be able to go through what it has made, and remove it.

use std::cell::RefCell;

use crate::archive::open::Reader;
use crate::error::{Context, Result};
use crate::fs::Handle;

/// How many. Putting back needs a few more at a time than are free again once what was being done has ended.
const SPARE: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Spare(RefCell<Vec<Handle>>);

impl Spare {
    /// What is open does not matter: the archive is, where it is a file.
    pub(super) fn of(reader: &Reader) -> Result<Self> {
        let open = || match reader.file() {
            Some(file) => file.handle().duplicate(),
            None => Handle::open_path("/".as_ref()),
        };
        let all = (0..SPARE).map(|_| open());
        Ok(Spare(RefCell::new(all.collect::<std::io::Result<_>>().context("open", reader.name())?)))
    }

    /// Closes them: something failed, and is to be put back.
    pub(super) fn release(&self) {
        self.0.take();
    }
}
