//! Mirrors, blocked registries, short names, searches: what is configured about registries.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::image::{Image, Tar};
use crate::support::registry::{Registry, Reply};
use crate::support::{Home, Run, has};

fn image(text: &str) -> Image {
    Image::of(&[Tar::new().file("f", text).finish()])
}

/// A home whose `registries.conf` is this; the machine's own is not read.
fn home(conf: &str) -> Home {
    let home = Home::new();
    home.write("registries.conf", conf);
    home
}

fn coracle(home: &Home, words: &[&str]) -> Run {
    home.coracle(words).env("CONTAINERS_REGISTRIES_CONF", home.path().join("registries.conf"))
}

fn mirrored(registry: &Registry, mirrors: &[&Registry]) -> String {
    let mut text = format!("[[registry]]\nlocation = \"{}\"\n", registry.address);
    for mirror in mirrors {
        text += "[[registry.mirror]]\nlocation = \"";
        text += &mirror.address.to_string();
        text += "/copy\"\n";
    }
    text
}

#[test]
fn a_mirror_serves_and_the_registry_stands_behind_it() {
    let (mirror, registry) = (Registry::new(), Registry::new());
    let name = registry.push("app", "1", &image("same\n"));
    let home = home(&mirrored(&registry, &[&mirror]));
    // Nothing there yet.
    coracle(&home, &["pull", "-q", &name]).ok();
    assert!(mirror.log().iter().any(|line| line.contains("/v2/copy/app/manifests/1")));
    mirror.push("copy/app", "1", &image("other\n"));
    let before = registry.log().len();
    coracle(&home, &["pull", "-q", &name]).ok();
    assert_eq!(registry.log().len(), before, "the mirror has it");
    has(&coracle(&home, &["images"]).ok(), &[&registry.address.to_string()]);
}

/// docker's file: of the hub's images its mirrors are asked, without TLS where it says so.
#[test]
fn the_daemons_mirrors_serve_the_hub() {
    let (mirror, home) = (Registry::new(), home(""));
    mirror.push("library/app", "1", &image("copy\n"));
    let mirrors = format!("{{\"registry-mirrors\": [\"http://{}\"]}}", mirror.address);
    home.write(".config/docker/daemon.json", mirrors);
    coracle(&home, &["pull", "-q", "app:1"]).ok();
    has(&coracle(&home, &["images", "--format", "{{.Repository}}"]).ok(), &["app"]);
    home.write(".config/docker/daemon.json", "{\"registry-mirrors\": 1}");
    has(&coracle(&home, &["pull", "-q", "app:1"]).fails(1), &["daemon.json"]);
}

#[test]
fn what_breaks_off_at_a_mirror_goes_on_at_the_registry() {
    let registry = Registry::new();
    let layer = Tar::new().file("f", &"some text that is long enough\n".repeat(50_000)).finish();
    let mut image = Image::of(std::slice::from_ref(&layer));
    // Not compressed: long enough to break off in the middle.
    image = Image::with_config(image.config, vec![layer])
        .lie("/layers/0/mediaType", "application/vnd.oci.image.layer.v1.tar".into());
    let name = registry.push("app", "1", &image);
    let mirror =
        Registry::with(|request, reply| match request.is_blob() && reply.body.len() > 100_000 {
            true => Reply { cut_after: Some(500_000), ..reply },
            false => reply,
        });
    mirror.push("copy/app", "1", &image);
    let home = home(&mirrored(&registry, &[&mirror]));
    coracle(&home, &["pull", "-q", &name]).ok();
    let resumed = registry.log().into_iter().find(|line| line.contains("bytes="));
    assert!(resumed.is_some_and(|line| !line.ends_with("bytes=0-")), "{:?}", registry.log());
}

#[test]
fn who_cannot_resume_is_asked_for_the_whole() {
    let cuts = AtomicUsize::new(0);
    let registry = Registry::with(move |request, reply| {
        if request.is_blob() && request.header("range").is_some() {
            return Reply::new(416, "");
        }
        if request.is_blob() && cuts.fetch_add(1, Ordering::SeqCst) == 1 {
            return Reply { cut_after: Some(40), ..reply };
        }
        reply
    });
    let name = registry.push("app", "1", &image("text\n"));
    Home::new().coracle(["pull", "-q", &name]).ok();
    assert!(registry.log().iter().any(|line| line.contains("bytes=")), "{:?}", registry.log());
}

#[test]
fn a_blocked_registry_is_not_asked() {
    let registry = Registry::new();
    let name = registry.push("app", "1", &image("x\n"));
    let home =
        home(&format!("[[registry]]\nlocation = \"{}\"\nblocked = true\n", registry.address));
    has(&coracle(&home, &["pull", &name]).fails(1), &["blocked"]);
    has(&coracle(&home, &["search", &format!("{}/x", registry.address)]).fails(1), &["blocked"]);
    assert!(registry.log().is_empty());
    // Our own file is over the others.
    home.write(
        ".config/coracle/config.toml",
        format!("[[registry]]\nlocation = \"{}\"\n", registry.address),
    );
    coracle(&home, &["pull", "-q", &name]).ok();
}

#[test]
fn a_file_that_cannot_be_understood_is_named() {
    let home = home("[[registry]\n");
    has(&coracle(&home, &["pull", "r.example/x"]).fails(1), &["registries.conf"]);
}

#[test]
fn a_short_name_stands_for_another() {
    let registry = Registry::new();
    let name = registry.push("team/app", "1", &image("x\n"));
    let repository = name.rsplit_once(':').unwrap().0;
    let alias = home(&format!("[aliases]\n\"app\" = \"{repository}\"\n"));
    assert_eq!(coracle(&alias, &["pull", "app:1"]).ok().lines().last(), Some(&*name));
    coracle(&alias, &["tag", "app:1", "kept:1"]).ok();
    has(&coracle(&alias, &["inspect", "-f", "{{.RepoTags}}", "app:1"]).ok(), &["kept:1"]);
    has(&coracle(&alias, &["rmi", "app:1"]).ok(), &[&format!("Untagged: {name}")]);
    let address = registry.address;
    let search = home(&format!("unqualified-search-registries = [\"{address}\"]\n"));
    assert_eq!(coracle(&search, &["pull", "team/app:1"]).ok().lines().last(), Some(&*name));
    let two = |mode: &str| {
        format!(
            "unqualified-search-registries = [\"127.0.0.1:1\", \"{address}\"]\nshort-name-mode = \"{mode}\"\n"
        )
    };
    let error = coracle(&home(&two("enforcing")), &["pull", "team/app:1"]).fails(1);
    has(&error, &["team/app:1", "127.0.0.1:1", &address.to_string()]);
    coracle(&home(&two("permissive")), &["pull", "-q", "team/app:1"]).ok();
}

#[test]
fn a_search_has_dockers_columns() {
    let registry = Registry::with(|request, reply| {
        match request.path.starts_with("/v1/search?q=app") {
            true => Reply::new(
                200,
                r#"{"results":[{"name":"team/app","description":"\u001b[2JAn app\n","star_count":7,"is_official":true},
            {"name":"../x","description":null,"star_count":1,"is_official":false},
            {"name":"lone","description":null,"star_count":1,"is_official":false}]}"#,
            ),
            false => reply,
        }
    });
    let term = format!("{}/app", registry.address);
    let home = Home::new();
    let found = home.coracle(["search", &term]).ok();
    let lines: Vec<Vec<&str>> = found
        .lines()
        .map(|line| line.split("   ").map(str::trim).filter(|it| !it.is_empty()).collect())
        .collect();
    assert_eq!(lines[0], ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]);
    assert_eq!(lines[1], [&format!("{}/team/app", registry.address), "[2JAn app", "7", "[OK]"]);
    assert_eq!(lines.len(), 3, "{found}");
    let official =
        ["search", "-f", "is-official=true", "--format", "{{.Name}}:{{.StarCount}}", &term];
    assert_eq!(home.coracle(official).ok(), format!("{}/team/app:7", registry.address));
    home.coracle(["search", "-f", "colour=red", &term]).fails(125);
    home.coracle(["search", "--limit", "0", &term]).fails(125);
}

#[test]
fn a_list_comes_in_pages() {
    let registry =
        Registry::with(|request, reply| match request.path.strip_prefix("/v2/app/tags/list") {
            Some("") => Reply::new(200, r#"{"tags":["1","2","\u001b"]}"#)
                .header("Link", "</v2/app/tags/list?last=2>; rel=\"next\""),
            Some("?last=2") => Reply::new(200, r#"{"tags":["3"]}"#)
                .header("Link", "</v2/app/tags/list?last=3>; rel=\"next\""),
            Some(_) => Reply::new(200, r#"{"tags":[]}"#)
                .header("Link", "</v2/app/tags/list?last=3>; rel=\"next\""),
            None => reply,
        });
    for tag in ["1", "2", "3"] {
        registry.push("app", tag, &image("x\n"));
    }
    let home = Home::new();
    home.coracle(["pull", "-q", "-a", &format!("{}/app", registry.address)]).ok();
    let tags = home.coracle(["images", "--format", "{{.Tag}}"]).ok();
    assert_eq!(tags.lines().count(), 3, "{tags}");
    home.coracle(["pull", "-a", &format!("{}/app:1", registry.address)]).fails(125);
}

#[test]
fn tokens_that_expire_are_fetched_again() {
    let (tokens, blobs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let address = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own = address.clone();
    let registry = Registry::with(move |request, reply| {
        if request.path.starts_with("/token") {
            assert!(request.path.contains("repository%3Aapp%3Apull"), "{}", request.path);
            let number = tokens.fetch_add(1, Ordering::SeqCst);
            return Reply::new(200, format!(r#"{{"token":"t{number}"}}"#));
        }
        // Each token is good for two answers.
        let good = format!("Bearer t{}", blobs.load(Ordering::SeqCst) / 2);
        if request.header("authorization") != Some(&good) {
            let realm = format!("http://{}/token", own.get().unwrap());
            return Reply::new(401, "").header(
                "WWW-Authenticate",
                format!(
                    "Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:secret:pull,push\""
                ),
            );
        }
        blobs.fetch_add(1, Ordering::SeqCst);
        reply
    });
    address.set(registry.address.to_string()).unwrap();
    let layers: Vec<Vec<u8>> =
        (0..4).map(|n| Tar::new().file(&format!("f{n}"), "x\n").finish()).collect();
    let name = registry.push("app", "1", &Image::of(&layers));
    let home = Home::new();
    home.write(".config/coracle/config.toml", "pull-jobs = 1\n");
    home.coracle(["pull", "-q", &name]).ok();
}

#[test]
fn a_wait_that_is_asked_for_is_kept_or_told() {
    for (header, works) in
        [("0", true), ("Wed, 01 Jan 2020 00:00:00 GMT", true), ("31536000", false)]
    {
        let asked = AtomicUsize::new(0);
        let registry = Registry::with(move |request, reply| {
            let first = request.is_blob() && asked.fetch_add(1, Ordering::SeqCst) == 0;
            match first {
                true => Reply::new(429, "").header("Retry-After", header),
                false => reply,
            }
        });
        let name = registry.push("app", "1", &image("x\n"));
        let output = Home::new().coracle(["pull", "-q", &name]).timeout_s(60).output();
        match works {
            true => drop(output.ok()),
            false => has(&output.fails(1), &["toomanyrequests", "31536000 seconds"]),
        }
    }
    let registry = Registry::with(|_, _| Reply::new(503, ""));
    let name = registry.reference("app", "1");
    Home::new().coracle(["pull", "--retry", "0", &name]).fails(1);
    let before = registry.log().len();
    Home::new().coracle(["pull", "--retry=5", "--retry-delay=10ms", &name]).fails(1);
    assert_eq!(registry.log().len() - before, 6);
}

#[test]
fn a_registry_that_misnames_its_manifest_is_caught() {
    let other = crate::support::image::digest(b"another");
    let registry = Registry::with(move |request, mut reply| {
        if request.path.contains("/manifests/") {
            reply.headers.retain(|(name, _)| name != "Docker-Content-Digest");
            reply = reply.header("Docker-Content-Digest", other.clone());
        }
        reply
    });
    let name = registry.push("app", "1", &image("x\n"));
    has(&Home::new().coracle(["pull", &name]).fails(1), &["want sha256:", "got sha256:"]);
}

#[test]
fn headers_without_end_are_not_read() {
    let registry = Registry::with(|_, reply| {
        let long = "x".repeat(10_000);
        (0..2000).fold(reply, |reply, n| reply.header(&format!("X-{n}"), long.clone()))
    });
    let name = registry.push("app", "1", &image("x\n"));
    Home::new().coracle(["pull", "--retry=0", &name]).timeout_s(30).fails(1);
}

/// A mirror with other bytes is not asked again; whoever comes behind it is.
#[test]
fn wrong_bytes_of_a_mirror_are_fetched_elsewhere() {
    let registry = Registry::new();
    let image = image("right\n");
    let name = registry.push("app", "1", &image);
    let mirror = Registry::with(|request, mut reply| {
        let is_layer = request.is_blob() && reply.body.starts_with(&[0x1f, 0x8b]);
        if is_layer {
            let last = reply.body.len() - 1;
            reply.body[last] ^= 1;
        }
        reply
    });
    mirror.push("copy/app", "1", &image);
    let home = home(&mirrored(&registry, &[&mirror]));
    coracle(&home, &["pull", "-q", &name]).ok();
    // The layer, and the configuration once more.
    assert_eq!((mirror.blob_requests(), registry.blob_requests()), (2, 2), "{:?}", registry.log());
    // With nobody behind it, it is an error that says so.
    let home = Home::new();
    let error = home.coracle(["pull", "-q", &mirror.reference("copy/app", "1")]).fails(1);
    has(&error, &["layer 1 of 1", "want sha256:"]);
    // Nor is it asked for ever where the one behind it has nothing.
    let empty = Registry::new();
    let part = mirrored(&empty, &[&mirror]);
    let home = self::home(&part);
    coracle(&home, &["pull", "-q", &empty.reference("app", "1")]).timeout_s(60).fails(1);
}

/// Whoever has an old login stored can pull what anybody can.
#[test]
fn a_stored_login_that_has_ended_hides_nothing() {
    let registry = Registry::with(|request, reply| match request.header("authorization") {
        // Anybody's token serves; who is somebody must be right.
        Some("Bearer anybody") => reply,
        Some(_) => Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#),
        None if request.path.starts_with("/token") => Reply::new(200, r#"{"token":"anybody"}"#),
        None => {
            let host = request.header("host").unwrap_or_default();
            Reply::new(401, "")
                .header("WWW-Authenticate", format!("Bearer realm=\"http://{host}/token\""))
        }
    });
    let image = image("public\n");
    let name = registry.push("app", "1", &image);
    let home = Home::new();
    // "old:secret"
    let auth = format!(r#"{{"auths":{{"{}":{{"auth":"b2xkOnNlY3JldA=="}}}}}}"#, registry.address);
    home.write(".config/containers/auth.json", &auth);
    home.write(".docker/config.json", &auth);
    let pulled = home.coracle(["pull", "-q", &name]).output();
    has(&pulled.stderr, &["refused the login that is stored for it", "coracle logout"]);
    pulled.ok();
    // A login that is given is meant.
    let other = Home::new();
    let error = other.coracle(["pull", "-q", "--creds", "old:secret", &name]).fails(1);
    has(&error, &["the login for", "was sent and did not help"]);
    assert!(!error.contains("secret"), "{error}");
}
