//! Images saved, loaded, imported, and what is told of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::in_two_packings;
use super::podman::podman;
use crate::requires;
use crate::support::image::{Image, Tar, digest, gzip};
use crate::support::needs::pass;
use crate::support::registry::{Registry, Reply};
use crate::support::{Home, has};

/// Two layers; the second takes a file of the first away.
fn two_layers() -> Image {
    Image::of(&[
        Tar::new().file("a", "one\n").file("b", "two\n").finish(),
        Tar::new().file(".wh.a", "").file("c", "three\n").finish(),
    ])
}

fn image_id(home: &Home, name: &str) -> String {
    home.coracle(["inspect", "--format", "{{.Id}}", name]).ok()
}

fn raw(home: &Home, name: &str) -> String {
    home.coracle(["inspect", "--raw", name]).ok()
}

/// The members of an archive and their contents.
fn members(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    use std::io::Read as _;
    let mut archive = tar::Archive::new(archive);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

#[test]
fn every_form_comes_back_as_it_was() {
    let (registry, home) = (Registry::new(), Home::new());
    let image = two_layers();
    let reference = registry.push("app", "1", &image);
    home.coracle(["pull", "-q", &reference]).ok();
    home.coracle(["tag", &reference, "app:1"]).ok();
    let (id, manifest) = (image_id(&home, "app:1"), raw(&home, "app:1"));
    for form in ["docker-archive", "oci-archive", "oci-dir", "docker-dir"] {
        let output = home.path().join(form);
        let output = output.to_str().unwrap();
        home.coracle(["save", "--format", form, "-o", output, "app:1"]).ok();
        let other = Home::new();
        let told = other.coracle(["load", "-q", "-i", output]).ok();
        let name = if form == "docker-dir" {
            assert_eq!(told, format!("Loaded image ID: {id}"));
            id.clone()
        } else {
            assert_eq!(told, "Loaded image: app:1", "{form}");
            "app:1".to_owned()
        };
        assert_eq!(image_id(&other, &name), id, "{form}");
        if form.starts_with("oci") {
            assert_eq!(raw(&other, &name), manifest, "{form}: its digest is what it was");
        }
        // The loaded one has the same tree, and can be saved again.
        let again = other.path().join("again");
        other.coracle(["save", "-o", again.to_str().unwrap(), &name]).ok();
        let layers = |archive: &[u8]| -> Vec<String> {
            members(archive)
                .into_iter()
                .map(|(name, _)| name)
                .filter(|it| it.contains(".tar"))
                .collect()
        };
        let whole = home.coracle(["save", "app:1"]);
        let path = home.path().join("whole");
        home.coracle(["save", "-o", path.to_str().unwrap(), "app:1"]).ok();
        assert_eq!(whole.output().code(), 0);
        assert_eq!(layers(&fs::read(&again).unwrap()), layers(&fs::read(&path).unwrap()), "{form}");
    }
}

#[test]
fn archives_are_the_same_each_time_and_hold_each_layer_once() {
    let (registry, home) = (Registry::new(), Home::new());
    let first = two_layers();
    let mut config: Value = serde_json::from_slice(&first.config).unwrap();
    config["author"] = "someone".into();
    let second = Image::with_config(config.to_string().into_bytes(), first.layers.clone());
    for (name, image) in [("first", &first), ("second", &second)] {
        let reference = registry.push(name, "1", image);
        home.coracle(["pull", "-q", &reference]).ok();
        home.coracle(["tag", &reference, &format!("{name}:1")]).ok();
    }
    let save = |name: &str| {
        let path = home.path().join(name);
        home.coracle(["save", "-o", path.to_str().unwrap(), "first:1", "second:1"]).ok();
        fs::read(path).unwrap()
    };
    let archive = save("one.tar");
    assert_eq!(archive, save("other.tar"));
    let members = members(&archive);
    let layers = members.iter().filter(|(name, _)| name.rsplit('.').next() == Some("tar"));
    assert_eq!(layers.count(), 2, "shared layers stand there once");
    let manifest = &members.iter().find(|(name, _)| name == "manifest.json").unwrap().1;
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    assert_eq!(manifest[1]["RepoTags"][0], "second:1");
    // Both come back, through a pipe and compressed too.
    for bytes in [archive.clone(), gzip(&archive), zstd::encode_all(&archive[..], 1).unwrap()] {
        let other = Home::new();
        let told = other.coracle(["load", "-q"]).stdin(bytes).ok();
        assert_eq!(told, "Loaded image: first:1\nLoaded image: second:1");
        assert_eq!(image_id(&other, "second:1"), image_id(&home, "second:1"));
    }
}

/// kaniko, ko, jib and crane compress the layers of their docker archives.
#[test]
fn compressed_layers_in_a_docker_archive() {
    let layer = Tar::new().file("f", "x\n").finish();
    let image = Image::of(std::slice::from_ref(&layer));
    let config = String::from_utf8(image.config.clone()).unwrap();
    let archive = Tar::new()
        .file("config.json", &config)
        .entry(&crate::support::image::Entry {
            name: b"layer.tar.gz",
            data: &gzip(&layer),
            ..Default::default()
        })
        .file(
            "manifest.json",
            r#"[{"Config":"config.json","RepoTags":["z:1"],"Layers":["layer.tar.gz"]}]"#,
        )
        .finish();
    let home = Home::new();
    assert_eq!(home.coracle(["load", "-q"]).stdin(archive).ok(), "Loaded image: z:1");
    assert_eq!(image_id(&home, "z:1"), digest(&image.config));
}

#[test]
fn others_read_what_is_saved() {
    requires!(Program("/usr/bin/skopeo"));
    let (registry, home) = (Registry::new(), Home::new());
    let reference = registry.push("app", "1", &two_layers());
    home.coracle(["pull", "-q", &reference]).ok();
    home.coracle(["tag", &reference, "app:1"]).ok();
    let id = image_id(&home, "app:1");
    for (form, transport) in [
        ("docker-archive", "docker-archive"),
        ("oci-archive", "oci-archive"),
        ("oci-dir", "oci"),
        ("docker-dir", "dir"),
    ] {
        let output = home.path().join(form);
        home.coracle(["save", "--format", form, "-o", output.to_str().unwrap(), "app:1"]).ok();
        let copy = home.path().join(format!("{form}-copy"));
        let mut skopeo = Command::new("/usr/bin/skopeo");
        skopeo.args(["--insecure-policy", "copy", "-q"]);
        skopeo.arg(format!("{transport}:{}", output.display()));
        skopeo.arg(format!("dir:{}", copy.display()));
        home.run(skopeo).ok();
        let manifest = fs::read_to_string(copy.join("manifest.json")).unwrap();
        has(&manifest, &[&id]);
        // And back: what skopeo wrote is read.
        let other = Home::new();
        other.coracle(["load", "-q", "-i", copy.to_str().unwrap()]).ok();
        assert_eq!(image_id(&other, &id), id, "{form}");
    }
}

/// Several images at once, there and back; and umoci, which reads a layout by its tags.
#[test]
fn several_images_go_to_others_and_come_back() {
    requires!(Program("/usr/bin/umoci"));
    let (registry, home) = (Registry::new(), Home::new());
    let one = two_layers();
    let other = Image::of(&[Tar::new().file("other", "x\n").finish()]);
    for (name, image) in [("one", &one), ("other", &other)] {
        let reference = registry.push(name, "1", image);
        home.coracle(["pull", "-q", &reference]).ok();
        home.coracle(["tag", &reference, &format!("localhost/{name}:1")]).ok();
    }
    let run = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words);
        home.run(command)
    };
    let layout = home.path().join("layout");
    let layout = layout.to_str().unwrap();
    for name in ["one", "other"] {
        home.coracle(["push", &format!("localhost/{name}:1"), &format!("oci:{layout}:{name}")])
            .ok();
    }
    let listed = run("/usr/bin/umoci", &["ls", "--layout", layout]).ok();
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["one", "other"]);
    let image = format!("{layout}:one");
    run("/usr/bin/umoci", &["unpack", "--rootless", "--image", &image, "bundle"]).ok();
    assert_eq!(fs::read_to_string(home.path().join("bundle/rootfs/c")).unwrap(), "three\n");
    assert!(!home.path().join("bundle/rootfs/a").exists());
    // What umoci adds to is read by us.
    home.write("bundle/rootfs/d", "four\n");
    run("/usr/bin/umoci", &["repack", "--image", &format!("{layout}:more"), "bundle"]).ok();
    let fresh = Home::new();
    fresh.coracle(["pull", "-q", &format!("oci:{layout}:more")]).ok();
    let saved = |form: &str| {
        let path = home.path().join(form).display().to_string();
        home.coracle([
            "save",
            "--format",
            form,
            "-o",
            &path,
            "localhost/one:1",
            "localhost/other:1",
        ])
        .ok();
        path
    };
    let (docker, oci) = (saved("docker-archive"), saved("oci-archive"));
    if pass() != "range" {
        return;
    }
    requires!(UserNamespaces, Program("/usr/bin/podman"), Program("/usr/bin/buildah"));
    has(&podman(&["load", "-i", &docker]).ok(), &["localhost/one:1", "localhost/other:1"]);
    let theirs = |name: &str| podman(&["inspect", "-f", "{{.Id}}", name]).ok();
    for (name, image) in [("localhost/one:1", &one), ("localhost/other:1", &other)] {
        assert_eq!(format!("sha256:{}", theirs(name)), digest(&image.config));
    }
    let back = home.path().join("podmans.tar").display().to_string();
    podman(&["save", "-q", "-m", "-o", &back, "localhost/one:1", "localhost/other:1"]).ok();
    let told = fresh.coracle(["load", "-q", "-i", &back]).ok();
    has(&told, &["Loaded image: localhost/one:1", "Loaded image: localhost/other:1"]);
    assert_eq!(image_id(&fresh, "localhost/one:1"), digest(&one.config));
    for form in ["oci-archive", "oci-dir"] {
        let back = home.path().join(format!("podmans-{form}")).display().to_string();
        podman(&["save", "-q", "--format", form, "-o", &back, "localhost/one:1"]).ok();
        let fresh = Home::new();
        // podman writes the configuration anew there: the archives of the layers are the same.
        let told = fresh.coracle(["load", "-q", "-i", &back]).ok();
        let loaded = told.split_once(": ").unwrap().1;
        let layers = |home: &Home, name: &str| {
            home.coracle(["inspect", "-f", "{{json .RootFS.Layers}}", name]).ok()
        };
        assert_eq!(layers(&fresh, loaded), layers(&home, "localhost/one:1"), "{form}");
    }
    // One of several in an archive, by its name.
    let id = podman(&["pull", "-q", &format!("oci-archive:{oci}:localhost/other:1")]).ok();
    assert_eq!(format!("sha256:{id}"), digest(&other.config));
    let from = format!("docker-archive:{docker}:localhost/one:1");
    let buildah = ["--storage-driver=vfs", "from", "--pull", "--name", "ours", &from];
    assert_eq!(run("/usr/bin/buildah", &buildah).ok().lines().last(), Some("ours"));
    let words = ["--storage-driver=vfs", "inspect", "--format", "{{.FromImageID}}", "ours"];
    let id = run("/usr/bin/buildah", &words).ok();
    assert_eq!(format!("sha256:{id}"), digest(&one.config));
}

#[test]
fn a_layer_that_came_in_another_compression_is_saved_all_the_same() {
    let (registry, home) = (Registry::new(), Home::new());
    let (packed, plain) = in_two_packings(&registry, &home);
    let tar = &plain.layers[0];
    let fetched = |digest: &str| registry.log().iter().any(|line| line.contains(digest));
    assert!(!fetched(&digest(tar)), "the layer was here");
    for form in ["docker-archive", "oci-archive"] {
        let path = home.path().join(form);
        let reference = registry.push("app", "plain", &plain);
        home.coracle(["save", "--format", form, "-o", path.to_str().unwrap(), &reference]).ok();
        let other = Home::new();
        other.coracle(["load", "-q", "-i", path.to_str().unwrap()]).ok();
        assert_eq!(image_id(&other, &reference), digest(&packed.config), "{form}");
    }
}

#[test]
fn nothing_is_saved_by_halves() {
    let (registry, home) = (Registry::new(), Home::new());
    let image = two_layers();
    let reference = registry.push("app", "1", &image);
    home.coracle(["pull", "-q", &reference]).ok();
    let blob = home.store().join("blobs/sha256").join(&digest(&image.layers[0])[7..]);
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).unwrap();
    for (form, name) in [("oci-archive", "a.tar"), ("docker-archive", "b.tar"), ("oci-dir", "c")] {
        let output = home.path().join(name);
        home.coracle(["save", "--format", form, "-o", output.to_str().unwrap(), &reference])
            .fails(1);
        assert!(!output.exists(), "{form}");
    }
    home.coracle(["save", "-o", "x.tar", "no-such-image"]).fails(1);
    home.coracle(["save", "--format", "oci-dir", &reference]).fails(125);
    home.write("full/thesis.txt", "words");
    let error = home.coracle(["save", "--format", "oci-dir", "-o", "full", &reference]).fails(1);
    has(&error, &["not empty"]);
    assert!(home.path().join("full/thesis.txt").exists());
}

#[test]
fn a_root_file_system_becomes_an_image() {
    let home = Home::new();
    let tar = Tar::new().directory("etc/", 0o755).file("etc/motd", "hello\n").finish();
    let file = home.write("root.tar", &tar);
    let id = home
        .coracle([
            "import",
            "-q",
            "-m",
            "by hand",
            "-c",
            "CMD [\"/bin/sh\"]",
            "--change",
            "ENV A=1 B=\"two words\"",
            file.to_str().unwrap(),
            "mine:1",
        ])
        .ok();
    assert_eq!(image_id(&home, "mine:1"), id);
    let config = home.coracle(["inspect", "--format", "{{json .Config}}", "mine:1"]).ok();
    has(&config, &[r#""Cmd":["/bin/sh"]"#, r#""Env":["A=1","B=two words"]"#]);
    let layers = home.coracle(["inspect", "--format", "{{json .RootFS.Layers}}", "mine:1"]).ok();
    assert_eq!(layers, format!("[\"{}\"]", digest(&tar)));
    has(&home.coracle(["history", "mine:1"]).ok(), &["by hand"]);
    // Compressed, through a pipe, without a name: the same layer.
    for bytes in [gzip(&tar), zstd::encode_all(&tar[..], 3).unwrap()] {
        let id = home.coracle(["import", "-q", "-"]).stdin(bytes).ok();
        let again = home.coracle(["inspect", "--format", "{{json .RootFS.Layers}}", &id]).ok();
        assert_eq!(again, layers);
    }
    home.coracle(["import", "-c", "RUN true", file.to_str().unwrap()]).fails(125);
    // The language is commit's: health checks, and an entry point that leaves the CMD before it.
    let words = ["-c", "CMD [\"a\"]", "-c", "ENTRYPOINT run", "-c", "HEALTHCHECK CMD true"];
    let words = ["import", "-q"].iter().chain(&words).copied();
    home.coracle(words.chain([file.to_str().unwrap(), "told:1"])).ok();
    let config = home.coracle(["inspect", "--format", "{{json .Config}}", "told:1"]).ok();
    has(&config, &[r#""Cmd":["a"]"#, r#""Entrypoint":["/bin/sh","-c","run"]"#, "CMD-SHELL"]);
    let platform =
        ["import", "-q", "--arch", "arm", "--variant", "v7", file.to_str().unwrap(), "arm:1"];
    home.coracle(platform).ok();
    let told =
        home.coracle(["inspect", "--format", "{{.Os}} {{.Architecture}} {{.Variant}}", "arm:1"]);
    assert_eq!(told.ok(), "linux arm v7");
    for command in [&["save", "-o", "x.tar"][..], &["history"]] {
        let words = command.iter().copied().chain(["--platform", "linux/amd64", "arm:1"]);
        has(&home.coracle(words).fails(125), &["it is for linux/arm/v7", "not for linux/amd64"]);
    }
    home.coracle(["history", "--platform", "linux/arm", "arm:1"]).ok();
    has(
        &home.coracle(["images", "--history"]).fails(125),
        &["--history cannot be honoured", "former names are not kept"],
    );
    home.coracle(["import", "-"]).stdin("no archive").fails(1);
}

#[test]
fn an_archive_is_imported_by_its_url() {
    let tar = Tar::new().directory("etc/", 0o755).file("etc/motd", "hello\n").finish();
    let body = gzip(&tar);
    let web = Registry::with(move |request, reply| match request.path.as_str() {
        "/old.tar" => Reply::new(302, "").header("Location", "/root.tar"),
        "/root.tar" => Reply::new(200, body.clone()),
        "/mine.tar" if request.header("authorization").is_some() => Reply::new(200, body.clone()),
        "/mine.tar" => Reply::new(403, "whose?"),
        _ => reply,
    });
    let home = Home::new();
    let import = |url: &str, name: &str| home.coracle(["import", "-q", url, name]);
    for (path, login) in [("root.tar", ""), ("old.tar", ""), ("mine.tar", "me:secret@")] {
        let id = import(&format!("http://{login}{}/{path}", web.address), path).ok();
        let layers = home.coracle(["inspect", "--format", "{{json .RootFS.Layers}}", &id]).ok();
        assert_eq!(layers, format!("[\"{}\"]", digest(&tar)), "{path}");
    }
    let history = home.coracle(["history", "--no-trunc", "mine.tar"]).ok();
    has(&history, &["Imported from http://me:***@"]);
    for (path, why) in [("none.tar", "404"), ("mine.tar", "403")] {
        let error = import(&format!("http://{}/{path}", web.address), "no:1").fails(1);
        has(&error, &[&web.address.to_string(), why]);
    }
}

#[test]
fn an_imported_image_runs() {
    requires!(UserNamespaces, Registry, Image("busybox", "latest"));
    let (home, busybox) = super::home_with_busybox();
    let saved = home.path().join("b.tar");
    home.coracle(["save", "-o", saved.to_str().unwrap(), &busybox]).ok();
    let archive = fs::read(&saved).unwrap();
    let layer = members(&archive)
        .into_iter()
        .find(|(name, _)| name.rsplit('.').next() == Some("tar"))
        .unwrap()
        .1;
    home.coracle(["import", "-q", "-", "flat"]).stdin(layer).ok();
    let run = home.coracle(["run", "--rm", "--network", "none", "flat", "echo", "from a tarball"]);
    assert_eq!(run.ok(), "from a tarball");
}

#[test]
fn history_is_told_as_docker_tells_it() {
    let (registry, home) = (Registry::new(), Home::new());
    let mut image = two_layers();
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["history"] = serde_json::json!([
        {"created": "2026-01-01T00:00:00Z", "created_by": "ADD \u{1b}[31mfile in /"},
        {"created": "2026-01-01T00:00:00Z", "created_by": "ENV A=1", "empty_layer": true},
        {"created": "2026-01-01T00:00:00Z", "created_by": "RUN ".to_owned() + &"x".repeat(90), "comment": "note"},
    ]);
    image = Image::with_config(config.to_string().into_bytes(), image.layers);
    let reference = registry.push("app", "1", &image);
    home.coracle(["pull", "-q", &reference]).ok();
    let table = home.coracle(["history", &reference]).ok();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    has(lines[0], &["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]);
    has(lines[1], &[&digest(&image.config)[7..19], "xxx…", "note"]);
    has(lines[2], &["<missing>", "ENV A=1", "0B"]);
    has(lines[3], &["<missing>", "8B", r"\u{1b}"]);
    assert!(!table.contains('\u{1b}'), "an escape reached the table");
    let quiet = home.coracle(["history", "-q", "--no-trunc", &reference]).ok();
    assert_eq!(quiet, format!("{}\n<missing>\n<missing>", digest(&image.config)));
    let exact = home.coracle([
        "history",
        "--human=false",
        "--format",
        "{{.Size}} {{.CreatedAt}}",
        &reference,
    ]);
    assert_eq!(exact.ok().lines().next(), Some("6 2026-01-01T00:00:00Z"));
}

#[test]
fn names_come_and_go() {
    let (registry, home) = (Registry::new(), Home::new());
    let reference = registry.push("app", "1", &two_layers());
    home.coracle(["pull", "-q", &reference]).ok();
    let id = image_id(&home, &reference);
    for name in ["a:1", "a:2", "b:1"] {
        home.coracle(["tag", &reference, name]).ok();
    }
    home.coracle(["untag", "a:1", "a:2"]).ok();
    home.coracle(["untag", "a:1", "c:1"]).fails(1);
    assert_eq!(home.coracle(["image", "exists", "a:2"]).output().code(), 1);
    assert_eq!(home.coracle(["image", "exists", "a:1"]).output().code(), 0);
    // By its ID, with names in several repositories: only by force.
    let error = home.coracle(["rmi", &id[7..19]]).fails(1);
    has(&error, &["must be forced", "referenced in multiple repositories"]);
    home.coracle(["untag", &id]).ok();
    let dangling = home.coracle(["images", "-q", "--no-trunc", "--filter", "dangling=true"]).ok();
    assert_eq!(dangling, id);
    let gone = home.coracle(["rmi", &id[7..15]]).ok();
    assert_eq!(gone, format!("Deleted: {id}"));
    home.coracle(["rmi", "a:1"]).fails(1);
    home.coracle(["rmi", "--ignore", "a:1"]).ok();
}

#[test]
fn lists_of_images_are_cut_by_filters() {
    let (registry, home) = (Registry::new(), Home::new());
    for (tag, year) in [("old", 2020), ("new", 2025)] {
        let image = two_layers();
        let mut config: Value = serde_json::from_slice(&image.config).unwrap();
        config["created"] = format!("{year}-01-01T00:00:00Z").into();
        let image = Image::with_config(config.to_string().into_bytes(), image.layers);
        let reference = registry.push("app", tag, &image);
        home.coracle(["pull", "-q", &reference]).ok();
        home.coracle(["tag", &reference, &format!("app:{tag}")]).ok();
    }
    let tags = |filter: &str| {
        let list = home.coracle(["images", "--filter", filter, "--format", "{{.Tag}}", "app"]);
        list.ok()
    };
    assert_eq!(tags("until=2022-01-01"), "old");
    assert_eq!(tags("since=app:old"), "new");
    assert_eq!(tags("before=app:new"), "old");
    let tree = home.coracle(["images", "--tree", "app:old"]).ok();
    has(&tree, &["DISK USAGE", "app:old", "└─ linux/amd64"]);
    let layers = home.coracle(["image", "tree", "app:old"]).ok();
    has(&layers, &["Image Layers", "├──", "└──", "Top Layer of:", "app:new"]);
}

/// Removing leaves the layers with `--no-prune`; the next removal takes them.
#[test]
fn layers_may_stay_for_later() {
    let (registry, home) = (Registry::new(), Home::new());
    let other = Image::of(&[Tar::new().file("other", "x\n").finish()]);
    let reference = registry.push("app", "1", &two_layers());
    let second = registry.push("app", "2", &other);
    home.coracle(["pull", "-q", &reference, &second]).ok();
    let blobs = |home: &Home| fs::read_dir(home.store().join("blobs/sha256")).unwrap().count();
    let before = blobs(&home);
    home.coracle(["rmi", "--no-prune", &reference]).ok();
    assert_eq!(blobs(&home), before);
    home.coracle(["rmi", "--all"]).ok();
    assert_eq!(blobs(&home), 0);
}

/// A blob that is lost comes again with the next pull, and nothing is unpacked for it.
#[test]
fn a_lost_blob_is_fetched_again() {
    let (registry, home) = (Registry::new(), Home::new());
    let image = two_layers();
    let reference = registry.push("app", "1", &image);
    home.coracle(["pull", "-q", &reference]).ok();
    let blob = |n: usize| home.store().join("blobs/sha256").join(&digest(&image.layers[n])[7..]);
    fs::remove_file(blob(0)).unwrap();
    let error = home.coracle(["save", "-o", "x.tar", &reference]).fails(1);
    has(&error, &[&digest(&image.layers[0]), "pull or load the image again"]);
    home.coracle(["pull", "-q", &reference]).ok();
    assert_eq!(fs::read(blob(0)).unwrap(), image.layers[0]);
    home.coracle(["save", "-o", "x.tar", &reference]).ok();
    assert!(Path::new(&home.path().join("x.tar")).exists());
}

/// An image may unpack to so much and no more, however many layers it is cut into.
#[test]
fn a_bomb_is_refused_by_its_size() {
    let (registry, home) = (Registry::new(), Home::new());
    let zeros = "\0".repeat(300_000);
    let layers: Vec<Vec<u8>> =
        (0..4).map(|n| Tar::new().file(&format!("f{n}"), &zeros).finish()).collect();
    let reference = registry.push("bomb", "1", &Image::of(&layers));
    let pull = |size: &str| home.coracle(["pull", "-q", "--max-unpacked-size", size, &reference]);
    has(&pull("1m").fails(1), &["more than 1048576 bytes", "--max-unpacked-size"]);
    assert_eq!(home.coracle(["images", "-q"]).ok(), "");
    pull("2m").ok();
    home.coracle(["rmi", "-f", &reference]).ok();
    pull("0").ok();
}
