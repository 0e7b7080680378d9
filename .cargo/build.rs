//! Links a release without the tables for unwinding, which are a tenth of the program.
//!
//! A release ends at a panic (`panic = "abort"`) and unwinds nothing; without the tables a panic's message comes
//! without a trace of calls. The compiler writes them all the same, and can be told otherwise only for every
//! profile at once, where tests want them. So they are dropped when linking, by GNU ld: LLVM's, Rust's default,
//! lays out the whole program by a script once it is given one.

fn main() {
    println!("cargo:rerun-if-changed=.cargo/build.rs");
    println!("cargo:rerun-if-changed=.cargo/no-unwinding.ld");
    let set = |name: &str| std::env::var(name).unwrap_or_default();
    if set("PROFILE") == "release" && set("CARGO_CFG_TARGET_OS") == "linux" {
        println!("cargo:rustc-link-arg-bins=-fuse-ld=bfd");
        println!(
            "cargo:rustc-link-arg-bins=-Wl,-T,{}/.cargo/no-unwinding.ld",
            set("CARGO_MANIFEST_DIR")
        );
        // Cargo forgets a profile's `strip` for a package that has a level of its own in it.
        println!("cargo:rustc-link-arg-bins=-Wl,--strip-all");
    }
}
