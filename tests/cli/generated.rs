//! completions/ and man/ are what the command line of this source generates.

use std::collections::BTreeMap;
use std::fs;

use coracle::cli::{completion_scripts, manual_pages};

use crate::support::source;

fn checked_in(directory: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(source(directory)).unwrap();
    let entries = entries.map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[track_caller]
fn compare(directory: &str, generated: &BTreeMap<String, Vec<u8>>) {
    let here = checked_in(directory);
    let names = here.keys().chain(generated.keys());
    let mut old: Vec<&String> =
        names.filter(|name| here.get(*name) != generated.get(*name)).collect();
    old.sort();
    old.dedup();
    assert!(old.is_empty(), "{directory}/ is old ({old:?}): run `cargo run -- generate docs .`");
}

#[test]
fn completions_are_up_to_date() {
    let scripts = completion_scripts().unwrap();
    compare("completions", &scripts.into_iter().map(|(name, text)| (name.into(), text)).collect());
}

#[test]
fn manual_pages_are_up_to_date() {
    compare("man", &manual_pages().unwrap().into_iter().collect());
}
