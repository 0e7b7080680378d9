//! `system check`

use std::process::ExitCode;

use super::super::progress::Shown;
use super::super::report::escape;
use super::super::{Context, Error};
use super::registry::{self, AccessArgs};
use crate::engine::check::{Check, Checked};
use crate::engine::registry::{Guarded, Remote, ways};
use crate::engine::trust::Origin;
use crate::engine::{self, reference::Reference};

/// Look for damage in the store, and repair it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    access: AccessArgs,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Take away what is damaged, and unpack or pull it again
    #[arg(short, long)]
    repair: bool,
    /// Look at sizes and names alone, and read no content
    #[arg(long)]
    quick: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let options = registry::options(cx, &args.access)?;
    let trust = registry::policy(cx, None)?;
    let check = Check { quick: args.quick, owners: engine.enter_owners()? };
    let mut checked = engine.check_store(check)?;
    tell(cx, &checked)?;
    if args.repair && !checked.faults.is_empty() {
        let source = |reference: &Reference| -> Result<Guarded<Remote>, engine::Error> {
            let ways =
                ways(&options, reference).map_err(|error| engine::Error::Pull(error.into()))?;
            let remote = Remote::by(options.clone(), reference.clone(), ways);
            // What a digest names was let in before; what a tag names may be another by now.
            if reference.digest().is_some() {
                return Ok(Guarded::new(remote, reference.clone(), Vec::new()));
            }
            let demands = trust.demands(Origin::Registry(reference));
            let demands = demands.map_err(engine::registry::Error::from);
            let demands = demands.map_err(|error| engine::Error::Pull(error.into()))?;
            Ok(Guarded::new(remote, reference.clone(), demands))
        };
        cx.out.flush()?;
        let (report, shown) = (cx.report, Shown::new(args.quiet, &cx.environment));
        engine.repair_store(check, &checked, &source, &shown, |image, error| {
            report.note(&format!("{image} could not be brought again"));
            report.say(error);
        })?;
        let before = checked.faults.len();
        checked = engine.check_store(check)?;
        let left = checked.faults.len();
        if left > 0 {
            cx.out.line("still damaged:")?;
            tell(cx, &checked)?;
        } else {
            cx.out.line(format_args!("repaired: {before}"))?;
        }
    }
    if checked.faults.is_empty() {
        let Checked { images, blobs, layers, .. } = checked;
        cx.out.line(format_args!(
            "no damage: {images} images, {blobs} blobs, {layers} unpacked layers"
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn tell(cx: &mut Context, checked: &Checked) -> Result<(), Error> {
    for fault in &checked.faults {
        let images = match fault.images.is_empty() {
            true => String::new(),
            false => format!(" (of {})", fault.images.join(", ")),
        };
        let line = format!("{}: {}{images}", fault.path.display(), fault.why);
        cx.out.line(escape(&line))?;
    }
    Ok(())
}
