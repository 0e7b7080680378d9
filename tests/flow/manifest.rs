//! Lists of images for several platforms: made, told of, sent, and chosen from.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::podman::podman;
use super::push::scratch;
use crate::requires;
use crate::support::image::{Image, Tar, digest};
use crate::support::needs::pass;
use crate::support::registry::{Registry, Reply};
use crate::support::{Home, has};

/// An image for an architecture, with a layer of its own.
pub fn image_for(architecture: &str) -> Image {
    let image = Image::of(&[Tar::new().file("which", architecture).finish()]);
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["architecture"] = architecture.into();
    Image::with_config(config.to_string().into_bytes(), image.layers)
}

fn manifest_digest(image: &Image) -> String {
    digest(image.manifest.to_string().as_bytes())
}

fn inspected(home: &Home, name: &str) -> Value {
    serde_json::from_str(&home.coracle(["manifest", "inspect", name]).ok()).unwrap()
}

fn architectures(list: &Value) -> Vec<String> {
    let entries = list["manifests"].as_array().unwrap();
    let of = |entry: &Value| entry["platform"]["architecture"].as_str().unwrap().to_owned();
    entries.iter().map(of).collect()
}

#[test]
fn a_list_is_made_changed_and_removed() {
    let (registry, home) = (Registry::new(), Home::new());
    let (one, other) = (image_for("amd64"), image_for("arm64"));
    let amd = registry.push("app", "amd64", &one);
    let arm = registry.push("app", "arm64", &other);
    home.coracle(["pull", "-q", &amd]).ok(); // one of the store, one of the registry
    let made = home.coracle(["manifest", "create", "app:all", &amd, &arm]).ok();
    assert_eq!(made, "Created manifest list docker.io/library/app:all");
    let list = inspected(&home, "app:all");
    assert_eq!(architectures(&list), ["amd64", "arm64"]);
    assert_eq!(list["mediaType"], "application/vnd.oci.image.index.v1+json");
    let size = other.manifest.to_string().len();
    assert_eq!(
        list["manifests"][1],
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": manifest_digest(&other), "size": size,
            "platform": {"architecture": "arm64", "os": "linux"},
        })
    );
    let error = home.coracle(["manifest", "create", "app:all", &amd]).fails(1);
    has(&error, &["refusing to amend an existing manifest list with no --amend flag"]);
    home.coracle(["manifest", "create", "--amend", "app:all", &amd]).ok();
    assert_eq!(architectures(&inspected(&home, "app:all")), ["amd64", "arm64"]);
    // By the name that it was added by, or by its digest.
    let annotate = ["manifest", "annotate", "--arch", "arm", "--variant", "v7", "app:all", &arm];
    home.coracle(annotate).ok();
    home.coracle(["manifest", "annotate", "--os", "linux", "app:all", &format!("docker://{arm}")])
        .ok();
    let by_digest = manifest_digest(&one);
    let features = ["--os-features", "a,b", "--os-version", "1", "--annotation", "k=v"];
    let words = ["manifest", "annotate"].iter().chain(&features).copied();
    home.coracle(words.chain(["app:all", &by_digest])).ok();
    let list = inspected(&home, "app:all");
    assert_eq!(list["manifests"][1]["platform"]["variant"], "v7");
    assert_eq!(list["manifests"][0]["platform"]["os.features"], json!(["a", "b"]));
    assert_eq!(list["manifests"][0]["annotations"], json!({"k": "v"}));
    let error = home.coracle(["manifest", "annotate", "--os", "linux", "app:all", "no:1"]).fails(1);
    has(&error, &["manifest for image no:1 does not exist in app:all"]);
    home.coracle(["manifest", "remove", "app:all", &by_digest]).ok();
    assert_eq!(architectures(&inspected(&home, "app:all")), ["arm"]);
    has(&home.coracle(["manifest", "ls"]).ok(), &["NAME", "app:all"]);
    home.coracle(["manifest", "exists", "app:all"]).ok();
    home.coracle(["manifest", "rm", "app:all"]).ok();
    assert_eq!(home.coracle(["manifest", "exists", "app:all"]).output().code(), 1);
    has(&home.coracle(["manifest", "rm", "app:all"]).fails(1), &["No such manifest: app:all"]);
    home.coracle(["manifest", "rm", "--ignore", "app:all"]).ok();
    has(&home.coracle(["manifest", "push", "app:all"]).fails(1), &["No such manifest"]);
    has(&home.coracle(["manifest", "add", "app:all", &amd]).fails(1), &["No such manifest"]);
}

#[test]
fn the_image_of_a_list_is_used_by_the_lists_name() {
    let (registry, home) = (Registry::new(), Home::new());
    let (one, other) = (image_for("amd64"), image_for("arm64"));
    let amd = registry.push("app", "amd64", &one);
    let arm = registry.push("app", "arm64", &other);
    home.coracle(["manifest", "create", "app:all", &amd, &arm]).ok();
    let (here, there) = match std::env::consts::ARCH {
        "aarch64" => (&other, "linux/amd64"),
        _ => (&one, "linux/arm64"),
    };
    let id = digest(&here.config);
    let unknown = home.coracle(["create", "--pull", "never", "app:all", "/x"]).fails(125);
    has(&unknown, &["No such image: ", &format!("/app@{}", manifest_digest(here))]);
    // It is fetched from where it came, and nobody asks for the list.
    let made = home.coracle(["create", "--name", "made", "app:all", "/x"]).ok();
    assert_eq!(home.coracle(["inspect", "-f", "{{.Image}}", &made]).ok(), id);
    assert_eq!(home.coracle(["inspect", "-f", "{{.Config.Image}}", "made"]).ok(), "app:all");
    assert_eq!(home.coracle(["inspect", "-f", "{{.Id}}", "app:all"]).ok(), id);
    has(&home.coracle(["history", "--no-trunc", "-q", "app:all"]).ok(), &[&id]);
    has(&home.coracle(["image", "tree", "app:all"]).ok(), &[&id[7..19]]);
    home.coracle(["create", "--pull", "never", "app:all", "/x"]).ok();
    home.coracle(["create", "--platform", there, "app:all", "/x"]).ok();
    let error = home.coracle(["create", "--platform", "linux/s390x", "app:all", "/x"]).fails(125);
    has(&error, &["app:all", "linux/s390x", "linux/arm64"]);
    // An image of that name goes first.
    home.coracle(["tag", &digest(&other.config), "app:all"]).ok();
    let tagged = home.coracle(["inspect", "-f", "{{.Id}}", "app:all"]).ok();
    assert_eq!(tagged, digest(&other.config));
}

/// What is in a list stays when its image goes, and when all is swept; it goes with the list.
#[test]
fn what_a_list_needs_stays() {
    let (registry, home) = (Registry::new(), Home::new());
    let image = image_for("amd64");
    let name = registry.push("app", "amd64", &image);
    home.coracle(["pull", "-q", &name]).ok();
    home.coracle(["manifest", "create", "app:all", &name]).ok();
    home.coracle(["rmi", &name]).ok();
    home.coracle(["system", "prune", "-af"]).ok();
    let blob = home.store().join(digest(&image.layers[0]).replace("sha256:", "blobs/sha256/"));
    assert!(blob.exists());
    has(&home.coracle(["system", "check"]).ok(), &["no damage"]);
    let elsewhere = Registry::new();
    home.coracle(["manifest", "push", "app:all", &elsewhere.reference("copy", "1")]).ok();
    assert_eq!(registry.log().iter().filter(|line| line.contains("HEAD")).count(), 0);
    home.coracle(["manifest", "rm", "app:all"]).ok();
    assert!(!blob.exists());
}

#[test]
fn all_of_an_index_or_the_one_that_fits() {
    let (registry, home) = (Registry::new(), Home::new());
    let images = [image_for("amd64"), image_for("arm64"), image_for("s390x")];
    let names =
        images.iter().zip(["a", "b", "c"]).map(|(image, tag)| registry.push("m", tag, image));
    let names: Vec<String> = names.collect();
    let words = ["manifest", "create", "all:1"].map(str::to_owned);
    home.coracle(words.into_iter().chain(names)).ok();
    let index = registry.reference("m", "index");
    home.coracle(["manifest", "push", "--quiet", "all:1", &index]).ok();
    let added = |flags: &[&str]| {
        home.coracle(["manifest", "create", "--amend", "one:1"]).ok();
        let words = ["manifest", "add"].iter().chain(flags).copied();
        home.coracle(words.chain(["one:1", &format!("docker://{index}")])).ok();
        let list = inspected(&home, "one:1");
        home.coracle(["manifest", "rm", "one:1"]).ok();
        architectures(&list)
    };
    assert_eq!(added(&[]), ["amd64"]);
    assert_eq!(added(&["--arch", "s390x"]), ["s390x"]);
    assert_eq!(added(&["--all"]), ["amd64", "arm64", "s390x"]);
    // Of a list of the store likewise.
    home.coracle(["manifest", "create", "--all", "two:1", "all:1"]).ok();
    assert_eq!(inspected(&home, "two:1"), inspected(&home, "all:1"));
    // What a registry has is told as docker tells it.
    let verbose = home.coracle(["manifest", "inspect", "-v", &index]).ok();
    let verbose: Value = serde_json::from_str(&verbose).unwrap();
    assert_eq!(verbose[1]["Ref"], format!("{index}@{}", manifest_digest(&images[1])));
    assert_eq!(verbose[1]["OCIManifest"], images[1].manifest);
    let one = registry.reference("m", "b");
    let verbose = home.coracle(["manifest", "inspect", "-v", &one]).ok();
    let verbose: Value = serde_json::from_str(&verbose).unwrap();
    assert_eq!(verbose["Descriptor"]["platform"]["architecture"], "arm64");
    let inner = home.coracle(["manifest", "inspect", "all:1", &manifest_digest(&images[2])]).ok();
    assert_eq!(serde_json::from_str::<Value>(&inner).unwrap(), images[2].manifest);
}

/// The images come from one registry and go to another: what is neither here nor there is fetched.
#[test]
fn a_list_goes_to_another_registry_with_its_images() {
    let (from, to, home) = (Registry::new(), Registry::new(), Home::new());
    let images = [image_for("amd64"), image_for("arm64")];
    let names = images.iter().zip(["a", "b"]).map(|(image, tag)| from.push("m", tag, image));
    let words = ["manifest", "create", "all:1"].map(str::to_owned);
    home.coracle(words.into_iter().chain(names)).ok();
    let target = to.reference("copy", "1");
    let file = home.path().join("digest");
    let words = ["manifest", "push", "--purge", "--digestfile", file.to_str().unwrap()];
    let told = home.coracle(words.into_iter().chain(["all:1", &target])).ok();
    let sent = to.file("copy/manifests/1").unwrap();
    assert_eq!(
        (told.as_str(), fs::read_to_string(file).unwrap()),
        (&*digest(&sent), digest(&sent))
    );
    for image in &images {
        let at = format!("copy/manifests/{}", manifest_digest(image));
        assert_eq!(to.file(&at).unwrap(), image.manifest.to_string().into_bytes());
        assert_eq!(
            to.file(&format!("copy/blobs/{}", digest(&image.layers[0]))).unwrap(),
            image.layers[0]
        );
    }
    assert_eq!(home.coracle(["manifest", "exists", "all:1"]).output().code(), 1, "--purge");
    // Each platform's is chosen from it.
    for (image, platform) in images.iter().zip(["linux/amd64", "linux/arm64"]) {
        let other = Home::new();
        let id = other.coracle(["pull", "-q", "--platform", platform, &target]).ok();
        assert_eq!(id, digest(&image.config));
    }
    let error = home.coracle(["pull", "-q", "--platform", "linux/s390x", &target]).fails(1);
    has(&error, &["no image for linux/s390x", "there is linux/amd64, linux/arm64"]);
}

/// Into an OCI layout, with images that only a registry has, and beside what lies there.
#[test]
fn a_list_is_written_to_files() {
    let (registry, home) = (Registry::new(), Home::new());
    let images = [image_for("amd64"), image_for("arm64")];
    let names: Vec<String> =
        images.iter().zip(["a", "b"]).map(|(image, tag)| registry.push("m", tag, image)).collect();
    home.coracle(["manifest", "create", "all:1", &names[0], &names[1]]).ok();
    let layout = format!("oci:{}", home.path().join("layout").display());
    let archive = format!("oci-archive:{}", home.path().join("list.tar").display());
    home.coracle(["pull", "-q", &names[0]]).ok();
    home.coracle(["push", "-q", &names[0], &format!("{layout}:one")]).ok();
    for place in [&layout, &archive] {
        let named = format!("{place}:v1");
        let told = home.coracle(["manifest", "push", "-q", "all:1", &named]).ok();
        let list = home.path().join("layout/blobs/sha256").join(&told["sha256:".len()..]);
        assert_eq!(told, digest(&fs::read(list).unwrap()), "{place}");
        for (image, platform) in images.iter().zip(["linux/amd64", "linux/arm64"]) {
            let other = Home::new();
            let id = other.coracle(["pull", "-q", "--platform", platform, &named]).ok();
            assert_eq!(id, digest(&image.config));
        }
    }
    let id = Home::new().coracle(["pull", "-q", &format!("{layout}:one")]).ok();
    assert_eq!(id, digest(&images[0].config));
    // What fails leaves nothing that the next try would stumble over.
    let gone = Registry::with(|request, reply| match request.is_blob() {
        true => Reply::new(404, ""),
        false => reply,
    });
    let bare = image_for("s390x");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    gone.put_manifest("m", "a", kind, bare.manifest.to_string().as_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": kind, "digest": manifest_digest(&bare), "size": bare.manifest.to_string().len(),
        "platform": {"os": "linux", "architecture": "s390x"}}]});
    let kind = "application/vnd.oci.image.index.v1+json";
    gone.put_manifest("m", "1", kind, index.to_string().as_bytes());
    home.coracle(["manifest", "create", "--all", "gone:1", &gone.reference("m", "1")]).ok();
    let (fresh, path) =
        (format!("oci:{}", home.path().join("fresh").display()), home.path().join("fresh"));
    has(
        &home.coracle(["manifest", "push", "gone:1", &fresh]).fails(1),
        &["neither here nor there"],
    );
    assert!(!path.exists(), "something is left");
    let error = home.coracle(["manifest", "push", "all:1", "docker-archive:x.tar"]).fails(125);
    has(&error, &["has no place for a list", "oci-archive:FILE"]);
    let error = home.coracle(["manifest", "push", "--add-compression", "zstd", "all:1"]).fails(125);
    has(&error, &["--add-compression cannot be honoured", "their digests are in it"]);
}

/// A hostile registry: what it sends is no entry of a list.
#[test]
fn what_is_no_image_is_not_in_a_list() {
    let registry = Registry::new();
    let home = Home::new();
    let artifact = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2},
        "layers": [],
    });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest("a", "1", kind, artifact.to_string().as_bytes());
    registry.put_manifest(
        "a",
        "2",
        kind,
        br#"{"layers":[{"mediaType":"x","digest":"sha256:../../x","size":1}]}"#,
    );
    registry.put_manifest("a", "3", kind, b"\x1b[2Jno json");
    for (tag, words) in
        [("1", "it is an artifact and no image"), ("2", "invalid digest"), ("3", "")]
    {
        let error =
            home.coracle(["manifest", "create", "l:1", &registry.reference("a", tag)]).fails(1);
        has(&error, &[words]);
        assert!(!error.contains('\u{1b}'), "{error}");
    }
    let liar = Registry::with(|request, reply| match request.path.contains("/manifests/sha256:") {
        true => Reply::new(200, "{}")
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json"),
        false => reply,
    });
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": kind, "digest": digest(b"x"), "size": 1,
        "platform": {"os": "linux", "architecture": "amd64"}}]});
    liar.put_manifest(
        "a",
        "1",
        "application/vnd.oci.image.index.v1+json",
        index.to_string().as_bytes(),
    );
    let error = home.coracle(["manifest", "create", "l:1", &liar.reference("a", "1")]).fails(1);
    has(&error, &["want sha256:", "got sha256:"]);
    assert_eq!(home.coracle(["manifest", "ls", "-q"]).ok(), "");
}

/// In the words of docker's manifest list where all of it is docker's.
#[test]
fn a_list_of_dockers_images_is_dockers() {
    let (registry, home) = (Registry::new(), Home::new());
    let docker = |architecture: &str| {
        image_for(architecture)
            .lie("/mediaType", "application/vnd.docker.distribution.manifest.v2+json".into())
            .lie("/config/mediaType", "application/vnd.docker.container.image.v1+json".into())
            .lie("/layers/0/mediaType", "application/vnd.docker.image.rootfs.diff.tar.gzip".into())
    };
    let dockers = registry.push("d", "amd64", &docker("amd64"));
    let ocis = registry.push("d", "arm64", &image_for("arm64"));
    let list = "application/vnd.docker.distribution.manifest.list.v2+json";
    let kind = |home: &Home, name: &str| inspected(home, name)["mediaType"].clone();
    home.coracle(["manifest", "create", "d:1", &dockers]).ok();
    assert_eq!(kind(&home, "d:1"), list);
    let target = registry.reference("d", "oci");
    home.coracle(["manifest", "push", "--format", "oci", "d:1", &target]).ok();
    assert_eq!(kind(&Home::new(), &target), "application/vnd.oci.image.index.v1+json");
    home.coracle(["manifest", "add", "d:1", &ocis]).ok();
    assert_eq!(kind(&home, "d:1"), "application/vnd.oci.image.index.v1+json");
    let error = home.coracle(["manifest", "push", "--format", "v2s2", "d:1", &target]).fails(1);
    has(&error, &["cannot write d:1 as docker's manifest list", "--format oci has it"]);
}

/// With a real registry, and those who read it.
#[test]
fn others_choose_from_a_list_that_was_pushed() {
    requires!(Registry, Program("/usr/bin/skopeo"));
    let (origin, home) = (Registry::new(), Home::new());
    let images = [image_for("amd64"), image_for("arm64")];
    for (image, tag) in images.iter().zip(["amd64", "arm64"]) {
        let name = origin.push("m", tag, image);
        let ours = format!("{}:{tag}", scratch("parts"));
        home.coracle(["pull", "-q", "--platform", &format!("linux/{tag}"), &name]).ok();
        home.coracle(["tag", &name, &ours]).ok();
        home.coracle(["push", "-q", &ours]).ok();
    }
    let list = format!("{}:all", scratch("listed"));
    let parts = ["amd64", "arm64"].map(|tag| format!("docker://{}:{tag}", scratch("parts")));
    // A store that has no blob: they are taken from the other repository.
    let other = Home::new();
    other.coracle(["manifest", "create", "--insecure", &list, &parts[0], &parts[1]]).ok();
    let pushed = other.coracle(["manifest", "push", &list]).ok();
    let run = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words);
        home.run(command)
    };
    for (image, architecture) in images.iter().zip(["amd64", "arm64"]) {
        let to = format!("dir:{}", home.path().join(architecture).display());
        let from = format!("docker://{list}");
        let words = [
            "--insecure-policy",
            "--override-arch",
            architecture,
            "copy",
            "--src-tls-verify=false",
            &from,
            &to,
        ];
        run("/usr/bin/skopeo", &words).ok();
        let manifest = fs::read(home.path().join(architecture).join("manifest.json")).unwrap();
        assert_eq!(manifest, image.manifest.to_string().into_bytes());
        let platform = format!("linux/{architecture}");
        let id = Home::new().coracle(["pull", "-q", "--platform", &platform, &list]).ok();
        assert_eq!(id, digest(&image.config));
    }
    let raw = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{list}")];
    let raw = run("/usr/bin/skopeo", &raw).output().stdout;
    assert_eq!(digest(raw.as_bytes()), pushed);
    // Theirs is read by us, to the byte.
    if pass() != "range" {
        return;
    }
    requires!(UserNamespaces, Program("/usr/bin/podman"));
    let theirs = format!("{}:1", scratch("podmans"));
    podman(&["manifest", "create", &theirs]).ok();
    for part in &parts {
        podman(&["manifest", "add", "--tls-verify=false", &theirs, part]).ok();
    }
    podman(&[
        "manifest",
        "push",
        "--all",
        "--tls-verify=false",
        &theirs,
        &format!("docker://{theirs}"),
    ])
    .ok();
    let id = Home::new().coracle(["pull", "-q", "--platform", "linux/arm64", &theirs]).ok();
    assert_eq!(id, digest(&images[1].config));
    let id = podman(&["pull", "-q", "--tls-verify=false", "--arch", "arm64", &list]).ok();
    assert_eq!(format!("sha256:{id}"), digest(&images[1].config));
}
