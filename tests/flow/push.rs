//! To a registry and back: what is pushed has the digests that it was pulled with.

use std::fs;
use std::process::Command;

use super::in_two_packings;
use super::pull::{address, login};
use crate::requires;
use crate::support::image::{Image, Tar, digest};
use crate::support::needs::pass;
use crate::support::registry::{Registry, Reply};
use crate::support::{Home, busybox, has, image};

/// A repository of the registry for pushes that no other test and no other pass uses.
pub fn scratch(name: &str) -> String {
    format!("{}/{}/{name}", address("SCRATCH"), pass())
}

/// The rest of the line that starts so.
pub fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("{text}"))
}

/// An image that no compression makes small.
fn large(bytes: usize) -> Image {
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect();
    let entry = crate::support::image::Entry { name: b"noise", data: &noise, ..Default::default() };
    Image::of(&[Tar::new().entry(&entry).finish()])
}

/// A home with an image, named as in `registry`.
fn home_with(image: &Image, registry: &Registry) -> (Home, String) {
    let home = Home::new();
    let origin = Registry::new();
    let name = registry.reference("pushed", "1");
    home.coracle(["pull", "-q", &origin.push("app", "1", image)]).ok();
    home.coracle(["tag", &origin.reference("app", "1"), &name]).ok();
    (home, name)
}

#[test]
fn there_and_back() {
    requires!(Registry, Image("busybox", "latest"), Image("busybox", "zstd"));
    for (number, from) in
        [busybox(), image("busybox", "docker"), image("busybox", "zstd"), image("edge", "umoci")]
            .iter()
            .enumerate()
    {
        // A store that has the same layers packed otherwise would not fetch these.
        let home = Home::new();
        let pulled = home.coracle(["pull", from]).ok();
        let name = format!("{}:{number}", scratch("app"));
        home.coracle(["tag", from, &name]).ok();
        let digestfile = home.path().join("digest");
        let pushed =
            home.coracle(["push", "--digestfile", digestfile.to_str().unwrap(), &name]).ok();
        let repository = name.rsplit_once(':').unwrap().0;
        assert_eq!(
            pushed.lines().next(),
            Some(&*format!("The push refers to repository [{repository}]"))
        );
        let digest = line(&pulled, "Digest: ");
        has(&pushed, &[&format!("{number}: digest: {digest} size: ")]);
        assert_eq!(fs::read_to_string(&digestfile).unwrap(), digest);
        let again = home.coracle(["push", &name]).output();
        has(&again.stderr, &["Layer already exists"]);
        assert!(!again.stderr.contains("Pushed"), "{again}");
        assert_eq!(home.coracle(["push", "-q", &name]).ok(), name);
        let other = Home::new();
        assert_eq!(line(&other.coracle(["pull", &name]).ok(), "Digest: "), digest);
        let id = |home: &Home, name: &str| home.coracle(["inspect", "-f", "{{.Id}}", name]).ok();
        assert_eq!(id(&home, from), id(&other, &name));
    }
}

#[test]
fn all_tags_go_and_come() {
    requires!(Registry);
    let home = Home::new();
    home.coracle(["pull", "-q", &busybox()]).ok();
    let repository = scratch("many");
    for tag in ["1", "2"] {
        home.coracle(["tag", &busybox(), &format!("{repository}:{tag}")]).ok();
    }
    let pushed = home.coracle(["push", "-a", &repository]).ok();
    has(&pushed, &["1: digest: sha256:", "2: digest: sha256:"]);
    home.coracle(["push", "-a", &format!("{repository}:1")]).fails(125);
    let listed = home.coracle(["search", "--list-tags", &repository]).ok();
    let mut names: Vec<String> = listed
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(":"))
        .collect();
    names.sort(); // a registry has them in its own order
    assert_eq!(names, [format!("{repository}:1"), format!("{repository}:2")]);
    let other = Home::new();
    has(&other.coracle(["pull", "-a", &repository]).ok(), &[&format!("{repository}:2")]);
    let images = other.coracle(["images", "--format", "{{.Tag}}"]).ok();
    assert_eq!(images.lines().count(), 2, "{images}");
    let (host, path) = repository.split_once('/').unwrap();
    has(&home.coracle(["search", &format!("{host}/many")]).ok(), &[&format!("{host}/{path}")]);
}

#[test]
fn a_layer_is_taken_from_where_it_is() {
    requires!(Registry);
    let home = Home::new();
    home.coracle(["pull", "-q", &busybox()]).ok();
    let (one, two) = (format!("{}:1", scratch("one")), format!("{}:1", scratch("two")));
    home.coracle(["tag", &busybox(), &one]).ok();
    home.coracle(["push", "-q", &one]).ok();
    home.coracle(["push", "-q", &one]).ok();
    let pushed = home.coracle(["push", &one, &two]).output();
    let path = scratch("one").split_once('/').unwrap().1.to_owned();
    has(&pushed.stderr, &[&format!("Mounted from {path}")]);
    Home::new().coracle(["pull", "-q", &two]).ok();
}

#[test]
fn whoever_may_push_does() {
    requires!(Registry);
    let home = Home::new();
    home.coracle(["pull", "-q", &busybox()]).ok();
    let name = format!("{}/{}/guarded:1", address("GUARDED"), pass());
    home.coracle(["tag", &busybox(), &name]).ok();
    let error = home.coracle(["push", &name]).fails(1);
    has(&error, &["denied: requested access", "coracle login"]);
    home.coracle(["push", "-q", "--creds", &login(), &name]).ok();
    Home::new().coracle(["pull", "-q", &name]).ok();
    let error = home.coracle(["push", "--creds", "mariner:wrong", &name]).fails(1);
    assert!(!error.contains("wrong\""), "{error}");
}

#[test]
fn what_is_not_here_or_has_no_name_is_refused() {
    let home = Home::new();
    let error = home.coracle(["push", "r.example/none:1"]).fails(1);
    has(&error, &["An image does not exist locally with the tag: r.example/none:1"]);
    home.coracle(["push", &format!("r.example/a@{}", digest(b"x"))]).fails(125);
    home.coracle(["push", "r.example/UPPER"]).fails(1);
    // Not a repository of the hub called oci.
    has(&home.coracle(["push", "oci:directory"]).fails(125), &["coracle push IMAGE oci:directory"]);
    has(&home.coracle(["push", "app", "docker-daemon:x"]).fails(1), &["want docker://"]);
    has(&home.coracle(["push", "--sign-by", "me", "app"]).fails(125), &["are not signed here"]);
}

#[test]
fn others_read_what_was_pushed_and_are_read() {
    requires!(Registry, Program("/usr/bin/skopeo"), Image("busybox", "latest"));
    let home = Home::new();
    let pulled = home.coracle(["pull", &busybox()]).ok();
    let digest = line(&pulled, "Digest: ");
    let ours = format!("{}:1", scratch("ours"));
    home.coracle(["tag", &busybox(), &ours]).ok();
    home.coracle(["push", "-q", &ours]).ok();
    let run = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words);
        home.run(command)
    };
    let inspect = |name: &str| {
        let name = format!("docker://{name}");
        let words = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &name];
        run("/usr/bin/skopeo", &words).ok()
    };
    assert_eq!(inspect(&ours), digest);
    // What skopeo copies is read whole and checked by it, and is the same to us.
    let theirs = format!("{}:1", scratch("theirs"));
    let (from, to) = (format!("docker://{ours}"), format!("docker://{theirs}"));
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    run("/usr/bin/skopeo", &["copy", "--insecure-policy", tls[0], tls[1], &from, &to]).ok();
    assert_eq!(line(&Home::new().coracle(["pull", &theirs]).ok(), "Digest: "), digest);
}

#[test]
fn a_blob_too_large_for_one_request_goes_in_chunks() {
    let registry = Registry::with(|request, reply| {
        if request.method == "PUT"
            && request.path.contains("/uploads/")
            && request.body.len() > 17 << 20
        {
            return Reply::new(413, "");
        }
        reply
    });
    let image = large(20 << 20);
    let (home, name) = home_with(&image, &registry);
    home.coracle(["push", "-q", &name]).ok();
    let chunks = registry.log().iter().filter(|line| line.starts_with("PATCH")).count();
    assert_eq!(chunks, 2, "{:?}", registry.log());
    let path = format!("pushed/blobs/{}", digest(&image.layers[0]));
    assert_eq!(registry.file(&path), Some(image.layers[0].clone()));
    assert_eq!(
        registry.file("pushed/manifests/1").unwrap(),
        image.manifest.to_string().into_bytes(),
        "a manifest is pushed byte for byte"
    );
}

#[test]
fn an_upload_that_breaks_off_goes_on_where_the_registry_is() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let registry = Registry::with(move |request, mut reply| {
        let upload = request.path.contains("/uploads/");
        if upload && request.method == "PUT" && request.body.len() > 17 << 20 {
            reply.hang_up = true; // and it has all of it, but nobody was told
        }
        if upload && request.method == "PATCH" {
            // The first answer is lost, though the bytes have come.
            reply.hang_up = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        }
        reply
    });
    let image = large(40 << 20);
    let (home, name) = home_with(&image, &registry);
    home.coracle(["push", "-q", &name]).ok();
    let of = |method: &str| registry.log().iter().filter(|line| line.starts_with(method)).count();
    assert!(of("PATCH") == 3 && of("GET /v2/pushed/blobs/uploads") == 1, "{:?}", registry.log());
    let path = format!("pushed/blobs/{}", digest(&image.layers[0]));
    assert_eq!(registry.file(&path), Some(image.layers[0].clone()));
}

#[test]
fn a_damaged_blob_is_not_pushed() {
    let registry = Registry::new();
    let image = large(1 << 20);
    let (home, name) = home_with(&image, &registry);
    let path = digest(&image.layers[0]).replace("sha256:", "blobs/sha256/");
    let mut bytes = image.layers[0].clone();
    bytes[500] ^= 1;
    fs::write(home.store().join(&path), &bytes).unwrap();
    has(&home.coracle(["push", &name]).fails(1), &["is not sha256:", "pull or load it again"]);
    fs::remove_file(home.store().join(&path)).unwrap();
    has(&home.coracle(["push", &name]).fails(1), &["is not in the store"]);
    assert!(registry.file("pushed/manifests/1").is_none());
}

#[test]
fn a_registry_that_takes_something_else_is_caught() {
    let registry = Registry::with(|request, reply| match request.method.as_str() {
        "PUT" if request.path.contains("/manifests/") => {
            Reply::new(201, "").header("Docker-Content-Digest", digest(b"another"))
        }
        _ => reply,
    });
    let (home, name) = home_with(&large(1000), &registry);
    has(&home.coracle(["push", &name]).fails(1), &["want sha256:", "got sha256:"]);
}

#[test]
fn an_upload_goes_to_no_odd_place_and_the_login_to_no_other() {
    for target in ["file:///tmp/x", "http://169.254.169.254/", "//", "http://[::1"] {
        let registry = Registry::with(move |request, reply| match request.method.as_str() {
            "POST" => Reply::new(202, "").header("Location", target),
            _ => reply,
        });
        let (home, name) = home_with(&large(1000), &registry);
        home.coracle(["push", &name]).timeout_s(60).fails(1);
    }
    let elsewhere = Registry::with(|request, _| {
        let told = request.header("authorization").is_some();
        Reply::new(if told { 500 } else { 201 }, "")
    });
    let target = format!("http://{}/take?x=1", elsewhere.address);
    let registry = Registry::with(move |request, reply| {
        if request.header("authorization").is_none() {
            return Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        match request.method.as_str() {
            "POST" => Reply::new(202, "").header("Location", target.clone()),
            _ => reply,
        }
    });
    let (home, name) = home_with(&large(1000), &registry);
    home.coracle(["push", "-q", "--creds", "user:secret", &name]).ok();
    assert!(!elsewhere.log().is_empty());
}

fn id(home: &Home, name: &str) -> String {
    home.coracle(["inspect", "-f", "{{.Id}}", name]).ok()
}

fn manifest_of(registry: &Registry, name: &str) -> serde_json::Value {
    serde_json::from_slice(&registry.file(&format!("pushed/manifests/{name}")).unwrap()).unwrap()
}

/// Packed anew, or in other words, it is the same image: its archives are what they were.
#[test]
fn an_image_is_sent_in_another_shape() {
    let registry = Registry::new();
    let image = large(100_000);
    let (home, name) = home_with(&image, &registry);
    let push = |flags: &[&str]| {
        let words = ["push", "-q"].iter().chain(flags).copied();
        home.coracle(words.chain([&*name])).ok();
        let other = Home::new();
        other.coracle(["pull", "-q", &name]).ok();
        assert_eq!(id(&other, &name), digest(&image.config), "{flags:?}");
        manifest_of(&registry, "1")
    };
    let oci = "application/vnd.oci.image.layer.v1.tar";
    let kind = |manifest: &serde_json::Value| manifest["layers"][0]["mediaType"].clone();
    let zstd = push(&["--compression-format", "zstd"]);
    assert_eq!(kind(&zstd), format!("{oci}+zstd"));
    let layer = zstd["layers"][0]["digest"].as_str().unwrap();
    let bytes = registry.file(&format!("pushed/blobs/{layer}")).unwrap();
    assert_eq!(digest(&zstd::decode_all(&bytes[..]).unwrap()), digest(&ungzip(&image.layers[0])));
    // It is gzip already: nothing is made anew, unless that is asked for.
    assert_eq!(push(&["--compression-format", "gzip"]), image.manifest);
    let again = push(&["--force-compression", "--compression-level", "9"]);
    assert_eq!(kind(&again), format!("{oci}+gzip"));
    assert_ne!(again["layers"][0]["digest"], image.manifest["layers"][0]["digest"]);
    let docker = push(&["--format", "v2s2"]);
    assert_eq!(docker["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(kind(&docker), "application/vnd.docker.image.rootfs.diff.tar.gzip");
    assert_eq!(docker["layers"][0]["digest"], image.manifest["layers"][0]["digest"]);
    assert_eq!(push(&["--format", "oci"]), image.manifest);
    let refused = |flags: &[&str], code| {
        let words = ["push", "-q"].iter().chain(flags).copied();
        home.coracle(words.chain([&*name])).fails(code)
    };
    let words = refused(&["--format", "v2s2", "--compression-format", "zstd"], 1);
    has(&words, &["it has no layer that is packed with zstd"]);
    has(&refused(&["--compression-level", "99"], 125), &["want 0 to 9"]);
    has(&refused(&["--compression-format", "zstd:chunked"], 125), &["zstd:chunked"]);
    has(&refused(&["--format", "v2s1"], 125), &["schema 1"]);
    has(&refused(&["--platform", "linux/s390x"], 125), &["and not for linux/s390x"]);
}

fn ungzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes), &mut plain).unwrap();
    plain
}

/// The layer was here, unpacked from another packing, and was not fetched again: it is sent so.
#[test]
fn a_layer_that_came_in_another_packing_is_sent_in_that() {
    let (registry, home) = (Registry::new(), Home::new());
    let (packed, _) = in_two_packings(&registry, &home);
    let target = Registry::new();
    let name = target.reference("pushed", "1");
    let pushed = home.coracle(["push", &registry.reference("app", "plain"), &name]).output();
    has(&pushed.stderr, &["in another packing than its own", "the digest is new"]);
    pushed.ok();
    let told = manifest_of(&target, "1");
    assert_eq!(told["layers"][0]["digest"], digest(&packed.layers[0]));
    let other = Home::new();
    assert_eq!(other.coracle(["pull", "-q", &name]).ok(), digest(&packed.config));
    // Where the registry has it in its own, it goes as it came.
    let again = home.coracle(["push", &registry.reference("app", "plain")]).output();
    assert!(!again.stderr.contains("another packing"), "{again}");
}

#[test]
fn files_are_pushed_to_as_podman_pushes_to_them() {
    requires!(Program("/usr/bin/skopeo"));
    let registry = Registry::new();
    let image = large(10_000);
    let (home, name) = home_with(&image, &registry);
    let other = Image::of(&[Tar::new().file("other", "x\n").finish()]);
    let second = registry.push("app", "2", &other);
    home.coracle(["pull", "-q", &second]).ok();
    let place = |name: &str| home.path().join(name).display().to_string();
    let whole = digest(image.manifest.to_string().as_bytes());
    let skopeo = |from: &str| {
        let mut command = Command::new("/usr/bin/skopeo");
        command.args(["inspect", "--raw", from]);
        digest(home.run(command).output().stdout.as_bytes())
    };
    // One layout for several, each under its tag; a tag that is there is taken over.
    let layout = place("layout");
    for (image, tag) in [(&second, ":v1"), (&second, ":v2"), (&name, ":v1"), (&name, ":")] {
        let to = format!("oci:{layout}{}", if tag == ":" { "" } else { tag });
        let file = place("digest");
        home.coracle(["push", "--digestfile", &file, image, &to]).ok();
        let told = fs::read_to_string(file).unwrap();
        assert_eq!(told == whole, image == &name);
    }
    assert_eq!(skopeo(&format!("oci:{layout}:v1")), whole);
    assert_eq!(skopeo(&format!("oci:{layout}:v2")), digest(other.manifest.to_string().as_bytes()));
    let fresh = Home::new();
    let loaded = |from: &str| fresh.coracle(["pull", "-q", from]).ok();
    assert_eq!(loaded(&format!("oci:{layout}:v1")), digest(&image.config));
    let archive = format!("oci-archive:{}:v1", place("a.tar"));
    for _ in 0..2 {
        home.coracle(["push", &name, &archive]).ok();
    }
    assert_eq!((skopeo(&archive), loaded(&archive)), (whole.clone(), digest(&image.config)));
    let plain = format!("dir:{}", place("dir"));
    for image in [&second, &name] {
        home.coracle(["push", image, &plain]).ok();
    }
    assert_eq!((skopeo(&plain), loaded(&plain)), (whole, digest(&image.config)));
    assert_eq!(fs::read_dir(home.path().join("dir")).unwrap().count(), 4, "the image alone");
    let docker = format!("docker-archive:{}:team/app:1", place("d.tar"));
    home.coracle(["push", &name, &docker]).ok();
    assert_eq!(loaded(&docker), digest(&image.config));
    assert_eq!(id(&fresh, "team/app:1"), digest(&image.config));
    has(&home.coracle(["push", &name, &docker]).fails(125), &["doesn't support modifying"]);
    home.write("mine/thesis", "words");
    for to in ["oci:mine", "dir:mine"] {
        has(&home.coracle(["push", &name, to]).fails(1), &["not empty"]);
    }
    home.coracle(["push", "--compression-format", "zstd", &name, "oci:packed:z"]).ok();
    assert_eq!(loaded(&format!("oci:{}:z", place("packed"))), digest(&image.config));
}
