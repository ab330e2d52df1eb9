"""``check`` of both command lines: what is printed, in which order, and the exit code."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from proxy import config as gateway
from proxy.check import Report, inspect, printed
from proxy.compare_command import run_compare
from proxy.doctor.probe import Area, Outcome
from proxy.doctor.report import CANNOT_RUN, Examination, Examined, as_json, begun, encodable, lines_of, summary
from proxy.doctor.report_file import write_report
from proxy.doctor.run import AREAS, examine
from proxy.doctor.target import Target
from ws_service.command_line import CheckOptions
from ws_service.config import settings as service

__all__ = ["printed", "run_check"]


def run_check(path: Path | None, options: CheckOptions) -> int:
    """Check a config file, and with ``options.is_live`` the programs that run by it; return the exit code.

    path: the config file. None: the defaults.
    """
    if options.compare is not None:
        return run_compare(*options.compare, dict(options.fields), is_json=options.is_json, is_quiet=options.is_quiet)
    report = inspect(path, only=options.only)
    if options.is_live and not report.mistakes:
        examination = _live(report, options)
        code = examination.exit_code
    else:
        examination = Examination(report.source, areas=[_config_area(report)])
        code = CANNOT_RUN if report.mistakes else 0
        if not options.is_json:
            _print_static(report, options)
    values = as_json(examination, code)
    if options.is_json:
        click.echo(json.dumps(values, indent=2))  # in ASCII: what an answer had in it commands no terminal
    return _with_report_file(values, report, options) or code


def _with_report_file(values: Mapping[str, Any], report: Report, options: CheckOptions) -> int:
    """Write the file that ``--report`` names; return the exit code, 0 where it was written or none is named."""
    if options.report is None:
        return 0
    sections = {name: reading.settings for name, reading in report.readings.items() if reading.settings is not None}
    try:
        write_report(options.report, values, sections, options.url)
    except OSError as error:
        click.echo(f"{options.report} cannot be written: {(error.strerror or str(error)).lower()}", err=True)
        return CANNOT_RUN
    click.echo(f"wrote {options.report}; read it before you give it to others", err=True)
    return 0


def _print_static(report: Report, options: CheckOptions) -> None:
    """Print what the file alone tells."""
    for line in report.lines():
        click.echo(line, err=True)
    if report.mistakes:
        if options.is_live:
            click.echo("No program was asked: repair these first.", err=True)
    elif not options.is_quiet:
        sections = ", ".join(report.sections) or f"there is no section {options.only or 'yet'}"
        click.echo(f"{report.source}: no mistakes ({sections})")


def _live(report: Report, options: CheckOptions) -> Examination:
    """Probe everything, and print each area as it is known."""
    shown = _Shown(Examination(report.source, options.url), options)
    shown.end(_config_area(report))
    target = _target(report, options)
    if target.public is not None and target.idle and not options.is_quiet:
        takes = f"it takes {target.idle:g} s: a WebSocket is kept open for so long, beside the rest"
        click.echo(f"{takes}; --idle 0 leaves that out", err=True)
    asyncio.run(examine(target, AREAS, shown.begin, lambda area, outcome: shown.end(Examined(area.name, outcome))))
    if not options.is_json and not options.is_quiet:
        click.echo(summary(shown.examination.findings))
    return shown.examination


class _Shown:
    """Areas as they are probed, on the terminal."""

    def __init__(self, examination: Examination, options: CheckOptions) -> None:
        self.examination = examination
        self._options = options
        self._shows_progress = sys.stdout.isatty() and not options.is_json and not options.is_quiet

    def begin(self, area: Area) -> None:
        """Show that an area is being probed."""
        if self._shows_progress:
            (line,) = encodable([begun(area)], sys.stdout.encoding)
            click.echo(line, nl=False)

    def end(self, area: Examined) -> None:
        """Show what was seen of an area, in the place of that."""
        self.examination.areas.append(area)
        if self._options.is_json:
            return
        if self._shows_progress:
            click.echo("\r\x1b[K", nl=False)  # ECMA-48, EL: the line of the area that was being probed
        for line in encodable(lines_of(area.name, area.outcome, is_quiet=self._options.is_quiet), sys.stdout.encoding):
            click.echo(line)


def _config_area(report: Report) -> Examined:
    sections = ", ".join(report.sections) or "no section"
    seen = f"{report.source}: {sections}" if report.mistakes else f"{report.source}: no mistakes ({sections})"
    return Examined("config", Outcome(seen, report.mistakes + report.warnings))


def _target(report: Report, options: CheckOptions) -> Target:
    """Return what is to be examined. report: of a file without mistakes."""
    readings = {name: reading.settings for name, reading in report.readings.items()}
    settings = readings.get(gateway.NAME) or gateway.Settings()
    service_settings = readings.get(service.NAME) or service.Settings()
    folder = Path.cwd() if report.file is None else report.file.folder
    return Target(
        settings,
        service_settings,
        folder,
        report.file,
        options.url,
        dict(options.fields),
        echo=options.echo,
        idle=options.idle,
    )
