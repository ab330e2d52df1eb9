"""What processes cost, by the kernel's own books: CPU time and memory of everything in one session.

CPU time comes from each process' own clock (``clock_getcpuclockid(3)``): nanoseconds, all threads, those
that have ended too. ``utime`` and ``stime`` of ``/proc/PID/stat`` are the same sum in ticks of 10 ms, which
is a hundredth of a window of one second; they serve for one thing alone, children that have ended and were
waited for. A session (``setsid``) rather than a tree: whoever is forked stays in it, also when its parent dies.

Memory is PSS: private pages, and a share of those that several processes map.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds per tick of ``/proc/PID/stat``."""

PROC = Path("/proc")


@dataclass(frozen=True)
class Stat:
    """What one ``/proc/PID/stat`` says that matters here."""

    session: int
    ended_children: float
    """Seconds of CPU of children that have ended and were waited for, and of theirs."""


def parse_stat(text: str) -> Stat:
    """Read one ``/proc/PID/stat``. The name in it may hold spaces and parentheses (proc(5))."""
    fields = text.rpartition(")")[2].split()
    return Stat(int(fields[3]), (int(fields[13]) + int(fields[14])) * TICK)


def parse_pss(text: str) -> int:
    """Return the KiB of PSS in one ``/proc/PID/smaps_rollup``; 0 for a process that maps nothing any more."""
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def members(session: int) -> dict[int, Stat]:
    """Return the living processes of a session by pid."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = parse_stat((entry / "stat").read_text())
            except OSError:  # it has just ended
                continue
            if stat.session == session:
                found[int(entry.name)] = stat
    return found


def cpu(session: int) -> float:
    """Return the seconds of CPU that a session has used so far. 0 once it is gone."""
    total = 0.0
    for pid, stat in members(session).items():
        try:
            total += time.clock_gettime(_clock(pid)) + stat.ended_children
        except OSError:
            continue
    return total


def pss(session: int) -> int:
    """Return the KiB of memory that a session holds at this moment."""
    total = 0
    for pid in members(session):
        try:
            total += parse_pss((PROC / str(pid) / "smaps_rollup").read_text())
        except OSError:
            continue
    return total


def _clock(pid: int) -> int:
    """Return the clock of a process' CPU time, as ``clock_getcpuclockid(3)`` makes it; Python has it for threads."""
    return ~pid << 3 | 2
