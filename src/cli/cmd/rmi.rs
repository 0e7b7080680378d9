//! `rmi`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use crate::engine::container::Status;
use crate::engine::{Engine, images, store};

/// Remove images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove it though stopped containers were made from it, or it has other names
    #[arg(short, long)]
    force: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(required = true, value_name = "IMAGE", add = complete::image_names())]
    images: Vec<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let users = users(&engine)?;
    let removed = cx.each(&args.images, |cx, query| {
        let removed = match images::remove(engine.store(), query, args.force, &users) {
            Err(images::Error::Store(store::Error::NoSuchImage { .. })) if args.force => {
                return Ok(());
            }
            removed => removed?,
        };
        for part in removed {
            match part {
                images::Removed::Untagged(name) => cx.out.line(format_args!("Untagged: {name}"))?,
                images::Removed::Deleted(id) => cx.out.line(format_args!("Deleted: {id}"))?,
            }
        }
        Ok(())
    });
    let in_use = engine.layers_in_use()?;
    let owners = engine.enter_owners()?;
    images::collect(engine.store(), &in_use, owners)?;
    removed.map(|()| ExitCode::SUCCESS)
}

fn users(engine: &Engine) -> Result<Vec<images::User>, Error> {
    let containers = engine.containers()?;
    let user = |(record, status): (crate::engine::container::Record, Status)| images::User {
        container: record.id,
        image: record.image_id,
        running: status == Status::Running,
    };
    Ok(containers.into_iter().map(user).collect())
}
