//! What the tests share: a private home for each, the program under test, its needs.

pub mod image;
pub mod needs;
pub mod packed;
pub mod pty;
pub mod registry;
pub mod signing;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// The program under test: `CORACLE_BIN`, or what cargo built beside this suite.
pub fn binary() -> PathBuf {
    env::var_os("CORACLE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_coracle").into(), PathBuf::from)
}

/// A file of the checkout; `tests/run` copies it to where an unprivileged user may read it.
pub fn source(path: &str) -> PathBuf {
    let top = env::var_os("CORACLE_TEST_SOURCE");
    top.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from).join(path)
}

/// The directory of `tests/fixtures/build`.
pub fn fixtures() -> PathBuf {
    let made = env::var_os("CORACLE_TEST_FIXTURES");
    made.map_or_else(|| "/var/tmp/coracle-test/fixtures".into(), PathBuf::from)
}

/// A directory on a file system of this kind, where `tests/run` could mount one.
pub fn file_system(kind: &str) -> Option<PathBuf> {
    let all = env::var_os("CORACLE_TEST_FILESYSTEMS").filter(|path| !path.is_empty())?;
    let path = PathBuf::from(all).join(kind);
    let here = |path: &Path| rustix::fs::stat(path).ok().map(|stat| stat.st_dev);
    (here(&path)? != here(path.parent()?)?).then_some(path)
}

/// Where a test image can be pulled from: the plain registry, or without one the layout itself.
pub fn image(name: &str, tag: &str) -> String {
    match env::var("CORACLE_TEST_PLAIN") {
        Ok(address) => format!("{address}/{name}:{tag}"),
        Err(_) => layout(name, tag),
    }
}

/// The same image in its OCI layout.
pub fn layout(name: &str, tag: &str) -> String {
    format!("oci:{}:{tag}", fixtures().join("oci").join(name).display())
}

pub fn busybox() -> String {
    image("busybox", "latest")
}

/// A home, a store and a runtime directory that no other test sees.
pub struct Home {
    directory: PathBuf,
    kept: bool,
}

impl Home {
    pub fn new() -> Self {
        Self::new_in(&env::temp_dir())
    }

    /// A home elsewhere: on another file system.
    pub fn new_in(place: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("home-").tempdir_in(place).unwrap().keep();
        fs::create_dir(directory.join("run")).unwrap();
        fs::set_permissions(directory.join("run"), fs::Permissions::from_mode(0o700)).unwrap();
        Self { directory, kept: false }
    }

    /// One home for all tests that only run things: each image is pulled once into it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Home> = OnceLock::new();
        SHARED.get_or_init(|| {
            let mut home = Self::new();
            home.kept = true;
            home
        })
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    pub fn store(&self) -> PathBuf {
        self.directory.join(".local/share/coracle")
    }

    pub fn coracle<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        let mut command = Command::new(binary());
        command.args(arguments);
        self.run(command)
    }

    /// Any program, in this home's environment and nothing of the caller's but PATH.
    pub fn run(&self, mut command: Command) -> Run {
        command.env_clear().envs([("LANG", "C.UTF-8"), ("TERM", "xterm")]);
        // podman looks its id ranges up by the name in USER.
        for name in ["PATH", "USER"] {
            command.env(name, env::var_os(name).unwrap_or_default());
        }
        command.env("HOME", &self.directory);
        command.env("XDG_RUNTIME_DIR", self.directory.join("run")).current_dir(&self.directory);
        Run { command, stdin: None, timeout: Duration::from_secs(400) }
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// What is in the store, as sorted lines of path, kind, mode and content's digest: two of
    /// them can be compared to show that something left no trace. The log of events, which grows
    /// with everything, is left out.
    pub fn listing(&self) -> String {
        let listing = listing(&self.store());
        let kept = |line: &&str| !line.contains("/coracle/events");
        listing.lines().filter(kept).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.kept && !thread::panicking() {
            remove_tree(&self.directory);
        }
    }
}

/// Best effort: other ids' files (the range pass) are left for `tests/run`, which is root.
fn remove_tree(path: &Path) {
    if let Ok(entries) = fs::read_dir(path) {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_tree(&entry.path());
            }
        }
    } else if fs::set_permissions(path, fs::Permissions::from_mode(0o700)).is_ok()
        && fs::read_dir(path).is_ok()
    {
        return remove_tree(path);
    }
    let _ = fs::remove_dir_all(path);
}

pub fn listing(directory: &Path) -> String {
    let mut lines = Vec::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(path) = left.pop() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        let mut line = format!("{} {:o}", path.display(), meta.permissions().mode());
        if meta.is_dir() {
            left.extend(
                fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()),
            );
        } else if meta.is_file() {
            let _ = write!(line, " {} bytes", meta.len());
        } else if let Ok(target) = fs::read_link(&path) {
            let _ = write!(line, " -> {}", target.display());
        }
        lines.push(line);
    }
    lines.sort();
    lines.join("\n")
}

/// A command that is about to run.
pub struct Run {
    pub command: Command,
    stdin: Option<Vec<u8>>,
    timeout: Duration,
}

impl Run {
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(input.into());
        self
    }

    pub fn timeout_s(mut self, seconds: u64) -> Self {
        self.timeout = Duration::from_secs(seconds);
        self
    }

    /// Start it with all three streams as pipes.
    pub fn spawn(mut self) -> Running {
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        self.spawn_as_set()
    }

    /// Start it with its input left open for the test to write to.
    pub fn spawn_open(mut self) -> Running {
        self.command.stdin(Stdio::piped());
        self.spawn_as_set()
    }

    fn spawn_as_set(mut self) -> Running {
        let text = format!("{:?}", self.command).replace('"', "");
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{text}: {error}"));
        if let Some(input) = self.stdin {
            let mut pipe = child.stdin.take().unwrap();
            // A thread: the program may answer before it has read everything. EPIPE is its right.
            thread::spawn(move || {
                let _ = pipe.write_all(&input);
            });
        }
        let stdout = drain(child.stdout.take().unwrap());
        let stderr = drain(child.stderr.take().unwrap());
        Running { child, text, stdout, stderr, deadline: Instant::now() + self.timeout }
    }

    pub fn output(self) -> Output {
        self.spawn().wait()
    }

    /// Run it; anything but exit 0 fails the test. Gives its standard output without the last
    /// newline.
    pub fn ok(self) -> String {
        self.output().ok()
    }

    /// Run it; anything but this exit code fails the test. Gives its standard error.
    pub fn fails(self, code: i32) -> String {
        self.output().fails(code)
    }
}

/// What a pipe gives, read as it comes.
struct Drained {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

fn drain(mut pipe: impl Read + Send + 'static) -> Drained {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let shared = bytes.clone();
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            shared.lock().unwrap().extend_from_slice(&buffer[..length]);
        }
    });
    Drained { bytes, reader }
}

/// A command that runs.
pub struct Running {
    pub child: Child,
    text: String,
    stdout: Drained,
    stderr: Drained,
    deadline: Instant,
}

impl Running {
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Wait until something has come from both of its streams.
    pub fn until_heard(&self) {
        let heard = |from: &Drained| !from.bytes.lock().unwrap().is_empty();
        until("output", || heard(&self.stdout) && heard(&self.stderr));
    }

    /// Wait until it waits: ten looks in a row find it asleep.
    pub fn until_asleep(&self) {
        let mut looks = 0;
        until("it to wait", || {
            looks = if state(self.child.id()) == Some('S') { looks + 1 } else { 0 };
            looks == 10
        });
    }

    pub fn wait(mut self) -> Output {
        let status = wait_until(&mut self.child, self.deadline);
        let late = status.is_none();
        let status = status.unwrap_or_else(|| {
            let _ = self.child.kill();
            self.child.wait().unwrap()
        });
        let read = |drained: Drained| {
            drained.reader.join().unwrap();
            String::from_utf8_lossy(&drained.bytes.lock().unwrap()).into_owned()
        };
        let output = Output {
            status,
            text: self.text,
            stdout: read(self.stdout),
            stderr: read(self.stderr),
        };
        assert!(!late, "too slow, killed: {output}");
        output
    }
}

/// Wait in small steps, so that a hang fails one test and not the run.
fn wait_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// A command that ran.
pub struct Output {
    pub status: ExitStatus,
    text: String,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The exit code as a shell would give it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap())
    }

    pub fn ok(self) -> String {
        assert_eq!(self.code(), 0, "{self}");
        self.stdout.trim_end_matches('\n').to_owned()
    }

    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code(), code, "{self}");
        assert!(!self.stderr.contains("panicked"), "{self}");
        self.stderr
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\n-- {}", self.text, self.status)?;
        writeln!(f, "-- stdout\n{}-- stderr\n{}--", self.stdout, self.stderr)
    }
}

/// Whether a process is there and no zombie. Its files are gone a good while before it has ended.
pub fn lives(pid: i32) -> bool {
    state(pid.try_into().unwrap()).is_some_and(|state| !"ZX".contains(state))
}

/// The letter for a process's state, proc_pid_stat(5).
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// The children of all threads of a process (proc_tid_children(5)), as pids with spaces between.
pub fn children_of(pid: u32) -> String {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()).collect()
}

/// Wait until `check` holds; fail with `what` after a minute.
pub fn until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !check() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Fail unless `text` holds each of `parts`.
#[track_caller]
pub fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}
