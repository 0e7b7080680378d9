//! `commit`

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::{Context, Error, complete, parse};
use crate::engine::reference::Reference;
use crate::engine::{CommitRequest, Format};
use crate::oci::Change;

/// Make an image of a container and what it has changed
#[derive(Debug, clap::Args)]
#[command(after_help = r#"Examples:
  coracle commit web site:1
  coracle commit -m 'new pages' -c 'CMD ["nginx"]' web site:2"#)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Args {
    /// Say who made it
    #[arg(short, long, value_name = "TEXT")]
    author: Option<String>,
    /// Say what was changed
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Change the image's configuration by a Dockerfile's instruction, such as `CMD ["sh"]`
    #[arg(short, long, value_name = "INSTRUCTION", value_parser = parse::instruction)]
    change: Vec<Change>,
    /// Stop the container's processes meanwhile; =false to let them run
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "true", default_missing_value = "true", value_parser = super::boolean)]
    pause: bool,
    /// The form of its manifest: oci or docker
    #[arg(short, long, value_name = "FORM", default_value = "oci")]
    format: Format,
    /// Make one layer of the changes (it is one anyway)
    #[arg(short, long)]
    squash: bool,
    /// Say of the container's volumes that they are volumes of the image
    #[arg(long)]
    include_volumes: bool,
    /// Write the image's ID to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Show no progress (there is none)
    #[arg(short, long)]
    quiet: bool,
    /// The container, by name or ID
    #[arg(add = complete::container_names())]
    container: String,
    /// The image's name, with a tag or for :latest
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<Reference>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    if args.name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(Error::usage("refusing to create a tag with a digest reference"));
    }
    let request = CommitRequest {
        container: args.container.clone(),
        name: args.name.clone(),
        author: args.author.clone(),
        message: args.message.clone(),
        changes: args.change.clone(),
        pause: args.pause,
        format: args.format,
        volumes: args.include_volumes,
    };
    let id = cx.engine(None, None)?.commit(&request)?;
    if let Some(path) = &args.iidfile {
        std::fs::write(path, id.to_string()).map_err(|source| Error::File {
            action: "write",
            path: path.clone(),
            source,
        })?;
    }
    cx.out.line(id)?;
    Ok(ExitCode::SUCCESS)
}
