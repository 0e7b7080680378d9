/* The floor of a container's start: the system calls that coracle's default container needs, and nothing else.
 *
 *     floor LOWER SKELETON DIRECTORY POINT FILTER host|none
 *
 * No C library, no arguments but these, no image, no plan: a process in new namespaces with one id, an overlay over LOWER and
 * SKELETON with the changes in DIRECTORY (which is made, and removed in the end), /proc, /dev and /sys with what is hidden
 * there, files of its own in /etc, the root changed, capabilities dropped, the default FILTER, Landlock, a keyring, a record.
 * What `benches/compare start` shows of it is what a start takes where all is known before; for x86-64. With C_LIBRARY the
 * same after a C library has begun, as it does in any program that is linked with one. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define NO_NEW_THINGS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
#define OF_DEVICES (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)
#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

static long system_call(long number, long a, long b, long c, long d, long e) {
    long result;
    register long fourth asm("r10") = d;
    register long fifth asm("r8") = e;
    asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth)
                 : "rcx", "r11", "memory");
    return result;
}
#define PADDED(number, a, b, c, d, e, ...) system_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))
#define CALL(number, ...) PADDED(number, ##__VA_ARGS__, 0, 0, 0, 0, 0)
#define MUST(call) ({ long result_ = (call); if (result_ < 0) fail(__LINE__); result_; })

/* Says in which line something failed. */
static void fail(int line) {
    char text[16];
    int at = sizeof text;
    text[--at] = '\n';
    for (; line; line /= 10) text[--at] = '0' + line % 10;
    CALL(SYS_write, 2, text + at, sizeof text - at);
    CALL(SYS_exit_group, 1);
}

static char *lower, *skeleton, *directory, *point;
static int new_network;
static struct sock_filter filter[BPF_MAXINSNS];
static struct sock_fprog program = {0, filter};
static char map[32], text[2048], path[4096], other_path[4096];
static int map_length;

static char *in(char *to, const char *name) {
    char *at = to;
    for (const char *from = directory; *from;) *at++ = *from++;
    *at++ = '/';
    do *at++ = *name; while (*name++);
    return to;
}

static void write_file(const char *to, const char *bytes, int length) {
    int file = MUST(CALL(SYS_open, to, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    MUST(CALL(SYS_write, file, bytes, length));
    CALL(SYS_close, file);
}

static int file_system(const char *kind, const char *options[][2], int count, int attributes) {
    int context = MUST(CALL(SYS_fsopen, kind, FSOPEN_CLOEXEC));
    for (int i = 0; i < count; i++)
        MUST(CALL(SYS_fsconfig, context, FSCONFIG_SET_STRING, options[i][0], options[i][1], 0));
    MUST(CALL(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0));
    int mount = MUST(CALL(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes));
    CALL(SYS_close, context);
    return mount;
}

static int copy(int at, const char *from, int depth, unsigned long attributes) {
    struct mount_attr set = {attributes, 0, 0, 0};
    int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | depth | (*from ? 0 : AT_EMPTY_PATH);
    int mount = MUST(CALL(SYS_open_tree, at, from, flags));
    if (attributes) MUST(CALL(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | depth, &set, sizeof set));
    return mount;
}

static int place(int root, const char *at) {
    struct open_how how = {O_PATH | O_CLOEXEC | O_NOFOLLOW, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return CALL(SYS_openat2, root, at, &how, sizeof how);
}

static void cover(int place, int mount) {
    MUST(CALL(SYS_move_mount, mount, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
    CALL(SYS_close, mount);
    CALL(SYS_close, place);
}

static void nest(int root, const char *name, int mount) {
    MUST(CALL(SYS_move_mount, mount, "", root, name, MOVE_MOUNT_F_EMPTY_PATH));
    CALL(SYS_close, mount);
}

static void set_path(int context, const char *key, const char *to) {
    int opened = MUST(CALL(SYS_open, to, O_PATH | O_CLOEXEC));
    MUST(CALL(SYS_fsconfig, context, FSCONFIG_SET_FD, key, 0, opened));
    CALL(SYS_close, opened);
}

static int make_devices(void) {
    static const char *nodes[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"};
    static const char *links[][2] = {{"pts/ptmx", "ptmx"}, {"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"},
                                     {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"/proc/kcore", "core"}};
    static const char *names[] = {"pts", "shm", "mqueue"};
    const char *own[][2] = {{"mode", "755"}, {"size", "65536"}};
    const char *terminals[][2] = {{"ptmxmode", "0666"}, {"mode", "0620"}};
    const char *shared[][2] = {{"mode", "1777"}, {"size", "67108864"}};
    int devices = file_system("tmpfs", own, 2, OF_DEVICES);
    int mounts[] = {file_system("devpts", terminals, 2, OF_DEVICES), file_system("tmpfs", shared, 2, NO_NEW_THINGS),
                    file_system("mqueue", 0, 0, NO_NEW_THINGS)};
    for (int i = 0; i < COUNT(nodes); i++) {
        MUST(CALL(SYS_mknodat, devices, nodes[i] + 5, 0100644, 0));
        nest(devices, nodes[i] + 5, copy(AT_FDCWD, nodes[i], 0, OF_DEVICES));
    }
    for (int i = 0; i < COUNT(names); i++) {
        MUST(CALL(SYS_mkdirat, devices, names[i], 0755));
        nest(devices, names[i], mounts[i]);
    }
    for (int i = 0; i < COUNT(links); i++) MUST(CALL(SYS_symlinkat, links[i][0], devices, links[i][1]));
    return devices;
}

static void hide(int proc, int sys) {
    static const char *directories[] = {"asound", "acpi", "scsi"};
    static const char *files[] = {"interrupts", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug"};
    static const char *read_only[] = {"bus", "fs", "irq", "sys", "sysrq-trigger"};
    static const char *of_sys[] = {"dev/block", "firmware", "fs/selinux", "devices/virtual/powercap"};
    int at, nothing = file_system("tmpfs", 0, 0, NO_NEW_THINGS | MOUNT_ATTR_RDONLY);
    for (int i = 0; i < COUNT(directories); i++)
        if ((at = place(proc, directories[i])) >= 0) cover(at, copy(nothing, "", 0, 0));
    for (int i = 0; i < COUNT(files); i++)
        if ((at = place(proc, files[i])) >= 0) cover(at, copy(AT_FDCWD, "/dev/null", 0, 0));
    for (int i = 0; i < COUNT(read_only); i++)
        if ((at = place(proc, read_only[i])) >= 0) cover(at, copy(at, "", 0, MOUNT_ATTR_RDONLY));
    for (int i = 0; i < COUNT(of_sys); i++)
        if ((at = place(sys, of_sys[i])) >= 0) cover(at, copy(nothing, "", 0, 0));
    CALL(SYS_close, nothing);
}

static int make_root(void) {
    int context = MUST(CALL(SYS_fsopen, "overlay", FSOPEN_CLOEXEC));
    MUST(CALL(SYS_fsconfig, context, FSCONFIG_SET_FLAG, "userxattr", 0, 0));
    set_path(context, "lowerdir+", lower);
    set_path(context, "lowerdir+", skeleton);
    set_path(context, "upperdir", in(path, "upper"));
    set_path(context, "workdir", in(path, "work"));
    MUST(CALL(SYS_fsconfig, context, FSCONFIG_SET_FLAG, "volatile", 0, 0));
    MUST(CALL(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0));
    int root = MUST(CALL(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0));
    CALL(SYS_close, context);
    return root;
}

static void confine(void) {
    static const char dropped[] = {2, 9, 11, 12, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 26, 28, 30, 32, 33, 34, 35, 36, 37,
                                   38, 39, 40};
    struct { unsigned long files, network, scoped; } rules = {0, 0, 3};
    struct { unsigned version; int pid; } header = {0x20080522, 0};
    unsigned held[] = {0xa80425fb, 0xa80425fb, 0, 0, 0, 0};
    int ruleset = CALL(SYS_landlock_create_ruleset, &rules, sizeof rules, 0);
    if (ruleset >= 0) {
        MUST(CALL(SYS_landlock_restrict_self, ruleset, 0));
        CALL(SYS_close, ruleset);
    }
    for (int i = 0; i < COUNT(dropped); i++) MUST(CALL(SYS_prctl, PR_CAPBSET_DROP, dropped[i], 0, 0, 0));
    MUST(CALL(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    MUST(CALL(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    MUST(CALL(SYS_capset, &header, held));
}

/* The container's process, in its parent's memory until the exec. */
static void become_program(void) {
    static const char *names[] = {"hosts", "hostname", "resolv.conf"};
    static const char *places[] = {"etc/hosts", "etc/hostname", "etc/resolv.conf"};
    static char *arguments[] = {"/bin/true", 0}, *environment[] = {"PATH=/bin", 0};
    CALL(SYS_prctl, PR_SET_PDEATHSIG, 9);
    MUST(CALL(SYS_mount, 0, "/", 0, 0x4000 | 0x80000, 0)); /* MS_REC | MS_SLAVE */
    write_file("/proc/self/setgroups", "deny", 4);
    write_file("/proc/self/uid_map", map, map_length);
    write_file("/proc/self/gid_map", map, map_length);
    CALL(SYS_umask, 022);
    int proc = file_system("proc", 0, 0, NO_NEW_THINGS), devices = make_devices();
    int sys = new_network ? file_system("sysfs", 0, 0, NO_NEW_THINGS | MOUNT_ATTR_RDONLY)
                          : copy(AT_FDCWD, "/sys", AT_RECURSIVE, NO_NEW_THINGS | MOUNT_ATTR_RDONLY);
    hide(proc, sys);
    int root = make_root();
    cover(MUST(place(root, "proc")), proc);
    cover(MUST(place(root, "dev")), devices);
    cover(MUST(place(root, "sys")), sys);
    MUST(CALL(SYS_unshare, CLONE_NEWCGROUP));
    MUST(CALL(SYS_move_mount, root, "", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH));
    cover(MUST(place(root, "sys/fs/cgroup")), file_system("tmpfs", 0, 0, NO_NEW_THINGS | MOUNT_ATTR_RDONLY));
    for (int i = 0; i < COUNT(names); i++)
        cover(MUST(place(root, places[i])), copy(AT_FDCWD, in(path, names[i]), 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
    MUST(CALL(SYS_fchdir, root));
    MUST(CALL(SYS_pivot_root, ".", "."));
    MUST(CALL(SYS_umount2, ".", 2)); /* MNT_DETACH */
    MUST(CALL(SYS_chdir, "/"));
    MUST(CALL(SYS_sethostname, "floor", 5));
    CALL(SYS_keyctl, 1, 0); /* KEYCTL_JOIN_SESSION_KEYRING */
    CALL(SYS_setsid);
    int input = MUST(CALL(SYS_open, "/dev/null", O_RDONLY | O_CLOEXEC));
    CALL(SYS_dup2, input, 0);
    confine();
    CALL(SYS_close_range, 3, -1, 4); /* CLOSE_RANGE_CLOEXEC */
    MUST(CALL(SYS_execve, arguments[0], arguments, environment));
}

static long clone_sharing(long flags) {
    static char stack[64 << 10] __attribute__((aligned(16)));
    long result;
    asm volatile("syscall\n test %%rax, %%rax\n jnz 1f\n call *%%rbx\n 1:"
                 : "=a"(result) : "a"(SYS_clone), "D"(flags), "S"(stack + sizeof stack), "d"(0), "b"(become_program)
                 : "rcx", "r8", "r9", "r10", "r11", "memory");
    return result;
}

static void name_ids(int id) {
    char digits[12];
    int at = sizeof digits;
    do digits[--at] = '0' + id % 10; while (id /= 10);
    char *to = map;
    *to++ = '0', *to++ = ' ';
    while (at < (int)sizeof digits) *to++ = digits[at++];
    *to++ = ' ', *to++ = '1', *to++ = '\n';
    map_length = to - map;
}

__attribute__((used)) static void begin(long *stack) {
    static const char *files[] = {"hosts", "hostname", "resolv.conf", "record.json"};
    static const char *directories[] = {"work/work/incompat/volatile", "work/work/incompat", "work/work", "work", "upper"};
    char **arguments = (char **)(stack + 1);
    int status = 0;
    lower = arguments[1], skeleton = arguments[2], directory = arguments[3], point = arguments[4];
    new_network = arguments[6][0] == 'n';
    int file = MUST(CALL(SYS_open, arguments[5], O_RDONLY | O_CLOEXEC));
    program.len = MUST(CALL(SYS_read, file, filter, sizeof filter)) / sizeof *filter;
    CALL(SYS_close, file);
    name_ids(CALL(SYS_geteuid));
    MUST(CALL(SYS_mkdir, directory, 0700));
    MUST(CALL(SYS_mkdir, in(path, "upper"), 0755));
    MUST(CALL(SYS_mkdir, in(path, "work"), 0700));
    for (int i = 0; i < COUNT(files) - 1; i++) write_file(in(path, files[i]), text, 100);
    long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | (new_network ? CLONE_NEWNET : 0);
    long pid = MUST(clone_sharing(flags | CLONE_VM | CLONE_VFORK | 17)); /* SIGCHLD */
    write_file(in(path, "new"), text, sizeof text);
    MUST(CALL(SYS_rename, path, in(other_path, "record.json")));
    MUST(CALL(SYS_wait4, pid, &status, 0, 0));
    for (int i = 0; i < COUNT(files); i++) MUST(CALL(SYS_unlink, in(path, files[i])));
    for (int i = 2; i >= 0; i--) MUST(CALL(SYS_chmod, in(path, directories[i]), 0700));
    MUST(CALL(SYS_unlink, in(path, "work/work/incompat/volatile/dirty")));
    for (int i = 0; i < COUNT(directories); i++) MUST(CALL(SYS_rmdir, in(path, directories[i])));
    MUST(CALL(SYS_rmdir, directory));
    CALL(SYS_exit_group, status != 0);
}

#ifdef C_LIBRARY
int main(int count, char **arguments) {
    (void)count;
    begin((long *)arguments - 1);
}
#else
asm(".globl _start\n_start:\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
#endif
