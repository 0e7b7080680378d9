//! From pull to exit.
