//! What the tests share: trees to make, a comparison of all that the product promises to keep, a place where
//! nothing outside can be harmed, and the tools of others.

pub(crate) mod compare;
pub(crate) mod confine;
pub(crate) mod members;
pub(crate) mod run;
pub(crate) mod sandbox;
pub(crate) mod spot;
pub(crate) mod tools;
pub(crate) mod torture;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tracer;
pub(crate) mod tree;

pub(crate) use compare::{Picture, assert_same_tree};
pub(crate) use run::Run;
pub(crate) use sandbox::{Sandbox, sandboxed};
pub(crate) use tools::{need, tool};
pub(crate) use tree::Tree;
