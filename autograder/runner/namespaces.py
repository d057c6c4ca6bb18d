"""Linux namespaces: shut a process off from files, network and other processes.

Sources: the manual pages namespaces(7), user_namespaces(7), pivot_root(2),
mount_setattr(2), capabilities(7) and seccomp_rule_add(3). Python has no names for
these calls yet (os.unshare comes with 3.12), so they are made through the C library.
"""

import contextlib
import ctypes
import errno
import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# linux/sched.h
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
# sys/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 4096, 8192, 16384, 1 << 18
MNT_DETACH = 2
# linux/mount.h, asm/unistd.h: the number is the same on every architecture
MOUNT_SETATTR, AT_RECURSIVE, MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 442, 0x8000, 1, 2
AT_FDCWD = -100
# linux/prctl.h, linux/capability.h
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 24, 38
CAPABILITY_VERSION = 0x20080522
# seccomp.h
SCMP_ACT_ALLOW, SCMP_ACT_ERRNO = 0x7FFF0000, 0x00050000

NOBODY = 65534
INSIDE = 1000  # the user's number inside; it says nothing
OLD = "/old"  # where the old root hangs while the new one is made
SCRATCH = "/tmp"  # the one place that can be written
FOLDER = f"{SCRATCH}/notebook"  # in it, and empty: where a notebook runs
UNMOUNTED = "/scratch"  # where it is made
SCRATCH_SIZE = 64 << 20
MOST_PROCESSES = 4  # with its threads: each may use the notebook's memory

# What Python and its libraries read besides their own folders.
SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives",
    "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/zero",
    "/dev/random", "/dev/urandom",
)  # fmt: skip


# Calls of the kernel that no notebook needs. Most are refused anyhow, for want of
# privileges; many of the kernel's mistakes were found in these. Others give memory that
# no limit counts: those of memfd, and of shared memory, queues and semaphores.
FILTERED = (
    "acct", "add_key", "bpf", "clone3", "delete_module", "finit_module", "fsconfig",
    "fsmount", "fsopen", "fspick", "init_module", "io_uring_enter", "io_uring_register",
    "io_uring_setup", "kcmp", "kexec_file_load", "kexec_load", "keyctl",
    "memfd_create", "memfd_secret", "mount", "mount_setattr", "move_mount", "mq_open",
    "msgget", "name_to_handle_at", "open_by_handle_at", "open_tree", "perf_event_open",
    "pivot_root", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
    "quotactl", "reboot", "request_key", "semget", "setns", "shmat", "shmget",
    "swapoff", "swapon", "syslog", "umount2", "unshare", "userfaultfd", "vmsplice",
)  # fmt: skip


class Refused(Exception):
    """The system does not allow such a process; the text says what it refused."""


libc: Any = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def call(what: str, result: int) -> None:
    """Raise Refused if a call of the C library has failed."""
    if result < 0:
        raise Refused(f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(
    source: str, target: str, kind: str = "", flags: int = 0, options: str = ""
) -> None:
    texts = (text.encode() for text in (source, target, kind))
    call(f"mount {target}", libc.mount(*texts, flags, options.encode()))


def unshare(flags: int) -> None:
    call("unshare", libc.unshare(flags))


class Wall:
    """A view of few files, for the process that builds it and all that it forks.

    Of all files they see the system's libraries and the `visible` folders but for the
    `hidden` ones in them, read-only.
    """

    def __init__(self, visible: Iterable[Path], hidden: Iterable[Path]) -> None:
        if libc is None:
            raise Refused("there are no namespaces on this system")
        try:
            self.proc = os.open("/proc", os.O_PATH)  # it can no more be seen later
            self.is_root = True
            try:
                unshare(CLONE_NEWNS)
            except Refused:
                self.is_root = False
                new_user(self.proc, os.geteuid(), os.getegid())
                unshare(CLONE_NEWNS)
            os.umask(0o022)
            shown = list(visible)
            self.in_scratch = [p for p in shown if p.is_relative_to(SCRATCH)]
            change_root(shown, list(hidden))
        except OSError as error:
            raise Refused(str(error)) from None

    def go_behind(self) -> None:
        """Leave this process, and those that it starts, alone in namespaces.

        The next process that it forks is the first one in its process namespace. The
        one place where they can write is a new /tmp, with what is visible in the old
        one bound into it. They are in another user namespace than the mounts, so that
        these are out of their reach.
        """
        own = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
        unshare(own)
        options = f"size={SCRATCH_SIZE},nr_inodes=4096,mode=1777"
        mount("tmpfs", UNMOUNTED, "tmpfs", MS_NOSUID | MS_NODEV, options)
        for path in self.in_scratch:
            place = f"{UNMOUNTED}/{path.relative_to(SCRATCH)}"
            os.makedirs(place, exist_ok=True)
            mount(str(path), place, flags=MS_BIND | MS_REC)
        mount(UNMOUNTED, SCRATCH, flags=MS_MOVE)
        os.mkdir(FOLDER)
        os.chmod(FOLDER, 0o777)
        os.chdir(FOLDER)
        if self.is_root:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # else /proc/self is root's
            if not os.access(os.__file__, os.R_OK):
                raise Refused(f"only root can read Python's own {os.__file__}")
        new_user(self.proc, os.geteuid(), os.getegid())
        # In another one of its own the learner's code could mount and more.
        write(self.proc, "sys/user/max_user_namespaces", "0")


def new_user(proc: int, user: int, group: int) -> None:
    """Enter a user namespace, in which this user is nobody in particular."""
    unshare(CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{INSIDE} {user} 1"),
        ("gid_map", f"{INSIDE} {group} 1"),
    ):
        write(proc, f"self/{name}", text)


def write(proc: int, name: str, text: str) -> None:
    file = os.open(name, os.O_WRONLY, dir_fd=proc)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def change_root(visible: list[Path], hidden: list[Path]) -> None:
    """Make a new root of an empty one, with what is visible bound into it."""
    shown = {Path(path) for path in SYSTEM if os.path.exists(path)} | set(visible)
    # A link is followed here: on the new root it might lead nowhere.
    places = {path: (path.resolve(), True) for path in shown}
    places |= {path: (path, False) for path in hidden if path not in shown}
    mount("", "/", flags=MS_REC | MS_PRIVATE)
    mount("tmpfs", SCRATCH, "tmpfs", options="size=1m,mode=755")
    os.chdir(SCRATCH)
    os.mkdir(f".{OLD}")
    call("pivot_root", libc.pivot_root(b".", f".{OLD}".encode()))
    os.chdir("/")
    for path in sorted(places, key=lambda path: len(path.parts)):
        source, is_visible = places[path]
        if is_visible:
            show(source, path)
        elif path.exists():  # else nothing around it is visible
            mount("tmpfs", str(path), "tmpfs", options="size=4k,mode=755")
    call("umount", libc.umount2(OLD.encode(), MNT_DETACH))
    os.rmdir(OLD)
    for path in (SCRATCH, UNMOUNTED):
        os.makedirs(path, exist_ok=True)
    make_read_only("/")
    os.chdir(SCRATCH)


def show(source: Path, path: Path) -> None:
    """Bind a file or a folder of the old root into the new one."""
    old = f"{OLD}{source}"
    if os.path.isdir(old):
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    mount(old, str(path), flags=MS_BIND | MS_REC)


def make_read_only(path: str) -> None:
    """Forbid writing to a mount and to all that is mounted in it."""
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, 0)
    call(
        "mount_setattr",
        libc.syscall(
            MOUNT_SETATTR, AT_FDCWD, path.encode(), AT_RECURSIVE,
            ctypes.byref(attributes), ctypes.sizeof(attributes),
        ),
    )  # fmt: skip


def give_up_privileges() -> None:
    """Lose every capability for good, here and in whatever is executed from here."""
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            assert ctypes.get_errno() == errno.EINVAL, "a capability stays"
            break  # there are no more of them
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    call("capset", libc.capset(ctypes.byref(header), ctypes.byref(nothing)))
    call("prctl", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


class Filter:
    """Refuses what is FILTERED, if the seccomp library is there.

    Debian and Fedora, for two, install it always.
    """

    def __init__(self) -> None:
        self.library: Any = None
        with contextlib.suppress(OSError):
            self.library = ctypes.CDLL("libseccomp.so.2")
            self.library.seccomp_init.restype = ctypes.c_void_p
            self.rules = ctypes.c_void_p(self.library.seccomp_init(SCMP_ACT_ALLOW))
            for name in FILTERED:
                self._add(name)

    def _add(self, name: str) -> None:
        number = self.library.seccomp_syscall_resolve_name(name.encode())
        # as on a kernel that does not have clone3: the C library then uses clone
        error = errno.ENOSYS if name == "clone3" else errno.EPERM
        if number >= 0:  # else the library does not know it
            action = SCMP_ACT_ERRNO | error
            self.library.seccomp_rule_add(self.rules, action, number, 0)

    def install(self) -> None:
        """Refuse it for good, here and in whatever is started from here."""
        result = self.library.seccomp_load(self.rules) if self.library else 0
        assert result == 0, f"seccomp_load: {os.strerror(-result)}"


def limit_processes() -> None:
    """Bound what can be started and written; the limits of other users do not count."""
    for what, most in (
        (resource.RLIMIT_NPROC, MOST_PROCESSES),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_FSIZE, SCRATCH_SIZE),
    ):
        resource.setrlimit(what, (most, most))
