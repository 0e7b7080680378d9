//! Layers with a table of contents: of files that another layer brought nothing is fetched again,
//! and what comes of it is the very blob.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;

use crate::requires;
use crate::support::image::{Image, digest};
use crate::support::packed::{noise, put_layout, stargz};
use crate::support::registry::Registry;
use crate::support::{Home, has, until};

const PARTLY: &str = "Already exists in part";

/// Files of some 10 kB each, where those in `changed` are others than they were.
fn files(changed: &[u64]) -> Vec<(String, Vec<u8>)> {
    let file = |number: u64| {
        let seed = if changed.contains(&number) { number + 1000 } else { number };
        let length = 9000 + usize::try_from(number % 7 * 333).unwrap();
        (format!("f{number}"), noise(seed, length))
    };
    (0..60).map(file).collect()
}

fn image(changed: &[u64]) -> Image {
    stargz(&files(changed), |_| ())
}

/// Every layer is what its blob says, and the blobs are those of a store that fetched them whole.
fn is_as_if_pulled_whole(home: &Home, put: impl Fn(&Registry) -> [String; 2]) {
    home.coracle(["system", "check"]).ok();
    let (other, registry) = (Home::new(), Registry::without_ranges());
    for image in put(&registry) {
        other.coracle(["pull", "-q", &image]).ok();
    }
    let blobs = |home: &Home| -> Vec<String> {
        let entries = std::fs::read_dir(home.store().join("blobs/sha256")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(blobs(home), blobs(&other));
}

/// Two images of which the second has the files `changed` anew.
fn put(registry: &Registry, changed: &[u64]) -> [String; 2] {
    [registry.push("app", "1", &image(&[])), registry.push("app", "2", &image(changed))]
}

#[test]
fn a_second_image_of_buildah_comes_in_part() {
    requires!(Fixture("oci/shared/index.json"));
    let registry = Registry::new();
    let [(first, _), (second, size)] = ["1", "2"].map(|tag| put_layout(&registry, "shared", tag));
    let home = Home::new();
    let told = home.coracle(["pull", &first]).output();
    assert!(told.code() == 0 && !told.stderr.contains(PARTLY), "{told}");
    let before = registry.sent();
    let told = home.coracle(["pull", &second]).output();
    has(&told.stderr, &[PARTLY]);
    let sent = registry.sent() - before;
    assert!(sent < size / 5, "{sent} bytes of {size} were sent:\n{}", registry.log().join("\n"));
    is_as_if_pulled_whole(&home, |registry| {
        ["1", "2"].map(|tag| put_layout(registry, "shared", tag).0)
    });
}

#[test]
fn a_second_stargz_image_comes_in_part() {
    let (registry, changed) = (Registry::new(), [20, 21, 45]);
    let [first, second] = put(&registry, &changed);
    let home = Home::new();
    home.coracle(["pull", "-q", &first]).ok();
    let before = registry.sent();
    has(&home.coracle(["pull", &second]).output().stderr, &[PARTLY]);
    let (sent, size) = (registry.sent() - before, image(&changed).layers[0].len());
    assert!(sent < size / 5, "{sent} bytes of {size} were sent:\n{}", registry.log().join("\n"));
    is_as_if_pulled_whole(&home, |registry| put(registry, &changed));
    // What it was put together from may go.
    home.coracle(["rmi", &first]).ok();
    home.coracle(["save", "-o", "app.tar", &second]).ok();
    home.coracle(["system", "check"]).ok();
}

#[test]
fn without_ranges_it_comes_whole() {
    let registry = Registry::without_ranges();
    let [first, second] = put(&registry, &[20]);
    let home = Home::new();
    home.coracle(["pull", "-q", &first]).ok();
    let told = home.coracle(["pull", &second]).output();
    assert!(told.code() == 0 && !told.stderr.contains(PARTLY), "{told}");
    home.coracle(["system", "check"]).ok();
}

#[test]
fn what_only_seems_the_same_is_fetched_whole() {
    // The second one's table says that nothing has changed, and all is as long as it was.
    let (old, mut length) = (files(&[]), 0);
    let lying = |seed: u64, length: &mut u64| {
        let mut files = old.clone();
        files[20].1 = noise(seed, files[20].1.len());
        stargz(&files, |table| {
            let entries = &mut table["entries"];
            let offset = |at: usize| entries[at]["offset"].as_u64().unwrap();
            *length = offset(21) - offset(20);
            let told = digest(&old[20].1);
            entries[20]["digest"] = told.clone().into();
            entries[20]["chunkDigest"] = told.into();
        })
    };
    lying(20, &mut length);
    let changed = (1000..).map(|seed| {
        let mut new = 0;
        (lying(seed, &mut new), new)
    });
    let (changed, _) = changed.take(500).find(|(_, new)| *new == length).unwrap();
    let put = |registry: &Registry| {
        [registry.push("app", "1", &image(&[])), registry.push("app", "2", &changed)]
    };
    let registry = Registry::new();
    let [first, second] = put(&registry);
    let home = Home::new();
    home.coracle(["pull", "-q", &first]).ok();
    let told = home.coracle(["pull", &second]).output();
    has(&told.stderr, &[PARTLY, "Retrying"]);
    assert_eq!(told.code(), 0, "{told}");
    is_as_if_pulled_whole(&home, put);
}

#[test]
fn it_goes_on_after_a_kill_and_a_broken_connection() {
    let (stuck, parts) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (held, count) = (stuck.clone(), parts.clone());
    let registry = Registry::with(move |request, mut reply| {
        // First comes the footer, then the table and what follows it.
        if request.is_blob() && reply.status == 206 && count.fetch_add(1, Ordering::SeqCst) == 2 {
            if held.load(Ordering::SeqCst) {
                reply.pace = Some(10); // for ever
            } else {
                reply.cut_after = Some(reply.body.len() / 2);
            }
        }
        reply
    });
    let changed = [10, 30, 50];
    let [first, second] = put(&registry, &changed);
    let home = Home::new();
    home.coracle(["pull", "-q", &first]).ok();
    let running = home.coracle(["pull", "-q", &second]).spawn();
    until("a part that never comes", || parts.load(Ordering::SeqCst) == 3);
    running.signal(Signal::SIGKILL);
    running.wait();
    assert_eq!(home.coracle(["images", "-q"]).ok().lines().count(), 1);
    stuck.store(false, Ordering::SeqCst);
    parts.store(0, Ordering::SeqCst);
    let told = home.coracle(["pull", &second]).output();
    has(&told.stderr, &[PARTLY, "Retrying"]);
    assert!(parts.load(Ordering::SeqCst) > 3, "{}", registry.log().join("\n"));
    is_as_if_pulled_whole(&home, |registry| put(registry, &changed));
}
