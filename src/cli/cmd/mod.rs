//! The commands: one file each, its arguments and what it does with them.

mod artifact;
mod attach;
mod commit;
mod completion;
mod container_exists;
mod container_prune;
mod cp;
mod create;
mod diff;
mod doctor;
mod events;
mod exec;
mod export;
mod generate;
mod generate_systemd;
mod healthcheck;
mod hello;
mod history;
mod identity;
mod image_exists;
mod image_mount;
mod image_prune;
mod image_tree;
mod image_unmount;
mod images;
mod import;
mod info;
mod inspect;
mod isolation;
mod kill;
mod lifecycle;
mod limits;
mod load;
mod login;
mod logout;
mod logs;
mod manifest;
mod mount;
mod network;
mod networking;
mod pause;
mod port;
mod prune;
mod ps;
mod pull;
mod push;
mod registry;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod runtime;
mod save;
mod search;
mod start;
mod stats;
mod stop;
mod system_check;
mod system_df;
mod system_prune;
mod tag;
mod top;
mod unmount;
mod unpause;
mod unshare;
mod untag;
mod update;
mod variables;
mod version;
mod volume;
mod wait;
mod which;

use std::process::ExitCode;

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};

use super::seldom::Brief;
use super::{Context, Error};
use artifact::{
    add as artifact_add, extract as artifact_extract, inspect as artifact_inspect,
    list as artifact_list, pull as artifact_pull, push as artifact_push, remove as artifact_remove,
};
use manifest::{
    add as manifest_add, annotate as manifest_annotate, create as manifest_create,
    exists as manifest_exists, inspect as manifest_inspect, list as manifest_list,
    push as manifest_push, remove as manifest_remove, rm as manifest_rm,
};
use network::{
    connect as network_connect, create as network_create, disconnect as network_disconnect,
    exists as network_exists, inspect as network_inspect, list as network_list,
    prune as network_prune, remove as network_remove,
};
use volume::{
    create as volume_create, exists as volume_exists, export as volume_export,
    import as volume_import, inspect as volume_inspect, list as volume_list, prune as volume_prune,
    remove as volume_remove,
};

use crate::engine::container::{self, Status, Summary};
use crate::engine::{self, Engine};

pub use completion::scripts as completion_scripts;
pub use generate::manual_pages;

/// A command: its name and what it takes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    aliases: &'static [&'static str],
    hidden: bool,
    pub(super) action: Action,
}

/// What a command is.
#[derive(Debug)]
pub(super) enum Action {
    /// Commands about one kind of thing.
    Group(&'static [Entry]),
    /// Something to do.
    Run {
        build: fn(Command) -> Command,
        run: fn(ArgMatches, &mut Context) -> Result<ExitCode, Error>,
    },
}

macro_rules! entry {
    ($module:ident, $name:literal $(, alias $alias:literal)* $(, hidden $hidden:literal)?) => {
        Entry {
            name: $name,
            aliases: &[$($alias),*],
            hidden: false $(|| $hidden)?,
            action: Action::Run {
                build: $module::Args::augment_args,
                run: |mut matches, cx| {
                    let args = $module::Args::from_arg_matches_mut(&mut matches)
                        .map_err(|error| Error::usage(error.to_string()))?;
                    // What lives on with a container lives on with this memory.
                    drop(matches);
                    $module::run(&args, cx)
                },
            },
        }
    };
}

macro_rules! group {
    ($name:literal, $entries:expr) => {
        Entry { name: $name, aliases: &[], hidden: false, action: Action::Group($entries) }
    };
}

/// Every command, in the order in which help shows them.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(run, "run"),
    entry!(exec, "exec"),
    entry!(pull, "pull"),
    entry!(push, "push"),
    entry!(login, "login"),
    entry!(logout, "logout"),
    entry!(search, "search"),
    entry!(ps, "ps"),
    entry!(create, "create"),
    entry!(start, "start"),
    entry!(stop, "stop"),
    entry!(restart, "restart"),
    entry!(kill, "kill"),
    entry!(pause, "pause"),
    entry!(unpause, "unpause"),
    entry!(stats, "stats"),
    entry!(top, "top"),
    entry!(update, "update"),
    entry!(wait, "wait"),
    entry!(attach, "attach"),
    entry!(logs, "logs"),
    entry!(port, "port"),
    entry!(cp, "cp"),
    entry!(diff, "diff"),
    entry!(export, "export"),
    entry!(commit, "commit"),
    entry!(rename, "rename"),
    entry!(rm, "rm"),
    entry!(mount, "mount"),
    entry!(unmount, "unmount", alias "umount"),
    entry!(unshare, "unshare"),
    entry!(images, "images"),
    entry!(rmi, "rmi"),
    entry!(tag, "tag"),
    entry!(untag, "untag"),
    entry!(save, "save"),
    entry!(load, "load"),
    entry!(import, "import"),
    entry!(history, "history"),
    entry!(inspect, "inspect"),
    entry!(info, "info"),
    entry!(events, "events"),
    entry!(doctor, "doctor"),
    entry!(version, "version"),
    entry!(completion, "completion"),
    group!("container", CONTAINER),
    group!("healthcheck", HEALTHCHECK),
    group!("image", IMAGE),
    group!("manifest", MANIFEST),
    group!("artifact", ARTIFACT),
    group!("network", NETWORK),
    group!("volume", VOLUME),
    group!("system", SYSTEM),
    entry!(runtime, "runtime"),
    entry!(hello, "hello", hidden true),
    group!("generate", GENERATE),
];

const GENERATE: &[Entry] =
    &[entry!(generate_systemd, "systemd"), entry!(generate, "docs", hidden true)];

const CONTAINER: &[Entry] = &[
    entry!(attach, "attach"),
    entry!(commit, "commit"),
    entry!(cp, "cp"),
    entry!(create, "create"),
    entry!(diff, "diff"),
    entry!(exec, "exec"),
    entry!(container_exists, "exists"),
    entry!(export, "export"),
    entry!(inspect, "inspect"),
    entry!(kill, "kill"),
    entry!(pause, "pause"),
    entry!(unpause, "unpause"),
    entry!(stats, "stats"),
    entry!(update, "update"),
    entry!(logs, "logs"),
    entry!(mount, "mount"),
    entry!(unmount, "unmount", alias "umount"),
    entry!(ps, "ls", alias "list", alias "ps"),
    entry!(port, "port"),
    entry!(container_prune, "prune"),
    entry!(rename, "rename"),
    entry!(restart, "restart"),
    entry!(rm, "rm", alias "remove"),
    entry!(run, "run"),
    entry!(start, "start"),
    entry!(stop, "stop"),
    entry!(top, "top"),
    entry!(wait, "wait"),
];

const HEALTHCHECK: &[Entry] = &[entry!(healthcheck, "run")];

const IMAGE: &[Entry] = &[
    entry!(diff, "diff"),
    entry!(image_exists, "exists"),
    entry!(history, "history"),
    entry!(import, "import"),
    entry!(inspect, "inspect"),
    entry!(load, "load"),
    entry!(images, "ls", alias "list"),
    entry!(image_mount, "mount"),
    entry!(image_unmount, "unmount", alias "umount"),
    entry!(image_prune, "prune"),
    entry!(pull, "pull"),
    entry!(push, "push"),
    entry!(search, "search"),
    entry!(rmi, "rm", alias "remove"),
    entry!(save, "save"),
    entry!(tag, "tag"),
    entry!(image_tree, "tree"),
    entry!(untag, "untag"),
];

const MANIFEST: &[Entry] = &[
    entry!(manifest_add, "add"),
    entry!(manifest_annotate, "annotate"),
    entry!(manifest_create, "create"),
    entry!(manifest_exists, "exists"),
    entry!(manifest_inspect, "inspect"),
    entry!(manifest_list, "ls", alias "list"),
    entry!(manifest_push, "push"),
    entry!(manifest_remove, "remove"),
    entry!(manifest_rm, "rm"),
];

const ARTIFACT: &[Entry] = &[
    entry!(artifact_add, "add"),
    entry!(artifact_extract, "extract"),
    entry!(artifact_inspect, "inspect"),
    entry!(artifact_list, "ls", alias "list"),
    entry!(artifact_pull, "pull"),
    entry!(artifact_push, "push"),
    entry!(artifact_remove, "rm", alias "remove"),
];

const VOLUME: &[Entry] = &[
    entry!(volume_create, "create"),
    entry!(volume_exists, "exists"),
    entry!(volume_export, "export"),
    entry!(volume_import, "import"),
    entry!(volume_inspect, "inspect"),
    entry!(volume_list, "ls", alias "list"),
    entry!(volume_prune, "prune"),
    entry!(volume_remove, "rm", alias "remove"),
];

const NETWORK: &[Entry] = &[
    entry!(network_connect, "connect"),
    entry!(network_create, "create"),
    entry!(network_disconnect, "disconnect"),
    entry!(network_exists, "exists"),
    entry!(network_inspect, "inspect"),
    entry!(network_list, "ls", alias "list"),
    entry!(network_prune, "prune"),
    entry!(network_remove, "rm", alias "remove"),
];

const SYSTEM: &[Entry] = &[
    entry!(system_check, "check"),
    entry!(system_df, "df"),
    entry!(events, "events"),
    entry!(info, "info"),
    entry!(system_prune, "prune"),
];

/// A flag's value, as Go reads it.
fn boolean(text: &str) -> Result<bool, super::parse::Invalid> {
    super::parse::boolean(text)
}

/// What a running container's health checks have found; `None` where it has none.
fn health(engine: &Engine, record: &Summary, status: Status) -> Option<&'static str> {
    if status != Status::Running || record.config.health.is_none() {
        return None;
    }
    Some(engine.health(record).ok().flatten().unwrap_or_default().status.name())
}

/// Whether there is something to stop.
fn is_up(status: Status) -> bool {
    status.is_up()
}

/// Whether there is no such container.
fn is_missing(error: &engine::Error) -> bool {
    matches!(error, engine::Error::Container(container::Error::NoSuchContainer { .. }))
}

/// The command called `word`.
pub(super) fn find(entries: &'static [Entry], word: &str) -> Option<&'static Entry> {
    entries.iter().find(|entry| entry.name == word || entry.aliases.contains(&word))
}

impl Entry {
    /// The command for clap.
    pub(super) fn build(&self) -> Command {
        self.build_from(Command::new(self.name))
    }

    /// The same without flags that are seldom.
    pub(super) fn brief(&self) -> Command {
        self.build_from(Command::new(self.name).add(Brief))
    }

    fn build_from(&self, command: Command) -> Command {
        let command = command
            .visible_aliases(self.aliases.iter().copied())
            .hide(self.hidden)
            .args_override_self(true);
        match &self.action {
            Action::Run { build, .. } => build(command),
            Action::Group(entries) => {
                let what = match self.name {
                    "artifact" => "files in registries that are no images",
                    "image" => "images",
                    "network" => "networks that containers share",
                    "manifest" => "lists of images for several platforms",
                    "volume" => "volumes",
                    "generate" => "files for other programs",
                    "healthcheck" => "health checks",
                    "system" => "all of it together",
                    _ => "containers",
                };
                command
                    .about(format!("Commands about {what}"))
                    .subcommands(entries.iter().map(Self::build))
                    .subcommand_required(true)
                    .disable_help_subcommand(true)
            }
        }
    }
}

/// All commands as clap sees them: for help, completion and the manual pages.
pub(super) fn tree() -> Command {
    Command::new("coracle")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Containers in one static binary: no root, no daemon, no helper program")
        .arg(
            clap::Arg::new("root")
                .long("root")
                .value_name("DIRECTORY")
                .value_hint(clap::ValueHint::DirPath)
                .help("Keep images and containers there [default: $XDG_DATA_HOME/coracle]"),
        )
        .arg(
            clap::Arg::new("storage-driver")
                .long("storage-driver")
                .value_name("DRIVER")
                .help("Make root file systems with overlay, fuse or copy [default: what works]"),
        )
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommands(ENTRIES.iter().map(Entry::build))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        tree().debug_assert();
        for entry in ENTRIES {
            entry.brief().debug_assert();
        }
    }

    /// The words of a line as a shell has them, without what follows a `#`; `|` and `&&` stand alone.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        let line = line.split("  #").next().unwrap_or_default().replace("$PWD", "/home");
        for letter in line.trim().chars().chain([' ']) {
            match quote {
                Some(mark) if mark == letter => quote = None,
                None if matches!(letter, '\'' | '"') => quote = Some(letter),
                None if letter == ' ' => words.push(std::mem::take(&mut word)),
                _ => word.push(letter),
            }
        }
        assert_eq!(quote, None, "{line}");
        words.retain(|word| !word.is_empty() && !word.starts_with(['>', '<']));
        words
    }

    #[test]
    fn the_examples_of_help_are_commands() {
        let mut seen = 0;
        let mut left: Vec<Command> = tree().get_subcommands().cloned().collect();
        while let Some(command) = left.pop() {
            left.extend(command.get_subcommands().cloned());
            let Some(help) = command.get_after_help().map(ToString::to_string) else { continue };
            assert!(help.starts_with("Examples:\n"), "{help}");
            for line in help.lines().skip(1) {
                assert!(line.len() <= 100, "{line}");
                for part in words(line).split(|word| word == "|" || word == "&&") {
                    if part[0] == "coracle" {
                        tree().try_get_matches_from(part).expect(line);
                        seen += 1;
                    }
                }
            }
        }
        assert!(seen > 60, "{seen} examples");
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in tree().get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.ends_with('.'), "{}", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }
}
