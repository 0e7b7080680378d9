//! `logs`

use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::Box;
use crate::requires;
use crate::support::{has, until};

#[test]
fn both_streams_apart_and_the_end_of_it() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done; printf 'no end'";
    b.run_d(&["--name", "web"], &["sh", "-c", script]);
    b.ok(&["wait", "web"]);
    let all = b.output(&["logs", "web"]);
    assert_eq!(all.stdout, "out 1\nout 2\nout 3\nout 4\nout 5\nno end");
    assert_eq!(all.stderr, "err 1\nerr 2\nerr 3\nerr 4\nerr 5\n");
    assert_eq!(b.ok(&["logs", "--tail", "1", "web"]), "no end");
    assert_eq!(b.output(&["logs", "-n", "0", "web"]).stdout, "");
    assert_eq!(b.output(&["logs", "--tail", "all", "web"]).stdout, all.stdout);
    let stamped = b.ok(&["logs", "-t", "web"]);
    let (time, rest) = stamped.split_once(' ').unwrap();
    assert!(
        time.starts_with("20") && time.ends_with('Z') && rest.starts_with("out 1"),
        "{stamped}"
    );
    assert_eq!(b.ok(&["logs", "--since", "1h", "web"]).len(), all.stdout.len());
    assert_eq!(b.output(&["logs", "--until", "1h", "web"]).stdout, "");
    assert_eq!(b.output(&["logs", "--since", "2099-01-01T00:00:00Z", "web"]).stdout, "");
    b.coracle(&["logs", "--since", "yesterday", "web"]).fails(125);
    has(&b.coracle(&["logs", "nobody"]).fails(1), &["No such container: nobody"]);
}

/// docker's own format, for whoever collects logs.
#[test]
fn the_file_is_json_lines() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let id = b.run_d(&["--name", "web"], &["sh", "-c", "echo \"a\\\"b\"; echo x >&2"]);
    b.ok(&["wait", "web"]);
    let path = b.home.store().join("containers").join(&id).join(format!("{id}-json.log"));
    let text = std::fs::read_to_string(path).unwrap();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let time = value["time"].as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok());
        match value["stream"].as_str().unwrap() {
            "stdout" => assert_eq!(value["log"], "a\"b\n"),
            "stderr" => assert_eq!(value["log"], "x\n"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn what_is_wanted_goes_with_every_line() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let wanted = ["--log-opt", "labels=tier,none", "--log-opt", "env=A", "-l", "tier=front row"];
    let flags = [&["--name", "web", "-e", "A=1"][..], &wanted].concat();
    let id = b.run_d(&flags, &["echo", "hello"]);
    b.ok(&["wait", "web"]);
    let path = b.home.store().join("containers").join(&id).join(format!("{id}-json.log"));
    let attributes = r#""stream":"stdout","attrs":{"A":"1","tier":"front row"},"time":""#;
    has(&std::fs::read_to_string(path).unwrap(), &[attributes]);
    assert_eq!(b.ok(&["logs", "web"]), "hello");
    assert_eq!(b.ok(&["logs", "--details", "web"]), "A=1,tier=front+row hello");
    let options = b.field("web", ".HostConfig.LogConfig.Config");
    has(&options, &["env:A", "labels:tier,none"]);
    b.run_d(&["--name", "bare"], &["echo", "hello"]);
    b.ok(&["wait", "bare"]);
    assert_eq!(b.coracle(&["logs", "--details", "bare"]).output().stdout, " hello\n");
}

#[test]
fn they_are_followed_to_the_end() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let script = "for i in 1 2 3; do echo $i; sleep 0.2; done; printf last";
    b.run_d(&["--name", "web"], &["sh", "-c", script]);
    let began = Instant::now();
    let many: Vec<_> = (0..3).map(|_| b.coracle(&["logs", "-f", "web"]).spawn()).collect();
    for one in many {
        assert_eq!(one.wait().ok(), "1\n2\n3\nlast");
    }
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(b.ok(&["logs", "-f", "--tail", "1", "web"]), "last", "of one that has ended");
}

/// As in `logs -f | head -1`: nothing more comes that they could fail to write.
#[test]
fn who_follows_ends_with_its_reader() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["--name", "web"], &["sh", "-c", "echo one; exec sleep 600"]);
    for words in [&["logs", "-f", "web"][..], &["events", "--since", "1h"]] {
        let mut child = b.coracle(words).command.stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        until("its end", || child.try_wait().unwrap().is_some());
    }
}

#[test]
fn they_take_turns_within_their_bounds() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    let flags = ["--name", "web", "--log-opt", "max-size=20k", "--log-opt", "max-file=3"];
    let id = b.run_d(
        &flags,
        &["sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"],
    );
    b.ok(&["wait", "web"]);
    let directory = b.home.store().join("containers").join(&id);
    let sizes: Vec<u64> = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("-json.log"))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 3);
    // A batch of lines is written whole.
    assert!(sizes.iter().all(|size| *size < 2_000_000), "{sizes:?}");
    assert_eq!(b.ok(&["logs", "--tail", "2", "web"]), "line 2998\nline 2999");
    let all = b.ok(&["logs", "web"]);
    let numbers: Vec<u32> = all.lines().map(|line| line[5..].parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "no gap");
}

#[test]
fn none_is_kept_where_none_is_asked_for() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["--name", "web", "--log-driver", "none"], &["echo", "x"]);
    b.ok(&["wait", "web"]);
    has(&b.coracle(&["logs", "web"]).fails(1), &["does not support reading"]);
    for (driver, option) in
        [("none", "max-size=1m"), ("json-file", "colour=x"), ("json-file", "max-size=0")]
    {
        let flags = ["--log-driver", driver, "--log-opt", option];
        b.started("run", &flags, &["true"]).fails(125);
    }
    b.started("run", &["--log-driver", "syslog"], &["true"]).fails(125);
}

/// A program is not held up by a log, and loses nothing on the way to it.
#[test]
fn much_is_logged_whole() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let b = Box::new();
    b.run_d(&["--name", "web"], &["sh", "-c", "seq 1 200000"]);
    until("its end", || b.status("web") == "exited");
    let text = b.ok(&["logs", "web"]);
    assert_eq!(text.lines().count(), 200_000);
    assert!(text.ends_with("\n199999\n200000"));
}
