//! Flags that few lines have.
//!
//! To build a parser takes longer, flag by flag, than to parse with it: `run` has 140 of them, a fifth of a
//! millisecond, and its container waits for what they say. So each line is parsed as if those did not exist
//! that are seldom; where it does not come out, whatever for, all of them do.

use std::ops::Deref;

use clap::builder::CommandExt;
use clap::error::Error;
use clap::{ArgMatches, Args, Command, FromArgMatches, Id};

/// Says that a command is to be without flags that are seldom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brief;

impl CommandExt for Brief {}

/// Flags that are seldom, none of which has a value where it is not there.
#[derive(Clone, Debug, Default)]
pub(super) struct Seldom<T>(T);

impl<T> Deref for Seldom<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Args + Default> Args for Seldom<T> {
    fn augment_args(command: Command) -> Command {
        if command.get::<Brief>().is_some() {
            return command;
        }
        let command = T::augment_args(command);
        let is_whole = |id| {
            let mut groups = command.get_groups().filter(|group| *group.get_id() == id);
            groups.any(|group| group.get_args().next().is_some())
        };
        debug_assert!(T::group_id().is_some_and(is_whole), "a type with parts is no group");
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }

    fn group_id() -> Option<Id> {
        T::group_id()
    }
}

impl<T: Args + Default> FromArgMatches for Seldom<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        // Arguments that are grouped by a type are so by its name (clap's derive), which a brief command
        // does not know.
        let group = T::group_id();
        let is_there = group.is_none_or(|group| {
            matches.try_contains_id(group.as_str()).is_ok_and(|is_there| is_there)
        });
        match is_there {
            true => T::from_arg_matches_mut(matches).map(Self),
            false => Ok(Self::default()),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, clap::Args)]
    struct Rare {
        #[arg(long)]
        odd: bool,
        #[arg(long)]
        number: Option<u32>,
    }

    #[derive(Debug, clap::Args)]
    struct All {
        #[arg(long)]
        usual: bool,
        #[command(flatten)]
        rare: Seldom<Rare>,
    }

    fn parsed(command: Command, line: &str) -> Option<All> {
        let command = All::augment_args(command).no_binary_name(true);
        let mut matches = command.try_get_matches_from(line.split(' ')).ok()?;
        Some(All::from_arg_matches_mut(&mut matches).expect("what was parsed"))
    }

    #[test]
    fn a_brief_command_knows_the_usual_flags_only() {
        let (all, brief) = (|| Command::new("all"), || Command::new("all").add(Brief));
        for command in [all(), brief()] {
            let found = parsed(command, "--usual").expect("a usual flag");
            assert!(found.usual && !found.rare.odd && found.rare.number.is_none());
        }
        let found = parsed(all(), "--number=3").expect("a rare flag");
        assert!(!found.rare.odd && found.rare.number == Some(3));
        assert!(parsed(brief(), "--number=3").is_none() && parsed(brief(), "--odd").is_none());
    }
}
