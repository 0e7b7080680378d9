//! `login`

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use super::super::{Context, Error, prompt};
use super::registry::{self, ConnectionArgs};
use crate::engine::reference::Reference;
use crate::engine::registry::{
    Kept, Lists, Login, Options, keep_login, known_login, way_to_registry,
};

/// Log in to a registry
#[derive(Debug, clap::Args)]
#[command(after_help = r#"Examples:
  coracle login registry.example
  echo "$TOKEN" | coracle login -u robot --password-stdin registry.example"#)]
pub(crate) struct Args {
    /// The user; asked for where it is not given
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// The password; other programs can read it meanwhile
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Print the user that is logged in
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    get_login: bool,
    /// Print where the login is kept
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The registry, or a part of it that has a login of its own [default: docker.io]
    #[arg(value_name = "HOST[:PORT][/PATH]")]
    server: Option<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let name = name(args.server.as_deref())?;
    let options = registry::connection(cx, &args.connection)?;
    let known = known_login(&options, &name)?;
    if args.get_login {
        return match known {
            Some(Login::Password { user, .. }) => cx.out.line(user).map(|()| ExitCode::SUCCESS),
            Some(Login::Identity(_)) => cx.out.line("<token>").map(|()| ExitCode::SUCCESS),
            None => Err(Error::usage(format!("not logged into {name}"))),
        };
    }
    let asked = args.username.is_some() || args.password.is_some() || args.password_stdin;
    if let Some(login) = known.filter(|_| !asked) {
        cx.report.note(&format!("authenticating with existing credentials for {name}"));
        match check(&options, &name, login) {
            Ok(()) => return cx.out.line("Login Succeeded").map(|()| ExitCode::SUCCESS),
            Err(error) if !std::io::stdin().is_terminal() => return Err(error),
            Err(error) => cx.report.tell(&error),
        }
    }
    if args.password.is_some() {
        cx.report.note("a password on the command line can be read by others: --password-stdin");
    }
    let login = ask(args)?;
    check(&options, &name, login.clone())?;
    let place = match keep_login(&options, &name, &login)? {
        Kept::Helper(helper) => helper,
        Kept::File(path) => {
            let path = path.display();
            cx.report.note(&format!("the password is stored unencrypted in {path}"));
            path.to_string()
        }
    };
    if args.verbose {
        cx.out.line(format_args!("Used: {place}"))?;
    }
    cx.out.line("Login Succeeded").map(|()| ExitCode::SUCCESS)
}

/// A server as docker and podman take it, as logins are known by.
pub(super) fn name(server: Option<&str>) -> Result<String, Error> {
    let Some(server) = server else { return Ok("docker.io".to_owned()) };
    let bare = server.split_once("://").map_or(server, |(_, bare)| bare).trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or(bare.strip_suffix("/v2")).unwrap_or(bare);
    let (host, path) = bare.split_once('/').map_or((bare, None), |(host, path)| (host, Some(path)));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    let name = path.map_or(host.to_owned(), |path| format!("{host}/{path}"));
    // Through the grammar of names, of which it is the beginning.
    let full = if path.is_some() { name.clone() } else { format!("{host}/any") };
    match full.parse::<Reference>() {
        Ok(reference) if reference.registry() == host && !server.contains('@') => Ok(name),
        // A host without a dot or port is one here.
        Err(_) | Ok(_) if is_host(host) && path.is_none() => Ok(name),
        _ => Err(Error::usage(format!("{server:?} is no registry: want HOST[:PORT][/PATH]"))),
    }
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn check(options: &Options, name: &str, login: Login) -> Result<(), Error> {
    let registry = name.split('/').next().unwrap_or(name);
    let options = Options { login: Some(login), ..options.clone() };
    let way = way_to_registry(&options, registry)?;
    Ok(Lists::new(&options, way)?.check_login()?)
}

/// What was given, and for the rest the user.
fn ask(args: &Args) -> Result<Login, Error> {
    let file = |source| Error::File { action: "read", path: "/dev/stdin".into(), source };
    let terminal = std::io::stdin().is_terminal();
    let stuck = || Error::usage("cannot perform an interactive login from a non TTY device");
    let password = match (&args.password, args.password_stdin) {
        (Some(password), _) => Some(password.clone()),
        (None, false) => None,
        (None, true) => {
            if args.username.is_none() {
                return Err(Error::usage("must provide --username with --password-stdin"));
            }
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(file)?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
    };
    let user = match &args.username {
        Some(user) => user.clone(),
        None if terminal => prompt::line("Username: ").map_err(file)?,
        None => return Err(stuck()),
    };
    let password = match password {
        Some(password) => password,
        None if terminal => prompt::secret("Password: ").map_err(file)?,
        None => return Err(stuck()),
    };
    if user.is_empty() || user.contains(':') {
        return Err(Error::usage("a user's name is not empty and has no colon in it"));
    }
    if password.is_empty() {
        return Err(Error::usage("password required"));
    }
    Ok(Login::Password { user, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_one_name() {
        for (server, want) in [
            (None, "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("registry-1.docker.io"), "docker.io"),
            (Some("https://r.example/v2/"), "r.example"),
            (Some("localhost:5000"), "localhost:5000"),
            (Some("registry"), "registry"),
            (Some("[::1]:5000"), "[::1]:5000"),
            (Some("r.example/team/app"), "r.example/team/app"),
        ] {
            assert_eq!(name(server).ok().as_deref(), Some(want), "{server:?}");
        }
        for server in ["", "a b", "user@r.example", "r.example/UPPER", "\u{1b}[31m"] {
            assert!(name(Some(server)).is_err(), "{server:?}");
        }
    }
}
