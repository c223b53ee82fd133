"""Limits on a process that runs a student's code: files, network, processes, memory, time.

Files are limited by Landlock (Linux 5.13 and later), system calls by seccomp (x86-64 and ARM),
the rest by resource limits. All of it needs no rights, and none of it can be undone from inside.
Where a kernel lacks a part, :func:`missing` says so.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import resource
import signal
import site
import struct
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LANDLOCK = {"create": 444, "add": 445, "restrict": 446}
READ, WRITE = 1 << 2 | 1 << 3, 1 << 1  # of linux/landlock.h: READ_FILE and READ_DIR; WRITE_FILE
FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # what a rule on a file may hold
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH")

#: Refused system calls by machine: starting programs and processes, reaching other processes or the
#: network.
REFUSED = {
    "x86_64": (
        *(57, 58, 59, 322),  # fork vfork execve execveat
        *(62, 200, 234, 129, 297, 424, 434, 438),  # kill tkill tgkill sigqueue… pidfd_…
        *(101, 310, 311),  # ptrace process_vm_readv process_vm_writev
        *(41, 425),  # socket io_uring_setup
        *(165, 166, 272, 308, 321, 298, 248, 249, 250),  # mount unshare setns bpf perf keys
        *(29, 64, 68, 240, 141),  # shmget semget msgget mq_open setpriority
    ),
    "aarch64": (
        *(221, 281),
        *(129, 130, 131, 138, 240, 424, 434, 438),
        *(117, 270, 271),
        *(198, 425),
        *(40, 39, 97, 268, 280, 241, 217, 218, 219),
        *(194, 190, 186, 180, 140),
    ),
}
#: Calls that do nothing and say that they did: mode, owner, times and attributes of files, which
#: Landlock leaves free, and which `shutil.copy` wants to set on a student's own files.
IGNORED = {
    "x86_64": (
        *(90, 91, 268, 452, 92, 93, 94, 260),  # chmod… chown…
        *(132, 235, 261, 280),  # utime utimes futimesat utimensat
        *(188, 189, 190, 197, 198, 199, 463, 466),  # setxattr… removexattr…
    ),
    "aarch64": (52, 53, 452, 55, 54, 88, 5, 6, 7, 14, 15, 16, 463, 466),
}
#: clone, clone3, prlimit64 and the number of the machine in linux/audit.h.
SPECIAL = {"x86_64": (56, 435, 302, 0xC000003E), "aarch64": (220, 435, 261, 0xC00000B7)}


#: On a busy machine a submission gets a part of the time only.
CLOCK = 5


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Attributes:
        cell_seconds: Of computing in one cell.
        total_seconds: Of computing in all cells together; five times as many by the clock.
        memory: Bytes beyond what the libraries take.
        file_bytes: Of one file that it writes.
        output_bytes: Of all that it shows and gives.
    """

    cell_seconds: float = 20.0
    total_seconds: float = 120.0
    memory: int = 2 << 30
    file_bytes: int = 50 << 20
    output_bytes: int = 30 << 20

    @property
    def deadline(self) -> float:
        """Seconds by the clock, for what waits instead of computing."""
        return CLOCK * self.total_seconds


def missing() -> list[str]:
    """What this kernel cannot do, as sentences; empty where submissions are isolated fully."""
    found = []
    abi = landlock_abi()
    if not abi:
        found.append("no Landlock: a submission can read and write the files that you can")
    if not _has_seccomp():
        found.append("no seccomp filter: a submission can start processes and use the network")
        if abi < 6:
            found.append("a submission can send signals to your other processes")
    return found


def landlock_abi() -> int:
    """Version of Landlock that the kernel has; 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(LANDLOCK["create"], None, 0, 1)))


def _has_seccomp() -> bool:
    status = Path("/proc/self/status")
    known = status.exists() and "Seccomp_filters:" in status.read_text()
    return known and platform.machine() in REFUSED and sys.byteorder == "little"


def environment(home: str) -> dict[str, str]:
    """Environment for the process that grades: a short list of names, and nothing secret.

    Args:
        home: Folder for caches and settings.
    """
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    own = dict.fromkeys(("HOME", "TMPDIR", "SATKIT_CACHE", "MPLCONFIGDIR", "IPYTHONDIR"), home)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **own, **threads, "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}


def readable() -> list[str]:
    """Files and folders that any Python program needs to read."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), str(Path(__file__).parents[1])}
    folders |= {"/usr/lib", "/usr/lib64", "/usr/share", "/lib", "/lib64", "/etc/fonts"}
    folders |= {"/etc/ld.so.cache", "/etc/localtime", "/usr/local/lib", "/sys/devices/system/cpu"}
    folders |= {"/proc/cpuinfo", "/proc/meminfo", "/dev/urandom", "/dev/zero"}
    folders |= {str(Path(sys.base_prefix) / "lib")}
    return sorted(folders)


def enter(folder: str, limits: Limits) -> None:
    """Limit this process for good; call it in a fresh child, before any code of a student.

    Args:
        folder: The only one that it may write to; it becomes the current one.
        limits: Of memory, time and files.

    Raises:
        OSError: The kernel has the means and refuses them; nothing may run then.
    """
    os.chdir(folder)
    os.environ.update(environment(folder))
    tempfile.tempdir = folder
    _limit_resources(limits)
    if sys.platform != "linux":
        return
    has_seccomp = _has_seccomp()  # from /proc, which cannot be read afterwards
    _drop_capabilities()
    _no_new_privileges()
    _limit_files(readable(), [folder])
    if has_seccomp:
        _limit_calls()


def _limit_resources(limits: Limits) -> None:
    seconds = math.ceil(limits.total_seconds)  # of this child, which has used none yet
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # SIGXCPU, then SIGKILL
    for which, most in (
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 256),  # no process at all where there is seccomp
    ):
        resource.setrlimit(which, (most, most))
    if sys.platform == "linux":
        # The libraries' own address space is large (3 GB with torch) and hardly touched.
        most = limits.memory + _address_space()
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _address_space() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _must(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def _no_new_privileges() -> None:
    """Gain no rights by starting programs, and end with the process that grades."""
    _must(_libc().prctl(1, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    _must(_libc().prctl(38, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def _drop_capabilities() -> None:
    """Give up what makes root mighty; a no-op for everybody else."""
    header = struct.pack("Ii", 0x20080522, 0)
    _must(_libc().capset(header, bytes(24)), "capset")


def _limit_files(read: Iterable[str], write: Iterable[str]) -> None:
    """Landlock: read the ones, read and write the others, nothing else; no TCP, no signals."""
    abi = landlock_abi()
    if not abi:
        return
    libc, bits = _libc(), {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)
    everything = (1 << bits) - 1
    attributes = struct.pack("QQQ", everything, 0b11 if abi >= 4 else 0, 0b11 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _must(libc.syscall(LANDLOCK["create"], attributes, size, 0), "landlock")
    rules = [(path, READ) for path in read] + [(path, everything) for path in write]
    for path, rights in [*rules, ("/dev/null", READ | WRITE)]:
        if os.path.exists(path):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            own = rights & (everything if os.path.isdir(path) else everything & FILE_RIGHTS)
            rule = struct.pack("=Qi", own, descriptor)
            _must(libc.syscall(LANDLOCK["add"], ruleset, 1, rule, 0), f"landlock {path}")
            os.close(descriptor)
    _must(libc.syscall(LANDLOCK["restrict"], ruleset, 0), "landlock")
    os.close(ruleset)


def _limit_calls() -> None:
    """Seccomp: threads may start, processes not; see `REFUSED` and `IGNORED`."""
    clone, clone3, prlimit, machine = SPECIAL[platform.machine()]
    load, equal, above, anybit, give = 0x20, 0x15, 0x35, 0x45, 0x06  # of linux/bpf_common.h
    allow, ignore, refuse, unknown = 0x7FFF0000, 0x50000, 0x50001, 0x50026  # 0, EPERM, ENOSYS
    program = [(load, 0, 0, 4), (equal, 1, 0, machine), (give, 0, 0, refuse)]
    program += [(load, 0, 0, 0), (above, 0, 1, 0x40000000), (give, 0, 0, refuse)]
    program += [(equal, 0, 1, clone3), (give, 0, 0, unknown)]  # libc then falls back to clone
    for calls, what in ((REFUSED, refuse), (IGNORED, ignore)):
        for call in calls[platform.machine()]:
            program += [(equal, 0, 1, call), (give, 0, 0, what)]
    program += [(equal, 0, 4, clone), (load, 0, 0, 16), (anybit, 1, 0, 0x10000)]  # CLONE_THREAD
    program += [(give, 0, 0, refuse), (give, 0, 0, allow)]
    program += [(equal, 0, 3, prlimit), (load, 0, 0, 16), (equal, 1, 0, 0), (give, 0, 0, refuse)]
    program += [(give, 0, 0, allow)]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    held = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(held))
    _must(_libc().prctl(22, 2, filter_, 0, 0), "prctl(PR_SET_SECCOMP)")
