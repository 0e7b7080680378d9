//! `generate`: the files below `completions/` and `man/`, for whoever changes the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;

use super::super::{Context, Error};
use super::{completion, tree};

/// Write completions/ and man/ into a directory
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to
    directory: PathBuf,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let scripts = completion::scripts().map_err(Error::Output)?;
    let scripts = scripts.into_iter().map(|(name, text)| (format!("completions/{name}"), text));
    let pages = manual_pages().map_err(Error::Output)?;
    let pages = pages.into_iter().map(|(name, text)| (format!("man/{name}"), text));
    for (name, text) in scripts.chain(pages) {
        write(&args.directory.join(&name), &text)?;
        cx.out.line(name)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &[u8]) -> Result<(), Error> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, text)).map_err(|source| Error::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// What help shows below its options, under a title that pages have for it and as it stands.
fn section_of_examples(help: &str, page: &mut Vec<u8>) {
    page.extend_from_slice(b".SH EXAMPLES\n.nf\n");
    for line in help.lines().skip(1) {
        let line = line.strip_prefix("  ").unwrap_or(line).replace('\\', "\\e");
        let line = line.replace('-', "\\-").replace('\'', "\\(aq");
        // Nothing at a line's beginning is a request.
        page.extend_from_slice(format!("\\&{line}\n").as_bytes());
    }
    page.extend_from_slice(b".fi\n");
}

/// File names and contents below `man/`: one page for each visible command.
pub fn manual_pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut tree = tree().disable_help_subcommand(true);
    tree.build();
    let mut pages = Vec::new();
    add(&tree, "", &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, above: &str, pages: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    let name = match above {
        "" => command.get_name().to_owned(),
        above => format!("{above}-{}", command.get_name()),
    };
    let titled: &'static str = Box::leak(name.clone().into_boxed_str()); // clap wants it to stay
    let mut text = Vec::new();
    let examples = command.get_after_help().map(ToString::to_string);
    Man::new(command.clone().name(titled).after_help(None::<&str>))
        .date("")
        .source(format!("coracle {}", env!("CARGO_PKG_VERSION")))
        .manual("coracle manual")
        .render(&mut text)?;
    if let Some(examples) = examples {
        section_of_examples(&examples, &mut text);
    }
    pages.push((format!("{name}.1"), text));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add(below, &name, pages)?;
    }
    Ok(())
}
