//! `completion`

use std::process::ExitCode;

use clap::ValueEnum;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use super::super::{Context, Error, complete};

/// Print the completion script of a shell
///
/// bash: put it into ~/.local/share/bash-completion/completions/coracle.
/// zsh: into a directory of $fpath, as _coracle.
/// fish: into ~/.config/fish/completions/coracle.fish.
/// The scripts ask coracle itself, so that images and containers are completed too.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    cx.out.bytes(&script(args.shell).map_err(Error::Output)?)?;
    Ok(ExitCode::SUCCESS)
}

/// File names and contents below `completions/`.
pub fn scripts() -> std::io::Result<Vec<(&'static str, Vec<u8>)>> {
    let files =
        [(Shell::Bash, "coracle.bash"), (Shell::Zsh, "_coracle"), (Shell::Fish, "coracle.fish")];
    files.into_iter().map(|(shell, name)| Ok((name, script(shell)?))).collect()
}

fn script(shell: Shell) -> std::io::Result<Vec<u8>> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut text = Vec::new();
    completer.write_registration(complete::VARIABLE, "coracle", "coracle", "coracle", &mut text)?;
    Ok(text)
}
