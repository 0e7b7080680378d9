//! `cp`

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::{Context, Error, human};
use crate::engine::{CopyOptions, InContainer, Outside};

/// Copy files and directories out of a container, or into one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle cp web:/etc/nginx/nginx.conf .
  coracle cp site/. web:/srv                               # what is in site, not site itself
  coracle cp web:/var/log - | tar -t")]
#[command(override_usage = "coracle cp [OPTIONS] CONTAINER:PATH PATH|-\n       \
    coracle cp [OPTIONS] PATH|- CONTAINER:PATH")]
pub(crate) struct Args {
    /// Keep the owners
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link in SOURCE leads to
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Do not say what was copied
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, a path of the host, or - for a tar archive on stdin
    #[arg(value_name = "SOURCE")]
    from: String,
    /// CONTAINER:PATH, a path of the host, or - for a tar archive on stdout
    #[arg(value_name = "TARGET")]
    to: String,
}

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side {
    Container(InContainer),
    Host(PathBuf),
    Stream,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let options = CopyOptions { archive: args.archive, follow: args.follow_link };
    let engine = cx.engine(None, None)?;
    let (bytes, to) = match (side(&args.from), side(&args.to)) {
        (Side::Container(_), Side::Container(_)) => {
            return Err(Error::usage("copying between containers is not supported"));
        }
        (Side::Container(from), to) => {
            let outside = match &to {
                Side::Host(path) => Outside::Path(path),
                _ => Outside::Stream,
            };
            (engine.copy_out(&from, &outside, options)?, args.to.clone())
        }
        (from, Side::Container(to)) => {
            let outside = match &from {
                Side::Host(path) => Outside::Path(path),
                _ => Outside::Stream,
            };
            (engine.copy_in(&outside, &to, options)?, args.to.clone())
        }
        _ => return Err(Error::usage("must specify at least one container source")),
    };
    // As docker: to people alone.
    if !args.quiet && args.to != "-" && std::io::stdout().is_terminal() {
        let size = human::size(bytes);
        cx.report.say_done(&format!("Successfully copied {size} to {to}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// `./a:b` and `/a:b` are the host's.
fn side(text: &str) -> Side {
    if text == "-" {
        return Side::Stream;
    }
    let host = || Side::Host(Path::new(text).to_owned());
    match text.split_once(':') {
        Some((container, path)) if !text.starts_with(['/', '.']) => {
            Side::Container(InContainer { container: container.to_owned(), path: path.to_owned() })
        }
        _ => host(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_names_a_container() {
        let inside = |container: &str, path: &str| {
            Side::Container(InContainer { container: container.into(), path: path.into() })
        };
        assert_eq!(side("web:/etc/x:y"), inside("web", "/etc/x:y"));
        assert_eq!(side("web:rel"), inside("web", "rel"));
        assert_eq!(side("./a:b"), Side::Host("./a:b".into()));
        assert_eq!(side("/a:b"), Side::Host("/a:b".into()));
        assert_eq!(side("plain"), Side::Host("plain".into()));
        assert_eq!(side("-"), Side::Stream);
    }
}
