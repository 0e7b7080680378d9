//! Images that must be signed: by a flag, by the configuration, by podman's policy file.

use std::fs;

use serde_json::{Value, json};

use crate::requires;
use crate::support::image::{Image, Tar, digest};
use crate::support::registry::{Registry, Reply};
use crate::support::signing::{
    BUNDLE, OPENSSL, SIMPLE, Signer, artifact, payload, put_referrers, put_tagged, sign_by_tag,
};
use crate::support::{Home, Output, Run, has, source};

const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

fn image(text: &str) -> Image {
    Image::of(&[Tar::new().file("f", text).finish()])
}

fn digest_of(image: &Image) -> String {
    digest(image.manifest.to_string().as_bytes())
}

/// An image in a registry, and who signs.
struct Scene {
    home: Home,
    registry: Registry,
    key: Signer,
    digest: String,
    name: String,
    /// The digests of its configuration and layer.
    blobs: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        Self::at(Registry::new())
    }

    fn at(registry: Registry) -> Self {
        let home = Home::new();
        let key = Signer::new(&home, "team", "P-256");
        let image = image("one\n");
        let name = registry.push("app", "1", &image);
        let blobs = image.layers.iter().chain([&image.config]).map(|it| digest(it)).collect();
        Self { blobs, digest: digest_of(&image), home, registry, key, name }
    }

    fn repository(&self) -> String {
        format!("{}/app", self.registry.address)
    }

    fn sign(&self, by: &Signer, name: &str, of: &str) {
        let signature = by.signed(&payload(name, of));
        sign_by_tag(&self.registry, "app", &self.digest, &[signature]);
    }

    fn pull(&self) -> Run {
        self.home.coracle(["pull", "-q", "--verify", &self.key.public(), &self.name])
    }

    /// The message of a refusal: nothing but the manifest was fetched, and nothing is kept.
    fn refuses(&self) -> String {
        let fetched = || {
            let log = self.registry.log();
            log.iter().filter(|line| self.blobs.iter().any(|blob| line.contains(blob))).count()
        };
        let before = (fetched(), self.home.coracle(["images", "-q"]).ok());
        let error = self.pull().fails(1);
        assert_eq!((fetched(), self.home.coracle(["images", "-q"]).ok()), before, "{error}");
        has(&error, &["cannot verify", &self.digest, "team.pub", "--verify"]);
        error
    }
}

#[test]
fn each_kind_of_key_signs() {
    requires!(Program(OPENSSL));
    let scene = Scene::new();
    for kind in ["P-256", "P-384", "ED25519", "RSA2048"] {
        let key = Signer::new(&scene.home, &kind.to_lowercase(), kind);
        scene.sign(&key, &scene.repository(), &scene.digest);
        scene.home.coracle(["pull", "-q", "--verify", &key.public(), &scene.name]).ok();
        // The other one does not, and is named with what it is.
        has(&scene.refuses(), &["1 by another key", "ECDSA P-256"]);
    }
    // Either will do, and the one that is not there is an error all the same.
    let other = Signer::new(&scene.home, "other", "ED25519");
    scene.sign(&other, &scene.repository(), &scene.digest);
    let (one, two) = (scene.key.public(), other.public());
    scene.home.coracle(["pull", "-q", "--verify", &one, "--verify", &two, &scene.name]).ok();
    has(
        &scene.home.coracle(["pull", "--verify", "/no/such.pub", &scene.name]).fails(1),
        &["/no/such.pub"],
    );
}

#[test]
fn a_key_that_cannot_be_used_is_told_apart() {
    requires!(Program(OPENSSL));
    let home = Home::new();
    let (large, small) =
        (Signer::new(&home, "large", "P-521"), Signer::new(&home, "small", "RSA1024"));
    let text = home.write("text", "no key\n").display().to_string();
    for (path, why) in [
        (large.public(), "curve"),
        (small.public(), "2048"),
        (large.private(), "private key"),
        (text, "PUBLIC KEY"),
    ] {
        let error = home.coracle(["pull", "--verify", &path, "127.0.0.1:1/app"]).fails(1);
        has(&error, &["cannot use the key", &path, why]);
    }
}

#[test]
fn a_signature_speaks_of_one_digest_and_one_repository() {
    requires!(Program(OPENSSL));
    let scene = Scene::new();
    has(&scene.refuses(), &["there is no signature", ".sig", "referrers", "hint: ", "cosign sign"]);
    let other = Signer::new(&scene.home, "other", "P-256");
    scene.sign(&other, &scene.repository(), &scene.digest);
    has(&scene.refuses(), &["of 1 signature none is good (1 by another key)"]);
    let another = digest(b"another");
    scene.sign(&scene.key, &scene.repository(), &another);
    has(&scene.refuses(), &[&format!("1 for another image, {another}")]);
    scene.sign(&scene.key, "registry.example/team/app", &scene.digest);
    has(&scene.refuses(), &["1 for the name registry.example/team/app", "remapIdentity"]);
    // Of several one is enough, wherever it stands.
    let parts = [
        other.signed(&payload(&scene.repository(), &scene.digest)),
        scene.key.signed(&payload(&scene.repository(), &another)),
        scene.key.signed(&payload(&scene.name, &scene.digest)),
    ];
    sign_by_tag(&scene.registry, "app", &scene.digest, &parts);
    scene.pull().ok();
}

#[test]
fn what_refers_to_an_image_signs_it() {
    requires!(Program(OPENSSL));
    for api in [false, true] {
        let registry = Registry::with(move |request, reply| {
            // An API where there is none: the tag's content, in two pages.
            let Some(digest) = request.path.strip_prefix("/v2/app/referrers/") else {
                return reply;
            };
            if !api {
                return reply;
            }
            match digest.strip_suffix("?page=2") {
                Some(_) => Reply::new(307, "").header(
                    "Location",
                    format!("/v2/app/manifests/{}", digest[..71].replace(':', "-")),
                ),
                None => Reply::new(200, r#"{"schemaVersion":2,"manifests":[
                    {"mediaType":"x","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}]}"#)
                    .header("Link", format!("<{}?page=2>; rel=\"next\"", request.path)),
            }
        });
        let scene = Scene::at(registry);
        let put = |kind: &str, layer: &str, part: (Vec<u8>, Value)| {
            let manifest = artifact(&scene.registry, "app", layer, &[part]);
            put_referrers(&scene.registry, "app", &scene.digest, &[(kind, manifest)]);
        };
        let bundle = |key: &Signer, digest: &str, predicate: &str| {
            put(BUNDLE, BUNDLE, (key.bundle(digest, predicate), json!({})));
        };
        bundle(&scene.key, &digest(b"another"), SIGNED);
        has(&scene.refuses(), &["1 for another image"]);
        let other = Signer::new(&scene.home, "other", "P-256");
        bundle(&other, &scene.digest, SIGNED);
        has(&scene.refuses(), &["1 by another key"]);
        // Who says how it was built has not said that it is good.
        bundle(&scene.key, &scene.digest, "https://slsa.dev/provenance/v1");
        has(&scene.refuses(), &["1 an attestation"]);
        bundle(&scene.key, &scene.digest, SIGNED);
        scene.pull().ok();
        let bytes = image("one\n").manifest.to_string();
        put(BUNDLE, BUNDLE, (scene.key.message_bundle(bytes.as_bytes()), json!({})));
        scene.pull().ok();
        put(BUNDLE, BUNDLE, (scene.key.message_bundle(b"something else"), json!({})));
        has(&scene.refuses(), &["1 by another key"]);
        let keyless = br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial":{"certificate":{"rawBytes":""}},"dsseEnvelope":null}"#;
        put(BUNDLE, BUNDLE, (keyless.to_vec(), json!({})));
        has(&scene.refuses(), &["by a certificate, which is not verified here"]);
        let old = scene.key.signed(&payload(&scene.repository(), &scene.digest));
        put("application/vnd.dev.cosign.artifact.sig.v1+json", SIMPLE, old);
        scene.pull().ok();
    }
}

/// By Sigstore's own library: `tests/fixtures/signed/make.mjs`.
#[test]
fn bundles_of_another_implementation_are_read() {
    let file = |name: &str| fs::read(source("tests/fixtures/signed").join(name)).unwrap();
    let manifest = serde_json::from_slice(&file("manifest.json")).unwrap();
    let image = Image { manifest, config: file("config.json"), layers: vec![file("layer.tar")] };
    let (home, registry) = (Home::new(), Registry::new());
    let name = registry.push("app", "1", &image);
    let of = digest(&file("manifest.json"));
    assert_eq!(digest_of(&image), of, "the manifest was written as it was signed");
    let key = source("tests/fixtures/signed/team.pub").display().to_string();
    let pull = |bundle: &str| {
        let bytes = file(bundle);
        let kind = serde_json::from_slice::<Value>(&bytes).unwrap()["mediaType"].clone();
        let kind = kind.as_str().unwrap();
        let manifest = artifact(&registry, "app", kind, &[(bytes, json!({}))]);
        put_referrers(&registry, "app", &of, &[(kind, manifest)]);
        home.coracle(["pull", "-q", "--verify", &key, &name])
    };
    pull("statement.json").ok();
    home.coracle(["rmi", &name]).ok();
    has(&pull("another.json").fails(1), &["1 for another image"]);
    has(&pull("provenance.json").fails(1), &["1 an attestation"]);
    pull("message.json").ok();
}

#[test]
fn an_index_or_its_manifest_may_be_signed() {
    requires!(Program(OPENSSL));
    let scene = Scene::new();
    let kind = "application/vnd.oci.image.index.v1+json";
    let bytes = image("one\n").manifest.to_string();
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": scene.digest,
        "size": bytes.len(), "platform": {"architecture": "amd64", "os": "linux"},
    }]})
    .to_string();
    let whole = digest(index.as_bytes());
    let pull = |tag: &str| {
        scene.registry.put_manifest("app", tag, kind, index.as_bytes());
        let name = scene.registry.reference("app", tag);
        Home::new().coracle(["pull", "-q", "--verify", &scene.key.public(), &name]).output()
    };
    has(&pull("2").fails(1), &["no signature", &whole, &scene.digest]);
    // By podman, or by cosign.
    scene.sign(&scene.key, &scene.repository(), &scene.digest);
    pull("2").ok();
    scene.sign(&scene.key, &scene.repository(), &digest(b"another"));
    has(&pull("2").fails(1), &["1 for another image"]);
    let signature = scene.key.signed(&payload(&scene.repository(), &whole));
    sign_by_tag(&scene.registry, "app", &whole, &[signature]);
    pull("2").ok();
}

#[test]
fn an_image_that_is_here_is_verified_again() {
    requires!(Program(OPENSSL), UserNamespaces);
    let scene = Scene::new();
    let home = &scene.home;
    home.coracle(["pull", "-q", &scene.name]).ok();
    let key = scene.key.public();
    let run = |words: &[&str]| -> Output {
        let all = [&["run", "--rm", "--network", "none", "--verify", &key][..], words, &["/f"]];
        home.coracle(all.concat()).output()
    };
    has(&run(&[&scene.name]).fails(125), &["no signature", &scene.digest]);
    has(&run(&["--pull", "never", &scene.name]).fails(125), &["no signature"]);
    has(&run(&["--pull", "newer", &scene.name]).fails(125), &["no signature"]);
    has(
        &home.coracle(["create", "--verify", &key, &scene.name, "/f"]).fails(125),
        &["no signature"],
    );
    has(&run(&["--rootfs", "/"]).fails(125), &["a directory (--rootfs) has no signature"]);
    let id = home.coracle(["images", "-q"]).ok();
    has(&run(&[&id]).fails(125), &["name it as its registry does"]);
    scene.sign(&scene.key, &scene.repository(), &scene.digest);
    let blobs = scene.registry.blob_requests();
    // 126: it is no program, and was executed.
    run(&[&scene.name]).fails(126);
    run(&["--pull", "never", &scene.name]).fails(126);
    assert_eq!(scene.registry.blob_requests(), blobs + 2, "the payloads, and no layer");
    // The tag has moved on: what is here is what counts, until it is pulled.
    scene.registry.push("app", "1", &image("two\n"));
    run(&[&scene.name]).fails(126);
    let error = run(&["--pull", "newer", &scene.name]).fails(125);
    has(&error, &["cannot verify", "no signature"]);
    let error = run(&["--pull", "always", &scene.name]).fails(125);
    has(&error, &["cannot verify", "no signature"]);
    run(&[&scene.name]).fails(126);
    // A registry that is away says nothing, and nothing is no consent.
    let gone = Registry::with(|_, _| Reply::new(503, ""));
    let name = gone.reference("app", "1");
    home.coracle(["tag", &scene.name, &name]).ok();
    run(&["--retry", "0", &name]).fails(125);
    home.coracle(["run", "--rm", "--network", "none", &name, "/f"]).fails(126);
}

#[test]
fn the_configuration_may_ask_for_it() {
    requires!(Program(OPENSSL));
    let scene = Scene::new();
    let text = format!("verify = [{:?}]\n", scene.key.public());
    scene.home.write(".config/coracle/config.toml", text);
    let pull = |words: &[&str]| scene.home.coracle([&["pull", "-q"], words].concat()).output();
    has(&pull(&[&scene.name]).fails(1), &["no signature", "team.pub"]);
    pull(&["--verify", "none", &scene.name]).ok();
    let layout = crate::support::layout("busybox", "latest");
    has(&pull(&[&layout]).fails(1), &["signatures lie in registries", "--verify"]);
    scene.sign(&scene.key, &scene.repository(), &scene.digest);
    pull(&[&scene.name]).ok();
    // The image in the binary is as good as the binary.
    pull(&["hello"]).ok();
}

#[test]
fn artifacts_come_in_by_the_policy_too() {
    requires!(Program(OPENSSL));
    let scene = Scene::new();
    let mut manifest =
        artifact(&scene.registry, "files", "text/plain", &[(b"text".to_vec(), json!({}))]);
    manifest["artifactType"] = json!("application/x-text");
    let bytes = manifest.to_string();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    scene.registry.put_manifest("files", "1", kind, bytes.as_bytes());
    let name = scene.registry.reference("files", "1");
    let pull = || scene.home.coracle(["artifact", "pull", "-q", &name]).output();
    policy(&scene, &json!({}));
    has(&pull().fails(1), &["is refused", "reject"]);
    let host = scene.registry.address.to_string();
    policy(&scene, &json!({host.as_str(): signed(&scene, None)}));
    has(&pull().fails(1), &["cannot verify", "no signature"]);
    let of = digest(bytes.as_bytes());
    let signature = scene.key.signed(&payload(&name, &of));
    sign_by_tag(&scene.registry, "files", &of, &[signature]);
    pull().ok();
}

/// A policy in podman's place for it.
fn policy(scene: &Scene, scopes: &Value) {
    let text = json!({"default": [{"type": "reject"}], "transports": {"docker": scopes}});
    scene.home.write(".config/containers/policy.json", serde_json::to_vec_pretty(&text).unwrap());
}

fn signed(scene: &Scene, identity: Option<Value>) -> Value {
    let mut demand = json!({"type": "sigstoreSigned", "keyPath": scene.key.public()});
    if let Some(identity) = identity {
        demand["signedIdentity"] = identity;
    }
    json!([demand])
}

#[test]
fn the_policy_file_is_obeyed_by_scope() {
    requires!(Program(OPENSSL));
    let scene = Scene::new();
    let host = scene.registry.address.to_string();
    let pull = || scene.home.coracle(["pull", "-q", &scene.name]).output();
    let accept = json!([{"type": "insecureAcceptAnything"}]);
    policy(&scene, &json!({}));
    has(&pull().fails(1), &["is refused", "policy.json", "reject", "default", "hint: "]);
    policy(&scene, &json!({"": accept, host.as_str(): [{"type": "reject"}]}));
    has(&pull().fails(1), &["reject", &format!("docker:{host}")]);
    policy(&scene, &json!({host.as_str(): [{"type": "reject"}], scene.repository(): accept}));
    pull().ok();
    policy(
        &scene,
        &json!({scene.name.as_str(): [
        {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/usr/share/keyrings/x.gpg"}]}),
    );
    has(&pull().fails(1), &["signedBy", "GPG", "does not verify"]);
    policy(&scene, &json!({"*.0.0.1": signed(&scene, Some(json!({"type": "matchRepository"})))}));
    has(&pull().fails(1), &["no signature", "policy.json", "docker:*.0.0.1"]);
    scene.sign(&scene.key, &scene.repository(), &scene.digest);
    pull().ok();
    // Its own rule wants the tag, which cosign does not sign and skopeo does.
    policy(&scene, &json!({host.as_str(): signed(&scene, None)}));
    has(&pull().fails(1), &[&format!("for the name {}", scene.repository())]);
    scene.sign(&scene.key, &scene.name, &scene.digest);
    pull().ok();
    let by_digest = format!("{}@{}", scene.repository(), scene.digest);
    scene.home.coracle(["pull", "-q", &by_digest]).ok();
    // Every requirement must be met, and a flag comes on top.
    let other = Signer::new(&scene.home, "other", "ED25519");
    let mut both = signed(&scene, None);
    let data = std::fs::read(other.public()).unwrap();
    both.as_array_mut().unwrap().push(json!({"type": "sigstoreSigned", "keyData": base64(&data)}));
    policy(&scene, &json!({host.as_str(): both}));
    has(&pull().fails(1), &["1 by another key", "Ed25519"]);
    let parts = [&scene.key, &other].map(|key| key.signed(&payload(&scene.name, &scene.digest)));
    sign_by_tag(&scene.registry, "app", &scene.digest, &parts);
    pull().ok();
    policy(&scene, &json!({host.as_str(): accept}));
    scene.pull().ok();
    let third = Signer::new(&scene.home, "third", "P-384");
    scene.home.coracle(["pull", "-q", "--verify", &third.public(), &scene.name]).fails(1);
}

#[test]
fn a_copy_is_trusted_by_the_name_that_was_signed() {
    requires!(Program(OPENSSL));
    let scene = Scene::new();
    let pull = || scene.home.coracle(["pull", "-q", &scene.name]).output();
    scene.sign(&scene.key, "vendor.example/team/app:1", &scene.digest);
    let host = scene.registry.address.to_string();
    for (identity, good) in [
        (json!({"type": "matchExact"}), false),
        (json!({"type": "matchRepository"}), false),
        (json!({"type": "exactReference", "dockerReference": "vendor.example/team/app:1"}), true),
        (json!({"type": "exactReference", "dockerReference": "vendor.example/team/app:2"}), false),
        (json!({"type": "exactRepository", "dockerRepository": "vendor.example/team/app"}), true),
        (
            json!({"type": "remapIdentity", "prefix": host, "signedPrefix": "vendor.example/team"}),
            true,
        ),
        (json!({"type": "remapIdentity", "prefix": host, "signedPrefix": "vendor.example"}), false),
    ] {
        policy(&scene, &json!({host.as_str(): signed(&scene, Some(identity.clone()))}));
        let output = pull();
        assert_eq!(output.code() == 0, good, "{identity}: {output}");
    }
}

#[test]
fn a_policy_that_is_not_understood_lets_nothing_in() {
    let home = Home::new();
    let registry = Registry::new();
    let name = registry.push("app", "1", &image("one\n"));
    let broken = "{\n  \"default\": [\n    {\"type\": \"insecureAcceptAnythin\"}\n  ]\n}\n";
    home.write(".config/containers/policy.json", broken);
    has(
        &home.coracle(["pull", &name]).fails(1),
        &["policy.json", "line 3", "insecureAcceptAnythin"],
    );
    assert!(registry.log().is_empty(), "{:?}", registry.log());
    let other = home.write("other.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    let other = other.display().to_string();
    home.coracle(["pull", "-q", "--signature-policy", &other, &name]).ok();
    home.coracle(["pull", "--signature-policy", "/no/such.json", &name]).fails(1);
}

#[test]
fn what_is_loaded_and_imported_is_let_in_by_the_policy() {
    let home = Home::new();
    let registry = Registry::new();
    let name = registry.push("app", "1", &image("one\n"));
    home.coracle(["pull", "-q", &name]).ok();
    for (form, file) in [("docker-archive", "d.tar"), ("oci-archive", "o.tar"), ("oci-dir", "o")] {
        home.coracle(["save", "-q", "--format", form, "-o", file, &name]).ok();
    }
    let tar = home.write("root.tar", Tar::new().file("f", "x").finish()).display().to_string();
    let accept = json!([{"type": "insecureAcceptAnything"}]);
    let (whole, here) = (home.path().join("d.tar"), home.path().display().to_string());
    let file = |transport: &str, scope: &str| {
        let text =
            json!({"default": [{"type": "reject"}], "transports": {transport: {scope: accept}}});
        home.write(".config/containers/policy.json", text.to_string());
    };
    let load = |path: &str| home.coracle(["load", "-q", "-i", path]).output().code() == 0;
    for (transport, scope, works) in [
        ("docker", "", [false, false, false]),
        ("docker-archive", "", [true, false, false]),
        ("docker-archive", &*whole.display().to_string(), [false, false, false]),
        ("oci-archive", &*here, [false, true, false]),
        ("oci", &*here, [false, false, true]),
        ("oci", "/no/such", [false, false, false]),
    ] {
        file(transport, scope);
        assert_eq!(["d.tar", "o.tar", "o"].map(load), works, "{transport} {scope}");
        has(&home.coracle(["import", &tar]).fails(1), &["tarball", "reject"]);
        let pulled = home.coracle(["pull", "-q", "oci:o"]).output().code() == 0;
        assert_eq!(pulled, works[2], "{transport} {scope}");
    }
    file("tarball", "");
    home.coracle(["import", "-q", &tar]).ok();
    // What is here already is run without being asked again, as podman does.
    home.coracle(["inspect", &name]).ok();
}

#[test]
fn all_that_is_attached_is_listed() {
    requires!(Program(OPENSSL));
    let scene = Scene::new();
    let kind = "application/vnd.oci.image.index.v1+json";
    let bytes = image("one\n").manifest.to_string();
    let registry = &scene.registry;
    let provenance = artifact(
        registry,
        "app",
        "application/vnd.in-toto+json",
        &[(
            b"{}".to_vec(),
            json!({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}),
        )],
    )
    .to_string();
    let name = digest(provenance.as_bytes());
    registry.put_manifest(
        "app",
        &name,
        "application/vnd.oci.image.manifest.v1+json",
        provenance.as_bytes(),
    );
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": scene.digest,
            "size": bytes.len(), "platform": {"architecture": "amd64", "os": "linux"}},
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": name,
            "size": provenance.len(), "platform": {"architecture": "unknown", "os": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": scene.digest}},
    ]})
    .to_string();
    registry.put_manifest("app", "1", kind, index.as_bytes());
    let whole = digest(index.as_bytes());
    let tree = || scene.home.coracle(["image", "tree", "--attached", &scene.name]).ok();
    let empty = tree();
    has(&empty, &[&format!("Attached in {}", scene.repository()), &whole, &scene.digest]);
    assert_eq!(empty.lines().count(), 4, "{empty}");
    let signature = scene.key.signed(&payload(&scene.repository(), &whole));
    sign_by_tag(registry, "app", &whole, &[signature]);
    let sbom = artifact(registry, "app", "text/spdx+json", &[(b"[]".to_vec(), json!({}))]);
    put_tagged(registry, "app", &scene.digest, "sbom", &sbom);
    let evil = artifact(
        registry,
        "app",
        "application/x\u{1b}[2J\n└── forged",
        &[(b"1".to_vec(), json!({}))],
    );
    let bundle = artifact(registry, "app", BUNDLE, &[(b"2".to_vec(), json!({}))]);
    put_referrers(
        registry,
        "app",
        &whole,
        &[("application/x\u{1b}[2J\nforged", evil), (BUNDLE, bundle)],
    );
    let lines = tree();
    has(
        &lines,
        &[
            "signature: application/vnd.dev.cosign.simplesigning.v1+json Size: ",
            &format!("In: {}.sig", whole.replace(':', "-")),
            "SBOM: text/spdx+json",
            "attestation: https://slsa.dev/provenance/v0.2",
            "In: index",
            "attestation: application/vnd.dev.sigstore.bundle",
            "In: referrers",
            "artifact: application/x\\u{1b}[2J",
        ],
    );
    assert!(
        !lines.contains('\u{1b}') && !lines.lines().any(|line| line.starts_with("forged")),
        "{lines}"
    );
    // Of the image that is here, whatever its tag stands for by now.
    scene.home.coracle(["pull", "-q", &scene.name]).ok();
    registry.push("app", "1", &image("two\n"));
    assert_eq!(tree(), lines);
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
