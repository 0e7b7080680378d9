//! Pull from each kind of registry, as each tool pushed.

use std::env;
use std::process::Command;

use crate::requires;
use crate::support::image::{Image, Tar, digest, gzip};
use crate::support::registry::{Registry, Reply};
use crate::support::{Home, busybox, has, image, listing};

pub fn address(kind: &str) -> String {
    env::var(format!("CORACLE_TEST_{kind}")).unwrap()
}

pub fn login() -> String {
    format!(
        "{}:{}",
        env::var("CORACLE_TEST_USER").unwrap(),
        env::var("CORACLE_TEST_PASSWORD").unwrap()
    )
}

#[test]
fn the_last_lines_are_dockers() {
    requires!(Registry, Image("busybox", "latest"));
    let home = Home::new();
    let first = home.coracle(["pull", &busybox()]).ok();
    let lines: Vec<&str> = first.lines().collect();
    let [.., digest, status, last] = lines[..] else { panic!("{first}") };
    assert!(digest.starts_with("Digest: sha256:") && digest.len() == 79, "{first}");
    assert_eq!(status, format!("Status: Downloaded newer image for {}", busybox()));
    assert_eq!(last, busybox());
    has(
        &home.coracle(["pull", &busybox()]).ok(),
        &[&format!("Status: Image is up to date for {}", busybox())],
    );
    let id = home.coracle(["pull", "-q", &busybox()]).ok();
    assert!(id.trim_start_matches("sha256:").len() == 64 && id.lines().count() == 1, "{id}");
}

#[test]
fn whatever_tool_pushed() {
    requires!(
        Registry,
        Image("busybox", "docker"),
        Image("edge", "buildah"),
        Image("edge", "umoci"),
        Image("busybox", "zstd")
    );
    let home = Home::new();
    for (name, tag) in [
        ("busybox", "docker"),
        ("busybox", "zstd"),
        ("busybox", "plain-tar"),
        ("edge", "buildah"),
        ("edge", "umoci"),
    ] {
        has(
            &home.coracle(["pull", &image(name, tag)]).ok(),
            &["Digest: sha256:", "Status: Downloaded newer image"],
        );
    }
}

#[test]
fn by_digest() {
    requires!(Registry, Image("busybox", "latest"));
    let home = Home::new();
    let pulled = home.coracle(["pull", &busybox()]).ok();
    let digest = pulled.lines().find_map(|line| line.strip_prefix("Digest: ")).unwrap();
    let name = busybox().rsplit_once(':').unwrap().0.to_owned();
    let other = Home::new();
    has(&other.coracle(["pull", &format!("{name}@{digest}")]).ok(), &[digest]);
    let wrong = digest.replace(|c: char| c.is_ascii_digit(), "0");
    other.coracle(["pull", &format!("{name}@{wrong}")]).fails(1);
}

#[test]
fn a_platform_of_an_index() {
    requires!(UserNamespaces, Registry, Image("busybox", "multi"));
    let home = Home::new();
    let multi = image("busybox", "multi");
    assert_eq!(home.coracle(["run", "--rm", "--network", "none", &multi]).ok(), "amd64");
    home.coracle(["pull", "-q", "--platform", "linux/arm64", &multi]).ok();
    let shown = home.coracle(["inspect", "--format", "{{.Architecture}}", &multi]).ok();
    assert_eq!(shown, "arm64");
    // The same in podman's words; what is not said is this machine's.
    home.coracle(["run", "--rm", "--pull", "always", "--os", "linux", "-q", &multi, "true"]).ok();
    assert_eq!(home.coracle(["inspect", "--format", "{{.Architecture}}", &multi]).ok(), "amd64");
    home.coracle(["pull", "-q", "--arch", "arm64", "--variant", "v8", &multi]).ok();
    assert_eq!(home.coracle(["inspect", "--format", "{{.Architecture}}", &multi]).ok(), "arm64");
    let twice = ["pull", "--platform", "linux/arm64", "--arch", "amd64", &multi];
    has(&home.coracle(twice).fails(125), &["--platform", "--arch"]);
    let error = home.coracle(["pull", "--platform", "linux/riscv64", &multi]).fails(1);
    has(&error, &["riscv64", "arm64"]);
}

#[test]
fn a_foreign_machine_is_named() {
    requires!(UserNamespaces, Registry, Image("busybox", "foreign"));
    let output =
        Home::new().coracle(["run", "--rm", &image("busybox", "foreign"), "true"]).output();
    // The program inside is this machine's, so it may run; but it is said what the image claims.
    has(&output.stderr, &["s390x", "amd64"]);
}

#[test]
fn a_password_is_asked_for_and_used() {
    requires!(Registry);
    let home = Home::new();
    let reference = format!("{}/private/busybox:latest", address("BASIC"));
    has(&home.coracle(["pull", &reference]).fails(1), &["401", "hint: "]);
    let (host, encoded) = (address("BASIC"), base64(&login()));
    home.write(
        ".docker/config.json",
        format!(r#"{{"auths":{{"{host}":{{"auth":"{encoded}"}}}}}}"#),
    );
    home.coracle(["pull", "-q", &reference]).ok();
    // Podman's file, and the variable that names one, come first.
    let other = Home::new();
    other.write(
        "run/containers/auth.json",
        format!(r#"{{"auths":{{"{host}":{{"auth":"{encoded}"}}}}}}"#),
    );
    other.coracle(["pull", "-q", &reference]).ok();
    let third = Home::new();
    let file = third
        .write("elsewhere.json", format!(r#"{{"auths":{{"{host}":{{"auth":"{encoded}"}}}}}}"#));
    third.coracle(["pull", "-q", &reference]).env("REGISTRY_AUTH_FILE", &file).ok();
    let wrong = base64("mariner:wrong");
    third.write("elsewhere.json", format!(r#"{{"auths":{{"{host}":{{"auth":"{wrong}"}}}}}}"#));
    let error = third
        .coracle(["pull", "-q", &image_of(&host, "edge")])
        .env("REGISTRY_AUTH_FILE", &file)
        .fails(1);
    has(&error, &["401"]);
    assert!(!error.contains(&wrong), "a credential was printed: {error}");
}

fn image_of(host: &str, name: &str) -> String {
    format!("{host}/{name}:buildah")
}

#[test]
fn tokens_are_fetched() {
    requires!(Registry);
    let host = address("BEARER");
    Home::new().coracle(["pull", "-q", &format!("{host}/busybox:latest")]).ok();
    let home = Home::new();
    let private = format!("{host}/private/busybox:latest");
    home.coracle(["pull", &private]).fails(1);
    home.write(
        ".docker/config.json",
        format!(r#"{{"auths":{{"{host}":{{"auth":"{}"}}}}}}"#, base64(&login())),
    );
    home.coracle(["pull", "-q", &private]).ok();
}

#[test]
fn a_credential_helper_is_asked() {
    requires!(Registry);
    let home = Home::new();
    let (user, password) =
        (env::var("CORACLE_TEST_USER").unwrap(), env::var("CORACLE_TEST_PASSWORD").unwrap());
    let host = address("BASIC");
    let script = format!(
        "#!/bin/sh\nread -r host\n[ \"$1 $host\" = \"get {host}\" ] || exit 1\necho '{{\"Username\":\"{user}\",\"Secret\":\"{password}\"}}'\n"
    );
    let helper = home.write("bin/docker-credential-test", script);
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    home.write(".docker/config.json", format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#));
    let path = format!("{}:{}", helper.parent().unwrap().display(), env::var("PATH").unwrap());
    home.coracle(["pull", "-q", &format!("{host}/private/busybox:latest")]).env("PATH", path).ok();
}

#[test]
fn a_private_authority_must_be_known() {
    requires!(Registry);
    let host = address("TLS");
    let reference = format!("{host}/busybox:latest");
    let authority = std::fs::read(env::var("CORACLE_TEST_CA").unwrap()).unwrap();
    let home = Home::new();
    let error = home.coracle(["pull", &reference]).fails(1);
    has(&error, &["certificate", "certs.d"]);
    home.coracle(["pull", "-q", &reference])
        .env("SSL_CERT_FILE", env::var("CORACLE_TEST_CA").unwrap())
        .ok();

    let home = Home::new();
    home.write(&format!(".config/containers/certs.d/{host}/ca.crt"), &authority);
    home.coracle(["pull", "-q", &reference]).ok();

    let home = Home::new();
    home.coracle(["pull", "-q", "--tls-verify=false", &reference]).ok();
}

/// By IPv6 where the host has it. The registry's own pair serves as the client's: it says of no use
/// that it is for that alone.
#[test]
fn a_client_shows_its_certificate() {
    requires!(Registry);
    let (host, home) = (address("MUTUAL"), Home::new());
    let reference = format!("{host}/busybox:latest");
    let authority = env::var("CORACLE_TEST_CA").unwrap();
    let keys = std::path::Path::new(&authority).parent().unwrap();
    let place = format!(".config/containers/certs.d/{host}");
    home.write(&format!("{place}/ca.crt"), std::fs::read(&authority).unwrap());
    let error = home.coracle(["pull", "--retry", "0", &reference]).fails(1);
    let said = error.replace(&host, ""); // a port may hold any number
    assert!(said != error && !said.contains("400 "), "{error}");
    // It says so itself, or hangs up before that can be read.
    has(&error, &["client.cert"]);
    for (name, file) in [("client.cert", "server.crt"), ("client.key", "server.key")] {
        home.write(&format!("{place}/{name}"), std::fs::read(keys.join(file)).unwrap());
    }
    home.coracle(["pull", "-q", &reference]).ok();
    // Another directory, named by a flag; a certificate without its key is told.
    let other = Home::new();
    let directory = home.path().join(&place);
    let flag = ["--cert-dir", directory.to_str().unwrap()];
    other.coracle(["pull", "-q", flag[0], flag[1], &reference]).ok();
    std::fs::remove_file(directory.join("client.key")).unwrap();
    has(&other.coracle(["pull", flag[0], flag[1], &reference]).fails(1), &["client.key"]);
}

#[test]
fn proxies_are_asked_for_other_machines() {
    let (proxy, home) = (Registry::new(), Home::new());
    let image = Image::of(&[Tar::new().file("file", "text").finish()]);
    let here = proxy.push("app", "1", &image);
    let address = format!("http://{}", proxy.address);
    let pull = |reference: &str, proxy: &str| {
        let words = ["pull", "-q", "--tls-verify=false", "--retry", "0", reference];
        home.coracle(words).env("http_proxy", proxy).env("HTTPS_PROXY", proxy)
    };
    // Nothing but the proxy leads there; it knows no TLS.
    let id = pull("registry.test:5000/app:1", &address).ok();
    assert_eq!(id, digest(&image.config));
    let log = proxy.log();
    let asked = |what: &str| log.iter().any(|line| line.starts_with(what));
    assert!(asked("CONNECT registry.test:5000"), "{log:?}");
    assert!(asked("GET http://registry.test:5000/v2/app/manifests/1"), "{log:?}");
    // This machine is asked itself.
    pull(&here, "http://127.0.0.1:1").ok();
    has(&pull("registry.test:5000/app:1", "http://127.0.0.1:1").fails(1), &["registry.test:5000"]);
}

/// A connection serves many requests.
#[test]
fn connections_are_kept() {
    let (registry, home) = (Registry::new(), Home::new());
    let layers: Vec<_> =
        (0..24).map(|n| Tar::new().file("file", &n.to_string()).finish()).collect();
    home.coracle(["pull", "-q", &registry.push("app", "1", &Image::of(&layers))]).ok();
    let (asked, connections) = (registry.log().len(), registry.connections());
    // Three layers at once, the one that tried TLS, and a few that were asked for just before another was free.
    assert!(asked >= 26 && connections <= 13, "{connections} connections for {asked} requests");
}

#[test]
fn plain_http_is_for_loopback_only() {
    requires!(Registry);
    let port = address("PLAIN").rsplit_once(':').unwrap().1.to_owned();
    let home = Home::new();
    home.coracle(["pull", "-q", &format!("localhost:{port}/busybox:latest")]).ok();
    // Nothing must be sent in the clear to another host without being told to.
    let error = home
        .coracle(["pull", &format!("192.0.2.1:{port}/busybox:latest")])
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .fails(1);
    has(&error, &["192.0.2.1"]);
}

#[test]
fn what_is_not_there_is_said() {
    requires!(Registry, Image("busybox", "latest"));
    let home = Home::new();
    let missing = format!("{}/no/such/image:latest", address("PLAIN"));
    has(&home.coracle(["pull", &missing]).fails(1), &["no/such/image"]);
    has(&home.coracle(["pull", &image("busybox", "no-such-tag")]).fails(1), &["no-such-tag"]);
    has(
        &home.coracle(["run", "--rm", &missing, "true"]).fails(125),
        &["Unable to find image", "no/such/image"],
    );
    has(
        &home.coracle(["run", "--rm", "--pull", "never", &busybox(), "true"]).fails(125),
        &[&busybox()],
    );
    home.coracle(["pull", "127.0.0.1:1/nobody/listens:latest"]).timeout_s(60).fails(1);
}

#[test]
fn run_pulls_by_policy() {
    requires!(UserNamespaces);
    let registry = Registry::new();
    let home = Home::new();
    let first = image_with("one\n");
    let reference = registry.push("app", "latest", &first);
    let explain =
        ["run", "--rm", "--network", "none", "--entrypoint", "/no-such-command", &reference];
    let requests = || registry.log().len();
    // The command is never there; 127 shows that the image was.
    home.coracle(explain).fails(127);
    let after_pull = requests();
    home.coracle(explain).fails(127);
    assert_eq!(requests(), after_pull, "a present image asks nobody");
    let always = |policy: &str| {
        let all: Vec<&str> =
            ["run", "--pull", policy].into_iter().chain(explain[1..].iter().copied()).collect();
        home.coracle(all).fails(127)
    };
    always("always");
    assert!(requests() > after_pull);
    let blobs = registry.blob_requests();
    always("newer");
    assert_eq!(registry.blob_requests(), blobs, "nothing newer, nothing fetched");
    registry.push("app", "latest", &image_with("two\n"));
    always("newer");
    assert!(registry.blob_requests() > blobs);
}

fn image_with(text: &str) -> Image {
    Image::of(&[Tar::new().directory("etc", 0o755).file("etc/app", text).finish()])
}

#[test]
fn a_layer_in_two_images_is_fetched_once() {
    let registry = Registry::new();
    let base = Tar::new().file("base", "base\n").finish();
    let one = registry.push(
        "one",
        "1",
        &Image::of(&[base.clone(), Tar::new().file("one", "1\n").finish()]),
    );
    let two =
        registry.push("two", "1", &Image::of(&[base, Tar::new().file("two", "2\n").finish()]));
    let home = Home::new();
    home.coracle(["pull", "-q", &one]).ok();
    assert_eq!(registry.blob_requests(), 3);
    home.coracle(["pull", "-q", &two]).ok();
    assert_eq!(registry.blob_requests(), 5);
}

#[test]
fn busy_and_failing_registries_are_tried_again() {
    let failures = std::sync::atomic::AtomicUsize::new(0);
    let registry = Registry::with(move |request, reply| {
        let seen =
            failures.fetch_add(usize::from(request.is_blob()), std::sync::atomic::Ordering::SeqCst);
        match seen {
            0 if request.is_blob() => Reply::new(503, "busy"),
            1 if request.is_blob() => Reply::new(429, r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#)
                .header("Retry-After", "1"),
            2 if request.is_blob() => Reply { cut_after: Some(10), ..reply },
            _ => reply,
        }
    });
    let reference = registry.push("app", "1", &image_with("text\n"));
    Home::new().coracle(["pull", "-q", &reference]).ok();
}

#[test]
fn a_redirect_keeps_the_login_at_home() {
    let elsewhere = Registry::new();
    let image = image_with("text\n");
    elsewhere.push("app", "1", &image);
    let target = elsewhere.address;
    let registry = Registry::with(move |request, reply| {
        if request.header("authorization").is_none() {
            return Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        if request.is_blob() {
            // Another port of the same machine is another host to a credential.
            return Reply::new(307, "")
                .header("Location", format!("http://localhost:{}{}", target.port(), request.path));
        }
        reply
    });
    let reference = registry.push("app", "1", &image);
    let home = Home::new();
    let (host, auth) = (registry.address, base64("user:secret"));
    home.write(".docker/config.json", format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#));
    home.coracle(["pull", "-q", &reference]).ok();
    assert!(elsewhere.blob_requests() > 0);
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Layers with a table of contents are layers first of all. (skopeo 1.9 loses zero blocks behind an end
/// mark, so that a layer does not match its image any more: it needs one without.)
#[test]
fn zstd_chunked_as_skopeo_writes_it() {
    requires!(Registry, Program("/usr/bin/skopeo"));
    let (plain, home) = (Home::new(), Home::new());
    let registry = Registry::new();
    let lower = Tar::new().directory("d", 0o750).file("d/a", &"words\n".repeat(70_000));
    let upper = Tar::new().hardlink("c", "d/a").symlink("l", "c").file("d/.wh.gone", "");
    let from = registry.push("app", "1", &Image::of(&[lower.finish(), upper.finish()]));
    let to = format!("{}:1", super::push::scratch("chunked"));
    let mut skopeo = Command::new("/usr/bin/skopeo");
    skopeo.args(["copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"]);
    skopeo.args(["--dest-compress-format", "zstd:chunked"]);
    skopeo.args([format!("docker://{from}"), format!("docker://{to}")]);
    home.run(skopeo).ok();
    plain.coracle(["pull", "-q", &from]).ok();
    home.coracle(["pull", "-q", &to]).ok();
    let manifest = home.coracle(["inspect", "--raw", &to]).ok();
    has(&manifest, &["zstd-chunked.manifest-position", "tar+zstd"]);
    let trees = |home: &Home| -> Vec<String> {
        let all = listing(&home.store().join("layers"));
        let all = all.replace(&home.path().display().to_string(), "");
        // But for the record of the blob: another one was shipped.
        all.lines().filter(|line| !line.contains("layer.json")).map(str::to_owned).collect()
    };
    has(&trees(&home).join("\n"), &["/fs/d/a 100644 420000 bytes", "/fs/l 120777 -> c"]);
    assert_eq!(trees(&home), trees(&plain));
}

/// A gzip member for each file, one with the table, and an empty one that says where that is
/// (stargz-snapshotter, docs/estargz.md).
#[test]
fn estargz() {
    let registry = Registry::new();
    let pieces = [
        Tar::new().directory("d", 0o755),
        Tar::new().file("d/a", &"some text\n".repeat(20_000)),
        Tar::new().symlink("b", "d/a"),
    ];
    let table =
        r#"{"version":1,"entries":[{"name":"d/a","type":"reg","size":200000,"offset":99}]}"#;
    let table = Tar::new().file("stargz.index.json", table).finish();
    let pieces: Vec<Vec<u8>> = pieces.into_iter().map(Tar::unfinished).chain([table]).collect();
    let packed: Vec<Vec<u8>> = pieces.iter().map(|piece| gzip(piece)).collect();
    let start: usize = packed[..packed.len() - 1].iter().map(Vec::len).sum();
    let mut extra = b"SG\x16\0".to_vec();
    extra.extend(format!("{start:016x}STARGZ").bytes());
    let footer = flate2::GzBuilder::new().extra(extra);
    let footer = footer.write(Vec::new(), flate2::Compression::none()).finish().unwrap();
    let layer = [packed.concat(), footer].concat();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest(&pieces.concat())]},
    });
    let mut image = Image::with_config(config.to_string().into_bytes(), vec![layer]);
    image.manifest["layers"][0]["annotations"] =
        serde_json::json!({"containerd.io/snapshot/stargz/toc.digest": digest(b"the table")});
    let home = Home::new();
    home.coracle(["pull", "-q", &registry.push("star", "1", &image)]).ok();
    let listing = home.listing();
    has(
        &listing,
        &["/fs/d/a 100644 200000 bytes", "/fs/b 120777 -> d/a", "/fs/stargz.index.json "],
    );
    has(&home.coracle(["system", "check"]).ok(), &["no damage: 1 images"]);
}
