//! `--init`: a pid 1 that forwards signals, reaps what is orphaned, and ends as its child did.

use rustix::process::{Pid, WaitOptions};

use crate::sys;

/// Serves as pid 1 until `child` ends, then ends with its status.
///
/// All signals are blocked when this starts, so none is lost between two waits.
pub(super) fn reap_until(child: Pid) -> ! {
    loop {
        let signal = sys::process::wait_signal();
        if signal != libc::SIGCHLD {
            // To the child alone, as tini does without -g; one already gone is no error.
            let _ = sys::process::kill(child, signal);
            continue;
        }
        // One SIGCHLD may stand for many children.
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == child && (status.exited() || status.signaled()) {
                let code = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => code,
                    (None, Some(signal)) => 128 + signal,
                    (None, None) => 255,
                };
                sys::fork::exit(u8::try_from(code).unwrap_or(u8::MAX));
            }
        }
    }
}
