//! What the `prune` commands share: the kinds of things that go, the question before it, and what is
//! said of it.

use std::collections::BTreeMap;
use std::io::BufRead;

use jiff::Timestamp;

use super::super::parse::filter::{self, Filter};
use super::super::{Context, Error, human, parse};
use crate::engine::{Engine, Pruned};

/// The flags of every `prune`.
#[derive(Debug, clap::Args)]
pub(super) struct PruneArgs {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only what was made before `until=` a time (or so long ago: until=24h), or has (`label=`) or has
    /// not (`label!=`) a label
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
}

/// How much is to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Images with a tag too.
    pub(super) all: bool,
}

/// A kind of thing that can be cleared away.
pub(super) struct Kind {
    /// Above the list of what went.
    heading: &'static str,
    /// What `system prune` says goes.
    warning: fn(Extent) -> &'static str,
    prune: fn(&Engine, Extent, &Fitting) -> Result<Pruned, Error>,
}

pub(super) const CONTAINERS: Kind = Kind {
    heading: "Deleted Containers:",
    warning: |_| "all stopped containers",
    prune: |engine, _, fitting| {
        Ok(engine.prune_containers(&|created, labels| fitting.fits(created, labels))?)
    },
};

pub(super) const IMAGES: Kind = Kind {
    heading: "Deleted Images:",
    warning: |extent| match extent.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    },
    prune: |engine, extent, fitting| {
        // The last kind: this process is in another user namespace from here on.
        let owners = engine.enter_owners()?;
        let fits = |created: &str, labels: &_| fitting.fits(created, labels);
        Ok(engine.prune_images(extent.all, &fits, owners)?)
    },
};

pub(super) const VOLUMES: Kind = Kind {
    heading: "Deleted Volumes:",
    warning: |_| "all anonymous volumes not used by at least one container",
    prune: |engine, extent, fitting| {
        let fits = |created: &str, labels: &_| fitting.fits(created, labels);
        Ok(engine.prune_volumes(extent.all, &fits)?)
    },
};

pub(super) const NETWORKS: Kind = Kind {
    heading: "Deleted Networks:",
    warning: |_| "all networks not used by at least one container",
    prune: |engine, _, fitting| {
        Ok(engine.prune_networks(&|created, labels| fitting.fits(created, labels))?)
    },
};

/// `system prune --all` is about images: it takes no volume with a name.
pub(super) const UNNAMED_VOLUMES: Kind = Kind {
    prune: |engine, _, fitting| (VOLUMES.prune)(engine, Extent { all: false }, fitting),
    ..VOLUMES
};

/// What `system prune` clears away, in this order: containers first, which keep the rest in use, and
/// images last. A new kind of thing is added here.
pub(super) const KINDS: &[Kind] = &[CONTAINERS, NETWORKS, IMAGES];
/// The same with `--volumes`.
pub(super) const KINDS_AND_VOLUMES: &[Kind] = &[CONTAINERS, NETWORKS, UNNAMED_VOLUMES, IMAGES];

impl PruneArgs {
    /// Asks, clears away these kinds, and says what went.
    pub(super) fn run(
        &self,
        cx: &mut Context,
        question: &str,
        kinds: &[Kind],
        extent: Extent,
    ) -> Result<(), Error> {
        self.clear(cx, question, kinds, extent, |cx, reclaimed| {
            cx.out.line(format_args!("Total reclaimed space: {}", human::size(reclaimed)))
        })
    }

    /// The same for what takes no room.
    pub(super) fn run_unsized(
        &self,
        cx: &mut Context,
        question: &str,
        kind: Kind,
    ) -> Result<(), Error> {
        self.clear(cx, question, &[kind], Extent { all: false }, |_, _| Ok(()))
    }

    fn clear(
        &self,
        cx: &mut Context,
        question: &str,
        kinds: &[Kind],
        extent: Extent,
        tell: impl FnOnce(&mut Context, u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let fitting = Fitting::new(&self.filter, Timestamp::now())?;
        let engine = cx.engine(None, None)?;
        if !self.force && !confirmed(cx, question)? {
            return Ok(());
        }
        let mut reclaimed = 0_u64;
        let mut failures = Vec::new();
        for kind in kinds {
            let pruned = (kind.prune)(&engine, extent, &fitting)?;
            if !pruned.lines.is_empty() {
                cx.out.line(kind.heading)?;
                pruned.lines.iter().try_for_each(|line| cx.out.line(line))?;
                cx.out.line("")?;
            }
            reclaimed = reclaimed.saturating_add(pruned.reclaimed);
            failures.extend(pruned.failures);
        }
        tell(cx, reclaimed)?;
        let each = vec![(); failures.len()];
        let mut failures = failures.into_iter();
        cx.each(&each, |_, ()| failures.next().map_or(Ok(()), |error| Err(error.into())))
    }

    /// docker's question before several kinds go.
    pub(super) fn question(&self, kinds: &[Kind], extent: Extent) -> String {
        let lines = kinds.iter().map(|kind| format!("  - {}\n", (kind.warning)(extent)));
        let mut text = format!("WARNING! This will remove:\n{}", lines.collect::<String>());
        if !self.filter.is_empty() {
            let filters =
                self.filter.iter().map(|filter| format!("{}={}", filter.key, filter.value));
            text += "\n  Items to be pruned will be filtered with:\n  - ";
            text += &filters.collect::<Vec<_>>().join(", ");
            text += "\n";
        }
        text + "\n"
    }
}

/// Whether the user wants it: `y` and Enter, docker's way.
fn confirmed(cx: &mut Context, question: &str) -> Result<bool, Error> {
    cx.out.text(format_args!("{question}Are you sure you want to continue? [y/N] "))?;
    cx.out.flush()?;
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|source| Error::File { action: "read", path: "the answer".into(), source })?;
    // Nobody was there to end the line.
    if !answer.ends_with('\n') {
        cx.out.text("\n")?;
    }
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// What the filters let pass.
#[derive(Debug)]
pub(super) struct Fitting {
    until: Option<Timestamp>,
    /// Texts of `label` filters, and whether they must hold or must not.
    labels: Vec<(String, bool)>,
}

impl Fitting {
    fn new(filters: &[Filter], now: Timestamp) -> Result<Self, Error> {
        let known = ["label", "label!", "until"];
        filter::check(filters, &known).map_err(|error| Error::usage(error.0))?;
        let mut fitting = Self { until: None, labels: Vec::new() };
        for Filter { key, value } in filters {
            match &key[..] {
                "until" if fitting.until.is_some() => {
                    return Err(Error::usage("more than one until filter specified"));
                }
                "until" => {
                    let until = parse::moment(value, now);
                    fitting.until = Some(until.map_err(|error| Error::usage(error.0))?);
                }
                _ => fitting.labels.push((value.clone(), key == "label")),
            }
        }
        Ok(fitting)
    }

    /// What was made at an unknown time is as old as can be.
    fn fits(&self, created: &str, labels: &BTreeMap<String, String>) -> bool {
        let created = created.parse::<Timestamp>().unwrap_or(Timestamp::MIN);
        self.until.is_none_or(|until| created < until)
            && self.labels.iter().all(|(text, must)| filter::label_holds(text, labels) == *must)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting(texts: &[&str]) -> Result<Fitting, Error> {
        let filters: Vec<Filter> = texts.iter().map(|it| it.parse().expect("a filter")).collect();
        Fitting::new(&filters, "2026-11-28T12:00:00Z".parse().expect("a time"))
    }

    #[test]
    fn filters_are_dockers() {
        let labels = BTreeMap::from([("tier".to_owned(), "front".to_owned())]);
        let fits =
            |texts: &[&str]| fitting(texts).expect("filters").fits("2026-11-28T10:00:00Z", &labels);
        for right in
            [&[][..], &["until=1h"], &["until=2026-11-28T11:00:00Z"], &["label=tier", "label!=x"]]
        {
            assert!(fits(right), "{right:?}");
        }
        for wrong in [&["until=3h"][..], &["label=tier=back"], &["label!=tier=front"]] {
            assert!(!fits(wrong), "{wrong:?}");
        }
        for bad in [&["until=soon"][..], &["until=1h", "until=2h"], &["colour=red"]] {
            assert!(fitting(bad).is_err(), "{bad:?}");
        }
        assert!(fitting(&["until=1h"]).expect("a filter").fits("", &labels));
    }
}
