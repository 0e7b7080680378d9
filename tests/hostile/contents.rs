//! Tables of contents that lie: they are hints, so whatever they say, the layer that comes is the
//! one that the manifest names.

use serde_json::{Value, json};

use crate::support::Home;
use crate::support::image::digest;
use crate::support::packed::{noise, stargz};
use crate::support::registry::Registry;

/// What a table says in place of the truth.
type Lie = Box<dyn FnOnce(&mut Value)>;

fn files() -> Vec<(String, Vec<u8>)> {
    (0..8).map(|number| (format!("f{number}"), noise(number, 50_000))).collect()
}

#[test]
fn tables_that_lie_change_nothing() {
    let files = files();
    let registry = Registry::new();
    let home = Home::new();
    let honest = registry.push("app", "1", &stargz(&files, |_| ()));
    home.coracle(["pull", "-q", &honest]).ok();
    let id = home.coracle(["images", "-q", "--no-trunc", &honest]).ok();
    let many = json!({"name": "x", "type": "reg", "offset": 1});
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!(r#"{{"version":1,"entries":[{{"name":"{}"}}]}}"#, "x".repeat(70 << 20));
    let set = |pointer: &'static str, value: Value| -> Lie {
        Box::new(move |table| {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            match (table.pointer_mut(parent).unwrap(), field.parse::<usize>()) {
                (Value::Array(list), Ok(at)) => list[at] = value,
                (parent, _) => parent[field] = value,
            }
        })
    };
    let text = |text: String| -> Lie { Box::new(move |table| *table = text.into()) };
    let lies: Vec<(&str, Lie)> = vec![
        ("beyond the blob", set("/entries/7/offset", (1_u64 << 40).into())),
        ("overflowing", set("/entries/7/offset", u64::MAX.into())),
        ("a fraction", set("/entries/3/offset", json!(1e300))),
        ("inner", set("/entries/3/innerOffset", u64::MAX.into())),
        ("none of them", set("/entries", json!([]))),
        ("a million pieces", set("/entries", vec![many; 400_000].into())),
        ("names of the host", set("/entries/2/name", "../../../etc/passwd".into())),
        ("no JSON", text("hello".into())),
        ("deep", text(format!(r#"{{"version":1,"x":{deep},"entries":[]}}"#))),
        ("long", text(long)),
    ];
    for (name, lie) in lies {
        let image = stargz(&files, lie);
        let evil = registry.push("evil", &name.replace(' ', "-"), &image);
        // From then on it is one of those that others are compared with.
        home.coracle(["pull", "-q", &evil]).timeout_s(60).ok();
        assert_ne!(home.coracle(["images", "-q", "--no-trunc", &evil]).ok(), id, "{name}");
    }
    home.coracle(["system", "check"]).ok();
}

#[test]
fn a_table_that_the_manifest_does_not_name_is_not_read() {
    let files = files();
    let registry = Registry::new();
    let home = Home::new();
    let honest = registry.push("app", "1", &stargz(&files, |_| ()));
    home.coracle(["pull", "-q", &honest]).ok();
    let mut changed = files.clone();
    changed[7].1 = noise(99, 50_000);
    let annotation = "/layers/0/annotations/containerd.io~1snapshot~1stargz~1toc.digest";
    for told in [digest(b"another").into(), json!("sha256:../x"), json!("")] {
        let lying = stargz(&changed, |_| ()).lie(annotation, told);
        let evil = registry.push("app", "2", &lying);
        let told = home.coracle(["pull", &evil]).output();
        assert!(told.code() == 0 && !told.stderr.contains("in part"), "{told}");
        home.coracle(["rmi", &evil]).ok();
    }
    home.coracle(["system", "check"]).ok();
}
