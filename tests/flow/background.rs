//! A container that runs while a test looks at it.

use crate::support::{Home, Output, Run, Running, busybox, until};

/// `coracle run --rm --init --network none --name NAME FLAGS… busybox COMMAND…`, running.
pub struct Background<'a> {
    home: &'a Home,
    name: String,
    running: Option<Running>,
}

impl<'a> Background<'a> {
    pub fn start(home: &'a Home, name: &str, flags: &[&str], command: &[&str]) -> Self {
        let image = busybox();
        let first = ["run", "--rm", "--init", "--name", name];
        let all: Vec<&str> =
            first.iter().chain(flags).chain([&image.as_str()]).chain(command).copied().collect();
        let running = home.coracle(&all).spawn();
        until("the container", || home.coracle(["exec", name, "true"]).output().code() == 0);
        Self { home, name: name.to_owned(), running: Some(running) }
    }

    /// One that sleeps, without a network.
    pub fn idle(home: &'a Home, name: &str) -> Self {
        Self::start(home, name, &["--network", "none"], &["sleep", "600"])
    }

    pub fn exec(&self, flags: &[&str], command: &[&str]) -> Run {
        let first = ["exec"];
        let name = self.name.as_str();
        self.home.coracle(first.iter().chain(flags).chain([&name]).chain(command))
    }

    /// Ends it; gives what became of its `run`.
    pub fn end(mut self) -> Output {
        self.home.coracle(["rm", "-f", &self.name]).ok();
        self.running.take().unwrap().wait()
    }
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.home.coracle(["rm", "-f", &self.name]).output();
            drop(running);
        }
    }
}
