//! `system df`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::format::Format;
use super::super::list::Listing;
use super::super::{Context, Error, human};
use super::{images, ps};
use crate::engine::{ContainerUse, DiskUse, ImageUse, VolumeUse};

const SUMMARY: Listing = Listing {
    columns: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    headings: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
};
const IMAGES: Listing = Listing {
    columns: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    headings: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("Size", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ],
};
const CONTAINERS: Listing = Listing {
    columns: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ],
};

const VOLUMES: Listing = Listing {
    columns: "{{.Name}}\t{{.Links}}\t{{.Size}}",
    headings: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
};

/// Show how much of the disk is in use, and how much of that nothing needs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show each image, container and volume
    #[arg(short, long)]
    verbose: bool,
    /// Print with a Go template, `table TEMPLATE`, or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let found = cx.engine(None, None)?.disk_use()?;
    if !args.verbose {
        SUMMARY.print(&mut cx.out, args.format.as_ref(), &summary(&found))?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = jiff::Timestamp::now();
    let images: Vec<Value> = found.images.iter().flat_map(|image| image_rows(image, now)).collect();
    let containers: Vec<Value> = found.containers.iter().map(|it| container_row(it, now)).collect();
    let volumes: Vec<Value> = found.volumes.iter().map(volume_row).collect();
    match &args.format {
        None | Some(Format::Usual) => {
            cx.out.line("Images space usage:\n")?;
            IMAGES.print(&mut cx.out, None, &images)?;
            cx.out.line("\nContainers space usage:\n")?;
            CONTAINERS.print(&mut cx.out, None, &containers)?;
            cx.out.line("\nLocal Volumes space usage:\n")?;
            VOLUMES.print(&mut cx.out, None, &volumes)?;
        }
        Some(format) => {
            let all = json!({"Images": images, "Containers": containers, "Volumes": volumes});
            match format {
                Format::Template(template) | Format::Table(template) => {
                    cx.out.line(template.render(&all)?)?;
                }
                Format::Json | Format::Usual => cx.out.line(all)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A row each kind of thing; a new kind is added here.
fn summary(found: &DiskUse) -> Vec<Value> {
    let used = found.images.iter().filter(|image| image.containers > 0).count();
    let up = found.containers.iter().filter(|container| container.status.is_up());
    let written = |containers: &mut dyn Iterator<Item = &ContainerUse>| -> u64 {
        containers.map(|container| container.written).sum()
    };
    let all = written(&mut found.containers.iter());
    let idle = written(&mut found.containers.iter().filter(|it| !it.status.is_up()));
    let had = found.volumes.iter().filter(|volume| volume.containers > 0);
    let kept = found.volumes.iter().map(|volume| volume.size).sum();
    let unused = found.volumes.iter().filter(|volume| volume.containers == 0);
    let unused = unused.map(|volume| volume.size).sum();
    vec![
        row("Images", found.images.len(), used, found.layers, found.layers_unused),
        row("Containers", found.containers.len(), up.count(), all, idle),
        row("Local Volumes", found.volumes.len(), had.count(), kept, unused),
    ]
}

fn row(kind: &str, total: usize, active: usize, size: u64, reclaimable: u64) -> Value {
    let reclaimed = match (reclaimable.saturating_mul(100)).checked_div(size) {
        Some(percent) => format!("{} ({percent}%)", human::size(reclaimable)),
        None => human::size(reclaimable),
    };
    json!({
        "Type": kind,
        "TotalCount": total.to_string(),
        "Active": active.to_string(),
        "Size": human::size(size),
        "Reclaimable": reclaimed,
    })
}

fn image_rows(image: &ImageUse, now: jiff::Timestamp) -> Vec<Value> {
    let mut rows = images::rows(&images::Shown::default(), &image.listed, now);
    for row in &mut rows {
        row["SharedSize"] = human::size(image.shared).into();
        row["UniqueSize"] = human::size(image.unique).into();
        row["Containers"] = image.containers.to_string().into();
    }
    rows
}

fn container_row(container: &ContainerUse, now: jiff::Timestamp) -> Value {
    let fields = CONTAINERS.headings.iter().map(|(field, _)| *field).collect::<Vec<_>>();
    let look = ps::Look { full: false, now, health: None, size: None, fields: &fields };
    let mut row = ps::row(&container.record, container.status, &look);
    row["Size"] = human::size(container.written).into();
    row
}

fn volume_row(volume: &VolumeUse) -> Value {
    json!({
        "Name": volume.name,
        "Links": volume.containers.to_string(),
        "Size": human::size(volume.size),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_go_is_said_in_per_cent() {
        assert_eq!(row("Images", 1, 1, 2_000_000, 500_000)["Reclaimable"], "500kB (25%)");
        assert_eq!(row("Images", 0, 0, 0, 0)["Reclaimable"], "0B");
    }
}
