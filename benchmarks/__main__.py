"""The command line of the benchmarks."""

from __future__ import annotations

import asyncio
import signal
import sys
from types import FrameType

import click
import uvloop

from benchmarks import machine, peers, terminal
from benchmarks.processes import ROOT, running_on
from benchmarks.run import BASELINES, run
from benchmarks.workloads import ALL, QUICK, Effort

RESULTS = ROOT / "benchmarks" / "results.json"

NAMES = [*BASELINES, *peers.ORDER]

SHORT = Effort(warm_up=0.15, window=0.4, scale=(10, 100, 500), bulk=64 << 20, sockets=200)
"""A quick run: two workloads in under 90 s, or any workload in seconds."""


@click.command()
@click.option("--quick", is_flag=True, help="Short rounds; of two workloads, unless --only says which.")
@click.option("--only", multiple=True, type=click.Choice([w.name for w in ALL]), help="A workload. May be repeated.")
@click.option("--peers", "wanted", default=",".join(NAMES), help="Names, with commas between. Default: all.")
@click.option("--rounds", type=click.IntRange(1), help="Rounds of each workload.")
def main(quick: bool, only: tuple[str, ...], wanted: str, rounds: int | None) -> None:
    """Measure the gateway beside other proxies, on this machine."""
    if not sys.platform.startswith("linux"):
        raise click.ClickException("the benchmarks read the books of Linux's /proc; run them there")
    names = [name.strip() for name in wanted.split(",")]
    if unknown := [name for name in names if name not in NAMES]:
        raise click.BadParameter(f"{', '.join(unknown)}; known are {', '.join(NAMES)}", param_hint="--peers")
    chosen = only or (QUICK if quick else tuple(w.name for w in ALL))
    signal.signal(signal.SIGTERM, _interrupt)
    placement = machine.place()
    if (files := machine.allow_files()) < peers.FILES:
        click.echo(f"only {files} files may be open (ulimit -n): workloads with many sockets will fail", err=True)
    with running_on(placement.rest), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results = runner.run(
            run(
                [w for w in ALL if w.name in chosen],
                names,
                rounds=rounds or (3 if quick else None),
                effort=SHORT if quick else Effort(),
                placement=placement,
                machine=machine.describe(),
                say=lambda line: click.echo(line, err=True),
            )
        )
    click.echo(terminal.tables(results))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Make SIGTERM what Ctrl-C is, so that every process that was started is stopped."""
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
