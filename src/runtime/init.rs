//! The child of a launch: from a fresh process to the container's program.
//!
//! Reads as one list. It runs in a copy of the single-threaded parent, with all memory made before.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{Gid, Uid};

use super::hooks::{self, ToldStates};
use super::launch::Errand;
use super::plan::Plan;
use super::program::{self, Identity, ProgramPlan, Streams};
use super::ready::Ready;
use super::stage::{At, Failure, Stage};
use super::target::Target;
use super::tuning::Tuned;
use super::{rootfs, tuning};
use crate::cgroup::Entrances;
use crate::sys::processor::Before;
use crate::userns::ChildMaps;
use crate::{network, supervisor, sys, union};

/// What the child holds of its parent.
#[derive(Debug)]
pub(super) struct Ends {
    /// The child's own end of the maps: writes them, or waits until they are written.
    pub(super) maps: Option<ChildMaps>,
    /// The ways into its control group.
    pub(super) group: Entrances,
    /// Where the two sides meet for hooks.
    pub(super) meeting: Option<OwnedFd>,
    /// Where the root's server waits, where it has one.
    pub(super) union: Option<union::Entrance>,
    /// Where the private network's server waits, where it has one.
    pub(super) network: Option<network::Entrance>,
    /// Whether it has yet to make its view of control groups, where it is to have one.
    pub(super) makes_view: bool,
    /// Whether the loopback device of its network is up.
    pub(super) has_loopback: bool,
    /// What it made before.
    pub(super) ready: Ready,
    /// Where it may run again, if it keeps to one processor while its maker works on another.
    pub(super) before: Option<Before>,
    /// The rest.
    pub(super) streams: Streams,
}

impl Ends {
    /// All descriptors among them.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let Self { maps, group, meeting, union, network, streams, .. } = self;
        let Streams { report, stdio, terminal, gate, entrance, listener, .. } = streams;
        let own =
            stdio.iter().chain([meeting, terminal, gate, listener]).flatten().map(AsFd::as_fd);
        let rest = [
            maps.as_ref().and_then(ChildMaps::descriptor),
            union.as_ref().map(union::Entrance::descriptor),
            network.as_ref().map(network::Entrance::descriptor),
            report.as_ref().map(AsFd::as_fd),
            entrance.as_ref().map(supervisor::Entrance::descriptor),
        ];
        let all = own.chain(rest.into_iter().flatten()).chain(group.descriptors());
        all.map(|descriptor| descriptor.as_raw_fd()).collect()
    }
}

/// Becomes the container's program, or does an errand in its place, or tells why not and ends. Its signals have
/// their default actions.
pub(super) fn become_program(plan: &Plan, mut ends: Ends, errand: Option<Errand<'_>>) -> ! {
    let Err(failure) = steps(plan, &mut ends, errand);
    if let Some(report) = ends.streams.report {
        failure.send(report);
    }
    sys::fork::exit(1)
}

/// Becomes another program of a container whose namespaces this process is in.
pub(super) fn join_program(plan: &ProgramPlan, group: &Entrances, streams: &mut Streams) -> ! {
    let Err(failure) = join_steps(plan, group, streams);
    if let Some(report) = &mut streams.report {
        failure.send(report);
    }
    sys::fork::exit(1)
}

fn join_steps(
    plan: &ProgramPlan,
    group: &Entrances,
    streams: &mut Streams,
) -> Result<Infallible, Failure> {
    sys::process::reset_signals();
    // Before the group's own set narrows it down.
    tuning::run_on(&plan.tuning.first_cpus).at_item(Stage::Tuning, Tuned::FirstCpus as usize)?;
    enter(group, false).at(Stage::Group)?; // its namespace of them is joined already
    if plan.oom_score_adj.is_some() {
        // Nobody can look into this process, so that its files in /proc are the host's root's.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).at(Stage::IdMap)?;
        program::set_oom_score(plan.oom_score_adj.as_deref()).at(Stage::OomScore)?;
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::IdMap)?;
    program::die_with_parent().at(Stage::IdMap)?;
    tuning::run_on(&plan.tuning.cpus).at_item(Stage::Tuning, Tuned::Cpus as usize)?;
    become_root(&plan.identity).at(Stage::IdMap)?;
    // setns(2) into a mount namespace put this process at its root.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(c"/", flags, Mode::empty()).at(Stage::Pivot)?;
    let terminal = match plan.terminal {
        true => Some(program::open_terminal(root.as_fd(), &plan.identity, streams)?),
        false => None,
    };
    drop(root);
    plan.become_program(streams, terminal, (&[], &[]))
}

fn steps(plan: &Plan, ends: &mut Ends, errand: Option<Errand<'_>>) -> Result<Infallible, Failure> {
    sys::process::unblock_signals();
    enter(&ends.group, plan.own_cgroups && ends.makes_view).at(Stage::Group)?; // first: all that follows is counted
    let is_begun = ends.ready.is_begun();
    if let Some(maps) = ends.maps.as_mut().filter(|_| !is_begun) {
        maps.complete().at(Stage::IdMap)?; // until then every id is nobody's
    }
    if let Some(time) = &plan.time {
        tuning::enter_time(time).at(Stage::Clocks)?; // while its files in /proc are its own
    }
    program::set_oom_score(plan.program.oom_score_adj.as_deref()).at(Stage::OomScore)?;
    // From here to exec nothing may look into this process or its descriptors (CVE-2016-9962).
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Stage::IdMap)?;
    program::die_with_parent().at(Stage::IdMap)?;
    become_root(&plan.program.identity).at(Stage::IdMap)?;
    rustix::process::umask(Mode::from_raw_mode(0o022)); // what is made below is not the caller's
    if !is_begun {
        rootfs::make_slave().at(Stage::Propagation)?; // or unmounts reach the host
    }
    let interior = &plan.interior;
    ends.ready.settle(&plan.root, interior);
    let root = build_root(plan, ends.union.take().as_ref(), &mut ends.ready)?;
    let terminal = open_terminal(root.as_fd(), plan, ends)?;
    if let Some(mut network) = ends.network.take() {
        network.enter().at(Stage::Network)?; // by the host's /dev
    }
    let ready = std::mem::take(&mut ends.ready);
    for (item, (target, value)) in missing(&interior.sysctls, &ready, |(target, _)| target) {
        rootfs::write_sysctl(root.as_fd(), target, value).at_item(Stage::Sysctl, item)?;
    }
    let masked = missing(&interior.masked, &ready, |path| path);
    rootfs::mask(root.as_fd(), masked, &interior.null)?;
    let read_only = missing(&interior.read_only, &ready, |path| path);
    rootfs::make_read_only(root.as_fd(), read_only)?;
    drop(ready); // with what nobody asked for
    rootfs::seal(root.as_fd(), &interior.sealed)?;
    rootfs::make_directory(root.as_fd(), &plan.program.cwd).at(Stage::WorkingDirectory)?;
    if plan.seal_root {
        rootfs::seal_root(root.as_fd()).at(Stage::ReadOnly)?;
    }
    let mut states = ToldStates::default();
    if let Some(meeting) = ends.meeting.take() {
        hooks::meet(&meeting, &mut states).at(Stage::Meeting)?;
    }
    let created = &plan.hooks.create_container;
    hooks::run_plans(created, &states.creating, Stage::CreateContainerHook)?;
    // Host paths end here.
    match plan.no_pivot {
        true => rootfs::move_over(root.as_fd()).at(Stage::Pivot)?,
        false => rootfs::pivot(root.as_fd()).at(Stage::Pivot)?,
    }
    if let Some(propagation) = plan.propagation {
        // A shared root cannot be pivoted to (pivot_root(2), EINVAL).
        rootfs::propagate(root.as_fd(), propagation).at(Stage::Propagation)?;
    }
    drop(root);
    if let Some(before) = ends.before {
        before.resume(); // its maker's work is done by now
    }
    set_names(plan).at(Stage::Hostname)?;
    if plan.loopback && !ends.has_loopback {
        sys::network::loopback_up().at(Stage::Loopback)?;
    }
    if let Some(errand) = errand {
        // It is there: what follows is told by the errand's own means.
        if let Some(report) = ends.streams.report.take() {
            Failure::READY.send(report);
        }
        sys::fork::exit(errand());
    }
    let start = (plan.hooks.start_container.as_slice(), states.created.as_slice());
    plan.program.become_program(&mut ends.streams, terminal, start)
}

/// Goes into its control group, and makes that the root of what it sees of them.
fn enter(group: &Entrances, own_view: bool) -> Result<(), Errno> {
    group.enter()?;
    if !own_view {
        return Ok(());
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP)
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))
}

/// Sets things up as the namespace's root where it has one, so that what is made belongs to it.
fn become_root(identity: &Identity) -> Result<(), Errno> {
    if identity.has_root && identity.groups.is_some() {
        if !identity.keeps_groups {
            rustix::thread::set_thread_groups(&[])?;
        }
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    }
    Ok(())
}

fn build_root(
    plan: &Plan,
    union: Option<&union::Entrance>,
    ready: &mut Ready,
) -> Result<OwnedFd, Failure> {
    let root = rootfs::mount_root(&plan.root, union, ready)?;
    for (item, (target, text)) in plan.added.iter().enumerate() {
        rootfs::add_lines(root.as_fd(), target, text).at_item(Stage::Added, item)?;
    }
    for (item, step) in plan.interior.mounts.iter().enumerate() {
        rootfs::mount(root.as_fd(), step, item, ready)?;
    }
    for (item, (target, points_at)) in missing(&plan.interior.links, ready, |(link, _)| link) {
        rootfs::link(root.as_fd(), target, points_at).at_item(Stage::Link, item)?;
    }
    Ok(root)
}

fn open_terminal(
    root: BorrowedFd<'_>,
    plan: &Plan,
    ends: &Ends,
) -> Result<Option<OwnedFd>, Failure> {
    if !plan.program.terminal {
        return Ok(None);
    }
    let slave = program::open_terminal(root, &plan.program.identity, &ends.streams)?;
    rootfs::bind_console(root, &slave).at(Stage::Terminal)?;
    Ok(Some(slave))
}

/// What has yet to be done of a list, each with its number.
fn missing<'a, T>(
    all: &'a [T],
    ready: &'a Ready,
    place: impl Fn(&T) -> &Target + 'a,
) -> impl Iterator<Item = (usize, &'a T)> {
    all.iter().enumerate().filter(move |(_, one)| !ready.holds(place(one)))
}

fn set_names(plan: &Plan) -> Result<(), Errno> {
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name)?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name)?;
    }
    Ok(())
}
