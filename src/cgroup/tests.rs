//! Hosts as trees of files, and what is planned on each.

use std::path::{Path, PathBuf};

use super::host::tests::{SEPARATE, UNIFIED, tree};
use super::*;
use crate::diagnose::Diagnose;

struct Fake {
    kept: tempfile::TempDir,
    host: Host,
}

impl Fake {
    fn new(files: &[(&str, &str)]) -> Self {
        let (kept, host) = tree(files);
        Self { kept, host }
    }

    /// A version 2 group `a/b` of this process: its controllers, those that `a/b` hands on, and
    /// the processes in it.
    fn unified(available: &str, enabled: &str, processes: &str) -> Self {
        let own = "sys/fs/cgroup/a/b";
        Self::new(&[
            UNIFIED,
            ("proc/self/cgroup", "0::/a/b\n"),
            (&format!("{own}/cgroup.controllers"), available),
            (&format!("{own}/cgroup.subtree_control"), enabled),
            (&format!("{own}/cgroup.procs"), processes),
            (&format!("{own}/cgroup.events"), "populated 1\n"),
        ])
    }

    /// Hierarchies of version 1 with this process in `me`; those named are there, and writable.
    fn separate(writable: &[&str]) -> Self {
        let mut text = String::new();
        let mut files = vec![];
        for (number, name) in ["cpu,cpuacct", "memory", "pids", "cpuset"].iter().enumerate() {
            text.push_str(&[&*number.to_string(), *name, "/me\n"].join(":"));
            if writable.contains(name) {
                files.push((format!("sys/fs/cgroup/{name}/me/cgroup.procs"), ""));
                if *name == "cpuset" {
                    files.push((format!("sys/fs/cgroup/{name}/me/cpuset.cpus"), "0-3\n"));
                    files.push((format!("sys/fs/cgroup/{name}/me/cpuset.mems"), "0\n"));
                }
            }
        }
        let mut all = vec![SEPARATE, ("proc/self/cgroup", text.as_str())];
        all.extend(files.iter().map(|(name, text)| (name.as_str(), *text)));
        Self::new(&all)
    }

    fn plan(
        &self,
        resources: &Resources,
        change: impl FnOnce(&mut Wish<'_>),
    ) -> Result<Plan, Error> {
        let mut wish = Wish {
            resources,
            mode: Mode::Enabled,
            name: "coracle-1",

            slice: None,
            path: None,
            kernel: (6, 1),
            one_id: true,
        };
        change(&mut wish);
        plan(&self.host, wish)
    }

    /// The steps, one a line, as short as they can be told.
    fn told(&self, plan: &Plan) -> Vec<String> {
        let root = self.kept.path().join("sys/fs/cgroup");
        let at = |path: &Path| path.strip_prefix(&root).expect("below").display().to_string();
        let tell = |step: &Step| match step {
            Step::AskSystemd { .. } => "ask systemd".to_owned(),
            Step::MakeDirectory { path } => format!("mkdir {}", at(path)),
            Step::MakeGroup { path } => format!("group {}", at(path)),
            Step::Enable { group, controllers } => {
                format!("enable {} {}", at(group), controllers.join(","))
            }
            Step::MoveSelf { group } => format!("move {}", at(group)),
            Step::Write { group, choices, .. } => {
                format!("{}/{}={}", at(group), choices[0].0, choices[0].1)
            }
        };
        plan.steps.iter().map(tell).collect()
    }

    fn refusal(&self, resources: &Resources) -> (String, String) {
        let error = self.plan(resources, |_| {}).expect_err("refused");
        let text = error.to_string().replace(&self.kept.path().display().to_string(), "");
        (text, error.hint().map(|hint| hint.to_string()).unwrap_or_default())
    }
}

fn limits() -> Resources {
    Resources {
        memory: Memory { limit: Some(64 << 20), ..Memory::default() },
        pids: Some(5),
        ..Resources::default()
    }
}

fn cpuset() -> Resources {
    Resources { cpu: Cpu { cpus: Some("0-1".into()), ..Cpu::default() }, ..Resources::default() }
}

#[test]
fn alone_in_a_delegated_group_coracle_makes_room() {
    let fake = Fake::unified("cpu memory pids", "", "");
    let plan = fake.plan(&limits(), |_| {}).expect("a plan");
    assert_eq!(
        fake.told(&plan),
        [
            "mkdir a/b/coracle",
            "move a/b/coracle",
            "enable a/b memory,pids",
            "group a/b/coracle-1",
            "a/b/coracle-1/memory.max=67108864",
            "a/b/coracle-1/pids.max=5",
        ]
    );
    assert!(plan.warnings.is_empty() && plan.kept.is_empty());
}

#[test]
fn a_group_that_hands_on_already_is_used_as_it_is() {
    // As below docker or a manager: processes are in a leaf, the group above has the controllers.
    let fake = Fake::new(&[
        UNIFIED,
        ("proc/self/cgroup", "0::/a/leaf\n"),
        ("sys/fs/cgroup/a/cgroup.controllers", "memory pids"),
        ("sys/fs/cgroup/a/cgroup.subtree_control", "memory pids"),
        ("sys/fs/cgroup/a/cgroup.procs", ""),
        ("sys/fs/cgroup/a/cgroup.events", ""),
        ("sys/fs/cgroup/a/leaf/cgroup.controllers", "memory pids"),
        ("sys/fs/cgroup/a/leaf/cgroup.subtree_control", ""),
        ("sys/fs/cgroup/a/leaf/cgroup.procs", "1\n2\n"),
    ]);
    let plan = fake.plan(&limits(), |_| {}).expect("a plan");
    assert_eq!(fake.told(&plan)[0], "group a/coracle-1");
    // Without limits it is a group for statistics.
    let plan = fake.plan(&Resources::default(), |_| {}).expect("a plan");
    assert_eq!(fake.told(&plan), ["group a/coracle-1"]);
}

#[test]
fn other_processes_in_the_group_are_in_the_way() {
    let fake = Fake::unified("memory pids", "", "1\n2\n");
    let (text, hint) = fake.refusal(&limits());
    assert!(text.starts_with("cannot limit memory: 2 other processes are in /sys/fs/cgroup/a/b"));
    assert_eq!(hint, "--cgroups=best-effort goes on without");
    // pids is kept by RLIMIT_NPROC, and no reason to refuse.
    assert!(!text.contains("pids-limit"), "{text}");
}

#[test]
fn a_controller_that_is_not_delegated_is_named() {
    let fake = Fake::unified("pids", "", "");
    let (text, _) = fake.refusal(&limits());
    assert!(text.contains("memory: the group /sys/fs/cgroup/a/b has pids and no memory"), "{text}");
    let plan = fake.plan(&limits(), |wish| wish.mode = Mode::BestEffort).expect("a plan");
    assert_eq!(fake.told(&plan).last().expect("a step"), "a/b/coracle-1/pids.max=5");
    assert!(plan.warnings[0].starts_with("no limit on memory: "), "{:?}", plan.warnings);
}

#[test]
fn systemd_is_asked_only_where_it_helps() {
    let bus = PathBuf::from("/run/user/1000/bus");
    let mut fake = Fake::unified("pids", "", "1\n");
    fake.host.bus = Some(bus.clone());
    assert_eq!(fake.told(&fake.plan(&limits(), |_| {}).expect("a plan")), ["ask systemd"]);
    let none = fake.plan(&Resources::default(), |_| {}).expect("a plan");
    assert_eq!(fake.told(&none), ["group a/b/coracle-1"]);
    let mut fake = Fake::unified("memory pids", "", "");
    fake.host.bus = Some(bus);
    assert_eq!(fake.told(&fake.plan(&limits(), |_| {}).expect("a plan"))[0], "mkdir a/b/coracle");
}

#[test]
fn systemds_own_refusal_is_told() {
    let mut fake = Fake::unified("", "", "1\n");
    fake.host.systemd = true;
    assert!(fake.refusal(&limits()).1.contains("systemd-run --user --scope"));
    fake.host.bus_refusal = Some("systemd made no scope: denied".into());
    assert!(fake.refusal(&limits()).1.starts_with("systemd made no scope: denied; "));
}

#[test]
fn version_1_takes_what_is_writable() {
    let fake = Fake::separate(&["memory", "pids", "cpuset", "cpu,cpuacct"]);
    let mut resources = limits();
    resources.cpu.cpus = Some("0-1".into());
    resources.cpu.quota = Some(5000);
    let plan = fake.plan(&resources, |_| {}).expect("a plan");
    assert_eq!(
        fake.told(&plan),
        [
            "group cpu,cpuacct/me/coracle-1",
            "group memory/me/coracle-1",
            "group pids/me/coracle-1",
            "group cpuset/me/coracle-1",
            "cpuset/me/coracle-1/cpuset.cpus=0-3",
            "cpuset/me/coracle-1/cpuset.mems=0",
            "memory/me/coracle-1/memory.limit_in_bytes=67108864",
            "cpu,cpuacct/me/coracle-1/cpu.cfs_quota_us=5000",
            "cpuset/me/coracle-1/cpuset.cpus=0-1",
            "pids/me/coracle-1/pids.max=5",
        ]
    );
    // Nobody wants a cpuset: its hierarchy is left alone.
    let plan = fake.plan(&limits(), |_| {}).expect("a plan");
    assert!(!fake.told(&plan).iter().any(|step| step.contains("cpuset")));
}

#[test]
fn version_1_without_a_group_says_which() {
    let fake = Fake::separate(&["pids"]);
    let (text, hint) = fake.refusal(&limits());
    assert_eq!(
        text,
        "cannot limit memory: cgroup v1, and the group /sys/fs/cgroup/memory/me is not writable \
         for this user"
    );
    assert_eq!(hint, "--cgroups=best-effort goes on without");
    let resources = Resources { hugetlb: [("2MB".into(), 1)].into(), ..Resources::default() };
    assert!(fake.refusal(&resources).0.contains("no hugetlb hierarchy of cgroup v1 is mounted"));
    let resources =
        Resources { unified: [("memory.high".into(), "1".into())].into(), ..Resources::default() };
    assert!(fake.refusal(&resources).0.contains("memory.high: only cgroup v2"));
}

#[test]
fn without_groups_processes_keep_themselves_to_what_they_can() {
    let fake = Fake::new(&[]);
    let resources = Resources { pids: Some(5), ..cpuset() };
    let plan = fake.plan(&resources, |_| {}).expect("a plan");
    let processors = "0-1".parse().expect("a list");
    assert_eq!(plan.kept, [Kept::Affinity(processors), Kept::Processes(5)]);
    assert_eq!((plan.group.clone(), plan.steps.len()), (None, 0));
    assert!(plan.warnings[0].contains("affinity"), "a program can undo that one");
    let (text, _) = fake.refusal(&limits());
    assert_eq!(text, "cannot limit memory: no control groups are mounted");
}

#[test]
fn a_count_that_would_not_hold_is_refused() {
    let fake = Fake::new(&[]);
    let resources = Resources { pids: Some(5), ..Resources::default() };
    let old = fake.plan(&resources, |wish| wish.kernel = (5, 10)).expect_err("refused");
    assert!(old.to_string().contains("before Linux 5.14"), "{old}");
    let many = fake.plan(&resources, |wish| wish.one_id = false).expect_err("refused");
    assert!(many.to_string().contains("ids apart"), "{many}");
    let plan = fake.plan(&resources, |wish| {
        wish.one_id = false;
        wish.mode = Mode::BestEffort;
    });
    let plan = plan.expect("a plan");
    assert_eq!((plan.kept.len(), plan.warnings.len()), (1, 1));
    // No limit needs nothing to keep it.
    let resources = Resources { pids: Some(-1), ..Resources::default() };
    assert_eq!(fake.plan(&resources, |wish| wish.kernel = (5, 10)).expect("a plan").kept, []);
}

#[test]
fn turned_off_means_no_group() {
    let fake = Fake::unified("memory pids", "", "");
    let none = fake.plan(&Resources::default(), |wish| wish.mode = Mode::Disabled);
    assert_eq!(none.expect("a plan").group, None);
    let error = fake.plan(&limits(), |wish| wish.mode = Mode::Disabled).expect_err("refused");
    assert!(error.to_string().contains("--cgroups=disabled"), "{error}");
}

#[test]
fn a_path_of_the_specification_is_honoured_where_it_is_writable() {
    let fake = Fake::new(&[
        UNIFIED,
        ("proc/self/cgroup", "0::/me\n"),
        ("sys/fs/cgroup/me/cgroup.procs", ""),
        ("sys/fs/cgroup/pods/cgroup.controllers", "memory pids"),
        ("sys/fs/cgroup/pods/cgroup.subtree_control", ""),
        ("sys/fs/cgroup/pods/cgroup.procs", ""),
        ("sys/fs/cgroup/pods/cgroup.events", ""),
        ("sys/fs/cgroup/cgroup.controllers", "memory pids"),
        ("sys/fs/cgroup/cgroup.subtree_control", "memory pids"),
        ("sys/fs/cgroup/cgroup.procs", ""),
    ]);
    let path = Path::new("/pods/one/web");
    let plan = fake.plan(&limits(), |wish| wish.path = Some(path)).expect("a plan");
    assert_eq!(
        fake.told(&plan)[..4],
        [
            "enable pods memory,pids",
            "mkdir pods/one",
            "enable pods/one memory,pids",
            "group pods/one/web",
        ]
    );
    let group = plan.group.expect("a group");
    assert_eq!(group.made, [fake.kept.path().join("sys/fs/cgroup/pods/one")]);
    let plan = fake.plan(&limits(), |wish| wish.path = Some(Path::new("/../../etc/x")));
    let told = fake.told(&plan.expect("a plan"));
    assert!(told.contains(&"group etc/x".to_owned()), "no way out: {told:?}");
}

#[test]
fn a_plan_is_carried_out() {
    let fake = Fake::unified("pids", "pids", "");
    let resources = Resources { pids: Some(5), ..Resources::default() };
    let wish = Wish {
        resources: &resources,
        mode: Mode::Enabled,
        name: "coracle-1",

        slice: None,
        path: None,
        kernel: (6, 1),
        one_id: true,
    };
    let made = plan(&fake.host, wish).expect("a plan");
    let group = made.group.clone().expect("a group");
    // A plain directory has no pids.max: what the kernel would refuse is told, and undone.
    let error = prepare(made, wish).expect_err("no such file").to_string();
    assert!(error.contains("cannot limit pids-limit: writing \"5\""), "{error}");
    assert!(!group.parts[0].path.exists());
}

#[test]
fn a_group_is_changed_and_removed() {
    let fake = Fake::new(&[("g/pids.max", "9"), ("g/cgroup.procs", ""), ("g/inner/x", "")]);
    let path = fake.kept.path().join("g");
    let part = Part { path: path.clone(), controllers: Vec::new(), unified: true };
    let group = Group { parts: vec![part], made: Vec::new() };
    let resources = Resources { pids: Some(7), ..Resources::default() };
    group.update(&resources).expect("changed");
    assert_eq!(std::fs::read_to_string(path.join("pids.max")).expect("it"), "7");
    let error = group.update(&limits()).expect_err("no memory.max").to_string();
    assert!(error.contains("memory: the container's control group has no controller"), "{error}");
    assert!(group.freeze().is_err() && !group.is_frozen());
    assert!(group.processes().is_empty());
    let gone = Group {
        parts: vec![Part { path: path.join("none"), controllers: vec![], unified: true }],
        made: vec![],
    };
    gone.remove().expect("nothing to remove is removed");
}
