//! Completion: the shell asks coracle itself, with [`VARIABLE`] set.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;

use super::cmd;
use super::context::{Context, Globals};
use super::environment::Environment;
use crate::engine::{Engine, reference};

/// Set by the completion scripts; nothing else costs the normal path anything.
pub const VARIABLE: &str = "CORACLE_COMPLETE";

pub(super) fn answer(arguments: Vec<OsString>) -> ExitCode {
    let here = std::env::current_dir().ok();
    let request = CompleteEnv::with_factory(cmd::tree).var(VARIABLE).bin("coracle");
    match request.try_complete(arguments, here.as_deref()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // a message would land in the middle of the user's line
    }
}

/// Completes names of images.
pub(super) fn image_names() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| matching(typed, images))
}

/// Completes names of containers.
pub(super) fn container_names() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| matching(typed, containers))
}

/// Completes names of volumes.
pub(super) fn volume_names() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| matching(typed, volumes))
}

/// Completes names of networks.
pub(super) fn network_names() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| matching(typed, networks))
}

/// Completes names of lists of manifests.
pub(super) fn list_names() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| matching(typed, lists))
}

/// Completes names of artifacts.
pub(super) fn artifact_names() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| matching(typed, artifacts))
}

/// Completes what a `--volume` begins with.
pub(super) fn volume_sources() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        matching(typed, |engine| volumes(engine).iter().map(|name| format!("{name}:")).collect())
    })
}

/// Completes names of either.
pub(super) fn object_names() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let mut found = matching(typed, containers);
        found.extend(matching(typed, images));
        found
    })
}

fn matching(typed: &OsStr, names: fn(&Engine) -> Vec<String>) -> Vec<CompletionCandidate> {
    let context = Context::new(Environment::of_process(), Globals::default());
    let Ok(root) = context.as_ref().map(|cx| cx.root().unwrap_or_default()) else {
        return Vec::new();
    };
    // Asking must not make a store.
    if !root.join("version").exists() {
        return Vec::new();
    }
    let Ok(engine) = context.and_then(|cx| cx.engine(None, None)) else { return Vec::new() };
    let typed = typed.to_string_lossy();
    let fits = names(&engine).into_iter().filter(|name| name.starts_with(typed.as_ref()));
    fits.map(CompletionCandidate::new).collect()
}

fn images(engine: &Engine) -> Vec<String> {
    let listed = engine.images().unwrap_or_default();
    let tags = listed.into_iter().flat_map(|listed| listed.names.tags);
    tags.map(|tag| reference::familiar(&tag)).collect()
}

fn containers(engine: &Engine) -> Vec<String> {
    let containers = engine.summaries(&|_| true).unwrap_or_default();
    containers.into_iter().map(|(record, _)| record.name).collect()
}

fn volumes(engine: &Engine) -> Vec<String> {
    let volumes = engine.volumes().unwrap_or_default();
    volumes.into_iter().map(|volume| volume.name.to_string()).collect()
}

fn networks(engine: &Engine) -> Vec<String> {
    let networks = engine.networks().unwrap_or_default();
    networks.into_iter().map(|network| network.name).collect()
}

fn lists(engine: &Engine) -> Vec<String> {
    let lists = engine.lists().unwrap_or_default();
    lists.into_iter().map(|list| reference::familiar(&list.reference)).collect()
}

fn artifacts(engine: &Engine) -> Vec<String> {
    let artifacts = engine.artifacts().unwrap_or_default();
    artifacts.into_iter().map(|artifact| reference::familiar(&artifact.reference)).collect()
}
