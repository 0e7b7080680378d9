//! Hooks: programs run at points of a container's life (runtime-spec, config.md, "POSIX-platform
//! Hooks").

use std::ffi::{CString, NulError, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::Error;
use super::stage::{At, Failure, Stage};
use crate::bundle::{Hook, Hooks};
use crate::sys;
use crate::sys::exec::CStrings;
use crate::sys::fork::Ending;

/// What hooks are told of their container on stdin (runtime-spec, runtime.md, "State").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookState {
    /// The container's ID.
    pub id: String,
    /// Absolute path of its bundle.
    pub bundle: PathBuf,
    /// Its annotations.
    pub annotations: std::collections::BTreeMap<String, String>,
}

impl HookState {
    /// The state as JSON: `status` is `creating`, `created`, `running` or `stopped`; no pid when
    /// there is no process.
    pub fn json(&self, status: &str, pid: Option<i32>) -> Vec<u8> {
        self.value(status, pid).to_string().into_bytes()
    }

    /// The same, as a part of something else.
    pub(super) fn value(&self, status: &str, pid: Option<i32>) -> Value {
        let mut state = json!({
            "ociVersion": "1.2.0",
            "id": self.id,
            "status": status,
            "bundle": self.bundle,
            "annotations": self.annotations,
        });
        if let Some(pid) = pid {
            state["pid"] = pid.into();
        }
        state
    }
}

/// The hooks that the child runs, and whether it must wait for those of the parent.
#[derive(Debug)]
pub(super) struct ChildHooks {
    pub(super) create_container: Vec<HookPlan>,
    pub(super) start_container: Vec<HookPlan>,
}

/// One hook, ready for execve(2).
#[derive(Debug)]
pub(super) struct HookPlan {
    path: CString,
    arguments: CStrings,
    environment: CStrings,
    timeout: Option<Duration>,
}

/// The two states that a child's hooks are told.
#[derive(Debug, Default)]
pub(super) struct ToldStates {
    pub(super) creating: Vec<u8>,
    pub(super) created: Vec<u8>,
}

/// Whether the two sides must meet before the container's root is entered.
pub(super) fn must_meet(hooks: &Hooks) -> bool {
    let Hooks { prestart, create_runtime, create_container, start_container, .. } = hooks;
    [prestart, create_runtime, create_container, start_container].iter().any(|it| !it.is_empty())
}

impl ChildHooks {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.create_container.is_empty() && self.start_container.is_empty()
    }

    pub(super) fn new(hooks: &Hooks) -> Result<Self, NulError> {
        let plans = |hooks: &[Hook]| hooks.iter().map(HookPlan::new).collect::<Result<_, _>>();
        Ok(Self {
            create_container: plans(&hooks.create_container)?,
            start_container: plans(&hooks.start_container)?,
        })
    }
}

/// The most that a state may take, in bytes: what a pipe holds without a reader (pipe(7)).
const LARGEST: usize = 64 << 10;

/// Tells the parent that the namespaces are there and waits until its hooks are done.
pub(super) fn meet(socket: &OwnedFd, states: &mut ToldStates) -> Result<(), Errno> {
    rustix::io::write(socket, b"r")?;
    for state in [&mut states.creating, &mut states.created] {
        state.resize(LARGEST, 0);
        let length = rustix::io::read(socket, &mut state[..])?;
        if length == 0 {
            return Err(Errno::CANCELED); // the parent gave up; it knows why
        }
        state.truncate(length);
    }
    Ok(())
}

/// The parent's side of `meet`: runs its hooks in between. A child that died says nothing.
pub(super) fn answer(
    socket: &OwnedFd,
    hooks: &Hooks,
    state: &HookState,
    pid: i32,
) -> Result<(), Error> {
    if rustix::io::read(socket, &mut [0_u8][..]).map_err(Error::Pipe)? == 0 {
        return Ok(());
    }
    let creating = state.json("creating", Some(pid));
    run_all(&hooks.prestart, &creating)?;
    run_all(&hooks.create_runtime, &creating)?;
    for state in [creating, state.json("created", Some(pid))] {
        rustix::net::send(socket, &state, rustix::net::SendFlags::NOSIGNAL).map_err(Error::Pipe)?;
    }
    Ok(())
}

/// Runs hooks one after another with `state` on their stdin; the first that fails ends it.
pub fn run_all(hooks: &[Hook], state: &[u8]) -> Result<(), Error> {
    for hook in hooks {
        let failed = |why: Errno| Error::Hook { path: hook.path.clone(), why: reason(why) };
        HookPlan::new(hook)?.run(state).map_err(failed)?;
    }
    Ok(())
}

/// Runs all of them, whatever becomes of each; gives the failures.
pub fn run_each(hooks: &[Hook], state: &[u8]) -> Vec<Error> {
    let one = |hook| run_all(std::slice::from_ref(hook), state).err();
    hooks.iter().filter_map(one).collect()
}

/// Where the numbers begin that stand for a hook's end: no errno is as large (errno(3)), and a child has no
/// other words. A status is added to it, or 256 and a signal.
const ENDED: i32 = 2048;

fn ended(ending: Ending) -> Result<(), Errno> {
    let number = match ending {
        Ending::Status(0) => return Ok(()),
        Ending::Status(status) => i32::from(status),
        Ending::Signal(signal) => 256 + i32::from(signal),
    };
    Err(Errno::from_raw_os_error(ENDED + number))
}

/// How a hook's failure is told.
pub(super) fn reason(errno: Errno) -> String {
    match errno.raw_os_error() - ENDED {
        NOT_FOUND => "it ended with status 127, as what is not there does".to_owned(),
        NOT_EXECUTABLE => "it ended with status 126, as what cannot be executed does".to_owned(),
        status @ 0..256 => format!("it ended with status {status}"),
        signal @ 256.. => format!("signal {} ended it", signal - 256),
        _ if errno == Errno::TIMEDOUT => {
            "it took longer than its timeout and was killed".to_owned()
        }
        _ => errno.to_string(),
    }
}

const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Runs the child's hooks of one kind.
pub(super) fn run_plans(plans: &[HookPlan], state: &[u8], stage: Stage) -> Result<(), Failure> {
    for (item, plan) in plans.iter().enumerate() {
        plan.run(state).at_item(stage, item)?;
    }
    Ok(())
}

impl HookPlan {
    fn new(hook: &Hook) -> Result<Self, NulError> {
        let path = hook.path.as_os_str();
        let own = [OsString::from(path)];
        let args = if hook.args.is_empty() { &own[..] } else { &hook.args };
        Ok(Self {
            path: CString::new(path.as_bytes())?,
            arguments: CStrings::new(args)?,
            environment: CStrings::new(&hook.env)?,
            timeout: hook.timeout,
        })
    }

    fn run(&self, state: &[u8]) -> Result<(), Errno> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let child = sys::fork::in_child(|| {
            sys::process::reset_signals();
            if rustix::stdio::dup2_stdin(&reader).is_err() {
                return 126;
            }
            let errno = sys::exec::execve(&self.path, &self.arguments, &self.environment);
            if errno == Errno::NOENT { 127 } else { 126 }
        });
        let child = child.map_err(|error| error.errno)?;
        // It fits into the pipe; a hook that does not read it is none the worse for it. This end for
        // reading is still open, or a hook that ended already would cost us a SIGPIPE.
        let state = &state[..state.len().min(LARGEST)];
        rustix::io::write(&writer, state)?;
        drop((reader, writer));
        if let Some(timeout) = self.timeout {
            let mut polled = [PollFd::new(&child.pidfd, PollFlags::IN)];
            let patience = Timespec::try_from(timeout).map_err(|_| Errno::INVAL)?;
            if rustix::event::poll(&mut polled, Some(&patience))? == 0 {
                rustix::process::pidfd_send_signal(&child.pidfd, Signal::KILL)?;
                child.wait()?;
                return Err(Errno::TIMEDOUT);
            }
        }
        ended(child.ending()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, timeout: Option<Duration>) -> Hook {
        Hook {
            path: "/bin/sh".into(),
            args: ["sh", "-c", script].map(OsString::from).to_vec(),
            env: vec!["A=b".into()],
            timeout,
        }
    }

    #[test]
    fn a_hook_gets_the_state_and_its_environment() {
        let told = tempfile::NamedTempFile::new().expect("a file");
        let script = format!("(echo $A; cat) > {}", told.path().display());
        let state = HookState { id: "box".into(), ..HookState::default() };
        run_all(&[hook(&script, None)], &state.json("created", Some(7))).expect("ran");
        let text = std::fs::read_to_string(told.path()).expect("told");
        let (variable, json) = text.split_once('\n').expect("two parts");
        let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
        assert_eq!((variable, &json["status"], &json["pid"]), ("b", &json!("created"), &json!(7)));
    }

    #[test]
    fn a_failing_and_a_slow_hook_are_told_apart() {
        let failed = run_all(&[hook("exit 3", None)], b"{}").expect_err("a failure");
        assert!(failed.to_string().contains("it ended with status 3"), "{failed}");
        let killed = run_all(&[hook("kill -9 $$", None)], b"{}").expect_err("a signal");
        assert!(killed.to_string().contains("signal 9 ended it"), "{killed}");
        let nowhere = Hook { path: "/nosuch".into(), ..hook("", None) };
        let nowhere = run_all(&[nowhere], b"{}").expect_err("no program");
        assert!(nowhere.to_string().contains("status 127"), "{nowhere}");
        let soon = Some(Duration::from_millis(50));
        let slow = run_all(&[hook("exec sleep 60", soon)], b"{}").expect_err("a timeout");
        assert!(slow.to_string().contains("timeout"), "{slow}");
    }
}
