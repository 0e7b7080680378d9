//! What is done in a container, and by the test of the operations themselves outside of one.

use std::env;

use rustix::fs::Mode;

use super::contract;
use super::operations::{Operations, tree};

/// The variable that says what to do.
pub const TASK: &str = "CORACLE_TEST_TASK";
/// What is said is marked, as libtest speaks too.
pub const MARK: &str = "| ";

#[allow(clippy::print_stdout)]
fn say(lines: &[String]) {
    for line in lines {
        println!("{MARK}{line}");
    }
}

/// Performs a task in its container. Outside of one: the same seed must give the same operations,
/// or nothing could be compared.
#[test]
fn task() {
    let Ok(task) = env::var(TASK) else {
        assert_eq!(Operations::paths(1), Operations::paths(1));
        assert_ne!(Operations::paths(1), Operations::paths(2));
        return;
    };
    let words: Vec<&str> = task.split(' ').collect();
    match words[..] {
        ["random", directory, seed, count, every] => {
            env::set_current_dir(directory).unwrap();
            rustix::process::umask(Mode::from_raw_mode(0o022));
            let mut operations = Operations::new(seed.parse().unwrap());
            let mut lines = operations.perform(count.parse().unwrap(), every == "every");
            tree(".", &mut lines);
            say(&lines);
        }
        ["contract"] => say(&contract::perform()),
        _ => panic!("no such task: {task}"),
    }
}
