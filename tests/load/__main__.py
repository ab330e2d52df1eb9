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

from tests.load import callbacks, hold, stall, trials
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
    "callbacks": callbacks.callbacks,
}

TABLES: dict[str, Callable[..., Coroutine[Any, Any, list[Check]]]] = {
    "stall": partial(stall.stall, seconds=5),
    "hold": hold.hold,
}
"""Trials of many rows, which take a list of words of those that are wanted."""

EVERY = [*TRIALS, *TABLES]


def main() -> int:
    """Run the trials; return the exit code."""
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument(
        "trials",
        nargs="*",
        metavar="TRIAL",
        help=f"of {', '.join(EVERY)}; all without one. stall:WORDS and hold:WORDS are the rows whose names hold WORDS",
    )
    names = parser.parse_args().trials or EVERY
    if unknown := sorted(name for name in names if chosen(name) is None):
        parser.error(f"there is no trial {', '.join(unknown)}; there are {', '.join(EVERY)}")
    checks = []
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="load-") as folder:
            trial = chosen(name)
            assert trial is not None
            found = uvloop.run(trial(Path(folder)))
        print(f"{name}, {time.monotonic() - began:.0f} s", *found, sep="\n  ", flush=True)
        checks += found
    print(table(checks).rpartition("\n")[2])
    return 0 if all_held(checks) else 1


def chosen(name: str) -> Trial | None:
    """Return the trial of a name; None where there is none of it."""
    name, colon, words = name.partition(":")
    if name in TABLES:
        return partial(TABLES[name], names=[words] if colon else [])
    return None if colon else TRIALS.get(name)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
