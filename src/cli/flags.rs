//! Go's way with flags: `--rm=false` and `--rm=true` for what clap takes as a bare `--rm`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgAction, Command};

use super::parse::boolean;

/// The arguments with `--flag=true` as `--flag`, and `--flag=false` without what it takes back.
/// Ends at the first argument that is no flag where all the rest belongs to the container.
pub(super) fn normalize(command: &Command, arguments: &[OsString]) -> Vec<OsString> {
    let flags_end_early = command.get_positionals().any(Arg::is_trailing_var_arg_set);
    let mut kept: Vec<OsString> = Vec::with_capacity(arguments.len());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            kept.push(argument.clone());
            break;
        }
        match shape(command, argument) {
            Shape::Positional if flags_end_early => {
                kept.push(argument.clone());
                break;
            }
            Shape::Positional | Shape::Flag => kept.push(argument.clone()),
            Shape::TakesNext => {
                kept.push(argument.clone());
                kept.extend(rest.next().cloned());
            }
            Shape::Switch { arg, on } => {
                kept.retain(|earlier| !is_bare(arg, earlier));
                let long = arg.get_long().filter(|_| on);
                kept.extend(long.map(|long| OsString::from(format!("--{long}"))));
            }
        }
    }
    kept.extend(rest.cloned());
    kept
}

enum Shape<'a> {
    Positional,
    /// A flag, complete in itself.
    Flag,
    /// A flag whose value is the next argument.
    TakesNext,
    /// A flag without value that was given one.
    Switch {
        arg: &'a Arg,
        on: bool,
    },
}

fn shape<'a>(command: &'a Command, argument: &OsStr) -> Shape<'a> {
    let bytes = argument.as_bytes();
    if !bytes.starts_with(b"-") || bytes == b"-" {
        return Shape::Positional;
    }
    let Some(text) = argument.to_str() else { return Shape::Flag };
    if let Some(long) = text.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
        let Some(arg) = command.get_arguments().find(|arg| has_long(arg, name)) else {
            return Shape::Flag;
        };
        return match (value, arg.get_action()) {
            (Some(value), ArgAction::SetTrue) => match boolean(value) {
                Ok(on) => Shape::Switch { arg, on },
                Err(_) => Shape::Flag, // clap says what is wrong
            },
            (None, action) if action.takes_values() && !arg.is_require_equals_set() => {
                Shape::TakesNext
            }
            _ => Shape::Flag,
        };
    }
    for (at, letter) in text.char_indices().skip(1) {
        let arg = command.get_arguments().find(|arg| arg.get_short() == Some(letter));
        if arg.is_some_and(|arg| arg.get_action().takes_values()) {
            // Behind the letter in the same argument, or in the next one.
            let last = at + letter.len_utf8() == text.len();
            return if last { Shape::TakesNext } else { Shape::Flag };
        }
    }
    Shape::Flag
}

fn has_long(arg: &Arg, name: &str) -> bool {
    let aliases = arg.get_all_aliases().unwrap_or_default();
    arg.get_long() == Some(name) || aliases.contains(&name)
}

fn is_bare(arg: &Arg, argument: &OsStr) -> bool {
    let text = argument.to_str().unwrap_or_default();
    text.strip_prefix("--").is_some_and(|name| has_long(arg, name))
        || text.strip_prefix('-').is_some_and(|short| {
            let mut letters = short.chars();
            letters.next() == arg.get_short() && letters.next().is_none()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(line: &str) -> String {
        let command = Command::new("run")
            .arg(Arg::new("rm").long("rm").short('r').action(ArgAction::SetTrue))
            .arg(Arg::new("env").long("env").short('e').action(ArgAction::Append))
            .arg(Arg::new("image").num_args(1..).trailing_var_arg(true));
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let words = normalize(&command, &words);
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn switches_take_go_booleans() {
        assert_eq!(normalized("--rm=true image"), "--rm image");
        assert_eq!(normalized("--rm --rm=false image"), "image");
        assert_eq!(normalized("-r --rm=0 image"), "image");
        assert_eq!(normalized("--rm=maybe image"), "--rm=maybe image");
    }

    #[test]
    fn values_and_the_container_are_left_alone() {
        assert_eq!(normalized("-e --rm=false image"), "-e --rm=false image");
        assert_eq!(normalized("--env --rm=true image"), "--env --rm=true image");
        assert_eq!(normalized("image --rm=false"), "image --rm=false");
        assert_eq!(normalized("-re --rm=false image"), "-re --rm=false image");
        assert_eq!(normalized("-- --rm=false"), "-- --rm=false");
    }
}
