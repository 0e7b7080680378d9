//! The arrows of ARCHITECTURE.md, read from the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::source;

/// Everyone may import these; each of them only those before it.
const BASE: &[&str] = &["diagnose", "oci", "owners", "mount", "sys"];

/// A folder, and what it may import beside the base. A folder that is not here may not exist.
const ARROWS: &[(&str, &[&str])] = &[
    // image side
    ("reference", &[]),
    ("trust", &["reference"]),
    ("registry", &["reference", "trust"]),
    ("store", &["reference"]),
    ("layer", &[]),
    ("snapshot", &["layer"]),
    // run side
    ("userns", &[]),
    ("cgroup", &[]),
    ("network", &[]),
    ("bundle", &["cgroup", "network"]),
    ("supervisor", &["network"]),
    ("union", &[]),
    ("runtime", &["bundle", "userns", "supervisor", "union", "cgroup", "network"]),
    ("volume", &[]),
    ("container", &["bundle", "cgroup", "network"]),
    // joined
    (
        "engine",
        &[
            "reference",
            "registry",
            "trust",
            "store",
            "layer",
            "snapshot",
            "userns",
            "cgroup",
            "bundle",
            "supervisor",
            "union",
            "runtime",
            "network",
            "volume",
            "container",
        ],
    ),
    ("cli", &["engine"]),
    ("main", &["cli"]),
];

fn allowed(module: &str) -> Option<BTreeSet<&'static str>> {
    if let Some(at) = BASE.iter().position(|base| *base == module) {
        return Some(BASE[..at].iter().copied().collect());
    }
    let (_, more) = ARROWS.iter().find(|(name, _)| *name == module)?;
    Some(BASE.iter().chain(more.iter()).copied().collect())
}

#[test]
fn imports_follow_the_drawn_arrows() {
    let root = source("src");
    let mut wrong = Vec::new();
    for file in rust_files(&root) {
        let module = top_module(&root, &file);
        if module == "lib" {
            continue; // it declares the modules
        }
        let Some(allowed) = allowed(&module) else {
            wrong.push(format!("{}: a folder that is not drawn", file.display()));
            continue;
        };
        for (line, target) in imports(&fs::read_to_string(&file).unwrap()) {
            if target != module && !allowed.contains(target.as_str()) {
                wrong.push(format!("{}:{line}: {module} imports {target}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that are not drawn:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_stays_in_sys() {
    let root = source("src");
    let mut wrong = Vec::new();
    for file in rust_files(&root) {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in code_lines(&text) {
            let lifted =
                line.contains("allow(unsafe_code)") || line.contains("expect(unsafe_code)");
            if (lifted || words(&line).any(|word| word == "unsafe"))
                && top_module(&root, &file) != "sys"
            {
                wrong.push(format!("{}:{number}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe outside src/sys:\n{}", wrong.join("\n"));
}

/// Every unsafe block says why it is sound, on the lines just above it.
#[test]
fn unsafe_blocks_are_argued() {
    let mut wrong = Vec::new();
    for file in rust_files(&source("src/sys")) {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in code_lines(&text) {
            if !line.contains("unsafe {") {
                continue;
            }
            let above = &lines[number.saturating_sub(12)..number];
            if !above.iter().any(|line| line.contains("SAFETY:")) {
                wrong.push(format!("{}:{number}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe without a SAFETY line:\n{}", wrong.join("\n"));
}

#[test]
fn only_cli_reads_the_environment_and_prints() {
    let root = source("src");
    let mut wrong = Vec::new();
    for file in rust_files(&root) {
        let tests = file.components().any(|part| part.as_os_str() == "tests");
        if tests || ["cli", "main"].contains(&top_module(&root, &file).as_str()) {
            continue;
        }
        for (number, line) in code_lines(&fs::read_to_string(&file).unwrap()) {
            for call in [
                "env::var(",
                "env::var_os(",
                "env::vars(",
                "env::vars_os(",
                "println!",
                "eprintln!",
            ] {
                if line.contains(call) {
                    wrong.push(format!("{}:{number}: {call}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "this belongs in cli:\n{}", wrong.join("\n"));
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `src/store/blob.rs` → store, `src/mount.rs` → mount.
fn top_module(root: &Path, file: &Path) -> String {
    let first = file.strip_prefix(root).unwrap().components().next().unwrap();
    Path::new(first.as_os_str()).file_stem().unwrap().to_string_lossy().into_owned()
}

/// The lines without comments and without what stands in string literals, numbered from 1.
/// Good enough for this source: a raw string over several lines is read as code.
fn code_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut within_comment = false;
    for (number, line) in text.lines().enumerate() {
        let mut code = String::new();
        let mut rest = line;
        let mut within_string = false;
        while let Some(next) = rest.chars().next() {
            let step = if within_comment {
                within_comment = !rest.starts_with("*/");
                if within_comment { next.len_utf8() } else { 2 }
            } else if within_string {
                within_string = next != '"';
                if next == '\\' {
                    rest.chars().take(2).map(char::len_utf8).sum()
                } else {
                    next.len_utf8()
                }
            } else if rest.starts_with("//") {
                break;
            } else if rest.starts_with("/*") {
                within_comment = true;
                2
            } else if rest.starts_with("'\"'") {
                3
            } else {
                within_string = next == '"';
                code.push(next);
                next.len_utf8()
            };
            rest = &rest[step..];
        }
        lines.push((number + 1, code));
    }
    lines
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Each top-level module named after `crate::` (or, in main, after the library's own name),
/// with the line where it stands.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut joined = String::new();
    let mut starts = Vec::new();
    for (number, line) in code_lines(text) {
        starts.push((joined.len(), number));
        joined.push_str(&line);
        joined.push('\n');
    }
    let mut found = Vec::new();
    for marker in ["crate::", "coracle::"] {
        for (at, _) in joined.match_indices(marker) {
            let before = joined[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let line = starts.iter().rev().find(|(start, _)| *start <= at).unwrap().1;
            for name in first_segments(&joined[at + marker.len()..]) {
                found.push((line, name));
            }
        }
    }
    found
}

/// `a::b` → a; `{a::b, c::{d, e}}` → a, c. Names of items at the root (capitals) are left out.
fn first_segments(text: &str) -> Vec<String> {
    let ident = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut names = Vec::new();
    if let Some(group) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut part = String::new();
        for c in group.chars() {
            match c {
                '}' if depth == 0 => break,
                ',' if depth == 0 => names.push(ident(&std::mem::take(&mut part))),
                _ => {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    part.push(c);
                }
            }
        }
        names.push(ident(&part));
    } else {
        names.push(ident(text));
    }
    names.retain(|name| name.starts_with(|c: char| c.is_lowercase()));
    names
}

#[test]
fn the_reader_of_imports_reads() {
    let text = "use crate::{store::Store, layer::{a, b}};\nlet x = crate::oci::Digest::of(\"crate::cli\"); // crate::fuse\n";
    let names: Vec<_> = imports(text);
    assert_eq!(names, [(1, "store".into()), (1, "layer".into()), (2, "oci".into())]);
}
