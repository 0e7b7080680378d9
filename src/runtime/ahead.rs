//! A container's first process, made before it is known what it will be.
//!
//! New namespaces take the kernel a millisecond, the network's most of all. So who runs a container has
//! them made by a thread, while it plans itself what is to happen in them:
//!
//! ```text
//! the caller    begin ── ids ─ furnish ── root ─ make_root ── plans ── hand_over ─► pid ────── finish
//! a thread        └─ clone(NEW…, shared memory) ─ stands still until the exec, as vfork(2) has it ─ ends
//! the process             └─ mounts ── ids, /proc, /dev, /sys of them ── overlay ── orders ─► steps ─ exec
//! ```
//!
//! Where the namespaces are told by the looks of a command, thread and process are there before the C library is
//! (`sys::early`), and this thread lends them what they lack.
//!
//! The process shares the caller's memory until the exec, so that no page table is copied and no page
//! either; its stack is its own, and the thread lends it what is thread-local. Descriptors are shared
//! until the orders come, which is how it gets those that were opened meanwhile; those of the mounts that
//! it made before are closed by the caller then.

use std::hint::spin_loop;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid};
use rustix::thread::{UnshareFlags, futex, gettid};

use super::init::{self, Ends};
use super::launch::Launch;
use super::plan::Plan;
use super::ready::Ready;
use super::{Error, spawn};
use crate::bundle::{Interior, Namespaces};
use crate::mount::{Mount, RootMount};
use crate::supervisor::Left;
use crate::sys;
use crate::sys::early::Early;
use crate::sys::fork::Child;
use crate::sys::processor::{Before, Elsewhere};
use crate::sys::thread::Thread;
use crate::userns::{self, ChildMaps, IdMaps, Mode};

/// A process in namespaces of its own that waits for its orders.
#[derive(Debug)]
pub struct Ahead {
    new: UnshareFlags,
    berth: Arc<Berth>,
    thread: Option<Thread>,
    /// Those that it has, where it has them already.
    ids: Option<IdMaps>,
    /// overlayfs's scratch directory, where the process may have made the root.
    work: Option<PathBuf>,
}

/// What the process is to do.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) plan: Plan,
    pub(super) ends: Ends,
    /// The caller's end of the report, which the process must not hold: it learns by it that nobody listens.
    pub(super) not_its: RawFd,
}

/// Where caller, thread and process meet.
#[derive(Debug)]
struct Berth {
    /// One of the numbers below, and a futex.
    stage: AtomicU32,
    pid: AtomicI32,
    /// The thread.
    carrier: AtomicI32,
    likely: Vec<Mount>,
    /// Filled by the caller, each before a `PREPARING`, and read by the process after. They stay the
    /// caller's: who frees the caller's memory locks it for whom that forks meanwhile.
    interior: OnceLock<(Interior, IdMaps, Mutex<ChildMaps>)>,
    root: OnceLock<(RootMount, bool)>,
    /// Descriptors that the process opened while they were everybody's.
    opened: Mutex<Vec<RawFd>>,
    /// Never locked by two: the caller fills it before `ORDERED`, the process empties it after.
    orders: Mutex<Option<Box<Orders>>>,
    /// What the thread is to let go of in the end.
    left: Mutex<Option<Left>>,
    /// Where the process may run in the end, if there is a processor for it besides its maker's.
    before: Option<Before>,
    /// Who must be alive.
    caller: OwnedFd,
}

const WAITING: u32 = 0;
/// There is more that the process is known to need, and may make.
const PREPARING: u32 = 1;
const ORDERED: u32 = 2;
/// The process has its orders, and descriptors of its own.
const TAKEN: u32 = 3;
const UNWANTED: u32 = 4;
/// There is no process any more that shares memory, or never was.
const OVER: u32 = 5;
/// The program has ended, and there is something to let go of.
const LEFT: u32 = 6;

/// Whoever waits or prepares has yet to hear what becomes of it.
const UNDECIDED: [u32; 2] = [WAITING, PREPARING];

/// How long the process looks for its next orders without sleeping.
const PATIENCE: Duration = Duration::from_micros(300);

impl Ahead {
    /// Has a process made in those of the namespaces that are new, which makes the mounts that are likely
    /// while it waits. `None` where that is not to be had: then it is made the common way, which says why.
    pub fn begin(namespaces: &Namespaces, likely: Vec<Mount>) -> Option<Self> {
        let new = spawn::new_ahead(namespaces)?;
        let early = sys::early::take(new);
        let caller = match &early {
            Some(early) => early.program().ok()?,
            None => rustix::process::pidfd_open(getpid(), PidfdFlags::empty()).ok()?,
        };
        let elsewhere = Elsewhere::find();
        let berth = Arc::new(Berth {
            stage: AtomicU32::new(WAITING),
            pid: AtomicI32::new(0),
            carrier: AtomicI32::new(0),
            likely,
            interior: OnceLock::new(),
            root: OnceLock::new(),
            opened: Mutex::new(Vec::new()),
            orders: Mutex::new(None),
            left: Mutex::new(None),
            before: elsewhere.as_ref().map(Elsewhere::before),
            caller,
        });
        let theirs = Arc::clone(&berth);
        let its = elsewhere.clone();
        let work = move || {
            its.as_ref().inspect(|its| its.settle());
            theirs.carry(new, early);
        };
        sys::heap::offer();
        // It must take no signal that the caller waits for.
        let begin = || sys::thread::begin(64 << 10, work);
        let thread = sys::process::with_signals_blocked(begin);
        let thread = thread.ok()?;
        elsewhere.inspect(|elsewhere| elsewhere.take(&thread));
        Some(Self { new, berth, thread: Some(thread), ids: None, work: None })
    }

    /// Whether the process can be what a launch asks for: in these namespaces, and on its way to an
    /// exec, for which it neither waits nor starts others first.
    pub(super) fn fits(&self, plan: &Plan, ends: &Ends, launch: &Launch<'_>) -> bool {
        let straight = !plan.program.init && plan.hooks.is_empty() && ends.streams.gate.is_none();
        straight && self.may_have(launch.ids) && self.is_in(&launch.spec.namespaces)
    }

    /// Whether the process has these ids, or none yet.
    pub fn may_have(&self, ids: &IdMaps) -> bool {
        self.ids.as_ref().is_none_or(|its| its == ids)
    }

    /// The namespaces that one is made in; `None` where it is not to be had.
    #[cfg(test)]
    pub(crate) fn namespaces(namespaces: &Namespaces) -> Option<UnshareFlags> {
        spawn::new_ahead(namespaces)
    }

    /// Whether the process is in these namespaces.
    pub fn is_in(&self, namespaces: &Namespaces) -> bool {
        spawn::new_ahead(namespaces) == Some(self.new)
    }

    /// Whether the process has its ids, and what is below its root.
    pub fn is_furnished(&self) -> bool {
        self.ids.is_some()
    }

    /// Lets the process take on its ids and make what is below its root, while all else is decided. Nothing
    /// is lost where that fails, or turns out to be something else: it is made again then, the process too
    /// if need be. The ids are such that it maps them itself (`Mode::Single`).
    pub fn furnish(&mut self, interior: Interior, ids: &IdMaps) -> Result<(), Error> {
        debug_assert_eq!(ids.mode, Mode::Single);
        let (maps, _) = userns::prepare(ids)?;
        self.ids = Some(ids.clone());
        let _ = self.berth.interior.set((interior, ids.clone(), Mutex::new(maps)));
        self.berth.change(&[WAITING], PREPARING);
        Ok(())
    }

    /// Lets the process make its root, if it has taken on its ids; whose directories are there. `volatile`:
    /// the root's changes may be lost by a crash of the machine.
    pub fn make_root(&mut self, root: &RootMount, volatile: bool) {
        if let RootMount::Overlay { work, .. } = root {
            self.work = Some(work.clone());
        }
        let _ = self.berth.root.set((root.clone(), volatile));
        self.berth.change(&[WAITING], PREPARING);
    }

    /// Lets the process go on; the thread has nothing to do then. Where there is no process, the orders come
    /// back, unless it has taken them and no descriptor of it is to be had.
    pub(super) fn hand_over(
        mut self,
        orders: Box<Orders>,
    ) -> Result<(Child, Aside), Option<Box<Orders>>> {
        let copies = orders.ends.descriptors();
        *held(&self.berth.orders) = Some(orders);
        self.berth.change(&UNDECIDED, ORDERED);
        self.berth.wait_while(ORDERED);
        if let Some(orders) = held(&self.berth.orders).take() {
            return Err(Some(orders));
        }
        sys::process::close_copies(&copies);
        self.berth.close_opened();
        // It stays as long as the caller.
        let aside = self.thread.take().map(|_| Aside { berth: Arc::clone(&self.berth) });
        self.berth.child().zip(aside).ok_or(None)
    }
}

/// The thread of a process that was made ahead and has memory of its own by now.
#[derive(Debug)]
pub(super) struct Aside {
    berth: Arc<Berth>,
}

impl Aside {
    /// Has the thread let go of what the kernel takes a while for.
    pub(super) fn let_go(&self, left: Left) {
        *held(&self.berth.left) = Some(left);
        if let Some(thread) = Pid::from_raw(self.berth.carrier.load(Ordering::Acquire)) {
            // The processor of the program that has just ended will be free, and seems not to be yet.
            sys::processor::send_away(thread);
        }
        self.berth.stage.store(LEFT, Ordering::Release);
        wake(&self.berth.stage);
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.berth.change(&UNDECIDED, UNWANTED);
        thread.join();
        if let Some(child) = self.berth.child() {
            let _ = child.wait();
        }
        self.berth.close_opened();
        if let Some(work) = &self.work {
            // A volatile overlay leaves a mark there, by which no other is mounted over it
            // (Documentation/filesystems/overlayfs.rst, "Volatile mount").
            let _ = sys::remove_tree(&work.join("work"));
        }
    }
}

impl Berth {
    /// The thread: has the process made, and stands still until that has memory of its own.
    fn carry(&self, new: UnshareFlags, early: Option<Early>) {
        self.carrier.store(gettid().as_raw_nonzero().get(), Ordering::Release);
        let mut plan = None;
        // Nothing to tell of a failure: who finds no process makes one.
        let mut work = || self.become_program(new, &mut plan);
        match &early {
            Some(early) => early.lend(&self.pid, &mut work),
            None => drop(sys::fork::clone_sharing(new, &self.pid, &mut work)),
        }
        drop(plan);
        let last = self.stage.swap(OVER, Ordering::AcqRel);
        wake(&self.stage);
        if [TAKEN, LEFT].contains(&last) {
            // The process asked to die with its parent, which to the kernel is the thread. What is let go of in the
            // end is so when the process is ending anyway.
            while held(&self.left).take().is_none() {
                self.wait_while(OVER);
            }
        }
        drop(early); // as whose child the process was until now
    }

    /// The process: waits for its orders and does them. Its ends are its own, the plan is left to who
    /// goes on with this memory.
    fn become_program(&self, new: UnshareFlags, kept: &mut Option<Plan>) -> u8 {
        let dies = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        // A caller who was killed before that will not take it along.
        if dies.is_err() || spawn::has_ended(&self.caller) {
            return 0;
        }
        sys::process::default_signals();
        // It has the time, and whoever does it later will say why it cannot be.
        let has_loopback =
            new.contains(UnshareFlags::NEWNET) && sys::network::loopback_up().is_ok();
        if self.before.is_some() {
            sys::processor::stay();
        }
        let mut ready = Ready::default();
        ready.collect(&self.likely);
        *held(&self.opened) = ready.descriptors();
        let mut prepared = [false; 2];
        let decision = loop {
            let decision = self.next_word();
            // What is asked for from now on is another turn.
            self.change(&[PREPARING], WAITING);
            if decision != UNWANTED {
                self.prepare(&mut ready, &mut prepared);
            }
            if decision != PREPARING {
                break decision;
            }
        };
        if decision != ORDERED {
            std::mem::forget(ready); // they are the caller's to close
            return 0;
        }
        if sys::process::own_descriptors().is_err() {
            std::mem::forget(ready);
            return 1;
        }
        let Some(orders) = held(&self.orders).take() else { return 1 };
        let Orders { plan, mut ends, not_its } = *orders;
        (ends.has_loopback, ends.ready, ends.before) = (has_loopback, ready, self.before);
        sys::process::close_copies(&[not_its]);
        self.stage.store(TAKEN, Ordering::Release);
        wake(&self.stage);
        init::become_program(kept.insert(plan), ends, None)
    }

    /// The process: makes what is asked for and not `prepared` yet.
    fn prepare(&self, ready: &mut Ready, prepared: &mut [bool; 2]) {
        let [is_furnished, has_root] = prepared;
        if let (false, Some((interior, ids, maps))) = (*is_furnished, self.interior.get()) {
            ready.begin(&mut held(maps));
            ready.furnish(interior, ids);
            *is_furnished = true;
        }
        if let (false, Some((root, volatile))) = (*has_root, self.root.get()) {
            ready.make_root(root, *volatile);
            *has_root = true;
        }
        *held(&self.opened) = ready.descriptors();
    }

    /// Closes what the process opened before it had descriptors of its own: it has them in its table, or
    /// is gone.
    fn close_opened(&self) {
        sys::process::close_copies(&std::mem::take(&mut *held(&self.opened)));
    }

    /// Sets the stage, if it is one of `from`.
    fn change(&self, from: &[u32], to: u32) {
        let next = |stage| from.contains(&stage).then_some(to);
        if self.stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok() {
            wake(&self.stage);
        }
    }

    /// The process: waits for what becomes of it.
    ///
    /// A caller that was killed just as the process came to be may have lost the thread, whose child it is,
    /// before that asked to die with it, and have been on its way to the end when it was looked for: so the
    /// process looks again now and then.
    fn next_word(&self) -> u32 {
        const NOW_AND_THEN: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        loop {
            match self.wait_for(WAITING, self.before.is_some(), Some(&NOW_AND_THEN)) {
                WAITING if spawn::has_ended(&self.caller) => return UNWANTED,
                WAITING => {}
                other => return other,
            }
        }
    }

    /// Waits until the stage is another one; gives that.
    fn wait_while(&self, stage: u32) -> u32 {
        self.wait_for(stage, false, None)
    }

    /// The same, no longer than `patience` at a time. Who `spins` looks for a while before it sleeps: on a
    /// processor that has nothing else to do it takes a tenth of a millisecond to wake up.
    fn wait_for(&self, stage: u32, spins: bool, patience: Option<&Timespec>) -> u32 {
        let began = Instant::now();
        loop {
            match self.stage.load(Ordering::Acquire) {
                same if same == stage && spins && began.elapsed() < PATIENCE => spin_loop(),
                same if same == stage => {
                    let waited = futex::wait(&self.stage, futex::Flags::PRIVATE, stage, patience);
                    if waited == Err(Errno::TIMEDOUT) {
                        return stage;
                    }
                }
                other => return other,
            }
        }
    }

    /// The process, which nobody has waited for.
    fn child(&self) -> Option<Child> {
        let pid = Pid::from_raw(self.pid.load(Ordering::Acquire))?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Child { pid, pidfd })
    }
}

fn held<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(stage: &AtomicU32) {
    let _ = futex::wake(stage, futex::Flags::PRIVATE, u32::MAX);
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use rustix::process::{WaitOptions, waitpid};

    use super::*;

    #[test]
    fn nothing_stays_of_one_that_nobody_wants() {
        // A host may forbid user namespaces: then there is no process, and nothing stays either.
        let Some(ahead) = Ahead::begin(&Namespaces::default(), Vec::new()) else { return };
        let berth = Arc::clone(&ahead.berth);
        drop(ahead);
        assert_eq!(berth.stage.load(Ordering::Acquire), OVER);
        if let Some(pid) = Pid::from_raw(berth.pid.load(Ordering::Acquire)) {
            let waited = waitpid(Some(pid), WaitOptions::NOHANG);
            assert_eq!(waited.map(drop), Err(Errno::CHILD));
        }
    }
}
