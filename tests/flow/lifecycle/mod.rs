//! Containers that live on: from `create` to `rm`, without a daemon.

mod attach;
mod ends;
mod events;
mod ghosts;
mod health;
mod inspect;
mod kills;
mod list;
mod logs;
mod prune;
mod start;
mod use_of;

use crate::support::{Home, Output, Run};

/// A home with busybox, and `coracle` commands in it.
struct Box {
    home: Home,
    image: String,
}

impl Box {
    fn new() -> Self {
        let (home, image) = super::home_with_busybox();
        Self { home, image }
    }

    fn coracle(&self, words: &[&str]) -> Run {
        self.home.coracle(words)
    }

    fn ok(&self, words: &[&str]) -> String {
        self.coracle(words).ok()
    }

    /// `coracle run -d --network none FLAGS… busybox COMMAND…`; gives the ID.
    fn run_d(&self, flags: &[&str], command: &[&str]) -> String {
        self.started("run", &[&["-d"], flags].concat(), command).ok()
    }

    /// `coracle VERB --network none FLAGS… busybox COMMAND…`
    fn started(&self, verb: &str, flags: &[&str], command: &[&str]) -> Run {
        let first = [verb, "--network", "none"];
        let image = [self.image.as_str()];
        self.coracle(&[&first[..], flags, &image, command].concat())
    }

    /// A field of `inspect`.
    fn field(&self, name: &str, field: &str) -> String {
        self.ok(&["inspect", "--format", &format!("{{{{{field}}}}}"), name])
    }

    fn status(&self, name: &str) -> String {
        self.field(name, ".State.Status")
    }

    fn output(&self, words: &[&str]) -> Output {
        self.coracle(words).output()
    }
}

impl Drop for Box {
    fn drop(&mut self) {
        // A failed test leaves no container behind for others to trip over.
        self.output(&["rm", "-fa"]);
    }
}
