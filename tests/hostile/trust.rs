//! Registries that offer signatures of their own making: none of it is believed, and none of it
//! costs more than a look.

use serde_json::{Value, json};

use super::Victim;
use crate::requires;
use crate::support::has;
use crate::support::image::{Image, Tar, digest};
use crate::support::registry::{Registry, Reply};
use crate::support::signing::{
    BUNDLE, OPENSSL, SIMPLE, Signer, artifact, payload, put_referrers, put_tagged, sign_by_tag,
};

struct Scene {
    victim: Victim,
    key: Signer,
    digest: String,
    name: String,
}

impl Scene {
    fn new() -> Self {
        Self::at(Registry::new())
    }

    fn at(registry: Registry) -> Self {
        let victim = Victim { registry, ..Victim::new() };
        let home = &victim.home;
        let image = Image::of(&[Tar::new().file("f", "x\n").finish()]);
        let name = victim.registry.push("app", "1", &image);
        let key = Signer::in_directory(&home.path().join("run/keys"), "team", "P-256");
        Self { digest: digest(image.manifest.to_string().as_bytes()), key, name, victim }
    }

    fn refuses(&self) -> String {
        let words = ["pull", "-q", "--retry=0", "--verify", &self.key.public(), &self.name];
        let output = self.victim.home.coracle(words).timeout_s(30).output();
        self.victim.unharmed(&output);
        assert_eq!(self.victim.home.coracle(["images", "-q"]).ok(), "", "{output}");
        let error = output.fails(1);
        assert!(!error.contains('\u{1b}') && error.len() < 4000, "{error}");
        error
    }

    fn put_sig(&self, manifest: &Value) {
        put_tagged(&self.victim.registry, "app", &self.digest, "sig", manifest);
    }
}

/// A key vouches for bytes, and the bytes for nothing that coracle knows.
#[test]
fn signed_words_that_are_no_signature() {
    requires!(Program(OPENSSL));
    let scene = Scene::new();
    let name = scene.name.rsplit_once(':').unwrap().0.to_owned();
    let right: Value = serde_json::from_slice(&payload(&name, &scene.digest)).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut changed = right.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed.to_string()
    };
    let mut unknown = right.clone();
    unknown["critical"]["expires"] = json!("yesterday");
    let other = digest(b"other");
    let twice = right.to_string().replace(
        "\"docker-manifest-digest\"",
        &format!("\"docker-manifest-digest\":\"{other}\",\"docker-manifest-digest\""),
    );
    for text in [
        with("/critical/type", json!("atomic container signature")),
        with("/critical/image/docker-manifest-digest", json!(scene.digest.to_uppercase())),
        with("/critical/image/docker-manifest-digest", json!([scene.digest])),
        with("/critical/identity/docker-reference", json!("\u{1b}[2J")),
        with("/critical/identity/docker-reference", json!("../app")),
        with("/critical", Value::Null),
        unknown.to_string(),
        twice,
        "[".repeat(100_000),
        String::new(),
    ] {
        let signature = scene.key.signed(text.as_bytes());
        sign_by_tag(&scene.victim.registry, "app", &scene.digest, &[signature]);
        has(&scene.refuses(), &["of 1 signature none is good"]);
    }
    // The right words, and not the signature of them.
    let bytes = right.to_string().into_bytes();
    for signature in ["", "!!!!", "AAAA", &scene.key.sign(b"other words")] {
        let part = (bytes.clone(), json!({"dev.cosignproject.cosign/signature": signature}));
        sign_by_tag(&scene.victim.registry, "app", &scene.digest, &[part]);
        scene.refuses();
    }
    sign_by_tag(&scene.victim.registry, "app", &scene.digest, &[(bytes, json!({}))]);
    scene.refuses();
}

#[test]
fn manifests_of_signatures_without_measure() {
    requires!(Program(OPENSSL));
    let scene = Scene::new();
    let registry = &scene.victim.registry;
    let part = scene.key.signed(&payload("x/y", &scene.digest));
    let one = artifact(registry, "app", SIMPLE, &[part]);
    let with = |pointer: &str, value: Value| {
        let mut changed = one.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    for manifest in [
        with("/layers/0/digest", json!("sha256:../../x")),
        with("/layers/0/digest", json!(digest(b"not there"))),
        with("/layers/0/size", json!(1u64 << 40)),
        with("/layers/0/size", json!(-1)),
        with("/layers/0/size", json!(3)),
        with("/layers/0/annotations", json!("none")),
        with("/layers/0/mediaType", json!("application/octet-stream")),
        with("/layers", json!(vec![one["layers"][0].clone(); 1001])),
        with("/layers", json!("none")),
        json!({"layers": one["layers"], "manifests": one["layers"]}),
        json!([]),
        Value::Null,
    ] {
        scene.put_sig(&manifest);
        scene.refuses();
    }
    let tag = format!("{}.sig", scene.digest.replace(':', "-"));
    for text in ["[".repeat(200_000), " ".repeat(12 << 20), "{".into(), String::new()] {
        registry.put_manifest("app", &tag, "application/json", text.as_bytes());
        scene.refuses();
    }
    // A payload of 32 MiB that is told to be small.
    let large = vec![b' '; 32 << 20];
    let lie = artifact(registry, "app", SIMPLE, &[(large, json!({}))]);
    let sent = registry.sent();
    let mut small = lie.clone();
    small["layers"][0]["size"] = json!(100);
    for manifest in [lie, small] {
        scene.put_sig(&manifest);
        scene.refuses();
    }
    assert!(registry.sent() - sent < 16 << 20, "{} bytes", registry.sent() - sent);
}

#[test]
fn referrers_without_end() {
    requires!(Program(OPENSSL));
    let listed = json!({"schemaVersion": 2, "manifests": (0..30).map(|n| json!({
        "mediaType": "x", "artifactType": "y", "size": n,
        "digest": digest(n.to_string().as_bytes())})).collect::<Vec<_>>()})
    .to_string();
    for link in ["?page=1", "http://169.254.169.254/latest", "file:///etc/passwd"] {
        let (listed, link) = (listed.clone(), link.to_owned());
        let registry = Registry::with(move |request, reply| {
            match request.path.strip_prefix("/v2/app/referrers/") {
                Some(_) => Reply::new(200, listed.clone())
                    .header("Link", format!("<{link}>; rel=\"next\"")),
                None => reply,
            }
        });
        let scene = Scene::at(registry);
        scene.refuses();
        assert!(scene.victim.registry.log().len() < 100);
    }
    for status in [500, 403] {
        let registry =
            Registry::with(move |request, reply| match request.path.contains("/referrers/") {
                true => Reply::new(status, ""),
                false => reply,
            });
        // Who does not answer has not said that there is none.
        has(&Scene::at(registry).refuses(), &[&status.to_string()]);
    }
}

/// Bundles whose parts are a key's, and whose whole is not.
#[test]
fn bundles_that_were_put_together() {
    requires!(Program(OPENSSL));
    let scene = Scene::new();
    let good = scene.key.bundle(&scene.digest, "https://sigstore.dev/cosign/sign/v1");
    let good: Value = serde_json::from_slice(&good).unwrap();
    let other = scene.key.bundle(&digest(b"x"), "https://sigstore.dev/cosign/sign/v1");
    let other: Value = serde_json::from_slice(&other).unwrap();
    let with = |pointer: &str, value: &Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value.clone();
        changed
    };
    let mut two = good.clone();
    two["messageSignature"] = json!({"signature": "AAAA"});
    let mut certified = good.clone();
    certified["verificationMaterial"]["certificate"] = json!({"rawBytes": "AAAA"});
    for bundle in [
        with("/dsseEnvelope/payload", &other["dsseEnvelope"]["payload"]),
        with("/dsseEnvelope/signatures", &other["dsseEnvelope"]["signatures"]),
        with("/dsseEnvelope/payloadType", &json!("application/vnd.in-toto+json ")),
        with("/dsseEnvelope/signatures", &json!([])),
        with("/dsseEnvelope/signatures", &json!(vec![json!({"sig": "AAAA"}); 5000])),
        with("/dsseEnvelope", &Value::Null),
        with("/mediaType", &json!("application/json")),
        two,
        certified,
        Value::Null,
    ] {
        let bytes = bundle.to_string().into_bytes();
        let manifest = artifact(&scene.victim.registry, "app", BUNDLE, &[(bytes, json!({}))]);
        put_referrers(&scene.victim.registry, "app", &scene.digest, &[(BUNDLE, manifest)]);
        has(&scene.refuses(), &["none is good"]);
    }
}
