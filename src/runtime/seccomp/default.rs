//! Docker's default profile (moby `profiles/seccomp/default_linux.go`, as of docker 28), and what
//! this project refuses besides.
//!
//! Tighter than docker: `AF_ALG` sockets (CVE-2026-31431), typing into a terminal by `TIOCSTI` and
//! `TIOCLINUX` (CVE-2017-5226, CVE-2023-28100), `socketcall(2)`, behind which a 32-bit program could
//! make a socket of any family unseen, and what podman refuses besides: `vmsplice(2)`, which maps
//! pages of a process into pipes, and `io_pgetevents(2)`, for which programs have a fallback.

use std::borrow::Cow;

use super::profile::{Action, Comparison, Condition, Rule, Rules};
use crate::bundle::capabilities::CapabilitySet;

pub(super) const EPERM: Action = Action::Errno(errno(libc::EPERM));
pub(super) const ENOSYS: Action = Action::Errno(errno(libc::ENOSYS));

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // errnos are below 4096
const fn errno(number: i32) -> u16 {
    number as u16
}

/// Calls that every container may make.
const ALLOWED: &str = "
    _llseek _newselect accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64
    arm_sync_file_range bind breakpoint brk cacheflush cachestat capget capset chdir chmod chown
    chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
    epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod
    fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr
    flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
    ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
    get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid
    geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid
    getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
    getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr
    getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel
    io_destroy io_getevents io_setup io_submit ioprio_get
    ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown
    lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr
    lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create
    memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt
    mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock
    munlockall munmap name_to_handle_at nanosleep newfstatat open openat openat2 pause
    pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll
    ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv
    process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages
    removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
    semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list
    set_thread_area set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32 setgid
    setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
    setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid
    setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd
    signalfd4 sigprocmask sigreturn socketpair splice stat stat64 statfs statfs64 statmount
    statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo tee tgkill time
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat
    utime utimensat utimensat_time64 utimes vfork wait4 waitid waitpid write writev
";

/// Calls that take a capability.
const GUARDED: [(&str, &str); 14] = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount \
         mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd \
         setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// The personalities that docker lets through: PER_LINUX, PER_LINUX32, UNAME26 with both, and the
/// question for the present one.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `CLONE_NEWNS`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`, `NEWCGROUP` (clone(2)).
const NEW_NAMESPACES: u64 = 0x7e02_0000;

const AF_NETLINK: u32 = 16;
const NETLINK_AUDIT: u32 = 9;
const AF_ALG: u32 = 38;
const AF_VSOCK: u32 = 40;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

impl Rules {
    /// The rules of every container that asks for no other.
    pub fn docker_default() -> Self {
        let admin = CapabilitySet::named("CAP_SYS_ADMIN").unwrap_or_default();
        let mut rules = vec![
            refuse("socket", Condition::int(0, AF_ALG)),
            refuse("socket", Condition::int(0, AF_VSOCK)),
            // As podman: who may not write to the audit log hears that there is none.
            Rule {
                without: CapabilitySet::named("CAP_AUDIT_WRITE").unwrap_or_default(),
                action: Action::Errno(errno(libc::EINVAL)),
                ..allow(
                    "socket",
                    vec![Condition::int(0, AF_NETLINK), Condition::int(2, NETLINK_AUDIT)],
                )
            },
            allow("socket", Vec::new()),
            refuse("ioctl", Condition::int(1, TIOCSTI)),
            refuse("ioctl", Condition::int(1, TIOCLINUX)),
            allow("ioctl", Vec::new()),
        ];
        rules.extend(
            PERSONALITIES.map(|value| allow("personality", vec![Condition::int(0, value)])),
        );
        rules.extend(GUARDED.map(|(capability, names)| Rule {
            with: CapabilitySet::named(capability).unwrap_or_default(),
            ..allow(names, Vec::new())
        }));
        let comparison = Comparison::MaskedEqual { mask: NEW_NAMESPACES };
        rules.push(Rule {
            without: admin,
            ..allow("clone", vec![Condition { index: 0, comparison, value: 0 }])
        });
        // Its flags lie in memory, where a filter cannot look; a C library falls back to clone.
        rules.push(Rule { without: admin, action: ENOSYS, ..allow("clone3", Vec::new()) });
        rules.push(Rule {
            action: ENOSYS,
            ..allow("io_pgetevents io_pgetevents_time64 vmsplice", Vec::new())
        });
        rules.push(allow(ALLOWED, Vec::new()));
        Self { default: EPERM, rules, flags: 0, compat: true, agent: None }
    }
}

fn allow(names: &'static str, conditions: Vec<Condition>) -> Rule {
    Rule {
        names: names.split_whitespace().map(Cow::Borrowed).collect(),
        action: Action::Allow,
        conditions,
        with: CapabilitySet::EMPTY,
        without: CapabilitySet::EMPTY,
    }
}

fn refuse(names: &'static str, condition: Condition) -> Rule {
    Rule { action: EPERM, ..allow(names, vec![condition]) }
}
