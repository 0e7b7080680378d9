//! Arguments, configuration, output.
//!
//! ```text
//! argv ─► globals, the command's word ─► its Args (flags.rs, clap) ─► cmd/*.rs ─► engine
//!            │ unknown, or help: the whole tree (cmd/mod.rs)            │
//!            └────────────► report.rs: error, hint, exit code ◄────────┘
//! ```
//!
//! Only the command that was named is built: the tree of all is for help and completion.

pub mod complete;
pub mod config;
pub mod context;
pub mod environment;
pub mod error;
pub mod format;
pub mod human;
pub mod list;
pub mod out;
pub mod parse;
pub mod progress;
pub mod prompt;
mod refused;
pub mod report;
pub mod table;

mod cmd;
mod flags;
mod guess;
mod seldom;

use std::ffi::OsString;
use std::process::ExitCode;

pub use cmd::{completion_scripts, manual_pages};
pub use context::Context;
pub use error::Error;

use cmd::{Action, Entry};
use context::Globals;
use environment::Environment;
pub use guess::beginning;
use guess::{Begun, Guess};
use report::Report;

/// Runs the command line; gives its exit code.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments: Vec<OsString> = arguments.collect();
    // The name under which it serves as an OCI runtime, without a word before the command.
    let called = arguments.first().and_then(|name| std::path::Path::new(name).file_name());
    let is_runtime = called.is_some_and(|name| name == "coracle-runtime");
    let guess = match is_runtime {
        true => None,
        false => Guess::of(arguments.get(1..).unwrap_or_default()),
    };
    let environment = Environment::of_process();
    let begun = guess.map(|guess| guess.furnish(&environment));
    if environment.get(complete::VARIABLE).is_some() {
        return complete::answer(arguments);
    }
    // Output into a closed pipe ends the command quietly, as it does for any other program.
    crate::sys::process::default_sigpipe();
    let report = Report::new(&environment);
    if is_runtime {
        arguments.insert(1, "runtime".into());
    }
    // The version, as docker and podman have it too.
    if arguments.get(1).is_some_and(|word| word == "-v") {
        arguments[1] = "--version".into();
    }
    match split(arguments.get(1..).unwrap_or_default()) {
        Ok((globals, entry, rest)) => dispatch(environment, globals, entry, rest, report, begun),
        Err(Unclear::Usage(error)) => report.error(&error, ""),
        // Help, the version, or a mistake: clap has the words.
        Err(Unclear::Tree) => match cmd::tree().try_get_matches_from(&arguments) {
            Ok(_) => report.clap(
                &cmd::tree()
                    .error(clap::error::ErrorKind::MissingSubcommand, "a command is missing"),
            ),
            Err(error) => match refused::command(&error).or_else(|| refused::reason(&error, "")) {
                Some(reason) => report.error(&reason, ""),
                None => report.clap(&error),
            },
        },
    }
}

fn dispatch(
    environment: Environment,
    globals: Globals,
    entry: &'static Entry,
    rest: &[OsString],
    report: Report,
    begun: Option<Begun>,
) -> ExitCode {
    let mut path = format!("coracle {}", entry.name);
    let mut entry = entry;
    let mut rest = rest;
    // `manifest create` is no `create` of containers: its failures have the usual exit code.
    let mut command = entry.name;
    if let Action::Group(entries) = &entry.action {
        let word = rest.first().and_then(|word| word.to_str());
        // `generate DIRECTORY` is `generate docs DIRECTORY`, for who changes the command line.
        let directory = word.filter(|word| entry.name == "generate" && word.contains(['.', '/']));
        let (word, skipped) = if directory.is_some() { (Some("docs"), 0) } else { (word, 1) };
        let Some(found) = word.and_then(|word| cmd::find(entries, word)) else {
            let group = entry.build().bin_name(path).arg_required_else_help(true);
            let error = group.no_binary_name(true).subcommand_required(true);
            return match error.try_get_matches_from(rest) {
                Ok(_) => ExitCode::SUCCESS,
                Err(error) => report.clap(&error),
            };
        };
        path = format!("{path} {}", found.name);
        command = match entry.name {
            "container" | "image" | "healthcheck" => found.name,
            "artifact" if matches!(found.name, "push" | "pull") => found.name,
            group => group,
        };
        (entry, rest) = (found, &rest[skipped..]);
    }
    let parse = |parser: clap::Command| {
        let mut parser = parser.bin_name(&path).no_binary_name(true);
        parser.build();
        let matches = parser.try_get_matches_from_mut(flags::normalize(&parser, rest));
        // Hundreds of small pieces, in a process that ends soon.
        std::mem::forget(parser);
        matches
    };
    let matches = match parse(entry.brief()).or_else(|_| parse(entry.build())) {
        Ok(matches) => matches,
        Err(error) => {
            return match refused::reason(&error, command) {
                Some(reason) => report.error(&reason, command),
                None => report.clap(&error),
            };
        }
    };
    let Action::Run { run, .. } = entry.action else { return ExitCode::SUCCESS };
    let context = match entry.name {
        "runtime" => Ok(Context::bare(environment, globals)),
        _ => Context::new(environment, globals),
    };
    let done = context.and_then(|mut cx| {
        cx.begun = begun;
        let done = run(matches, &mut cx);
        // What was printed before a failure stays printed.
        cx.out.flush().and(done)
    });
    match done {
        Ok(code) => code,
        Err(error) => report.error(&error, command),
    }
}

/// Why the command's word was not found.
enum Unclear {
    /// An option before it is wrong.
    Usage(Box<Error>),
    /// clap is to say why.
    Tree,
}

type Split<'a> = (Globals, &'static Entry, &'a [OsString]);

/// The options before the command, the command, what stands behind it.
fn split(arguments: &[OsString]) -> Result<Split<'_>, Unclear> {
    let usage = |error: String| Unclear::Usage(Box::new(Error::usage(error)));
    let mut globals = Globals::default();
    let mut rest = arguments;
    while let Some((word, behind)) = rest.split_first() {
        let word = word.to_str().ok_or(Unclear::Tree)?;
        rest = behind;
        if !word.starts_with('-') {
            let entry = cmd::find(cmd::ENTRIES, word).ok_or(Unclear::Tree)?;
            return Ok((globals, entry, rest));
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, value.into()),
            None => (word, rest.first().cloned().unwrap_or_default()),
        };
        if !matches!(name, "--root" | "--storage-driver") {
            return Err(Unclear::Tree);
        }
        if !word.contains('=') {
            rest = rest.get(1..).unwrap_or_default();
        }
        if value.is_empty() {
            return Err(usage(format!("{name} has no value")));
        }
        if name == "--root" {
            globals.root = Some(value.into());
        } else {
            let driver = context::driver_named(&value.to_string_lossy());
            globals.driver = Some(driver.map_err(usage)?);
        }
    }
    Err(Unclear::Tree)
}
