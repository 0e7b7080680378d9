//! `cp` against a container that swaps links under it (CVE-2018-15664, CVE-2019-10152).

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{SECRET, Victim};
use crate::requires;
use crate::support::{busybox, has};

/// How often each race is run.
fn rounds() -> u32 {
    std::env::var("CORACLE_TEST_COPIES").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

#[test]
fn links_do_not_lead_out() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let victim = Victim::new();
    let home = &victim.home;
    let image = busybox();
    let canary = victim.path("");
    // `swap` is now a directory, now a link to what the host has there.
    let script = format!(
        "mkdir -p /w/real/deep; echo inside >/w/real/secret; echo inside >/w/real/deep/secret; \
         ln -s {canary} /w/evil; ln -s /proc/1/root{canary} /w/magic; ln -s ../../../../../..{canary} /w/up; \
         cp -r /w/real /w/swap; ln -s {canary} /w/spare; echo ready >/w/ready; \
         while :; do mv -T /w/swap /w/kept 2>/dev/null; mv -T /w/spare /w/swap 2>/dev/null; \
         mv -T /w/swap /w/spare 2>/dev/null; mv -T /w/kept /w/swap 2>/dev/null; done"
    );
    // A failed test leaves no container behind that keeps a processor busy.
    let first = ["run", "-d", "--timeout", "300", "--network", "none", "--name", "evil"];
    home.coracle(first.into_iter().chain([image.as_str(), "sh", "-c", &script])).ok();
    crate::support::until("the container", || {
        home.coracle(["exec", "evil", "test", "-e", "/w/ready"]).output().code() == 0
    });
    home.write(".cache/f", "from outside");
    for link in ["evil", "magic", "up"] {
        let to = format!("evil:/w/{link}/planted");
        let error = home.coracle(["cp", ".cache/f", &to]).fails(1);
        has(&error, &["error:"]);
        let from = format!("evil:/w/{link}/secret");
        home.coracle(["cp", &from, ".cache/stolen"]).fails(1);
        assert!(!home.path().join(".cache/stolen").exists(), "{link}");
    }
    for round in 0..rounds() {
        let output =
            home.coracle(["cp", ".cache/f", "evil:/w/swap/deep/planted"]).timeout_s(60).output();
        victim.unharmed(&output);
        let out = format!(".cache/out-{round}");
        let output = home.coracle(["cp", "evil:/w/swap/.", &out]).timeout_s(60).output();
        victim.unharmed(&output);
        let stolen = fs::read_to_string(home.path().join(&out).join("secret")).unwrap_or_default();
        assert_ne!(stolen, SECRET, "{output}");
    }
    home.coracle(["rm", "-f", "evil"]).ok();
}

#[test]
fn what_comes_out_is_harmless() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let victim = Victim::new();
    let home = &victim.home;
    let canary = victim.path("");
    let script = format!(
        "mkdir /w; cp /bin/busybox /w/setuid; chmod 6755 /w/setuid; ln -s {canary} /w/directory; \
         mkdir /w/dir; touch /w/dir/x"
    );
    let image = busybox();
    home.coracle(["run", "--network", "none", "--name", "cc", &image, "sh", "-ec", &script]).ok();
    // A link of the host's where the container has a directory: nothing is written through it.
    fs::create_dir_all(home.path().join(".cache/out/w")).unwrap();
    std::os::unix::fs::symlink(&canary, home.path().join(".cache/out/w/dir")).unwrap();
    let output = home.coracle(["cp", "cc:/w", ".cache/out"]).output();
    victim.unharmed(&output);
    has(&output.fails(1), &["cannot overwrite non-directory with directory"]);
    home.coracle(["cp", "cc:/w", ".cache/clean"]).ok();
    let mode = home.path().join(".cache/clean/setuid").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "nobody else is to get the user's rights");
}
