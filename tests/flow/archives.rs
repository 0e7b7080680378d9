//! Images from files, as skopeo, podman and umoci wrote them.

use crate::requires;
use crate::support::{Home, fixtures, has, layout};

#[test]
fn an_oci_layout_runs() {
    requires!(UserNamespaces, Fixture("oci/busybox/index.json"));
    let home = Home::new();
    assert_eq!(
        home.coracle(["run", "--rm", "--network", "none", &layout("busybox", "entry")]).ok(),
        "entry and cmd"
    );
    has(&home.coracle(["pull", &layout("busybox", "latest")]).ok(), &["Digest: sha256:"]);
    home.coracle(["pull", &layout("busybox", "no-such-tag")]).fails(1);
    // Several images and no tag: which one is meant cannot be known.
    let directory = fixtures().join("oci/busybox");
    home.coracle(["pull", &format!("oci:{}", directory.display())]).fails(1);
}

#[test]
fn archives_run() {
    requires!(
        UserNamespaces,
        Fixture("archives/busybox.docker.tar"),
        Fixture("archives/busybox.oci.tar")
    );
    let home = Home::new();
    for source in ["docker-archive:busybox.docker.tar", "oci-archive:busybox.oci.tar"] {
        let run = home.coracle(["run", "--rm", "--network", "none", source, "echo", "ran"]);
        assert_eq!(run.directory(fixtures().join("archives")).ok(), "ran", "{source}");
    }
}

#[test]
fn archives_of_several_layers_are_the_same_tree() {
    requires!(
        UserNamespaces,
        Fixture("archives/edge-umoci.docker.tar"),
        Fixture("archives/edge-buildah.oci.tar")
    );
    let home = Home::new();
    let list = |source: &str| {
        let run = home.coracle([
            "run",
            "--rm",
            "--network",
            "none",
            source,
            "sh",
            "-c",
            "cd /t && find . | sort | xargs stat -c '%n %f %s'",
        ]);
        let lines = run.directory(fixtures().join("archives")).ok();
        // A directory's size is the file system's affair. Of a link whose other name was changed
        // in a layer above, umoci says that both have changed and buildah that one has.
        lines
            .lines()
            .filter(|line| !line.contains(" 4") && !line.contains("keep-linked"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        list("docker-archive:edge-umoci.docker.tar"),
        list("oci-archive:edge-buildah.oci.tar")
    );
}

#[test]
fn python_runs_from_an_archive() {
    requires!(UserNamespaces, Fixture("archives/python.docker.tar"));
    let source =
        format!("docker-archive:{}", fixtures().join("archives/python.docker.tar").display());
    let home = Home::new();
    let run = home.coracle([
        "run",
        "--rm",
        "--network",
        "none",
        &source,
        "-c",
        "import os; print(6 * 7, os.getcwd())",
    ]);
    assert_eq!(run.ok(), "42 /srv");
}

#[test]
fn what_is_no_archive_is_said() {
    let home = Home::new();
    let file = home.write("text", "no archive\n");
    for kind in ["docker-archive", "oci-archive"] {
        let error = home.coracle(["pull", &format!("{kind}:{}", file.display())]).fails(1);
        has(&error, &["text"]);
        has(&home.coracle(["pull", &format!("{kind}:/no/such/file")]).fails(1), &["/no/such/file"]);
    }
    has(&home.coracle(["pull", "oci:/no/such/directory:latest"]).fails(1), &["/no/such/directory"]);
}
