//! System calls.

mod remove;

pub use remove::{remove_tree, remove_tree_at};
