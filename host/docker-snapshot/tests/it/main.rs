//! The program as the docker CLI and its users start it. Where an engine is needed it is one of a few lines
//! that says what a test wants it to say.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has said what it has to say")]

mod connect;
mod fake;
mod plugin;
mod recover;
mod run;
mod sealing;
mod sidecar;
mod sidecar_alarms;
mod sidecar_page;
mod sidecar_postgres;
mod sidecar_s3;
mod stored;
mod tls;
