//! Arguments, configuration, output.

pub mod human;
pub mod parse;
pub mod table;
