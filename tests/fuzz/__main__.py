"""``python -m tests.fuzz``: fuzz the request path, and say what was found.

A client is made of the seed and its number alone: ``--seed S --first N
--connections 1`` plays one again.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
from pathlib import Path

import click

from tests.fuzz.run import report, run


@click.command(help=__doc__)
@click.option("--connections", type=int, default=0, help="Stop after so many; 0: by the clock.")
@click.option("--seconds", type=float, default=20.0, show_default=True, help="Without --connections.")
@click.option("--seed", help="Play an earlier run again; printed at the start.")
@click.option("--first", type=int, default=0, help="The number of the first client.")
@click.option("--handoff/--no-handoff", default=False, help="Hand WebSockets over to a service.")
@click.option("--several/--one", default=False, help="Each upstream at several addresses.")
def main(connections: int, seconds: float, seed: str | None, first: int, handoff: bool, several: bool) -> None:
    seed = seed or secrets.token_hex(4)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        limit = {"connections": connections} if connections else {"seconds": seconds}
        sys.exit(report(run(Path(folder), seed=seed, first=first, hands_off=handoff, has_several=several, **limit)))


if __name__ == "__main__":
    main()
