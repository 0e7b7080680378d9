//! Manifests, indexes and configs that do not match their bytes or each other.

use serde_json::{Value, json};

use super::Victim;
use crate::support::has;
use crate::support::image::{Image, Tar, digest, gzip};

fn good() -> Image {
    Image::of(&[Tar::new().file("f", "one\n").finish(), Tar::new().file("g", "two\n").finish()])
}

#[test]
fn bytes_that_do_not_match() {
    let victim = Victim::new();
    // Right size, other bytes.
    let mut swapped = good();
    let mut bytes = swapped.layers[1].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    swapped.layers[1] = bytes;
    has(&victim.refuses(&swapped), &["sha256:"]);
    let mut config = good();
    config.config[10] ^= 1;
    victim.refuses(&config);
    for size in [
        json!(0),
        json!(1),
        json!(1_000_000),
        json!(-5),
        json!(9_223_372_036_854_775_807u64),
        json!("5"),
        Value::Null,
    ] {
        victim.refuses(&good().lie("/layers/0/size", size.clone()));
        victim.refuses(&good().lie("/config/size", size));
    }
    let other = digest(b"something else");
    victim.refuses(&good().lie("/layers/0/digest", json!(other)));
    victim.refuses(&good().lie("/config/digest", json!(other)));
}

#[test]
fn unpacked_bytes_that_do_not_match() {
    let victim = Victim::new();
    let with_config = |change: &dyn Fn(&mut Value)| {
        let image = good();
        let mut config: Value = serde_json::from_slice(&image.config).unwrap();
        change(&mut config);
        Image::with_config(config.to_string().into_bytes(), image.layers)
    };
    victim
        .refuses(&with_config(&|config| config["rootfs"]["diff_ids"][1] = json!(digest(b"other"))));
    victim.refuses(&with_config(&|config| config["rootfs"]["diff_ids"] = json!([])));
    victim.refuses(&with_config(&|config| {
        config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(digest(b"one more")));
    }));
    victim.refuses(&with_config(&|config| {
        config["rootfs"]["diff_ids"].as_array_mut().unwrap().reverse();
    }));
    victim.refuses(&with_config(&|config| {
        config["rootfs"]["diff_ids"][0] = json!("sha256:../../../../x");
    }));
    // A gzip stream with more after its end, or cut.
    let cut = |layer: &[u8]| layer[..layer.len() - 5].to_vec();
    let image = good();
    victim.refuses(&Image::with_config(
        image.config.clone(),
        image.layers.iter().map(|layer| cut(layer)).collect(),
    ));
    let garbage = |layer: &[u8]| [layer, b"garbage after the stream"].concat();
    let image = good();
    victim.pull_image(&Image::with_config(
        image.config.clone(),
        image.layers.iter().map(|layer| garbage(layer)).collect(),
    ));
}

#[test]
fn digests_that_are_paths() {
    let victim = Victim::new();
    for text in [
        "sha256:../../../../../../tmp/x",
        "sha256:",
        "sha256:abc",
        "sha256",
        "",
        "/etc/passwd",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256:ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ",
    ] {
        victim.refuses(&good().lie("/layers/0/digest", json!(text)));
        victim.refuses(&good().lie("/config/digest", json!(text)));
    }
    let upper = good();
    let text = upper.manifest["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .replace(|c: char| c.is_ascii_lowercase(), "A");
    victim.refuses(&good().lie("/layers/0/digest", json!(text)));
}

#[test]
fn one_document_in_two_roles() {
    let victim = Victim::new();
    let image = good();
    let mut both = image.manifest.clone();
    both["manifests"] = json!([{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(b"x"), "size": 1}]);
    victim.refuses(&Image { manifest: both, ..image.clone() });
    victim.refuses(
        &image.clone().lie("/mediaType", json!("application/vnd.oci.image.index.v1+json")),
    );
    victim.refuses(&image.clone().lie("/mediaType", json!("text/html")));
    victim.refuses(&image.clone().lie("/schemaVersion", json!(1)));
    victim.refuses(&image.lie("/layers", json!("none")));
    // What the registry says it is and what it says of itself differ.
    let text = good().manifest.to_string();
    victim.registry.push("evil", "2", &good());
    victim.registry.put_manifest(
        "evil",
        "2",
        "application/vnd.oci.image.index.v1+json",
        text.as_bytes(),
    );
    let output =
        victim.home.coracle(["pull", "-q", &victim.registry.reference("evil", "2")]).output();
    victim.unharmed(&output);
    output.fails(1);
}

#[test]
fn indexes_within_indexes() {
    let victim = Victim::new();
    let media_type = "application/vnd.oci.image.index.v1+json";
    // One that names itself cannot be made; a long chain can.
    let mut inner =
        json!({"schemaVersion": 2, "mediaType": media_type, "manifests": []}).to_string();
    for _ in 0..40 {
        victim.registry.put_manifest(
            "evil",
            &digest(inner.as_bytes()),
            media_type,
            inner.as_bytes(),
        );
        inner = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [{
            "mediaType": media_type, "digest": digest(inner.as_bytes()), "size": inner.len(),
            "platform": {"architecture": "amd64", "os": "linux"},
        }]})
        .to_string();
    }
    victim.registry.put_manifest("evil", "1", media_type, inner.as_bytes());
    let output = victim
        .home
        .coracle(["pull", &victim.registry.reference("evil", "1")])
        .timeout_s(20)
        .output();
    victim.unharmed(&output);
    output.fails(1);
}

#[test]
fn documents_without_measure() {
    let victim = Victim::new();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let huge = format!("{{\"schemaVersion\":2,\"x\":\"{}\"}}", "x".repeat(12 << 20));
    let deep = "[".repeat(200_000);
    for text in [huge.as_str(), &deep, "", "null", "{", "\u{feff}{}", "{\"schemaVersion\":2}"] {
        victim.registry.put_manifest("evil", "1", media_type, text.as_bytes());
        let output = victim
            .home
            .coracle(["pull", &victim.registry.reference("evil", "1")])
            .timeout_s(20)
            .output();
        victim.unharmed(&output);
        output.fails(1);
    }
    let image = good();
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["x"] = json!("x".repeat(40 << 20));
    victim.refuses(&Image::with_config(config.to_string().into_bytes(), image.layers));
    let image = good();
    victim.refuses(&Image::with_config(deep.clone().into_bytes(), image.layers));
}

/// `urls` of a layer name a host that would get the credential, or be asked at all.
#[test]
fn foreign_addresses_are_never_asked() {
    let victim = Victim::new();
    let elsewhere = crate::support::registry::Registry::new();
    let mut image = good();
    image.manifest["layers"][0]["urls"] = json!([format!("http://{}/layer", elsewhere.address)]);
    image.manifest["layers"][0]["mediaType"] =
        json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    victim.pull_image(&image);
    assert!(elsewhere.log().is_empty(), "{:?}", elsewhere.log());
}

#[test]
fn compressed_otherwise_than_said() {
    let victim = Victim::new();
    // Twice packed, not packed, and another packing than the media type names.
    let tar = Tar::new().file("f", "x\n").finish();
    let image = Image::of(std::slice::from_ref(&tar));
    for layer in [gzip(&gzip(&tar)), tar.clone(), b"\x28\xb5\x2f\xfd garbage".to_vec(), Vec::new()]
    {
        victim.pull_image(&Image::with_config(image.config.clone(), vec![layer]));
    }
    // A zstd frame that asks for a window of 2 GiB.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    // Of a tree that is not in the store yet, or the bytes would not be looked at.
    let image = Image::of(&[Tar::new().file("another", "x\n").finish()]);
    let bomb = Image::with_config(image.config.clone(), vec![window.to_vec()])
        .lie("/layers/0/mediaType", json!("application/vnd.oci.image.layer.v1.tar+zstd"));
    victim.refuses(&bomb);
}

/// More layers, and more images, than anybody has: refused before any of them is asked for.
#[test]
fn lists_without_measure() {
    let victim = Victim::new();
    let image = good();
    let layer = image.manifest["layers"][0].clone();
    let mut many = image.clone();
    many.manifest["layers"] = json!(vec![layer; 1001]);
    has(&victim.refuses(&many), &["1001 layers"]);
    let kind = "application/vnd.oci.image.index.v1+json";
    let entry = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(b"x"), "size": 1, "platform": {"architecture": "amd64", "os": "linux"}});
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": vec![entry; 10_001]});
    victim.registry.put_manifest("evil", "9", kind, index.to_string().as_bytes());
    let name = victim.registry.reference("evil", "9");
    let output = victim.home.coracle(["pull", &name]).timeout_s(20).output();
    victim.unharmed(&output);
    has(&output.fails(1), &["10001 manifests"]);
    assert_eq!(victim.registry.blob_requests(), 0, "{:?}", victim.registry.log());
}

/// A 64 MiB configuration is not read to its end.
#[test]
fn a_configuration_without_measure_costs_no_memory() {
    let victim = Victim::new();
    let image = Image::with_config(vec![b' '; 64 << 20], good().layers);
    victim.refuses(&image.clone().lie("/config/size", json!(5)));
    victim.refuses(&image);
    assert!(victim.registry.sent() < 32 << 20, "{} bytes were taken", victim.registry.sent());
}
