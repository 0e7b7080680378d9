//! Arguments, configuration, output.

pub mod format;
pub mod human;
pub mod parse;
pub mod table;
