//! The command line itself: what is generated from it, its words and exit codes.

mod generated;
mod install;
mod words;
