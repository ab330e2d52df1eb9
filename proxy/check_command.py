"""``check`` of both command lines: what is printed, in which order, and the exit code."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click

from proxy import config as gateway
from proxy.check import Report, inspect, printed
from proxy.doctor.probe import Area, Outcome
from proxy.doctor.report import CANNOT_RUN, Examination, Examined, as_json, begun, encodable, lines_of, summary
from proxy.doctor.run import AREAS, examine
from proxy.doctor.target import Target
from ws_service.command_line import CheckOptions
from ws_service.config import settings as service

__all__ = ["printed", "run_check"]


def run_check(path: Path | None, options: CheckOptions) -> int:
    """Check a config file, and with ``options.is_live`` the programs that run by it; return the exit code.

    path: the config file. None: the defaults.
    """
    report = inspect(path, only=options.only)
    if options.is_live and not report.mistakes:
        return _Live(report, options).run()
    return _static(report, options)


def _static(report: Report, options: CheckOptions) -> int:
    """Print what the file alone tells. Exit code 0: no mistakes, perhaps warnings; 2: mistakes."""
    code = CANNOT_RUN if report.mistakes else 0
    if options.is_json:
        _print_json(as_json(Examination(report.source, areas=[_config_area(report)]), code))
        return code
    for line in report.lines():
        click.echo(line, err=True)
    if report.mistakes:
        if options.is_live:
            click.echo("No program was asked: repair these first.", err=True)
    elif not options.is_quiet:
        sections = ", ".join(report.sections) or f"there is no section {options.only or 'yet'}"
        click.echo(f"{report.source}: no mistakes ({sections})")
    return code


class _Live:
    """``check --live``: shows each area as it is probed."""

    def __init__(self, report: Report, options: CheckOptions) -> None:
        self._options = options
        self._shows_progress = sys.stdout.isatty() and not options.is_json and not options.is_quiet
        self._examination = Examination(report.source, options.url)
        self._report = report

    def run(self) -> int:
        """Probe everything; return the exit code."""
        self._end(_config_area(self._report))
        target = _target(self._report, self._options.url)
        asyncio.run(examine(target, AREAS, self._begin, lambda area, outcome: self._end(Examined(area.name, outcome))))
        code = self._examination.exit_code
        if self._options.is_json:
            _print_json(as_json(self._examination, code))
        elif not self._options.is_quiet:
            click.echo(summary(self._examination.findings))
        return code

    def _begin(self, area: Area) -> None:
        if self._shows_progress:
            (line,) = encodable([begun(area)], sys.stdout.encoding)
            click.echo(line, nl=False)

    def _end(self, area: Examined) -> None:
        self._examination.areas.append(area)
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


def _target(report: Report, url: str | None) -> Target:
    """Return what is to be examined. report: of a file without mistakes."""
    readings = {name: reading.settings for name, reading in report.readings.items()}
    settings = readings.get(gateway.NAME) or gateway.Settings()
    service_settings = readings.get(service.NAME) or service.Settings()
    folder = Path.cwd() if report.file is None else report.file.folder
    return Target(settings, service_settings, folder, report.file, url)


def _print_json(values: object) -> None:
    click.echo(json.dumps(values, indent=2, ensure_ascii=False))
