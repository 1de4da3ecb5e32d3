//! The kernel as Gramine shows it to a program: a filter of system calls.
//!
//! Calls that Gramine has are let through, all others are answered as Gramine answers
//! them: ENOSYS. A filter belongs to the thread that sets it and to whatever that thread
//! starts, so no helper program is needed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// What the daemon calls and Gramine has, as its own sources list them.
const CALLS: &[i64] = &[
    // Files.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_stat,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rmdir,
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_umask,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads and signals.
    libc::SYS_clone,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_geteuid,
    libc::SYS_getuid,
    libc::SYS_setpriority,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_arch_prctl,
    // Sockets and events.
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_poll,
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_socketpair,
    // The rest.
    libc::SYS_getrandom,
    libc::SYS_prlimit64,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_uname,
    // By which the test starts the daemon; the daemon itself starts nothing.
    libc::SYS_execve,
    libc::SYS_dup2,
    libc::SYS_chdir,
    libc::SYS_pipe2,
    libc::SYS_wait4,
];

/// Argument of `recvfrom` with its flags, of `ioctl` with its request.
const RECV_FLAGS: u8 = 3;
const IOCTL_REQUEST: u8 = 1;

/// The launcher in the folder that `cargo xtask test` has packaged, where Gramine is.
pub(crate) fn launcher() -> Option<PathBuf> {
    #[allow(
        clippy::disallowed_methods,
        reason = "the task that packaged the daemon says where"
    )]
    let folder = std::env::var_os("WAPO_DIST_FOLDER")?;
    Some(PathBuf::from(folder).join("gramine-direct"))
}

/// Does something on a thread of its own that, with all that it starts, has no other
/// calls than Gramine's: no look at bytes that stay in a socket either. Threads of this
/// process cannot be started there, because the C library lacks calls that it had.
pub(crate) fn under_gramine<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let program = filter();
    let thread = std::thread::spawn(move || {
        seccompiler::apply_filter(&program).expect("the kernel takes the filter");
        work()
    });
    match thread.join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn filter() -> BpfProgram {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let only = |argument, compare, value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value);
        vec![SeccompRule::new(vec![condition.expect("a condition")]).expect("a rule")]
    };
    let peek = u64::try_from(libc::MSG_PEEK).expect("a flag");
    rules.insert(
        libc::SYS_recvfrom,
        only(RECV_FLAGS, SeccompCmpOp::MaskedEq(peek), 0),
    );
    rules.insert(
        libc::SYS_ioctl,
        only(IOCTL_REQUEST, SeccompCmpOp::Eq, libc::FIONBIO),
    );
    let lacks = u32::try_from(libc::ENOSYS).expect("a number");
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(lacks),
        SeccompAction::Allow,
        std::env::consts::ARCH
            .try_into()
            .expect("a known processor"),
    );
    filter.expect("a filter").try_into().expect("a program")
}
