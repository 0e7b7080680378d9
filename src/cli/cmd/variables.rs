//! The flags that say which variables a container has.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::super::seldom::Seldom;
use super::super::{Context, Error, parse};
use super::run::{in_file, read};
use crate::engine::bundle;

/// The container's variables.
#[derive(Debug, clap::Args)]
pub(super) struct Variables {
    /// Set a variable; a name alone takes the host's value, and NAME* all that begin so
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<OsString>,
    #[command(flatten)]
    more: Seldom<MoreVariables>,
}

/// Variables that do not stand in the line, and those that are taken away.
#[derive(Debug, Default, clap::Args)]
struct MoreVariables {
    /// Set the variables in a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Take over all variables of the host, where the image does not set them
    #[arg(long)]
    env_host: bool,
    /// Set a variable to a text in which ${NAME} stands for what the image sets
    #[arg(long, value_name = "NAME=TEXT", value_parser = parse::pair)]
    env_merge: Vec<(String, String)>,
    /// Take out a variable that the image or coracle sets
    #[arg(long, value_name = "NAME")]
    unsetenv: Vec<String>,
    /// Take out all of those
    #[arg(long)]
    unsetenv_all: bool,
    /// Take over the host's proxies: http_proxy and its kin [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = super::boolean)]
    http_proxy: Option<bool>,
}

/// What programs read a proxy from, in lower and upper case.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];

impl Variables {
    /// Fills in the request.
    pub(super) fn apply(&self, request: &mut bundle::Request, cx: &Context) -> Result<(), Error> {
        request.env = environment(&self.more.env_file, &self.env, cx)?;
        request.env_merge.clone_from(&self.more.env_merge);
        request.unset_env.clone_from(&self.more.unsetenv);
        request.unset_all_env = self.more.unsetenv_all;
        if self.more.env_host {
            request.host_env = cx.environment.all();
        } else if self.more.http_proxy.unwrap_or(true) {
            let both = |name: &str| [name.to_owned(), name.to_ascii_uppercase()];
            let names = PROXIES.iter().flat_map(|name| both(name));
            let set =
                names.filter_map(|name| Some((OsString::from(&name), cx.environment.get(&name)?)));
            request.host_env = set.collect();
        }
        Ok(())
    }
}

/// Files first: what stands on the command line wins.
pub(super) fn environment(
    files: &[PathBuf],
    texts: &[OsString],
    cx: &Context,
) -> Result<Vec<(OsString, OsString)>, Error> {
    let host = |name: &OsStr| cx.environment.get(name);
    let mut env = Vec::new();
    for path in files {
        let variables = parse::env_file(&read(path)?, host);
        env.extend(variables.map_err(|error| in_file(path, &error))?);
    }
    for text in texts {
        // podman's: all variables of the host whose names begin so.
        if let Some(start) =
            text.to_str().filter(|text| !text.contains('=')).and_then(|it| it.strip_suffix('*'))
        {
            let begins = |(name, _): &(OsString, OsString)| {
                name.as_encoded_bytes().starts_with(start.as_bytes())
            };
            env.extend(cx.environment.all().into_iter().filter(begins));
            continue;
        }
        let variable = parse::variable(text, host);
        env.extend(variable.map_err(|error| Error::usage(format!("--env: {error}")))?);
    }
    Ok(env)
}
