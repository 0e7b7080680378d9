//! How failures are told, and which exit code they have. Decided here and nowhere else.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use rustix::io::Errno;

use super::Error;
use super::environment::Environment;
use crate::diagnose::Diagnose;
use crate::engine::{self, bundle, runtime};

/// The tool itself failed, or was used wrongly.
const TOOL: u8 = 125;
/// The program is there and cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// The program is not there.
const NOT_FOUND: u8 = 127;
/// A command other than `run` failed.
const FAILED: u8 = 1;

/// Tells the user on stderr.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    colour: bool,
}

impl Report {
    /// In colour where stderr is a terminal and nothing forbids it (no-color.org).
    pub fn new(environment: &Environment) -> Self {
        let set = |name| environment.get(name).is_some_and(|value| !value.is_empty());
        let forced = set("CLICOLOR_FORCE");
        let colour = !set("NO_COLOR") && (forced || std::io::stderr().is_terminal());
        Self { colour }
    }

    /// Tells an error and its hint; gives the exit code that `command` has for it.
    pub fn error(self, error: &Error, command: &str) -> ExitCode {
        self.tell(error);
        ExitCode::from(code(error, command))
    }

    /// Tells an error and its hint.
    pub fn tell(self, error: &Error) {
        if !is_told(error) {
            self.say(error);
        }
    }

    /// Tells any part's error and its hint.
    pub fn say(self, error: &(impl std::fmt::Display + Diagnose)) {
        self.line("error", "1;31", &error.to_string());
        if let Some(hint) = error.hint() {
            self.line("hint", "1;36", &hint.to_string());
        }
    }

    /// A remark that is no failure.
    pub fn note(self, text: &str) {
        self.line("note", "1;33", text);
    }

    /// Says that something was done, where that is no result.
    pub fn say_done(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{}", escape(text));
    }

    fn line(self, word: &str, colour: &str, text: &str) {
        let text = escape(text);
        // With stderr gone there is nobody to tell.
        let _ = if self.colour {
            writeln!(std::io::stderr(), "\x1b[{colour}m{word}:\x1b[0m {text}")
        } else {
            writeln!(std::io::stderr(), "{word}: {text}")
        };
    }

    /// clap's own words: help goes to stdout, mistakes to stderr with 125.
    pub fn clap(self, error: &clap::Error) -> ExitCode {
        if !error.use_stderr() {
            let text = error.render();
            let colour = std::io::stdout().is_terminal() && self.colour;
            let text = if colour { text.ansi().to_string() } else { text.to_string() };
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        let text = error.render();
        let text = match self.colour {
            true => text.ansi().to_string(),
            false => escape(&text.to_string()).into_owned(),
        };
        let _ = std::io::stderr().write_all(text.as_bytes());
        ExitCode::from(TOOL)
    }
}

/// Whether someone has told it already.
fn is_told(error: &Error) -> bool {
    matches!(
        error,
        Error::Told
            | Error::Engine(engine::Error::PullReported { .. } | engine::Error::Reported { .. })
    )
}

/// The exit code of a failure (docker's, but 126 for another machine's programs).
pub(super) fn code(error: &Error, command: &str) -> u8 {
    match error {
        Error::Usage { .. } | Error::Config(_) => TOOL,
        Error::NotATerminal => FAILED,
        Error::Execute { source, .. } if source.kind() == std::io::ErrorKind::NotFound => NOT_FOUND,
        Error::Execute { .. } => NOT_EXECUTABLE,
        Error::Engine(error) => engine_code(error, command),
        _ => usual(command),
    }
}

/// The exit code of a failure of the engine.
pub(super) fn engine_code(error: &engine::Error, command: &str) -> u8 {
    match error {
        engine::Error::PullReported { code } | engine::Error::Reported { code } => *code,
        engine::Error::UnmappedUser { .. } | engine::Error::UnmappedGroup { .. }
            if usual(command) == TOOL =>
        {
            NOT_EXECUTABLE
        }
        // docker's code for it is 126 here and 125 in run.
        engine::Error::Bundle(
            bundle::Error::UnknownUser { .. } | bundle::Error::UnknownGroup { .. },
        ) if command == "exec" => NOT_EXECUTABLE,
        // podman's code for what it refuses to users.
        engine::Error::NotUnshared { .. } | engine::Error::NothingToUnshare => TOOL,
        engine::Error::Runtime(error) | engine::Error::Foreign { error, .. } => match error {
            runtime::Error::CommandNotFound { .. } => NOT_FOUND,
            runtime::Error::CommandNotExecutable { .. } => NOT_EXECUTABLE,
            runtime::Error::WorkingDirectory { errno, .. } => match *errno {
                Errno::NOENT | Errno::NOTDIR if command == "exec" => NOT_FOUND,
                Errno::ACCESS => NOT_EXECUTABLE,
                _ => TOOL,
            },
            _ => TOOL,
        },
        _ => usual(command),
    }
}

fn usual(command: &str) -> u8 {
    if matches!(command, "run" | "create") { TOOL } else { FAILED }
}

/// Text from elsewhere without the control characters that would move a terminal's cursor.
pub fn escape(text: &str) -> Cow<'_, str> {
    let visible = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(visible) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(2 * text.len());
    for c in text.chars() {
        match visible(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_default()),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_dockers() {
        let missing = || Error::NoSuchObject("x".into());
        assert_eq!(code(&missing(), "run"), 125);
        assert_eq!(code(&missing(), "inspect"), 1);
        assert_eq!(code(&Error::usage("x"), "rm"), 125);
        assert_eq!(code(&Error::NotATerminal, "run"), 1);
        let command = || "x".to_owned();
        let not_found = runtime::Error::CommandNotFound { command: command(), path: None };
        assert_eq!(code(&Error::Engine(not_found.into()), "run"), 127);
        let refused = runtime::Error::CommandNotExecutable {
            command: command(),
            reason: runtime::ExecRefusal::Format,
        };
        assert_eq!(code(&Error::Engine(refused.into()), "run"), 126);
        assert_eq!(code(&Error::Engine(engine::Error::PullReported { code: 7 }), "run"), 7);
    }

    #[test]
    fn escapes_cannot_reach_the_terminal() {
        assert_eq!(escape("a\x1b[2Jb\r\nc\td"), "a\\u{1b}[2Jb\\r\nc\td");
        assert_eq!(escape("grün"), "grün");
    }
}
