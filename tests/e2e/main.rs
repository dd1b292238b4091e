//! The image as its users run it: in a real Docker Engine, beside real containers, with real volumes.
//!
//! `make e2e` makes the images, runs these tests and removes everything again (scripts/e2e.sh); `cargo test`
//! alone leaves them out. A restore happens only inside a container, on volumes that the test has made: nothing
//! of the machine is mounted into it but files below the test's temporary directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test that panics has said what it has to say"
)]

mod support {
    //! What these tests share with those of the binary, and what drives the engine.

    #![allow(dead_code, reason = "the tests of the binary use more of it")]

    pub(crate) mod engine;

    #[path = "../../it/support/compare.rs"]
    pub(crate) mod compare;
    #[path = "../../it/support/run.rs"]
    pub(crate) mod run;
    #[path = "../../it/support/spot.rs"]
    pub(crate) mod spot;
    #[path = "../../it/support/torture.rs"]
    pub(crate) mod torture;
    #[path = "../../it/support/tree.rs"]
    pub(crate) mod tree;

    pub(crate) use compare::Picture;
    pub(crate) use engine::{Engine, with_engine, with_remapped_engine};
    pub(crate) use run::Run;
    pub(crate) use tree::Tree;
}

mod bad_input;
mod capabilities;
mod containers;
mod database;
mod examples;
mod image;
mod interrupted;
mod mounts;
mod readme;
mod remapped;
