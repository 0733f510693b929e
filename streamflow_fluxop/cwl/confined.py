"""Runs a program that can do nothing but compute: `python -I -S confined.py SECONDS PROGRAM ARGUMENT...`.

Linux forbids it to use the network, to start processes, to signal or trace others, to change any file, and (Landlock,
where the kernel has it) to read files other than those of the system and of the program. CPU time, memory and the size
of files are limited. It writes `confined` as a first line when all that holds, else why not.

A program of its own, with the standard library only: what it forbids can't be allowed again, and a process that has
threads must not do such things between fork(2) and execve(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import socket
import struct
import sys
from collections.abc import Callable

MEMORY = 2**29
"""Bytes that the program may write to: its heap, its buffers and the stacks of its threads."""

_X86_64, _AARCH64 = 0xC000003E, 0xC00000B7  # linux/audit.h
_ARCHITECTURES = {"x86_64": (_X86_64, 0), "aarch64": (_AARCH64, 1)}
_FORBIDDEN = {  # numbers on x86_64 and aarch64, None: there is no such call
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "io_uring_setup": (425, 425),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kill": (62, 129),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438), "fork": (57, None), "vfork": (58, None), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "open_by_handle_at": (304, 265), "creat": (85, None), "truncate": (76, 45),
    "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36), "mknod": (133, None), "mknodat": (259, 33), "chmod": (90, None),
    "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55),
    "lchown": (94, None), "fchownat": (260, 54), "utimensat": (280, 88), "utime": (132, None), "utimes": (235, None),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "mq_open": (240, 180), "msgget": (68, 186),
    "semget": (64, 190), "shmget": (29, 194),
}  # fmt: skip
_ABSENT = {"clone3": (435, 435), "openat2": (437, 437)}  # their flags lie in memory; who uses them knows the older ones
_CLONE, _CLONE_THREAD = (56, 220), 0x00010000
_OPENS = (((2, None), 1), ((257, 56), 2))  # open, openat: which argument has the flags
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# linux/bpf_common.h, linux/seccomp.h, linux/prctl.h, linux/landlock.h
_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _READ_FILE, _READ_DIR, _ALL_FILE_RIGHTS = 1, 4, 8, (1 << 13) - 1
_READABLE = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/ssl", "/etc/pki", "/proc/self", "/dev/urandom")

_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: Callable[..., int], *arguments: object) -> int:
    result = function(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def calls_filter(machine: str) -> bytes:
    """The system calls that are forbidden, as a program of seccomp(2).

    Raises:
        OSError: nobody wrote down the numbers of that machine's system calls.
    """
    if machine not in _ARCHITECTURES:
        raise OSError(f"the system calls of {machine} are not known here")
    architecture, column = _ARCHITECTURES[machine]
    steps: list[tuple[int, int, int, int]] = []

    def refuse(test: int, operand: int, answer: int) -> None:
        steps.extend([(test, 0, 1, operand), (_RETURN, 0, 0, answer)])

    eperm, enosys = _ERRNO | 1, _ERRNO | 38
    steps += [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    refuse(_AT_LEAST, 0x40000000, enosys)  # x32
    for numbers, answer in [*((n, eperm) for n in _FORBIDDEN.values()), *((n, enosys) for n in _ABSENT.values())]:
        if (number := numbers[column]) is not None:
            refuse(_EQUAL, number, answer)
    # a thread, not a process; a file to read, not to write
    steps += [(_EQUAL, 0, 4, _CLONE[column]), (_LOAD, 0, 0, 16), (_HAS_BITS, 1, 0, _CLONE_THREAD)]
    steps += [(_RETURN, 0, 0, eperm), (_RETURN, 0, 0, _ALLOW)]
    for numbers, argument in _OPENS:
        if (number := numbers[column]) is not None:
            steps += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, 16 + 8 * argument), (_HAS_BITS, 0, 1, _WRITING)]
            steps += [(_RETURN, 0, 0, eperm), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _forbid_calls() -> None:
    program = calls_filter(platform.machine())
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    _call(_libc.prctl, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(header), 0, 0)


def _forbid_files(program: str) -> None:
    """Let files be read only where the program needs it (landlock(7)); older kernels can't."""
    handled = ctypes.create_string_buffer(struct.pack("Q", _ALL_FILE_RIGHTS))
    try:
        rules = _call(_libc.syscall, _CREATE_RULESET, handled, 8, 0)
    except OSError:
        return
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    for path in [*_READABLE, program, os.path.join(os.path.dirname(program), "../lib"), *filter(None, libraries)]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            beneath = os.open(path, os.O_PATH)
            rights = _READ_FILE | _EXECUTE | (_READ_DIR if os.path.isdir(path) else 0)
            rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, beneath))
            _call(_libc.syscall, _ADD_RULE, rules, 1, rule, 0)
            os.close(beneath)
    _call(_libc.syscall, _RESTRICT_SELF, rules, 0)
    os.close(rules)


def _check() -> None:
    """What has been forbidden is tried."""
    try:
        socket.socket().close()
    except PermissionError:
        pass
    else:
        raise OSError("the network can be reached")
    if os.access("/dev/null", os.W_OK):
        try:
            os.close(os.open("/dev/null", os.O_WRONLY))
        except OSError:
            return
        raise OSError("files can be written to")


def confine(seconds: int, program: str) -> None:
    """Forbid this process, for ever, all that is said above.

    Args:
        seconds: of CPU time.
        program: that will be executed.

    Raises:
        OSError: it can't be forbidden here.
    """
    for kind, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_DATA, MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    _call(_libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _forbid_files(program)
    _forbid_calls()
    _check()


def main(words: list[str]) -> None:
    """Confine this process, say whether that worked, and become the program."""
    seconds, program, *arguments = words
    try:
        confine(int(seconds), os.path.realpath(program))
    except (OSError, ValueError) as error:
        os.write(1, f"{error}\n".encode())
        sys.exit(1)
    os.write(1, b"confined\n")
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
