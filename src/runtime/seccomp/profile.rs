//! Docker's default profile, as data: which system calls a container may make, and under which conditions.
//!
//! Follows moby `profiles/seccomp/default.json` (the names; io_uring is left out since Docker 25), with the calls that
//! Linux 6.6 to 6.16 added in the spirit of their older forms.

/// A group of system calls that are treated alike.
pub(super) struct Group {
    /// Names, separated by white space. One that this architecture does not have is passed over.
    pub names: &'static str,
    pub when: When,
    pub verdict: Verdict,
}

/// Under which condition a group counts.
pub(super) enum When {
    Always,
    /// The container has this capability.
    With(&'static str),
    /// The container lacks this capability.
    Without(&'static str),
}

/// What a group's calls get.
pub(super) enum Verdict {
    Allow,
    /// Allowed if the argument with this index, masked, has this value.
    AllowIf {
        index: usize,
        mask: u64,
        value: u64,
    },
    /// Allowed unless the argument with this index has this value.
    AllowUnless {
        index: usize,
        value: u64,
    },
    /// Refused with this error number instead of EPERM.
    Refuse(u32),
}

/// The flags of clone(2) that make namespaces.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;

/// The address family of virtual machine sockets: a container has no business with its hypervisor.
const AF_VSOCK: u64 = 40;

const ALL: u64 = u64::MAX;

const fn personality(value: u64) -> Group {
    Group { names: "personality", when: When::Always, verdict: Verdict::AllowIf { index: 0, mask: ALL, value } }
}

const fn with(capability: &'static str, names: &'static str) -> Group {
    Group { names, when: When::With(capability), verdict: Verdict::Allow }
}

/// The whole profile; what no group names is refused with EPERM.
pub(super) const DOCKER: &[Group] = &[
    Group { names: ALWAYS, when: When::Always, verdict: Verdict::Allow },
    Group { names: "socket", when: When::Always, verdict: Verdict::AllowUnless { index: 0, value: AF_VSOCK } },
    personality(0),
    personality(0x8),
    personality(0x2_0000),
    personality(0x2_0008),
    personality(0xFFFF_FFFF),
    Group { names: "clone", when: When::Without("CAP_SYS_ADMIN"), verdict: Verdict::AllowIf { index: 0, mask: NAMESPACE_FLAGS, value: 0 } },
    // Its flags are behind a pointer, where no filter sees them: ENOSYS makes the C library fall back to clone.
    Group { names: "clone3", when: When::Without("CAP_SYS_ADMIN"), verdict: Verdict::Refuse(libc::ENOSYS as u32) },
    with("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    with(
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick listmount listns lookup_dcookie mount mount_setattr move_mount
         open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns statmount syslog umount
         umount2 unshare",
    ),
    with("CAP_SYS_BOOT", "reboot"),
    with("CAP_SYS_CHROOT", "chroot"),
    with("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    with("CAP_SYS_PACCT", "acct"),
    with("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    with("CAP_SYS_RAWIO", "iopl ioperm"),
    with("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    with("CAP_SYS_TTY_CONFIG", "vhangup"),
    with("CAP_SYS_NICE", "get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node"),
    with("CAP_SYSLOG", "syslog"),
    with("CAP_BPF", "bpf"),
    with("CAP_PERFMON", "perf_event_open"),
];

/// What every container may call, on any architecture.
const ALWAYS: &str = "
    accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64 arm_sync_file_range bind breakpoint brk cachestat
    cacheflush capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64
    clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat
    dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
    eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark
    fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork
    fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue
    futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents
    getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid
    getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid
    getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit
    ioctl ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
    lgetxattr link linkat listen listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lsm_get_self_attr
    lsm_list_modules lsm_set_self_attr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore
    mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv
    msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause
    pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64
    preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64
    pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg
    remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64
    sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32
    setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
    setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt
    shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs
    statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo tee tgkill time timer_create
    timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask
    uname unlink unlinkat uprobe uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write
    writev";
