//! The command: its output, exit code, environment, user, directory, signals.

use std::process::Command;

use nix::sys::signal::Signal;

use super::{pulled, run, run_image, sh};
use crate::requires;
use crate::support::needs::pass;
use crate::support::{Home, binary, has, until};

#[test]
fn output_goes_where_it_should() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let output = run(&[], &["sh", "-c", "echo out; echo err >&2"]).output();
    assert_eq!(output.code(), 0, "{output}");
    assert_eq!(output.stdout, "out\n");
    assert!(output.stderr.ends_with("err\n"), "{output}");
}

#[test]
fn the_exit_code_is_the_commands() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    for code in [0, 1, 37, 125, 255] {
        let script = format!("exit {code}");
        assert_eq!(run(&[], &["sh", "-c", &script]).output().code(), code);
    }
}

/// Whatever its maker did to have it made elsewhere.
#[test]
fn it_runs_on_all_processors_of_its_caller() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let allowed = move |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap_or_default().trim().to_owned()
    };
    let own = allowed(&std::fs::read_to_string("/proc/self/status").unwrap());
    for _ in 0..3 {
        let status = run(&[], &["cat", "/proc/self/status"]).ok();
        assert_eq!(allowed(&status), own);
    }
    let bound = std::thread::spawn(move || {
        use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
        let this = nix::unistd::Pid::from_raw(0);
        let all = sched_getaffinity(this).unwrap();
        let last = (0..CpuSet::count()).rfind(|cpu| all.is_set(*cpu).unwrap()).unwrap();
        let mut set = CpuSet::new();
        set.set(last).unwrap();
        sched_setaffinity(this, &set).unwrap();
        (last.to_string(), allowed(&run(&[], &["cat", "/proc/self/status"]).ok()))
    });
    let (last, of_container) = bound.join().unwrap();
    assert_eq!(of_container, last);
}

/// By a thread that comes before the C library does, and lives as long as the program.
#[test]
#[cfg(target_arch = "x86_64")]
fn its_first_process_is_made_before_all_else() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let threads = |flags: &[&str]| {
        let marker = format!("87{}{}", std::process::id(), flags.len());
        let running = run(flags, &["sleep", &marker]).spawn();
        running.until_asleep();
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
        running.signal(Signal::SIGTERM);
        running.wait();
        status.lines().find_map(|line| line.strip_prefix("Threads:\t").map(str::to_owned)).unwrap()
    };
    // Who has an image to fetch first has the process end: a process with one thread forks that.
    run(&[], &["true"]).ok();
    assert_eq!(
        threads(&[]),
        "3",
        "it, who made the process, and who lent it what is local to a thread"
    );
    assert_eq!(threads(&["--network", "host"]), "3");
    // Not to be told by their looks, or not to be had so.
    for flags in [&["--init"][..], &["--pid=host"], &["--network", "host", "--ipc", "host"]] {
        assert_ne!(threads(flags), "3", "{flags:?}");
    }
}

#[test]
fn a_signal_is_128_and_its_number() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    // Below --init: pid 1 of a namespace cannot be killed from within.
    assert_eq!(run(&["--init"], &["sh", "-c", "kill -9 $$"]).output().code(), 137);
    assert_eq!(run(&["--init"], &["sh", "-c", "kill -SEGV $$"]).output().code(), 139);
}

#[test]
fn a_missing_command_is_127() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    has(
        &run(&[], &["no-such-program"]).fails(127),
        &["no-such-program", "executable file not found in $PATH"],
    );
    has(&run(&[], &["/no/such/program"]).fails(127), &["/no/such/program"]);
    for flags in [&[][..], &["--init"]] {
        has(&run(flags, &[""]).fails(127), &["exec: \"\": executable file not found in $PATH"]);
    }
    // The file is there, what it names as its interpreter is not.
    let script = "printf '#!/no/interpreter\\n' >/s; chmod 755 /s; exec /s";
    assert_eq!(run(&[], &["sh", "-c", script]).output().code(), 127);
}

#[test]
fn a_command_that_cannot_run_is_126() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    has(&run(&[], &["/etc/passwd"]).fails(126), &["/etc/passwd", "permission denied"]);
    has(&run(&[], &["/etc"]).fails(126), &["/etc"]);
    let home = Home::shared();
    let text = home.write("not-a-program", "no program\n");
    std::fs::set_permissions(&text, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let bind = format!("{}:/not-a-program:ro", text.display());
    run(&["-v", &bind], &["/not-a-program"]).fails(126);
}

#[test]
fn the_tools_own_failures_are_125() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let home = Home::shared();
    has(&home.coracle(["run", "--no-such-flag", "x"]).fails(125), &["--no-such-flag"]);
    home.coracle(["run"]).fails(125);
    home.coracle(["run", "Not/A:Reference:"]).fails(125);
    home.coracle(["no-such-command"]).fails(125);
    run_image(&pulled("busybox", "no-command"), &[], &[]).fails(125);
    run(&["-u", "ghost"], &["true"]).fails(125);
}

#[test]
fn stdin_is_streamed_with_i_only() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(run(&["-i"], &["cat"]).stdin("typed\n").ok(), "typed");
    assert_eq!(run(&[], &["cat"]).stdin("typed\n").ok(), "");
    let much = vec![b'x'; 5_000_000];
    assert_eq!(run(&["-i"], &["wc", "-c"]).stdin(much).ok().trim(), "5000000");
    assert_eq!(run(&[], &["head", "-c", "5000000", "/dev/zero"]).ok().len(), 5_000_000);
}

/// A program that ends before it has read its input must end the run.
#[test]
fn an_open_stdin_does_not_hold_the_run() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let output = run(&["-i"], &["echo", "done"]).timeout_s(20).spawn_open();
    assert_eq!(output.wait().ok(), "done");
}

#[test]
fn the_environment_is_the_images_and_the_users() {
    requires!(UserNamespaces, Image("busybox", "latest"), Image("busybox", "shell-entry"));
    let home = Home::shared();
    let file = home.write("env-file", "# a comment\nFROM_FILE=a \"b\" c\n\nFROM_HOST\nNOT_THERE\n");
    let environment = run(
        &["-e", "A=b=c", "-e", "FROM_HOST", "-e", "E=", "--env-file", file.to_str().unwrap()],
        &["env"],
    )
    .env("FROM_HOST", "of the host")
    .env("SECRET", "of the host")
    .ok();
    let lines: Vec<&str> = environment.lines().collect();
    for line in ["A=b=c", "FROM_HOST=of the host", "E=", "FROM_FILE=a \"b\" c", "HOME=/root"] {
        assert!(lines.contains(&line), "no {line} in\n{environment}");
    }
    assert!(!environment.contains("SECRET") && !environment.contains("NOT_THERE"), "{environment}");
    assert!(!environment.contains("XDG_"), "{environment}");

    let entry = pulled("busybox", "shell-entry");
    assert_eq!(run_image(&entry, &[], &[]).ok(), "shell entry hello world");
    assert_eq!(run_image(&entry, &["-e", "GREETING=bye"], &[]).ok(), "shell entry bye");
    let environment = run_image(&entry, &["--entrypoint", "env"], &[]).ok();
    has(&environment, &["\nEMPTY=\n", "QUOTED=\"a b\""]);
}

#[test]
fn entrypoint_and_command_combine_as_dockers() {
    requires!(UserNamespaces, Image("busybox", "entry"));
    let entry = pulled("busybox", "entry");
    assert_eq!(run_image(&entry, &[], &[]).ok(), "entry and cmd");
    assert_eq!(run_image(&entry, &[], &["given"]).ok(), "entry given");
    // A new entrypoint drops the image's command.
    assert_eq!(run_image(&entry, &["--entrypoint", "/bin/echo"], &[]).ok(), "");
    assert_eq!(run_image(&entry, &["--entrypoint", "/bin/echo"], &["x", "y"]).ok(), "x y");
    assert_eq!(run_image(&entry, &["--entrypoint", ""], &["echo", "cleared"]).ok(), "cleared");
}

#[test]
fn flags_after_the_image_are_the_commands() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(run(&[], &["echo", "--rm", "-e", "X", "--help"]).ok(), "--rm -e X --help");
}

#[test]
fn the_user_is_looked_up_in_the_image() {
    requires!(UserNamespaces, Image("busybox", "latest"), Image("busybox", "user-name"));
    let ids = "id -u; id -g";
    let who = "echo $(id -u) $(id -g) $HOME";
    assert_eq!(sh(&[], who), "0 0 /root");
    assert_eq!(sh(&["-u", "nonroot"], who), "1000 1000 /home/nonroot");
    assert_eq!(sh(&["-u", "1000"], who), "1000 1000 /home/nonroot");
    assert_eq!(sh(&["-u", "1000:2000"], "id -u; id -g"), "1000\n2000");
    assert_eq!(sh(&["-u", "nonroot:crew"], "id -u; id -g"), "1000\n2000");
    assert_eq!(sh(&["-u", "4321"], ids), "4321\n0");
    let named = pulled("busybox", "user-name");
    assert_eq!(run_image(&named, &[], &["id", "-un"]).ok(), "nonroot");
    assert_eq!(run_image(&pulled("busybox", "user-id"), &[], &["id", "-g"]).ok(), "2000");
    assert_eq!(
        run_image(&pulled("busybox", "user-unlisted"), &[], &["sh", "-c", ids]).ok(),
        "4321\n0"
    );
    let error = run_image(&pulled("busybox", "user-unknown"), &[], &[]).fails(125);
    has(&error, &["unable to find user ghost: no matching entries in passwd file"]);
    has(&run(&["-u", "0:ghosts"], &["true"]).fails(125), &["ghosts"]);
}

#[test]
fn supplementary_groups_are_the_images() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    if pass() != "range" {
        return; // with one id there is one group
    }
    assert_eq!(sh(&["-u", "nonroot"], "id -G"), "1000 2000 2001");
    assert_eq!(sh(&["-u", "1001"], "id -G"), "1001 2001");
    // An explicit group stands alone, as docker has it.
    assert_eq!(sh(&["-u", "1000:1000"], "id -G"), "1000");
    assert_eq!(sh(&[], "id -G"), "0");
}

#[test]
fn the_working_directory_is_made_when_missing() {
    requires!(UserNamespaces, Image("busybox", "workdir"));
    assert_eq!(sh(&[], "pwd"), "/");
    assert_eq!(sh(&["-w", "/tmp"], "pwd"), "/tmp");
    assert_eq!(sh(&["-w", "/a/b/c"], "pwd"), "/a/b/c");
    let image = pulled("busybox", "workdir");
    assert_eq!(run_image(&image, &[], &[]).ok(), "/made/on/demand");
    assert_eq!(run_image(&image, &["-w", "/bin"], &[]).ok(), "/bin");
    run(&["-w", "/etc/passwd"], &["pwd"]).fails(125);
}

#[test]
fn the_command_is_pid_1_and_below_init_it_is_not() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(sh(&[], "echo $$"), "1");
    assert_ne!(sh(&["--init"], "echo $$"), "1");
    // What the caller typed is none of the container's business: paths, --creds.
    let shown = sh(&["--init", "--creds", "joe:canary"], "tr -d '\\0' </proc/1/cmdline");
    assert_eq!(shown, "coracle-init");
    // Orphans are reaped by init: after a while no zombie is left.
    let script = "(sleep 0.1 &) ; sleep 0.4; grep -l '^State:.Z' /proc/[0-9]*/status; true";
    assert_eq!(sh(&["--init"], script), "");
}

#[test]
fn signals_are_passed_on() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGHUP, "HUP"),
    ] {
        let home = Home::shared();
        let ready = home.path().join(format!("ready-{name}"));
        std::fs::create_dir_all(&ready).unwrap();
        let bind = format!("{}:/ready", ready.display());
        let script = format!(
            "trap 'echo got {name}; exit 42' {name}; touch /ready/now; while :; do sleep 0.05; done"
        );
        let running = run(&["-v", &bind], &["sh", "-c", &script]).spawn();
        until("the container's trap", || ready.join("now").exists());
        running.signal(signal);
        let output = running.wait();
        assert_eq!(
            (output.code(), output.stdout.as_str()),
            (42, format!("got {name}\n").as_str()),
            "{output}"
        );
    }
}

#[test]
fn the_container_dies_with_its_parent() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let marker = format!("86{}", std::process::id());
    for flags in [&[][..], &["--init"]] {
        let running = run(flags, &["sleep", &marker]).spawn();
        until("the container's start", || processes(&marker) > 1);
        running.signal(Signal::SIGKILL);
        assert_eq!(running.wait().code(), 137);
        until("the container's end", || processes(&marker) == 0);
    }
}

/// Processes of this user with this word on their command line.
fn processes(word: &str) -> usize {
    let ids = std::fs::read_dir("/proc").unwrap().flatten();
    ids.filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
    })
    .count()
}

#[test]
fn limits_are_set() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    assert_eq!(sh(&["--ulimit", "nofile=512:1024"], "ulimit -Sn; ulimit -Hn"), "512\n1024");
    assert_eq!(sh(&["--ulimit", "nofile=16:16"], "touch /f; chown 7 /f; stat -c %u /f"), "7");
    // What a start itself has open does not count, nor the listener of who answers for the ids.
    assert_eq!(sh(&["--ulimit", "nofile=3:3"], "ulimit -Hn"), "3");
    assert_eq!(sh(&["--ulimit", "core=0"], "ulimit -c"), "0");
    // podman's word for the caller's, which they are anyway.
    let (mine, host) = (sh(&[], "ulimit -Sn; ulimit -Hn"), ["--ulimit", "host"]);
    assert_eq!(sh(&host, "ulimit -Sn; ulimit -Hn"), mine);
    has(&run(&["--ulimit", "nonsense=1"], &["true"]).fails(125), &["nonsense"]);
}

#[test]
fn many_at_once() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let all: Vec<_> =
        (0..16).map(|n| run(&[], &["sh", "-c", &format!("exit {n}")]).spawn()).collect();
    for (n, running) in all.into_iter().enumerate() {
        let output = running.wait();
        assert_eq!(usize::try_from(output.code()).unwrap(), n, "{output}");
    }
}

#[test]
fn streams_that_are_closed_are_not_another_file() {
    requires!(UserNamespaces, Image("busybox", "latest"));
    let (image, home) = (pulled("busybox", "latest"), Home::shared());
    let said = home.path().join("closed-streams");
    let inside = "for n in 0 2; do readlink /proc/self/fd/$n; done; ls /proc/self/fd | wc -l";
    let mut command = Command::new("/bin/sh");
    let line = "exec \"$0\" run --rm \"$1\" sh -c \"$2\" <&- 2>&- >\"$3\"";
    command.args(["-c", line]).arg(binary()).args([&image, inside]).arg(&said);
    home.run(command).ok();
    // Its own three, and the directory that ls reads.
    assert_eq!(std::fs::read_to_string(&said).unwrap(), "/dev/null\n/dev/null\n4\n");
}
