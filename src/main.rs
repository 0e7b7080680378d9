//! Arguments to `cli`, its exit code back.
#![no_main]

coracle::sys::begin::program!(coracle::cli::main);
