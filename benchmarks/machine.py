"""The machine: what the report says about it, which cores do what, and how many files may be open."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import FILES
from benchmarks.processes import Cores


@dataclass(frozen=True)
class Placement:
    """Where processes run. measured: the proxy. rest: load and origin."""

    measured: Cores
    rest: Cores

    @property
    def is_pinned(self) -> bool:
        """Whether what is measured has a core of its own."""
        return self.measured != self.rest


def place() -> Placement:
    """Give the proxy a core of its own, if there is more than one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        return Placement(frozenset(cores), frozenset(cores))
    return Placement(frozenset(cores[:1]), frozenset(cores[1:2]))


def allow_files() -> int:
    """Raise the limit of open files for this process and its children; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(hard, FILES)))
        except (ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def describe() -> dict[str, str]:
    """Return what a reader needs to know to compare; never the name of the machine."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    system = next((line[13:].strip('"') for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME=")), "")
    release = platform.release().split("-")[0]  # what follows is the builder's, and may name a place
    return {
        "cpu": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "memory": f"{memory / (1 << 20):.0f} GiB",
        "system": f"{system}, Linux {release}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8").splitlines()
    except OSError:
        return []
