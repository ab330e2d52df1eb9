"""How the tests are run side by side: as pytest-xdist's scheduler, and as ``python -m tests``.

Most of the time of the suite is waiting, so there are more workers than cores. A file is run by one worker, in its
order. Where the tests of a file share nothing, each is given to the next free worker: some files would take minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent

LEVELS = {
    "unit": "not system and not browser",
    "system": "system and not browser",
    "browser": "browser",
    "test": "",
}
"""What each target of the Makefile selects; ``test`` is all of it."""

SLOWEST = "tests/system/test_vanished_peers.py"
"""It waits for the kernel's own timeouts, for most of a minute each time; and no browser runs meanwhile."""

TOGETHER = (SLOWEST, "tests/system/test_handoff_details.py")
"""Files that share something without a fixture of their own: a network, the service of ``conftest.py``."""

LONG = ("tests/system/", "tests/leases/", "tests/release/", "tests/examples/")
"""Where tests take seconds. What takes longest is begun first; what is short fills the gaps at the end."""

NOTHING_SELECTED = int(pytest.ExitCode.NO_TESTS_COLLECTED)


def workers(arguments: Sequence[str] = ()) -> int:
    """Return how many workers there are: more than cores, because most tests wait most of the time.

    arguments: the paths that pytest was given. For a single file of few seconds it is 0: this process runs it.
    """
    path = os.path.relpath(arguments[0], TESTS.parent) if len(arguments) == 1 else ""
    if path.endswith(".py") and unit_of(path) == path:
        return 0
    return 3 * (os.cpu_count() or 1)


def order(path: str) -> int:
    """Return which files come first: the lower, the earlier."""
    if path == SLOWEST:
        return 0
    if path.startswith(LONG):
        return 3 if not _shares(path) else 2 if _opens_a_browser(path) else 1
    return 4


def unit_of(nodeid: str) -> str:
    """Return what is given to a worker as a whole: a test's file, or the test where its file's tests share nothing."""
    path = nodeid.partition("::")[0]
    return nodeid if path.startswith(LONG) and not _shares(path) else path


@cache
def _shares(path: str) -> bool:
    """Tell whether the tests of a file share something: a fixture of the module, or the module's browser."""
    return path in TOGETHER or _opens_a_browser(path) or 'scope="module"' in _text(path)


def _opens_a_browser(path: str) -> bool:
    return "mark.browser" in _text(path)


@cache
def _text(path: str) -> str:
    return (TESTS.parent / path).read_text("utf-8")


def scheduler(config: pytest.Config, log: Any) -> Any:
    """Return a scheduler of pytest-xdist that gives out ``unit_of`` by ``unit_of``, in the order of collection."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    config.option.loadscopereorder = False
    return Scheduler(config, log)


def main(arguments: Sequence[str]) -> int:
    """Run a level: what may run side by side, then what must be alone. Returns the worse exit code.

    arguments: the level, then pytest's; without a level it is ``test``.
    """
    level, more = ("test", [*arguments]) if not {*arguments[:1]} & {*LEVELS} else (arguments[0], [*arguments[1:]])
    selected = LEVELS[level]
    if level == "unit":
        more = [*(f"--ignore={folder}" for folder in LONG), *more]  # nothing in there is; to import it takes seconds
    passes = {
        "side by side": ["-m", _both(selected, "not alone"), "-n", "auto", "--dist", "loadfile", *more],
        "alone": ["-m", _both(selected, "alone"), *more],
    }
    codes, env = [], environment(os.environ)
    for name, options in passes.items():
        began = time.monotonic()
        codes.append(code := subprocess.call([sys.executable, "-m", "pytest", *options], env=env))
        result = {0: "passed", NOTHING_SELECTED: "no tests of this kind"}.get(code, "failed")
        print(f"make {level}, {name}: {result}, {time.monotonic() - began:.0f} s", flush=True)
    selected_something = [code for code in codes if code != NOTHING_SELECTED]
    return max(selected_something, default=NOTHING_SELECTED)


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of pytest: one in which Python keeps its bytecode, because programs start by the hundred.

    Where it was not to be kept beside the sources, it is kept in the folder of the virtual environment.
    """
    env = dict(env)
    if env.pop("PYTHONDONTWRITEBYTECODE", ""):
        env["PYTHONPYCACHEPREFIX"] = prefix = str(Path(sys.prefix) / "bytecode")
        shutil.rmtree(prefix + tempfile.gettempdir(), ignore_errors=True)  # of programs that tests wrote
    return env


def _both(first: str, second: str) -> str:
    return f"({first}) and {second}" if first else second
