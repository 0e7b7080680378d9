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
            home.coracle(["login", "-u", &user, "--password-stdin", &host]).stdin(input).output();
        has(&done.stderr, &["unencrypted"]);
        assert_eq!(done.ok(), "Login Succeeded");
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
