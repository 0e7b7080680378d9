//! Joined.
pub mod pull;
