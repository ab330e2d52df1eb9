"""``make load``: the figures that are promised, each with its bound. Exit code 1 when one is not held."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from tests.load import trials
from tests.load.checks import Check, all_held, table

GIB = 1 << 30

Trial = Callable[[Path], Coroutine[Any, Any, list[Check]]]

TRIALS: dict[str, Trial] = {
    "sockets": partial(trials.many_sockets, tunnels=9000, handed=10000, seconds=20),
    "slow": partial(trials.slow_clients, count=2000, seconds=30),
    "unread": partial(trials.unread, count=8, size=GIB, read=8),
    "restart": partial(trials.restart, name="origin", is_polite=True),
    "crash": partial(trials.restart, name="origin", is_polite=False),
    "service": partial(trials.restart, name="service", is_polite=True),
}


def main() -> int:
    """Run the trials; return the exit code."""
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=f"of {', '.join(TRIALS)}; all without one")
    names = parser.parse_args().trials or list(TRIALS)
    if unknown := sorted(set(names) - TRIALS.keys()):
        parser.error(f"there is no trial {', '.join(unknown)}; there are {', '.join(TRIALS)}")
    checks = []
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="load-") as folder:
            found = uvloop.run(TRIALS[name](Path(folder)))
        print(f"{name}, {time.monotonic() - began:.0f} s", *found, sep="\n  ", flush=True)
        checks += found
    print(table(checks).rpartition("\n")[2])
    return 0 if all_held(checks) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
