//! Registries that send elsewhere, never end, or speak to the terminal.

use super::Victim;
use crate::support::Home;
use crate::support::image::{Image, Tar};
use crate::support::registry::{Registry, Reply};

fn image() -> Image {
    Image::of(&[Tar::new().file("f", "x\n").finish()])
}

#[test]
fn redirects_to_nowhere_good() {
    for target in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1:1/",
        "//",
        "",
        "http://",
        "http://user:pass@127.0.0.1:1/",
    ] {
        let registry = Registry::with(move |request, reply| {
            if request.is_blob() { Reply::new(302, "").header("Location", target) } else { reply }
        });
        let reference = registry.push("app", "1", &image());
        Home::new().coracle(["pull", &reference]).timeout_s(60).fails(1);
    }
}

#[test]
fn a_circle_of_redirects() {
    let registry = Registry::with(|request, reply| {
        if request.is_blob() {
            Reply::new(307, "").header("Location", request.path.clone())
        } else {
            reply
        }
    });
    let reference = registry.push("app", "1", &image());
    Home::new().coracle(["pull", &reference]).timeout_s(60).fails(1);
    assert!(registry.blob_requests() < 200, "{} requests", registry.blob_requests());
}

#[test]
fn token_realms_that_fish() {
    for realm in [
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "http://x:y@127.0.0.1/token",
        "",
        "not a url",
    ] {
        let registry = Registry::with(move |_, _| {
            Reply::new(401, "")
                .header("WWW-Authenticate", format!("Bearer realm=\"{realm}\",service=\"x\""))
        });
        let home = Home::new();
        let reference = registry.push("app", "1", &image());
        // user:secret
        home.write(
            ".docker/config.json",
            format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#, registry.address),
        );
        let error = home.coracle(["pull", &reference]).timeout_s(30).fails(1);
        assert!(!error.contains("secret") && !error.contains("dXNlcjpzZWNyZXQ"), "{error}");
    }
}

#[test]
fn bodies_longer_than_told() {
    let victim = Victim::new();
    let registry = Registry::with(|request, mut reply| {
        if request.is_blob() && reply.body.len() < 2000 {
            reply.body.extend(vec![b'x'; 32 << 20]);
        }
        reply
    });
    let reference = registry.push("app", "1", &image());
    let output = victim.home.coracle(["pull", &reference]).timeout_s(30).output();
    victim.unharmed(&output);
    output.fails(1);
}

#[test]
fn words_for_the_terminal() {
    let registry = Registry::with(|request, reply| {
        if request.path.contains("/manifests/") {
            let body = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"\\u001b[2J\\u001b]0;owned\\u0007 gone\\u009b31m\"}]}";
            return Reply::new(403, body).header("Content-Type", "application/json");
        }
        reply
    });
    let error = Home::new().coracle(["pull", &registry.reference("app", "1")]).fails(1);
    assert!(!error.contains(['\x1b', '\x07', '\u{9b}']), "{error:?}");

    let registry = Registry::new();
    let config = br#"{"architecture":"amd64","os":"linux","config":{"Labels":{"a":"\u001b[31mred"},"Cmd":["\u001b[31mred"]},
        "rootfs":{"type":"layers","diff_ids":[]}}"#;
    let home = Home::new();
    let reference = registry.push("app", "1", &Image::with_config(config.to_vec(), Vec::new()));
    if home.coracle(["pull", "-q", &reference]).output().code() == 0 {
        for command in [&["images"][..], &["inspect", &reference], &["ps", "-a"]] {
            let text = home.coracle(command).ok();
            assert!(!text.contains('\x1b'), "{command:?}: {text:?}");
        }
    }
}

#[test]
fn names_from_the_command_line() {
    let home = Home::new();
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "a//b",
        "UPPER/case",
        "x:tag:tag",
        "x@sha256:abc",
        "",
        "-",
        ".",
        "a b",
        "\u{1b}[31m",
    ] {
        for command in [&["pull", "--", name][..], &["tag", "--", "nothing", name]] {
            let output = home.coracle(command).output();
            assert!([1, 125].contains(&output.code()), "{output}");
            assert!(!output.stderr.contains('\x1b'), "{output}");
        }
    }
}

/// A place for tokens that sends on would take the login along.
#[test]
fn a_place_for_tokens_sends_nowhere() {
    let elsewhere = Registry::with(|_, _| Reply::new(200, r#"{"token":"t"}"#));
    let target = elsewhere.address;
    let own = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let address = own.clone();
    let registry = Registry::with(move |request, _| {
        if request.path.starts_with("/token") {
            return Reply::new(307, "").header("Location", format!("http://{target}/token"));
        }
        let realm = format!("http://{}/token", address.get().unwrap());
        Reply::new(401, "").header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
    });
    own.set(registry.address.to_string()).unwrap();
    let home = Home::new();
    let name = registry.push("app", "1", &image());
    home.coracle(["pull", "--creds", "user:secret", &name]).timeout_s(60).fails(1);
    assert!(elsewhere.log().is_empty(), "{:?}", elsewhere.log());
}

/// Thirty seconds each, so on demand only: `CORACLE_TEST_STALLS=1`.
#[test]
fn who_stalls_is_given_up() {
    if std::env::var("CORACLE_TEST_STALLS").unwrap_or_default().is_empty() {
        return;
    }
    let began = std::time::Instant::now();
    let registry = Registry::with(|request, reply| match request.is_blob() {
        true => Reply { pace: Some(1), body: vec![b'x'; 1 << 20], ..reply },
        false => reply,
    });
    let name = registry.push("app", "1", &image());
    let stalled = Registry::with(|_, reply| {
        std::thread::sleep(std::time::Duration::from_secs(600));
        reply
    });
    let silent = stalled.reference("app", "1");
    // A manifest, a token and an error that come byte by byte.
    let crawling = Registry::with(|request, reply| match request.path.contains("/manifests/") {
        true => Reply { pace: Some(1), body: vec![b' '; 1 << 20], ..reply },
        false => reply,
    });
    let manifest = crawling.push("app", "1", &image());
    let refusing =
        Registry::with(|_, _| Reply { pace: Some(1), ..Reply::new(403, vec![b'x'; 1 << 20]) });
    let refusal = refusing.reference("app", "1");
    let home = Home::new();
    let all = [&name, &silent, &manifest, &refusal]
        .map(|name| home.coracle(["pull", name]).timeout_s(170).spawn());
    for one in all {
        one.wait().fails(1);
    }
    // A crawl is looked at for a minute, twice.
    assert!(began.elapsed().as_secs() < 150);
}

/// Whatever a place for tokens answers, it is a token or it is not.
#[test]
fn tokens_that_are_none() {
    let endless = "a".repeat(10 << 20);
    let long = format!(r#"{{"token":"{}"}}"#, "a".repeat(40_000));
    let answers = [
        endless,
        "{}".into(),
        "null".into(),
        r#"{"token":"a\r\nX-Other: b"}"#.into(),
        r#"{"token":"\u001b[2J"}"#.into(),
        r#"{"token":17}"#.into(),
        "[".repeat(60_000),
        long,
    ];
    for answer in answers {
        let own = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
        let (address, sent) = (own.clone(), answer.clone());
        let registry = Registry::with(move |request, _| {
            if request.path.starts_with("/token") {
                return Reply::new(200, sent.clone());
            }
            assert!(request.header("x-other").is_none());
            let realm = format!("http://{}/token", address.get().unwrap());
            Reply::new(401, "").header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
        });
        own.set(registry.address.to_string()).unwrap();
        let name = registry.reference("app", "1");
        let error = Home::new().coracle(["pull", "--retry=0", &name]).timeout_s(60).fails(1);
        assert!(!error.contains('\u{1b}') && error.len() < 2000, "{error}");
        assert!(registry.log().len() < 10, "{:?}", registry.log());
    }
}

/// Bytes of a challenge that mean nothing, or the same many times over.
#[test]
fn challenges_without_measure() {
    for challenge in [
        format!("Bearer {}", "realm=\"http://x/\",".repeat(4000)),
        format!("Bearer realm=\"{}\"", "x".repeat(60_000)),
        "Bearer realm=\"".to_owned() + &"\\".repeat(30_000),
        "Basic ".repeat(8000),
        ",,,=,=\"".to_owned(),
    ] {
        let registry = Registry::with(move |_, _| {
            Reply::new(401, "").header("WWW-Authenticate", challenge.clone())
        });
        let name = registry.reference("app", "1");
        let home = Home::new();
        let output = home.coracle(["pull", "--creds", "user:secret", &name]).timeout_s(30).output();
        assert!(!output.stderr.contains("panicked"), "{output}");
        let error = output.fails(1);
        assert!(!error.contains("secret") && error.len() < 2000, "{error}");
    }
}
