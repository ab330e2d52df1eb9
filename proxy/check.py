"""Checks of a whole config file: every section, what sections must agree on, files, names, addresses, the app.

``dash-ws-proxy check`` and ``dash-ws-service check`` are both this. It starts nothing that listens.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from proxy import config as gateway
from proxy.config import ConfigError, Objection, anchored, dump, passed_name, split_listen
from proxy.doctor.catalogue import CATALOGUE
from proxy.doctor.finding import Finding, Place, Severity, of_mistake
from proxy.doctor.target import DEFAULTS
from proxy.net.resolver import look_up
from proxy.server.startup_checks import objections
from ws_service.config import dash_section
from ws_service.config import settings as service
from ws_service.config.addresses import OFF
from ws_service.config.consistency import Disagreement, disagreements
from ws_service.config.file import ConfigFile, Reading, Section
from ws_service.config.hub_settings import MEMORY
from ws_service.config.yaml_text import KeyPath
from ws_service.errors import Mistake
from ws_service.hosting.import_check import problem
from ws_service.hub.keys import key_problem
from ws_service.net.folders import socket_problem

MODELS: Mapping[str, type[Section]] = {
    gateway.NAME: gateway.Settings,
    service.NAME: service.Settings,
    dash_section.NAME: dash_section.DashSection,
}


@dataclass
class Report:
    """What has been found in a file.

    file, readings: what was read; None and nothing where it cannot be.
    """

    source: str
    sections: list[str]
    findings: list[Finding] = field(default_factory=list)
    file: ConfigFile | None = None
    readings: Mapping[str, Reading[Any]] = field(default_factory=dict)

    def note(self, identifier: str, *mistakes: Mistake) -> None:
        """Note mistakes of one kind."""
        kind = CATALOGUE[identifier]
        self.findings += [of_mistake(identifier, kind, self.source, mistake) for mistake in mistakes]

    @property
    def mistakes(self) -> list[Finding]:
        """What keeps a program from starting, or from working, in the order of the file."""
        return self._of(Severity.ERROR)

    @property
    def warnings(self) -> list[Finding]:
        """What may be meant, in the order of the file."""
        return self._of(Severity.WARNING)

    def _of(self, severity: Severity) -> list[Finding]:
        found = [finding for finding in self.findings if finding.kind.severity is severity]
        return sorted(found, key=lambda f: (f.place.line or 0, f.place.column or 0) if f.place else (0, 0))

    def lines(self) -> Iterator[str]:
        """Yield each finding as a sentence with its place, mistakes first, in the order of the file."""
        for finding in (*self.mistakes, *self.warnings):
            first, *more = finding.seen.split("\n")
            sign = "warning: " if finding.kind.severity is Severity.WARNING else ""
            message = "\n".join([f"{sign}{first} [{finding.id}]", *more])
            place = finding.place or Place(self.source)
            yield str(ConfigError(self.source, [Mistake(message, place.key, place.line, place.column)]))


def inspect(path: Path | None, env: Mapping[str, str] = os.environ, only: str | None = None) -> Report:
    """Check a config file and everything that it names.

    path: the file; None is no file, and the defaults. only: the one section to check. None: all of them, and what they
    must agree on.
    """
    if path is None:
        return _inspect_defaults([only] if only else [gateway.NAME, service.NAME])
    try:
        file = ConfigFile(path, MODELS)
    except ConfigError as error:
        report = Report(str(path), [])
        report.note("DW001", *error.mistakes)
        return report
    names = [name for name in MODELS if file.has(name) and only in (None, name)]
    readings = {name: file.section(name, MODELS[name], env) for name in names}
    report = Report(str(path), names, file=file, readings=readings)
    report.note("DW002", *file.mistakes)
    for name, reading in readings.items():
        report.note("DW003", *reading.mistakes)
        if reading.settings is not None:
            for identifier, found in _objections(reading.settings, file.folder):
                report.note(identifier, *file.objections(name, reading, [found]))
    if only is None:
        for disagreement in _between(file, readings, env):
            identifier = "DW007" if disagreement.is_certain else "DW008"
            report.note(identifier, file.objection(disagreement.path, disagreement.message))
    return report


def _inspect_defaults(names: list[str]) -> Report:
    report = Report(DEFAULTS, names)
    for name in names:
        for identifier, (keys, message) in _objections(MODELS[name](), Path.cwd()):
            if CATALOGUE[identifier].severity is Severity.ERROR:
                report.note(identifier, Mistake(message, ".".join([name, *map(str, keys)])))
    return report


def printed(path: Path | None, env: Mapping[str, str] = os.environ) -> str:
    """Return every setting of both programs with its value, as YAML; the demo's too where the file has its section.

    Raises ConfigError with the mistakes of all sections.
    """
    names = [gateway.NAME, service.NAME]
    if path is None:
        return "".join(dump(name, MODELS[name]()) for name in names)
    file = ConfigFile(path, MODELS)
    readings = {name: file.section(name, model, env) for name, model in MODELS.items()}
    mistakes = [*file.mistakes, *(mistake for reading in readings.values() for mistake in reading.mistakes)]
    if mistakes:
        raise file.error(mistakes)
    names += [dash_section.NAME] if file.has(dash_section.NAME) else []
    return "".join(dump(name, settings) for name in names if (settings := readings[name].settings) is not None)


def _objections(settings: BaseModel, folder: Path) -> Iterator[tuple[str, Objection]]:
    """Yield what is wrong, or may be, with settings that are well-formed, each with the id of its kind."""
    if isinstance(settings, gateway.Settings):
        yield from _of_gateway(anchored(settings, folder))
        yield from _listening(("listen",), settings.listen, folder)
        yield from _listening(("admin",), settings.admin, folder)
    elif isinstance(settings, service.Settings):
        yield from _of_service(settings, folder)
        yield from _listening(("listen",), settings.listen, folder)
    elif isinstance(settings, dash_section.DashSection):
        yield from _listening(("listen",), settings.listen, folder)


def _of_gateway(settings: gateway.Settings) -> Iterator[tuple[str, Objection]]:
    for found in objections(settings):
        yield ("DW006" if found[0] == ("admin",) else "DW005"), found
    for key, addresses in settings.upstreams.by_name.items():
        for number, address in enumerate(addresses):
            place: KeyPath = ("upstreams", key, number) if len(addresses) > 1 else ("upstreams", key)
            host = None if address.url.startswith("unix:") else urlsplit(address.url).hostname
            if host and (what := _unknown(host)):
                yield "DW013", (place, f"{host} {what}; until it can, requests wait and then fail")
    addresses = settings.addresses_of("ws")
    for number, address in enumerate(addresses):
        is_said = settings.upstreams.ws[number].handoff is not None
        if len(addresses) > 1 and address.is_on_this_host and address.handoff is None and not is_said:
            advice = "write {url: ..., handoff: ...} with the ws_service.handoff of the service there, or handoff: off"
            what = f"{address.url} is on this host and has no handoff, so its WebSockets are tunnelled; {advice}"
            yield "DW016", (("upstreams", "ws", number), what)


def _of_service(settings: service.Settings, folder: Path) -> Iterator[tuple[str, Objection]]:
    if settings.handoff != "off" and (what := socket_problem(folder / settings.handoff)):
        yield "DW009", (("handoff",), what)
    if settings.has_hub and (what := key_problem(folder / settings.hub.key)):
        yield "DW010", (("hub", "key"), what)
    if settings.has_hub and settings.hub.broker != MEMORY and find_spec("redis") is None:
        what = "needs redis-py, which is not installed: pip install redis"
        yield "DW011", (("hub", "broker"), what)
    if settings.app is not None and (what := problem(settings.app, folder)):
        yield "DW012", (("app",), what)
    if settings.hub.enabled and not settings.has_hub:
        advice = "write hub: {broker: redis://host:6379/0}, or workers: 1"
        yield "DW014", (("workers",), f"is above 1, so there is no hub; {advice}")
    if settings.app is None and not settings.has_hub:
        yield "DW015", (("app",), "is not named, so every WebSocket handshake is refused; write module:attribute")


def _listening(keys: KeyPath, address: str, folder: Path) -> Iterator[tuple[str, Objection]]:
    if address == OFF or passed_name(address) is not None:
        return
    place = split_listen(address)
    if isinstance(place, str):
        if (what := socket_problem(folder / place)) is not None:
            yield "DW004", (keys, what)
    elif place[0] != "*" and ((what := _unknown(place[0])) or (what := _not_of_this_host(place[0]))):
        yield "DW004", (keys, f"{address}: {place[0]} {what}")


def _unknown(host: str) -> str:
    """Return a sentence if a host name cannot be resolved; empty if it can."""
    try:
        look_up(host)
    except OSError as error:
        return f"cannot be looked up ({error.strerror or error})"
    return ""


def _not_of_this_host(host: str) -> str:
    """Return a sentence if no address of a host name is one of this host; empty if one is. Port 0: any free port."""
    for family, kind, protocol, _, name in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(name)
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue
        return ""
    return "is no address of this host; use one that is, or 0.0.0.0 for all of them"


def _between(file: ConfigFile, readings: Mapping[str, Reading[Any]], env: Mapping[str, str]) -> Iterable[Disagreement]:
    """Yield where sections do not agree, except for settings that have mistakes of their own.

    A file without a section for the gateway is compared with its defaults: the gateway may use another file.
    """
    sections = {name: file.values(name, env) for name in readings}
    has_gateway = gateway.NAME in sections
    for found in disagreements({gateway.NAME: {}, **sections}, file.folder):
        pair = [(readings.get(str(path[0])), path[1:]) for path in (found.path, found.other)]
        if any(reading is not None and reading.concerns(keys) for reading, keys in pair):
            continue
        if not has_gateway:
            message = f"{found.message}, where the gateway runs by this file"
            found = Disagreement(found.path, found.other, message, is_certain=False)
        yield found
