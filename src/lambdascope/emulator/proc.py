"""What Linux's /proc tells about the processes of an environment: descendants and memory.

Everything answers with nothing where there is no /proc. A process may end between two reads; then
it counts as absent.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of one process, in bytes.

    `anonymous_bytes` are its own (heap, stack, shared memory), `file_bytes` are mapped from files
    and usually shared with other processes of the same `program`. `below_peak_bytes` is how much
    less it has now than at its highest.
    """

    pid: int
    program: str
    anonymous_bytes: int
    file_bytes: int
    below_peak_bytes: int


def descendants(pids: list[int]) -> list[int]:
    """The processes and all their living descendants, also those in other process groups."""
    found: list[int] = []
    left = list(pids)
    while left:
        pid = left.pop()
        found.append(pid)
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            left.extend(int(child) for child in _read(f"/proc/{pid}/task/{thread}/children"))
    return found


def group_of(pid: int) -> int | None:
    """The process group, or None when the process is gone."""
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def state_of(pid: int) -> str:
    """The state letter of /proc/PID/stat (T is stopped, Z ended), "" when unknown."""
    # The name in parentheses may hold spaces.
    fields = b" ".join(_read(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return fields[0].decode() if fields else ""


def memory_of(pid: int, *, forked: bool = False) -> Memory | None:
    """Resident memory of one process, or None when it is gone.

    With `forked`, pages that it still shares with its parent count in part, so that the sum over
    both is right; that look is some hundred times dearer.
    """
    sizes = _kilobytes(f"/proc/{pid}/status")
    if "VmRSS" not in sizes:
        return None
    anonymous = sizes.get("RssAnon", sizes["VmRSS"]) + sizes.get("RssShmem", 0)
    if forked:
        parts = _kilobytes(f"/proc/{pid}/smaps_rollup")
        if "Pss_Anon" in parts:
            anonymous = parts["Pss_Anon"] + parts.get("Pss_Shmem", 0)
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        program = ""
    return Memory(
        pid=pid,
        program=program,
        anonymous_bytes=anonymous * 1024,
        file_bytes=sizes.get("RssFile", 0) * 1024,
        below_peak_bytes=max(sizes.get("VmHWM", 0) - sizes["VmRSS"], 0) * 1024,
    )


def total_bytes(processes: list[Memory]) -> int:
    """What they use together: file pages count once for each program."""
    files: dict[str, int] = {}
    for memory in processes:
        files[memory.program] = max(files.get(memory.program, 0), memory.file_bytes)
    return sum(memory.anonymous_bytes for memory in processes) + sum(files.values())


def marked(variable: str) -> list[int]:
    """All processes of this user that were started with this "NAME=value" in the environment."""
    wanted = variable.encode()
    found = []
    try:
        entries = os.listdir("/proc")
    except OSError:
        return []
    for entry in entries:
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    variables = file.read()
            except OSError:
                continue
            if wanted in variables.split(b"\0"):
                found.append(int(entry))
    return found


def _read(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read().split()
    except OSError:
        return []


def _kilobytes(path: str) -> dict[str, int]:
    """The "Name:   123 kB" lines of a file."""
    sizes = {}
    try:
        with open(path, "rb") as file:
            for line in file:
                parts = line.split()
                if len(parts) == 3 and parts[2] == b"kB":
                    sizes[parts[0][:-1].decode()] = int(parts[1])
    except (OSError, ValueError):
        return {}  # gone in the middle
    return sizes
