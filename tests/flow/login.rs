//! Logins: checked, kept, used, forgotten.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::pull::{address, login};
use crate::requires;
use crate::support::{Home, has};

fn user() -> (String, String) {
    let variable = |name| env::var(name).unwrap();
    (variable("CORACLE_TEST_USER"), variable("CORACLE_TEST_PASSWORD"))
}

#[test]
fn a_login_is_checked_kept_used_and_forgotten() {
    requires!(Registry);
    let (user, password) = user();
    for kind in ["BASIC", "GUARDED"] {
        let (home, host) = (Home::new(), address(kind));
        let file = home.path().join(".docker/config.json");
        home.write(".docker/config.json", r#"{"psFormat":"table"}"#);
        let error = home
            .coracle(["login", "-u", &user, "--password-stdin", &host])
            .stdin("wrong\n")
            .fails(1);
        has(&error, &["unauthorized", &host]);
        assert!(!fs::read_to_string(&file).unwrap().contains("auths"), "a wrong login was kept");
        let input = format!("{password}\n");
        let done =
            home.coracle(["login", "-vu", &user, "--password-stdin", &host]).stdin(input).output();
        has(&done.stderr, &["unencrypted"]);
        assert_eq!(done.ok(), format!("Used: {}\nLogin Succeeded", file.display()));
        let text = fs::read_to_string(&file).unwrap();
        has(&text, &["psFormat", &host]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(home.coracle(["login", "--get-login", &host]).ok(), user);
        assert_eq!(home.coracle(["login", &host]).ok(), "Login Succeeded");
        if kind == "BASIC" {
            home.coracle(["pull", "-q", &format!("{host}/private/busybox:latest")]).ok();
        }
        let gone = home.coracle(["logout", &host]).ok();
        assert_eq!(gone, format!("Removing login credentials for {host}"));
        assert_eq!(home.coracle(["logout", &host]).ok(), format!("Not logged in to {host}"));
        has(&home.coracle(["login", "--get-login", &host]).fails(125), &["not logged into"]);
        has(&home.coracle(["login", &host]).fails(125), &["non TTY device"]);
    }
}

#[test]
fn a_part_of_a_registry_has_a_login_of_its_own() {
    requires!(Registry);
    let (user, password) = user();
    let (home, host) = (Home::new(), address("BASIC"));
    let file = home.path().join("auth.json");
    let authfile = format!("--authfile={}", file.display());
    let part = format!("{host}/private");
    home.coracle(["login", &authfile, "-u", &user, "-p", &password, &part]).ok();
    let name = format!("{host}/private/busybox:latest");
    home.coracle(["pull", "-q", &authfile, &name]).ok();
    has(
        &home.coracle(["pull", "-q", &authfile, &format!("{host}/busybox:latest")]).fails(1),
        &["401"],
    );
    home.coracle(["logout", &authfile, "--all"]).ok();
    home.coracle(["pull", "-q", &authfile, "--policy=always", &name]).fails(1);
}

#[test]
fn two_logins_at_once_are_both_kept() {
    requires!(Registry);
    let home = Home::new();
    let (user, password) = user();
    let hosts: Vec<String> = (0..6).map(|n| format!("{}/part{n}", address("BASIC"))).collect();
    let running: Vec<_> = hosts
        .iter()
        .map(|host| home.coracle(["login", "-u", &user, "-p", &password, host]).spawn())
        .collect();
    for one in running {
        one.wait().ok();
    }
    for host in &hosts {
        assert_eq!(home.coracle(["login", "--get-login", host]).ok(), user);
    }
    assert!(login().contains(&user));
}

/// `credential-helpers` of `registries.conf`: who is named before the files keeps a login, and is asked.
#[test]
fn a_helper_for_all_registries_keeps_logins() {
    requires!(Registry);
    let (home, host) = (Home::new(), address("BASIC"));
    let (user, password) = user();
    let kept = home.path().join("kept");
    let script = "#!/bin/sh\nread -r word\ncase $1 in store) echo \"$word\" >KEPT ;; erase) : >KEPT ;;\n\
                  *) [ -s KEPT ] && cat KEPT || { echo credentials not found in native keychain; exit 1; } ;;\nesac\n";
    let script = script.replace("KEPT", kept.to_str().unwrap());
    let helper = home.write("bin/docker-credential-test", script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let conf =
        home.write("registries.conf", "credential-helpers = ['test', 'containers-auth.json']");
    let path = format!("{}:{}", helper.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let coracle = |words: &[&str]| {
        home.coracle(words).env("CONTAINERS_REGISTRIES_CONF", &conf).env("PATH", &path)
    };
    let words = ["login", "-v", "-u", &user, "--password-stdin", &host];
    assert_eq!(coracle(&words).stdin(password).ok(), "Used: test\nLogin Succeeded");
    has(&fs::read_to_string(&kept).unwrap(), &[&host, &user]);
    assert!(!home.path().join(".docker/config.json").exists(), "it is in a file too");
    let name = format!("{host}/private/busybox:latest");
    // A file that is named is the only one that is asked.
    coracle(&["pull", "-q", "--authfile", "none.json", &name]).fails(1);
    coracle(&["pull", "-q", &name]).ok();
    let gone = coracle(&["logout", &host]).ok();
    assert_eq!(gone, format!("Removing login credentials for {host}"));
    assert_eq!(fs::read(&kept).unwrap(), b"");
}
