//! Ends in mid-flight: kill -9, Ctrl-C, two at once. The next command must not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::requires;
use crate::support::image::{Image, Tar};
use crate::support::registry::{Registry, Reply};
use crate::support::{Home, image, until};

/// Three layers that gzip cannot shrink away, one file in each.
fn big_image() -> Image {
    let mut state = 88_172_645_463_325_252_u64;
    let mut noise = move |length: usize| -> Vec<u8> {
        (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect()
    };
    let layers: Vec<Vec<u8>> = (0..3)
        .map(|n| {
            let data = noise(600_000);
            let name = format!("layer-{n}");
            let entry = crate::support::image::Entry {
                name: name.as_bytes(),
                data: &data,
                ..Default::default()
            };
            Tar::new().entry(&entry).finish()
        })
        .collect();
    Image::of(&layers)
}

/// A registry whose blobs crawl until told otherwise.
fn slow_registry(pace: usize) -> (Registry, String, Arc<AtomicBool>) {
    let slow = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&slow);
    let registry = Registry::with(move |request, reply| {
        if request.is_blob() && reply.body.len() > 100_000 && seen.load(Ordering::SeqCst) {
            return Reply { pace: Some(pace), ..reply };
        }
        reply
    });
    let reference = registry.push("big", "1", &big_image());
    (registry, reference, slow)
}

#[test]
fn kill_at_any_moment_of_a_pull() {
    let (registry, reference, slow) = slow_registry(1_000_000);
    let home = Home::new();
    for pause_ms in [0, 5, 20, 60, 150, 300, 450] {
        let running = home.coracle(["pull", "-q", &reference]).spawn();
        thread::sleep(Duration::from_millis(pause_ms));
        running.signal(Signal::SIGKILL);
        running.wait();
        // Every command in between works, and no half image shows.
        let images = home.coracle(["images", "-q"]).ok();
        assert!(images.is_empty() || images.len() == 12, "{images}");
    }
    slow.store(false, Ordering::SeqCst);
    home.coracle(["pull", "-q", &reference]).ok();
    assert_eq!(home.coracle(["images", "-q"]).ok().lines().count(), 1);
    let left = home.listing();
    let unfinished =
        |line: &str| line.contains("/coracle/partial/") || line.contains("/coracle/tmp/");
    assert!(!left.lines().any(unfinished), "left behind:\n{left}");
    drop(registry);
}

#[test]
fn control_c_keeps_what_was_fetched() {
    let (registry, reference, slow) = slow_registry(150_000);
    let home = Home::new();
    let running = home.coracle(["pull", &reference]).spawn();
    until("half of the blobs", || registry.sent() > 600_000);
    running.signal(Signal::SIGINT);
    let output = running.wait();
    assert_eq!(output.code(), 130, "{output}");
    assert_eq!(home.coracle(["images", "-q"]).ok(), "");
    slow.store(false, Ordering::SeqCst);
    home.coracle(["pull", "-q", &reference]).ok();
    let resumed = registry.log().iter().filter(|line| line.contains("bytes=")).count();
    assert!(resumed > 0, "nothing was resumed:\n{}", registry.log().join("\n"));
}

#[test]
fn a_server_without_ranges_is_fine() {
    let cut = AtomicBool::new(true);
    let registry = Registry::with(move |request, mut reply| {
        if request.is_blob() && reply.body.len() > 100_000 {
            if cut.swap(false, Ordering::SeqCst) {
                reply.cut_after = Some(300_000);
            } else if reply.status == 206 {
                // The whole again, as servers without ranges answer.
                return Reply::new(404, "");
            }
        }
        reply
    });
    let whole = big_image();
    let reference = registry.push("big", "1", &whole);
    let home = Home::new();
    // Whether this try heals itself or not, the second ends well and nothing wrong is kept.
    home.coracle(["pull", "-q", &reference]).output();
    let plain = Registry::new();
    home.coracle(["pull", "-q", &plain.push("big", "1", &whole)]).ok();
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let (registry, reference, _slow) = slow_registry(2_000_000);
    let home = Home::new();
    let all: Vec<_> = (0..4).map(|_| home.coracle(["pull", "-q", &reference]).spawn()).collect();
    let ids: Vec<String> = all.into_iter().map(|running| running.wait().ok()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let whole: usize = big_image().layers.iter().map(Vec::len).sum();
    assert!(registry.sent() * 10 < whole * 11 + 200_000, "{} bytes for {whole}", registry.sent());
}

#[test]
fn readers_do_not_wait_for_a_pull() {
    let (_registry, reference, slow) = slow_registry(300_000);
    let home = Home::new();
    let running = home.coracle(["pull", "-q", &reference]).spawn();
    thread::sleep(Duration::from_millis(200));
    for command in [&["images", "-q"][..], &["ps", "-aq"], &["info"], &["version"]] {
        home.coracle(command).timeout_s(20).ok();
    }
    slow.store(false, Ordering::SeqCst);
    running.wait().ok();
}

#[test]
fn two_runs_of_a_missing_image() {
    requires!(UserNamespaces, Registry, Image("busybox", "latest"));
    let home = Home::new();
    let busybox = image("busybox", "latest");
    let all: Vec<_> = (0..4)
        .map(|n| {
            home.coracle(["run", "--rm", "--network", "none", &busybox, "echo", &n.to_string()])
                .spawn()
        })
        .collect();
    for (n, running) in all.into_iter().enumerate() {
        assert_eq!(running.wait().ok(), n.to_string());
    }
}

#[test]
fn of_many_runs_for_one_name_one_wins() {
    requires!(UserNamespaces, Registry, Image("busybox", "latest"));
    let (home, busybox) = super::home_with_busybox();
    let command = ["run", "--name", "only", "--network", "none", &busybox, "sleep", "0.3"];
    let all: Vec<_> = (0..6).map(|_| home.coracle(command).spawn()).collect();
    let codes: Vec<i32> = all.into_iter().map(|running| running.wait().code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 125).count(), 5, "{codes:?}");
}

/// A killed `run --rm` leaves a record that the next commands see through and clear.
#[test]
fn a_killed_run_is_swept() {
    requires!(UserNamespaces, Registry, Image("busybox", "latest"));
    let (home, busybox) = super::home_with_busybox();
    let running = home
        .coracle(["run", "--rm", "--name", "dead", "--network", "none", &busybox, "sleep", "60"])
        .spawn();
    until("the container in ps", || home.coracle(["ps", "-q"]).ok() != "");
    running.signal(Signal::SIGKILL);
    running.wait();
    until("its end in ps", || home.coracle(["ps", "-q"]).ok().is_empty());
    // The name is free or can be freed.
    let again = home
        .coracle(["run", "--rm", "--name", "dead", "--network", "none", &busybox, "true"])
        .output();
    if again.code() != 0 {
        home.coracle(["rm", "-f", "dead"]).ok();
    }
    home.coracle(["run", "--rm", "--name", "dead", "--network", "none", &busybox, "true"]).ok();
}

/// Whatever of them was there already: a container's first process begins before all else does.
#[test]
fn runs_that_are_killed_as_they_begin_leave_no_process() {
    requires!(UserNamespaces, Registry, Image("busybox", "latest"));
    let (home, busybox) = super::home_with_busybox();
    let run = ["run", "--rm", "--network", "none", &busybox, "true"];
    let place = home.path().to_str().unwrap().to_owned();
    for round in 0..40 {
        let all: Vec<_> = (0..4).map(|_| home.coracle(run).spawn()).collect();
        thread::sleep(Duration::from_micros(round * 400));
        for running in &all {
            running.signal(Signal::SIGKILL);
        }
        for running in all {
            running.wait();
        }
    }
    let is_of_it = |process: std::fs::DirEntry| {
        let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&place)
    };
    until("the end of all", || !std::fs::read_dir("/proc").unwrap().flatten().any(is_of_it));
    home.coracle(run).ok();
}

#[test]
fn a_full_disk_is_said_and_leaves_a_whole_store() {
    requires!(UserNamespaces, Program("/usr/bin/unshare"));
    let registry = Registry::new();
    let reference = registry.push("big", "1", &big_image());
    let home = Home::new();
    // A file system of one megabyte in a namespace of its own; the pull wants two.
    let script = format!(
        "mkdir -p store && mount -t tmpfs -o size=1m none store && {0} --root store pull {1}; \
         echo code $?; {0} --root store images -q && echo still whole",
        crate::support::binary().display(),
        reference
    );
    let mut command = std::process::Command::new("/usr/bin/unshare");
    command.args(["-Urm", "/bin/sh", "-c", &script]);
    let output = home.run(command).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").output();
    crate::support::has(&output.stdout, &["code 1", "still whole"]);
    crate::support::has(&output.stderr.to_lowercase(), &["space"]);
}
