//! How a pull is shown: a bar for each layer on a terminal, a line for each elsewhere.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::environment::Environment;
use super::human;
use super::report::escape;
use crate::engine::pull::{Event, Progress, State};
use crate::engine::push;
use crate::engine::registry::Placed;
use crate::oci::Digest;

/// Shows a pull on stderr.
#[derive(Debug)]
pub struct Shown {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Quiet,
    Lines(Mutex<HashMap<usize, &'static str>>),
    Bars { all: MultiProgress, bars: Mutex<HashMap<usize, ProgressBar>> },
}

impl Shown {
    /// Bars where stderr is a terminal and no CI is at work, else lines; nothing when `quiet`.
    pub fn new(quiet: bool, environment: &Environment) -> Self {
        let ci = environment.text("CI").is_some_and(|value| value != "false" && value != "0");
        let kind = if quiet {
            Kind::Quiet
        } else if std::io::stderr().is_terminal() && !ci {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(12));
            Kind::Bars { all, bars: Mutex::default() }
        } else {
            Kind::Lines(Mutex::default())
        };
        Self { kind }
    }
}

impl Progress for Shown {
    fn event(&self, event: Event) {
        let Event::Layer { index, digest, size, state, .. } = event else {
            // Everything is there but not yet safe: on a slow disk that takes a while.
            if let (Event::Storing, Kind::Bars { all, .. }) = (&event, &self.kind) {
                let bar = all.add(ProgressBar::new_spinner());
                bar.set_message("writing to disk");
                bar.tick();
                bar.finish_and_clear();
            }
            return;
        };
        match &self.kind {
            Kind::Quiet => {}
            Kind::Lines(told) => {
                let Some(word) = milestone(&state) else { return };
                let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if told.insert(index, word) != Some(word) || word == RETRYING {
                    let line = line(&digest, &state, word);
                    let _ = writeln!(std::io::stderr(), "{line}");
                }
            }
            Kind::Bars { all, bars } => {
                let mut bars = bars.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let bar = bars.entry(index).or_insert_with(|| add(all, &digest, size));
                show(bar, size, &state);
            }
        }
    }
}

impl push::Progress for Shown {
    fn pushed(&self, event: push::Event) {
        let push::Event { index, blob, state } = event;
        let (digest, size) = (&blob.digest, blob.size);
        match &self.kind {
            Kind::Quiet => {}
            Kind::Lines(_) => {
                if let push::State::Done(placed) = &state {
                    let _ = writeln!(std::io::stderr(), "{}: {}", digest.short(), there(placed));
                }
            }
            Kind::Bars { all, bars } => {
                let mut bars = bars.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let bar = bars.entry(index).or_insert_with(|| add(all, digest, size));
                match state {
                    push::State::Preparing => bar.set_message("Preparing"),
                    push::State::Sending { done } => move_bar(bar, size, ("Pushing", done)),
                    push::State::Done(placed) => {
                        bar.set_style(style("{prefix} {msg}"));
                        bar.finish_with_message(there(&placed));
                    }
                }
            }
        }
    }
}

/// docker's words for what became of a blob.
fn there(placed: &Placed) -> String {
    match placed {
        Placed::There => "Layer already exists".to_owned(),
        Placed::Mounted(from) => format!("Mounted from {}", escape(from)),
        Placed::Sent => "Pushed".to_owned(),
    }
}

const RETRYING: &str = "Retrying";

/// docker's word for what is worth a line where lines cannot be taken back.
fn milestone(state: &State) -> Option<&'static str> {
    match state {
        State::Waiting | State::Downloading { .. } | State::Unpacking => None,
        State::Exists => Some("Already exists"),
        State::Partly { .. } => Some("Already exists in part"),
        State::Retrying { .. } => Some(RETRYING),
        State::Done => Some("Pull complete"),
    }
}

fn line(digest: &Digest, state: &State, word: &str) -> String {
    let short = digest.short();
    match state {
        State::Retrying { attempt, reason } => {
            format!("{short}: {word} ({attempt}): {}", escape(reason))
        }
        State::Partly { here } => format!("{short}: {word} ({})", human::size(*here)),
        _ => format!("{short}: {word}"),
    }
}

fn add(all: &MultiProgress, digest: &Digest, size: u64) -> ProgressBar {
    let bar = all.add(ProgressBar::new(size));
    bar.set_style(style("{prefix} {msg}"));
    bar.set_prefix(digest.short().to_owned());
    bar
}

fn show(bar: &ProgressBar, size: u64, state: &State) {
    match state {
        State::Waiting => bar.set_message("Waiting"),
        State::Partly { .. } => {} // the bar will leap
        State::Downloading { done } => move_bar(bar, size, ("Downloading", *done)),
        State::Unpacking => {
            bar.set_position(size);
            bar.set_message("Extracting");
        }
        State::Retrying { attempt, reason } => {
            bar.set_style(style("{prefix} {msg}"));
            bar.set_position(0);
            bar.set_message(format!("Retrying ({attempt}): {}", escape(reason)));
        }
        State::Exists | State::Done => {
            bar.set_style(style("{prefix} {msg}"));
            bar.finish_with_message(milestone(state).unwrap_or_default());
        }
    }
}

fn move_bar(bar: &ProgressBar, size: u64, (word, done): (&'static str, u64)) {
    if bar.position() == 0 {
        bar.set_length(size);
        bar.set_style(style(
            "{prefix} {msg:<12} [{bar:30}] {bytes:>10}/{total_bytes:<10} {bytes_per_sec}",
        ));
    }
    bar.set_message(word);
    bar.set_position(done);
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        let template =
            "{prefix} {msg:<12} [{bar:30}] {bytes:>10}/{total_bytes:<10} {bytes_per_sec}";
        assert!(ProgressStyle::with_template(template).is_ok());
    }

    #[test]
    fn lines_escape_what_a_registry_says() {
        let digest = Digest::of(b"layer");
        let state = State::Retrying { attempt: 2, reason: "\x1b[2J".into() };
        let line = line(&digest, &state, RETRYING);
        assert!(line.ends_with("Retrying (2): \\u{1b}[2J"), "{line}");
        assert_eq!(milestone(&State::Downloading { done: 1 }), None);
    }
}
