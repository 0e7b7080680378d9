//! One suite for all storage drivers: the same checks in a container on each, and the same random
//! operations, with the kernel's overlayfs to compare with.
//!
//! What happens inside is this very suite, which is static: it is bound into the container and told
//! by a variable what to do there.

mod build;
mod contract;
mod deep;
mod described;
mod exercise;
mod hosts;
mod inside;
mod mapped;
mod operations;
mod posix;
mod random;
mod same;
mod server;

use std::path::Path;

use crate::support::image::{Image, Tar};
use crate::support::needs::pass;
use crate::support::registry::Registry;
use crate::support::{Home, Output};

/// The storage drivers.
pub const DRIVERS: [&str; 3] = ["overlay", "fuse", "copy"];

/// An image of three layers below /t, with the names that the operations use: files and
/// directories that are merged, hidden, made anew and replaced by another kind.
pub fn image() -> Image {
    Image::of(&layers())
}

/// The same with so many layers that an overlay has them as one.
pub fn image_of_many() -> Image {
    let more = (0..36).map(|number| Tar::new().file("more", &number.to_string()).finish());
    Image::of(&layers().into_iter().chain(more).collect::<Vec<_>>())
}

fn layers() -> Vec<Vec<u8>> {
    let mut base = Tar::new().directory("t", 0o755);
    let many = |text: &str, times| text.repeat(times);
    for top in 0..operations::DIRECTORIES - 1 {
        base = base.directory(&format!("t/d{top}"), 0o755);
        for file in 0..5 {
            base = base.file(&format!("t/d{top}/f{file}"), &many("short ", 20 * (file + 1)));
        }
        for inner in 0..4 {
            base = base.directory(&format!("t/d{top}/d{inner}"), 0o755);
            for file in 1..4 {
                let name = format!("t/d{top}/d{inner}/f{file}");
                base = base.file(&name, &many("a longer text ", 3000 + file));
            }
        }
    }
    for file in 0..4 {
        base = base.file(&format!("t/f{file}"), &many("top ", file));
    }
    let second = Tar::new()
        .file("t/d0/.wh.f0", "")
        .file("t/d1/.wh.d1", "")
        .file("t/d2/d0/.wh..wh..opq", "")
        .file("t/d2/d0/f6", "six")
        .file("t/d3/f1", "changed")
        .file("t/d0/d0/f7", "more");
    let third = Tar::new()
        .directory("t/d1/d1", 0o755)
        .file("t/d1/d1/f5", "again")
        .file("t/d3/.wh.d2", "")
        .file("t/d3/d2", "a file now")
        .file("t/d0/f0", "back")
        .symlink("t/f5", "d0/f1");
    vec![base.finish(), second.finish(), third.finish(), checked().finish()]
}

/// What the checks of `contract` find below /c.
fn checked() -> Tar {
    let mut tar = Tar::new()
        .directory("c", 0o755)
        .directory("c/lower", 0o755)
        .pax(&[("SCHILY.xattr.user.colour", b"blue")])
        .file("c/lower/kept", "kept")
        .file("c/lower/removed", "lower")
        .file("c/lower/gone", "gone")
        .file("c/lower/exchanged", "E")
        .file("c/lower/moved", "M")
        .file("c/lower/numbered", "N")
        .directory("c/lower/anew", 0o755)
        .file("c/lower/anew/hidden", "")
        .directory("c/lower/covered", 0o755)
        .file("c/lower/covered/in", "")
        .directory("c/lower/shared", 0o755)
        .directory("c/links", 0o755)
        .file("c/links/a", "one file")
        .directory("c/links/sub", 0o755)
        .hardlink("c/links/sub/b", "c/links/a");
    for number in 0..5 {
        tar = tar.file(&format!("c/lower/shared/{number}"), "");
    }
    tar
}

/// A home that has the image, and its reference.
pub fn home() -> (Home, String) {
    home_in(&std::env::temp_dir())
}

/// The same elsewhere.
pub fn home_in(place: &Path) -> (Home, String) {
    let (home, registry) = (Home::new_in(place), Registry::new());
    let reference = registry.push("union", "1", &image());
    home.coracle(["pull", "-q", &reference]).ok();
    (home, reference)
}

/// The image of many layers, pulled.
pub fn pull_many(home: &Home) -> String {
    let reference = Registry::new().push("union", "many", &image_of_many());
    home.coracle(["pull", "-q", &reference]).ok();
    let refused = home.coracle(["info"]).ok().contains("one layer for many:");
    assert_eq!(deep::merged(home), usize::from(!refused), "one layer, where that is allowed");
    reference
}

/// The options, image and command of a container in which this suite does `task`.
pub fn command(image: &str, task: &str) -> Vec<String> {
    let suite = std::env::current_exe().unwrap();
    let bound = format!("{}:/suite:ro", suite.display());
    let told = format!("{}={task}", inside::TASK);
    let pass = format!("CORACLE_TEST_PASS={}", pass());
    let options = ["--network", "none", "-v", &bound, "-e", &told, "-e", &pass, image];
    let program = ["/suite", "--exact", "drivers::inside::task", "--nocapture"];
    options.into_iter().chain(program).map(str::to_owned).collect()
}

/// This suite at work in a container.
pub fn work(home: &Home, driver: &str, image: &str, task: &str) -> Output {
    let words = command(image, task);
    let first = ["--storage-driver", driver, "run", "--rm"];
    home.coracle(first.into_iter().chain(words.iter().map(String::as_str))).output()
}

/// What the suite said in a container.
pub fn said(output: Output) -> Vec<String> {
    let text = output.ok();
    text.lines().filter_map(|line| line.strip_prefix(inside::MARK)).map(str::to_owned).collect()
}
