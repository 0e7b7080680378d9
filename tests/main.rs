//! The whole suite but the unit tests: one binary, so it links once and can be copied to where
//! an unprivileged user may run it. `tests/run` is the way to start it; alone (`cargo test`) it
//! does what the machine allows and says what it skipped.

#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod architecture;
mod binary;
mod cli;
mod drivers;
mod flow;
mod hostile;
mod support;
