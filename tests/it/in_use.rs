//! A volume in use: files that grow, shrink, vanish and are replaced while a backup reads them.

mod moments;
mod storm;
