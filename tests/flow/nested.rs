//! coracle in a container of coracle: no more than the outer one's `seccomp=unconfined` is needed.

use super::{pulled, run};
use crate::requires;
use crate::support::needs::pass;
use crate::support::{binary, fixtures, has};

/// Flags that bring the program and an image into a container, and a place for a store.
fn brought() -> Vec<String> {
    let program = format!("{}:/coracle:ro", binary().display());
    let images = format!("{}:/images:ro", fixtures().join("oci/busybox").display());
    // An overlay cannot lie on an overlay, on a tmpfs it can.
    let flags = ["-v", &program, "-v", &images, "--tmpfs", "/h:exec,mode=1777", "-e", "HOME=/h"];
    flags.map(str::to_owned).to_vec()
}

fn nested(flags: &[&str], script: &str) -> crate::support::Output {
    let brought = brought();
    let all: Vec<&str> = flags.iter().copied().chain(brought.iter().map(String::as_str)).collect();
    run(&all, &["sh", "-c", script]).output()
}

const INNER: &str = "/coracle run -q --rm --network none";
const IMAGE: &str = "oci:/images:latest";

#[test]
fn it_runs_in_itself() {
    requires!(UserNamespaces, Image("busybox", "latest"), Fixture("oci/busybox/index.json"));
    pulled("busybox", "latest");
    let ids =
        "id -u; echo \\$\\$; awk 'NR == 1 {print \\$5}' /proc/self/mountinfo; hostname | wc -c";
    let script = format!("{INNER} {IMAGE} sh -c \"{ids}; exit 7\"");
    for flags in [&["--privileged"][..], &["--security-opt", "seccomp=unconfined"]] {
        let output = nested(flags, &script);
        assert_eq!(output.code(), 7, "{flags:?}: {output}");
        assert_eq!(output.stdout, "0\n1\n/\n13\n", "{flags:?}");
    }
    // A user without root inside is a user: one id, and no less of a container.
    if pass() == "range" {
        let output = nested(&["--privileged", "-u", "1000"], &script);
        assert_eq!((output.code(), output.stdout.as_str()), (7, "0\n1\n/\n13\n"), "{output}");
    }
}

#[test]
fn and_in_itself_again() {
    requires!(UserNamespaces, Image("busybox", "latest"), Fixture("oci/busybox/index.json"));
    pulled("busybox", "latest");
    let bring =
        "-v /coracle:/coracle:ro -v /images:/images:ro --tmpfs /h:exec,mode=1777 -e HOME=/h";
    let script = format!(
        "{INNER} --privileged {bring} {IMAGE} sh -c \"{INNER} {IMAGE} sh -c 'echo third; exit 3'\""
    );
    let output = nested(&["--privileged"], &script);
    assert_eq!((output.code(), output.stdout.as_str()), (3, "third\n"), "{output}");
}

#[test]
fn the_inner_one_has_overlay_and_the_outers_ids() {
    requires!(UserNamespaces, Image("busybox", "latest"), Fixture("oci/busybox/index.json"));
    pulled("busybox", "latest");
    let script = format!(
        "/coracle info --format '{{{{.Driver}}}}'; \
         {INNER} {IMAGE} sh -c 'touch /f; chown 12:34 /f; stat -c %u:%g /f'"
    );
    let output = nested(&["--privileged"], &script);
    has(&output.stdout, &["overlay\n"]);
    // One id cannot be given away.
    if pass() == "range" {
        has(&output.ok(), &["12:34"]);
    }
}

/// The outer filter keeps its say: what it refuses is told, and no container is half made.
#[test]
fn a_confined_container_holds_no_other() {
    requires!(UserNamespaces, Image("busybox", "latest"), Fixture("oci/busybox/index.json"));
    pulled("busybox", "latest");
    let output = nested(&[], &format!("{INNER} {IMAGE} true; echo code $?; /coracle ps -aq"));
    has(&output.stderr, &["cannot make a container"]);
    assert_eq!(output.stdout, "code 125\n", "{output}");
}

#[test]
fn a_supervisor_outside_leaves_no_room_for_connections_inside() {
    requires!(
        UserNamespaces,
        Image("busybox", "latest"),
        Fixture("oci/busybox/index.json"),
        Program("/dev/net/tun")
    );
    pulled("busybox", "latest");
    let script = format!("/coracle run -q --rm --network fast {IMAGE} true");
    let flags = ["--privileged", "--network", "fast", "--device", "/dev/net/tun"];
    let output = nested(&flags, &script);
    assert_eq!(output.code(), 125, "{output}");
    has(&output.stderr, &["(--network fast)", "busy", "--network private works"]);
}
