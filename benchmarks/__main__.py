"""The command line of the benchmarks."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from types import FrameType

import click
import uvloop

from benchmarks import hubs, machine, peers, report, results
from benchmarks.effort import FULL, SHORT
from benchmarks.processes import ROOT, Failed, running_on
from benchmarks.run import BASELINES, run
from benchmarks.workloads import ALL, QUICK

RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"

NAMES = [*BASELINES, *peers.ORDER, *hubs.ORDER]
"""What is measured unless --peers says otherwise; with --before, also ``peers.BEFORE``."""


@click.command()
@click.option("--quick", is_flag=True, help="Short rounds; of two workloads, unless --only says which.")
@click.option("--only", multiple=True, type=click.Choice([w.name for w in ALL]), help="A workload. May be repeated.")
@click.option("--peers", "wanted", help="Names, with commas between. Default: all.")
@click.option(
    "--before",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another checkout of this project, whose gateway is measured beside this one's.",
)
@click.option("--rounds", type=click.IntRange(1), help="Rounds of each workload.")
@click.option("--write", is_flag=True, help="Keep the results, and make docs/performance.md of them.")
@click.option("--report", "only_report", is_flag=True, help="Measure nothing; make the page of the results again.")
def main(
    quick: bool,
    only: tuple[str, ...],
    wanted: str | None,
    before: Path | None,
    rounds: int | None,
    write: bool,
    only_report: bool,
) -> None:
    """Measure the gateway beside other proxies, on this machine."""
    if only_report:
        publish(results.load(RESULTS.read_text("utf-8")))
        return
    if not sys.platform.startswith("linux"):
        raise click.ClickException("the benchmarks read the books of Linux's /proc; run them there")
    known = [*NAMES, *(peers.BEFORE if before else ())]
    names = known if wanted is None else [name.strip() for name in wanted.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise click.BadParameter(f"{', '.join(unknown)}; known are {', '.join(known)}", param_hint="--peers")
    if write and (quick or only or names != known):
        raise click.UsageError("--write keeps a whole run; leave out --quick, --only and --peers")
    chosen = only or (QUICK if quick else tuple(w.name for w in ALL))
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background job inherits "ignore"
    placement = machine.place()
    if (files := machine.allow_files()) < peers.FILES:
        click.echo(f"only {files} files may be open (ulimit -n): workloads with many sockets will fail", err=True)
    with running_on(placement.rest), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measuring = run(
            [workload for workload in ALL if workload.name in chosen],
            names,
            before=before.resolve() if before else None,
            rounds=rounds or (3 if quick else None),
            effort=SHORT if quick else FULL,
            placement=placement,
            machine=machine.describe(),
            say=lambda line: click.echo(line, err=True),
        )
        try:
            found = runner.run(measuring)
        except Failed as error:  # of a proxy it costs a cell; this is the origin, or the load
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            raise click.Abort from None
    for workload in ALL:
        if workload.name in chosen:
            click.echo(f"\n{workload.title}\n{report.table(found, workload.name)}")
    click.echo(f"\n{report.judged(found, is_part=not write)}")
    if write:
        RESULTS.write_text(results.dump(found), "utf-8")
        publish(found)


def publish(found: results.Results) -> None:
    """Make the page and its plots of results."""
    PAGE.write_text(report.page(PAGE.read_text("utf-8"), found), "utf-8")
    PLOTS.mkdir(exist_ok=True)
    for name, text in report.drawings(found).items():
        (PLOTS / name).write_text(text, "utf-8")
    click.echo(f"written: {RESULTS.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}", err=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Make SIGTERM what Ctrl-C is, so that every process that was started is stopped."""
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
