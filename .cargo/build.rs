//! Links the program so that it begins at `coracle_start` (`sys/early`), and
//! a release without the tables for unwinding, which are a tenth of the program, and with what a start
//! executes in one place.
//!
//! A release ends at a panic (`panic = "abort"`) and unwinds nothing; without the tables a panic's message comes
//! without a trace of calls. The compiler writes them all the same, and can be told otherwise only for every
//! profile at once, where tests want them. So they are dropped when linking, by GNU ld: LLVM's, Rust's default,
//! lays out the whole program by a script once it is given one.
//!
//! `start.order` is written by `benches/order`, which says what it is good for. `CORACLE_SYMBOLS` in the environment
//! leaves the symbols in the program, as that needs them.

fn main() {
    for input in ["build.rs", "no-unwinding.ld", "start.order"] {
        println!("cargo:rerun-if-changed=.cargo/{input}");
    }
    println!("cargo:rerun-if-env-changed=CORACLE_SYMBOLS");
    let set = |name: &str| std::env::var(name).unwrap_or_default();
    // Who has to relocate itself first cannot begin early (`sys/early`).
    let is_fixed = set("CARGO_ENCODED_RUSTFLAGS").contains("relocation-model=static");
    if set("CARGO_CFG_TARGET_ARCH") == "x86_64" && is_fixed {
        println!("cargo:rustc-link-arg-bins=-Wl,-e,coracle_start");
    }
    if set("PROFILE") == "release" && set("CARGO_CFG_TARGET_OS") == "linux" {
        let link = |argument: &str| println!("cargo:rustc-link-arg-bins={argument}");
        link("-fuse-ld=bfd");
        link(&format!("-Wl,-T,{}/.cargo/no-unwinding.ld", set("CARGO_MANIFEST_DIR")));
        let (script, order) = (format!("{}/start.ld", set("OUT_DIR")), ".cargo/start.order");
        let order = std::fs::read_to_string(order).expect("the order of functions");
        std::fs::write(&script, in_order(&order)).expect("a linker script");
        link(&format!("-Wl,-T,{script}"));
        if set("CORACLE_SYMBOLS").is_empty() {
            // Cargo forgets a profile's `strip` for a package that has a level of its own in it.
            link("-Wl,--strip-all");
        }
    }
}

/// A linker script that lays these functions before all others.
fn in_order(names: &str) -> String {
    let names = names.lines().filter(|line| !line.starts_with('#'));
    let sections = names.map(|name| format!("    *(.text.{name} .text.unlikely.{name})\n"));
    let sections: String = sections.collect();
    format!("SECTIONS\n{{\n  .text.start :\n  {{\n{sections}  }}\n}}\nINSERT BEFORE .text;\n")
}
