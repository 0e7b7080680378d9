//! Whatever a command may fail with.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use super::{config, format};
use crate::diagnose::{Diagnose, Hint};
use crate::engine::{self, reference, registry, store};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for what cannot be.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What would be right.
        hint: Option<Hint>,
    },
    /// `--tty` without a terminal.
    #[error("the input device is not a TTY")]
    NotATerminal,
    /// An archive would be written to a terminal.
    #[error("cowardly refusing to save to a terminal. Use the -o flag or redirect")]
    ToTerminal,
    /// An archive would be read from a terminal.
    #[error("requested {command} from stdin, but stdin is a terminal")]
    FromTerminal {
        /// The command.
        command: &'static str,
    },
    /// `start -a` with more than one.
    #[error("you cannot start and attach multiple containers at once")]
    AttachSeveral,
    /// A file named on the command line cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program of the host that `unshare` cannot execute.
    #[error("exec: {program:?}: {source}")]
    Execute {
        /// The program.
        program: OsString,
        /// Why not.
        source: io::Error,
    },
    /// stdout is closed or full.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    /// Neither a container nor an image.
    #[error("No such object: {0}")]
    NoSuchObject(String),
    /// The last one was asked for. podman's words.
    #[error("no containers to be found")]
    NoContainers,
    /// A port that nothing on the host leads to. docker's words.
    #[error("No public port '{port}' published for {container}")]
    NoPublicPort {
        /// The container's port.
        port: String,
        /// The container.
        container: String,
    },
    /// One of several objects failed; each was told about.
    #[error("some of it failed")]
    Told,
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// `--format`
    #[error(transparent)]
    Format(#[from] format::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// A bundle's container.
    #[error(transparent)]
    Oci(#[from] engine::oci::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The name of an image.
    #[error(transparent)]
    Reference(#[from] reference::Error),
    /// A registry or an archive.
    #[error(transparent)]
    Registry(#[from] registry::Error),
}

impl Error {
    /// What is wrong with the command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: None }
    }
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Usage { hint, .. } => hint.clone(),
            Self::NotATerminal => {
                Some(Hint::new("drop -t: it needs a terminal, and stdin is none here"))
            }
            Self::FromTerminal { command: "load" } => {
                Some(Hint::new("coracle load --input FILE, or coracle load < FILE"))
            }
            Self::FromTerminal { .. } => Some(Hint::new("name a file, or redirect one")),
            Self::Format(format::Error::NoField { field, known }) => known_fields(field, known),
            Self::Config(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Oci(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Reference(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Format(format::Error::Syntax(_) | format::Error::Evaluation(_))
            | Self::File { .. }
            | Self::Execute { .. }
            | Self::Output(_)
            | Self::NoSuchObject(_)
            | Self::NoPublicPort { .. }
            | Self::AttachSeveral
            | Self::NoContainers
            | Self::ToTerminal
            | Self::Told => None,
        }
    }
}

fn known_fields(field: &str, known: &[String]) -> Option<Hint> {
    if let Some(name) = known.iter().find(|name| name.eq_ignore_ascii_case(field)) {
        return Some(Hint::new(format!("did you mean .{name}?")));
    }
    (!known.is_empty()).then(|| Hint::new(format!("there are {}", known.join(", "))))
}
