//! Containers in one static binary.
